// nvcuda::wmma of CUDA's mma.h, for the emulator: half, bfloat16, tf32, signed and unsigned bytes, and double. Which lane holds which element of a
// fragment is not documented, so ours differs from a GPU's: only what holds for any layout (load, fill, element by element, mma, store) is portable.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
namespace nvcuda { namespace wmma {
struct matrix_a; struct matrix_b; struct accumulator; struct row_major; struct col_major;
enum layout_t { mem_row_major, mem_col_major };
namespace precision { struct tf32; }
template <class type_> struct gpudl_storage { typedef type_ type; };
template <> struct gpudl_storage<precision::tf32> { typedef float type; };
template <class use_, int m_, int n_, int k_> struct gpudl_extent;
template <int m_, int n_, int k_> struct gpudl_extent<matrix_a, m_, n_, k_> { static constexpr int rows = m_, columns = k_; };
template <int m_, int n_, int k_> struct gpudl_extent<matrix_b, m_, n_, k_> { static constexpr int rows = k_, columns = n_; };
template <int m_, int n_, int k_> struct gpudl_extent<accumulator, m_, n_, k_> { static constexpr int rows = m_, columns = n_; };
template <class use_, int m_, int n_, int k_, class type_, class layout_ = void> struct fragment {
    static_assert((m_ == 16 && n_ == 16 && (k_ == 16 || k_ == 8)) || (m_ == 32 && n_ == 8 && k_ == 16) || (m_ == 8 && n_ == 32 && k_ == 16) || (m_ == 8 && n_ == 8 && k_ == 4),
                  "wmma has the shapes 16x16x16, 32x8x16, 8x32x16, 16x16x8 (tf32) and 8x8x4 (double)");
    typedef typename gpudl_storage<type_>::type storage_element_type, element_type;
    static constexpr int rows = gpudl_extent<use_, m_, n_, k_>::rows, columns = gpudl_extent<use_, m_, n_, k_>::columns;
    static constexpr int num_elements = rows * columns / 32, num_storage_elements = num_elements;
    storage_element_type x[num_elements];       // element i of a lane: number 32 * i + lane, row by row
};
gpudl_inline float __float_to_tf32(float v) {
    unsigned word = __float_as_uint(v);
    return (word & 0x7f800000u) == 0x7f800000u ? v : __uint_as_float((word + 0x1000u) & 0xffffe000u);
}
gpudl_inline int gpudl_lane() { return (int)((threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32); }
template <class fragment_, class value_> gpudl_inline void fill_fragment(fragment_& f, const value_& v) {
    for (int i = 0; i < f.num_elements; i++) f.x[i] = (typename fragment_::storage_element_type)v;
}
template <class use_, int m_, int n_, int k_, class type_, class layout_, class memory_>
gpudl_inline void gpudl_load(fragment<use_, m_, n_, k_, type_, layout_>& f, const memory_* p, unsigned leading, bool by_row) {
    __syncwarp();                               // as on a GPU: the whole warp loads together
    for (int i = 0; i < f.num_elements; i++) {
        const int e = 32 * i + gpudl_lane(), row = e / f.columns, column = e % f.columns;
        f.x[i] = p[by_row ? (size_t)row * leading + column : (size_t)column * leading + row];
    }
}
template <class layout_> constexpr bool gpudl_by_row = false;
template <> constexpr bool gpudl_by_row<row_major> = true;
template <class use_, int m_, int n_, int k_, class type_, class layout_, class memory_>
gpudl_inline void load_matrix_sync(fragment<use_, m_, n_, k_, type_, layout_>& f, const memory_* p, unsigned leading) { gpudl_load(f, p, leading, gpudl_by_row<layout_>); }
template <int m_, int n_, int k_, class type_, class memory_>
gpudl_inline void load_matrix_sync(fragment<accumulator, m_, n_, k_, type_>& f, const memory_* p, unsigned leading, layout_t layout) { gpudl_load(f, p, leading, layout == mem_row_major); }
template <int m_, int n_, int k_, class type_, class memory_>
gpudl_inline void store_matrix_sync(memory_* p, const fragment<accumulator, m_, n_, k_, type_>& f, unsigned leading, layout_t layout) {
    __syncwarp();
    for (int i = 0; i < f.num_elements; i++) {
        const int e = 32 * i + gpudl_lane(), row = e / f.columns, column = e % f.columns;
        p[layout == mem_row_major ? (size_t)row * leading + column : (size_t)column * leading + row] = f.x[i];
    }
}
struct gpudl_product { const void *a, *b, *c; void* d; };
template <class d_, class a_, class b_, class c_> GPUDL_EMU_INTERNAL static void gpudl_multiply(void** records, unsigned, unsigned) {
    constexpr int m = a_::rows, k = a_::columns, n = b_::columns;
    double a[m][k], b[k][n];
    const gpudl_product** all = (const gpudl_product**)records;
    for (int lane = 0; lane < 32; lane++) {
        for (int i = 0; i < a_::num_elements; i++) a[(32 * i + lane) / k][(32 * i + lane) % k] = (double)((const a_*)all[lane]->a)->x[i];
        for (int i = 0; i < b_::num_elements; i++) b[(32 * i + lane) / n][(32 * i + lane) % n] = (double)((const b_*)all[lane]->b)->x[i];
    }
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < d_::num_elements; i++) {
            const int row = (32 * i + lane) / n, column = (32 * i + lane) % n;
            double sum = 0;                     // exact products; how the hardware adds and rounds them is not documented
            for (int j = 0; j < k; j++) sum += a[row][j] * b[j][column];
            ((d_*)all[lane]->d)->x[i] = (typename d_::storage_element_type)((double)((const c_*)all[lane]->c)->x[i] + sum);
        }
}
template <class d_, class a_, class b_, class c_> gpudl_inline void mma_sync(d_& d, const a_& a, const b_& b, const c_& c, bool = false) {
    static_assert(a_::rows == d_::rows && a_::columns == b_::rows && b_::columns == d_::columns, "fragments of one shape");
    c_ copy = c;
    gpudl_product record = {&a, &b, &copy, &d};
    gpudl_emu_collective(0xffffffffu, 24, gpudl_multiply<d_, a_, b_, c_>, &record);
}
}}  // namespace nvcuda::wmma
