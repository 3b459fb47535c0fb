// average.cuh: what the sum over a window is divided by.
#pragma once
#include "pool/window.cuh"

// divisor > 0: that; else the window's elements, those in the padding included or not. What lies past the padding is never counted.
__device__ __forceinline__ int64_t count(const Axis& rows, const Axis& cols, int64_t p, int64_t q, bool include, int64_t divisor) {
    if (divisor) return divisor;
    int64_t area = 1;
    for (int axis = 0; axis < 2; ++axis) {
        const Axis& a = axis ? cols : rows;
        int64_t first = a.first(axis ? q : p), last = a.last(axis ? q : p);
        if (last > a.extent + a.pad) last = a.extent + a.pad;
        if (!include) {
            if (first < 0) first = 0;
            if (last > a.extent) last = a.extent;
        }
        area *= last - first;
    }
    return area;
}
