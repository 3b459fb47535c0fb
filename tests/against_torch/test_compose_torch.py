"""Functions made of other functions against PyTorch in float64: values, dtypes, gradients, special values, and which calls fail."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpudl

torch = pytest.importorskip("torch")
rng = np.random.default_rng(0)
INF, NAN = np.inf, np.nan


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape) + len(shape)).normal(size=shape)


def check(
    what: str, function: Callable[..., Any], *arrays: np.ndarray, grad: bool = True, rtol: float = 1e-11, atol: float = 1e-11
) -> None:
    results = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for lib in (gpudl, torch):
            tensors = [lib.tensor(a, requires_grad=grad and a.dtype.kind == "f") for a in arrays]
            out = function(lib, *tensors)
            outs = list(out) if isinstance(out, (tuple, list)) else [out]
            leaves = [t for t in tensors if t.requires_grad]
            flows = [o for o in outs if o.requires_grad]
            grads: list[Any] = []
            if flows and leaves:
                dys = [lib.tensor(np.random.default_rng(i).normal(size=tuple(o.shape)), dtype=o.dtype) for i, o in enumerate(flows)]
                grads = [np.zeros(()) if g is None else g.numpy() for g in lib.autograd.grad(flows, leaves, dys, allow_unused=True)]
            results.append(([o.detach().numpy() for o in outs], grads))
    (got, got_grads), (want, want_grads) = results
    assert [g.dtype for g in got] == [w.dtype for w in want] and len(got) == len(want), (
        what,
        [g.dtype for g in got],
        [w.dtype for w in want],
    )
    for g, w in zip([*got, *got_grads], [*want, *want_grads], strict=True):
        if w.shape == () != g.shape or g.shape == () != w.shape:  # an unused leaf: nothing here, zeros there
            assert not g.any() and not w.any(), what
            continue
        assert g.shape == w.shape, what
        loose = 2**-22 if w.dtype == np.float32 else 0
        np.testing.assert_allclose(g, w, rtol=max(rtol, loose), atol=max(atol, loose), err_msg=what)


SPECIAL = np.array([0.0, -0.0, 1, -1, 0.5, -2.5, 30, -30, INF, -INF, NAN, 1e-30])
LEFT, RIGHT = (m.ravel().copy() for m in np.meshgrid(SPECIAL, SPECIAL))
FUNCTIONS: dict[str, tuple[Callable[..., Any], ...] | Any] = {
    "frac": (lambda m, x: x.frac(), draw(7)),
    "exp2": (lambda m, x: x.exp2(), draw(7)),
    "tan": (lambda m, x: x.tan(), draw(7)),
    "atan": (lambda m, x: m.atan(x), draw(7)),
    "atan of integers": (lambda m, x: m.arctan(x), np.arange(3)),
    "exp2 of integers": (lambda m, x: m.exp2(x), np.arange(3)),
    "logit": (lambda m, x: m.logit(x), np.linspace(0.1, 0.9, 5)),
    "logit eps": (lambda m, x: m.logit(x, 0.3), np.linspace(0.0, 1, 6)),
    "xlogy": (lambda m, x, y: m.xlogy(x, y), np.abs(draw(5)), np.abs(draw(3, 1))),
    "xlogy numbers": (lambda m, x: (m.xlogy(2.5, x), x.xlogy(3.0)), np.abs(draw(5))),
    "hypot": (lambda m, x, y: m.hypot(x, y), draw(5), draw(3, 1)),
    "logaddexp": (lambda m, x, y: m.logaddexp(x, y), draw(5), draw(3, 1)),
    "float_power": (lambda m, x: m.float_power(x, 3), np.arange(4)),
    "nansum": (lambda m, x: m.nansum(x, 1), np.array([[1, NAN, 3], [NAN, NAN, 2.0]])),
    "nanmean": (lambda m, x: (x.nanmean(0), x.nanmean()), np.array([[1, NAN, 3], [5, 4, 2.0]])),
    "logcumsumexp": (lambda m, x: x.logcumsumexp(1), 50 * draw(3, 9)),
    "inner": (lambda m, x, y: m.inner(x, y), draw(2, 3), draw(4, 3)),
    "inner of vectors": (lambda m, x, y: m.inner(x, y), draw(3), draw(3)),
    "inner of a number": (lambda m, x, y: m.inner(x, y), draw(2, 3), draw()),
    "vdot": (lambda m, x, y: x.vdot(y), draw(3), draw(3) + 1),
    "tensordot": (lambda m, x, y: m.tensordot(x, y), draw(2, 3, 4), draw(3, 4, 5)),
    "tensordot axes": (lambda m, x, y: m.tensordot(x, y, ([0, 2], [-1, 1])), draw(2, 3, 4), draw(5, 4, 2)),
    "tensordot 0": (lambda m, x, y: m.tensordot(x, y, 0), draw(2), draw(3)),
    "baddbmm": (lambda m, c, a, b: m.baddbmm(c, a, b, beta=0.5, alpha=2), draw(2, 1, 5), draw(2, 3, 4), draw(2, 4, 5)),
    "addbmm": (lambda m, c, a, b: m.addbmm(c, a, b), draw(3, 5), draw(2, 3, 4), draw(2, 4, 5)),
    "addmv": (lambda m, c, a, b: c.addmv(a, b, alpha=3), draw(3), draw(3, 4), draw(4)),
    "addr": (lambda m, c, a, b: c.addr(a, b, beta=2), draw(3, 4), draw(3), draw(4)),
    "kron": (lambda m, x, y: m.kron(x, y), draw(2, 3), draw(4, 1, 2)),
    "cross": (lambda m, x, y: m.linalg.cross(x, y) if m is torch else m.cross(x, y, -1), draw(4, 3), draw(4, 3) + 1),
    "cross dim": (lambda m, x, y: m.cross(x, y, dim=0), draw(3, 2), draw(3, 2) + 1),
    "dist": (lambda m, x, y: (m.dist(x, y), x.dist(y, 3)), draw(4), draw(4) + 1),
    "cdist": (lambda m, x, y: m.cdist(x, y), draw(2, 3, 4), draw(2, 5, 4)),
    "cdist 1": (lambda m, x, y: m.cdist(x, y, 1.0), draw(3, 4), draw(5, 4)),
    "cov": (lambda m, x: m.cov(x), draw(3, 6)),
    "cov of a vector": (lambda m, x: x.cov(correction=0), draw(6)),
    "corrcoef": (lambda m, x: m.corrcoef(x), draw(3, 6)),
    "block_diag": (lambda m, x, y, z: m.block_diag(x, y, z), draw(2, 3), draw(2), draw()),
    "fliplr": (lambda m, x: (x.fliplr(), x.flipud()), draw(2, 3)),
    "rot90": (lambda m, x: [m.rot90(x, k, (0, 2)) for k in range(-1, 5)], draw(2, 3, 4)),
    "tensor_split": (lambda m, x: (*m.tensor_split(x, 3), *x.tensor_split((1, 3), 1), *m.tensor_split(x, [5, 2])), draw(7, 4)),
    "hsplit": (lambda m, x: (*m.hsplit(x, 2), *x.vsplit([1])), draw(2, 4)),
    "atleast": (
        lambda m, x, y: (*m.atleast_1d(x, y), m.atleast_2d(x), m.atleast_2d(y), m.atleast_3d(y), *m.atleast_3d([x, y])),
        draw(),
        draw(3),
    ),
    "dstack": (lambda m, x, y: (m.dstack([x, y]), m.column_stack([x, y]), m.row_stack([x, y])), draw(3), draw(3) + 1),
    "column_stack": (lambda m, x, y: m.column_stack([x, y]), draw(3, 2), draw(3)),
    "broadcast_tensors": (lambda m, x, y: m.broadcast_tensors(x, y), draw(3, 1), draw(2)),
    "cartesian_prod": (lambda m, x, y: m.cartesian_prod(x, y), draw(3), draw(2)),
    "take": (lambda m, x, i: x.take(i), draw(3, 4), np.array([[0, -1], [5, 5]])),
    "argwhere": (lambda m, x: m.argwhere(x > 0), draw(3, 4)),
    "diag_embed": (lambda m, x: (m.diag_embed(x), m.diag_embed(x, 1), m.diag_embed(x, -2, 0, 2)), draw(2, 3)),
    "diagflat": (lambda m, x: m.diagflat(x, 1), draw(2, 2)),
    "tril_indices": (lambda m, x: (m.tril_indices(3, 4, -1), m.triu_indices(3, 4, 1)), draw(1)),
    "index_fill": (lambda m, x, i: x.index_fill(1, i, 2.5), draw(2, 3), np.array([0, 2, 0])),
    "index_put": (lambda m, x, i, v: x.index_put((i, i), v), draw(3, 3), np.array([0, 2]), draw(2)),
    "index_put add": (lambda m, x, i, v: x.index_put((i,), v, accumulate=True), draw(4, 2), np.array([0, 2, 0]), draw(3, 2)),
    "diff": (lambda m, x: (x.diff(), x.diff(2, 0), x.diff(9)), draw(4, 5)),
    "diff joined": (lambda m, x, y: m.diff(x, dim=0, prepend=y, append=y), draw(3, 2), draw(1, 2)),
    "diff of bools": (lambda m, x: (x > 0).diff(), draw(6)),
    "bincount": (lambda m, i: (m.bincount(i), i.bincount(minlength=9)), np.array([1, 5, 1, 0])),
    "bincount weights": (
        lambda m, i, w: (m.bincount(i, w.detach()), m.bincount(i, w.detach().float())),
        np.array([1, 5, 1, 0]),
        np.array([0.5, 1, 2, 3.0]),
    ),
    "histc": (lambda m, x: (m.histc(x.detach(), 5), m.histc(x.detach(), 4, -1, 1), m.histc(x.detach() * 0, 4)), draw(50)),
    "kthvalue": (lambda m, x: (*x.kthvalue(2), *m.kthvalue(x, 3, 0, keepdim=True)), draw(4, 5)),
    **{
        f"quantile {how}": (
            lambda m, x, how=how: (
                m.quantile(x, 0.37, interpolation=how),
                m.quantile(x, m.tensor([0.0, 0.5, 1.0], dtype=m.float64), 1, True, interpolation=how),
                x.quantile(0.25, 0, interpolation=how),
            ),
            draw(4, 5),
        )
        for how in ("linear", "lower", "higher", "midpoint", "nearest")
    },
    "quantile NaN": (lambda m, x: m.quantile(x, 0.5, 1), np.array([[1.0, NAN, 2], [3, 1, 2]])),
    "aliases": (
        lambda m, x: (m.absolute(x), m.negative(x), x.greater(0), x.less_equal(0.5), m.not_equal(x, x), x.fix(), m.arctan2(x, x + 1)),
        draw(5),
    ),
    "types": (lambda m, x: (x.byte(), x.char(), x.short()), np.arange(5)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients(name: str) -> None:
    function, *arrays = FUNCTIONS[name]
    check(name, function, *arrays)


ONES = {"frac": 1e-12, "exp2": 1e-12, "tan": 1e-12, "atan": 1e-12, "isposinf": 0, "isneginf": 0}
TWOS = {"xlogy": 1e-12, "hypot": 1e-12, "logaddexp": 1e-12, "heaviside": 0}


@pytest.mark.parametrize("name", [*ONES, *TWOS])
def test_special_values(name: str) -> None:
    arrays = (SPECIAL,) if name in ONES else (LEFT, RIGHT)
    check(name, lambda m, *t: getattr(m, name)(*t), *arrays, grad=False, rtol={**ONES, **TWOS}[name], atol=0)


def test_in_place_forms() -> None:
    for name, args in (
        ("tril_", (-1,)),
        ("triu_", ()),
        ("frac_", ()),
        ("exp2_", ()),
        ("negative_", ()),
        ("index_fill_", (0, "index", 7.0)),
    ):
        results = []
        for lib in (gpudl, torch):
            x = lib.tensor(draw(3, 3))
            out = getattr(x, name)(*[lib.tensor([0, 2]) if a == "index" else a for a in args])
            assert out is x
            results.append(x.numpy())
        np.testing.assert_allclose(*results, rtol=1e-12)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m: m.inner(m.ones(2, 3), m.ones(2)), "inner: input is"),
        (lambda m: m.tensordot(m.ones(2, 3), m.ones(2, 3), 1), "tensordot: axes"),
        (lambda m: m.rot90(m.ones(2, 3), 1, (0, 0)), "rot90: dims"),
        (lambda m: m.vsplit(m.ones(3), 3), "vsplit: the input is"),
        (lambda m: m.hsplit(m.ones(3, 4), 3), "hsplit: the input is"),
        (lambda m: m.cross(m.ones(2, 4), m.ones(2, 4), dim=1), "cross: input is"),
        (lambda m: m.block_diag(m.ones(2, 2, 2)), "block_diag: the tensors are"),
        (lambda m: m.bincount(m.tensor([-1])), "must not be negative"),
        (lambda m: m.bincount(m.ones(2)), "bincount: the input is float32"),
        (lambda m: m.kthvalue(m.ones(3), 4), "kthvalue: k is 4"),
        (lambda m: m.quantile(m.ones(3), 1.5), "between 0 and 1"),
        (lambda m: m.quantile(m.ones(3), 0.5, interpolation="cubic"), "interpolation 'cubic'"),
        (lambda m: m.diag_embed(m.ones(3), 0, 1, 1), "are the same axis"),
        (lambda m: m.histc(m.ones(3), 4, 2, 1), "histc: bins 4"),
        (lambda m: m.broadcast_tensors(m.ones(3), m.ones(2)), "do not broadcast"),
        (lambda m: m.tensor_split(m.ones(3), 0), "0 sections"),
    ],
)
def test_what_both_refuse(call: Any, message: str) -> None:
    with pytest.raises((RuntimeError, ValueError, IndexError), match=message):
        call(gpudl)
    with pytest.raises((RuntimeError, ValueError, IndexError)):
        call(torch)
