"""Laws that are cheap to keep and dear to restore: what a captured training step will stand on, checked on the emulator device."""

from __future__ import annotations

import functools
import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pytest
from registry import function, host, outputs, place, samples
from test_ops import elsewhere, ladder_ops

import gpudl
from gpudl import _dtypes, _launches, kernels, nn

pytestmark = pytest.mark.emulator


def lenet(activation: type = nn.ReLU) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 5, padding=2), activation(), nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), activation(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(6 * 2 * 2, 20), activation(), nn.Dropout(0.25), nn.Linear(20, 10),
    )  # fmt: skip


def batch(n: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    return rng.standard_normal((n, 1, 12, 12)).astype(np.float32), rng.integers(0, 10, n)


def test_a_lenet_trains_in_the_emulator_and_agrees_with_float64() -> None:
    gpudl.manual_seed(0)
    reference = lenet().double()
    reference[10].p = 0.0  # the same draws on both sides are another test's business
    model = lenet()
    model[10].p = 0.0
    model.load_state_dict(reference.state_dict())
    model.to("emulator")
    x, labels = batch()
    losses = []
    with kernels.emulation(sanitize=True):
        for m, device, dtype in ((reference, "cpu", gpudl.float64), (model, "emulator", gpudl.float32)):
            loss = nn.functional.cross_entropy(m(gpudl.tensor(x, dtype=dtype, device=device)), gpudl.tensor(labels, device=device))
            loss.backward()
            losses.append(loss.item())
    # A sum of n float32 terms: 2 eps sqrt(n) relative to the sum of magnitudes; n = 6*12*12 terms meet in a weight's gradient, 5 layers deep.
    bound = 5 * 2 * 2.0**-23 * np.sqrt(6 * 12 * 12)
    assert abs(losses[0] - losses[1]) <= bound * abs(losses[0])
    for (name, want), (_, got) in zip(reference.named_parameters(), model.named_parameters(), strict=True):
        w, g = want.grad.numpy(), got.grad.cpu().numpy()
        assert np.abs(g - w).max() <= bound * max(np.abs(w).max(), 1e-2) * 4, name

    optimiser = gpudl.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    xs, ys = gpudl.tensor(x, device="emulator"), gpudl.tensor(labels, device="emulator")
    first = last = 0.0
    for step in range(12):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(xs), ys)
        loss.backward()
        optimiser.step()
        last = loss.item()
        first = last if step == 0 else first
    assert last <= 0.5 * first


@pytest.mark.parametrize("optimiser", ["SGD", "Adam", "AdamW"])
def test_a_warm_step_neither_copies_nor_allocates_outside_the_device(optimiser: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing comes from the host, nothing goes to it, every array that a kernel sees lies in device memory, and `.grad` stays where it is."""
    device = gpudl.device("emulator")
    model = lenet().to(device)
    x, labels = batch()
    xs, ys = gpudl.tensor(x, device=device), gpudl.tensor(labels, device=device)
    step_of = getattr(gpudl.optim, optimiser)(model.parameters(), lr=0.01, weight_decay=0.1)

    def step() -> None:
        step_of.zero_grad(set_to_none=False)
        nn.functional.cross_entropy(model(xs), ys).backward()
        step_of.step()

    step()
    step()
    where = [p.grad.data_ptr() for p in model.parameters()]
    made: set[tuple[int, int]] = set()
    real_empty, real_launch = type(device).empty, kernels.launch

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a copy between host and device in a warm step")

    def launch(where: object, name: str, arguments: dict, *rest: object, **more: object) -> object:
        for key, value in arguments.items():
            if kernels._is_array(value) and value.size:
                assert gpudl.emulator.owns(value), f"{name}: {key} does not come from device.empty"
        return real_launch(where, name, arguments, *rest, **more)

    monkeypatch.setattr(type(device), "from_host", forbidden)
    monkeypatch.setattr(type(device), "to_host", forbidden)
    monkeypatch.setattr(kernels, "launch", launch)
    step()
    monkeypatch.undo()
    assert real_empty is type(device).empty and not made
    assert [p.grad.data_ptr() for p in model.parameters()] == where


def test_every_write_of_ours_advances_the_version() -> None:
    p = nn.Parameter(gpudl.ones(3))
    for optimiser in (gpudl.optim.SGD([p], lr=0.1), gpudl.optim.Adam([p]), gpudl.optim.AdamW([p])):
        p.grad = gpudl.ones(3)
        before = p._version
        optimiser.step()
        assert p._version > before
    mean, var = gpudl.zeros(2), gpudl.ones(2)
    nn.functional.batch_norm(gpudl.randn(4, 2), mean, var, training=True)
    assert mean._version == var._version == 1


@pytest.mark.filterwarnings("ignore:conv2d.forward. rung")  # a layer that a rung does not take runs on another one
def test_the_same_rung_by_name_in_a_live_model() -> None:
    model = lenet().to("emulator")
    x = gpudl.tensor(batch()[0], device="emulator")
    with gpudl.no_grad():
        model.eval()
        want = model(x).cpu().numpy()
        for ladder in ("conv2d.forward", "matmul.forward"):
            for rung in kernels.ladder(ladder):
                if rung.backend == "cuda" and gpudl.float32 in rung.dtypes:
                    with kernels.use(ladder, rung.name):
                        rtol, atol = (1e-4, 1e-5) if rung.precision != "tf32" else (1e-2, 2e-3)  # factors of 10 bits of mantissa, four layers deep
                        np.testing.assert_allclose(model(x).cpu().numpy(), want, rtol=rtol, atol=atol)


# ------------------------------------------------------------------------------------------------------------------- any rung in a model
@functools.cache
def mnist_model(batch_norm: bool) -> nn.Module:
    """The network of examples/mnist.py."""
    spec = importlib.util.spec_from_file_location("mnist_example", Path(__file__).parent.parent / "examples" / "mnist.py")
    assert spec and spec.loader
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    gpudl.manual_seed(0)
    return example.build(0.25, batch_norm).to("emulator")


def first_step(batch_norm: bool) -> tuple[float, list[np.ndarray]]:
    """Loss and gradients of the example's first step on four images of noise; the same masks of dropout each time."""
    model = mnist_model(batch_norm)
    rng = np.random.default_rng(1)
    images = gpudl.tensor(rng.standard_normal((4, 1, 28, 28)).astype(np.float32), device="emulator")
    labels = gpudl.tensor(rng.integers(0, 10, 4), device="emulator")
    gpudl.manual_seed(3)
    model.zero_grad()
    loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    return loss.item(), [p.grad.cpu().numpy().astype(np.float64) for p in model.parameters()]


@functools.cache
def usual_step(batch_norm: bool) -> tuple[float, list[np.ndarray]]:
    return first_step(batch_norm)


@pytest.mark.parametrize("name", sorted(n for n in kernels.ladders() if not elsewhere(n) or n.startswith("random")))
def test_any_rung_gives_the_examples_first_step(name: str) -> None:
    pytest.importorskip("matplotlib")  # which the example draws with
    for rung in (r for r in kernels.ladder(name) if r.backend == "cuda" and gpudl.float32 in r.dtypes):
        for batch_norm in (True, False):
            usual = usual_step(batch_norm)
            before = rung.launches
            with kernels.use(name, rung.name), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a launch that it does not take runs on another rung
                loss, gradients = first_step(batch_norm)
            if rung.launches == before:
                continue  # this network has no launch for it
            within = 2e-2 if rung.precision == "tf32" else 1e-4  # of the norm: a last bit may decide a ReLU or a maximum
            assert abs(loss - usual[0]) <= within * abs(usual[0]), rung.name
            slack = 3e-6 * max(np.linalg.norm(w) for w in usual[1])  # the bias before a batch norm has the gradient 0, and rounding errors
            for got, want in zip(gradients, usual[1], strict=True):
                assert np.linalg.norm(got - want) <= within * np.linalg.norm(want) + slack, rung.name


# ------------------------------------------------------------------------------------------------------------------------------ traffic
def test_every_rung_says_what_it_asks_of_memory() -> None:
    """Each record has the header's traffic as a formula, and the formula has a value at every launch of the registry."""
    values: dict[kernels.Kernel, list[float]] = {}
    where = _launches._Dry(90)
    real = kernels.launch

    def launch(device: object, ladder: str, arguments: dict, picked: object = None, defines: object = None) -> object:
        scalars = {k: v for k, v in arguments.items() if not kernels._is_array(v)}
        dtype = next((v.dtype for k, v in arguments.items() if k not in scalars), gpudl.float32)
        for rung in kernels.ladder(ladder):
            if rung.backend == "cuda" and rung.traffic is not None and rung.takes(scalars, dtype, where):
                values.setdefault(rung, []).append(rung.traffic(rung.scope(scalars, dtype, where)))
        return real(device, ladder, arguments, picked, defines)

    with pytest.MonkeyPatch.context() as m, warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        m.setattr(kernels, "launch", launch)
        m.setattr(kernels.Kernel, "prepare", lambda *_: lambda values: None)
        for work in _launches._work(where):
            try:
                work()
            except (NotImplementedError, gpudl.KernelError):
                pass  # an op, or a dtype, that the CPU alone computes
    for rungs in kernels.ladders().values():
        for rung in (r for r in rungs if r.backend == "cuda"):
            assert rung.traffic is not None, f"{rung!r} states no traffic"
            assert values.get(rung), f"no launch of the registry reaches {rung!r}"
            assert all(np.isfinite(v) and v >= 0 for v in values[rung]) and max(values[rung]) > 0, f"{rung!r}: traffic {min(values[rung])}"
        rungs._chosen.clear()
        for rung in rungs:
            rung._plans = {key: plan for key, plan in rung._plans.items() if key[0] is not where}


# --------------------------------------------------------------------------------------------------------------------- repeatable bits
ORDERS = ({"order": "ascending"}, {"order": "descending"}, {"order": "random", "seed": 1}, {"order": "random", "seed": 2})
RUNGS = [pytest.param(name, rung.name, id=f"{name}-{rung.name}")
         for name, ladder in sorted(kernels.ladders().items()) for rung in ladder if rung.backend == "cuda"]  # fmt: skip


@pytest.fixture(autouse=True)
def default_determinism():
    yield
    gpudl.use_deterministic_algorithms(False)


def bits(op: type, sample: object, dtype: str) -> list[bytes | None]:
    """Every output and gradient. Cotangents are no multiples of a power of two: sums of those are exact, and their order would not show."""
    gpudl.manual_seed(1)
    args, kwargs, leaves = place(sample, "emulator", dtype, grad=sample.options.get("grad", True))  # type: ignore[attr-defined]
    outs = outputs(function(op)(*args, **kwargs))
    wanted = [o for o in outs if o.requires_grad]
    grads = []
    if wanted and leaves:
        rng = np.random.default_rng(5)
        cotangents = [gpudl.tensor(rng.standard_normal(o.shape), dtype=o.dtype, device=o.device) for o in wanted]
        grads = gpudl.autograd.grad(wanted, leaves, cotangents, allow_unused=True)
    return [None if a is None else a.tobytes() for a in map(host, [*outs, *grads])]


@pytest.mark.parametrize(("ladder", "name"), RUNGS)
def test_a_rung_is_as_repeatable_as_its_record_says(ladder: str, name: str) -> None:
    """Threads, warps and blocks run forwards, backwards and at random: the bits agree, and where the record does not promise it, they differ."""
    rung = kernels.ladder(ladder)[name]
    if elsewhere(ladder):
        assert rung.deterministic  # one thread an element, and nothing is summed; their own tests compare bits
        return
    dtype = str(next((d for d in rung.dtypes if _dtypes.is_float(d)), gpudl.float32))
    gpudl.use_deterministic_algorithms(rung.deterministic, warn_only=True)  # the other kernels of the same call
    ran, differ = 0, []
    with kernels.use(ladder, name), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for op in ladder_ops(ladder):
            for sample in samples(op):
                before, seen = rung.launches, set()
                for order in ORDERS:
                    with kernels.emulation(**order):
                        seen.add(tuple(bits(op, sample, dtype)))
                    if rung.launches == before:
                        break  # it does not take this sample
                ran += rung.launches > before
                differ += [f"{op.name} {sample}"] * (len(seen) > 1)
    assert ran
    if rung.deterministic:
        assert not differ, f"{rung!r} says that it is bitwise repeatable, and is not for {differ[0]}"
    else:
        assert differ, f"no order of threads and blocks changes what {rung!r} computes; if it is repeatable, its record should say so"


def pooled() -> tuple[gpudl.Tensor, gpudl.Tensor]:
    x = gpudl.tensor(np.random.default_rng(0).standard_normal((1, 2, 9, 9)).astype(np.float32), device="emulator", requires_grad=True)
    return x, nn.functional.max_pool2d(x, 3, 1).sum()


def test_only_repeatable_rungs_are_chosen() -> None:
    ladder = kernels.ladder("max_pool2d.backward")
    atomic = next(k for k in ladder if not k.deterministic)
    assert not gpudl.are_deterministic_algorithms_enabled() and gpudl.get_deterministic_debug_mode() == 0
    gpudl.use_deterministic_algorithms(True)
    assert gpudl.are_deterministic_algorithms_enabled() and not gpudl.is_deterministic_algorithms_warn_only_enabled()
    with kernels.use("max_pool2d.backward", atomic.name):
        x, y = pooled()
        before = atomic.launches
        with pytest.warns(UserWarning, match=f"max_pool2d.backward: rung {atomic.name} is not bitwise repeatable; another rung"):
            y.backward()
        assert atomic.launches == before and x.grad is not None
        gpudl.use_deterministic_algorithms(False)
        pooled()[1].backward()
        assert atomic.launches == before + 1


def test_an_operation_without_a_repeatable_kernel_raises_or_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    for rung in kernels.ladder("max_pool2d.backward"):
        monkeypatch.setattr(rung, "deterministic", False)
    gpudl.use_deterministic_algorithms(True)
    x, y = pooled()
    with pytest.raises(RuntimeError, match=r"max_pool2d.backward: none of its kernels .*use_deterministic_algorithms\(True, warn_only=True\)"):
        y.backward()
    assert x.grad is None
    gpudl.use_deterministic_algorithms(True, warn_only=True)
    assert gpudl.is_deterministic_algorithms_warn_only_enabled() and gpudl.get_deterministic_debug_mode() == 1
    x, y = pooled()
    with pytest.warns(UserWarning, match="max_pool2d.backward: none of its kernels"):
        y.backward()
    assert x.grad is not None


def test_the_mode_in_one_word_and_bad_ones() -> None:
    for word, number in (("default", 0), ("warn", 1), ("error", 2), (1, 1), (0, 0)):
        gpudl.set_deterministic_debug_mode(word)
        assert gpudl.get_deterministic_debug_mode() == number
    with pytest.raises(RuntimeError, match="'strict'; there are 0 'default'"):
        gpudl.set_deterministic_debug_mode("strict")
    with pytest.raises(TypeError, match="must be an int or a str, not float"):
        gpudl.set_deterministic_debug_mode(1.0)
    with pytest.raises(TypeError, match="must be bool, not str 'yes'"):
        gpudl.use_deterministic_algorithms("yes")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        gpudl.use_deterministic_algorithms(True, True)  # type: ignore[misc]
