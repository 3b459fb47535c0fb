#pragma once
#include "reduce.h"
namespace cooperative_groups {
// Sums over the lanes up to this one (inclusive), or before it (exclusive; the first gets a zero).
template <class group_, class type_, class operation_> gpudl_inline type_ inclusive_scan(const group_& group, type_ v, operation_&& operation) {
    for (unsigned d = 1; d < group.size(); d *= 2) {
        type_ before = group.shfl_up(v, d);
        if (group.thread_rank() >= d) v = operation(before, v);
    }
    return v;
}
template <class group_, class type_> gpudl_inline type_ inclusive_scan(const group_& group, type_ v) { return inclusive_scan(group, v, plus<type_>()); }
template <class group_, class type_, class operation_> gpudl_inline type_ exclusive_scan(const group_& group, type_ v, operation_&& operation) {
    type_ before = group.shfl_up(inclusive_scan(group, v, operation), 1);
    return group.thread_rank() ? before : type_();
}
template <class group_, class type_> gpudl_inline type_ exclusive_scan(const group_& group, type_ v) { return exclusive_scan(group, v, plus<type_>()); }
}  // namespace cooperative_groups
