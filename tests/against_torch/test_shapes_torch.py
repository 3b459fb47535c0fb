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
