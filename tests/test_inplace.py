"""In-place changes: what they do to saved values, to the graph of the tensor, of its base and of all its views."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpudl
from gpudl import ops
from gpudl.autograd import gradcheck, gradgradcheck


def leaf(*shape: int, seed: int = 0, device: str = "cpu") -> gpudl.Tensor:
    return gpudl.tensor(np.random.default_rng(seed).normal(size=shape), requires_grad=True, device=device)


@pytest.fixture(params=["cpu", pytest.param("emulator", marks=pytest.mark.emulator)])
def device(request: Any) -> str:
    return request.param


# ------------------------------------------------------------------------------------------------------------------- versions
def test_views_share_one_version_and_every_write_advances_it() -> None:
    x = gpudl.zeros(3, 4)
    v, d = x[1], x.detach()
    assert x._version == v._version == d._version == 0
    v.add_(1)
    x.zero_()
    d[0] = 2.0
    x[:, [0, 2]] = 1.0
    assert x._version == v._version == d._version == 4
    assert x.data._version == 0  # .data stands outside the check
    assert (x * 1)._version == 0 and x.reshape(12)._version == 4 and x.T.reshape(12)._version == 0  # that reshape is a copy


def test_changing_a_saved_value_is_an_error_that_names_the_op() -> None:
    x = leaf(3)
    y = x * 2
    z = y * y
    y.add_(1)
    with pytest.raises(RuntimeError, match=r"mul: \w+ \(3,\) was changed in place after the forward that needs it .*clone\(\)"):
        z.sum().backward()


def test_changing_a_saved_value_through_a_view_or_detach_is_an_error() -> None:
    for change in (
        lambda y: y[0].zero_(),
        lambda y: y.detach().T.mul_(3),
        lambda y: y.__setitem__((0, 1), 5.0),
        lambda y: y.view(-1).copy_(gpudl.zeros(6)),
    ):
        y = leaf(2, 3) * 2
        z = (y * y).sum()
        change(y)
        with pytest.raises(RuntimeError, match="was changed in place"):
            z.backward()


def test_changing_what_nothing_needs_is_fine() -> None:
    x = leaf(3)
    y = x + 1
    z = y + 1  # adding saves nothing
    y.mul_(2)
    (z + y).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [3, 3, 3])


# ------------------------------------------------------------------------------------------------------------------- leaves
@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.add_(1),
        lambda x: x.zero_(),
        lambda x: x.copy_(gpudl.zeros(2, 3)),
        lambda x: x[0].mul_(2),
        lambda x: x.__setitem__(0, 1.0),
        lambda x: x.__setitem__([0, 0], 1.0),
        lambda x: x.T.fill_(2),
        lambda x: x.view(-1)[2:].sub_(1),
        lambda x: x.scatter_(0, gpudl.zeros(1, 3, dtype=gpudl.int64), 1.0),
    ],
)
def test_a_leaf_that_requires_a_gradient_cannot_be_changed(change: Callable[[gpudl.Tensor], Any]) -> None:
    x = gpudl.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], requires_grad=True)
    with pytest.raises(RuntimeError, match=r"leaf that requires a gradient.*no_grad"):
        change(x)
    np.testing.assert_array_equal(x.detach().numpy(), [[1, 2, 3], [4, 5, 6]])
    assert x._version == 0
    with gpudl.no_grad():
        change(x)
    assert x._version == 1 and x.requires_grad and x.is_leaf


# ------------------------------------------------------------------------------------------------------------------- graphs
def through(change: Callable[..., Any], *shapes: tuple[int, ...], device: str = "cpu") -> None:
    """gradcheck and gradgradcheck of a function that starts with clones of its inputs and changes them in place."""

    def function(*leaves: gpudl.Tensor) -> Any:
        return change(*[t.clone() for t in leaves])

    inputs = [leaf(*s, seed=i, device=device) for i, s in enumerate(shapes)]
    gradcheck(function, inputs)
    if device == "cpu":
        gradgradcheck(function, inputs)


def views_then_base(x: Any, w: Any) -> Any:
    row, flat = x[1], x.view(-1)
    row.mul_(w)
    return row * 2, flat * x.reshape(-1), x.T


def base_then_views(x: Any, w: Any) -> Any:
    row, column, turned = x[1], x[:, 1], x.T[1:]
    x.mul_(w)
    return row * row, column, turned * 3


def view_of_view(x: Any, w: Any) -> Any:
    part = x.T[1:].unsqueeze(0)
    inner = part[0, 0]
    inner.add_(w[:2] * w[1:])
    part.mul_(2)
    return x * x, inner, part


def assigned(x: Any, w: Any) -> Any:
    x[0] = w * w
    x[:, 1] += w[0]
    x[1, 2] = x[0, 0] * 3
    return x * x


def arrays(x: Any, w: Any) -> Any:
    x[[1, 0], [2, 2]] = w[:2] * 3
    x[:, np.array([True, False, False])] = w[1]
    x[gpudl.tensor([0])] *= w
    return x * x


def masked(x: Any, w: Any) -> Any:
    mask = gpudl.tensor([[True, False, True], [False, False, True]], device=x.device)
    x[mask] = w[0] * 2
    x[~mask] = w * w
    return x * x


def overlapping(x: Any, w: Any) -> Any:
    x[:, 1:] = x[:, :2]
    x[0] = w
    return x * x


def broadcast(x: Any, w: Any) -> Any:
    x[...] = w
    x[:, :1] = w[:1].view(1, 1, 1)
    return x * x


def diagonals(x: Any, w: Any) -> Any:
    x.diagonal().mul_(w[:2])
    return x * x


def scattered(x: Any, w: Any) -> Any:
    return x.scatter(1, gpudl.tensor([[2], [0]], device=x.device), w.reshape(3, 1)[:2]) * x


def cut_then_written(x: Any, w: Any) -> Any:
    y = x * w  # x is needed by this op, so only the product changes
    y.zero_()
    y[0].add_(w)
    return y * y, y.sum()


def from_constant(x: Any, w: Any) -> Any:
    made = gpudl.zeros(4, 3, dtype=w.dtype, device=w.device)
    early = made[2]
    for i in range(3):
        made[i] = w * (i + 1)
    made[3].copy_(x[0] * x[1])
    return made * made, early


CASES = [
    views_then_base,
    base_then_views,
    view_of_view,
    assigned,
    arrays,
    masked,
    overlapping,
    broadcast,
    diagonals,
    scattered,
    cut_then_written,
    from_constant,
]


@pytest.mark.parametrize("change", CASES)
def test_gradients_through_in_place_changes(change: Callable[..., Any], device: str) -> None:
    through(change, (2, 3), (3,), device=device)


def test_values_of_in_place_changes_are_those_of_numpy(device: str) -> None:
    a, w = np.arange(12.0).reshape(3, 4), np.array([1.0, -2.0, 3.0, 0.5])
    x, want = gpudl.tensor(a, device=device), a.copy()
    for t, v in ((x, gpudl.tensor(w, device=device)), (want, w)):
        t[0] = v
        t[1:, 2] += v[:2]
        t[:, [3, 0]] = t[:, [0, 3]]
        t[:, 1:] = t[:, :3]  # source and target overlap
        t[[0, 2], [1, 1]] = -7.0
        t[t[:, 0] > 2] = 0.25
    np.testing.assert_array_equal(x.cpu().numpy(), want)


def test_random_programs_of_views_and_changes_agree_with_differences() -> None:
    """Views made at any moment, changed at any moment, read at any moment: the gradient is that of the values."""
    checked = 0
    for seed in range(60):
        rng = random.Random(seed)
        program = [(rng.randrange(9), rng.choice("vvvvmascwir"), rng.randrange(7), rng.randrange(6)) for _ in range(rng.randrange(3, 9))]

        def run(a: Any, w: Any, program: Any = program) -> Any:
            tensors, out = [a.clone()], []
            for i, what, v, r in program:
                x = tensors[i % len(tensors)]
                if what == "v":
                    forms = [lambda x, r: x[r % x.shape[0]], lambda x, r: x.reshape(-1), lambda x, r: x.transpose(0, -1), lambda x, r: x[..., r % 3 :],
                             lambda x, r: x.unsqueeze(0), lambda x, r: x[::2], lambda x, r: x.diagonal() if x.ndim == 2 else x.view(x.shape)]  # fmt: skip
                    tensors.append(forms[v](x, r) if x.ndim else x.reshape(1))
                elif what == "m":
                    x.mul_(1.5 + r)
                elif what == "a":
                    x.add_(w[r] * 0.3)
                elif what == "s" and x.ndim:
                    x[r % x.shape[0]] = w[r] * 2
                elif what == "c":
                    x.copy_(x * 0.5 + w[r])
                elif what == "w" and x.ndim:
                    x[[0]] = w[r]
                elif what == "i" and x.ndim:
                    x[r % x.shape[0]] += w[v % 6]
                elif what == "r":
                    out.append((x * (1.0 + r)).sum())
            return *[(t * (k + 1.0)).sum() for k, t in enumerate(tensors)], *out

        gradcheck(run, [leaf(4, 6, seed=seed), leaf(6, seed=seed + 1)])
        checked += 1
    assert checked == 60


def test_a_leaf_that_is_copied_in_gets_its_gradient(device: str) -> None:
    w = leaf(3, device=device)
    x = gpudl.zeros(3, dtype=gpudl.float64, device=device)
    x.copy_(w)
    assert x.grad_fn is not None
    (x * 2).sum().backward()
    np.testing.assert_array_equal(w.grad.cpu().numpy(), [2, 2, 2])
    v = gpudl.tensor(5.0, dtype=gpudl.float64, device=device, requires_grad=True)
    x.fill_(v)
    x.sum().backward()
    assert v.grad.item() == 3 and w.grad.cpu().tolist() == [2, 2, 2]


def test_overwriting_keeps_the_graph_with_zeros() -> None:
    x = leaf(3)
    y = x * 2
    y.zero_()
    assert y.requires_grad
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.zeros(3))


# ------------------------------------------------------------------------------------------------------------------- what is refused
def test_a_view_made_outside_the_graph_cannot_be_changed_inside_it() -> None:
    y = leaf(2, 3) * 1
    with gpudl.no_grad():
        v = y[0]
    with pytest.raises(RuntimeError, match=r"add_: this view was not made by a view operation inside the graph.*write base\[\.\.\.\]"):
        v.add_(1)
    assert y._version == 0


def test_detached_views_change_values_alone() -> None:
    x = leaf(2, 3)
    y = x + 1
    y.detach()[0].zero_()
    assert y.grad_fn.name == "add" and (y.detach().numpy()[0] == 0).all()
    z = gpudl.zeros(2)
    w = leaf(2)
    d = z.detach()
    d.add_(w.float())
    assert d.requires_grad and not z.requires_grad


def test_expanded_memory_cannot_be_written(device: str) -> None:
    x = gpudl.zeros(3, 1, device=device).expand(3, 4)
    with pytest.raises(RuntimeError, match=r"elements of this expanded tensor \(3, 4\) share memory; clone\(\)"):
        x.add_(1)
    with pytest.raises(RuntimeError, match="share memory"):
        x[0, 1] = 2.0


def test_views_do_not_detach_in_place() -> None:
    y = leaf(2, 3) * 1
    with pytest.raises(RuntimeError, match=r"detach_: this tensor is a view"):
        y[0].detach_()


def test_a_result_that_does_not_fit_is_refused_before_anything_is_written() -> None:
    x = gpudl.ones(3)
    with pytest.raises(ValueError, match=r"add_: the result is \(2, 3\) and does not fit in place into \(3,\)"):
        x.add_(gpudl.ones(2, 3))
    i = gpudl.ones(3, dtype=gpudl.int64)
    with pytest.raises(RuntimeError, match=r"mul_: the result is float32 and cannot be written into int64"):
        i.mul_(0.5)
    assert x._version == i._version == 0


def test_dead_views_are_forgotten() -> None:
    x = gpudl.zeros(10)
    for _ in range(1000):
        x[3:5]
    assert len(x._views) == 0
    kept = x[1]
    assert len(x._views) == 1 and kept._is_tracked()


def test_a_view_keeps_the_gradient_walk_flat() -> None:
    """A thousand assignments into one tensor, each a node of the graph, and no recursion."""
    w = leaf(4)
    x = gpudl.zeros(1000, 4, dtype=gpudl.float64)
    for i in range(1000):
        x[i] = w
    x.sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), np.full(4, 1000.0))


def test_ops_are_functions_too() -> None:
    x = gpudl.zeros(3)
    ops.setitem(x, 1, 2.0)
    assert ops.getitem(x, 1).item() == 2.0


def test_source_and_target_of_a_copy_may_overlap(device: str) -> None:
    a = np.arange(16.0).reshape(4, 4)
    x = gpudl.tensor(a, device=device)
    x.copy_(x.T)
    np.testing.assert_array_equal(x.cpu().numpy(), a.T)
    x[1:].copy_(x[:-1])
    np.testing.assert_array_equal(x.cpu().numpy(), a.T[[0, 0, 1, 2]])


def test_shapes_change_in_place() -> None:
    x = gpudl.arange(6).reshape(2, 3)
    memory = x.data_ptr()
    y = x.t_()
    assert y is x and x.shape == (3, 2) and x.tolist() == [[0, 3], [1, 4], [2, 5]] and x.data_ptr() == memory
    assert x.unsqueeze_(0).shape == (1, 3, 2) and x.transpose_(0, 2).shape == (2, 3, 1) and x.squeeze_().shape == (2, 3)
    assert x.swapaxes_(0, 1).shape == (3, 2) and x.unsqueeze_(-1).squeeze_(dim=-1).shape == (3, 2)
    x[0, 1] = 9
    assert x.t().tolist() == [[0, 1, 2], [9, 4, 5]]
    with pytest.raises(gpudl.ShapeError, match=r"t: the input is \(1, 3, 2\)"):
        x.unsqueeze_(0).t_()


def test_shapes_change_in_place_inside_a_graph() -> None:
    x = gpudl.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    y = x * 2
    row = y[1]  # a view of the layout before
    y.t_()
    assert y.shape == (3, 2) and row.tolist() == [6, 8, 10]
    y.mul_(gpudl.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]], dtype=y.dtype))  # seen through both layouts
    assert row.tolist() == [60, 160, 300] and y.tolist() == [[0, 60], [4, 160], [12, 300]]
    row.mul_(2)
    assert y.tolist() == [[0, 120], [4, 320], [12, 600]]
    column = y[:, 1]
    (g,) = gpudl.autograd.grad(y.sum() + 3 * row.sum() + 5 * column.sum(), x)
    assert g.tolist() == [[2, 4, 6], [9 * 40, 9 * 80, 9 * 120]]
    y = x * 2
    view = y[0]
    view.unsqueeze_(0)  # of a view: the base sees what is written
    view.mul_(3)
    assert view.shape == (1, 3) and y.tolist() == [[0, 6, 12], [6, 8, 10]]
    (g,) = gpudl.autograd.grad((y * y).sum(), x)
    assert g.tolist() == [[0, 72, 144], [24, 32, 40]]
    with pytest.raises(RuntimeError, match="t_: a leaf that requires a gradient, or a view of one, cannot be changed in place; use t, or detach"):
        x.t_()
    with pytest.raises(RuntimeError, match="unsqueeze_: a leaf that requires a gradient, or a view of one"):
        x[0].unsqueeze_(0)
    with gpudl.no_grad():
        x.t_()
    assert x.shape == (3, 2) and x.requires_grad and x.is_leaf
    (x * gpudl.tensor([[1.0], [2.0], [3.0]], dtype=x.dtype)).sum().backward()
    assert x.grad.tolist() == [[1, 1], [2, 2], [3, 3]]


@pytest.mark.parametrize("change", ["y.tan_()", "y.logit_()", "y.cumprod_(0)", "y.hypot_(w)", "y.xlogy_(w)", "y.mul_(w.double())", "y.div_(w.double())"])
def test_backward_reads_what_a_change_in_place_has_overwritten(change: str) -> None:
    grads = []
    for source in (change, change.replace("_(", "(")):
        x, w = (gpudl.tensor(v, requires_grad=True) for v in ([0.2, 0.6, 0.7], [0.5, 0.3, 0.9]))
        y = x * 1
        out = eval(source, {"y": y, "w": w})
        (out * gpudl.tensor([1.0, -2.0, 3.0])).sum().backward()
        grads.append([t.grad.tolist() for t in (x, w) if t.grad is not None])
    np.testing.assert_allclose(grads[0], grads[1], rtol=1e-6)
