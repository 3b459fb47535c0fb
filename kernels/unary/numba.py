"""Activations in Numba. F names the function, C is the type that is computed in: both come with the launch, as globals."""
# ruff: noqa: F722, F821

import math

from numba import cuda


@cuda.jit(device=True)
def sigmoid(x):
    return C(1) / (C(1) + math.exp(-x)) if x > 0 else math.exp(x) / (C(1) + math.exp(x))


@cuda.jit(device=True)
def gelu_tanh_slope(x):
    t = math.tanh(C(0.79788456080286535588) * (x + C(0.044715) * x * x * x))
    du = C(0.79788456080286535588) * (C(1) + C(0.134145) * x * x)
    return C(0.5) * (C(1) + t) + C(0.5) * x * (C(1) - t * t) * du


FORWARD = {  # of x and two numbers of the call; kinks and NaN as in functions.cuh
    "relu_fwd": lambda x, p, q: C(0) if x <= 0 else x,
    "leaky_relu_fwd": lambda x, slope, q: x if x > 0 else x * slope,
    "elu_fwd": lambda x, alpha, q: x if x > 0 else alpha * math.expm1(x),
    "sigmoid_fwd": lambda x, p, q: sigmoid(x),
    "silu_fwd": lambda x, p, q: x * sigmoid(x),
    "tanh_fwd": lambda x, p, q: math.tanh(x),
    "softsign_fwd": lambda x, p, q: x / (C(1) + abs(x)),
    "gelu_fwd": lambda x, p, q: C(0.5) * x * (C(1) + math.erf(x * C(0.70710678118654752440))),
    "softplus_fwd": lambda x, beta, threshold: x if x * beta > threshold else math.log1p(math.exp(x * beta)) / beta,
    "gelu_tanh_fwd": lambda x, p, q: (
        C(0.5) * x * (C(1) + math.tanh(C(0.79788456080286535588) * (x + C(0.044715) * x * x * x)))
    ),
    "exp_fwd": lambda x, p, q: math.exp(x),
    "log_fwd": lambda x, p, q: math.log(x),
    "sqrt_fwd": lambda x, p, q: math.sqrt(x),
    "neg_fwd": lambda x, p, q: -x,
    "square_fwd": lambda x, p, q: x * x,
    "abs_fwd": lambda x, p, q: abs(x),
    "isnan_fwd": lambda x, p, q: x != x,
}
BACKWARD = {  # of dy and v, which is the output where the derivative is shortest in it, else the input
    "relu_bwd": lambda dy, y, p, q: C(0) if y <= 0 else dy,
    "leaky_relu_bwd": lambda dy, x, slope, q: dy if x > 0 else dy * slope,
    "elu_bwd": lambda dy, y, alpha, q: dy if y > 0 else dy * (y + alpha),
    "sigmoid_bwd": lambda dy, y, p, q: dy * (y * (C(1) - y)),
    "silu_bwd": lambda dy, x, p, q: dy * (sigmoid(x) * (C(1) + x * (C(1) - sigmoid(x)))),
    "tanh_bwd": lambda dy, y, p, q: dy * (C(1) - y * y),
    "softsign_bwd": lambda dy, x, p, q: dy / ((C(1) + abs(x)) * (C(1) + abs(x))) + C(0) * x,
    "gelu_bwd": lambda dy, x, p, q: (
        dy * (C(0.5) * (C(1) + math.erf(x * C(0.70710678118654752440))) + x * C(0.39894228040143267794) * math.exp(C(-0.5) * x * x))
    ),
    "softplus_bwd": lambda dy, x, beta, threshold: dy if x * beta > threshold else dy * sigmoid(x * beta),
    "gelu_tanh_bwd": lambda dy, x, p, q: dy * gelu_tanh_slope(x),
    "exp_bwd": lambda dy, y, p, q: dy * y,
    "log_bwd": lambda dy, x, p, q: dy / x,
    "sqrt_bwd": lambda dy, y, p, q: dy / (y + y),
    "square_bwd": lambda dy, x, p, q: dy * (x + x),
    "abs_bwd": lambda dy, x, p, q: dy if x > 0 else -dy if x < 0 else dy * x,
}
if F not in FORWARD | BACKWARD:
    raise NotImplementedError(f"unary/numba.py has no {F}; another rung of the ladder has every function")
f = cuda.jit(device=True)((FORWARD | BACKWARD)[F])


@cuda.jit
def forward_flat(x: "const A*", y: "Y*", size: "int64_t", p: "double", q: "double"):
    """A grid-stride loop over one run of memory."""
    for i in range(cuda.grid(1), size, cuda.gridsize(1)):
        y[i] = f(C(x[i]), C(p), C(q))


@cuda.jit
def backward_flat(dy: "const T*", v: "const A*", dx: "T*", size: "int64_t", p: "double", q: "double"):
    """A grid-stride loop over two runs of memory."""
    for i in range(cuda.grid(1), size, cuda.gridsize(1)):
        dx[i] = f(C(dy[i]), C(v[i]), C(p), C(q))
