// The part of CUDA's cooperative_groups.h that is a thin dress over barriers and warp operations, for the emulator.
#pragma once
namespace cooperative_groups {
struct thread_block {
    gpudl_inline void sync() const { __syncthreads(); }
    gpudl_inline unsigned size() const { return blockDim.x * blockDim.y * blockDim.z; }
    gpudl_inline unsigned num_threads() const { return size(); }
    gpudl_inline unsigned thread_rank() const { return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z); }
    gpudl_inline dim3 group_index() const { return blockIdx; }
    gpudl_inline dim3 thread_index() const { return threadIdx; }
};
gpudl_inline thread_block this_thread_block() { return {}; }
struct grid_group {
    gpudl_inline void sync() const { gpudl_emu_grid_barrier(); }
    gpudl_inline unsigned long long num_blocks() const { return (unsigned long long)gridDim.x * gridDim.y * gridDim.z; }
    gpudl_inline unsigned long long size() const { return num_blocks() * thread_block().size(); }
    gpudl_inline unsigned long long block_rank() const { return blockIdx.x + (unsigned long long)gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z); }
    gpudl_inline unsigned long long thread_rank() const { return block_rank() * thread_block().size() + thread_block().thread_rank(); }
    gpudl_inline bool is_valid() const { return true; }
};
gpudl_inline grid_group this_grid() { return {}; }
template <unsigned size_> struct thread_block_tile {
    static_assert(size_ <= 32 && (size_ & (size_ - 1)) == 0, "a tile has a power of two up to 32 threads");
    gpudl_inline unsigned lane() const { return thread_block().thread_rank() % 32; }
    gpudl_inline unsigned mask() const { return size_ == 32 ? 0xffffffffu : ((1u << (size_ % 32)) - 1) << (lane() / size_ * size_); }
    gpudl_inline unsigned thread_rank() const { return lane() % size_; }
    gpudl_inline unsigned meta_group_rank() const { return thread_block().thread_rank() / size_; }
    gpudl_inline unsigned meta_group_size() const { return (thread_block().size() + size_ - 1) / size_; }
    static constexpr unsigned size() { return size_; }
    static constexpr unsigned num_threads() { return size_; }
    gpudl_inline void sync() const { __syncwarp(mask()); }
    template <class type_> gpudl_inline type_ shfl(type_ v, int from) const { return __shfl_sync(mask(), v, from, size_); }
    template <class type_> gpudl_inline type_ shfl_up(type_ v, unsigned d) const { return __shfl_up_sync(mask(), v, d, size_); }
    template <class type_> gpudl_inline type_ shfl_down(type_ v, unsigned d) const { return __shfl_down_sync(mask(), v, d, size_); }
    template <class type_> gpudl_inline type_ shfl_xor(type_ v, unsigned m) const { return __shfl_xor_sync(mask(), v, (int)m, size_); }
    gpudl_inline int any(int p) const { return __any_sync(mask(), p); }
    gpudl_inline int all(int p) const { return __all_sync(mask(), p); }
    gpudl_inline unsigned ballot(int p) const { return (__ballot_sync(mask(), p) & mask()) >> (lane() / size_ * size_); }
};
template <unsigned size_> gpudl_inline thread_block_tile<size_> tiled_partition(thread_block) { return {}; }
template <class type_> struct plus { gpudl_inline type_ operator()(type_ a, type_ b) const { return a + b; } };
template <class type_> struct less { gpudl_inline type_ operator()(type_ a, type_ b) const { return b < a ? b : a; } };
template <class type_> struct greater { gpudl_inline type_ operator()(type_ a, type_ b) const { return a < b ? b : a; } };
template <unsigned size_, class type_, class operation_> gpudl_inline type_ reduce(const thread_block_tile<size_>& tile, type_ v, operation_ operation) {
    for (unsigned m = size_ / 2; m > 0; m /= 2) v = operation(v, tile.shfl_xor(v, m));
    return v;
}
gpudl_inline void sync(const thread_block& block) { block.sync(); }
template <unsigned size_> gpudl_inline void sync(const thread_block_tile<size_>& tile) { tile.sync(); }
gpudl_inline void sync(const grid_group& grid) { grid.sync(); }
}  // namespace cooperative_groups
