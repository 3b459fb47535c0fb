// window.cuh: which rows (columns) of an image a pooling window covers, and which windows cover a row. window = 0 means adaptive pooling.
#pragma once
#include "common.cuh"

struct Axis {  // extent of the image, number of windows, and how they lie
    int extent, count, window, stride, pad, dilation;

    // First place of window p, which may be in the padding, and the end after the last; places lie `dilation` apart.
    __device__ __forceinline__ int64_t first(int64_t p) const { return window ? p * stride - pad : p * extent / count; }
    __device__ __forceinline__ int64_t last(int64_t p) const {
        return window ? p * stride - pad + int64_t(window - 1) * dilation + 1 : ((p + 1) * extent + count - 1) / count;
    }
    // Windows that may cover place h: [low, high). With a dilation some of them step over it.
    __device__ __forceinline__ int64_t low(int64_t h) const {
        if (!window) return h * count / extent;
        const int64_t past = h + pad - int64_t(window - 1) * dilation;  // a window that starts here ends on h
        return past <= 0 ? 0 : (past + stride - 1) / stride;
    }
    __device__ __forceinline__ int64_t high(int64_t h) const {
        const int64_t end = window ? (h + pad) / stride + 1 : ((h + 1) * count - 1) / extent + 1;
        return end < count ? end : count;
    }
};

// The window's element number `at` (uint8_t: r * S + s) or place (int64_t: h * W + w) as a place of the image.
__device__ __forceinline__ int64_t place(uint8_t at, const Axis& rows, const Axis& cols, int64_t p, int64_t q) {
    const int64_t h = rows.first(p) + int64_t(at / cols.window) * rows.dilation, w = cols.first(q) + int64_t(at % cols.window) * cols.dilation;
    return h * cols.extent + w;
}
__device__ __forceinline__ int64_t place(int64_t at, const Axis&, const Axis&, int64_t, int64_t) { return at; }
