"""Every operation: one file each, named here once."""

from gpudl.ops.copy import clone, copy_, fill_, to
from gpudl.ops.elementwise import add, div, mul, neg, sub
from gpudl.ops.index import getitem
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
    "add",
    "broadcast_to",
    "clone",
    "copy_",
    "div",
    "expand",
    "expand_as",
    "fill_",
    "flatten",
    "getitem",
    "moveaxis",
    "movedim",
    "mul",
    "neg",
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
