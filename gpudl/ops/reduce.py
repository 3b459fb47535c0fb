"""Reductions over any axes: sum, mean, product, extremes and their places, variance, norms, running sums."""

from __future__ import annotations

import builtins
import math
from typing import Any, ClassVar, NamedTuple

import numpy as np

from gpudl import _dtypes, kernels
from gpudl._dtypes import ALL, FLOATS, float32, float64, int64
from gpudl._errors import ShapeError
from gpudl._tensor import Tensor, as_shape, wrap
from gpudl.autograd import Cost, Op, Sample, no_grad
from gpudl.kernels import Kernel, NumbaKernel, Step, ceil_div, ladder
from gpudl.ops._common import axis, check_float, check_tensor, numpy_names
from gpudl.ops.view import inverse

BLOCK = 256  # threads of a block, one result each
ROWS = 4  # rows per block, one warp each
DEEP = 8  # warps that share 32 columns
numba: dict[str, Any] = dict(dtypes=(float32, float64), strided=("x",))
naive = dict(grid=lambda A, B: ceil_div(A * B, BLOCK), block=BLOCK, BLOCK=BLOCK, strided=("x",))
warp = dict(grid=lambda A, B: ceil_div(A * B, ROWS), block=(32, ROWS), ROWS=ROWS, strided=("x",))
parts = {"parts": lambda results, pieces: ((pieces, results), "acc")}
merge = Step("reduce_merge", grid=lambda results: ceil_div(results, BLOCK), block=BLOCK)


def floor(A: int, B: int, P: int, Q: int, itemsize: int) -> int:
    return A * B * (P * Q + 1) * itemsize


def in_parts(A: int, B: int, P: int, Q: int, pieces: int, itemsize: int) -> int:
    return floor(A, B, P, Q, itemsize) + 2 * A * B * pieces * builtins.max(itemsize, 4)


def choose(B: int, P: int, Q: int, sb: int, sq: int, pieces: int) -> str:
    """The dispatch rule of reduce.forward: along which axis the lanes lie, and whether one block is enough for a result."""
    if columns(B, sb, sq):
        return "07_two_pass_columns" if pieces > 1 else "05_columns"
    if pieces > 1:
        return "08_vector" if P == 1 and sq == 1 else "06_two_pass"
    return "01_naive" if P * Q <= 8 else "04_warp_row"


run: dict[str, Any] = dict(BLOCK=BLOCK, dtypes=ALL, strided=("x",), when=lambda P, sq: P == 1 and sq == 1)  # a row is one run of memory
several: dict[str, Any] = dict(grid=lambda results, pieces: (results, pieces), block=BLOCK)
each: dict[str, Any] = dict(grid=lambda results: ceil_div(results, BLOCK), block=BLOCK)
ladder(
    "reduce.forward",
    NumbaKernel("forward_naive", grid=lambda A, B: ceil_div(A * B, 64), block=64, **numba),
    NumbaKernel("forward_shared_tree", grid=lambda A, B: A * B, block=32, BLOCK=32, **numba),
    NumbaKernel("forward_warp_row", grid=lambda A, B: ceil_div(A * B, ROWS), block=(32, ROWS), ROWS=ROWS, **numba),
    Kernel("01_naive.cu", **naive, dtypes=ALL, traffic=floor),
    Kernel(
        "02_atomics.cu", Step("reduce_start", **each),
        Step("reduce_add", grid=lambda A, B, P, Q: ceil_div(A * B * P * Q, BLOCK), block=BLOCK), Step("reduce_finish", **each),
        BLOCK=BLOCK, dtypes=ALL, strided=("x",), deterministic=False, workspace={"total": lambda results: ((results,), "acc")},
        traffic=lambda A, B, P, Q, itemsize: A * B * (P * Q * (itemsize + builtins.max(itemsize, 4)) + itemsize + 2 * builtins.max(itemsize, 4)),
    ),
    Kernel("03_shared_tree.cu", grid=lambda A, B: A * B, block=BLOCK, BLOCK=BLOCK, dtypes=ALL, strided=("x",), traffic=floor),
    Kernel("04_warp_row.cu", **warp, dtypes=ALL, traffic=floor),
    Kernel("05_columns.cu", grid=lambda A, B: A * ceil_div(B, 32), block=(32, DEEP), ROWS=DEEP, dtypes=ALL, strided=("x",), traffic=floor),
    Kernel(
        "06_two_pass.cu", Step("reduce_parts", **several), merge,
        BLOCK=BLOCK, dtypes=ALL, strided=("x",), workspace=parts, traffic=in_parts,
    ),
    Kernel(
        "07_two_pass_columns.cu", Step("reduce_parts", grid=lambda A, B, pieces: (A * ceil_div(B, 32), pieces), block=(32, DEEP)), merge,
        BLOCK=BLOCK, ROWS=DEEP, dtypes=ALL, strided=("x",), workspace=parts, traffic=in_parts,
    ),
    Kernel("08_vector.cu", Step("reduce_parts", **several), merge, **run, workspace=parts, traffic=in_parts),
    Kernel(
        "09_one_pass.cu", Step("reduce_fwd", **several), **run, traffic=in_parts,
        workspace={**parts, "tickets": lambda results: ((results,), "uint32", "kept")},
    ),
    choose=choose,
)  # fmt: skip
picks = {
    "values": lambda results, pieces: ((results, pieces), "acc"),
    "places_of": lambda results, pieces: ((results, pieces), "int64"),
}


def picked(A: int, B: int, Q: int, itemsize: int) -> int:
    return A * B * (Q * itemsize + itemsize + 8)


ladder(
    "argmax.forward",
    Kernel("01_naive.cu", **naive, dtypes=ALL, traffic=picked),
    Kernel("02_warp_row.cu", **warp, dtypes=ALL, traffic=picked),
    Kernel("03_block_row.cu", grid=lambda A, B: A * B, block=BLOCK, BLOCK=BLOCK, dtypes=ALL, strided=("x",), traffic=picked),
    Kernel(
        "04_two_pass.cu", Step("argmax_parts", **several), Step("argmax_merge", grid=lambda results: results, block=32),
        BLOCK=BLOCK, dtypes=ALL, strided=("x",), workspace=picks,
        traffic=lambda A, B, Q, pieces, itemsize: picked(A, B, Q, itemsize) + 2 * A * B * pieces * (builtins.max(itemsize, 4) + 8),
    ),
    choose=lambda B, sb, sq, Q, pieces: (
        "01_naive" if columns(B, sb, sq) or Q <= 8 else "04_two_pass" if pieces > 1 else "03_block_row" if Q >= 8 * BLOCK else "02_warp_row"
    ),
)  # fmt: skip
ladder(
    "argmax.backward",
    Kernel(
        "01_naive.cu", grid=lambda A, B: ceil_div(A * B, BLOCK), block=BLOCK, BLOCK=BLOCK, dtypes=FLOATS,
        traffic=lambda A, B, Q, itemsize: A * B * (Q * itemsize + itemsize + 8),
    ),
    Kernel(
        "02_flat.cu", grid=lambda A, B, Q: ceil_div(A * B * Q, BLOCK), block=BLOCK, BLOCK=BLOCK, dtypes=FLOATS,
        traffic=lambda A, B, Q, itemsize: A * B * (Q * (itemsize + 8) + itemsize),
    ),
)  # fmt: skip
ladder(
    "var.forward",
    Kernel("01_naive.cu", **naive, traffic=lambda A, B, P, Q, itemsize: A * B * (2 * P * Q + 2) * itemsize),
    Kernel("02_warp_row.cu", **warp, traffic=lambda A, B, P, Q, itemsize: A * B * (2 * P * Q + 2) * itemsize),
    Kernel("03_welford.cu", **warp, traffic=lambda A, B, P, Q, itemsize: A * B * (P * Q + 2) * itemsize),
    choose=lambda B, sb, sq, P, Q: "01_naive" if columns(B, sb, sq) or P * Q <= 8 else "03_welford",
)


def row_vectors(dims: Any, itemsize: int) -> bool:
    """Whether x is contiguous and dy and mean repeat along rows of whole vectors of 16 bytes."""
    (n,), (shape,), (stride,) = dims["ndim"], dims["shape"], dims["stride"]
    if n not in (1, 2) or stride[0, n - 1] != 1 or (n == 2 and stride[0, 0] != shape[1]):
        return False
    return stride[1, n - 1] == stride[2, n - 1] == 0 and shape[n - 1] * itemsize % 16 == 0


ladder(
    "var.backward",
    Kernel(
        "01_naive.cu",
        grid=lambda size: ceil_div(size, BLOCK),
        block=BLOCK,
        BLOCK=BLOCK,
        strided=("x", "dy", "mean"),
        traffic=lambda size, itemsize: size * (3 * itemsize + builtins.max(itemsize, 4)),
    ),
    Kernel(
        "02_vector.cu",
        grid=lambda size, itemsize: ceil_div(size * itemsize, 16 * BLOCK),
        block=BLOCK,
        BLOCK=BLOCK,
        strided=("dy", "mean"),
        when=row_vectors,
        traffic=lambda size, itemsize: size * (2 * itemsize + (itemsize + builtins.max(itemsize, 4)) * itemsize / 16),
    ),
)
ladder(
    "prod.backward",
    Kernel(
        "01_naive.cu",
        grid=lambda M: ceil_div(M, BLOCK),
        block=BLOCK,
        BLOCK=BLOCK,
        traffic=lambda M, R, itemsize: M * (5 * R + 1) * itemsize,
    ),
    Kernel(
        "02_warp_scan.cu",
        grid=lambda M: ceil_div(M, ROWS),
        block=(32, ROWS),
        ROWS=ROWS,
        traffic=lambda M, R, itemsize: M * (5 * R + 32) * itemsize,
    ),
    choose=lambda R: "01_naive" if R <= 8 else "02_warp_scan",
)
ladder(
    "cumsum.forward",
    Kernel("01_naive.cu", **naive, dtypes=ALL, traffic=lambda A, B, Q, itemsize: 2 * A * B * Q * itemsize),
    Kernel("02_warp_scan.cu", **warp, dtypes=ALL, traffic=lambda A, B, Q, itemsize: 2 * A * B * Q * itemsize),
    choose=lambda B, sb, sq, Q: "01_naive" if columns(B, sb, sq) or Q <= 8 else "02_warp_scan",
)


# ------------------------------------------------------------------------------------------------------------------------- axes
def columns(B: int, sb: int, sq: int) -> bool:
    """Whether neighbouring results, not neighbouring terms, are neighbours in memory."""
    return B > 1 and abs(sb) == 1 and abs(sq) != 1


def axes(op: str, dim: Any, ndim: int) -> tuple[int, ...]:
    """Sorted axes from dim: an int, a tuple, or None (or an empty tuple) for all."""
    if dim is None or (isinstance(dim, (tuple, list)) and not dim):
        return tuple(range(ndim))
    named = [axis(op, d, ndim) for d in (dim if isinstance(dim, (tuple, list)) else (dim,))]
    if len(set(named)) != len(named):
        raise RuntimeError(f"{op}: dim {tuple(dim)} names an axis twice")
    return tuple(sorted(named)) if ndim else ()


def reduced_shape(shape: tuple[int, ...], dim: tuple[int, ...], keepdim: bool) -> tuple[int, ...]:
    if keepdim:
        return tuple([1 if i in dim else n for i, n in enumerate(shape)])
    return tuple([n for i, n in enumerate(shape) if i not in dim])


def terms(shape: tuple[int, ...], dim: tuple[int, ...]) -> int:
    return math.prod(shape[d] for d in dim)


def merged(x: Any, dims: Any) -> list[tuple[int, int]]:
    """(extent, stride in elements) of these axes in this order, those that are walked as one merged, those of extent 1 left out."""
    out: list[tuple[int, int]] = []
    for d in dims:
        n, s = x.shape[d], x.strides[d] // x.itemsize
        if n == 1:
            continue
        if out and out[-1][1] == s * n:
            out[-1] = (out[-1][0] * n, s)
        else:
            out.append((n, s))
    return out


def kept_and_reduced(device: Any, x: Any, dim: tuple[int, ...], limit: int = 2) -> tuple[Any, dict[str, int]]:
    """x with its axes as kept (A, B) and reduced (P, Q), and their strides: as it lies in memory, or a copy where more axes are needed.

    limit: how many reduced axes there may be; with 1 their order matters (argmax counts along it) and they are P = 1, Q.
    """
    keep = [d for d in range(x.ndim) if d not in dim]
    over = list(dim) if limit == 1 else sorted(dim, key=lambda d: -abs(x.strides[d]))
    kept, reduced = merged(x, keep), merged(x, over)
    if len(kept) > 2 or len(reduced) > limit:
        x = kernels.contiguous(device, x.transpose([*keep, *over]))
        kept, reduced = merged(x, range(len(keep))), merged(x, range(len(keep), x.ndim))
    (A, sa), (B, sb) = ([(1, 0), (1, 0)] + kept)[-2:]
    (P, sp), (Q, sq) = ([(1, 0), (1, 0)] + reduced)[-2:]
    return x, dict(A=A, B=B, P=P, Q=Q, sa=sa, sb=sb, sp=sp, sq=sq)


def spread(g: Any, shape: tuple[int, ...], dim: tuple[int, ...], device: Any) -> Any:
    """A reduced array seen in the shape it was reduced from: strides of 0, no copy."""
    return device.xp.broadcast_to(g.reshape(reduced_shape(shape, dim, True)), shape)


def spread_tensor(g: Tensor, shape: tuple[int, ...], dim: tuple[int, ...]) -> Tensor:
    return g.reshape(reduced_shape(shape, dim, True)).expand(shape)


def not_empty(op: str, input: Tensor, dim: tuple[int, ...], given: Any) -> None:
    """An extreme of nothing does not exist."""
    if terms(input.shape, dim) == 0:
        hint = f"{op}: the input is {tuple(input.shape)}; the extreme of no elements does not exist"
        raise RuntimeError(f"{hint}. Check numel() first") if given is None else IndexError(f"{hint} along dim {given}")


def cut(device: Any, blocks: int, terms: int, enough: int) -> int:
    """Pieces of each result: so many that the blocks fill the device, each with enough terms to do."""
    return builtins.min(ceil_div(4 * device.sms, blocks), ceil_div(terms, enough))


def moved(x: Any, dim: Any, size: int) -> int:
    """Bytes of x and of a result of `size` bytes an element for each line over dim (None, an int or several)."""
    over = [dim] if isinstance(dim, int) else dim or range(x.ndim)
    return x.nbytes + x.size // builtins.max(math.prod(x.shape[d] for d in over) if x.ndim else 1, 1) * size


# ------------------------------------------------------------------------------------------------------------------------- one form for most
class Reduction(Op):
    """y = finish(merge of load(x) over dim): what one struct of kernels/reduce/reduce.cuh says. Params: dim (sorted axes), keepdim."""

    kind: ClassVar[str]  # that struct
    nothing: ClassVar[Any] = 0  # the result over no elements
    ladders: ClassVar[tuple[str, ...]] = ("reduce.forward",)

    @staticmethod
    def result(dtype: np.dtype) -> np.dtype:
        return dtype

    def forward_kernel(self, x: Any, dim: tuple[int, ...], keepdim: bool) -> Any:
        y = self.device.empty(reduced_shape(x.shape, dim, keepdim), self.result(x.dtype))
        if terms(x.shape, dim) == 0:
            kernels.fill(self.device, y, self.nothing)
        elif y.size:
            given, form = kept_and_reduced(self.device, x, dim)
            A, B, R = form["A"], form["B"], form["P"] * form["Q"]
            across = columns(B, form["sb"], form["sq"])
            blocks = A * ceil_div(B, 32) if across else A * B
            pieces = cut(self.device, blocks, R, 8 * DEEP if across else 8 * BLOCK)
            self.launch("reduce.forward", {"OP": self.kind}, x=given, y=y, **form, results=A * B, R=R, pieces=pieces)
        return self.keep(x, y)

    def keep(self, x: Any, y: Any) -> Any:
        """Save what backward needs; returns y."""
        return y

    def cost(x: Any, dim: Any = None, *args: Any, **kwargs: Any) -> Cost:  # noqa: N805
        return Cost(bytes=moved(x, dim, x.itemsize), flops=x.size)


def shapes(rng: Any) -> Any:
    """Samples that reach every form: rows, columns, both at once, channels, axes that need a copy, one result, no axis, nothing."""
    yield Sample(rng.normal(size=(3, 37)), dim=1)
    yield Sample(rng.normal(size=(37, 5)), dim=0, keepdim=True)
    yield Sample(rng.normal(size=(3, 4, 2, 5)), dim=(0, 2, 3))
    yield Sample(rng.normal(size=(2, 3, 2, 3, 2, 2)), dim=(0, 2, 4))
    yield Sample(rng.normal(size=(6, 5)).T, dim=-1)
    yield Sample(rng.normal(size=(91, 34)), dim=0)
    yield Sample(rng.normal(size=()))


def integral(dtype: np.dtype) -> np.dtype:
    return dtype if _dtypes.is_float(dtype) else int64


# ------------------------------------------------------------------------------------------------------------------------- sum, mean, prod
@numpy_names
def sum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Sum over dim (an int, a tuple of them, or all).    y = sum x,    dx = dy

    Any dtype; integers and bool sum to int64; dtype= casts first. The sum of nothing is 0. IndexError for a dim out of range.
    """
    check_tensor("sum", input=input)
    if dtype is not None:
        input = input.to(_dtypes.as_dtype(dtype))
    return Sum.apply(input, dim=axes("sum", dim, input.ndim), keepdim=bool(keepdim))


def sum_to_size(input: Tensor, *size: Any) -> Tensor:
    """Summed over the axes along which `size` would be broadcast to input's shape. ShapeError where it would not be."""
    wanted = as_shape(size)
    lead = input.ndim - len(wanted)
    if lead < 0 or builtins.any(n not in (1, have) for n, have in zip(wanted, input.shape[lead:], strict=True)):
        raise ShapeError(f"sum_to_size: {wanted} does not broadcast to {tuple(input.shape)}")
    over = (*range(lead), *(lead + i for i, n in enumerate(wanted) if n == 1 and input.shape[lead + i] != 1))
    return (Sum.apply(input, dim=over, keepdim=True) if over else input).reshape(wanted)


@numpy_names
def mean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Mean over dim (an int, a tuple of them, or all).    y = sum x / n,    dx = dy / n

    Floating dtypes (or dtype=, to which it is cast first), else TypeError. The mean of nothing is NaN. IndexError for a dim out of range.
    """
    check_tensor("mean", input=input)
    if dtype is not None:
        input = input.to(_dtypes.as_dtype(dtype))
    check_float("mean", input=input)
    return Mean.apply(input, dim=axes("mean", dim, input.ndim), keepdim=bool(keepdim))


@numpy_names
def prod(input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Product over dim (an int, or all).    y = prod x,    dx[r] = dy * prod of x[s], s != r: right where x holds zeros, too

    Any dtype; integers and bool multiply to int64; dtype= casts first. The product of nothing is 1.
    """
    check_tensor("prod", input=input)
    if dtype is not None:
        input = input.to(_dtypes.as_dtype(dtype))
    return Prod.apply(input, dim=axes("prod", dim, input.ndim), keepdim=bool(keepdim))


class Sum(Reduction, name="sum"):
    kind = "Sum"
    result = staticmethod(integral)

    def forward_cpu(self, x: Any, dim: tuple[int, ...], keepdim: bool) -> Any:
        return np.asarray(x.sum(axis=dim, keepdims=keepdim, dtype=integral(x.dtype)))

    def backward_cpu(self, dy: Any, dim: tuple[int, ...]) -> Any:
        return spread(dy, self.meta[0][0], dim, self.device)

    backward_kernel = backward_cpu

    def backward_graph(self, dy: Tensor, dim: tuple[int, ...]) -> Tensor:
        return spread_tensor(dy, self.meta[0][0], dim)

    def literals() -> Any:
        yield [np.array([[1.0, 2.0], [3.0, 4.0]])], 10.0
        yield [np.array([[1.0, 2.0], [3.0, 4.0]]), 0], [4.0, 6.0]
        yield [np.array([[1, 2], [3, 127]], np.int8), 1], [3, 130]
        yield [np.array([True, True, False])], 2
        yield [np.zeros((0, 2)), 0], [0.0, 0.0]

    def samples(rng: Any) -> Any:
        yield from shapes(rng)
        yield Sample(rng.normal(size=(5000,)))
        yield Sample(rng.normal(size=(3, 2, 711)), dim=(0, 2))  # two uneven pieces of three rows each
        yield Sample(rng.normal(size=(2, 5))[:, 1:3], dim=1)  # rows that end before the first address that 16 divides
        yield Sample(np.zeros((3, 0)), dim=1)
        yield Sample(np.zeros((0, 3)), dim=1)
        yield Sample(rng.integers(-100, 100, size=(3, 40)).astype(np.int32), dim=1)

    def errors() -> Any:
        yield Sample(np.zeros((2, 3)), dim=2), IndexError, r"sum: dim 2 is out of range"
        yield Sample(np.zeros((2, 3)), dim=(0, -2)), RuntimeError, r"sum: dim \(0, -2\) names an axis twice"
        yield Sample([1.0]), TypeError, r"sum: input must be a Tensor, not list"


class Mean(Reduction, name="mean"):
    kind = "Mean"
    nothing = math.nan

    def forward_cpu(self, x: Any, dim: tuple[int, ...], keepdim: bool) -> Any:
        return np.asarray(x.sum(axis=dim, keepdims=keepdim) / x.dtype.type(terms(x.shape, dim)))

    def backward_cpu(self, dy: Any, dim: tuple[int, ...]) -> Any:
        shape = self.meta[0][0]
        return spread(dy / dy.dtype.type(terms(shape, dim)), shape, dim, self.device)

    def backward_graph(self, dy: Tensor, dim: tuple[int, ...]) -> Tensor:
        shape = self.meta[0][0]
        return spread_tensor(dy / builtins.max(terms(shape, dim), 1), shape, dim)

    def literals() -> Any:
        yield [np.array([[1.0, 2.0], [3.0, 6.0]])], 3.0
        yield [np.array([[1.0, 2.0], [3.0, 6.0]]), 1], [1.5, 4.5]
        yield [np.zeros((0, 2)), 0], [math.nan, math.nan]

    def samples(rng: Any) -> Any:
        yield from shapes(rng)

    def errors() -> Any:
        yield Sample(np.zeros(3, np.int64)), TypeError, r"mean: input is int64; a floating dtype is needed"
        yield Sample(np.zeros((2, 3)), dim=-3), IndexError, r"mean: dim -3 is out of range"


def rows_of(x: Any, dim: tuple[int, ...]) -> tuple[Any, list[int]]:
    """x with the kept axes first and the reduced ones last, and that order."""
    order = [d for d in range(x.ndim) if d not in dim] + list(dim)
    return x.transpose(order), order


class Prod(Reduction, name="prod"):
    kind = "Prod"
    nothing = 1
    ladders = ("reduce.forward", "prod.backward")
    result = staticmethod(integral)

    def forward_cpu(self, x: Any, dim: tuple[int, ...], keepdim: bool) -> Any:
        return self.keep(x, np.asarray(x.prod(axis=dim, keepdims=keepdim, dtype=integral(x.dtype))))

    def keep(self, x: Any, y: Any) -> Any:
        self.save(x=x)
        return y

    def backward_cpu(self, dy: Any, x: Any, dim: tuple[int, ...]) -> Any:
        turned, order = rows_of(x, dim)
        rows = turned.reshape(dy.size, terms(x.shape, dim))
        before, behind = np.ones_like(rows), np.ones_like(rows)
        np.cumprod(rows[:, :-1], axis=1, out=before[:, 1:])
        behind[:, :-1] = np.cumprod(rows[:, :0:-1], axis=1)[:, ::-1]
        return (before * behind * dy.reshape(-1, 1)).reshape(turned.shape).transpose(inverse(tuple(order)))

    def backward_kernel(self, dy: Any, x: Any, dim: tuple[int, ...]) -> Any:
        turned, order = rows_of(x, dim)
        dx = self.device.empty(turned.shape, x.dtype)
        if dx.size:
            self.launch("prod.backward", x=turned, dy=dy, dx=dx, M=dy.size, R=x.size // dy.size)
        return dx.transpose(inverse(tuple(order)))

    def backward_graph(self, dy: Tensor, x: Tensor, dim: tuple[int, ...]) -> Tensor:
        from gpudl import _creation, ops

        order = tuple(d for d in range(x.ndim) if d not in dim) + dim
        turned = x.permute(order)
        n = terms(x.shape, dim)
        rows = turned.reshape(dy.numel(), 1, n)
        eye = _creation.eye(n, device=x.device).bool()
        others = ops.where(eye, 1.0, rows.expand(dy.numel(), n, n)).prod(2)  # n rows, each with a 1 in the place of one factor
        return (others * dy.reshape(-1, 1)).reshape(turned.shape).permute(inverse(order))

    def literals() -> Any:
        yield [np.array([[1.0, 2.0], [3.0, 4.0]])], 24.0
        yield [np.array([[1, 2], [3, 4]]), 0], [3, 8]
        yield [np.zeros((0, 2)), 0], [1.0, 1.0]

    def samples(rng: Any) -> Any:
        yield Sample(rng.normal(size=(3, 6)), dim=1)
        yield Sample(rng.uniform(0.8, 1.2, size=(5, 70)), dim=1)
        yield Sample(np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 5.0]]), dim=1, _halves=True)
        yield Sample(rng.normal(size=(5, 3)), dim=0, keepdim=True)
        yield Sample(rng.normal(size=(2, 3)))
        yield Sample(rng.normal(size=()))

    def errors() -> Any:
        yield Sample(np.zeros((2, 3)), dim=2), IndexError, r"prod: dim 2 is out of range"


# ------------------------------------------------------------------------------------------------------------------------- extremes
class ValuesIndices(NamedTuple):
    """What max, min, sort, topk along a dim return."""

    values: Tensor
    indices: Tensor


class MinMax(NamedTuple):
    """What aminmax returns."""

    min: Tensor
    max: Tensor


@numpy_names
def max(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """max(x): the largest element (of equals each gets an equal part of the gradient). max(x, dim): (values, indices), of equals the
    first. max(a, b): elementwise, as `maximum`.

    NaN counts as the largest. RuntimeError or IndexError where there is no element; IndexError for a dim out of range.
    """
    return _extreme("max", "Max", input, dim, keepdim, other)


@numpy_names
def min(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """As `max`, for the smallest element; NaN counts as the smallest."""
    return _extreme("min", "Min", input, dim, keepdim, other)


def _extreme(op: str, kind: str, input: Tensor, dim: Any, keepdim: bool, other: Any) -> Any:
    check_tensor(op, input=input)
    other = dim if isinstance(dim, Tensor) else other
    if other is not None:
        from gpudl import ops

        return ops.maximum(input, other) if kind == "Max" else ops.minimum(input, other)
    if dim is None:
        return amax(input) if kind == "Max" else amin(input)
    at = axis(op, dim, input.ndim)
    not_empty(op, input, (at,) if input.ndim else (), dim)
    return ValuesIndices(*(MaxDim if kind == "Max" else MinDim).apply(input, dim=at, keepdim=bool(keepdim)))


@numpy_names
def amax(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The largest element over dim (an int, a tuple, or all); of equals each gets an equal part of the gradient. NaN counts as the largest.

    RuntimeError or IndexError where there is no element.
    """
    return _amax("amax", Amax, input, dim, keepdim)


@numpy_names
def amin(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """As `amax`, for the smallest element."""
    return _amax("amin", Amin, input, dim, keepdim)


def _amax(op: str, kind: type[Op], input: Tensor, dim: Any, keepdim: bool) -> Tensor:
    check_tensor(op, input=input)
    over = axes(op, dim, input.ndim)
    not_empty(op, input, over, None if dim in (None, ()) else dim)
    return kind.apply(input, dim=over, keepdim=bool(keepdim))


@numpy_names
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> MinMax:
    """(min, max) over dim (an int, or all), each as `amin` and `amax` give it."""
    return MinMax(amin(input, () if dim is None else dim, keepdim), amax(input, () if dim is None else dim, keepdim))


@numpy_names
def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Index (int64) of the largest element along dim, or in row-major order without one; of equals the first, NaN before every number.

    IndexError where there is no element or the dim is out of range.
    """
    return _argmax("argmax", Argmax, input, dim, keepdim)


@numpy_names
def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """As `argmax`, for the smallest element."""
    return _argmax("argmin", Argmin, input, dim, keepdim)


def _argmax(op: str, kind: type[Op], input: Tensor, dim: Any, keepdim: bool) -> Tensor:
    check_tensor(op, input=input)
    over = tuple(range(input.ndim)) if dim is None else axes(op, axis(op, dim, input.ndim), input.ndim)
    if terms(input.shape, over) == 0:
        raise IndexError(f"{op}: the input is {tuple(input.shape)}; no element, no index")
    return kind.apply(input, dim=over, keepdim=bool(keepdim))


class Amax(Reduction, name="amax"):
    kind = "Max"
    numpy: ClassVar[Any] = np.max

    def forward_cpu(self, x: Any, dim: tuple[int, ...], keepdim: bool) -> Any:
        return self.keep(x, np.asarray(type(self).numpy(x, axis=dim, keepdims=keepdim)))

    def keep(self, x: Any, y: Any) -> Any:
        self.save(x=x if self.needs[0] else None, y=y)
        return y

    def backward_cpu(self, dy: Any, x: Any, y: Any, dim: tuple[int, ...]) -> Any:
        shape = reduced_shape(x.shape, dim, True)
        top = y.reshape(shape)
        mask = (x == top) | ((x != x) & (top != top))
        return mask * (dy.reshape(shape) / mask.sum(axis=dim, keepdims=True).astype(x.dtype))

    def backward_graph(self, dy: Tensor, x: Tensor, y: Tensor, dim: tuple[int, ...]) -> Tensor:
        shape = reduced_shape(x.shape, dim, True)
        x, top = x.detach(), y.detach().reshape(shape)
        mask = ((x == top) | ((x != x) & (top != top))).to(dy.dtype)
        return mask * (dy.reshape(shape) / mask.sum(dim, keepdim=True))

    def literals() -> Any:
        yield [np.array([[1.0, 5.0], [3.0, 5.0]])], 5.0
        yield [np.array([[1.0, 2.0], [3.0, math.nan]]), 0], [3.0, math.nan]

    def samples(rng: Any) -> Any:
        yield from shapes(rng)
        yield Sample(rng.integers(-100, 100, size=(3, 40)).astype(np.int16), dim=1)

    def errors() -> Any:
        yield Sample(np.zeros((0,))), RuntimeError, r"amax: the input is \(0,\); the extreme of no elements does not exist"
        yield Sample(np.zeros((2, 0)), dim=1), IndexError, r"amax: the input is \(2, 0\); .* along dim 1"


class Amin(Amax, name="amin"):
    kind = "Min"
    numpy = np.min

    def literals() -> Any:
        yield [np.array([[1.0, 5.0], [3.0, 1.0]])], 1.0
        yield [np.array([[1.0, 2.0], [3.0, math.nan]]), 0], [1.0, math.nan]

    def samples(rng: Any) -> Any:
        yield from shapes(rng)

    def errors() -> Any:
        yield Sample(np.zeros((0,))), RuntimeError, r"amin: the input is \(0,\); the extreme of no elements does not exist"


class Pick(Op):
    """(values, indices) of an extreme along one axis. Params: dim (one axis), keepdim."""

    kind: ClassVar[str]
    ladders = ("argmax.forward", "argmax.backward")

    def forward_cpu(self, x: Any, dim: int, keepdim: bool) -> Any:
        along = np.atleast_1d(x)
        index = np.asarray((np.argmax if self.kind == "Max" else np.argmin)(along, axis=dim, keepdims=True))
        y = np.take_along_axis(along, index, dim)
        shape = reduced_shape(x.shape, (dim,), keepdim)
        index = index.reshape(shape)
        self.save(index=index)
        return y.reshape(shape), index

    def backward_cpu(self, dy: Any, index: Any, dim: int) -> Any:
        shape = self.meta[0][0]
        if not shape:
            return dy
        dx = np.zeros(shape, dy.dtype)
        keep = reduced_shape(shape, (dim,), True)
        np.put_along_axis(dx, index.reshape(keep), dy.reshape(keep), dim)
        return dx

    def forward_kernel(self, x: Any, dim: int, keepdim: bool) -> Any:
        y, index = pick(self, x, (dim,) if x.ndim else (), reduced_shape(x.shape, (dim,), keepdim))
        self.save(index=index)
        return y, index

    def backward_kernel(self, dy: Any, index: Any, dim: int) -> Any:
        shape = self.meta[0][0]
        dx = self.device.empty(shape, dy.dtype)
        A, B, Q = math.prod(shape[:dim]), math.prod(shape[dim + 1 :]), shape[dim] if shape else 1
        if dx.size:
            self.launch("argmax.backward", dy=dy, index=index, dx=dx, A=A, B=B, Q=Q)
        return dx

    def backward_graph(self, dy: Tensor, index: Tensor, dim: int) -> Tensor:
        return PickBackward.apply(dy, index, shape=self.meta[0][0], dim=dim)

    def cost(x: Any, dim: Any = None, *args: Any, **kwargs: Any) -> Cost:  # noqa: N805
        return Cost(bytes=moved(x, dim, x.itemsize + 8), flops=x.size)


def pick(op: Op, x: Any, dim: tuple[int, ...], shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Launch argmax.forward: the values and the indices."""
    y, index = op.device.empty(shape, x.dtype), op.device.empty(shape, int64)
    if y.size:
        given, form = kept_and_reduced(op.device, x, dim, limit=1)
        pieces = cut(op.device, y.size, form["Q"], 8 * BLOCK)
        op.launch("argmax.forward", {"OP": op.kind}, x=given, y=y, index=index, **form, results=y.size, pieces=pieces)  # type: ignore[attr-defined]
    return y, index


class PickBackward(Op):
    """dy spread to the places that were picked; linear, so its own gradient takes from those places."""

    name = "max_backward"

    def forward_cpu(self, dy: Any, index: Any, shape: tuple[int, ...], dim: int) -> Any:
        self.meta = ((shape, dy.dtype),)
        self.save(index=index)
        return Pick.backward_cpu(self, dy, index, dim)  # type: ignore[arg-type]

    def forward_kernel(self, dy: Any, index: Any, shape: tuple[int, ...], dim: int) -> Any:
        self.meta = ((shape, dy.dtype),)
        self.save(index=index)
        return Pick.backward_kernel(self, dy, index, dim)  # type: ignore[arg-type]

    def backward_graph(self, dy: Tensor, index: Tensor, shape: tuple[int, ...], dim: int) -> Any:
        from gpudl import ops

        keep = reduced_shape(shape, (dim,), True)
        return ops.gather(dy, dim, index.reshape(keep)).reshape(index.shape) if shape else dy


class MaxDim(Pick, name="max"):
    kind = "Max"

    def literals() -> Any:
        yield [np.array([[1.0, 5.0], [7.0, 5.0]]), 1], [5.0, 7.0]
        yield [np.array([[1.0, math.nan], [math.nan, 2.0]]), 0], [math.nan, math.nan]

    def samples(rng: Any) -> Any:
        yield Sample(rng.normal(size=(3, 70)), 1)
        yield Sample(rng.normal(size=(37, 5)), 0, True)
        yield Sample(rng.normal(size=(3, 4, 5)), -2)
        yield Sample(rng.normal(size=(2, 3, 2, 3)).transpose(0, 3, 2, 1), 1)
        yield Sample(rng.normal(size=()), 0)
        yield Sample(np.zeros((0, 3)), 1)

    def errors() -> Any:
        yield Sample(np.zeros((2, 0)), 1), IndexError, r"max: the input is \(2, 0\); .* along dim 1"
        yield Sample(np.zeros((2, 3)), 2), IndexError, r"max: dim 2 is out of range"


class MinDim(Pick, name="min"):
    kind = "Min"

    def literals() -> Any:
        yield [np.array([[1.0, 5.0], [7.0, 5.0]]), 1], [1.0, 5.0]
        yield [np.array([[1.0, math.nan], [3.0, 2.0]]), 0], [1.0, math.nan]

    def samples(rng: Any) -> Any:
        yield Sample(rng.normal(size=(3, 37)), 1)
        yield Sample(rng.normal(size=(3, 4, 5)), 0)

    def errors() -> Any:
        yield Sample(np.zeros((2, 0)), 1), IndexError, r"min: the input is \(2, 0\); .* along dim 1"


class Argmax(Op, name="argmax"):
    kind: ClassVar[str] = "Max"
    ladders = ("argmax.forward",)

    def forward_cpu(self, x: Any, dim: tuple[int, ...], keepdim: bool) -> Any:
        turned, _ = rows_of(x, dim)
        rows = turned.reshape((-1, terms(x.shape, dim)) if x.size else (0, 1))
        index = (np.argmax if self.kind == "Max" else np.argmin)(rows, axis=1)
        return index.reshape(reduced_shape(x.shape, dim, keepdim))

    def forward_kernel(self, x: Any, dim: tuple[int, ...], keepdim: bool) -> Any:
        return pick(self, x, dim, reduced_shape(x.shape, dim, keepdim))[1]

    def literals() -> Any:
        yield [np.array([[1.0, 5.0], [7.0, 5.0]])], 2
        yield [np.array([[1.0, 5.0, 5.0], [math.nan, 5.0, math.nan]]), 1], [1, 0]
        yield [np.array([False, True])], 1

    def samples(rng: Any) -> Any:
        yield Sample(rng.normal(size=(3, 70)), 1)
        yield Sample(rng.normal(size=(37, 5)), 0, True)
        yield Sample(rng.normal(size=(5, 6)).T)
        yield Sample(rng.normal(size=5000))
        yield Sample(rng.normal(size=()))

    def errors() -> Any:
        yield Sample(np.zeros((2, 0)), 1), IndexError, r"argmax: the input is \(2, 0\); no element, no index"
        yield Sample(np.zeros((2, 3)), 2), IndexError, r"argmax: dim 2 is out of range"

    def cost(x: Any, dim: Any = None, *args: Any, **kwargs: Any) -> Cost:
        return Cost(bytes=moved(x, dim, 8), flops=x.size)


class Argmin(Argmax, name="argmin"):
    kind = "Min"

    def literals() -> Any:
        yield [np.array([[3.0, 5.0], [1.0, 1.0]])], 2

    def samples(rng: Any) -> Any:
        yield Sample(rng.normal(size=(3, 37)), 1)

    def errors() -> Any:
        yield Sample(np.zeros((2, 0)), 1), IndexError, r"argmin: the input is \(2, 0\); no element, no index"


# ------------------------------------------------------------------------------------------------------------------------- truth and counts
@numpy_names
def any(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Whether an element over dim is not 0, as bool; False over nothing."""
    check_tensor("any", input=input)
    return Any_.apply(input, dim=axes("any", dim, input.ndim), keepdim=bool(keepdim))


@numpy_names
def all(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Whether every element over dim is not 0, as bool; True over nothing."""
    check_tensor("all", input=input)
    return All_.apply(input, dim=axes("all", dim, input.ndim), keepdim=bool(keepdim))


@numpy_names
def count_nonzero(input: Tensor, dim: Any = None) -> Tensor:
    """How many elements over dim are not 0 (NaN is not), as int64."""
    check_tensor("count_nonzero", input=input)
    return CountNonzero.apply(input, dim=axes("count_nonzero", dim, input.ndim), keepdim=False)


class Any_(Reduction, name="any"):
    kind = "Any"
    numpy: ClassVar[Any] = np.any

    @staticmethod
    def result(dtype: np.dtype) -> np.dtype:
        return _dtypes.bool_

    def forward_cpu(self, x: Any, dim: tuple[int, ...], keepdim: bool) -> Any:
        return np.asarray(type(self).numpy(x, axis=dim, keepdims=keepdim))

    def literals() -> Any:
        yield [np.array([[0.0, 0.0], [0.0, math.nan]]), 1], [False, True]
        yield [np.zeros((2, 0)), 1], [False, False]

    def samples(rng: Any) -> Any:
        yield Sample(rng.integers(0, 40, size=(6, 37)) == 0, 1)
        yield Sample(rng.integers(0, 3, size=(5, 6)) * 1.0, 0, True, _grad=False)

    def cost(x: Any, dim: Any = None, *args: Any, **kwargs: Any) -> Cost:
        return Cost(bytes=moved(x, dim, 1), flops=x.size)


class All_(Any_, name="all"):
    kind = "All"
    nothing = True
    numpy = np.all

    def literals() -> Any:
        yield [np.array([[0.0, 1.0], [2.0, math.nan]]), 1], [False, True]
        yield [np.zeros((2, 0)), 1], [True, True]

    def samples(rng: Any) -> Any:
        yield Sample(rng.integers(0, 40, size=(6, 37)) != 0, 1)


class CountNonzero(Any_, name="count_nonzero"):
    kind = "Count"
    numpy = np.count_nonzero

    @staticmethod
    def result(dtype: np.dtype) -> np.dtype:
        return int64

    def cost(x: Any, dim: Any = None, *args: Any, **kwargs: Any) -> Cost:
        return Cost(bytes=moved(x, dim, 8), flops=x.size)

    def literals() -> Any:
        yield [np.array([[0.0, 1.0], [2.0, math.nan]])], 3

    def samples(rng: Any) -> Any:
        yield Sample(rng.integers(0, 3, size=(6, 37)), 1)


# ------------------------------------------------------------------------------------------------------------------------- moments and norms
@numpy_names
def var(input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float | None = None) -> Tensor:
    """Variance over dim (an int, a tuple, or all).

        y  = sum (x - mean)^2 / (n - correction),    correction 1 by default (unbiased=False is 0)
        dx = dy * 2 / (n - correction) * (x - mean)

    Floating dtypes, else TypeError. NaN where n = correction = 1. Source: Welford 1962 and Chan, Golub & LeVeque 1979 (rung 03).
    """
    return _moment("var", Var, input, dim, unbiased, keepdim, correction)


@numpy_names
def std(input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float | None = None) -> Tensor:
    """The square root of `var`; its gradient is 0 where it is 0."""
    return _moment("std", Std, input, dim, unbiased, keepdim, correction)


@numpy_names
def var_mean(
    input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float | None = None
) -> tuple[Tensor, Tensor]:
    """(var, mean) over dim."""
    over = None if isinstance(dim, bool) else dim
    return _moment("var_mean", Var, input, dim, unbiased, keepdim, correction), mean(input, over, keepdim)


@numpy_names
def std_mean(
    input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float | None = None
) -> tuple[Tensor, Tensor]:
    """(std, mean) over dim."""
    over = None if isinstance(dim, bool) else dim
    return _moment("std_mean", Std, input, dim, unbiased, keepdim, correction), mean(input, over, keepdim)


def _moment(op: str, kind: type[Op], input: Tensor, dim: Any, unbiased: Any, keepdim: bool, correction: Any) -> Tensor:
    check_tensor(op, input=input)
    check_float(op, input=input)
    if isinstance(dim, bool):  # var(x, unbiased)
        dim, unbiased = None, dim
    if unbiased is not None and correction is not None:
        raise TypeError(f"{op}: give unbiased or correction, not both")
    less = float(unbiased) if unbiased is not None else 1.0 if correction is None else float(correction)
    return kind.apply(input, dim=axes(op, dim, input.ndim), keepdim=bool(keepdim), correction=less)


class Var(Op, name="var"):
    root: ClassVar[bool] = False
    ladders: ClassVar[tuple[str, ...]] = ("var.forward", "var.backward")

    @staticmethod
    def divisor(shape: tuple[int, ...], dim: tuple[int, ...], correction: float) -> float:
        return builtins.max(terms(shape, dim) - correction, 0.0)

    @staticmethod
    def scale(shape: tuple[int, ...], dim: tuple[int, ...], correction: float) -> float:
        """The factor of the gradient, which is negative for correction > n, as PyTorch's."""
        with np.errstate(all="ignore"):
            return float(np.divide(2.0, terms(shape, dim) - correction))

    def forward_cpu(self, x: Any, dim: tuple[int, ...], keepdim: bool, correction: float) -> Any:
        centre = x.sum(axis=dim, keepdims=True) / x.dtype.type(terms(x.shape, dim))
        off = x - centre
        y = (off * off).sum(axis=dim, keepdims=keepdim) / x.dtype.type(self.divisor(x.shape, dim, correction))
        self.save(x=x, mean=centre)
        return self.save(y=np.asarray(np.sqrt(y) if self.root else y))

    def forward_kernel(self, x: Any, dim: tuple[int, ...], keepdim: bool, correction: float) -> Any:
        shape = reduced_shape(x.shape, dim, True)
        y, mean = self.device.empty(shape, x.dtype), self.device.empty(shape, float64 if x.dtype == float64 else float32)
        if x.size:
            given, form = kept_and_reduced(self.device, x, dim)
            self.launch("var.forward", x=given, y=y, mean=mean, **form, divisor=self.divisor(x.shape, dim, correction), root=int(self.root))
        elif y.size:
            kernels.fill(self.device, y, math.nan)
            kernels.fill(self.device, mean, math.nan)
        self.save(x=x, mean=mean)
        return self.save(y=y.reshape(reduced_shape(x.shape, dim, keepdim)))

    def backward_cpu(self, dy: Any, x: Any, mean: Any, dim: tuple[int, ...], correction: float) -> Any:
        scale = self.scale(x.shape, dim, correction)
        return (x - mean) * (dy.reshape(mean.shape) * dy.dtype.type(scale))

    def backward_kernel(self, dy: Any, x: Any, mean: Any, dim: tuple[int, ...], correction: float) -> Any:
        scale = self.scale(x.shape, dim, correction)
        dy, mean = (self.device.xp.broadcast_to(a.reshape(mean.shape), x.shape) for a in (dy, mean))
        dx = self.device.empty(x.shape, x.dtype)
        self.launch("var.backward", x=x, dy=dy, mean=mean, dx=dx, dims=kernels.dims(x.shape, x, dy, mean), size=x.size, scale=scale)
        return dx

    def backward_graph(self, dy: Tensor, x: Tensor, dim: tuple[int, ...], correction: float) -> Tensor:
        scale = self.scale(x.shape, dim, correction)
        return (x - x.mean(dim, keepdim=True)) * (dy.reshape(reduced_shape(x.shape, dim, True)) * scale)

    def literals() -> Any:
        yield [np.array([1.0, 2.0, 3.0, 6.0])], 14 / 3
        yield [np.array([[1.0, 3.0], [2.0, 2.0]]), 1], [1.0, 0.0], {"correction": 0}
        yield [np.array([5.0])], math.nan

    def samples(rng: Any) -> Any:
        yield Sample(rng.normal(size=(3, 37)) + 100, dim=1, _halves=False, _tolerance=100)
        yield Sample(rng.normal(size=(37, 5)), dim=0, keepdim=True)
        yield Sample(rng.normal(size=(3, 4, 2, 5)), dim=(0, 2, 3), correction=0)
        yield Sample(rng.normal(size=(2, 3, 2, 3, 2, 2)), dim=(0, 2, 4))
        yield Sample(rng.normal(size=(6, 5)).T, dim=-1, unbiased=False)
        yield Sample(rng.normal(size=(7,)))
        for dim in (0, 1, None):  # rows of whole vectors
            yield Sample(rng.normal(size=(9, 16)), dim=dim)

    def errors() -> Any:
        yield Sample(np.zeros(3, np.int64)), TypeError, r"var: input is int64; a floating dtype is needed"
        yield Sample(np.zeros(3), unbiased=True, correction=1), TypeError, r"var: give unbiased or correction, not both"

    def cost(x: Any, dim: Any = None, *args: Any, **kwargs: Any) -> Cost:
        return Cost(bytes=moved(x, dim, x.itemsize), flops=4 * x.size)


class Std(Var, name="std"):
    root = True
    ladders = ("var.forward",)

    def backward_cpu(self, dy: Any, x: Any, mean: Any, y: Any, dim: tuple[int, ...], correction: float) -> Any:
        return Var.backward_cpu(self, np.where(y == 0, 0, dy / (2 * y)).astype(dy.dtype), x, mean, dim, correction)

    def backward_kernel(self, dy: Any, x: Any, mean: Any, y: Any, dim: tuple[int, ...], correction: float) -> Any:
        with no_grad():
            dy = self.through_root(wrap(dy, self.device), wrap(y, self.device))._array
        return Var.backward_kernel(self, dy, x, mean, dim, correction)

    def backward_graph(self, dy: Tensor, x: Tensor, y: Tensor, dim: tuple[int, ...], correction: float) -> Tensor:
        return Var.backward_graph(self, self.through_root(dy, y), x, dim, correction)

    @staticmethod
    def through_root(dy: Tensor, y: Tensor) -> Tensor:
        from gpudl import ops

        return ops.where(y == 0, 0.0, dy / (2 * y))

    def literals() -> Any:
        yield [np.array([[1.0, 3.0], [2.0, 2.0]]), 1], [1.0, 0.0], {"correction": 0}

    def samples(rng: Any) -> Any:
        yield Sample(rng.normal(size=(3, 37)), dim=1)
        yield Sample(rng.normal(size=(4, 5)))

    def errors() -> Any:
        yield Sample(np.zeros(3, np.int64)), TypeError, r"std: input is int64; a floating dtype is needed"


def norm(input: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """Vector norm over dim (an int, a tuple, or all): (sum |x|^p)^(1/p); p = 2 or "fro", inf, -inf, 0 (a count) or any other number.

    Floating dtypes, else TypeError. The gradient of the 2-norm is 0 at 0. Matrix norms ("nuc") are not supported.
    """
    check_tensor("norm", input=input)
    if dtype is not None:
        input = input.to(_dtypes.as_dtype(dtype))
    check_float("norm", input=input)
    if p == "fro":
        p = 2
    if isinstance(p, str):
        raise NotImplementedError(f"norm: p={p!r} is not supported; numbers and 'fro' are")
    over = axes("norm", dim, input.ndim)
    if p == 2:
        return Norm.apply(input, dim=over, keepdim=bool(keepdim))
    size = input.abs()
    if p == math.inf:
        return amax(size, over, keepdim)
    if p == -math.inf:
        return amin(size, over, keepdim)
    if p == 0:
        return (input != 0).to(input.dtype).sum(over, keepdim)
    if p == 1:
        return size.sum(over, keepdim)
    return (size**p).sum(over, keepdim) ** (1.0 / p)


class Norm(Reduction, name="norm"):
    kind = "SquareRoot"

    def forward_cpu(self, x: Any, dim: tuple[int, ...], keepdim: bool) -> Any:
        return self.keep(x, np.asarray(np.sqrt((x * x).sum(axis=dim, keepdims=keepdim))))

    def keep(self, x: Any, y: Any) -> Any:
        self.save(x=x)
        return self.save(y=y)

    def backward_cpu(self, dy: Any, x: Any, y: Any, dim: tuple[int, ...]) -> Any:
        shape = reduced_shape(x.shape, dim, True)
        return x * np.where(y == 0, 0, dy / y).astype(x.dtype).reshape(shape)

    def backward_graph(self, dy: Tensor, x: Tensor, y: Tensor, dim: tuple[int, ...]) -> Tensor:
        from gpudl import ops

        return x * ops.where(y == 0, 0.0, dy / y).reshape(reduced_shape(x.shape, dim, True))

    def literals() -> Any:
        yield [np.array([[3.0, 4.0], [0.0, 0.0]]), 2, 1], [5.0, 0.0]
        yield [np.array([3.0, -4.0]), math.inf], 4.0
        yield [np.array([3.0, -4.0]), 1], 7.0

    def samples(rng: Any) -> Any:
        yield Sample(rng.normal(size=(3, 37)), dim=1)
        yield Sample(rng.normal(size=(4, 5)))

    def errors() -> Any:
        yield Sample(np.zeros(3), "nuc"), NotImplementedError, r"norm: p='nuc' is not supported"

    def cost(x: Any, p: Any = "fro", dim: Any = None, *args: Any, **kwargs: Any) -> Cost:  # type: ignore[override]
        return Cost(bytes=moved(x, dim, x.itemsize), flops=2 * x.size)


@numpy_names
def logsumexp(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """log(sum(exp(x))) over dim (an int or a tuple), without overflow:    y = hi + log sum exp(x - hi),    hi = max x,    dx = dy * exp(x - y)"""
    from gpudl import ops

    check_tensor("logsumexp", input=input)
    check_float("logsumexp", input=input)
    over = axes("logsumexp", dim, input.ndim)
    if terms(input.shape, over) == 0:
        return ops.log(Sum.apply(input, dim=over, keepdim=bool(keepdim)))  # log 0 = -inf
    hi = amax(input.detach(), over, keepdim=True)
    hi = ops.where(hi.abs() == math.inf, 0.0, hi)  # inf - inf is NaN
    out = ops.log(ops.exp(input - hi).sum(over, keepdim=True)) + hi
    return out if keepdim else out.reshape(reduced_shape(input.shape, over, False))


# ------------------------------------------------------------------------------------------------------------------------- running sums
@numpy_names
def cumsum(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Running sum along dim.    y[q] = sum of x[r], r <= q,    dx = the running sum of dy from the end

    Any dtype; integers and bool sum to int64. IndexError for a dim out of range.
    """
    check_tensor("cumsum", input=input)
    if dtype is not None:
        input = input.to(_dtypes.as_dtype(dtype))
    return Cumsum.apply(input, dim=axis("cumsum", dim, input.ndim), reverse=False)


class Cumsum(Op, name="cumsum"):
    def forward_cpu(self, x: Any, dim: int, reverse: bool) -> Any:
        if not x.ndim:
            return x.astype(integral(x.dtype))
        y = np.cumsum(np.flip(x, dim) if reverse else x, axis=dim, dtype=integral(x.dtype))
        return np.flip(y, dim) if reverse else y

    def forward_kernel(self, x: Any, dim: int, reverse: bool) -> Any:
        given = x.reshape(1) if not x.ndim else self.device.xp.flip(x, dim) if reverse else x
        y = self.device.empty(given.shape, integral(x.dtype))
        if y.size:
            A, B = math.prod(given.shape[:dim]), math.prod(given.shape[dim + 1 :])
            lines = [*merged(given, range(dim)), *[(1, 0)] * 3][:1] if dim else [(1, 0)]
            inner = merged(given, range(dim + 1, given.ndim)) or [(1, 0)]
            if len(merged(given, range(dim))) > 1 or len(inner) > 1:
                given = kernels.contiguous(self.device, given)
                lines, inner = merged(given, range(dim)) or [(1, 0)], merged(given, range(dim + 1, given.ndim)) or [(1, 0)]
            self.launch(
                "cumsum.forward",
                x=given,
                y=y,
                A=A,
                B=B,
                Q=given.shape[dim],
                sa=lines[0][1],
                sb=inner[0][1],
                sq=given.strides[dim] // given.itemsize,
            )
        return y.reshape(()) if not x.ndim else self.device.xp.flip(y, dim) if reverse else y

    def backward_graph(self, dy: Tensor, dim: int, reverse: bool) -> Tensor:
        return Cumsum.apply(dy, dim=dim, reverse=not reverse)

    def literals() -> Any:
        yield [np.array([[1.0, 2.0], [3.0, 4.0]]), 0], [[1.0, 2.0], [4.0, 6.0]]
        yield [np.array([True, True]), 0], [1, 2]

    def samples(rng: Any) -> Any:
        yield Sample(rng.normal(size=(3, 70)), 1)
        yield Sample(rng.normal(size=(3, 4, 5)), 1)
        yield Sample(rng.normal(size=(5, 6)).T, 0)
        yield Sample(rng.normal(size=()), 0)

    def errors() -> Any:
        yield Sample(np.zeros((2, 3)), 2), IndexError, r"cumsum: dim 2 is out of range"

    def cost(x: Any, *args: Any, **kwargs: Any) -> Cost:
        return Cost(bytes=2 * x.nbytes, flops=x.size)
