"""The sizes that each op is measured at: friendly and unfriendly ones, from LeNet's layers to those of ResNet-50 and VGG.

A `Shape` is the arguments of one call with `A` in place of arrays, so that its cost and memory are known before anything is allocated. An op
that no grid names is measured on its family's grid, else on its own samples.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpudl import _dtypes
from gpudl.autograd import Op, Sample


@dataclass(frozen=True)
class A:
    """An array to draw. draw: "uniform" in [low, high), "signed" the same and half of them negative, "label" below high, "bool", "distinct" (no two
    values equal), "constant" is low.

    transposed: the memory of the last two axes is the other way round (column-major), as in A @ B.T.
    """

    shape: tuple[int, ...]
    draw: str = "uniform"
    low: float = -1.0
    high: float = 1.0
    transposed: bool = False

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def make(self, rng: np.random.Generator, dtype: np.dtype) -> np.ndarray:
        shape = (*self.shape[:-2], self.shape[-1], self.shape[-2]) if self.transposed else self.shape
        if self.draw == "label":
            return rng.integers(0, int(self.high), shape)
        if self.draw == "bool":
            return rng.random(shape) < 0.5
        if self.draw == "integer":
            return rng.integers(int(self.low), int(self.high), shape, dtype=np.int32)
        if self.draw == "constant":
            return np.full(shape, self.low).astype(dtype)
        wide = np.float64 if dtype == _dtypes.float64 else np.float32
        x = rng.random(shape, dtype=wide)
        if self.draw == "signed":
            x = np.where(x < 0.5, -(x * (2 * (self.high - self.low)) + self.low), (x - 0.5) * (2 * (self.high - self.low)) + self.low)
            return x.astype(dtype)
        x *= self.high - self.low
        x += self.low
        x = x if x.dtype == dtype else x.astype(dtype)
        return np.swapaxes(x, -1, -2) if self.transposed else x

    def stub(self, dtype: np.dtype) -> np.ndarray:
        """An array of this size that takes no memory: what `cost` is asked with."""
        kind = {"label": np.dtype(np.int64), "bool": np.dtype(bool), "integer": np.dtype(np.int32)}.get(self.draw, dtype)
        return np.broadcast_to(np.zeros((), kind), self.shape)


@dataclass(frozen=True)
class Shape:
    """One call. label: what a table says; length: terms in its longest sum where the cost cannot tell; tags: tiny, ragged, skinny, batched, ..."""

    label: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()
    length: int = 0
    grad: bool = True
    constant: tuple[str, ...] = ()

    def sample(self, rng: np.random.Generator, dtype: Any) -> Sample:
        dtype = _dtypes.as_dtype(dtype)
        draw = lambda v: v.make(rng, dtype) if isinstance(v, A) else [draw(x) for x in v] if isinstance(v, list) else v  # noqa: E731
        return Sample(*[draw(a) for a in self.args], **{k: draw(v) for k, v in self.kwargs.items()})

    def stubs(self, dtype: Any) -> Sample:
        dtype = _dtypes.as_dtype(dtype)
        draw = lambda v: v.stub(dtype) if isinstance(v, A) else [draw(x) for x in v] if isinstance(v, list) else v  # noqa: E731
        return Sample(*[draw(a) for a in self.args], **{k: draw(v) for k, v in self.kwargs.items()})

    @property
    def arrays(self) -> list[A]:
        found: list[A] = []
        for v in (*self.args, *self.kwargs.values()):
            found += [v] if isinstance(v, A) else [x for x in v if isinstance(x, A)] if isinstance(v, list) else []
        return found

    @property
    def elements(self) -> int:
        return sum(a.size for a in self.arrays)


def shape(label: str, *args: Any, tags: str = "", length: int = 0, grad: bool = True, constant: tuple[str, ...] = (), **kwargs: Any) -> Shape:
    return Shape(label, args, kwargs, frozenset(tags.split()), length, grad, constant)


def text(dims: tuple[int, ...]) -> str:
    return "x".join(map(str, dims)) or "scalar"


# ------------------------------------------------------------------------------------------------------------------------------- the grids
MAPS = [  # (shape, tags): elementwise work
    ((64, 6, 28, 28), "tiny lenet"),
    ((999, 1001), "ragged"),
    ((1024, 1024), ""),
    ((32, 64, 56, 56), "resnet"),
    ((4096, 16384), "large"),
]
ROWS = [((64, 10), "tiny lenet"), ((1023, 1111), "ragged"), ((4096, 1000), ""), ((7, 65536), "skinny"), ((8192, 8192), "large"),
        ((4096, 32000), "large")]  # fmt: skip


def matmul() -> Iterator[Shape]:
    for M, N, K, tags in [
        (64, 120, 400, "tiny lenet"), (512, 512, 512, ""), (1024, 1024, 1024, ""), (1111, 1111, 1111, "ragged"), (4095, 777, 1000, "ragged"),
        (1, 4096, 4096, "skinny"), (4096, 16, 4096, "skinny"), (256, 576, 25088, "skinny large"), (2048, 2048, 2048, "large"),
        (4096, 4096, 4096, "large"), (8192, 8192, 8192, "large"),
    ]:  # fmt: skip
        yield shape(f"{M}x{N}x{K}", A((M, K)), A((K, N)), tags=tags)
    yield shape("1024x1024x1024 NT", A((1024, 1024)), A((1024, 1024), transposed=True), tags="transposed")
    yield shape("1024x1024x1024 TN", A((1024, 1024), transposed=True), A((1024, 1024)), tags="transposed")
    yield shape("777x555x333 TN", A((777, 333), transposed=True), A((333, 555)), tags="transposed ragged")
    yield shape("4096x4096x4096 NT", A((4096, 4096)), A((4096, 4096), transposed=True), tags="transposed large")
    yield shape("32 x 128x128x64", A((32, 128, 64)), A((32, 64, 128)), tags="batched")
    yield shape("7 x 65x31x127", A((7, 65, 127)), A((7, 127, 31)), tags="batched ragged")


def linear() -> Iterator[Shape]:
    for M, N, K, tags in [
        (64, 120, 400, "tiny lenet"), (64, 10, 84, "tiny lenet"), (37, 333, 777, "ragged"), (256, 512, 784, "mlp"), (1, 1000, 2048, "skinny resnet"),
        (32, 4096, 25088, "vgg large"), (4096, 4096, 1024, "large"),
    ]:  # fmt: skip
        yield shape(f"{M}x{K} -> {N}", A((M, K)), A((N, K), low=-0.1, high=0.1), A((N,)), tags=tags)


CONVS = [  # batch, C, H, W, K, R, S, stride, padding, dilation, groups, tags
    (64, 1, 28, 28, 6, 5, 5, 1, 2, 1, 1, "tiny lenet c1"),
    (64, 6, 14, 14, 16, 5, 5, 1, 0, 1, 1, "tiny lenet c2"),
    (7, 5, 31, 29, 11, 5, 3, 1, 1, 1, 1, "ragged"),
    (4, 64, 56, 56, 64, 3, 3, 1, 1, 1, 1, "resnet"),
    (4, 256, 14, 14, 256, 3, 3, 1, 1, 1, 1, "resnet"),
    (4, 256, 56, 56, 64, 1, 1, 1, 0, 1, 1, "resnet 1x1"),
    (2, 3, 224, 224, 64, 7, 7, 2, 3, 1, 1, "resnet stem"),
    (1, 512, 14, 14, 512, 3, 3, 1, 1, 1, 1, "vgg"),
    (8, 32, 28, 28, 32, 3, 3, 1, 1, 1, 32, "depthwise"),
    (4, 16, 33, 33, 24, 3, 3, 1, 2, 2, 1, "dilated ragged"),
    (32, 64, 56, 56, 64, 3, 3, 1, 1, 1, 1, "resnet large"),
    (32, 128, 28, 28, 128, 3, 3, 1, 1, 1, 1, "resnet large"),
    (32, 512, 7, 7, 512, 3, 3, 1, 1, 1, 1, "resnet large"),
    (32, 64, 112, 112, 128, 3, 3, 1, 1, 1, 1, "vgg large"),
]


def conv(form: str) -> Iterator[Shape]:
    for N, C, H, W, K, R, S, stride, padding, dilation, groups, tags in CONVS:
        P, Q = [(size + 2 * padding - dilation * (r - 1) - 1) // stride + 1 for size, r in ((H, R), (W, S))]
        extra = "".join(f" {n}{v}" for n, v, plain in (("s", stride, 1), ("p", padding, 0), ("d", dilation, 1), ("g", groups, 1)) if v != plain)
        label = f"{N}x{C}x{H}x{W} k{K} {R}x{S}{extra}"
        x, w, b, dy = A((N, C, H, W)), A((K, C // groups, R, S), low=-0.2, high=0.2), A((K,)), A((N, K, P, Q))
        both = (stride, stride), (padding, padding), (dilation, dilation), groups
        if form == "forward":
            yield shape(label, x, w, b, stride, padding, dilation, groups, None, tags=tags)
        elif form == "dgrad":
            yield shape(label, dy, w, *both, (H, W), tags=tags, grad=False)
        elif form == "wgrad":
            yield shape(label, x, dy, *both, (R, S), tags=tags, grad=False)
        elif groups == 1 and stride == 1 and R > 1:
            yield shape(label + " pool2", x, w, b, stride, padding, dilation, pool_kernel_size=2, tags=tags)


def pool(*rest: Any) -> Iterator[Shape]:
    for dims, args, tags in [
        ((64, 6, 28, 28), (2,), "tiny lenet"), ((7, 5, 31, 29), (3, 2, 1), "ragged"), ((4, 64, 112, 112), (3, 2, 1), "resnet stem"),
        ((8, 64, 56, 56), (2,), "vgg"), ((32, 64, 112, 112), (3, 2, 1), "resnet large"),
    ]:  # fmt: skip
        yield shape(f"{text(dims)} {'x'.join(map(str, args))}", A(dims), *args, tags=tags)


def batch_norm() -> Iterator[Shape]:
    for dims, tags in [((64, 6, 28, 28), "tiny lenet"), ((37, 35), "ragged"), ((4, 256, 14, 14), "resnet"), ((8, 64, 56, 56), "resnet"),
                       ((512, 1024), "mlp"), ((32, 64, 112, 112), "resnet large"), ((32, 256, 56, 56), "resnet large")]:  # fmt: skip
        c = (dims[1],)
        for training in (True, False):
            if training or "ragged" in tags or tags == "resnet":
                yield shape(
                    f"{text(dims)} {'train' if training else 'eval'}", A(dims), A(c, "constant", 0.0), A(c, low=0.5, high=1.5), A(c, low=0.5, high=1.5),
                    A(c), training=training, tags=tags, length=math.prod(dims) // dims[1], constant=("running_mean", "running_var"),
                )  # fmt: skip


def batch_norm_add_relu() -> Iterator[Shape]:
    for dims, tags in [((64, 6, 28, 28), "tiny lenet"), ((37, 5, 31, 29), "ragged"), ((4, 256, 14, 14), "resnet"), ((32, 256, 56, 56), "resnet large")]:
        c = (dims[1],)
        yield shape(
            f"{text(dims)} train", A(dims), A(dims), running_mean=A(c, "constant", 0.0), running_var=A(c, low=0.5, high=1.5),
            weight=A(c, low=0.5, high=1.5), bias=A(c), training=True, tags=tags, length=math.prod(dims) // dims[1],
            constant=("running_mean", "running_var"),
        )  # fmt: skip


def group_norm() -> Iterator[Shape]:
    for dims, groups, tags in [((64, 6, 28, 28), 3, "tiny lenet"), ((7, 12, 31, 29), 4, "ragged"), ((4, 256, 14, 14), 32, "resnet"),
                               ((8, 64, 56, 56), 32, "resnet"), ((32, 256, 56, 56), 32, "resnet large")]:  # fmt: skip
        c = (dims[1],)
        yield shape(f"{text(dims)} g{groups}", A(dims), groups, A(c, low=0.5, high=1.5), A(c), tags=tags, length=math.prod(dims[1:]) // groups)


def chains() -> Iterator[Shape]:
    """gelu(x + bias) + residual, without dropout, whose random numbers no two libraries share."""
    for dims, tags in [((64, 120), "tiny lenet"), ((1023, 1111), "ragged"), ((4096, 1024), ""), ((8192, 8192), "large")]:
        yield shape(f"{text(dims)} bias gelu residual", A(dims), A(dims[-1:]), "gelu", 0.0, A(dims), tags=tags, length=dims[0])


def pieces() -> Iterator[Shape]:
    for dims, k, tags in [((64, 120), 2, "tiny lenet"), ((1023, 1111), 11, "ragged"), ((4096, 1024), 4, ""), ((8192, 8192), 2, "large")]:
        yield shape(f"{text(dims)} of {k}", A(dims), k, tags=tags)


def piecewise() -> Iterator[Shape]:
    for dims, S, tags in [((64, 120), 5, "tiny lenet"), ((1023, 777), 5, "ragged"), ((8, 64, 56, 56), 5, "resnet"), ((4096, 4096), 5, "large")]:
        yield shape(f"{text(dims)} {S} hinges", A(dims), A((S, dims[1])), A((S, dims[1])), 1, tags=tags, length=math.prod(dims) // dims[1])


def layer_norm() -> Iterator[Shape]:
    for (M, N), tags in ROWS:
        yield shape(f"{M}x{N}", A((M, N)), (N,), A((N,)), A((N,)), tags=tags, length=N)


def rows() -> Iterator[Shape]:
    for dims, tags in ROWS:
        yield shape(text(dims), A(dims, low=-3, high=3), dim=-1, tags=tags, length=dims[-1])
    yield shape("16x100x31x33 dim 1", A((16, 100, 31, 33), low=-3, high=3), dim=1, tags="strided ragged", length=100)


def losses() -> Iterator[Shape]:
    for (M, N), tags in ROWS:
        yield shape(f"{M}x{N}", A((M, N), low=-3, high=3), A((M,), "label", 0, N), tags=tags, length=max(M, N))


def log_losses() -> Iterator[Shape]:
    for (M, N), tags in ROWS:
        yield shape(f"{M}x{N}", A((M, N), low=-9, high=-0.1), A((M,), "label", 0, N), tags=tags, length=max(M, N))


def reductions(low: float = -1.0, high: float = 1.0, draw: str = "uniform") -> Iterator[Shape]:
    for dims, dim, tags in [
        ((64, 10), -1, "tiny"), ((1000, 1001), 0, "ragged"), ((1000, 1001), 1, "ragged"), ((4096, 1024), -1, ""), ((4096, 1024), 0, ""),
        ((32, 64, 56, 56), (0, 2, 3), "resnet"), ((1 << 22,), None, ""), ((16, 1 << 18), -1, "skinny"), ((8192, 8192), -1, "large"), ((8192, 8192), 0, "large"),
    ]:  # fmt: skip
        kwargs = {} if dim is None else {"dim": dim}
        yield shape(f"{text(dims)} {'all' if dim is None else f'dim {dim}'.replace(' ', '')}", A(dims, draw, low, high), tags=tags, **kwargs)


def one_dim() -> Iterator[Shape]:
    yield from (s for s in reductions() if not isinstance(s.kwargs.get("dim", 0), tuple) and s.kwargs)


def unary(low: float, high: float, draw: str = "uniform", *rest: Any, **options: Any) -> Iterator[Shape]:
    for dims, tags in MAPS:
        yield shape(text(dims), A(dims, draw, low, high), *rest, tags=tags, **options)


def copies() -> Iterator[Shape]:
    yield from unary(-1, 1)
    yield shape("1023x1025 transposed", A((1023, 1025), transposed=True), tags="transposed ragged")


def binary(low: float, high: float, draw: str = "uniform") -> Iterator[Shape]:
    for dims, tags in MAPS:
        yield shape(text(dims), A(dims, draw, low, high), A(dims, draw, low, high), tags=tags)
    for a, b, tags in [((1024, 1024), (1024,), "broadcast"), ((1023, 1001), (1023, 1), "broadcast ragged"), ((8, 64, 56, 56), (64, 1, 1), "broadcast")]:
        yield shape(f"{text(a)} with {text(b)}", A(a, draw, low, high), A(b, draw, low, high), tags=tags)


def where() -> Iterator[Shape]:
    for dims, tags in MAPS:
        yield shape(text(dims), A(dims, "bool"), A(dims), A(dims), tags=tags)


def pairs(low: float = 0.05, high: float = 0.95) -> Iterator[Shape]:
    """Pointwise losses: a prediction and a target of one shape, the mean of all."""
    for dims, tags in MAPS:
        yield shape(text(dims), A(dims, low=low, high=high), A(dims, low=low, high=high), tags=tags, length=math.prod(dims))


def cat() -> Iterator[Shape]:
    for a, b, dim, tags in [((64, 60), (64, 60), 1, "tiny"), ((1023, 501), (1023, 77), 1, "ragged"), ((8, 64, 56, 56), (8, 32, 56, 56), 1, "resnet")]:
        yield shape(f"{text(a)} {text(b)} dim {dim}", [A(a), A(b)], dim, tags=tags)


def gather() -> Iterator[Shape]:
    for M, N, K, tags in [(64, 10, 1, "tiny"), (1023, 1111, 77, "ragged"), (4096, 1000, 100, "")]:
        yield shape(f"{M}x{N} takes {K}", A((M, N)), 1, A((M, K), "label", 0, N), tags=tags)


def prelu() -> Iterator[Shape]:
    for dims, tags in MAPS:
        yield shape(text(dims), A(dims), A((dims[1], *((1,) * (len(dims) - 2))) if len(dims) > 2 else (1, dims[1]), low=0.1, high=0.4), tags=tags)


POINTWISE = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div")
GRIDS: dict[str, Any] = {
    **dict.fromkeys(POINTWISE, pairs), "cat": cat, "gather": gather, "prelu": prelu, "dropout": lambda: unary(-1, 1, "uniform", 0.5),
    "matmul": matmul, "linear": linear, "conv2d": functools.partial(conv, "forward"), "conv2d_dgrad": functools.partial(conv, "dgrad"),
    "conv2d_wgrad": functools.partial(conv, "wgrad"), "conv2d_relu_max_pool2d": functools.partial(conv, "pool"), "max_pool2d": pool, "avg_pool2d": pool,
    "batch_norm": batch_norm, "batch_norm_relu": batch_norm, "batch_norm_add_relu": batch_norm_add_relu, "group_norm": group_norm,
    "bias_act_dropout_add": chains, "maxout": pieces, "adaptive_piecewise_linear": piecewise, "layer_norm": layer_norm,
    "softmax": rows, "log_softmax": rows, "cross_entropy": losses,
    "nll_loss": log_losses, "where": where, "cumsum": one_dim, "argmax": one_dim, "argmin": one_dim, "max": one_dim, "min": one_dim,
    "clamp": lambda: unary(-1, 1, "uniform", -0.5, 0.5), "copy": copies, "prod": functools.partial(reductions, 0.9, 1.1),
}  # fmt: skip


def family(op: type[Op]) -> str:
    """What a reader looks for it under; pictures are drawn per family."""
    if isinstance(getattr(op, "family", None), str):
        return op.family  # type: ignore[attr-defined]
    names = [c.__name__ for c in op.__mro__]
    if op.name.startswith("conv2d") or op.name in ("max_pool2d", "avg_pool2d"):
        return "convolution" if op.name.startswith("conv2d") else "pooling"
    if op.name in ("matmul", "linear"):
        return "matmul"
    if op.name in ("softmax", "log_softmax", "cross_entropy", "nll_loss") or op.name.split("_")[0] in ("batch", "layer", "group") and "norm" in op.name:
        return "rows"
    if any(n in names for n in ("Unary", "Binary", "Pointwise")):
        return "elementwise"
    if any(n in names for n in ("Reduction", "Pick", "Argmax", "Var", "Cumsum")):
        return "reduction"
    return op.__module__.rpartition(".")[2]


def own(op: type[Op]) -> list[Shape]:
    """The op's samples as shapes, largest first; drawn again within the sample's range of values."""
    if hasattr(op, "measured_at"):
        return sorted(op.measured_at(), key=lambda s: -s.elements)
    found = []
    for s in op.samples(np.random.default_rng(7)):  # type: ignore[attr-defined]
        def spec(v: Any) -> Any:
            if isinstance(v, (list, tuple)) and any(isinstance(x, np.ndarray) for x in v):
                return [spec(x) for x in v]
            if not isinstance(v, np.ndarray):
                return v
            if v.dtype.kind == "b":
                return A(v.shape, "bool")
            low, high = (float(np.nanmin(v)), float(np.nanmax(v))) if v.size and np.isfinite(v).all() else (-1.0, 1.0)
            if v.dtype.kind in "iu":
                return A(v.shape, "label" if v.dtype == np.int64 else "integer", low, max(high + 1, 1))
            return A(v.shape, low=low, high=high if high > low else low + 1)

        args, kwargs = tuple(map(spec, s.args)), {k: spec(v) for k, v in s.kwargs.items()}
        made = Shape("", args, kwargs, frozenset({"sample"}), grad=bool(s.options.get("grad", True)), constant=tuple(s.options.get("constant", ())))
        if made.elements:
            dims = " ".join(text(a.shape) for a in made.arrays)
            rest = " ".join(f"{k}={v}" for k, v in kwargs.items() if not isinstance(v, (A, list)))
            found.append(Shape(f"{dims} {rest}".strip(), args, kwargs, made.tags, grad=made.grad, constant=made.constant))
    unique = {s.label: s for s in found}
    return sorted(unique.values(), key=lambda s: -s.elements)


def grid(op: type[Op]) -> list[Shape]:
    """Every size at which the op is measured."""
    if hasattr(op, "measured_at"):
        return list(op.measured_at())
    if op.name in GRIDS:
        return list(GRIDS[op.name]())
    names = [c.__name__ for c in op.__mro__]
    samples = own(op)
    if not samples:
        return []
    first = samples[0]
    values = first.args[0] if first.args and isinstance(first.args[0], A) else A(())
    draw = "integer" if values.draw == "label" else values.draw
    if "Unary" in names and len(first.arrays) == 1:
        return list(unary(values.low, values.high, draw, *first.args[1:], **first.kwargs))
    if "Binary" in names and len(first.arrays) == len(first.args) == 2 and not first.kwargs and op.name != "prelu":
        return list(binary(0 if draw == "integer" else values.low, values.high, draw))
    if "Reduction" in names or op.name in ("var", "std"):
        return list(reductions(draw="bool" if op.name in ("any", "all", "count_nonzero") else "uniform"))
    return samples[:2]
