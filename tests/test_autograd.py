"""The graph and the walk through it."""

from __future__ import annotations

import gc
import threading
import tracemalloc
import weakref

import numpy as np
import pytest

import gpudl
from gpudl.autograd import gradcheck, gradgradcheck


def leaf(*shape: int, seed: int = 0) -> gpudl.Tensor:
    return gpudl.tensor(np.random.default_rng(seed).standard_normal(shape), requires_grad=True)


def test_diamonds_and_repeated_use_add_up() -> None:
    x = gpudl.tensor([2.0, -3.0], requires_grad=True)
    y = x * x + x
    (y * x + y).sum().backward()  # x^3 + 2 x^2 + x
    np.testing.assert_array_equal(x.grad.numpy(), 3 * np.array([2.0, -3.0]) ** 2 + 4 * np.array([2.0, -3.0]) + 1)


def test_gradients_accumulate_in_the_same_buffer() -> None:
    x = leaf(3)
    (x * 2).sum().backward()
    buffer, where = x.grad, x.grad.data_ptr()
    (x * 3).sum().backward()
    assert x.grad is buffer and x.grad.data_ptr() == where
    np.testing.assert_array_equal(x.grad.numpy(), [5, 5, 5])
    x.grad = None
    (x * 4).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [4, 4, 4])


def test_grad_buffer_is_not_the_incoming_gradient() -> None:
    x, dy = leaf(3), gpudl.ones(3, dtype=gpudl.float64)
    x.clone().backward(dy)
    x.grad.fill_(7)
    np.testing.assert_array_equal(dy.numpy(), [1, 1, 1])


def test_a_chain_of_ten_thousand_ops() -> None:
    x = leaf(2)
    y = x
    for _ in range(10_000):
        y = y + 1
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [1, 1])
    del y
    gc.collect()


def test_second_backward_needs_retain_graph() -> None:
    x = leaf(3)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), 4 * x.detach().numpy())
    with pytest.raises(RuntimeError, match="freed; pass retain_graph=True"):
        y.backward()


def test_create_graph_gives_gradients_of_gradients() -> None:
    x = leaf(4)
    (g,) = gpudl.autograd.grad((x**3).sum(), x, create_graph=True)
    (gg,) = gpudl.autograd.grad(g.sum(), x)
    np.testing.assert_allclose(gg.numpy(), 6 * x.detach().numpy())
    gradgradcheck(lambda a: (a.exp() * a).sum(), [leaf(3)])


def test_grad_outputs_are_differentiable_too() -> None:
    x, v = leaf(3), leaf(3, seed=1)
    (g,) = gpudl.autograd.grad(x * x, x, v, create_graph=True)
    (dv,) = gpudl.autograd.grad(g.sum(), v)
    np.testing.assert_allclose(dv.numpy(), 2 * x.detach().numpy())


def test_grad_leaves_dot_grad_alone_and_names_unused_inputs() -> None:
    x, z = leaf(3), leaf(2)
    y = (x * 2).sum()
    gpudl.autograd.grad(y, x, retain_graph=True)
    assert x.grad is None
    with pytest.raises(RuntimeError, match=r"input 1 \(2,\) was not used"):
        gpudl.autograd.grad(y, [x, z], retain_graph=True)
    assert gpudl.autograd.grad(y, [x, z], allow_unused=True, retain_graph=True)[1] is None
    np.testing.assert_array_equal(gpudl.autograd.grad(y, [x, z], materialize_grads=True)[1].numpy(), [0, 0])


def test_grad_of_an_intermediate_and_backward_inputs() -> None:
    x, w = leaf(3), leaf(3, seed=1)
    h = x * w
    y = (h * h).sum()
    (dh,) = gpudl.autograd.grad(y, h, retain_graph=True)
    np.testing.assert_allclose(dh.numpy(), 2 * h.detach().numpy())
    y.backward(inputs=[w])
    assert x.grad is None
    np.testing.assert_allclose(w.grad.numpy(), (2 * h * x).detach().numpy())


def test_gradient_argument_is_checked() -> None:
    x = leaf(3)
    with pytest.raises(RuntimeError, match="can be left out only for a scalar"):
        (x * 2).backward()
    with pytest.raises(gpudl.ShapeError, match=r"the gradient is \(2,\) and the tensor is \(3,\)"):
        (x * 2).backward(gpudl.ones(2))
    with pytest.raises(RuntimeError, match="does not require a gradient"):
        x.detach().sum().backward()
    with pytest.raises(RuntimeError, match="only floating tensors have gradients"):
        gpudl.tensor([1, 2]).requires_grad_()


def test_grad_of_no_inputs_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="grad: no inputs are given"):
        gpudl.autograd.grad(leaf(3).sum(), [])


def test_assigning_requires_grad_is_checked_like_the_method() -> None:
    x, whole = gpudl.ones(2), gpudl.tensor([1, 2])
    x.requires_grad = True
    y = x * 2
    with pytest.raises(RuntimeError, match="only floating tensors have gradients"):
        whole.requires_grad = True
    with pytest.raises(RuntimeError, match="only a leaf's flag can be cleared"):
        y.requires_grad = False
    assert y.requires_grad and not whole.requires_grad


def test_no_grad_enable_grad_and_decorators() -> None:
    x = leaf(2)
    with gpudl.no_grad():
        assert not (x * 2).requires_grad and not gpudl.is_grad_enabled()
        with gpudl.enable_grad():
            assert (x * 2).requires_grad
        assert not gpudl.is_grad_enabled()

    @gpudl.no_grad()
    def quiet(a: gpudl.Tensor) -> gpudl.Tensor:
        return a * 2

    @gpudl.no_grad
    def bare(a: gpudl.Tensor) -> gpudl.Tensor:
        return a * 2

    assert not quiet(x).requires_grad and not bare(x).requires_grad and gpudl.is_grad_enabled()
    gpudl.set_grad_enabled(False)
    assert not gpudl.is_grad_enabled()
    gpudl.set_grad_enabled(True)
    with gpudl.set_grad_enabled(False):
        assert not gpudl.is_grad_enabled()
    assert gpudl.is_grad_enabled()
    with gpudl.inference_mode():
        assert not (x * 2).requires_grad


def test_modes_do_not_reach_other_threads() -> None:
    seen: list[object] = []
    with gpudl.no_grad(), gpudl.kernels.use("softmax.forward", "01_naive"):
        thread = threading.Thread(target=lambda: seen.extend([gpudl.is_grad_enabled(), dict(gpudl.kernels.picked())]))
        thread.start()
        thread.join()
    assert seen == [True, {}]


def test_detach_shares_memory_and_cuts_the_graph() -> None:
    x = leaf(3)
    y = (x * 2).detach()
    assert not y.requires_grad and y.is_leaf
    z = x.detach()
    z.fill_(5)
    np.testing.assert_array_equal(x.detach().numpy(), [5, 5, 5])


def test_hooks_see_the_whole_gradient_and_may_replace_it() -> None:
    x = leaf(3)
    seen = []
    handle = x.register_hook(lambda g: seen.append(g.numpy().copy()))
    h = x * 2
    h.register_hook(lambda g: g * 10)
    h.retain_grad()
    (h.sum() + x.sum()).backward()
    np.testing.assert_array_equal(x.grad.numpy(), [21, 21, 21])
    np.testing.assert_array_equal(seen, [[21, 21, 21]])  # once, with both uses added
    np.testing.assert_array_equal(h.grad.numpy(), [10, 10, 10])
    handle.remove()
    (x * 1).sum().backward()
    assert len(seen) == 1


def test_in_place_change_of_a_saved_value_is_an_error_that_names_the_op() -> None:
    x = leaf(3)
    h = x * 1
    y = (h * h).sum()
    h.mul_(2)
    with pytest.raises(RuntimeError, match=r"mul: .* was changed in place after the forward that needs it \(version 1, expected 0\)"):
        y.backward()


def test_versions_are_shared_by_views() -> None:
    x = leaf(4)
    h = x * 1
    y = (h * h).sum()
    h.detach()[1:3].fill_(0)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_a_leaf_that_requires_a_gradient_cannot_change_in_place() -> None:
    x = leaf(3)
    with pytest.raises(RuntimeError, match="leaf that requires a gradient"):
        x.mul_(2)
    with gpudl.no_grad():
        x.mul_(0)
    np.testing.assert_array_equal(x.detach().numpy(), [0, 0, 0])


def test_in_place_ops_are_part_of_the_graph() -> None:
    x = leaf(3)
    h = x * 2
    h.add_(1)
    h.mul_(3)
    h.sub_(x)
    h.sum().backward()  # 3 (2x + 1) - x
    np.testing.assert_array_equal(x.grad.numpy(), [5, 5, 5])


def test_memory_is_freed_as_the_walk_passes() -> None:
    size, depth = 100_000, 20
    x = gpudl.tensor(np.ones(size), requires_grad=True)
    y = x
    for _ in range(depth):
        y = y * y  # saves its input
    loss = y.sum()
    del y
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    loss.backward()
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak - before <= 6 * 8 * size  # a few gradients at a time, never one per op
    assert after - before <= 2 * 8 * size  # x.grad


def test_a_graph_that_is_dropped_goes_without_the_collector() -> None:
    x = leaf(3)
    y = (x * x).softmax(0)
    node = weakref.ref(y._node)
    gc.disable()
    try:
        del y
        assert node() is None
    finally:
        gc.enable()


def test_backward_keeps_the_rung_of_its_forward_context() -> None:
    with gpudl.kernels.use("softmax.backward", "01_naive"):
        y = leaf(2, 3).softmax(1)
    assert y._node.picked == {"softmax.backward": "01_naive"}


def test_anomaly_mode_names_the_forward_line_of_the_first_nan() -> None:
    x = gpudl.tensor([-1.0, 4.0], requires_grad=True)
    with gpudl.autograd.detect_anomaly():
        y = x.log()  # the line
        z = (y * 2).sum()
        with pytest.raises(
            RuntimeError, match=r"log: the first NaN was made by this op's forward at .*test_autograd.py.*y = x.log\(\)  # the line"
        ):
            (z * z).backward()
    x = gpudl.tensor([0.0], requires_grad=True)
    with (
        gpudl.autograd.detect_anomaly(),
        pytest.raises(RuntimeError, match=r"its backward made the first NaN; its forward ran at .*test_autograd"),
    ):
        (x.sqrt() * 0).sum().backward()


@pytest.mark.parametrize("device", ["cpu", pytest.param("emulator", marks=pytest.mark.emulator)])
def test_anomaly_mode_finds_the_first_nan_wherever_it_is(device: str) -> None:
    def made(values: list[float], grad: bool = True) -> gpudl.Tensor:
        return gpudl.tensor(values, device=device, requires_grad=grad)

    with gpudl.autograd.detect_anomaly():
        x = made([1000.0])
        y = x.exp() * 0.0  # above the op whose backward fails: inf * 0
        with pytest.raises(
            RuntimeError,
            match=r"mul: the first NaN was made by this op's forward at .*y = x.exp\(\) \* 0.0(.|\n)*in the backward of exp, whose",
        ):
            (y + 1).sum().backward()
        side = made([-1.0])
        late = side.sqrt()  # in another branch than the one whose backward fails first
        with pytest.raises(RuntimeError, match=r"sqrt: the first NaN was made by this op's forward at .*late = side.sqrt\(\)"):
            (x.exp() * 0.0 + late).sum().backward()
        weight = made([-1.0], grad=False).log()  # a constant, outside the graph
        with pytest.raises(RuntimeError, match=r"log: the first NaN was made by this op's forward at .*weight = made.*outside the graph"):
            (x * weight).sum().backward()
        data = made([float("nan")], grad=False)
        with pytest.raises(RuntimeError, match=r"mul: the first NaN was in input 1 of this op, whose forward ran at .*z = x \* data"):
            z = x * data
            (z * 2).sum().backward()
        buffer = made([1.0], grad=False)
        buffer.sub_(2.0).log_()  # in place
        with pytest.raises(RuntimeError, match=r"log: the first NaN was made by this op's forward at .*buffer.sub_\(2.0\).log_\(\)"):
            (x * buffer).sum().backward()
        with pytest.raises(RuntimeError, match=r"the gradient \(1,\) that backward starts from holds a NaN"):
            (x * 2).backward(made([float("nan")], grad=False))
        big = made([1.0])
        both = big * 2
        inf = made([float("inf")], grad=False)
        with pytest.raises(
            RuntimeError, match=r"the gradient that reaches mul, .* both = big \* 2, holds the first NaN: \+inf and -inf met"
        ):
            gpudl.autograd.backward([both * 1, both * 1], [inf, -inf])
        clean = made([2.0])
        (clean.log() * 3).sum().backward()
        assert clean.grad is not None and clean.grad.item() == 1.5


def test_anomaly_mode_and_functions_of_users() -> None:
    class Rooted(gpudl.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return (x - 5).sqrt()  # inside

        @staticmethod
        def backward(ctx, dy):
            return dy / (ctx.saved_tensors[0] * 0)

    x = leaf(2)
    with gpudl.autograd.detect_anomaly():
        y = Rooted.apply(x)
        with pytest.raises(RuntimeError, match=r"sqrt: the first NaN was made by this op's forward at .*# inside"):
            (y * y).sum().backward()
        with pytest.raises(
            RuntimeError, match=r"Rooted: its backward made the first NaN; its forward ran at .*y = Rooted.apply\(x \+ 100\)"
        ):
            y = Rooted.apply(x + 100)
            y.backward(gpudl.zeros(2, dtype=y.dtype))


def test_gradcheck_finds_wrong_gradients() -> None:
    class Wrong(gpudl.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, dy):
            return dy * ctx.saved_tensors[0]  # the factor 2 is missing

    with pytest.raises(RuntimeError, match="backward gives"):
        gradcheck(Wrong.apply, [leaf(3)])
    assert not gradcheck(Wrong.apply, [leaf(3)], raise_exception=False)
    assert gradcheck(lambda x: x * x, [leaf(3)])


def test_gradcheck_notices_kinks_nan_and_float32() -> None:
    with pytest.raises(RuntimeError, match="not differentiable at this point"):
        gradcheck(lambda x: x.abs(), [gpudl.tensor(np.array([0.0, 1.0]), requires_grad=True)])
    with pytest.raises(RuntimeError, match="NaN"):
        gradcheck(lambda x: x.log(), [gpudl.tensor(np.array([-1.0]), requires_grad=True)])
    with pytest.raises(TypeError, match="need float64"):
        gradcheck(lambda x: x * 2, [gpudl.tensor([1.0], requires_grad=True)])
    with pytest.raises(ValueError, match="no input requires a gradient"):
        gradcheck(lambda x: x * 2, [gpudl.tensor(np.ones(2))])


def test_function_with_several_outputs_and_double_backward() -> None:
    class SinCos(gpudl.autograd.Function):
        @staticmethod
        def forward(ctx, x, scale):
            ctx.save_for_backward(x)
            ctx.scale = scale
            return (x * scale).sin(), (x * scale).cos()

        @staticmethod
        def backward(ctx, ds, dc):
            (x,) = ctx.saved_tensors
            return ctx.scale * (ds * (x * ctx.scale).cos() - dc * (x * ctx.scale).sin()), None

    assert gradcheck(lambda x: SinCos.apply(x, 2.0), [leaf(3)])
    assert gradgradcheck(lambda x: SinCos.apply(x, 2.0), [leaf(3)])
    x = leaf(3)
    s, _ = SinCos.apply(x, 1.0)
    s.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.cos(x.detach().numpy()))
    assert "SinCos" in repr(s)


def test_function_checks_what_backward_returns() -> None:
    class Short(gpudl.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            return x + y

        @staticmethod
        def backward(ctx, dy):
            return dy

    with pytest.raises(RuntimeError, match=r"Short.backward: returned 1 gradient\(s\) for 2 argument\(s\)"):
        Short.apply(leaf(2), leaf(2)).sum().backward()


def test_draw_shows_ops_shapes_dtypes_and_leaves(tmp_path) -> None:
    x = leaf(2, 3)
    drawing = gpudl.autograd.draw(x.softmax(1).sum(), {"x": x})
    for text in (drawing.dot, drawing.svg):
        assert "softmax" in text and "[2, 3] float64" in text and ">x<" in text.replace('"x\\n', ">x<")
    assert drawing.save(tmp_path / "graph.svg").read_text().startswith("<svg")
    with pytest.raises(ValueError, match="suffix"):
        drawing.save(tmp_path / "graph.jpg")
    with pytest.raises(RuntimeError, match="no graph"):
        gpudl.autograd.draw(x.detach())


@pytest.mark.emulator
def test_draw_names_the_rung_and_backward_runs_the_picked_one() -> None:
    x = gpudl.tensor([[0.0, 1.0, 2.0]], device="emulator", requires_grad=True)
    with gpudl.kernels.use("softmax.forward", "01_naive"), gpudl.kernels.use("softmax.backward", "01_naive"):
        y = x.softmax(1)
    assert "forward: 01_naive" in gpudl.autograd.draw(y).dot
    naive, warp = gpudl.kernels.ladder("softmax.backward")["01_naive"], gpudl.kernels.ladder("softmax.backward")["02_warp_row"]
    before = naive.launches, warp.launches
    y.sum().backward()
    assert (naive.launches, warp.launches) == (before[0] + 1, before[1])


def test_devices_do_not_mix() -> None:
    a, b = gpudl.ones(2), gpudl._tensor.wrap(np.ones(2, np.float32), gpudl.device("emulator"))
    with pytest.raises(gpudl.DeviceError, match=r"add: .*input 0 on cpu, input 1 on emulator.*Move them with .to"):
        a + b
