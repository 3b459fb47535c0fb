"""Products of vectors, matrices and their sums, made of matmul, elementwise ops and reductions; gradients and devices come with those."""

from __future__ import annotations

from typing import Any

from gpudl._errors import ShapeError
from gpudl._tensor import Tensor
from gpudl.ops._common import axis, check_tensor
from gpudl.ops.elementwise import add, mul, sub
from gpudl.ops.index import cat, roll
from gpudl.ops.matmul import bmm, dot, matmul, outer
from gpudl.ops.reduce import mean, norm
from gpudl.ops.reduce import sum as total
from gpudl.ops.view import permute, reshape, unsqueeze


def inner(input: Tensor, other: Tensor) -> Tensor:
    """Products summed over the last axes of both: (..., K) and (..., K) to (..., ...). A 0-d operand scales the other."""
    check_tensor("inner", input=input, other=other)
    if not input.ndim or not other.ndim:
        return mul(input, other)
    if input.shape[-1] != other.shape[-1]:
        raise ShapeError(f"inner: input is {tuple(input.shape)} and other {tuple(other.shape)}; the last sizes must be equal")
    return tensordot(input, other, ([-1], [-1]))


def vdot(input: Tensor, other: Tensor) -> Tensor:
    """`dot` of two vectors."""
    return dot(input, other)


def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """Products summed over the axes dims[0] of a and dims[1] of b, or over the last `dims` of a and the first of b. ShapeError where they differ."""
    check_tensor("tensordot", a=a, b=b)
    if isinstance(dims, int):
        if not 0 <= dims <= min(a.ndim, b.ndim):
            raise ShapeError(f"tensordot: dims is {dims} for tensors {tuple(a.shape)} and {tuple(b.shape)}")
        dims = (range(a.ndim - dims, a.ndim), range(dims))
    over_a, over_b = ([axis("tensordot", d, t.ndim) for d in over] for t, over in ((a, dims[0]), (b, dims[1])))
    if len(over_a) != len(over_b) or any(a.shape[i] != b.shape[j] for i, j in zip(over_a, over_b, strict=True)):
        raise ShapeError(f"tensordot: axes {over_a} of {tuple(a.shape)} and {over_b} of {tuple(b.shape)} must agree in number and size")
    left, right = ([d for d in range(t.ndim) if d not in over] for t, over in ((a, over_a), (b, over_b)))
    K = 1
    for d in over_a:
        K *= a.shape[d]
    rows, columns = [a.shape[d] for d in left], [b.shape[d] for d in right]
    A = reshape(permute(a, *left, *over_a) if a.ndim else a, _size(rows), K)
    B = reshape(permute(b, *over_b, *right) if b.ndim else b, K, _size(columns))
    return reshape(matmul(A, B), *rows, *columns)


def _size(shape: list[int]) -> int:
    size = 1
    for n in shape:
        size *= n
    return size


def _alpha_beta(op: str, input: Tensor, product: Tensor, beta: Any, alpha: Any) -> Tensor:
    """beta * input + alpha * product; with beta 0 input is not read, so its NaN does not count."""
    scaled = product if alpha == 1 else mul(product, alpha)
    if not beta:
        return add(scaled, 0) if scaled is product else scaled
    return add(input if beta == 1 else mul(input, beta), scaled)


def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * (batch1 @ batch2), batch by batch."""
    return _alpha_beta("baddbmm", input, bmm(batch1, batch2), beta, alpha)


def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * the sum over the batch of batch1 @ batch2."""
    return _alpha_beta("addbmm", input, total(bmm(batch1, batch2), 0), beta, alpha)


def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * (mat @ vec)."""
    if mat.ndim != 2 or vec.ndim != 1:
        raise ShapeError(f"addmv: mat is {tuple(mat.shape)} and vec {tuple(vec.shape)}; a matrix and a vector are needed")
    return _alpha_beta("addmv", input, matmul(mat, vec), beta, alpha)


def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * outer(vec1, vec2)."""
    return _alpha_beta("addr", input, outer(vec1, vec2), beta, alpha)


def kron(input: Tensor, other: Tensor) -> Tensor:
    """The Kronecker product: each element of input times all of other, block by block. Missing leading axes have size 1."""
    check_tensor("kron", input=input, other=other)
    n = max(input.ndim, other.ndim)
    shapes = [[1] * (n - t.ndim) + list(t.shape) for t in (input, other)]
    a = reshape(input, *[m for size in shapes[0] for m in (size, 1)])
    b = reshape(other, *[m for size in shapes[1] for m in (1, size)])
    return reshape(mul(a, b), *[i * j for i, j in zip(*shapes, strict=True)])


def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The vector product of 3-vectors along dim (by default the first axis of size 3), broadcast. ShapeError where that size is not 3."""
    check_tensor("cross", input=input, other=other)
    if dim is None:
        dim = next((d for d, n in enumerate(input.shape) if n == 3), None)
        if dim is None:
            raise ShapeError(f"cross: input is {tuple(input.shape)}; an axis of size 3 is needed")
        dim -= input.ndim
    at = axis("cross", dim, input.ndim) - input.ndim
    if input.shape[at] != 3 or other.shape[at] != 3:
        raise ShapeError(f"cross: input is {tuple(input.shape)} and other {tuple(other.shape)}; both must have size 3 along dim {dim}")
    turn = lambda t, by: roll(t, by, at)
    return sub(mul(turn(input, -1), turn(other, 1)), mul(turn(input, 1), turn(other, -1)))


def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of input - other as one vector."""
    return norm(sub(input, other), p)


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str | None = None) -> Tensor:
    """The p-norms of the differences of all rows: (..., M, K) and (..., N, K) to (..., M, N). Of size M * N * K in between."""
    check_tensor("cdist", x1=x1, x2=x2)
    if compute_mode not in (None, "use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist"):
        raise ValueError(f"cdist: compute_mode {compute_mode!r} is not known")
    if x1.ndim < 2 or x2.ndim < 2 or x1.shape[-1] != x2.shape[-1]:
        raise ShapeError(f"cdist: x1 is {tuple(x1.shape)} and x2 {tuple(x2.shape)}; (..., M, K) and (..., N, K) are needed")
    return norm(sub(unsqueeze(x1, -2), unsqueeze(x2, -3)), p, -1)


def cov(input: Tensor, *, correction: int = 1, fweights: Any = None, aweights: Any = None) -> Tensor:
    """The covariances of the rows (variables) of a matrix whose columns are observations; of one variable (a row, a vector) a 0-d tensor.

    NotImplementedError for weights.
    """
    check_tensor("cov", input=input)
    for name, given in (("fweights", fweights), ("aweights", aweights)):
        if given is not None:
            raise NotImplementedError(f"cov: {name} is not supported")
    if input.ndim > 2:
        raise ShapeError(f"cov: the input is {tuple(input.shape)}; at most 2 dimensions are allowed")
    rows = input if input.ndim == 2 else reshape(input, 1, -1)
    rows = rows if rows.is_floating_point() else rows.float()
    off = sub(rows, mean(rows, 1, True))
    out = mul(matmul(off, off.mT), 1 / max(rows.shape[1] - correction, 0)) if rows.shape[1] > correction else mul(matmul(off, off.mT), float("nan"))
    return reshape(out) if rows.shape[0] == 1 else out


def corrcoef(input: Tensor) -> Tensor:
    """The correlation coefficients of the rows of a matrix, between -1 and 1; of a vector 1."""
    c = cov(input)
    if not c.ndim:
        return c / c
    root = c.diagonal().sqrt()
    return (c / unsqueeze(root, 1) / root).clamp(-1, 1)


def block_diag(*tensors: Tensor) -> Tensor:
    """The matrices along the diagonal of one, zeros elsewhere; vectors are rows. ShapeError for more than 2 dimensions."""
    check_tensor("block_diag", **{f"tensor {i}": t for i, t in enumerate(tensors)})
    blocks = [reshape(t, *[1] * (2 - t.ndim), *t.shape) if t.ndim < 2 else t for t in tensors]
    if not blocks or any(t.ndim > 2 for t in blocks):
        raise ShapeError(f"block_diag: the tensors are {[tuple(t.shape) for t in tensors]}; one at least, of at most 2 dimensions, is needed")
    columns, at, rows = sum(t.shape[1] for t in blocks), 0, []
    for t in blocks:
        sides = [t.new_zeros(t.shape[0], at), t, t.new_zeros(t.shape[0], columns - at - t.shape[1])]
        rows.append(cat(sides, 1))
        at += t.shape[1]
    return cat(rows, 0)


__all__ = [
    "addbmm", "addmv", "addr", "baddbmm", "block_diag", "cdist", "corrcoef", "cov", "cross", "dist", "inner", "kron", "tensordot", "vdot",
]  # fmt: skip
