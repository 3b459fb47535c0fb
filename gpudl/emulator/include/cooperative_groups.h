// The part of CUDA's cooperative_groups.h that is a thin dress over barriers and warp operations, for the emulator.
#pragma once
namespace cooperative_groups {
gpudl_inline unsigned gpudl_rank_in_block() { return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z); }

struct thread_block {
    static gpudl_inline void sync() { __syncthreads(); }
    static gpudl_inline unsigned size() { return blockDim.x * blockDim.y * blockDim.z; }
    static gpudl_inline unsigned num_threads() { return size(); }
    static gpudl_inline unsigned thread_rank() { return gpudl_rank_in_block(); }
    static gpudl_inline dim3 group_index() { return blockIdx; }
    static gpudl_inline dim3 thread_index() { return threadIdx; }
    static gpudl_inline dim3 group_dim() { return blockDim; }
    static gpudl_inline dim3 dim_threads() { return blockDim; }
};
gpudl_inline thread_block this_thread_block() { return {}; }

struct grid_group {
    gpudl_inline void sync() const { gpudl_emu_grid_barrier(); }
    gpudl_inline unsigned long long num_blocks() const { return (unsigned long long)gridDim.x * gridDim.y * gridDim.z; }
    gpudl_inline unsigned long long size() const { return num_blocks() * thread_block::size(); }
    gpudl_inline unsigned long long num_threads() const { return size(); }
    gpudl_inline unsigned long long block_rank() const { return blockIdx.x + (unsigned long long)gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z); }
    gpudl_inline unsigned long long thread_rank() const { return block_rank() * thread_block::size() + thread_block::thread_rank(); }
    gpudl_inline dim3 dim_blocks() const { return gridDim; }
    gpudl_inline dim3 group_dim() const { return gridDim; }
    gpudl_inline dim3 block_index() const { return blockIdx; }
    gpudl_inline bool is_valid() const { return true; }
};
gpudl_inline grid_group this_grid() { return {}; }

template <unsigned size_, class parent_ = void> struct thread_block_tile {
    static_assert(size_ <= 32 && (size_ & (size_ - 1)) == 0, "a tile has a power of two up to 32 threads");
    static gpudl_inline unsigned lane() { return gpudl_rank_in_block() % 32; }
    static gpudl_inline unsigned first() { return lane() / size_ * size_; }
    static gpudl_inline unsigned mask() { return size_ == 32 ? 0xffffffffu : ((1u << (size_ % 32)) - 1) << first(); }
    static gpudl_inline unsigned thread_rank() { return lane() % size_; }
    static gpudl_inline unsigned meta_group_rank() { return gpudl_rank_in_block() / size_; }
    static gpudl_inline unsigned meta_group_size() { return (thread_block::size() + size_ - 1) / size_; }
    static constexpr unsigned size() { return size_; }
    static constexpr unsigned num_threads() { return size_; }
    static gpudl_inline void sync() { __syncwarp(mask()); }
    template <class type_> gpudl_inline type_ shfl(type_ v, int from) const { return __shfl_sync(mask(), v, from, size_); }
    template <class type_> gpudl_inline type_ shfl_up(type_ v, unsigned d) const { return __shfl_up_sync(mask(), v, d, size_); }
    template <class type_> gpudl_inline type_ shfl_down(type_ v, unsigned d) const { return __shfl_down_sync(mask(), v, d, size_); }
    template <class type_> gpudl_inline type_ shfl_xor(type_ v, unsigned m) const { return __shfl_xor_sync(mask(), v, (int)m, size_); }
    gpudl_inline int any(int p) const { return __any_sync(mask(), p); }
    gpudl_inline int all(int p) const { return __all_sync(mask(), p); }
    gpudl_inline unsigned ballot(int p) const { return (__ballot_sync(mask(), p) & mask()) >> first(); }
    template <class type_> gpudl_inline unsigned match_any(type_ v) const { return __match_any_sync(mask(), v) >> first(); }
    template <class type_> gpudl_inline unsigned match_all(type_ v, int& all) const { return __match_all_sync(mask(), v, &all) >> first(); }
};
template <unsigned size_, class parent_> gpudl_inline thread_block_tile<size_, parent_> tiled_partition(const parent_&) { return {}; }

// The lanes that are at the same place together: those that come there while nothing else of the block can run.
struct coalesced_group {
    unsigned lanes;
    gpudl_inline unsigned mask() const { return lanes; }
    gpudl_inline unsigned lane() const { return gpudl_rank_in_block() % 32; }
    gpudl_inline unsigned size() const { return __popc(lanes); }
    gpudl_inline unsigned num_threads() const { return size(); }
    gpudl_inline unsigned thread_rank() const { return __popc(lanes & ((1u << lane()) - 1)); }
    gpudl_inline int lane_of(unsigned rank) const { return rank < size() ? (int)__fns(lanes, 0, (int)rank + 1) : (int)lane(); }
    gpudl_inline void sync() const { __syncwarp(lanes); }
    template <class type_> gpudl_inline type_ shfl(type_ v, unsigned from) const { return __shfl_sync(lanes, v, lane_of(from)); }
    template <class type_> gpudl_inline type_ shfl_up(type_ v, unsigned d) const { return __shfl_sync(lanes, v, d > thread_rank() ? (int)lane() : lane_of(thread_rank() - d)); }
    template <class type_> gpudl_inline type_ shfl_down(type_ v, unsigned d) const { return __shfl_sync(lanes, v, lane_of(thread_rank() + d)); }
    gpudl_inline int any(int p) const { return __any_sync(lanes, p); }
    gpudl_inline int all(int p) const { return __all_sync(lanes, p); }
    gpudl_inline unsigned packed(unsigned of_lanes) const {
        unsigned ranks = 0;
        for (unsigned rank = 0; rank < size(); rank++) ranks |= (of_lanes >> lane_of(rank) & 1u) << rank;
        return ranks;
    }
    gpudl_inline unsigned ballot(int p) const { return packed(__ballot_sync(lanes, p)); }
    template <class type_> gpudl_inline unsigned match_any(type_ v) const { return packed(__match_any_sync(lanes, v)); }
};
gpudl_inline coalesced_group coalesced_threads() { return {__activemask()}; }
template <unsigned size_, class parent_> gpudl_inline coalesced_group binary_partition(const thread_block_tile<size_, parent_>& tile, bool p) {
    unsigned yes = __ballot_sync(tile.mask(), p);
    return {p ? yes : tile.mask() & ~yes};
}
template <class type_> gpudl_inline coalesced_group labeled_partition(const coalesced_group& group, type_ label) { return {__match_any_sync(group.lanes, label)}; }
template <unsigned size_, class parent_, class type_> gpudl_inline coalesced_group labeled_partition(const thread_block_tile<size_, parent_>& tile, type_ label) {
    return {__match_any_sync(tile.mask(), label)};
}

// Any of these, for functions that take a group whose size is not known before.
struct thread_group {
    unsigned count, lanes;                      // lanes: 0 for a whole block
    gpudl_inline thread_group(const thread_block&) : count(thread_block::size()), lanes(0) {}
    gpudl_inline thread_group(const coalesced_group& group) : count(group.size()), lanes(group.lanes) {}
    template <unsigned size_, class parent_> gpudl_inline thread_group(const thread_block_tile<size_, parent_>& tile) : count(size_), lanes(tile.mask()) {}
    gpudl_inline thread_group(unsigned count, unsigned lanes) : count(count), lanes(lanes) {}
    gpudl_inline unsigned size() const { return count; }
    gpudl_inline unsigned num_threads() const { return count; }
    gpudl_inline unsigned thread_rank() const { return lanes ? __popc(lanes & ((1u << gpudl_rank_in_block() % 32) - 1)) : gpudl_rank_in_block(); }
    gpudl_inline void sync() const { if (lanes) __syncwarp(lanes); else __syncthreads(); }
};
gpudl_inline thread_group tiled_partition(const thread_group& parent, unsigned size) {
    unsigned first = gpudl_rank_in_block() % 32 / size * size;
    (void)parent;
    return {size, size == 32 ? 0xffffffffu : ((1u << size) - 1) << first};
}
template <class group_> gpudl_inline void sync(const group_& group) { group.sync(); }
template <class group_> gpudl_inline unsigned thread_rank(const group_& group) { return group.thread_rank(); }
template <class group_> gpudl_inline unsigned group_size(const group_& group) { return group.size(); }
template <class group_, class function_> gpudl_inline void invoke_one(const group_& group, function_&& function) { if (group.thread_rank() == 0) function(); }
}  // namespace cooperative_groups
