"""Optimisers and schedules step by step beside PyTorch's."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import gpudl  # noqa: E402
from gpudl import optim  # noqa: E402

CASES = [
    ("SGD", {}),
    ("SGD", dict(weight_decay=0.1, maximize=True)),
    ("SGD", dict(momentum=0.9)),
    ("SGD", dict(momentum=0.9, dampening=0.4, weight_decay=0.1)),
    ("SGD", dict(momentum=0.9, nesterov=True, weight_decay=0.1)),
    ("SGD", dict(momentum=0.9, nesterov=True, maximize=True)),
    *[
        (name, dict(amsgrad=a, maximize=m, weight_decay=w, betas=b, eps=e))
        for name, a, m, w, (b, e) in itertools.product(
            ("Adam", "AdamW"), (False, True), (False, True), (0, 0.1), [((0.9, 0.999), 1e-8), ((0.5, 0.7), 1e-3)]
        )
    ],
    *[
        ("RMSprop", dict(momentum=m, centered=c, weight_decay=w, maximize=x))
        for m, c, w, x in itertools.product((0, 0.8), (False, True), (0, 0.1), (False, True))
    ],
    *[
        ("Adagrad", dict(lr_decay=d, weight_decay=w, initial_accumulator_value=i))
        for d, w, i in itertools.product((0, 0.1), (0, 0.1), (0, 0.5))
    ],
    ("Adagrad", dict(maximize=True)),
]


def pair(name: str, options: dict, dtype: str, device: str = "cpu", lr: float = 0.01):
    """The same parameters twice, in two groups of different learning rates, and an optimiser over each."""
    rng = np.random.default_rng(0)
    values = [rng.normal(size=s).astype(dtype) for s in [(3, 4), (), (5,), (2, 0), (2, 2, 2)]]
    ours = [gpudl.tensor(v, device=device).requires_grad_() for v in values]
    theirs = [torch.tensor(v, requires_grad=True) for v in values]

    def groups(params):
        return [{"params": params[:2]}, {"params": params[2:], "lr": 2 * lr}]

    return ours, theirs, getattr(optim, name)(groups(ours), lr=lr, **options), getattr(torch.optim, name)(groups(theirs), lr=lr, **options)


def give_gradients(ours, theirs, rng, step: int) -> None:
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if step == 2 and i == 2:
            a.grad, b.grad = None, None  # one step without this parameter: its state must wait
            continue
        g = rng.normal(size=tuple(b.shape)).astype(b.detach().numpy().dtype)
        a.grad, b.grad = gpudl.tensor(g, device=a.device), torch.tensor(g)


def agree(ours, theirs, dtype: str) -> None:
    tolerance = 1e-13 if dtype == "float64" else 4e-6
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.detach().cpu().numpy(), b.detach().numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_steps_equal_pytorchs(name: str, options: dict, dtype: str) -> None:
    ours, theirs, a, b = pair(name, options, dtype)
    rng = np.random.default_rng(1)
    for step in range(6):
        give_gradients(ours, theirs, rng, step)
        if step == 3:
            for o in (a, b):
                o.param_groups[0]["lr"] *= 0.3
        a.step()
        b.step()
        agree(ours, theirs, dtype)


@pytest.mark.parametrize(
    ("name", "options"),
    [CASES[0], CASES[3], ("Adam", dict(amsgrad=True)), ("AdamW", {}), ("RMSprop", dict(momentum=0.5, centered=True)), ("Adagrad", {})],
)
def test_state_dicts_are_interchangeable(name: str, options: dict) -> None:
    """PyTorch's state_dict resumes here, ours there; same keys."""
    ours, theirs, a, b = pair(name, options, "float64")
    rng = np.random.default_rng(1)
    for step in range(3):
        give_gradients(ours, theirs, rng, step)
        a.step()
        b.step()
    mine, other = a.state_dict(), b.state_dict()
    assert [g["params"] for g in mine["param_groups"]] == [g["params"] for g in other["param_groups"]]
    for g, h in zip(mine["param_groups"], other["param_groups"], strict=True):
        assert set(g) == set(h)
    used = {k for k, v in other["state"].items() if any(getattr(x, "numel", lambda: 1)() for x in v.values())} - {3}  # 3 is empty
    assert used <= set(mine["state"])
    for k in used:
        assert set(mine["state"][k]) == set(other["state"][k])
    fresh_ours, fresh_theirs, c, d = pair(name, options, "float64")
    for p, q in zip(fresh_ours, theirs, strict=True):
        p.data = gpudl.tensor(q.detach().numpy())
    for p, q in zip(fresh_theirs, ours, strict=True):
        p.data = torch.tensor(q.detach().numpy())
    c.load_state_dict(other)

    def to_torch(state):
        return {
            k: {n: torch.tensor(v.detach().numpy()) if isinstance(v, gpudl.Tensor) else v for n, v in s.items()} for k, s in state.items()
        }

    d.load_state_dict({"state": to_torch(mine["state"]), "param_groups": mine["param_groups"]})
    for step in range(3):
        give_gradients(fresh_ours, fresh_theirs, rng, step)
        for p, q in zip(ours, fresh_ours, strict=True):
            p.grad = q.grad
        a.step()
        c.step()
        d.step()
        agree(fresh_ours, fresh_theirs, "float64")
        agree(ours, fresh_theirs, "float64")


@pytest.mark.emulator
@pytest.mark.parametrize(("name", "options"), [("SGD", dict(momentum=0.9, dampening=0.2)), ("Adam", {}), ("AdamW", dict(amsgrad=True))])
def test_fused_kernels_equal_pytorch(name: str, options: dict) -> None:
    ours, theirs, a, b = pair(name, options, "float64", device="emulator")
    rng = np.random.default_rng(1)
    for step in range(5):
        give_gradients(ours, theirs, rng, step)
        for o in (a, b):
            o.param_groups[1]["lr"] *= 0.9
        a.step()
        b.step()
        agree(ours, theirs, "float64")


SCHEDULES = [
    ("StepLR", dict(step_size=3)),
    ("StepLR", dict(step_size=1, gamma=0.9)),
    ("MultiStepLR", dict(milestones=[2, 5, 5, 9], gamma=0.3)),
    ("ExponentialLR", dict(gamma=0.8)),
    ("CosineAnnealingLR", dict(T_max=5)),
    ("CosineAnnealingLR", dict(T_max=7, eta_min=0.01)),
    ("CosineAnnealingWarmRestarts", dict(T_0=3)),
    ("CosineAnnealingWarmRestarts", dict(T_0=2, T_mult=2, eta_min=0.001)),
    ("LinearLR", dict()),
    ("LinearLR", dict(start_factor=0.5, end_factor=0.1, total_iters=6)),
    ("ConstantLR", dict(factor=0.25, total_iters=4)),
    ("PolynomialLR", dict(total_iters=6, power=2.0)),
    ("LambdaLR", dict(lr_lambda=lambda e: 0.9**e)),
    ("LambdaLR", dict(lr_lambda=[lambda e: 0.9**e, lambda e: 1 / (1 + e)])),
    ("MultiplicativeLR", dict(lr_lambda=lambda e: 0.7)),
    ("CyclicLR", dict(base_lr=0.01, max_lr=0.1, step_size_up=3)),
    ("CyclicLR", dict(base_lr=[0.01, 0.02], max_lr=[0.1, 0.3], step_size_up=2, step_size_down=3, mode="triangular2", base_momentum=0.7)),
    ("CyclicLR", dict(base_lr=0.01, max_lr=0.1, step_size_up=4, mode="exp_range", gamma=0.9, cycle_momentum=False)),
    ("CyclicLR", dict(base_lr=0.01, max_lr=0.1, step_size_up=2, scale_fn=lambda x: 1 / (1 + x), scale_mode="iterations")),
    ("OneCycleLR", dict(max_lr=1.0, total_steps=16)),
    ("OneCycleLR", dict(max_lr=[1.0, 2.0], epochs=4, steps_per_epoch=4, anneal_strategy="linear", three_phase=True)),
    ("OneCycleLR", dict(max_lr=1.0, total_steps=20, pct_start=0.5, cycle_momentum=False)),
]


def two_optimizers(kind: str = "SGD", **options):
    def make(t, o):
        return getattr(o, kind)([{"params": [t([1.0])]}, {"params": [t([2.0])], "lr": 0.5}], lr=0.1, **options)

    return make(lambda v: gpudl.tensor(v, requires_grad=True), optim), make(lambda v: torch.tensor(v, requires_grad=True), torch.optim)


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize(("name", "options"), SCHEDULES)
def test_schedules_equal_pytorchs(name: str, options: dict, kind: str) -> None:
    a, b = two_optimizers(kind, **({"momentum": 0.9} if kind == "SGD" else {}))
    s, t = getattr(optim.lr_scheduler, name)(a, **options), getattr(torch.optim.lr_scheduler, name)(b, **options)
    for _ in range(15):
        np.testing.assert_allclose(s.get_last_lr(), t.get_last_lr(), rtol=1e-12)
        for g, h in zip(a.param_groups, b.param_groups, strict=True):
            np.testing.assert_allclose(g["lr"], h["lr"], rtol=1e-12)
            for key in ("momentum", "betas"):
                if key in g:
                    np.testing.assert_allclose(g[key], h[key], rtol=1e-12)
        a.step()
        b.step()
        s.step()
        t.step()


@pytest.mark.parametrize("options", [
    {}, dict(patience=2, threshold=0.1), dict(mode="max", factor=0.5, patience=1), dict(mode="max", threshold_mode="abs", patience=0, threshold=0.05),
    dict(patience=0, cooldown=2, min_lr=[0.02, 0.1]), dict(patience=0, factor=0.9, eps=0.04), dict(threshold_mode="abs", patience=1),
])  # fmt: skip
def test_plateau_equals_pytorchs(options: dict) -> None:
    a, b = two_optimizers()
    s, t = optim.lr_scheduler.ReduceLROnPlateau(a, **options), torch.optim.lr_scheduler.ReduceLROnPlateau(b, **options)
    rng = np.random.default_rng(3)
    for epoch in range(60):
        metric = 1 / (1 + 0.1 * epoch) + 0.1 * rng.normal() if epoch < 40 else float("nan")
        s.step(metric)
        t.step(metric)
        assert [g["lr"] for g in a.param_groups] == pytest.approx([g["lr"] for g in b.param_groups], rel=1e-12)
        assert (s.num_bad_epochs, s.cooldown_counter) == (t.num_bad_epochs, t.cooldown_counter)


def test_sequences_equal_pytorchs() -> None:
    a, b = two_optimizers()

    def build(o, m):
        return m.SequentialLR(o, [m.ConstantLR(o, 0.1, 2), m.ExponentialLR(o, 0.9), m.CosineAnnealingLR(o, 4)], milestones=[3, 8])

    s, t = build(a, optim.lr_scheduler), build(b, torch.optim.lr_scheduler)
    for _ in range(14):
        assert s.get_last_lr() == pytest.approx(t.get_last_lr(), rel=1e-12)
        a.step()
        b.step()
        s.step()
        t.step()
    a, b = two_optimizers()

    def chain(o, m):
        return m.ChainedScheduler([m.ConstantLR(o, 0.1, 2), m.ExponentialLR(o, 0.9)])

    s, t = chain(a, optim.lr_scheduler), chain(b, torch.optim.lr_scheduler)
    for _ in range(6):
        assert s.get_last_lr() == pytest.approx(t.get_last_lr(), rel=1e-12)
        a.step()
        b.step()
        s.step()
        t.step()


@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.0, float("inf")])
@pytest.mark.parametrize("max_norm", [0.5, 100.0])
def test_clipping_equals_pytorchs(norm_type: float, max_norm: float) -> None:
    rng = np.random.default_rng(0)
    grads = [rng.normal(size=s) for s in [(3, 4), (5,), ()]]
    ours, theirs = [gpudl.tensor(g, requires_grad=True) for g in grads], [torch.tensor(g, requires_grad=True) for g in grads]
    for p, q, g in zip(ours, theirs, grads, strict=True):
        p.grad, q.grad = gpudl.tensor(g), torch.tensor(g)
    ours.append(gpudl.tensor([1.0], requires_grad=True))  # without a gradient
    total = gpudl.nn.utils.clip_grad_norm_(ours, max_norm, norm_type)
    assert total.item() == pytest.approx(torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type).item(), rel=1e-12)
    for p, q in zip(ours, theirs, strict=False):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-12)
    gpudl.nn.utils.clip_grad_value_(ours, 0.2)
    torch.nn.utils.clip_grad_value_(theirs, 0.2)
    for p, q in zip(ours, theirs, strict=False):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-12)
