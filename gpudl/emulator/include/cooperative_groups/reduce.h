#pragma once
#include "../cooperative_groups.h"
namespace cooperative_groups {
template <class type_ = void> struct plus { gpudl_inline type_ operator()(type_ a, type_ b) const { return a + b; } };
template <class type_ = void> struct less { gpudl_inline type_ operator()(type_ a, type_ b) const { return b < a ? b : a; } };
template <class type_ = void> struct greater { gpudl_inline type_ operator()(type_ a, type_ b) const { return a < b ? b : a; } };
template <class type_ = void> struct bit_and { gpudl_inline type_ operator()(type_ a, type_ b) const { return a & b; } };
template <class type_ = void> struct bit_or { gpudl_inline type_ operator()(type_ a, type_ b) const { return a | b; } };
template <class type_ = void> struct bit_xor { gpudl_inline type_ operator()(type_ a, type_ b) const { return a ^ b; } };
// Every lane gets the sum over the group, formed by halving distances (a tile) or in order of rank (a coalesced group).
template <unsigned size_, class parent_, class type_, class operation_>
gpudl_inline type_ reduce(const thread_block_tile<size_, parent_>& tile, type_ v, operation_&& operation) {
    for (unsigned m = size_ / 2; m > 0; m /= 2) v = operation(v, tile.shfl_xor(v, m));
    return v;
}
template <class type_, class operation_> gpudl_inline type_ reduce(const coalesced_group& group, type_ v, operation_&& operation) {
    type_ sum = group.shfl(v, 0);
    for (unsigned rank = 1; rank < group.size(); rank++) sum = operation(sum, group.shfl(v, rank));
    return sum;
}
}  // namespace cooperative_groups
