"""The CUDA device's Python, run on a stand-in for CuPy: what no GPU is needed to get wrong."""

from __future__ import annotations

import fake_cupy
import numpy as np
import pytest
from registry import OPS, run, samples

import gpudl
from gpudl import kernels, nn

pytestmark = pytest.mark.emulator


@pytest.fixture(autouse=True)
def cuda(monkeypatch: pytest.MonkeyPatch):
    before = dict(gpudl._device.device._known)
    fake_cupy.install(monkeypatch)
    kernels._cuda_function.cache_clear()
    yield
    kernels._cuda_function.cache_clear()
    gpudl._device.device._known.clear()
    gpudl._device.device._known.update({k: v for k, v in before.items() if k != "cuda:0"})


@pytest.mark.parametrize("name", OPS)
def test_every_op_passes_what_cupy_takes(name: str) -> None:
    for sample in samples(OPS[name])[:3]:
        want, want_grads = run(OPS[name], sample, "cpu", "float32")
        got, got_grads = run(OPS[name], sample, "cuda", "float32")
        for g, w in zip([*got, *got_grads], [*want, *want_grads], strict=True):
            assert (g is None) == (w is None)
            if g is not None:
                np.testing.assert_allclose(np.asarray(g, float), np.asarray(w, float), rtol=2e-3, atol=2e-4)


def test_a_model_trains_and_saves() -> None:
    gpudl.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.1), nn.Linear(4 * 9, 5)
    )
    model.to("cuda")
    x = gpudl.randn(8, 1, 8, 8, device="cuda")
    labels = gpudl.tensor(np.arange(8) % 5, device="cuda")
    optimizer = gpudl.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] <= 0.6 * losses[0]
    assert model.state_dict()["0.weight"].device is gpudl.device("cuda")


def test_interfaces() -> None:
    x = gpudl.ones(2, 3, device="cuda")
    assert x.__cuda_array_interface__["shape"] == (2, 3)
    with pytest.raises(TypeError, match="on cuda:0; bring it to the host with .cpu"):
        x.numpy()
    assert x.cpu().numpy().sum() == 6 and "device='cuda:0'" in repr(x)
    with pytest.raises(AttributeError):
        gpudl.ones(2).__cuda_array_interface__


def test_bad_labels_are_reported_at_the_next_synchronisation() -> None:
    logits = gpudl.zeros(2, 3, device="cuda")
    loss = nn.functional.cross_entropy(logits, gpudl.tensor([0, 7], device="cuda"))
    with pytest.raises(IndexError, match="label"):
        loss.item()
    gpudl.zeros(1, device="cuda").item()  # reported once


def test_a_missing_gpu_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.delitem(gpudl._device.device._known, "cuda:0", raising=False)
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(gpudl.DeviceError, match=r"CuPy is not installed.*gpudl\[cuda13\]"):
        gpudl.ones(2, device="cuda")


def test_shared_memory_asked_for_never_sinks() -> None:
    """Plans of several shapes share one compiled function: a small one between two large ones does not take the room back."""
    for rows in (13000, 12500, 64, 13000):  # 52, 50 and 0.25 thousand bytes a channel
        x = gpudl.tensor(np.random.default_rng(rows).normal(size=(rows, 1, 1)).astype(np.float32), device="cuda")
        with kernels.use("batch_norm.forward", "07_resident"):
            y = nn.functional.batch_norm(x, None, None, training=True)
        assert abs(float(y.std(correction=0).item()) - 1) <= 1e-3


def test_a_grid_barrier_is_launched_cooperatively() -> None:
    x = gpudl.tensor(np.random.default_rng(0).normal(size=(6, 2, 5, 5)).astype(np.float32), device="cuda")
    before = kernels.ladder("batch_norm.forward")["08_grid"].launches
    with kernels.use("batch_norm.forward", "08_grid"):
        y = nn.functional.batch_norm(x, None, None, training=True)
    assert kernels.ladder("batch_norm.forward")["08_grid"].launches == before + 1
    np.testing.assert_allclose(y.cpu().numpy().std((0, 2, 3)), 1, rtol=1e-3)


def test_what_is_compiled_ahead_is_what_launches_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench import compile as ahead

    asked = []
    real = kernels.cuda_source
    monkeypatch.setattr(kernels, "cuda_source", lambda path, options: asked.append((path, real(path, options))) or real(path, options))
    for name in ("batch_norm_relu", "linear", "softmax", "sum", "bias_act_dropout_add"):
        for sample in samples(OPS[name])[:2]:
            run(OPS[name], sample, "cuda", "float32")
    paths = {path for path, _ in asked}
    jobs = [job for job in ahead.jobs(90) if job[0] in paths]
    assert len(asked) > 5 and {code for _, code in asked} <= {real(*job) for job in jobs}
    assert ahead.compile_one(jobs[0]) == "" and "FileNotFoundError" in ahead.compile_one((jobs[0][0].with_name("none.cu"), ()))
