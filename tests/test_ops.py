"""Every op of the registry: hand-worked values, finite differences, gradients of gradients, halves, error messages; then each kernel.

The chain of trust: literals check the CPU forward, finite differences in float64 the CPU backward, the CPU in float64 every rung.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from registry import OPS, _memory, function, outputs, place, run, samples, tolerance, variants

import gpudl
from gpudl import _dtypes
from gpudl.autograd import gradcheck, gradgradcheck

CASES = [pytest.param(op, i, id=f"{name}-{i}") for name, op in OPS.items() for i in range(len(samples(op)))]


@pytest.mark.parametrize("name", OPS)
def test_literals(name: str) -> None:
    op = OPS[name]
    assert "literals" in vars(op), f"{name} has no hand-worked values"
    for args, want, *rest in op.literals():
        got = function(op)(*[gpudl.tensor(a) if isinstance(a, np.ndarray) else a for a in args], **(rest[0] if rest else {}))
        got = outputs(got)[0].detach().numpy()
        np.testing.assert_allclose(got, want, rtol=1e-12 if got.dtype == np.float64 else 2e-6, atol=1e-12)


@pytest.mark.parametrize(("op", "i"), CASES)
def test_gradients_agree_with_differences(op: type, i: int) -> None:
    sample = samples(op)[i]
    args, kwargs, leaves = place(sample, dtype="float64")
    if not leaves or not sample.options.get("grad", True):
        assert all(np.isfinite(o.detach().numpy().astype(float)).all() or not sample.options.get("grad", True)
                   for o in outputs(function(op)(*args, **kwargs)) if _dtypes.is_float(o.dtype))  # fmt: skip
        return
    call, inputs = flat_call(function(op), args, kwargs)
    if not any(o.requires_grad for o in outputs(call(*inputs))):
        return
    gradcheck(call, inputs)
    if sample.options.get("gradgrad", True) and sum(t.numel() for t in leaves) < 400:
        gradgradcheck(call, inputs)


def flat_call(f, args, kwargs):
    """(function of tensors alone, those tensors): nested lists and keywords unpacked."""
    found: list[gpudl.Tensor] = []

    def take(v):
        if isinstance(v, gpudl.Tensor):
            found.append(v)
            return ("#", len(found) - 1)
        return type(v)(take(x) for x in v) if type(v) in (list, tuple) else v

    def give(v, values):
        if type(v) is tuple and len(v) == 2 and v[0] == "#":
            return values[v[1]]
        return type(v)(give(x, values) for x in v) if type(v) in (list, tuple) else v

    a, k = [take(v) for v in args], {n: take(v) for n, v in kwargs.items()}
    return lambda *values: f(*[give(v, values) for v in a], **{n: give(v, values) for n, v in k.items()}), found


def rounded(sample, kind):
    """The sample with float64 values that dtype `kind` (or "tf32") holds exactly, in the same memory layout."""

    def held(a):
        if kind == "tf32":
            return np.asarray((a.astype(np.float32).view(np.uint32) + 0x1000) & 0xFFFFE000).view(np.float32).astype(np.float64)
        return a.astype(kind).astype(np.float64)

    def change(a):
        if not isinstance(a, np.ndarray) or a.dtype.kind != "f":
            return a
        exact = held(a)
        if a.flags.c_contiguous or 0 in a.shape or any(s < 0 for s in a.strides):
            return exact
        view = np.lib.stride_tricks.as_strided(*_memory(a, np.float64))
        view[...] = exact
        return view

    same = type(sample)(*map(change, sample.args), **{k: change(v) for k, v in sample.kwargs.items()})
    same.options = sample.options
    return same


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_compute_in_float32_and_round_once(name: str, dtype: str) -> None:
    op = OPS[name]
    for sample in samples(op)[:4]:
        if not sample.options.get("halves", True):
            continue
        same = rounded(sample, _dtypes.as_dtype(dtype))
        want, _ = run(op, same, "cpu", "float32")
        got, _ = run(op, same, "cpu", dtype)
        for g, w in zip(got, want, strict=True):
            if g.dtype == _dtypes.as_dtype(dtype):
                np.testing.assert_array_equal(g.astype(np.float32), w.astype(g.dtype).astype(np.float32))


@pytest.mark.parametrize("name", OPS)
def test_errors_say_what_to_do(name: str) -> None:
    op = OPS[name]
    assert "errors" in vars(op) or "literals" in vars(op)
    for sample, kind, message in getattr(op, "errors", lambda: ())():
        args, kwargs, _ = place(sample)
        with pytest.raises(kind, match=message) as caught:
            function(op)(*args, **kwargs)
        assert op.function.rstrip("_").split("_")[0] in str(caught.value) or re.search(message, str(caught.value))


@pytest.mark.parametrize("name", OPS)
def test_memory_layout_does_not_matter(name: str) -> None:
    op = OPS[name]
    for sample in variants(np.random.default_rng(0), op):
        plain = type(sample)(*[np.ascontiguousarray(a) if isinstance(a, np.ndarray) else a for a in sample.args], **sample.kwargs)
        plain.options = sample.options
        for got, want in zip(run(op, sample, "cpu", "float64"), run(op, plain, "cpu", "float64"), strict=True):
            for g, w in zip(got, want, strict=True):
                np.testing.assert_allclose(g.astype(np.float64), w.astype(np.float64), rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------------------------------------------------------------- the kernels
# Ladders that no differentiable op launches, and the file that tests each of their rungs on the emulator and on a GPU.
ELSEWHERE = {
    "fill.forward": "test_copy.py",
    "sgd.": "test_optim.py",
    "adam": "test_optim.py",
    "adagrad": "test_optim.py",
    "rmsprop": "test_optim.py",
    "random": "test_random.py",
}


def elsewhere(ladder: str) -> str | None:
    return next((file for start, file in ELSEWHERE.items() if ladder.startswith(start)), None)


def test_ladders_tested_elsewhere_are_named_there() -> None:
    for name in gpudl.kernels.ladders():
        file = elsewhere(name)
        assert file is None or name in (Path(__file__).parent / file).read_text(), f"{file} does not mention {name}"


def rungs() -> list:
    """(ladder, rung) for every ladder that an op of the registry launches."""
    found = []
    for name, ladder in sorted(gpudl.kernels.ladders().items()):
        if elsewhere(name):
            continue
        for rung in ladder:
            if rung.backend == "cuda":
                found.append(pytest.param(name, rung.name, id=f"{name}-{rung.name}"))
    return found


def ladder_ops(ladder: str) -> list[type]:
    """The ops that launch a ladder: those that say so (`ladders`), else those of its first name."""
    return [op for op in OPS.values() if ladder in getattr(op, "ladders", ()) or op.name == ladder.split(".")[0]]


def dealt(op: type, ladder: str, rung: str) -> list:
    """The op's samples for one rung. Each with _deal=True costs a compilation (an activation in the epilogue) and is dealt to one rung."""
    names = [r.name for r in gpudl.kernels.ladder(ladder) if r.backend == "cuda"]
    all_ = samples(op)
    cards = [s for s in all_ if s.options.get("deal")]
    return [s for s in all_ if not s.options.get("deal") or cards.index(s) % len(names) == names.index(rung)]


def agree(op: type, sample, dtype, device: str, precision: str = "ieee") -> None:
    """Kernel path in dtype against the CPU in float64, from inputs that dtype holds exactly. `precision` is the rung's: what it rounds further
    (tf32) gets inputs that are exact in it, too, so that the first product is held to float32's tolerance, and later ones to their factors'."""
    kind = _dtypes.as_dtype(dtype)
    exact = rounded(sample, "tf32" if precision == "tf32" else kind)
    want, want_grads = run(op, exact, "cpu", "float64")
    got, got_grads = run(op, exact, device, dtype)
    factor = sample.options.get("tolerance", 1)
    length = max([a.size for a in sample.args if isinstance(a, np.ndarray)] or [1])
    assert len(got) == len(want) and len(got_grads) == len(want_grads)
    for what, pairs in (("output", zip(got, want, strict=True)), ("gradient", zip(got_grads, want_grads, strict=True))):
        grad = what == "gradient"
        for k, (g, w) in enumerate(pairs):
            assert (g is None) == (w is None)
            if g is None:
                continue
            assert g.shape == w.shape
            g64, w64 = g.astype(np.float64), w.astype(np.float64)
            same = (g64 == w64) | (np.isnan(g64) & np.isnan(w64))
            allowed = tolerance(kind, np.where(np.isfinite(w64), w64, 0), length, factor * (4 if grad else 1), precision if grad else "ieee")
            with np.errstate(invalid="ignore"):
                error = np.abs(g64 - w64)
            assert (same | (error <= allowed)).all(), (
                f"{op.name} {sample}: {what} {k}: worst error {np.nanmax(error):.3g} where {allowed.min():.3g} is allowed"
            )


@pytest.mark.emulator
@pytest.mark.parametrize(("ladder", "rung"), rungs())
def test_rung_agrees_with_the_cpu_under_the_sanitizer(ladder: str, rung: str) -> None:
    ops = ladder_ops(ladder)
    assert ops, f"no op of the registry launches {ladder}; name it in the op's `ladders`"
    record = gpudl.kernels.ladder(ladder)[rung]
    ran = 0
    with gpudl.kernels.use(ladder, rung), gpudl.kernels.emulation(sanitize=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a sample that this rung does not take runs on another one
        for op in ops:
            for sample in dealt(op, ladder, rung):
                before = record.launches
                agree(op, sample, str(next((d for d in record.dtypes if _dtypes.is_float(d)), "float32")), "emulator", record.precision)
                ran += record.launches - before
    assert ran, f"no sample of {', '.join(op.name for op in ops)} reaches {record!r}"


@pytest.mark.emulator
@pytest.mark.parametrize(("ladder", "rung"), rungs())
@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_rung_agrees_in_the_other_dtypes(ladder: str, rung: str, dtype: str) -> None:
    record = gpudl.kernels.ladder(ladder)[rung]
    if _dtypes.as_dtype(dtype) not in record.dtypes:
        return
    with gpudl.kernels.use(ladder, rung), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for op in ladder_ops(ladder):
            for sample in [*dealt(op, ladder, rung), *variants(np.random.default_rng(0), op)]:
                if sample.options.get("halves", True) or dtype == "float64":
                    agree(op, sample, dtype, "emulator", record.precision)


@pytest.mark.gpu
@pytest.mark.parametrize(("ladder", "rung"), rungs())
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_rung_agrees_on_a_gpu(ladder: str, rung: str, dtype: str) -> None:
    record = gpudl.kernels.ladder(ladder)[rung]
    if _dtypes.as_dtype(dtype) not in record.dtypes:
        return
    with gpudl.kernels.use(ladder, rung), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for op in ladder_ops(ladder):
            for sample in [*samples(op), *variants(np.random.default_rng(0), op)]:
                if sample.options.get("halves", True) or dtype in ("float64", "float32"):
                    agree(op, sample, dtype, "cuda", record.precision)


def test_every_kernel_file_is_a_rung() -> None:
    """No .cu file without a record, and every header says what a reader needs."""
    recorded = {rung.path for ladder in gpudl.kernels.ladders().values() for rung in ladder if rung.backend == "cuda"}
    assert set(gpudl.kernels.FOLDER.rglob("*.cu")) == recorded
    for ladder in gpudl.kernels.ladders().values():
        for i, rung in enumerate(r for r in ladder if r.backend == "cuda"):
            needed = {"Title", "Computes", "Launch", "FLOPs", "Traffic", "Numerics"}
            assert needed <= set(rung.header), f"{rung!r}: its header lacks {needed - set(rung.header)}"
            assert rung.header["Title"].startswith(rung.path.stem + ":"), f"{rung!r}: the first line is {rung.header['Title']!r}"
            assert i == 0 or any(field.startswith("Since") for field in rung.header), f"{rung!r}: what is new since the rung before?"
