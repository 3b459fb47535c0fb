"""Every operation: one file each, named here once."""

from gpudl.ops.conv2d import conv2d, conv2d_relu, conv2d_relu_max_pool2d, conv_transpose2d
from gpudl.ops.copy import clone, copy_, fill_, to
from gpudl.ops.elementwise import add, div, mul, neg, sub
from gpudl.ops.index import getitem
from gpudl.ops.linear import linear, linear_act
from gpudl.ops.matmul import addmm, bmm, dot, matmul, mm, mv, outer
from gpudl.ops.pool import adaptive_avg_pool2d, adaptive_max_pool2d, avg_pool2d, max_pool2d
from gpudl.ops.reduce import sum, sum_to_size
from gpudl.ops.softmax import softmax
from gpudl.ops.view import (
    broadcast_to,
    expand,
    expand_as,
    flatten,
    movedim,
    moveaxis,
    permute,
    ravel,
    reshape,
    squeeze,
    swapaxes,
    swapdims,
    t,
    transpose,
    unflatten,
    unsqueeze,
    view,
)

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "add",
    "addmm",
    "avg_pool2d",
    "bmm",
    "broadcast_to",
    "clone",
    "conv2d",
    "conv2d_relu",
    "conv2d_relu_max_pool2d",
    "conv_transpose2d",
    "copy_",
    "div",
    "dot",
    "expand",
    "expand_as",
    "fill_",
    "flatten",
    "getitem",
    "linear",
    "linear_act",
    "matmul",
    "max_pool2d",
    "mm",
    "moveaxis",
    "movedim",
    "mul",
    "mv",
    "neg",
    "outer",
    "permute",
    "ravel",
    "reshape",
    "softmax",
    "squeeze",
    "sub",
    "sum",
    "sum_to_size",
    "swapaxes",
    "swapdims",
    "t",
    "to",
    "transpose",
    "unflatten",
    "unsqueeze",
    "view",
]
