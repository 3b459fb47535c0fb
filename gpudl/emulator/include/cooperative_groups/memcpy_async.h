#pragma once
#include "../cooperative_groups.h"
namespace cooperative_groups {
// The group copies together; done at wait. Here each thread copies its words at once, and wait is the group's barrier.
template <class group_, class type_> gpudl_inline void memcpy_async(const group_& group, type_* to, const type_* from, size_t bytes) {
    for (size_t i = group.thread_rank(); i < bytes / sizeof(type_); i += group.size()) to[i] = from[i];
}
template <class group_> gpudl_inline void wait(const group_& group) { group.sync(); }
}  // namespace cooperative_groups
