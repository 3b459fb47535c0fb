"""Activations in Numba. F names the function, C is the type that is computed in: both come with the launch, as globals."""
# ruff: noqa: F722, F821

import math

from numba import cuda


@cuda.jit(device=True)
def sigmoid(x):
    return C(1) / (C(1) + math.exp(-x)) if x > 0 else math.exp(x) / (C(1) + math.exp(x))


FORWARD = {  # of x and two numbers of the call; kinks and NaN as in functions.cuh
    "relu_fwd": lambda x, p, q: C(0) if x <= 0 else x,
    "leaky_relu_fwd": lambda x, slope, q: x if x > 0 else x * slope,
    "elu_fwd": lambda x, alpha, q: x if x > 0 else alpha * math.expm1(x),
    "sigmoid_fwd": lambda x, p, q: sigmoid(x),
    "silu_fwd": lambda x, p, q: x * sigmoid(x),
    "tanh_fwd": lambda x, p, q: math.tanh(x),
    "softsign_fwd": lambda x, p, q: x / (C(1) + abs(x)),
    "gelu_fwd": lambda x, p, q: C(0.5) * x * (C(1) + math.erf(x * C(0.70710678118654752440))),
    "abs_fwd": lambda x, p, q: abs(x),
}
BACKWARD = {  # of dy and v, which is the output where the derivative is shortest in it, else the input
    "relu_bwd": lambda dy, y, p, q: C(0) if y <= 0 else dy,
    "leaky_relu_bwd": lambda dy, x, slope, q: dy if x > 0 else dy * slope,
    "elu_bwd": lambda dy, y, alpha, q: dy if y > 0 else dy * (y + alpha),
    "sigmoid_bwd": lambda dy, y, p, q: dy * (y * (C(1) - y)),
    "silu_bwd": lambda dy, x, p, q: dy * (sigmoid(x) * (C(1) + x * (C(1) - sigmoid(x)))),
    "tanh_bwd": lambda dy, y, p, q: dy * (C(1) - y * y),
    "softsign_bwd": lambda dy, x, p, q: dy / ((C(1) + abs(x)) * (C(1) + abs(x))),
    "gelu_bwd": lambda dy, x, p, q: (
        dy * (C(0.5) * (C(1) + math.erf(x * C(0.70710678118654752440))) + x * C(0.39894228040143267794) * math.exp(C(-0.5) * x * x))
    ),
    "abs_bwd": lambda dy, x, p, q: dy if x > 0 else -dy if x < 0 else dy * x,
}
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
