"""Einstein summation: products of tensors whose axes are named by letters, as sums, permutations and one batched matmul per pair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gpudl._errors import ShapeError
from gpudl._tensor import Tensor
from gpudl.ops._common import check_tensor
from gpudl.ops.elementwise import mul
from gpudl.ops.index import diagonal
from gpudl.ops.matmul import bmm
from gpudl.ops.reduce import sum as total
from gpudl.ops.view import expand, permute, reshape


def einsum(equation: str, *operands: Any) -> Tensor:
    """The sum of products that the equation names: einsum("bij,bjk->bik", a, b) is bmm(a, b).

    Each letter is an axis; one that the output (right of ->) lacks is summed over. Without -> the output has the letters that occur once, in
    alphabetical order. A letter twice in one operand takes its diagonal; `...` stands for any leading axes, which broadcast, as an extent of
    1 does under every letter. Operands are multiplied from left to right. Any dtypes that matmul takes; gradients come from the parts.
    ValueError for an equation that cannot be read, ShapeError where an operand does not fit it.
    """
    tensors = list(operands[0]) if len(operands) == 1 and isinstance(operands[0], (tuple, list)) else list(operands)
    if not isinstance(equation, str):
        raise NotImplementedError("einsum: only the form einsum('ij,jk->ik', a, b) is supported, not operands with lists of axes")
    for i, t in enumerate(tensors):
        check_tensor("einsum", **{f"operand {i}": t})
    terms, output = _parse(equation, [t.shape for t in tensors])
    sizes: dict[str, int] = {}
    for labels, t in zip(terms, tensors, strict=True):
        for label, n in zip(labels, t.shape, strict=True):
            known = sizes.setdefault(label, n)
            if known == 1:
                sizes[label] = n
            elif n not in (1, known):
                shapes = ", ".join(str(tuple(t.shape)) for t in tensors)
                name = f"axis {label!r}" if label.isalpha() else "an axis of ..."
                raise ShapeError(f"einsum: {equation!r} with operands {shapes}: {name} is {known} and {n}; extents must be equal or 1")
    parts = [_diagonals(t, labels) for t, labels in zip(tensors, terms, strict=True)]
    value, have = parts[0]
    for i, (other, labels) in enumerate(parts[1:], 1):
        later = set(output).union(*(names for _, names in parts[i + 1 :]))
        value, have = _product(value, have, other, labels, later, sizes)
    value, have = _sum_out(value, have, set(output))
    return permute(value, *[have.index(label) for label in output]) if output else value


def _parse(equation: str, shapes: Sequence[Sequence[int]]) -> tuple[list[str], str]:
    """The labels of each operand's axes and of the output's. Axes of `...` get the labels 0, 1, 2 ... counted from the right."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    for term in [*terms, right]:
        letters = term.replace("...", "", 1)
        if not all(c.isascii() and c.isalpha() for c in letters):
            raise ValueError(f"einsum: {equation!r}: {term!r} must be made of letters and at most one '...'")
    if len(terms) != len(shapes):
        raise ValueError(f"einsum: {equation!r} names {len(terms)} operand(s) and {len(shapes)} are given")
    named, most = [], 0
    for i, (term, shape) in enumerate(zip(terms, shapes, strict=True)):
        extra = len(shape) - len(term.replace("...", "", 1))
        if extra < 0 or (extra and "..." not in term):
            raise ShapeError(f"einsum: {equation!r}: operand {i} is {tuple(shape)} and {term!r} names {len(shape) - extra} of its axes")
        most = max(most, extra if "..." in term else 0)
        named.append(term.replace("...", _dots(extra)))
    if arrow:  # axes of ... that the output lacks are summed over, too
        output = right.replace("...", _dots(most))
    else:
        letters = left.replace(",", "").replace(".", "")
        output = _dots(most) + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    for label in output:
        if output.count(label) > 1 or not any(label in term for term in named):
            why = "twice" if output.count(label) > 1 else "but no operand has it"
            raise ValueError(f"einsum: {equation!r}: the output names {label!r} {why}")
    return named, output


def _dots(n: int) -> str:
    return "".join(chr(ord("0") + i) for i in reversed(range(n)))


def _diagonals(t: Tensor, labels: str) -> tuple[Tensor, str]:
    """An operand with each label once: the diagonal of axes that share one."""
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            a = labels.index(label)
            b = labels.index(label, a + 1)
            if t.shape[a] != t.shape[b]:
                raise ShapeError(
                    f"einsum: {label!r} occurs twice in an operand {tuple(t.shape)}, for extents {t.shape[a]} and {t.shape[b]}"
                )
            t = diagonal(t, 0, a, b)  # which becomes the last axis
            labels = labels[:a] + labels[a + 1 : b] + labels[b + 1 :] + label
    return t, labels


def _sum_out(t: Tensor, labels: str, keep: set[str]) -> tuple[Tensor, str]:
    gone = tuple(i for i, label in enumerate(labels) if label not in keep)
    return (total(t, gone), "".join(c for c in labels if c in keep)) if gone else (t, labels)


def _product(a: Tensor, la: str, b: Tensor, lb: str, later: set[str], sizes: dict[str, int]) -> tuple[Tensor, str]:
    """The product of two operands, summed over the labels that no later operand and not the output needs."""
    a, la = _sum_out(*_squeezed(a, la, lb, later, sizes), later | set(lb))
    b, lb = _sum_out(*_squeezed(b, lb, la, later, sizes), later | set(la))
    shared = [c for c in la if c in lb]
    batch, summed = "".join(c for c in shared if c in later), "".join(c for c in shared if c not in later)
    only_a, only_b = "".join(c for c in la if c not in shared), "".join(c for c in lb if c not in shared)
    if not summed:
        a = reshape(_order(a, la, batch + only_a), *_extents(a, la, batch + only_a), *[1] * len(only_b))
        b = _order(b, lb, batch + only_b)
        b = reshape(b, *b.shape[: len(batch)], *[1] * len(only_a), *b.shape[len(batch) :])
        return mul(a, b), batch + only_a + only_b
    whole = {c: max(a.shape[la.index(c)], b.shape[lb.index(c)]) for c in shared}
    shape_a = [whole[c] for c in batch], _extents(a, la, only_a), [whole[c] for c in summed]
    shape_b = [whole[c] for c in batch], [whole[c] for c in summed], _extents(b, lb, only_b)
    a = expand(_order(a, la, batch + only_a + summed), *sum(shape_a, []))
    b = expand(_order(b, lb, batch + summed + only_b), *sum(shape_b, []))
    y = bmm(reshape(a, *map(math.prod, shape_a)), reshape(b, *map(math.prod, shape_b)))
    return reshape(y, *shape_a[0], *shape_a[1], *shape_b[2]), batch + only_a + only_b


def _squeezed(t: Tensor, labels: str, others: str, later: set[str], sizes: dict[str, int]) -> tuple[Tensor, str]:
    """Without the axes of extent 1 that only broadcast over the other operand's."""
    gone = [i for i, c in enumerate(labels) if t.shape[i] == 1 and sizes[c] != 1 and c in others]
    if not gone:
        return t, labels
    return reshape(t, *[n for i, n in enumerate(t.shape) if i not in gone]), "".join(c for i, c in enumerate(labels) if i not in gone)


def _order(t: Tensor, labels: str, wanted: str) -> Tensor:
    return permute(t, *[labels.index(c) for c in wanted]) if t.ndim else t


def _extents(t: Tensor, labels: str, wanted: str) -> list[int]:
    return [t.shape[labels.index(c)] for c in wanted]
