"""Copies, casts, fills and moves between devices."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpudl import _dtypes, autograd, kernels
from gpudl._creation import as_host
from gpudl._device import device as Device
from gpudl._dtypes import ALL
from gpudl._errors import ShapeError
from gpudl._tensor import Tensor, wrap
from gpudl.autograd import Cost, Op, Sample
from gpudl.kernels import Kernel, ceil_div, ladder
from gpudl.ops._common import check_tensor

BLOCK = 256
TILE, ROWS = 32, 8  # of the square that is turned in shared memory, and of it at a time


def is_run(dims: Any, operands: int) -> bool:
    """Whether all operands walk through memory as one run: what the merged dimensions show as a single step of 1."""
    return dims["ndim"][0] == 0 or (dims["ndim"][0] == 1 and all(s == 1 for s in dims["stride"][0, :operands, 0]))


def turned(dims: Any) -> tuple[int, int] | None:
    """The extents (J, K) of the axes along which x and y are dense, where these are two axes: what a transposed copy has."""
    j, k = (max((d for d in range(dims["ndim"][0]) if dims["stride"][0, operand, d] == 1), default=-1) for operand in (0, 1))
    return None if j < 0 or k < 0 or j == k else (int(dims["shape"][0, j]), int(dims["shape"][0, k]))


def squares(dims: Any, size: int) -> int:
    J, K = turned(dims) or (1, 1)
    return ceil_div(J, TILE) * ceil_div(K, TILE) * (size // (J * K))


def moved(size: int, itemsize: int) -> int:
    """Bytes of a copy without a cast."""
    return 2 * size * itemsize


def pick(dims: Any) -> str:
    """The dispatch rule: a run by vectors; a transposition by squares, unless they would be mostly empty (a tensor of 3 channels); else 01."""
    extents = turned(dims)
    return "03_vector" if is_run(dims, 2) else "05_padded" if extents and min(extents) >= TILE // 2 else "01_naive"


every: dict[str, Any] = dict(BLOCK=BLOCK, block=BLOCK, dtypes=ALL, strided=("x", "y"), traffic=moved)
flat: dict[str, Any] = every | {"when": lambda dims: is_run(dims, 2)}
square: dict[str, Any] = dict(
    TILE=TILE,
    ROWS=ROWS,
    grid=squares,
    block=(TILE, ROWS),
    dtypes=ALL,
    strided=("x", "y"),
    traffic=moved,
    when=lambda dims: turned(dims) is not None,
)
ladder(
    "copy.forward",
    Kernel("01_naive.cu", grid=lambda size: ceil_div(size, BLOCK), **every),
    Kernel("02_flat.cu", grid=lambda size, sms: min(ceil_div(size, BLOCK), 16 * sms), **flat),
    Kernel("03_vector.cu", grid=lambda size, sms, itemsize: min(ceil_div(size * itemsize, 16 * BLOCK), 16 * sms), **flat),
    Kernel("04_tile.cu", **square),
    Kernel("05_padded.cu", **square),
    choose=pick,
)
fills: dict[str, Any] = dict(BLOCK=BLOCK, block=BLOCK, dtypes=ALL, strided=("y",), traffic=lambda size, itemsize: size * itemsize)
ladder(
    "fill.forward",
    Kernel("01_naive.cu", grid=lambda size: ceil_div(size, BLOCK), **fills),
    Kernel(
        "02_vector.cu",
        grid=lambda size, sms, itemsize: min(ceil_div(size * itemsize, 16 * BLOCK), 16 * sms),
        when=lambda dims: is_run(dims, 1),
        **fills,
    ),
)


def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy with memory of its own, in C order; differentiable. Any shape and dtype."""
    check_tensor("clone", input=input)
    if memory_format is not None:
        raise NotImplementedError("clone: memory_format is not supported; the copy is C-contiguous")
    return Cast.apply(input, dtype=input.dtype)


def fresh(out: Tensor, input: Tensor) -> Tensor:
    """`out`, or a copy of it where it is input itself or a view of it: of a result that is promised to be a copy."""
    return clone(out) if out._storage is input._storage else out


def to(input: Tensor, *args: Any, dtype: Any = None, device: Any = None, non_blocking: bool = False, copy: bool = False) -> Tensor:
    """The tensor with another dtype, on another device, or both; itself where nothing changes (unless copy=True). Differentiable.

    to(dtype), to(device), to(device, dtype), to(other). TypeError for a dtype that does not exist, DeviceError for an unknown device.
    """
    for arg in args:
        if isinstance(arg, Tensor):
            dtype, device = arg.dtype, arg.device
        elif isinstance(arg, bool):
            continue  # non_blocking: copies are ordered on the stream anyway
        elif isinstance(arg, Device) or (isinstance(arg, str) and arg not in _dtypes._NAMES) or (isinstance(arg, int)):
            device = arg
        elif arg is not None:
            dtype = arg
    where = input.device if device is None else Device(device)
    kind = input.dtype if dtype is None else _dtypes.as_dtype(dtype)
    out = input
    if kind != out.dtype and where.type != "cpu":  # cast on the source when it shrinks what has to travel
        out = Cast.apply(out, dtype=kind) if out.device is where or kind.itemsize < out.dtype.itemsize else out
    if where is not out.device:
        out = Move.apply(out, target=where)
    if kind != out.dtype:
        out = Cast.apply(out, dtype=kind)
    return clone(out) if copy and out is input else out


def copy_(input: Tensor, src: Any) -> Tensor:
    """Write src (a Tensor of any device and dtype, an array or a number; broadcast) into input's memory; returns input.

    ShapeError where src does not broadcast to input, RuntimeError for a leaf that requires a gradient.
    """
    value = src if isinstance(src, Tensor) else wrap(input.device.from_host(as_host(src)), input.device)
    input._check_writable("copy_")
    try:
        fits = np.broadcast_shapes(value.shape, input.shape) == tuple(input.shape)
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"copy_: the source is {tuple(value.shape)} and does not broadcast to {tuple(input.shape)}")
    if value.device is input.device and value.device.kernels and value._array is not input._array and value.numel() and input.numel():
        if value.device.shares_memory(value._array, input._array):  # threads would read what others have written already
            value = clone(value)
    if autograd.is_grad_enabled() and (value.requires_grad or input.requires_grad):
        value = to(value, input.device, input.dtype)
        return input._become(value if value.shape == input.shape else value.expand(input.shape), "copy_")
    if value.device is not input.device:
        value = to(value.detach(), input.device)
    kernels.copy_into(input.device, input._array, value._array)
    input._wrote()
    return input


def fill_(input: Tensor, value: Any) -> Tensor:
    """Write one number into all of input's memory; returns input. RuntimeError for a leaf that requires a gradient."""
    if isinstance(value, Tensor):
        if value.ndim:
            raise ShapeError(f"fill_: the value is {tuple(value.shape)}; a number or a 0-d tensor is needed. copy_ broadcasts")
        return copy_(input, value)
    input._check_writable("fill_")
    kernels.fill(input.device, input._array, value)
    input._wrote()
    if autograd.is_grad_enabled() and input.requires_grad:  # the old value, and what it came from, are gone
        input._rebase(input.detach())
    return input


class Cast(Op, name="copy", function="clone"):
    widen = False

    def forward_cpu(self, x: Any, dtype: np.dtype) -> Any:
        return np.array(x, order="C") if x.dtype == dtype else kernels.cast(np.ascontiguousarray(x).reshape(x.shape), dtype)

    def backward_cpu(self, dy: Any) -> Any:
        return dy  # the base class rounds it to the input's dtype

    def forward_kernel(self, x: Any, dtype: np.dtype) -> Any:
        y = self.device.empty(x.shape, dtype)
        self.launch("copy.forward", x=x, y=y, dims=kernels.dims(x.shape, x, y), size=x.size)
        return y

    backward_kernel = backward_cpu
    backward_graph = backward_cpu

    def literals() -> Any:
        yield [np.array([[1.5, -2.0]])], [[1.5, -2.0]]

    def samples(rng: Any) -> Any:
        yield from (Sample(rng.normal(size=s)) for s in [(), (0, 3), (7,), (3, 5, 2), (600,)])
        yield Sample(rng.normal(size=(5, 6)).T)
        yield Sample(rng.normal(size=(2, 33, 3, 40)).transpose(0, 3, 2, 1))
        yield Sample(np.broadcast_to(rng.normal(size=(3, 1)), (3, 4)))

    def errors() -> Any:
        yield Sample([1.0]), TypeError, r"clone: input must be a Tensor, not list"

    def cost(x: Any) -> Cost:
        return Cost(bytes=2 * x.nbytes, flops=0)


class Move(Op, name="move"):
    """To another device: the one op whose output lives elsewhere."""

    widen = False

    def forward_cpu(self, x: Any, target: Device) -> Any:
        return _transfer(x, self.device, target)

    forward_kernel = forward_cpu

    def _wrap(self, out: Any, inputs: Any, arrays: Any, index: int, record: bool) -> Tensor:
        tensor = wrap(out, self.params["target"])
        if record and _dtypes.is_float(out.dtype):
            tensor._node, tensor._index, tensor._requires_grad = self, index, True
        return tensor

    def _round(self, out: Any, arrays: Any) -> Any:
        return out

    def backward_graph(self, dy: Tensor, target: Device) -> Tensor:
        return to(dy, self.device)


def _transfer(x: Any, source: Device, target: Device) -> Any:
    if source.kernels and not x.flags.c_contiguous:
        x = kernels.contiguous(source, x)
    if source.type == target.type == "cuda":
        with target.current():
            return x.copy()
    return target.from_host(source.to_host(x))
