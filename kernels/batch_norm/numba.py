"""Batch norm of training in Numba: Welford's update by one thread a channel. WEIGHT, BIAS, RESIDUAL, RELU and RUNNING come with the launch."""
# ruff: noqa: F722, F821

import math

from numba import cuda


@cuda.jit
def forward_welford(
    x: "const T*", weight: "const S*", bias: "const S*", residual: "const T*", running_mean: "R*", running_var: "R*", y: "T*",
    mean: "acc_t*", rstd: "acc_t*", N: "int64_t", C: "int64_t", L: "int64_t", momentum: "double", eps: "double",
):  # fmt: skip
    """Mean and variance in one pass over the channel."""
    c = cuda.grid(1)
    if c < C:
        count, mu, m2 = acc_t(0), acc_t(0), acc_t(0)
        for i in range(N):
            for e in range(L):
                v = acc_t(x[(i * C + c) * L + e])
                d = v - mu
                count += acc_t(1)
                mu += d / count
                m2 += d * (v - mu)
        rs = acc_t(1) / acc_t(math.sqrt(m2 / count + acc_t(eps)))
        mean[c] = mu
        rstd[c] = rs
        if RUNNING:
            m, keep = acc_t(momentum), acc_t(1.0 - momentum)
            running_mean[c] = keep * running_mean[c] + m * mu
            running_var[c] = keep * running_var[c] + m * (m2 / (count - acc_t(1)))
        scale = rs * acc_t(weight[c]) if WEIGHT else rs
        shift = acc_t(bias[c]) if BIAS else acc_t(0)
        for i in range(N):
            for e in range(L):
                at = (i * C + c) * L + e
                v = (acc_t(x[at]) - mu) * scale + shift
                if RESIDUAL:
                    v += acc_t(residual[at])
                y[at] = acc_t(0) if RELU and v <= acc_t(0) else v  # keeps a NaN
