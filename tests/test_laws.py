"""Laws that are cheap to keep and dear to restore: what a captured training step will stand on, checked on the emulator device."""

from __future__ import annotations

import numpy as np
import pytest

import gpudl
from gpudl import kernels, nn

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
                        np.testing.assert_allclose(model(x).cpu().numpy(), want, rtol=1e-4, atol=1e-5)
