"""What kernels may use: each feature of the language against NumPy, in fast mode and under the sanitizer."""

from pathlib import Path

import numpy as np
import pytest

from gpudl import emulator

pytestmark = pytest.mark.emulator

KERNELS = str(Path(__file__).resolve().parents[2] / "kernels")
modes = pytest.mark.parametrize("sanitize", [False, True], ids=["fast", "sanitized"])


def run(source, name, grid, block, *args, sanitize=True, smem=0, cooperative=None, **settings):
    module = emulator.compile('#include "ptx.cuh"\n' + source, options=(f"-I{KERNELS}",), sanitize=sanitize, **settings)
    function = module.get_function(name)
    function(grid, block, args, shared_mem=smem, **({} if cooperative is None else {"cooperative": cooperative}))
    return function


TENSOR = """
extern "C" __global__ void tf32(const float* A, const float* B, float* C) {            // 16x8 times 8x8
    int g = threadIdx.x / 4, t = threadIdx.x % 4;
    unsigned a[4] = {float_to_tf32(A[g * 8 + t]), float_to_tf32(A[(g + 8) * 8 + t]), float_to_tf32(A[g * 8 + t + 4]), float_to_tf32(A[(g + 8) * 8 + t + 4])};
    unsigned b[2] = {float_to_tf32(B[t * 8 + g]), float_to_tf32(B[(t + 4) * 8 + g])};
    float c[4] = {0, 0, 0, 1};
    mma_m16n8k8_tf32(c, a, b);
    C[g * 8 + 2 * t] = c[0]; C[g * 8 + 2 * t + 1] = c[1]; C[(g + 8) * 8 + 2 * t] = c[2]; C[(g + 8) * 8 + 2 * t + 1] = c[3] - 1;
}
template <bool bf16> __device__ void halves(const unsigned short* A, const unsigned short* B, float* C) {       // 16x16 times 16x8, operands by ldmatrix
    __shared__ alignas(16) unsigned short As[16][24], Bs[16][8];
    int lane = threadIdx.x;
    for (int i = lane; i < 256; i += 32) As[i / 16][i % 16] = A[i];
    for (int i = lane; i < 128; i += 32) Bs[i / 8][i % 8] = B[i];
    __syncwarp();
    unsigned a[4], b[2];
    ldmatrix_x4(a, &As[lane % 16][8 * (lane / 16)]);
    ldmatrix_x2_trans(b, &Bs[lane % 16][0]);
    float c[4] = {};
    if (bf16) mma_m16n8k16_bf16(c, a, b); else mma_m16n8k16_f16(c, a, b);
    int g = lane / 4, t = lane % 4;
    C[g * 8 + 2 * t] = c[0]; C[g * 8 + 2 * t + 1] = c[1]; C[(g + 8) * 8 + 2 * t] = c[2]; C[(g + 8) * 8 + 2 * t + 1] = c[3];
}
extern "C" __global__ void f16(const unsigned short* A, const unsigned short* B, float* C) { halves<false>(A, B, C); }
extern "C" __global__ void bf16(const unsigned short* A, const unsigned short* B, float* C) { halves<true>(A, B, C); }
"""


@modes
def test_tensor_cores(sanitize):
    rng = np.random.default_rng(0)
    a, b, c = rng.normal(size=(16, 8)).astype(np.float32), rng.normal(size=(8, 8)).astype(np.float32), np.zeros((16, 8), np.float32)
    run(TENSOR, "tf32", 1, 32, a, b, c, sanitize=sanitize)
    round_tf32 = lambda v: ((v.view(np.uint32) + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32).astype(np.float64)
    np.testing.assert_allclose(c, round_tf32(a) @ round_tf32(b), atol=2e-6)

    a, b = rng.normal(size=(16, 16)).astype(np.float16), rng.normal(size=(16, 8)).astype(np.float16)
    run(TENSOR, "f16", 1, 32, a.view(np.uint16), b.view(np.uint16), c, sanitize=sanitize)
    np.testing.assert_allclose(c, a.astype(np.float64) @ b.astype(np.float64), atol=2e-6)

    bits = lambda v: (v.view(np.uint32) >> 16).astype(np.uint16)
    wide = lambda v: (bits(v).astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    a, b = rng.normal(size=(16, 16)).astype(np.float32), rng.normal(size=(16, 8)).astype(np.float32)
    run(TENSOR, "bf16", 1, 32, bits(a), bits(b), c, sanitize=sanitize)
    np.testing.assert_allclose(c, wide(a) @ wide(b), atol=2e-6)


HALF = """
extern "C" __global__ void widen(const unsigned short* x, float* y, float* z) {
    int i = blockIdx.x * 256 + threadIdx.x; y[i] = half_to_float(x[i]); z[i] = bfloat16_to_float(x[i]);
}
extern "C" __global__ void narrow(const float* x, unsigned short* y, unsigned short* z) {
    int i = blockIdx.x * 256 + threadIdx.x; y[i] = float_to_half(x[i]); z[i] = float_to_bfloat16(x[i]);
}
"""


def test_half_conversions_for_every_value():
    import ml_dtypes

    x = np.arange(65536, dtype=np.uint16)
    y, z = np.zeros((2, 65536), np.float32)
    run(HALF, "widen", 256, 256, x, y, z, sanitize=False)
    np.testing.assert_array_equal(y, x.view(np.float16).astype(np.float32))
    np.testing.assert_array_equal(z, x.view(ml_dtypes.bfloat16).astype(np.float32))
    rng = np.random.default_rng(1)
    halves = x.view(np.float16).astype(np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        above = np.nextafter(halves, np.float32(np.inf))
        ties = (halves.astype(np.float64) * (1 + 2.0**-11)).astype(np.float32)
    some = rng.integers(0, 2**32, 65536, dtype=np.uint32).view(np.float32)
    values = np.concatenate(
        [halves, above, ties, some, ((x.astype(np.uint32) << 16) + 0x8000).view(np.float32), np.full(256, 65519.996, np.float32)]
    )
    h, b = np.zeros((2, values.size), np.uint16)
    run(HALF, "narrow", values.size // 256, 256, values, h, b, sanitize=False)
    finite = ~np.isnan(values)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(h[finite], values[finite].astype(np.float16).view(np.uint16))
        np.testing.assert_array_equal(b[finite], values[finite].astype(ml_dtypes.bfloat16).view(np.uint16))
    assert (h[~finite] == 0x7FFF).all() and (b[~finite] == 0x7FFF).all()


WARPS = """
extern "C" __global__ void warps(const int* x, int* y) {
    int t = threadIdx.x; unsigned all = 0xffffffffu;
    y[t] = __shfl_xor_sync(all, x[t], 5);
    y[t + 64] = __shfl_up_sync(all, x[t], 3, 16);
    y[t + 128] = __shfl_down_sync(all, x[t], 3, 8);
    y[t + 192] = __shfl_sync(all, x[t], 7);
    y[t + 256] = __ballot_sync(all, x[t] & 1);
    y[t + 320] = __any_sync(all, x[t] == 3) + 2 * __all_sync(all, x[t] >= 0);
    y[t + 384] = __match_any_sync(all, x[t] % 4);
    y[t + 448] = __reduce_add_sync(all, x[t]);
    unsigned half = t % 32 < 16 ? 0xffffu : 0xffff0000u;
    y[t + 512] = __shfl_xor_sync(half, x[t], 15);
    y[t + 576] = __syncthreads_count(x[t] > 10);
    double d = x[t] * 0.5; y[t + 640] = (int)(2 * __shfl_xor_sync(all, d, 1));
}
"""


@modes
@pytest.mark.parametrize("order", ["ascending", "descending", "random"])
def test_warp_operations(sanitize, order):
    x = np.random.default_rng(2).integers(0, 100, 64).astype(np.int32)
    y = np.zeros(704, np.int32)
    run(WARPS, "warps", 1, 64, x, y, sanitize=sanitize, order=order, seed=5)
    y, lane, warp = y.reshape(11, 64), np.arange(64) % 32, np.arange(64) // 32 * 32
    np.testing.assert_array_equal(y[0], x[warp + (lane ^ 5)])
    np.testing.assert_array_equal(y[1], x[warp + np.where(lane % 16 >= 3, lane - 3, lane)])
    np.testing.assert_array_equal(y[2], x[warp + np.where(lane % 8 < 5, lane + 3, lane)])
    np.testing.assert_array_equal(y[3], x[warp + 7])
    ballots = [sum(1 << i for i in range(32) if x[w + i] & 1) for w in (0, 32)]
    np.testing.assert_array_equal(y[4].view(np.uint32), np.repeat(np.array(ballots, np.uint32), 32))
    np.testing.assert_array_equal(y[5], np.repeat([int((x[w : w + 32] == 3).any()) + 2 for w in (0, 32)], 32))
    np.testing.assert_array_equal(
        y[6].view(np.uint32), [sum(1 << j for j in range(32) if x[w + j] % 4 == x[w + i] % 4) for w in (0, 32) for i in range(32)]
    )
    np.testing.assert_array_equal(y[7], np.repeat([x[:32].sum(), x[32:].sum()], 32))
    np.testing.assert_array_equal(y[8], x[warp + (lane ^ 15)])
    np.testing.assert_array_equal(y[9], (x > 10).sum())
    np.testing.assert_array_equal(y[10], x[warp + (lane ^ 1)])


ATOMICS = """
extern "C" __global__ void atomics(int* i, unsigned* u, unsigned long long* l, float* f, double* d, long* k) {
    int t = blockIdx.x * blockDim.x + threadIdx.x;
    atomicAdd(&i[0], t); atomicSub(&i[1], 1); atomicMin(&i[2], -t); atomicMax(&i[3], t); atomicExch(&i[4], 7); atomicAnd(&i[5], ~(1 << (t % 8)));
    atomicOr(&u[0], 1u << (t % 32)); atomicXor(&u[1], 1u << (t % 32)); atomicInc(&u[2], 9u); atomicDec(&u[3], 9u); atomicMax(&u[4], (unsigned)t);
    atomicAdd(&l[0], 1ull << 33); atomicMax(&l[1], (unsigned long long)t); atomicAdd(&f[0], 0.5f); atomicAdd(&d[0], 0.25); atomicMin(&k[0], (long)-t);
    float old = f[1], seen; (void)old;
    int* word = (int*)&f[2];
    int now = atomicAdd(word, 0);
    do { int want = __float_as_int(__int_as_float(now) + 1.0f); int got = atomicCAS(word, now, want); if (got == now) break; now = got; } while (true);
    (void)seen;
}
"""


@modes
def test_atomics(sanitize):
    i, u, l = np.zeros(6, np.int32), np.zeros(5, np.uint32), np.zeros(2, np.uint64)
    i[5] = -1
    f, d, k = np.zeros(3, np.float32), np.zeros(1), np.zeros(1, np.int64)
    run(ATOMICS, "atomics", 4, 64, i, u, l, f, d, k, sanitize=sanitize)
    n = 256
    assert i.tolist() == [n * (n - 1) // 2, -n, -(n - 1), n - 1, 7, -256]
    assert u[0] == 2**32 - 1 and u[1] == 0 and u[2] == n % 10 and u[4] == n - 1
    assert l.tolist() == [n << 33, n - 1] and f[0] == n / 2 and f[2] == n and d[0] == n / 4 and k[0] == -(n - 1)


MORE = """
struct Point { float x; int n; long big[2]; };
__constant__ float table[4] = {1, 2, 3, 4};
__device__ int counter;
namespace deep { template <class type, int n> __global__ void fill(type* y, Point p) { extern __shared__ __align__(16) unsigned char raw[];
    type* s = (type*)raw; s[threadIdx.x] = (type)(p.x * n + p.big[1]); __syncthreads(); y[threadIdx.x] = s[n - 1 - threadIdx.x]; } }
extern "C" __global__ void __launch_bounds__(64, 2) plain(float4* v, double* d, Point p) {
    float4 q = make_float4(table[0], table[1], table[2], table[3]); v[threadIdx.x] = q;
    d[threadIdx.x] = rsqrt(4.0) + erff(0.0f) + __expf(0.0f) + p.n; if (threadIdx.x == 0) atomicAdd(&counter, 1);
    d[32 + threadIdx.x] = __float2int_rn(2.5f) + __popc(255u) + __clz(1) + __ffs(8) + max(3, 2) + fmaxf(1.f, 2.f) + __ldg((const float*)&v[threadIdx.x].y);
}
"""


@modes
def test_templates_structs_and_constants(sanitize):
    point = np.zeros(1, np.dtype([("x", "f4"), ("n", "i4"), ("big", "i8", 2)]))
    point["x"], point["n"], point["big"] = 2.5, 9, (1, 2)
    module = emulator.RawModule(
        code=MORE,
        options=("-std=c++17", "-lineinfo", "--use_fast_math"),
        name_expressions=("deep::fill<double, 32>", "deep::fill<int, 32>"),
        sanitize=sanitize,
    )
    out = np.zeros(32)
    module.get_function("deep::fill<double, 32>")((1,), (32,), (out, point), shared_mem=256)
    assert (out == 82).all()
    v, d = np.zeros((32, 4), np.float32), np.zeros(64)
    module.get_function("plain")((1,), (32,), (v, d, point))
    assert (v == [1, 2, 3, 4]).all() and (d[:32] == 10.5).all() and (d[32:] == 2 + 8 + 31 + 4 + 3 + 2 + 2).all()
    assert module.get_global("counter").view(np.int32)[0] == 1
    module.get_global("table").view(np.float32)[:] = 8
    module.get_function("plain")((1,), (32,), (v, d, point))
    assert (v == 8).all()
    with pytest.raises(AttributeError, match="no kernel 'fall'"):
        module.get_function("fall")


PIPE = """
extern "C" __global__ void pipe(const float* x, float* y, int n) {                     // double-buffered cp.async, ragged end
    __shared__ alignas(16) float s[2][128];
    int t = threadIdx.x; float sum = 0;
    auto fetch = [&](int k) {
        int left = n - (k * 128 + 4 * t);
        cp_async_16(&s[k & 1][4 * t], left > 0 ? x + k * 128 + 4 * t : x, left >= 4 ? 16 : left > 0 ? 4 * left : 0);
        cp_async_commit();
    };
    int steps = (n + 127) / 128;
    fetch(0);
    for (int k = 0; k < steps; k++) {
        if (k + 1 < steps) { fetch(k + 1); cp_async_wait<1>(); } else cp_async_wait<0>();
        __syncthreads();
        for (int j = 0; j < 4; j++) sum += s[k & 1][(4 * t + 37 + j) % 128];
        __syncthreads();
    }
    y[t] = sum;
}
extern "C" __global__ void pairs(const float* x, float* y) {                            // warps 0-1 and 2-3 meet at barriers of their own; a producer arrives
    __shared__ float s[128], late; int t = threadIdx.x, pair = t / 64;
    s[t] = x[t];
    named_barrier_sync(1 + pair, 64);
    float v = s[pair * 64 + 63 - t % 64];
    if (t < 32) { if (t == 0) late = v; named_barrier_arrive(5, 64); }
    else if (t < 64) { named_barrier_sync(5, 64); v += late; }
    y[t] = v;
}
extern "C" __global__ void grid(unsigned* state, float* x, int steps) {                 // every block reads what its neighbour wrote a step before
    int b = blockIdx.x, n = gridDim.x;
    for (int k = 0; k < steps; k++) {
        float v = x[(b + 1) % n * 32 + threadIdx.x];
        grid_barrier(state);
        x[b * 32 + threadIdx.x] = v + 1;
        grid_barrier(state);
    }
}
"""


@modes
def test_asynchronous_copies(sanitize):
    x, y = np.random.default_rng(3).normal(size=509).astype(np.float32), np.zeros(32, np.float32)
    run(PIPE, "pipe", 1, 32, x, y, 509, sanitize=sanitize)
    full = np.zeros(512, np.float32)
    full[:509] = x
    index = (4 * np.arange(32)[:, None] + 37 + np.arange(4)) % 128
    np.testing.assert_allclose(y, full.reshape(4, 128)[:, index].sum((0, 2)), rtol=1e-5, atol=1e-5)


@modes
def test_named_barriers(sanitize):
    x, y = np.arange(128, dtype=np.float32), np.zeros(128, np.float32)
    run(PIPE, "pairs", 1, 128, x, y, sanitize=sanitize)
    want = np.concatenate([x[63::-1], x[127:63:-1]])
    want[32:64] += want[0]
    np.testing.assert_array_equal(y, want)


@modes
def test_a_cooperative_grid_meets_at_its_barrier(sanitize):
    x = np.arange(8 * 32, dtype=np.float32)
    run(PIPE, "grid", 8, 32, np.zeros(1, np.uint32), x, 5, sanitize=sanitize, cooperative=True)
    np.testing.assert_array_equal(x.reshape(8, 32), np.roll(np.arange(256, dtype=np.float32).reshape(8, 32), -5, 0) + 5)


def test_a_grid_barrier_that_is_missing_is_a_race():
    source = PIPE.replace("grid_barrier(state);\n        x[b", "x[b")
    with pytest.raises(emulator.SanitizerError, match="race"):
        run(source, "grid", 4, 32, np.zeros(1, np.uint32), np.zeros(128, np.float32), 2, cooperative=True)


def test_a_grid_barrier_outside_a_cooperative_launch():
    with pytest.raises(emulator.SanitizerError, match="cooperative"):
        run(PIPE, "grid", 4, 32, np.zeros(1, np.uint32), np.zeros(128, np.float32), 2, sanitize=False)


FINE = """
extern "C" __global__ void last_block(const float* x, float* y, unsigned* c) {
    __shared__ bool last; int t = threadIdx.x;
    y[1 + blockIdx.x * 64 + t] = x[t]; __threadfence(); __syncthreads();
    if (t == 0) last = atomicAdd(c, 1u) == gridDim.x - 1;
    __syncthreads();
    if (last && t == 0) { float s = 0; for (int i = 0; i < 64 * gridDim.x; i++) s += y[1 + i]; y[0] = s; }
}
extern "C" __global__ void lock(int* l, int* v) { while (atomicCAS(l, 0, 1) != 0); __threadfence(); v[0] += 1; __threadfence(); atomicExch(l, 0); }
extern "C" __global__ void flag(int* ready, int* data) {
    if (threadIdx.x == 0) { data[0] = 5; __threadfence(); *(volatile int*)ready = 1; }
    if (threadIdx.x == 33) { while (*(volatile int*)ready == 0); __threadfence(); data[1] = data[0]; }
}
extern "C" __global__ void shared_flag(const float* x, float* y, int rounds) {                // one warp makes, another takes, again and again
    __shared__ volatile int full; __shared__ float s[32]; int t = threadIdx.x, lane = t % 32;
    if (t == 0) full = 0;
    __syncthreads();
    for (int k = 0; k < rounds; k++) {
        if (t < 32) {
            if (lane == 0) { while (full); __threadfence_block(); }
            __syncwarp();
            s[lane] = x[lane] + k;
            __syncwarp();
            if (lane == 0) { __threadfence_block(); full = 1; }
        } else {
            if (lane == 0) { while (!full); __threadfence_block(); }
            __syncwarp();
            y[k * 32 + lane] = s[31 - lane];
            __syncwarp();
            if (lane == 0) { __threadfence_block(); full = 0; }
        }
    }
}
extern "C" __global__ void in_turn(int* y) {                                                  // warps take turns by a counter in shared memory
    __shared__ volatile int turn; __shared__ int sum; int warp = threadIdx.x / 32;
    if (threadIdx.x == 0) turn = 0, sum = 0;
    __syncthreads();
    if (threadIdx.x % 32 == 0) {
        while (turn != warp);
        __threadfence_block();
        sum = sum * 10 + warp;
        __threadfence_block();
        turn = warp + 1;
    }
    __syncthreads();
    y[0] = sum;
}
extern "C" __global__ void one_by_one(int* y) {                                               // threads take turns: each polls until it is next
    volatile int* turn = y;
    while (*turn != (int)threadIdx.x);
    __threadfence();
    y[1] = y[1] * 3 + threadIdx.x;
    __threadfence();
    *turn = threadIdx.x + 1;
}
extern "C" __global__ void raised_atomically(const float* x, float* y) {
    __shared__ int flag; __shared__ float s[1];
    if (threadIdx.x == 0) flag = 0;
    __syncthreads();
    if (threadIdx.x == 0) { s[0] = x[7]; __threadfence_block(); atomicExch(&flag, 1); }
    if (threadIdx.x == 40) { while (*(volatile int*)&flag == 0); __threadfence_block(); y[0] = s[0]; }
}
extern "C" __global__ void ragged(const float* x, float* y, int n, int counted) {             // undefined values that nobody uses
    int t = threadIdx.x; unsigned mask = __ballot_sync(0xffffffffu, t < n);
    y[40 + t] += 1;
    if (t >= n) return;
    float v = x[t];
    for (int o = 16; o; o /= 2) { float other = __shfl_down_sync(mask, v, o); if (t + o < n) v += other; }
    float w = x[t];
    for (int o = counted / 2; o; o /= 2) w += __shfl_down_sync(mask, w, o);                   // lane 0 never meets the far lanes' values
    if (t == 0) y[0] = v, y[1] = w, atomicAdd(&y[2], 1.0f);
}
extern "C" __global__ void partial(const float* x, float* y) {
    __shared__ float s[32]; int t = threadIdx.x; unsigned m = t < 16 ? 0xffffu : 0xffff0000u;
    s[t] = x[t]; __syncwarp(m); y[t] = s[t ^ 1];
}
extern "C" __global__ void same_value(int* f) { if (threadIdx.x > 3) f[0] = 7; }
extern "C" __global__ void swap(const double* x, double* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    unsigned long long *p = (unsigned long long*)y, old = *p, assumed;
    do { assumed = old; old = atomicCAS(p, assumed, __double_as_longlong(fmax(x[i], __longlong_as_double(assumed)))); } while (assumed != old);
}
extern "C" __global__ void bytes(unsigned char* b, unsigned short* h) {
    b[threadIdx.x] = 1; h[threadIdx.x] = 2; __syncthreads(); b[threadIdx.x ^ 1] += 1; h[threadIdx.x ^ 1] += 1;
}
"""


@pytest.mark.parametrize("order", ["ascending", "descending", "random"])
def test_correct_synchronisation_gives_no_report(order):
    x, y = np.ones(64, np.float32), np.zeros(400, np.float32)
    go = lambda name, grid, block, *args: run(FINE, name, grid, block, *args, order=order)
    go("last_block", 5, 64, x, y, np.zeros(1, np.uint32))
    assert y[0] == 320
    v = np.zeros(1, np.int32)
    go("lock", 3, 64, np.zeros(1, np.int32), v)
    assert v[0] == 192
    data = np.zeros(2, np.int32)
    go("flag", 1, 64, np.zeros(1, np.int32), data)
    assert data[1] == 5
    go("shared_flag", 1, 64, np.arange(32, dtype=np.float32), y, 5)
    assert (y[:160].reshape(5, 32) == np.arange(31, -1, -1) + np.arange(5)[:, None]).all()
    total = np.zeros(1, np.int32)
    go("in_turn", 2, 128, total)
    assert total[0] == 123
    chain, want = np.zeros(2, np.int32), 0
    go("one_by_one", 1, 96, chain)
    for t in range(96):
        want = (want * 3 + t) % 2**32
    assert chain.view(np.uint32).tolist() == [96, want]
    go("raised_atomically", 1, 64, np.arange(64, dtype=np.float32), y)
    assert y[0] == 7
    y[:] = 0
    rows = np.random.default_rng(1).integers(0, 9, 32).astype(np.float32)
    for n in (16, 21):
        go("ragged", 1, 32, rows, y, n, 16 if n == 16 else 1)
        assert y[0] == rows[:n].sum() and y[1] == (rows[:16].sum() if n == 16 else rows[0])
    assert y[2] == 2 and (y[40:72] == 2).all()  # the launch is tried with other values, and counts once
    values, most = np.random.default_rng(0).standard_normal(128), np.full(1, -9.0)
    go("swap", 2, 64, values, most, 128)
    assert most[0] == values.max()
    go("partial", 1, 32, x, y)
    go("same_value", 3, 64, v)
    b, h = np.zeros(64, np.uint8), np.zeros(64, np.uint16)
    go("bytes", 1, 64, b, h)
    assert (b == 2).all() and (h == 3).all()


RACE = 'extern "C" __global__ void k(int* y) { y[0] = threadIdx.x + 64 * blockIdx.x; }\n'


def test_a_race_shows_as_different_values_in_different_orders():
    seen = {}
    for order in ("ascending", "descending", "random"):
        y = np.zeros(1, np.int32)
        run(RACE, "k", 3, 64, y, sanitize=False, order=order, seed=1)
        seen[order] = int(y[0])
    assert seen["ascending"] == 191 and seen["descending"] == 0 and seen["random"] not in (191, 0)


def test_workers_share_the_blocks():
    y = np.zeros(64 * 300, np.float32)
    source = """extern "C" __global__ void k(float* y) {
        extern __shared__ float s[];
        s[threadIdx.x] = blockIdx.x; __syncthreads();
        y[blockIdx.x * 64 + threadIdx.x] = s[63 - threadIdx.x];
    }
    """
    run(source, "k", 300, 64, y, sanitize=False, workers=3, smem=256)
    np.testing.assert_array_equal(y.reshape(300, 64), np.repeat(np.arange(300, dtype=np.float32)[:, None], 64, 1))


GROUPS = """
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
namespace cg = cooperative_groups;
extern "C" __global__ void index(const int* x, int* y) {                                // named as a function of the C library
    cg::thread_block block = cg::this_thread_block();
    auto tile = cg::tiled_partition<8>(block);
    __shared__ int s[64];
    s[block.thread_rank()] = x[block.thread_rank()];
    block.sync();
    int v = s[63 - block.thread_rank()];
    y[block.thread_rank()] = cg::reduce(tile, v, cg::plus<int>());
    y[64 + block.thread_rank()] = tile.ballot(v & 1);
}
"""


@modes
def test_cooperative_groups(sanitize):
    x, y = np.random.default_rng(4).integers(0, 9, 64).astype(np.int32), np.zeros(128, np.int32)
    run(GROUPS, "index", 1, 64, x, y, sanitize=sanitize)
    v = x[::-1].reshape(8, 8)
    np.testing.assert_array_equal(y[:64].reshape(8, 8), np.repeat(v.sum(1)[:, None], 8, 1))
    np.testing.assert_array_equal(y[64:].reshape(8, 8), np.repeat(((v & 1) << np.arange(8)).sum(1)[:, None], 8, 1))


CLASHES = """
__constant__ float y1[2] = {3, 4};
__device__ int div[4];
__device__ double remove(double v) { return v + 1; }
__device__ int select(int a, int b) { return a > b ? a : b; }
extern "C" __global__ void %s(const float* gamma, float* index, int n) {
    __shared__ float s[32];
    int i = threadIdx.x;
    s[i] = gamma[i];
    __syncthreads();
    if (i < n) index[i] = tanhf(s[i]) + y1[1] + div[0] + (float)remove(1.0) + select(2, 1);
}
"""


@modes
@pytest.mark.parametrize("name", ["div", "gamma", "tanhf", "j0", "y0", "select", "exit", "min", "atomicAdd", "scale"])
def test_names_that_the_c_library_has_too(name, sanitize):
    source = CLASHES % name
    if name in ("div", "select"):  # the kernel has the name, and nothing else
        source = source.replace(f"{name}[4]", "four[4]").replace(f"{name}[0]", "four[0]").replace(f"int {name}(", "int larger(")
        source = source.replace(f"{name}(2, 1)", "larger(2, 1)")
    x, y = np.linspace(-2, 2, 32, dtype=np.float32), np.zeros(32, np.float32)
    if name == "tanhf":
        x[:] = 0  # a kernel of that name cannot call the function, which it hides
        source = source.replace("tanhf(s[i])", "s[i]")
    k = run(source, name, 1, 32, x, y, 32, sanitize=sanitize)
    np.testing.assert_allclose(y, np.tanh(x) + 8, rtol=1e-6)
    assert k.name == name and k.shared_size_bytes == 128 and k.module.get_global("y1").view(np.float32)[1] == 4


def test_a_report_names_what_the_source_names():
    source = 'extern "C" __global__ void div(float* y) { __shared__ float remove[2]; remove[threadIdx.x] = 1; y[0] = remove[0]; }\n'
    with pytest.raises(emulator.SanitizerError) as caught:
        run(source, "div", 1, 4, np.zeros(4, np.float32))
    assert caught.value.reports[0].kernel == "div" and "gpudl" not in str(caught.value).replace("gpudl/emulator/sources", "")
    with pytest.raises(emulator.CompileError, match="‘div’ was not declared|'div' was not declared|undefined_thing") as wrong:
        run('extern "C" __global__ void div(float* y) { y[0] = undefined_thing; }\n', "div", 1, 4, np.zeros(4, np.float32))
    assert "gpudl_user" not in str(wrong.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("__global__ void a(int* y) { y[0] = 1; }\n__global__ void b(int* y) {\n  a<<<1, 2>>>(y);\n}\n", r":4: error: a kernel that launches a kernel"),
        ('#include <cub/cub.cuh>\n__global__ void a(int* y) { y[0] = 1; }\n', "does not have CUB"),
        ("__global__ void a(int* y) { y[0] = __shfl_down(y[1], 1); }\n", "__shfl_down_sync takes a mask"),
        ("__global__ void a(cudaTextureObject_t t, float* y) { y[0] = tex1Dfetch<float>(t, 0); }\n", "has no texture units"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_refused_clearly(source, message):
    with pytest.raises(emulator.CompileError, match=message):
        run(source, "a", 1, 1, np.zeros(4, np.int32))


MORE_GROUPS = """
#include <cooperative_groups/scan.h>
#include <cooperative_groups/memcpy_async.h>
namespace cg = cooperative_groups;
__device__ int total(cg::thread_group g, int* s, int v) {                                // of any group
    int lane = g.thread_rank();
    for (int i = g.size() / 2; i > 0; i /= 2) { s[lane] = v; g.sync(); if (lane < i) v += s[lane + i]; g.sync(); }
    return v;
}
extern "C" __global__ void groups(const int* x, int* y, int* counter, int n) {
    auto block = cg::this_thread_block();
    auto warp = cg::tiled_partition<32>(block);
    auto quad = cg::tiled_partition<4>(warp);
    int t = block.thread_rank();
    __shared__ int s[64], t4[64];
    cg::memcpy_async(block, s, x, sizeof s);
    cg::wait(block);
    y[t] = cg::inclusive_scan(warp, s[t]);
    y[64 + t] = cg::exclusive_scan(quad, s[t]);
    y[128 + t] = quad.match_any(s[t] & 1);
    int sum = total(block, s, x[t]);
    if (t == 0) y[192] = sum;
    sum = total(cg::tiled_partition(block, 8), t4 + t / 8 * 8, x[t]);
    if (t % 8 == 0) y[256 + t / 8] = sum;
    if (x[t] % 3 == 0) {                                                                 // one atomic for all that come here together
        auto active = cg::coalesced_threads();
        int before = 0;
        if (active.thread_rank() == 0) before = atomicAdd(counter, active.size());
        y[320 + active.shfl(before, 0) + active.thread_rank()] = x[t];
        if (active.thread_rank() == 0) atomicAdd(counter + 1, 1);
        y[384 + t] = cg::reduce(active, x[t], cg::plus<int>());
    } else y[384 + t] = __popc(__activemask());
}
"""


@modes
@pytest.mark.parametrize("order", ["ascending", "random"])
def test_more_cooperative_groups(sanitize, order):
    x, y, counter = np.random.default_rng(6).integers(0, 9, 64).astype(np.int32), np.full(448, -1, np.int32), np.zeros(2, np.int32)
    run(MORE_GROUPS, "groups", 1, 64, x, y, counter, 64, sanitize=sanitize, order=order)
    y, warps = y.reshape(7, 64), x.reshape(2, 32)
    np.testing.assert_array_equal(y[0].reshape(2, 32), warps.cumsum(1))
    np.testing.assert_array_equal(y[1].reshape(16, 4), x.reshape(16, 4).cumsum(1) - x.reshape(16, 4))
    odd = x.reshape(16, 4) & 1
    np.testing.assert_array_equal(y[2].reshape(16, 4), ((odd[:, None, :] == odd[:, :, None]) << np.arange(4)).sum(2))
    assert y[3, 0] == x.sum()
    np.testing.assert_array_equal(y[4, :8], x.reshape(8, 8).sum(1))
    threes = x % 3 == 0
    assert counter.tolist() == [threes.sum(), 2]  # the lanes of a warp came together
    assert sorted(y[5][: threes.sum()]) == sorted(x[threes])
    for w in range(2):
        mine, values = threes.reshape(2, 32)[w], warps[w]
        np.testing.assert_array_equal(y[6].reshape(2, 32)[w], np.where(mine, values[mine].sum(), (~mine).sum()))


def test_printf_goes_where_python_prints(capsys):
    source = """
    #include <stdio.h>
    extern "C" __global__ void k(const float* x, int n) {
        for (int i = 0; i < n; i++) printf("thread %d: %5.2f %s\\n", threadIdx.x, x[threadIdx.x], "ok");
        if (threadIdx.x == 3) x[100000] == 0 ? printf("yes") : printf("no");
    }
    """
    x = np.arange(4, dtype=np.float32)
    module = emulator.compile(source, sanitize=False)
    run(source, "k", 1, 3, x, 2, sanitize=False)
    assert capsys.readouterr().out == "".join(f"thread {t}: {t:5.2f} ok\n" * 2 for t in range(3))
    module.get_function("k")(1, 3, (x, 100000))
    out = capsys.readouterr().out
    assert len(out) < (1 << 20) + 200 and "more printf calls: a launch keeps 1 MiB" in out
    with pytest.raises(emulator.SanitizerError, match="out_of_bounds"):
        run(source, "k", 1, 4, x, 1)
    assert capsys.readouterr().out.startswith("thread 0:  0.00 ok\nthread 1:")


def test_memory_from_a_kernels_heap():
    source = """
    struct Pair { int a, b; };
    extern "C" __global__ void k(int* y, int past) {
        int* p = (int*)malloc(64 * sizeof(int));
        for (int i = 0; i < 64 + past; i++) p[i] = i;
        Pair* q = new Pair[3];
        q[2].b = 5;
        y[threadIdx.x] = p[63] + q[2].b;
        delete[] q;
        free(p);
    }
    """
    y = np.zeros(4, np.int32)
    before = emulator.memory_in_use()
    run(source, "k", 1, 4, y, 0)
    assert (y == 68).all() and emulator.memory_in_use() == before
    with pytest.raises(emulator.SanitizerError, match="out_of_bounds: writes 4 bytes at element 64 of memory from malloc"):
        run(source, "k", 1, 1, y, 1)
    with pytest.raises(emulator.SanitizerError, match="was freed before"):
        run(source.replace("free(p);", "free(p); free(p);"), "k", 1, 1, y, 0)


WMMA = """
#include <mma.h>
using namespace nvcuda;
extern "C" __global__ void product(const half* a, const half* b, float* c) {              // 16x32 times 32x16, b stored by columns
    wmma::fragment<wmma::matrix_a, 16, 16, 16, half, wmma::row_major> fa;
    wmma::fragment<wmma::matrix_b, 16, 16, 16, half, wmma::col_major> fb;
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> fc;
    wmma::fill_fragment(fc, 1.0f);
    for (int k = 0; k < 32; k += 16) {
        wmma::load_matrix_sync(fa, a + k, 32);
        wmma::load_matrix_sync(fb, b + k, 32);
        wmma::mma_sync(fc, fa, fb, fc);
    }
    for (int i = 0; i < fc.num_elements; i++) fc.x[i] *= 2;
    wmma::store_matrix_sync(c, fc, 16, wmma::mem_row_major);
}
extern "C" __global__ void bytes(const signed char* a, const signed char* b, int* c) {
    wmma::fragment<wmma::matrix_a, 8, 32, 16, signed char, wmma::row_major> fa;
    wmma::fragment<wmma::matrix_b, 8, 32, 16, signed char, wmma::row_major> fb;
    wmma::fragment<wmma::accumulator, 8, 32, 16, int> fc;
    wmma::fill_fragment(fc, 0);
    wmma::load_matrix_sync(fa, a, 16);
    wmma::load_matrix_sync(fb, b, 32);
    wmma::mma_sync(fc, fa, fb, fc);
    wmma::store_matrix_sync(c, fc, 8, wmma::mem_col_major);
}
"""


@modes
def test_wmma(sanitize):
    rng = np.random.default_rng(7)
    a, b, c = rng.normal(size=(16, 32)).astype(np.float16), rng.normal(size=(32, 16)).astype(np.float16), np.zeros((16, 16), np.float32)
    run(WMMA, "product", 1, 32, a, np.ascontiguousarray(b.T), c, sanitize=sanitize)
    np.testing.assert_allclose(c, 2 * (1 + a.astype(float) @ b.astype(float)), atol=1e-5)
    a, b, c = rng.integers(-128, 128, (8, 16)).astype(np.int8), rng.integers(-128, 128, (16, 32)).astype(np.int8), np.zeros((32, 8), np.int32)
    run(WMMA, "bytes", 1, 32, a, b, c, sanitize=sanitize)
    np.testing.assert_array_equal(c.T, a.astype(int) @ b.astype(int))


def test_wmma_past_the_end_of_a_matrix():
    with pytest.raises(emulator.SanitizerError, match="out_of_bounds"):
        run(WMMA, "product", 1, 32, np.zeros((15, 32), np.float16), np.zeros((16, 32), np.float16), np.zeros((16, 16), np.float32))
