"""Reductions, indexing, assignment and in-place programs on random inputs, against PyTorch in float64: values, gradients, and which calls fail."""

from __future__ import annotations

import random
import warnings
from typing import Any

import numpy as np
import pytest

import gpudl

torch = pytest.importorskip("torch")


def equal(got: Any, want: Any, what: Any) -> None:
    g, w = got.detach().numpy(), want.detach().numpy()
    assert g.shape == w.shape and g.dtype == w.dtype, (what, g.shape, w.shape, g.dtype, w.dtype)
    np.testing.assert_allclose(g, w, rtol=1e-10, atol=1e-10, err_msg=str(what))  # float64, at most some hundred terms of size 1


def both(ours: Any, theirs: Any, what: Any) -> Any:
    """Results of both calls, or None where both raise; one that raises alone fails the test."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            want = theirs()
    except Exception as error:
        with pytest.raises(Exception):  # noqa: B017  (any: the messages are ours)
            ours()
            pytest.fail(f"{what}: PyTorch says {error}")
        return None
    return ours(), want


REDUCTIONS = {
    "sum": lambda m, x, dims, d, keep, c: x.sum(dims, keepdim=keep),
    "mean": lambda m, x, dims, d, keep, c: x.mean(dims, keepdim=keep),
    "amax": lambda m, x, dims, d, keep, c: x.amax(dims, keepdim=keep),
    "var": lambda m, x, dims, d, keep, c: m.var(x, dims or None, correction=c, keepdim=keep),
    "std": lambda m, x, dims, d, keep, c: m.std(x, dims or None, correction=c, keepdim=keep),
    "max": lambda m, x, dims, d, keep, c: x.max(),
    "max along dim": lambda m, x, dims, d, keep, c: x.max(d, keepdim=keep),
    "min along dim": lambda m, x, dims, d, keep, c: x.min(d),
    "argmax": lambda m, x, dims, d, keep, c: x.argmax(d, keepdim=keep),
    "argmin": lambda m, x, dims, d, keep, c: x.argmin(),
    "prod": lambda m, x, dims, d, keep, c: x.prod(d, keepdim=keep),
    "any": lambda m, x, dims, d, keep, c: (x > 0).any(d),
    "all": lambda m, x, dims, d, keep, c: (x > -1).all(d),
    "integer sum": lambda m, x, dims, d, keep, c: (x > 0).int().sum(dims),
    "logsumexp": lambda m, x, dims, d, keep, c: x.logsumexp(dims or d, keepdim=keep),
    "norm": lambda m, x, dims, d, keep, c: m.norm(x, 2, dims or None, keep),
    "cumsum": lambda m, x, dims, d, keep, c: x.cumsum(d),
    "sort": lambda m, x, dims, d, keep, c: x.sort(dim=d, stable=True),
    "sort down": lambda m, x, dims, d, keep, c: x.sort(dim=d, descending=True, stable=True),
}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name: str) -> None:
    for seed in range(60):
        rng, nr = random.Random(seed), np.random.default_rng(seed)
        ndim = rng.randrange(5)
        a = nr.normal(size=[rng.choice([1, 2, 3, 4, 0] if rng.random() < 0.2 else [1, 2, 3, 4]) for _ in range(ndim)])
        if rng.random() < 0.3:
            a = np.round(a)  # ties
        if rng.random() < 0.2 and a.size:
            a.reshape(-1)[0] = np.nan
        order = rng.sample(range(ndim), ndim)
        dims = tuple(rng.sample(range(ndim), rng.randrange(ndim + 1)))
        args = dims, rng.randrange(-ndim, ndim) if ndim else 0, rng.random() < 0.5, rng.choice([0, 1])
        x, t = gpudl.tensor(a, requires_grad=True), torch.tensor(a, requires_grad=True)
        call, what = REDUCTIONS[name], (a.shape, order, args)
        pair = both(lambda: call(gpudl, x.permute(order), *args), lambda: call(torch, t.permute(order), *args), what)  # noqa: B023
        if pair is None:
            continue
        ours, theirs = ([r] if not isinstance(r, tuple) else list(r) for r in pair)
        for g, w in zip(ours, theirs, strict=True):
            equal(g, w, what)
        if (
            theirs[0].requires_grad
            and not np.isnan(a).any()
            and not (name in ("var", "std") and np.prod([a.shape[order[d]] for d in dims]) < 2)
        ):
            dy = nr.normal(size=theirs[0].shape)
            theirs[0].backward(torch.tensor(dy))
            ours[0].backward(gpudl.tensor(dy))
            equal(x.grad, t.grad, what)


def random_index(rng: random.Random, nr: Any, shape: tuple[int, ...]) -> tuple[Any, ...]:
    index: list[Any] = []
    axis = 0
    while axis < len(shape):
        n, kind = shape[axis], rng.choice("isnSaAm.")
        if kind == ".":
            break
        if kind == "n":
            index.append(None)
            continue
        if kind == "i":
            index.append(rng.randrange(-n, n))
        elif kind in "sS":
            a, b = rng.randrange(-n - 1, n + 2), rng.randrange(-n - 1, n + 2)
            index.append(slice(rng.choice([a, None]), rng.choice([b, None]), rng.choice([None, 1, 2])))
        elif kind == "m":
            index.append(nr.integers(0, 2, size=n).astype(bool))
        else:
            index.append(nr.integers(-n, n, size=3 if kind == "a" else (2, 1)))
        axis += 1
    if rng.random() < 0.3:
        index.append(Ellipsis)
    return tuple(index)


def test_indexing_and_assignment() -> None:
    for seed in range(600):
        rng, nr = random.Random(seed), np.random.default_rng(seed)
        shape = tuple(rng.randrange(1, 5) for _ in range(rng.randrange(1, 5)))
        a, index = nr.normal(size=shape), random_index(rng, nr, shape)
        theirs = tuple(torch.tensor(i) if isinstance(i, np.ndarray) else i for i in index)
        ours = tuple(gpudl.tensor(i) if isinstance(i, np.ndarray) and rng.random() < 0.5 else i for i in index)
        x, t = gpudl.tensor(a, requires_grad=True), torch.tensor(a, requires_grad=True)
        pair = both(lambda: x[ours], lambda: t[theirs], (shape, index))  # noqa: B023
        if pair is None:
            continue
        equal(*pair, (shape, index))
        dy = nr.normal(size=pair[1].shape)
        pair[1].backward(torch.tensor(dy))
        pair[0].backward(gpudl.tensor(dy))
        equal(x.grad, t.grad, (shape, index))
        if any(isinstance(i, np.ndarray) and i.dtype != bool for i in index):
            continue  # where an index repeats, either value may stay
        v = nr.normal(size=rng.choice([dy.shape, dy.shape[-1:], ()]))
        x.grad = t.grad = None
        gv, tv = gpudl.tensor(v, requires_grad=True), torch.tensor(v, requires_grad=True)
        gx, tx = x.clone(), t.clone()
        gx[ours] = gv
        tx[theirs] = tv
        equal(gx, tx, (shape, index))
        dz = nr.normal(size=shape)
        gx.backward(gpudl.tensor(dz))
        tx.backward(torch.tensor(dz))
        equal(x.grad, t.grad, (shape, index))
        if v.size and dy.size:
            equal(gv.grad, tv.grad, (shape, index))


def test_programs_of_views_and_in_place_changes() -> None:
    compared = 0
    for seed in range(300):
        rng, nr = random.Random(seed), np.random.default_rng(seed)
        a, w = nr.normal(size=(4, 6)), nr.normal(size=6)
        program = [(rng.randrange(9), rng.choice("vvvvmascwirz"), rng.randrange(7), rng.randrange(6)) for _ in range(rng.randrange(2, 8))]

        def run(a: Any, w: Any, program: Any = program) -> Any:
            tensors, total = [a.clone()], 0
            for i, what, v, r in program:
                x = tensors[i % len(tensors)]
                if what == "v":
                    forms = [
                        lambda x, r: x[r % x.shape[0]],
                        lambda x, r: x.reshape(-1),
                        lambda x, r: x.transpose(0, -1),
                        lambda x, r: x[..., r % 3 :],
                        lambda x, r: x.unsqueeze(0),
                        lambda x, r: x[::2],
                        lambda x, r: x.diagonal() if x.ndim == 2 else x.view(x.shape),
                    ]
                    tensors.append(forms[v](x, r) if x.ndim else x.reshape(1))
                elif what == "m":
                    x.mul_(1.5 + r)
                elif what == "a":
                    x.add_(w[r] * 0.3)
                elif what == "z":
                    x.zero_()
                elif what == "s" and x.ndim:
                    x[r % x.shape[0]] = w[r] * 2
                elif what == "c":
                    x.copy_(x * 0.5 + w[r])
                elif what == "w" and x.ndim:
                    x[[0]] = w[r]
                elif what == "i" and x.ndim:
                    x[r % x.shape[0]] += w[v % 6]
                elif what == "r":
                    total = total + (x * (1.0 + r)).sum()
            for k, x in enumerate(tensors):
                total = total + (x * (k + 1.0) * x.detach().cos()).sum()
            return total

        ga, gw = gpudl.tensor(a, requires_grad=True), gpudl.tensor(w, requires_grad=True)
        ta, tw = torch.tensor(a, requires_grad=True), torch.tensor(w, requires_grad=True)
        pair = both(lambda: run(ga, gw), lambda: run(ta, tw), program)  # noqa: B023
        if pair is None:
            continue
        equal(*pair, program)
        pair[0].backward()
        try:
            pair[1].backward()
        except RuntimeError:  # PyTorch saves more than its derivatives need; tests/test_inplace.py judges these by differences
            continue
        equal(ga.grad, ta.grad, program)
        if tw.grad is not None:
            equal(gw.grad, tw.grad, program)
        compared += 1
    assert compared > 200


# Arguments of torch functions that take NumPy's name `axis` for dim, and those that take `keepdims` for keepdim as well.
AXIS = {
    **{name: {} for name in "cumsum cumprod count_nonzero softmax log_softmax sort argsort chunk unbind squeeze unsqueeze".split()},
    "topk": {"k": 2}, "chunk": {"chunks": 2}, "select": {"index": 1}, "narrow": {"start": 1, "length": 2}, "repeat_interleave": {"repeats": 2},
    "unflatten": {"sizes": (2, 2)}, "index_select": {"index": np.array([2, 0])},
    "gather": {"index": np.array([[1, 0, 2, 2]])}, "take_along_dim": {"indices": np.array([[1], [0], [2]])},
    "scatter": {"index": np.array([[1, 0]]), "value": 2.0}, "scatter_add": {"index": np.array([[1, 0]]), "src": np.array([[5.0, 7.0]])},
    "index_add": {"index": np.array([1, 1, 0, 3]), "source": np.arange(12.0).reshape(3, 4)},
}  # fmt: skip
KEEPDIMS = "sum mean prod max min amax amin aminmax argmax argmin any all var std var_mean std_mean logsumexp median".split()


@pytest.mark.parametrize("name", [*AXIS, *KEEPDIMS])
def test_numpys_names_of_dim_and_keepdim(name: str) -> None:
    x = np.random.default_rng(0).normal(size=(3, 4))
    more = AXIS.get(name, {})
    for keep in ({}, {"keepdims": True}) if name in KEEPDIMS else ({},):
        options = {"axis": 1, **keep}
        results = []
        for lib, convert in ((gpudl, gpudl.tensor), (torch, torch.tensor)):
            made = {k: convert(v) if isinstance(v, np.ndarray) else v for k, v in more.items()}
            results.append(getattr(lib, name)(convert(x), **made, **options))
            if hasattr(torch.Tensor, name) and name != "unflatten":  # whose method PyTorch writes in Python, without the other name
                results.append(getattr(convert(x), name)(**made, **options))
            with pytest.raises(TypeError):
                getattr(lib, name)(convert(x), **made, dim=1, **options)
        parts = [r if isinstance(r, (tuple, list)) else (r,) for r in results]
        for group in parts[1:]:
            for a, b in zip(parts[0], group, strict=True):
                equal(a, b, (name, options))
    if name not in KEEPDIMS:
        with pytest.raises(TypeError):
            getattr(gpudl, name)(
                gpudl.tensor(x), **{k: gpudl.tensor(v) if isinstance(v, np.ndarray) else v for k, v in more.items()}, axis=1, keepdims=True
            )


def test_both_names_of_one_argument_are_too_many() -> None:
    x = gpudl.ones(2, 3)
    with pytest.raises(TypeError, match="sum: dim and axis are two names of one argument"):
        x.sum(dim=0, axis=0)
    with pytest.raises(TypeError, match="amax: keepdim and keepdims are two names of one argument"):
        gpudl.amax(x, 0, keepdim=True, keepdims=True)
    for joined in (gpudl.cat([x, x], axis=1), gpudl.concatenate([x, x], axis=1)):
        assert joined.shape == (2, 6)
    assert gpudl.stack([x, x], axis=2).shape == (2, 3, 2)


EQUATIONS = [
    ("ij->ji", (2, 3)), ("ij", (3, 2)), ("ba", (3, 2)), ("ii", (3, 3)), ("ii->i", (3, 3)), ("iji->j", (2, 3, 2)), ("iij->j", (2, 2, 3)),
    ("ijk->", (2, 3, 4)), ("->", ()), ("i,i", (3,), (3,)), ("i,j->ij", (3,), (2,)), ("ij,jk", (2, 3), (3, 4)), ("ij,jk->ki", (2, 3), (3, 4)),
    ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)), ("bij,kj->bik", (2, 3, 4), (5, 4)), ("bhqd,bhkd->bhqk", (2, 3, 4, 5), (2, 3, 6, 5)),
    ("ij,ij->", (2, 3), (2, 3)), ("ij,kl->", (2, 3), (4, 5)), ("...ij,...jk->...ik", (2, 1, 3, 4), (5, 4, 2)), ("...i->...", (2, 3, 4)),
    ("i...->...", (2, 3, 4)), ("...,...->", (2, 3), (3,)), ("b...,b->...b", (2, 3, 4), (2,)), ("ij,jk,kl->il", (2, 3), (3, 4), (4, 5)),
    ("a,ab,abc->abc", (2,), (2, 3), (2, 3, 4)), ("bn,anm,bm->ba", (2, 3), (5, 3, 4), (2, 4)), ("ij,jk->ik", (2, 1), (3, 4)),
    ("ij,ij->ij", (1, 3), (2, 1)), ("ij,jk->ik", (0, 3), (3, 4)), ("ij,jk->ik", (2, 0), (0, 4)), ("iij,jk->ik", (2, 2, 3), (3, 2)),
    ("bi,bi->b", (1, 4), (3, 4)), (" i j , j -> i ", (2, 3), (3,)), ("aB,Bc->ca", (2, 3), (3, 4)), ("aB,Bc", (2, 3), (3, 4)), ("...", (2, 3)),
]  # fmt: skip


@pytest.mark.parametrize("equation, shapes", [(e, s) for e, *s in EQUATIONS])
def test_einsum(equation: str, shapes: Any) -> None:
    rng = np.random.default_rng(len(equation))
    data = [rng.normal(size=s) for s in shapes]
    ours, theirs = ([lib.tensor(d, requires_grad=True) for d in data] for lib in (gpudl, torch))
    got, want = gpudl.einsum(equation, *ours), torch.einsum(equation, *theirs)
    equal(got, want, equation)
    seed = rng.normal(size=want.shape)
    for a, b in zip(gpudl.autograd.grad(got, ours, gpudl.tensor(seed)), torch.autograd.grad(want, theirs, torch.tensor(seed)), strict=True):
        equal(a, b, equation)


@pytest.mark.parametrize(
    "equation, shapes, message",
    [
        ("ij,jk->ik", [(2, 3), (4, 5)], "axis 'j' is 3 and 4; extents must be equal or 1"),
        ("ij->ik", [(2, 3)], "the output names 'k' but no operand has it"),
        ("ij->ii", [(2, 3)], "the output names 'i' twice"),
        ("ij,jk", [(2, 3)], r"names 2 operand\(s\) and 1 are given"),
        ("ijk", [(2, 3)], r"operand 0 is \(2, 3\) and 'ijk' names 3 of its axes"),
        ("i", [(2, 3)], r"operand 0 is \(2, 3\) and 'i' names 1 of its axes"),
        ("i1", [(2, 3)], "must be made of letters"),
        ("ii", [(1, 3)], "'i' occurs twice in an operand"),
    ],
)
def test_einsum_says_what_is_wrong(equation: str, shapes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gpudl.einsum(equation, *[gpudl.zeros(*s) for s in shapes])
    with pytest.raises(RuntimeError):
        torch.einsum(equation, *[torch.zeros(*s) for s in shapes])


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_cumprod_with_zeros(dim: int) -> None:
    rng = np.random.default_rng(4)
    data = rng.integers(-2, 3, size=(7, 5)) + 0.0  # a fifth of them zero
    x, t = gpudl.tensor(data, requires_grad=True), torch.tensor(data, requires_grad=True)
    got, want = x.cumprod(dim), t.cumprod(dim)
    equal(got, want, "cumprod")
    seed = rng.normal(size=data.shape)
    (g,) = gpudl.autograd.grad(got, x, gpudl.tensor(seed), create_graph=True)
    (w,) = torch.autograd.grad(want, t, torch.tensor(seed), create_graph=True)
    equal(g, w, "gradient")
    again = rng.normal(size=data.shape)
    equal(gpudl.autograd.grad(g, x, gpudl.tensor(again))[0], torch.autograd.grad(w, t, torch.tensor(again))[0], "gradient of the gradient")
    for dtype in (np.int32, np.bool_, np.float32):
        equal(gpudl.tensor(data.astype(dtype)).cumprod(dim), torch.tensor(data.astype(dtype)).cumprod(dim), dtype)


@pytest.mark.parametrize("shape", [(5,), (4, 6), (3, 1, 2), ()])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_median(shape: Any, dtype: Any) -> None:
    rng = np.random.default_rng(5)
    for data in (rng.permutation(int(np.prod(shape))).reshape(shape).astype(dtype), rng.integers(0, 3, size=shape).astype(dtype)):
        for nans in (0, 2) if dtype != np.int64 else (0,):
            data = np.array(data)
            data.reshape(-1)[: min(nans, data.size)] = np.nan if nans else 0
            x, t = gpudl.tensor(data), torch.tensor(data)
            if dtype != np.int64:
                x.requires_grad_(), t.requires_grad_()
            got, want = x.median(), t.median()
            equal(got, want, "median")
            if dtype != np.int64:
                for a, b in zip(gpudl.autograd.grad(got, x), torch.autograd.grad(want, t), strict=True):
                    equal(a, b, "gradient")
            for dim in range(-len(shape), len(shape)):
                for keep in (False, True):
                    got, want = x.median(dim, keepdim=keep), t.median(dim, keepdim=keep)
                    equal(got.values, want.values, "values")  # of equals PyTorch takes any
                    equal(
                        gpudl.gather(x, dim, got.indices if keep else got.indices.unsqueeze(dim)),
                        t.median(dim, keepdim=True).values,
                        "indices",
                    )
    with pytest.raises(IndexError):
        gpudl.zeros(2, 0).median(1)
    assert np.isnan(gpudl.zeros(0).median().item()) and np.isnan(torch.zeros(0).median().item())


@pytest.mark.parametrize("dim", [None, 0, 1, -1])
def test_unique(dim: Any) -> None:
    rng = np.random.default_rng(6)
    for data in (
        rng.integers(0, 3, size=(6, 2)),
        rng.integers(-1, 2, size=(3, 4, 2)).astype(np.float32),
        np.zeros((0, 2)),
        rng.random((4, 3)) < 0.5,
    ):
        for name in ("unique", "unique_consecutive"):
            ours, theirs = getattr(gpudl, name), getattr(torch, name)
            if dim is not None and not data.size:
                continue
            got = ours(gpudl.tensor(data), return_inverse=True, return_counts=True, dim=dim)
            want = theirs(torch.tensor(data), return_inverse=True, return_counts=True, dim=dim)
            for g, w in zip(got, want, strict=True):
                equal(g, w, (name, dim))
            equal(ours(gpudl.tensor(data), dim=dim), theirs(torch.tensor(data), dim=dim), (name, dim))
            assert len(ours(gpudl.tensor(data), return_counts=True)) == 2
    if dim is None:
        equal(gpudl.tensor([2.0, np.nan, 1.0, np.nan]).unique(), torch.tensor([2.0, np.nan, 1.0, np.nan]).unique(), "NaN")


def test_trace_and_where_alone() -> None:
    rng = np.random.default_rng(7)
    for data in (rng.normal(size=(3, 5)), rng.integers(0, 9, size=(4, 4)).astype(np.int32), np.zeros((0, 3))):
        equal(gpudl.trace(gpudl.tensor(data)), torch.trace(torch.tensor(data)), "trace")
    with pytest.raises(RuntimeError, match=r"trace: the input is \(2,\); a matrix is needed"):
        gpudl.ones(2).trace()
    x = rng.normal(size=(3, 4))
    for g, w in zip(gpudl.where(gpudl.tensor(x > 0)), torch.where(torch.tensor(x > 0)), strict=True):
        equal(g, w, "where")


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int16", "bool"])
@pytest.mark.parametrize("other", ["float64", "float32", "int32", "int64", "bool"])
def test_operators_with_arrays(dtype: str, other: str) -> None:
    """Values and dtypes of tensor <op> ndarray wherever PyTorch (which hands it to NumPy) has an answer."""
    rng = np.random.default_rng(8)
    data, array = rng.integers(1, 4, size=(2, 3)).astype(dtype), rng.integers(1, 4, size=3).astype(other)
    for op in ("+", "-", "*", "/", "//", "%", "**", "==", "&", "|"):  # tensor != ndarray is True in PyTorch
        for a in (array, array[0].reshape(())) if other != "bool" else (array,):
            try:
                want = eval(f"x {op} a", {"x": torch.tensor(data), "a": a})
            except (TypeError, RuntimeError):
                continue
            if "bool" in (dtype, other) and (op in ("//", "%", "**", "-") or dtype == other):
                continue  # where PyTorch itself has no result for two bools, or another than NumPy
            equal(eval(f"x {op} a", {"x": gpudl.tensor(data), "a": a}), want, (op, dtype, other))


@pytest.mark.parametrize("seed", range(60))
def test_programs_that_change_shapes_in_place(seed: int) -> None:
    """Random writes through a tensor, whose layout changes in place, and through views of each layout: values and gradients."""
    results = []
    for lib in (gpudl, torch):
        draw = random.Random(seed)
        x = lib.tensor(np.arange(1.0, 7.0).reshape(2, 3), requires_grad=True)
        alive = [x * 2]
        for _ in range(8):
            t = draw.choice(alive)
            kind = draw.randrange(6)
            if kind == 0 and t.ndim >= 2:
                t.transpose_(0, draw.randrange(t.ndim))
            elif kind == 1 and t.ndim < 4:
                t.unsqueeze_(draw.randrange(t.ndim + 1))
            elif kind == 2:
                t.squeeze_()
            elif kind == 3 and t.ndim and t.shape[0]:
                alive.append(t[draw.randrange(t.shape[0])])
            elif kind == 4 and t.ndim >= 2:
                alive.append(t.transpose(0, 1))
            else:
                t.mul_(draw.choice([2.0, 3.0, -1.0]))
        total = sum(((i + 1) * (t * t).sum() for i, t in enumerate(alive)), start=0)
        total.backward()
        results.append([[t.tolist() for t in alive], x.grad.tolist()])
    assert results[0] == results[1]
