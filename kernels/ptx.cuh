// Every inline-PTX instruction of the library, one function each. Under the emulator (GPUDL_EMULATOR) the same function
// holds the instruction's meaning in plain C++, beside the PTX that it stands for. Kernels call these and contain no asm.
#pragma once

// cvt.f32.f16: exact; subnormals, infinities and NaN payloads carry over.
__device__ __forceinline__ float half_to_float(unsigned short bits) {
#ifdef GPUDL_EMULATOR
    unsigned sign = (unsigned)(bits & 0x8000u) << 16, rest = bits & 0x7fffu;
    if (rest >= 0x7c00u) return __uint_as_float(sign | 0x7f800000u | ((rest & 0x3ffu) << 13));      // infinity, NaN
    if (rest >= 0x0400u) return __uint_as_float(sign | ((rest << 13) + 0x38000000u));               // normal: rebias 15 -> 127
    return __uint_as_float(sign | __float_as_uint((float)rest * 5.9604644775390625e-8f));           // subnormal: rest * 2^-24
#else
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
#endif
}

// cvt.rn.f16.f32: to nearest, ties to even; overflow gives infinity, any NaN gives 0x7fff.
__device__ __forceinline__ unsigned short float_to_half(float value) {
#ifdef GPUDL_EMULATOR
    unsigned word = __float_as_uint(value), sign = (word >> 16) & 0x8000u, rest = word & 0x7fffffffu;
    if (rest > 0x7f800000u) return 0x7fff;
    if (rest >= 0x477ff000u) return (unsigned short)(sign | 0x7c00u);                               // >= 65520 rounds to infinity
    if (rest < 0x38800000u) {                                                                       // below 2^-14: adding 0.5 leaves
        float shifted = __uint_as_float(rest) + 0.5f;                                               // the value in units of 2^-24,
        return (unsigned short)(sign | (__float_as_uint(shifted) - 0x3f000000u));                   // rounded by the addition
    }
    return (unsigned short)(sign | ((rest - 0x38000000u + 0xfffu + ((rest >> 13) & 1u)) >> 13));
#else
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
#endif
}

// A bfloat16 is the upper half of a float, so widening is a shift and needs no instruction of its own.
__device__ __forceinline__ float bfloat16_to_float(unsigned short bits) { return __uint_as_float((unsigned)bits << 16); }

// cvt.rn.bf16.f32: to nearest, ties to even; any NaN gives 0x7fff. The instruction is new with sm_80; before, the same in plain C++.
__device__ __forceinline__ unsigned short float_to_bfloat16(float value) {
#if defined(GPUDL_EMULATOR) || __CUDA_ARCH__ < 800
    unsigned word = __float_as_uint(value);
    if ((word & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
    return (unsigned short)((word + 0x7fffu + ((word >> 16) & 1u)) >> 16);
#else
    unsigned short bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
#endif
}

// st.global: 16, 8 or 4 bytes in one store. Where the other branch stores the same elements one by one (an address that is not aligned), the
// compiler merges the two branches and takes a plain vector store apart; it does not look into this one.
template <typename V> __device__ __forceinline__ void store_whole(V* to, const V& value) {
#ifdef GPUDL_EMULATOR
    *to = value;
#else
    unsigned w[4];
    memcpy(w, &value, sizeof(V));
    if (sizeof(V) == 16) asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(w[0]), "r"(w[1]), "r"(w[2]), "r"(w[3]) : "memory");
    else if (sizeof(V) == 8) asm volatile("st.global.v2.b32 [%0], {%1, %2};" ::"l"(to), "r"(w[0]), "r"(w[1]) : "memory");
    else if (sizeof(V) == 4) asm volatile("st.global.b32 [%0], %1;" ::"l"(to), "r"(w[0]) : "memory");
    else *to = value;
#endif
}

// ---- cp.async (sm_80): copies from global to shared memory that run beside the thread. A thread's copies since its last commit form a
// group; wait<n> returns when all but the newest n groups have landed. Other threads see them only after a barrier behind the wait.
// The emulator copies at the wait, so code that forgot to wait reads stale memory.
#ifdef GPUDL_EMULATOR
__device__ __forceinline__ void cp_async_16(void* smem, const void* gmem, unsigned bytes = 16) { gpudl_emu_copy_async(smem, gmem, 16, bytes); }
__device__ __forceinline__ void cp_async_8(void* smem, const void* gmem, unsigned bytes = 8) { gpudl_emu_copy_async(smem, gmem, 8, bytes); }
__device__ __forceinline__ void cp_async_4(void* smem, const void* gmem, unsigned bytes = 4) { gpudl_emu_copy_async(smem, gmem, 4, bytes); }
__device__ __forceinline__ void cp_async_commit() { gpudl_emu_copy_commit(); }
template <int groups> __device__ __forceinline__ void cp_async_wait() { gpudl_emu_copy_wait(groups); }
__device__ __forceinline__ void cp_async_wait_all() { gpudl_emu_copy_wait(~0u); }
#else
// `bytes` of the source are read and the rest of the 16 (8, 4) is filled with zeros: 0 reads nothing, for a ragged edge.
__device__ __forceinline__ void cp_async_16(void* smem, const void* gmem, unsigned bytes = 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((unsigned)__cvta_generic_to_shared(smem)), "l"(gmem), "r"(bytes) : "memory");
}
__device__ __forceinline__ void cp_async_8(void* smem, const void* gmem, unsigned bytes = 8) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"((unsigned)__cvta_generic_to_shared(smem)), "l"(gmem), "r"(bytes) : "memory");
}
__device__ __forceinline__ void cp_async_4(void* smem, const void* gmem, unsigned bytes = 4) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"((unsigned)__cvta_generic_to_shared(smem)), "l"(gmem), "r"(bytes) : "memory");
}
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int groups> __device__ __forceinline__ void cp_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(groups) : "memory"); }
__device__ __forceinline__ void cp_async_wait_all() { asm volatile("cp.async.wait_all;" ::: "memory"); }
#endif

// ---- Named barriers 1 to 15 (0 is __syncthreads): `threads`, a multiple of 32, meet at barrier `id`. sync waits, arrive does not.
__device__ __forceinline__ void named_barrier_sync(int id, int threads) {
#ifdef GPUDL_EMULATOR
    gpudl_emu_barrier(id, threads);
#else
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
#endif
}
__device__ __forceinline__ void named_barrier_arrive(int id, int threads) {
#ifdef GPUDL_EMULATOR
    gpudl_emu_barrier_arrive(id, threads);
#else
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
#endif
}

// ---- mbarrier (sm_90): a barrier in 8 bytes of shared memory that counts arrivals and bytes. Its phases are numbered from 0; wait_parity(p)
// returns when the phase whose number has parity p is over. One thread initialises it, then the block meets at __syncthreads.
// bulk_load copies `bytes` (a multiple of 16, as both addresses are) from global to shared memory for one thread, and counts them on the
// barrier, to which arrive_expect_tx has announced them. The emulator copies at the wait. PTX ISA, "mbarrier", "cp.async.bulk".
#if defined(GPUDL_EMULATOR)
__device__ __forceinline__ void mbarrier_init(unsigned long long* barrier, unsigned arrivals) { gpudl_emu_mbarrier_init(barrier, arrivals); }
__device__ __forceinline__ void mbarrier_arrive(unsigned long long* barrier) { gpudl_emu_mbarrier_arrive(barrier, 0, 1); }
__device__ __forceinline__ void mbarrier_arrive_expect_tx(unsigned long long* barrier, unsigned bytes) { gpudl_emu_mbarrier_arrive(barrier, bytes, 1); }
__device__ __forceinline__ bool mbarrier_try_wait_parity(unsigned long long* barrier, unsigned parity) { return gpudl_emu_mbarrier_wait(barrier, parity), true; }
__device__ __forceinline__ void mbarrier_wait_parity(unsigned long long* barrier, unsigned parity) { gpudl_emu_mbarrier_wait(barrier, parity); }
__device__ __forceinline__ void bulk_load(void* smem, const void* gmem, unsigned bytes, unsigned long long* barrier) { gpudl_emu_bulk_load(smem, gmem, bytes, barrier); }
#elif __CUDA_ARCH__ >= 900
__device__ __forceinline__ void mbarrier_init(unsigned long long* barrier, unsigned arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"((unsigned)__cvta_generic_to_shared(barrier)), "r"(arrivals) : "memory");
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");  // the copy engine sees it, too
}
__device__ __forceinline__ void mbarrier_arrive(unsigned long long* barrier) {
    asm volatile("{ .reg .b64 state; mbarrier.arrive.shared::cta.b64 state, [%0]; }" ::"r"((unsigned)__cvta_generic_to_shared(barrier)) : "memory");
}
__device__ __forceinline__ void mbarrier_arrive_expect_tx(unsigned long long* barrier, unsigned bytes) {
    asm volatile("{ .reg .b64 state; mbarrier.arrive.expect_tx.shared::cta.b64 state, [%0], %1; }"
                 ::"r"((unsigned)__cvta_generic_to_shared(barrier)), "r"(bytes) : "memory");
}
__device__ __forceinline__ bool mbarrier_try_wait_parity(unsigned long long* barrier, unsigned parity) {
    unsigned over;
    asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
                 : "=r"(over) : "r"((unsigned)__cvta_generic_to_shared(barrier)), "r"(parity) : "memory");
    return over != 0;
}
__device__ __forceinline__ void mbarrier_wait_parity(unsigned long long* barrier, unsigned parity) {
    while (!mbarrier_try_wait_parity(barrier, parity)) {
    }
}
__device__ __forceinline__ void bulk_load(void* smem, const void* gmem, unsigned bytes, unsigned long long* barrier) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];"
                 ::"r"((unsigned)__cvta_generic_to_shared(smem)), "l"(gmem), "r"(bytes), "r"((unsigned)__cvta_generic_to_shared(barrier)) : "memory");
}
#endif

// ---- A barrier for all blocks of a cooperative launch. `state` is one word of global memory that was zero before the launch; it can be
// used again and again. Block 0 adds what is missing to flip the top bit when the last block has arrived; everybody waits for the flip.
__device__ __forceinline__ void grid_barrier(unsigned* state) {
#ifdef GPUDL_EMULATOR
    (void)state;
    gpudl_emu_grid_barrier();
#else
    __syncthreads();
    if (threadIdx.x + threadIdx.y + threadIdx.z == 0) {
        const unsigned blocks = gridDim.x * gridDim.y * gridDim.z, first = blockIdx.x + blockIdx.y + blockIdx.z == 0;
        __threadfence();  // the block's writes, before its arrival can be seen
        const unsigned before = atomicAdd(state, first ? 0x80000000u - (blocks - 1) : 1u);
        while (((before ^ *(volatile unsigned*)state) & 0x80000000u) == 0) {
        }
        __threadfence();
    }
    __syncthreads();
#endif
}

// ---- Tensor cores. A warp multiplies together; each lane holds a few elements of each operand ("fragments"). With g = lane / 4 and
// t = lane % 4 (PTX ISA, "Matrix Fragments for mma.m16n8k8 / .m16n8k16"):
//   C, D  16x8:  c[0], c[1] = C[g][2t], C[g][2t+1];    c[2], c[3] = C[g+8][2t], C[g+8][2t+1]
//   tf32  A 16x8:   a[0] = A[g][t], a[1] = A[g+8][t], a[2] = A[g][t+4], a[3] = A[g+8][t+4];    B 8x8: b[0] = B[t][g], b[1] = B[t+4][g]
//   f16, bf16 (two a register, the lower column or row in the lower half)
//         A 16x16:  a[0] = A[g][2t..], a[1] = A[g+8][2t..], a[2] = A[g][2t+8..], a[3] = A[g+8][2t+8..];  B 16x8: b[0] = B[2t..][g], b[1] = B[2t+8..][g]

// cvt.rna.tf32.f32 (sm_80): to 10 bits of mantissa, ties away from zero. mma reads the upper 19 bits and ignores the rest.
__device__ __forceinline__ unsigned float_to_tf32(float value) {
#ifdef GPUDL_EMULATOR
    unsigned word = __float_as_uint(value);
    return (word & 0x7f800000u) == 0x7f800000u ? word : (word + 0x1000u) & 0xffffe000u;
#else
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
    return bits;
#endif
}

#ifdef GPUDL_EMULATOR
struct MmaRecord { float* c; const unsigned *a, *b; };
enum MmaKind { MMA_TF32 = 16, MMA_F16, MMA_BF16, LDMATRIX };
__device__ __forceinline__ float mma_half(unsigned two, int which, bool bf16) {
    unsigned short bits = (unsigned short)(two >> (16 * which));
    return bf16 ? bfloat16_to_float(bits) : half_to_float(bits);
}
template <int kind> GPUDL_EMU_INTERNAL static void mma_combine(void** records, unsigned, unsigned) {
    constexpr int depth = kind == MMA_TF32 ? 8 : 16;
    float a[16][depth], b[depth][8];
    for (int lane = 0; lane < 32; lane++) {
        const MmaRecord& r = *(const MmaRecord*)records[lane];
        const int g = lane / 4, t = lane % 4;
        for (int i = 0; i < 4; i++) {
            const int row = g + 8 * (i % 2);
            if (kind == MMA_TF32) a[row][t + 4 * (i / 2)] = __uint_as_float(r.a[i] & 0xffffe000u);
            else for (int h = 0; h < 2; h++) a[row][(2 * t + 8 * (i / 2) + h) % depth] = mma_half(r.a[i], h, kind == MMA_BF16);
        }
        for (int i = 0; i < 2; i++) {
            if (kind == MMA_TF32) b[t + 4 * i][g] = __uint_as_float(r.b[i] & 0xffffe000u);
            else for (int h = 0; h < 2; h++) b[(2 * t + 8 * i + h) % depth][g] = mma_half(r.b[i], h, kind == MMA_BF16);
        }
    }
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < 4; i++) {
            const int row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
            double sum = 0;  // products are exact; the hardware's order and rounding of the sum are not documented
            for (int k = 0; k < depth; k++) sum += (double)a[row][k] * (double)b[k][column];
            float& c = ((MmaRecord*)records[lane])->c[i];
            c = (float)((double)c + sum);
        }
}
#endif

// mma.sync m16n8k8, tf32 operands, float accumulators (sm_80): c += a * b.
__device__ __forceinline__ void mma_m16n8k8_tf32(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#ifdef GPUDL_EMULATOR
    MmaRecord record = {c, a, b};
    gpudl_emu_collective(0xffffffffu, MMA_TF32, mma_combine<MMA_TF32>, &record);
#else
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// mma.sync m16n8k16, half operands, float accumulators (sm_80).
__device__ __forceinline__ void mma_m16n8k16_f16(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#ifdef GPUDL_EMULATOR
    MmaRecord record = {c, a, b};
    gpudl_emu_collective(0xffffffffu, MMA_F16, mma_combine<MMA_F16>, &record);
#else
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// mma.sync m16n8k16, bfloat16 operands, float accumulators (sm_80).
__device__ __forceinline__ void mma_m16n8k16_bf16(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#ifdef GPUDL_EMULATOR
    MmaRecord record = {c, a, b};
    gpudl_emu_collective(0xffffffffu, MMA_BF16, mma_combine<MMA_BF16>, &record);
#else
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// ldmatrix (sm_75): loads `count` = 1, 2 or 4 matrices of 8x8 16-bit elements from shared memory. Lane 8*m + r gives the address of row r
// of matrix m (16 bytes, aligned; lanes beyond 8*count are not asked). Of matrix m, a lane receives in out[m] the elements
// [lane/4][2*(lane%4)] and the next one; with `transposed`, [2*(lane%4)][lane/4] and the one below.
#ifdef GPUDL_EMULATOR
struct LdmatrixRecord { unsigned short row[8]; unsigned out[4]; int count; bool transposed; };
GPUDL_EMU_INTERNAL static void ldmatrix_combine(void** records, unsigned, unsigned) {
    const LdmatrixRecord& first = *(const LdmatrixRecord*)records[0];
    for (int lane = 0; lane < 32; lane++)
        for (int m = 0; m < first.count; m++) {
            unsigned pair = 0;
            for (int h = 0; h < 2; h++) {
                const int row = first.transposed ? 2 * (lane % 4) + h : lane / 4, column = first.transposed ? lane / 4 : 2 * (lane % 4) + h;
                pair |= (unsigned)((const LdmatrixRecord*)records[8 * m + row])->row[column] << (16 * h);
            }
            ((LdmatrixRecord*)records[lane])->out[m] = pair;
        }
}
template <int count, bool transposed> __device__ __forceinline__ void ldmatrix(unsigned (&out)[count], const void* row) {
    LdmatrixRecord record = {{}, {}, count, transposed};
    if ((int)(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32 < 8 * count) *(uint4*)record.row = *(const uint4*)row;
    gpudl_emu_collective(0xffffffffu, LDMATRIX, ldmatrix_combine, &record);
    for (int m = 0; m < count; m++) out[m] = record.out[m];
}
__device__ __forceinline__ void ldmatrix_x1(unsigned (&out)[1], const void* row) { ldmatrix<1, false>(out, row); }
__device__ __forceinline__ void ldmatrix_x2(unsigned (&out)[2], const void* row) { ldmatrix<2, false>(out, row); }
__device__ __forceinline__ void ldmatrix_x4(unsigned (&out)[4], const void* row) { ldmatrix<4, false>(out, row); }
__device__ __forceinline__ void ldmatrix_x1_trans(unsigned (&out)[1], const void* row) { ldmatrix<1, true>(out, row); }
__device__ __forceinline__ void ldmatrix_x2_trans(unsigned (&out)[2], const void* row) { ldmatrix<2, true>(out, row); }
__device__ __forceinline__ void ldmatrix_x4_trans(unsigned (&out)[4], const void* row) { ldmatrix<4, true>(out, row); }
#else
__device__ __forceinline__ void ldmatrix_x1(unsigned (&out)[1], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(out[0]) : "r"((unsigned)__cvta_generic_to_shared(row)) : "memory");
}
__device__ __forceinline__ void ldmatrix_x2(unsigned (&out)[2], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(out[0]), "=r"(out[1]) : "r"((unsigned)__cvta_generic_to_shared(row)) : "memory");
}
__device__ __forceinline__ void ldmatrix_x4(unsigned (&out)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3]) : "r"((unsigned)__cvta_generic_to_shared(row)) : "memory");
}
__device__ __forceinline__ void ldmatrix_x1_trans(unsigned (&out)[1], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];" : "=r"(out[0]) : "r"((unsigned)__cvta_generic_to_shared(row)) : "memory");
}
__device__ __forceinline__ void ldmatrix_x2_trans(unsigned (&out)[2], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(out[0]), "=r"(out[1]) : "r"((unsigned)__cvta_generic_to_shared(row)) : "memory");
}
__device__ __forceinline__ void ldmatrix_x4_trans(unsigned (&out)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3]) : "r"((unsigned)__cvta_generic_to_shared(row)) : "memory");
}
#endif
