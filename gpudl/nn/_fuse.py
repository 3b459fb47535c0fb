"""Neighbours in a Sequential that run as one op.

A plan is made once from the modules' exact types. Each step asks at every call whether something could see the middle (a hook, a `forward`
of the instance's own), whether a setting forbids the fused op, or whether `kernels.use` has picked a rung that the fused op would not launch;
then the modules run one by one, with the same results.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Sequence
from typing import Any

from gpudl import _dtypes, autograd, kernels, ops
from gpudl._tensor import Tensor
from gpudl.nn.activation import ELU, GELU, LeakyReLU, LogSigmoid, ReLU, Sigmoid, SiLU, Softsign, Tanh
from gpudl.nn.layers import BatchNorm1d, BatchNorm2d, Conv2d, Dropout, Linear, MaxPool2d

_enabled: contextvars.ContextVar[bool] = contextvars.ContextVar("gpudl.nn.fusion", default=True)
enabled = _enabled.get
_KINDS: dict[type, Callable[[Any], Any]] = {  # how ops.linear_act calls them; a module's numbers may change between calls
    ReLU: lambda _: "relu",
    Sigmoid: lambda _: "sigmoid",
    Tanh: lambda _: "tanh",
    SiLU: lambda _: "silu",
    GELU: lambda m: {"none": "gelu", "tanh": "gelu_tanh"}.get(m.approximate),
    LeakyReLU: lambda m: ("leaky_relu", m.negative_slope),
    ELU: lambda m: ("elu", m.alpha),
}
_CHAINS: dict[type, Callable[[Any], Any]] = {  # how ops.bias_act_dropout_add calls them
    **{kind: name for kind, name in _KINDS.items() if kind not in (LeakyReLU, ELU)},
    LogSigmoid: lambda _: "logsigmoid",
    Softsign: lambda _: "softsign",
}


class set_fusion_enabled(autograd.set_grad_enabled):
    """Let nn.Sequential run neighbours as one op or not: a call, a `with`, or a decorator; on at the start, in this thread alone.

    with nn.set_fusion_enabled(False):
        y = model(x)  # every module runs by itself
    """

    variable = _enabled

    def __init__(self, mode: bool):
        self.value = bool(mode)
        self._before = _enabled.get()
        _enabled.set(self.value)

    def __enter__(self) -> Any:
        self._stack = [*getattr(self, "_stack", ()), self._before]
        _enabled.set(self.value)
        return self

    def __exit__(self, *_: object) -> None:
        _enabled.set(self._stack.pop())

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        _enabled.set(self._before)  # used as a decorator: the call that made this object must not change the mode
        return autograd._Mode.__call__(self, function)


def is_fusion_enabled() -> bool:
    return _enabled.get()


def plan(modules: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Steps (function, members) where a run of modules has a fused op, and (None, module) elsewhere."""
    steps: list[tuple[Any, Any]] = []
    at = 0
    while at < len(modules):
        kinds = tuple(type(m) for m in modules[at : at + 3])  # exact types: a subclass may do something else
        run: Any = None
        if kinds == (Conv2d, ReLU, MaxPool2d):
            run, length = conv_relu_pool, 3
        elif kinds[:2] == (Conv2d, ReLU):
            run, length = conv_relu, 2
        elif kinds[0] in (Conv2d, Linear) and len(kinds) > 1 and kinds[1] in _KINDS and not _changed(modules, at + 1):
            run, length = (conv_act if kinds[0] is Conv2d else linear_act), 2
        elif kinds[0] in (BatchNorm1d, BatchNorm2d) and kinds[1:2] == (ReLU,):
            run, length = norm_relu, 2
        elif kinds[0] in _CHAINS and kinds[1:2] == (Dropout,):
            run, length = act_dropout, 2
        steps.append((None, modules[at]) if run is None else (run, tuple(modules[at : at + length])))
        at += 1 if run is None else length
    return steps


def _changed(modules: Sequence[Any], at: int) -> bool:
    """Whether the next module changes the result of modules[at] in place. LeakyReLU by itself bears that: it keeps its input for backward, and
    the fused op its result. The others keep their result, or the fused op the sum, either way."""
    return type(modules[at]) is LeakyReLU and getattr(modules[at + 1] if at + 1 < len(modules) else None, "inplace", False)


RELU = ("unary.forward", "unary.backward")  # ladders that a fused op does without
DROPOUT = ("dropout.forward", "dropout.backward", *RELU)
CONV_POOL = ("conv2d.forward", "max_pool2d.forward", "max_pool2d.backward", *RELU)


def _apart(modules: tuple[Any, ...], ladders: tuple[str, ...]) -> bool:
    picked = kernels.picked()
    if picked and any(name in picked for name in ladders):
        return True
    for m in modules:
        own = m.__dict__
        if own["_forward_hooks"] or own["_forward_pre_hooks"] or own["_backward_hooks"] or own["_backward_pre_hooks"] or "forward" in own:
            return True
        if own.get("padding_mode", "zeros") != "zeros":
            return True
    return False


def _conv(conv: Any) -> tuple[Any, ...]:
    return conv.weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups


def conv_relu_pool(x: Any, conv: Any, relu: Any, pool: Any) -> Any:
    if pool.return_indices or _apart((conv, relu, pool), CONV_POOL):
        return pool(conv_relu(x, conv, relu))
    return ops.conv2d_relu_max_pool2d(
        x,
        *_conv(conv),
        pool_kernel_size=pool.kernel_size,
        pool_stride=pool.stride,
        pool_padding=pool.padding,
        pool_dilation=pool.dilation,
        pool_ceil_mode=pool.ceil_mode,
    )


def conv_relu(x: Any, conv: Any, relu: Any) -> Any:
    return relu(conv(x)) if _apart((conv, relu), RELU) else ops.conv2d_relu(x, *_conv(conv))


def conv_act(x: Any, conv: Any, act: Any) -> Any:
    kind = _KINDS[type(act)](act)
    name, number = kind if isinstance(kind, tuple) else (kind, 0.0)
    # GELU and SiLU need the sum in backward, which this op does not keep; halves as in linear_act
    if name not in ("sigmoid", "tanh", "leaky_relu", "elu") or number < 0 or _apart((conv, act), RELU) or _halves(x):
        return act(conv(x))
    return ops.conv2d_act(x, *_conv(conv), activation=kind)


def _halves(x: Any) -> bool:
    return isinstance(x, Tensor) and x.dtype in _dtypes.HALVES


def linear_act(x: Any, linear: Any, act: Any) -> Any:
    kind = _KINDS[type(act)](act)
    # In halves a sigmoid of the unrounded sum differs from that of the rounded one; ReLU and rounding may change places.
    if kind is None or _apart((linear, act), RELU) or (kind != "relu" and _halves(x)):
        return act(linear(x))
    return ops.linear_act(x, linear.weight, linear.bias, kind)


def norm_relu(x: Any, norm: Any, relu: Any) -> Any:
    if _apart((norm, relu), RELU):
        return relu(norm(x))
    out = ops.batch_norm_relu(x, *norm.arguments(x))
    norm.count()
    return out


def act_dropout(x: Any, act: Any, drop: Any) -> Any:
    kind = _CHAINS[type(act)](act)
    changes = (
        isinstance(x, Tensor) and x.device.kernels and _dtypes.is_float(x.dtype) and drop.training and drop.p > 0
    )  # else nothing to gain
    if kind is None or not changes or getattr(act, "inplace", False) or drop.inplace or _apart((act, drop), DROPOUT):
        return drop(act(x))
    return ops.bias_act_dropout_add(x, activation=kind, p=drop.p)
