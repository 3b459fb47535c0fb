"""Indexing, writing by index, gather and scatter, joining, padding and sorting: against NumPy, with gradients, messages and edge cases."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpudl
from gpudl import kernels, ops
from gpudl.autograd import gradcheck, gradgradcheck
from gpudl.nn import functional as F

A = np.arange(60.0).reshape(3, 4, 5)
nan = math.nan


@pytest.fixture(params=["cpu", pytest.param("emulator", marks=pytest.mark.emulator)])
def device(request: Any) -> str:
    return request.param


def host(t: gpudl.Tensor) -> np.ndarray:
    return t.detach().cpu().numpy()


def convert(index: Any, make: Callable[[np.ndarray], Any]) -> Any:
    if isinstance(index, tuple):
        return tuple(convert(i, make) for i in index)
    return make(index) if isinstance(index, np.ndarray) else index


INDICES = [  # where NumPy and PyTorch agree
    0,
    -1,
    (1, -2),
    (Ellipsis, 2),
    (slice(None), slice(1, 3), slice(None, None, 2)),
    (slice(2, 1),),
    (None, 1, None, Ellipsis, None),
    (),
    Ellipsis,
    [0, 2],
    [-1, 0, 0],
    np.array([[0, 1], [2, 0]]),
    (slice(None), [0, 3]),
    (slice(None), slice(None), np.array([[4], [0]])),
    ([0, 1], [2, 3]),
    ([[0], [1]], [2, 3]),
    ([0, 1], slice(None), [2, 3]),  # apart: the result's first axis
    (slice(None), [0, 1], [2, 3]),
    (slice(1, None), [1, 1], None, slice(0, 2)),
    np.array([True, False, True]),
    (slice(None), np.array([True, False, True, True])),
    A % 7 == 0,
    (A[..., 0] > 10, slice(1, 3)),
    (slice(None), A[0] > 10),
    (np.array([True, False, True]), [0, 1]),
    np.zeros(3, bool),
    np.zeros(0, np.int64),
    [],
    (Ellipsis, [0, 1], slice(None)),
    True,
    False,
]


@pytest.mark.parametrize("i", range(len(INDICES)))
def test_reading_and_its_gradient(i: int, device: str) -> None:
    index = INDICES[i]
    want = A[index]
    for make in (lambda v: v, lambda v: gpudl.tensor(v, device=device)):
        x = gpudl.tensor(A, device=device, requires_grad=True)
        y = x[convert(index, make)]
        assert y.shape == want.shape
        np.testing.assert_array_equal(host(y), want)
        dy = np.random.default_rng(i).normal(size=want.shape)
        y.backward(gpudl.tensor(dy, device=device))
        dx = np.zeros_like(A)
        np.add.at(dx, index, dy)
        np.testing.assert_allclose(host(x.grad), dx, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("i", range(len(INDICES)))
def test_writing(i: int, device: str) -> None:
    index, want = INDICES[i], A.copy()
    for value in (7.0, np.arange(1.0, 1 + A[index].shape[-1]) if A[index].ndim else 3.0):
        if isinstance(index, list) and len(set(index)) < len(index) and not np.isscalar(value):
            value = 1.0
        x = gpudl.tensor(A, device=device)
        x[convert(index, lambda v: gpudl.tensor(v, device=device))] = (
            gpudl.tensor(value, device=device) if isinstance(value, np.ndarray) else value
        )
        want = A.copy()
        want[index] = value
        np.testing.assert_array_equal(host(x), want)
        assert x._version <= 1 and (x._version == 1 or A[index].size == 0)


def test_random_indices_agree_with_numpy() -> None:
    for seed in range(300):
        rng, nr = random.Random(seed), np.random.default_rng(seed)
        shape = tuple(rng.randrange(1, 5) for _ in range(rng.randrange(1, 5)))
        a, index = nr.normal(size=shape), []
        for n in shape:
            kind = rng.choice("sSnaAm")
            if kind == "n":
                index += [None, slice(None)]
            elif kind in "sS":
                index.append(
                    slice(rng.choice([None, rng.randrange(-n, n)]), rng.choice([None, rng.randrange(-n, n + 1)]), rng.choice([None, 1, 2]))
                )
            elif kind == "m":
                index.append(nr.integers(0, 2, size=n).astype(bool))
            else:
                index.append(nr.integers(-n, n, size=3 if kind == "a" else (2, 1)))
        index = tuple(index)
        try:
            want = a[index]
        except IndexError:
            with pytest.raises(IndexError):
                gpudl.tensor(a)[index]
            continue
        got = gpudl.tensor(a)[index]
        assert got.shape == want.shape, index
        np.testing.assert_array_equal(got.numpy(), want)


def test_gradients_of_gradients_of_reading() -> None:
    x = gpudl.tensor(np.random.default_rng(0).normal(size=(3, 4)), requires_grad=True)
    for index in ([0, 2, 0], (slice(None), [1, 1, 3]), ([0, 1], [1, 1]), (slice(1, None), 2)):
        gradcheck(lambda x, i=index: x[i] * x[i], [x])
        gradgradcheck(lambda x, i=index: x[i] * x[i], [x])


def test_an_integer_beside_index_arrays_selects_first_as_in_pytorch() -> None:
    assert gpudl.tensor(A)[0, :, [1, 2]].shape == (4, 2)  # NumPy moves the arrays to the front: (2, 4)


def test_duplicates_add_up_in_every_rung(device: str) -> None:
    index, dy = np.array([1, 1, 1, 0, 1, 3]), np.random.default_rng(0).normal(size=(6, 2))
    want = np.zeros((4, 2))
    np.add.at(want, index, dy)
    for rung in ("01_walk", "02_atomic"):
        x = gpudl.zeros(4, 2, dtype="float64", device=device, requires_grad=True)
        with kernels.use("index.backward", rung):
            x[gpudl.tensor(index, device=device)].backward(gpudl.tensor(dy, device=device))
        np.testing.assert_allclose(host(x.grad), want, rtol=1e-14)


def test_the_default_gradient_is_repeatable_while_there_are_few_indices() -> None:
    ladder = kernels.ladder("index.backward")
    assert [r.deterministic for r in ladder] == [True, False]
    sizes = dict(O=1, K=10, C=3, so=0, si=1, sc=0)
    assert ladder.choose(dict(sizes, I=4096), np.dtype("float32"), gpudl.device("emulator"), {}).name == "01_walk"
    assert ladder.choose(dict(sizes, I=4097), np.dtype("float32"), gpudl.device("emulator"), {}).name == "02_atomic"


@pytest.mark.parametrize(
    ("index", "kind", "message"),
    [
        (3, IndexError, r"indexing: index 3 is out of range for dimension 0 with size 3"),
        ((0, -5), IndexError, r"indexing: index -5 is out of range for dimension 1 with size 4"),
        ((slice(None), [0, 4]), IndexError, r"indexing: index 4 is out of range for dimension 1 with size 4"),
        (([0], slice(None), np.array([-6])), IndexError, r"indexing: index -6 is out of range for dimension 2 with size 5"),
        ((0, 0, 0, 0), IndexError, r"indexing: 4 indices for a tensor of 3 dimension\(s\) \(3, 4, 5\)"),
        ((Ellipsis, Ellipsis), IndexError, r"only one ellipsis"),
        (1.5, IndexError, r"an index is a float; integers, slices"),
        ("a", IndexError, r"an index is a str"),
        ([0.5], IndexError, r"an index is float64; integers, slices"),
        (np.array([0, 1], np.uint8), IndexError, r"uint8 index could mean places or a mask; use \.long\(\) or \.bool\(\)"),
        (np.ones((3, 3), bool), IndexError, r"the mask is \(3, 3\) and the axes 0 to 1 it selects from are \(3, 4\)"),
        (([0, 1], [0, 1, 2]), IndexError, r"index arrays of shapes \(2,\), \(3,\) do not broadcast together"),
        (slice(None, None, -1), ValueError, r"the slice step must be positive, not -1; use flip"),
        (slice(None, None, 0), ValueError, r"step"),
    ],
)
def test_messages(index: Any, kind: type[Exception], message: str) -> None:
    x = gpudl.tensor(A)
    with pytest.raises(kind, match=message):
        x[index]
    with pytest.raises(kind, match=message):
        x[index] = 1.0
    assert x._version == 0
    np.testing.assert_array_equal(x.numpy(), A)


@pytest.mark.emulator
def test_an_index_on_the_device_is_checked_there() -> None:
    x = gpudl.tensor(A, device="emulator")
    for call in (
        lambda i: x[i],
        lambda i: x.index_select(0, i),
        lambda i: x.gather(0, i.reshape(2, 1, 1)),
        lambda i: x.__setitem__(i, 0.0),
    ):
        with pytest.raises(IndexError, match=r"indexing: an index is out of range"):
            call(gpudl.tensor([0, 3], device="emulator"))
    assert x[gpudl.tensor([0, -3], device="emulator")].shape == (2, 4, 5)  # and the flag is clear again


@pytest.mark.parametrize("wrong", [-1, 3])
def test_only_indexing_counts_from_the_end(device: str, wrong: int) -> None:
    x, i = gpudl.zeros(3, 1, device=device), gpudl.tensor([[0], [wrong]], device=device)
    message = rf"index {wrong} is out of range for dimension 0 with size 3" if device == "cpu" else "an index is out of range"
    for op, call in {
        "gather": lambda: x.gather(0, i),
        "scatter": lambda: x.scatter(0, i, gpudl.ones(2, 1, device=device)),
        "scatter_add": lambda: x.scatter_add(0, i, gpudl.ones(2, 1, device=device)),
        "index_select": lambda: x.index_select(0, i[:, 0]),
        "index_add": lambda: x.index_add(0, i[:, 0], gpudl.ones(2, 1, device=device)),
        "embedding": lambda: F.embedding(i, x),
        "one_hot": lambda: F.one_hot(i, 3),
    }.items():
        for kind in (IndexError, RuntimeError):
            with pytest.raises(kind, match=f"{op}: class {wrong}" if op == "one_hot" and device == "cpu" else message) as caught:
                call()
        assert device != "cpu" or str(caught.value).startswith(f"{op}: ")
    if wrong < 0:
        assert x.take_along_dim(i, 0).shape == x[i[:, 0]].shape == (2, 1)


def test_values_that_do_not_fit() -> None:
    x = gpudl.zeros(3, 4)
    with pytest.raises(ValueError, match=r"indexed assignment: the value is \(3,\) and the place is \(4,\); it must broadcast"):
        x[0] = gpudl.ones(3)
    with pytest.raises(ValueError, match=r"the value is \(2, 3\) and the place is \(2, 4\)"):
        x[[0, 1]] = np.ones((2, 3))
    x[0] = gpudl.ones(1, 1, 4)  # leading axes of extent 1 are dropped, as in PyTorch
    x[1] = [1, 2, 3, 4]
    x[2, 0] = True
    assert x.tolist() == [[1] * 4, [1, 2, 3, 4], [1, 0, 0, 0]]
    i = gpudl.zeros(2, dtype=gpudl.int64)
    i[0] = 2.7
    assert i.tolist() == [2, 0]


# ------------------------------------------------------------------------------------------------------------------- gather and scatter
def test_gather_and_relatives(device: str) -> None:
    x = gpudl.tensor(A, device=device)
    index = np.array([[[0, 1, 4], [2, 2, 0]]])
    t = gpudl.tensor(index, device=device)
    np.testing.assert_array_equal(host(x.gather(2, t)), np.take_along_axis(A[:1, :2], index, 2))
    np.testing.assert_array_equal(host(x[:, :2].take_along_dim(t, 2)), np.take_along_axis(A[:, :2], np.broadcast_to(index, (3, 2, 3)), 2))
    assert x.take_along_dim(gpudl.tensor([[59, 0]], device=device)).tolist() == [59, 0]
    np.testing.assert_array_equal(host(x.index_select(1, gpudl.tensor([3, 0, 3], device=device))), A[:, [3, 0, 3]])
    mask = gpudl.tensor(A[0] % 3 == 0, device=device)
    np.testing.assert_array_equal(host(x.masked_select(mask)), A[:, A[0] % 3 == 0].reshape(-1))
    with pytest.raises(TypeError, match=r"masked_select: mask is float64; bool"):
        x.masked_select(x)
    with pytest.raises(RuntimeError, match=r"gather: index is int64 \(2,\) and input \(3, 4, 5\)"):
        x.gather(0, gpudl.tensor([0, 1], device=device))


def test_scatter_and_relatives(device: str) -> None:
    x, index = np.zeros((2, 4)), np.array([[3, 0], [1, 1]])
    src = np.array([[1.0, 2.0], [3.0, 4.0]])
    t, i, s = (gpudl.tensor(v, device=device) for v in (x, index, src))
    assert t.scatter(1, i[:1], s).tolist() == [[2, 0, 0, 1], [0] * 4] and t.sum().item() == 0
    assert t.scatter(1, i, 5.0).tolist() == [[5, 0, 0, 5], [0, 5, 0, 0]]
    assert t.scatter_add(1, i, s).tolist() == [[2, 0, 0, 1], [0, 7, 0, 0]]
    assert t.scatter_(1, i[:1], s) is t and t._version == 1
    assert t.index_add(0, gpudl.tensor([1, 1], device=device), s.repeat(1, 2), alpha=2).tolist() == [[2, 0, 0, 1], [8, 12, 8, 12]]
    t.scatter_add_(0, i[1:] * 0, s[:1])
    assert t.tolist() == [[3, 2, 0, 1], [0] * 4]
    with pytest.raises(RuntimeError, match=r"scatter: src is float32 and input float64"):
        t.scatter(1, i, s.float())
    with pytest.raises(NotImplementedError, match=r"scatter: reduce='add'"):
        gpudl.scatter(t, 1, i, s, reduce="add")


def test_gradients_of_scatter() -> None:
    rng = np.random.default_rng(0)
    x, s = (gpudl.tensor(rng.normal(size=n), requires_grad=True) for n in ((3, 4), (3, 2)))
    i = gpudl.tensor([[0, 3], [1, 2], [2, 0]])
    twice = gpudl.tensor([[0, 0], [1, 1], [2, 1]])
    for f in (lambda x, s: x.scatter(1, i, s) * x, lambda x, s: x.scatter_add(1, twice, s * s), lambda x, s: x.index_add(1, i[0], s * s)):
        gradcheck(f, [x, s])
        gradgradcheck(f, [x, s])


def test_nonzero_and_one_hot(device: str) -> None:
    a = np.array([[0.0, 2.0, nan], [-1.0, 0.0, 0.0]])
    x = gpudl.tensor(a, device=device)
    assert x.nonzero().tolist() == [[0, 1], [0, 2], [1, 0]] and [t.tolist() for t in x.nonzero(as_tuple=True)] == [[0, 0, 1], [1, 2, 0]]
    assert gpudl.tensor(3.0, device=device).nonzero().shape == (1, 0) and gpudl.zeros(2, device=device).nonzero().shape == (0, 1)
    c = gpudl.tensor([[2, 0], [1, 1]], device=device)
    np.testing.assert_array_equal(host(ops.one_hot(c)), np.eye(3, dtype=int)[[[2, 0], [1, 1]]])
    assert ops.one_hot(c, 5).shape == (2, 2, 5) and ops.one_hot(c).dtype == gpudl.int64
    with pytest.raises((ValueError, IndexError)):
        ops.one_hot(c, 2)
    with pytest.raises(TypeError, match=r"one_hot: the classes are float64"):
        ops.one_hot(x)


# ------------------------------------------------------------------------------------------------------------------- joining, padding
def test_cat_and_stack(device: str) -> None:
    a, b = np.arange(6.0).reshape(2, 3), np.arange(4.0).reshape(2, 2)
    x, y = gpudl.tensor(a, device=device), gpudl.tensor(b, device=device)
    np.testing.assert_array_equal(host(gpudl.cat([x, y], 1)), np.concatenate([a, b], 1))
    np.testing.assert_array_equal(host(gpudl.concat((x, x))), np.concatenate([a, a]))
    np.testing.assert_array_equal(host(gpudl.stack([x, x.T.reshape(2, 3)], -1)), np.stack([a, a.T.reshape(2, 3)], -1))
    assert gpudl.cat([gpudl.zeros(0, device=device), x]).shape == (2, 3)  # PyTorch leaves an empty vector out
    assert gpudl.vstack([x[0], x]).shape == (3, 3) and gpudl.hstack([x, y]).shape == (2, 5) and gpudl.hstack([x[0], y[0]]).shape == (5,)
    assert gpudl.cat([x.float(), gpudl.tensor([[1, 2, 3]], device=device)]).dtype == gpudl.float32


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: gpudl.cat([]), ValueError, r"cat: the list of tensors is empty"),
        (lambda: gpudl.stack([]), ValueError, r"stack: the list of tensors is empty"),
        (lambda: gpudl.cat([gpudl.ones(2), 3.0]), TypeError, r"cat: tensors\[1\] is a float"),
        (
            lambda: gpudl.cat([gpudl.ones(2, 3), gpudl.ones(3, 2)]),
            ValueError,
            r"cat: shapes \(2, 3\), \(3, 2\) must be equal except along dimension 0",
        ),
        (lambda: gpudl.cat([gpudl.tensor(1.0)]), ValueError, r"cat: a 0-d tensor has no axis"),
        (lambda: gpudl.stack([gpudl.ones(2), gpudl.ones(3)]), ValueError, r"stack: tensors\[1\] is \(3,\) and tensors\[0\] \(2,\)"),
        (lambda: gpudl.cat([gpudl.ones(2)], 1), IndexError, r"cat: dim 1 is out of range"),
        (lambda: ops.pad(gpudl.ones(2, 3), (1, 1, 1)), ValueError, r"pad: 3 widths"),
        (lambda: ops.pad(gpudl.ones(2, 3), (-2, -2)), ValueError, r"pad: widths \(-2, -2\) take more from dimension 1 than its size 3"),
        (lambda: ops.pad(gpudl.ones(2, 3), (1, 1), "reflect", 2.0), ValueError, r"pad: value=2.0 goes with mode='constant'"),
        (lambda: ops.pad(gpudl.ones(2, 3), (4, 0), "circular"), ValueError, r"pad: mode 'circular' with widths \(4, 0\)"),
        (lambda: gpudl.ones(3).topk(4), RuntimeError, r"topk: k=4 is out of range for dimension 0 with size 3"),
        (lambda: gpudl.ones(3).sort(1), IndexError, r"dim 1 is out of range"),
    ],
)
def test_messages_of_joining_padding_sorting(call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_padding(mode: str, device: str) -> None:
    a = np.random.default_rng(0).normal(size=(2, 3, 4))
    np_mode = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode]
    x = gpudl.tensor(a, device=device, requires_grad=True)
    y = ops.pad(x, (2, 1, 0, 2), mode)
    np.testing.assert_array_equal(host(y), np.pad(a, [(0, 0), (0, 2), (2, 1)], np_mode))
    dy = np.random.default_rng(1).normal(size=y.shape)
    y.backward(gpudl.tensor(dy, device=device))
    places = np.pad(
        np.arange(a.size).reshape(a.shape), [(0, 0), (0, 2), (2, 1)], np_mode, **({"constant_values": -1} if mode == "constant" else {})
    )
    want = np.bincount(places[places >= 0], dy[places >= 0], a.size).reshape(a.shape)
    np.testing.assert_allclose(host(x.grad), want, rtol=1e-12)


# ------------------------------------------------------------------------------------------------------------------- sorting
def test_sorting(device: str) -> None:
    a = np.array([[3.0, nan, 1.0, 3.0], [2.0, 2.0, -1.0, 5.0]])
    x = gpudl.tensor(a, device=device, requires_grad=True)
    up, down = x.sort(), x.sort(descending=True)
    np.testing.assert_array_equal(host(up.values), [[1, 3, 3, nan], [-1, 2, 2, 5]])
    np.testing.assert_array_equal(host(down.values), [[nan, 3, 3, 1], [5, 2, 2, -1]])
    assert up.indices.tolist() == [[2, 0, 3, 1], [2, 0, 1, 3]] and down.indices.tolist() == [
        [1, 0, 3, 2],
        [3, 0, 1, 2],
    ]  # equals keep their order
    up.values.backward(gpudl.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8]], device=device))
    np.testing.assert_array_equal(host(x.grad), [[2, 4, 1, 3], [6, 7, 5, 8]])
    top = x.topk(2, 1)
    np.testing.assert_array_equal(host(top.values), [[nan, 3], [5, 2]])
    assert x.topk(1, 0, largest=False).indices.tolist() == [[1, 1, 1, 0]] and x.topk(0).values.shape == (2, 0)
    for dtype in ("float16", "bfloat16", "int8", "bool"):
        t = gpudl.tensor(np.array([1, 0, 1]), dtype=dtype, device=device)
        assert t.argsort().tolist() == [1, 0, 2] and t.sort().values.dtype == t.dtype
    assert gpudl.tensor(3.0, device=device).sort().indices.item() == 0


# ------------------------------------------------------------------------------------------- copies, tensors without dimensions, sources
COPIES: list[Callable[[gpudl.Tensor], gpudl.Tensor]] = [
    lambda x: x.roll(0, 0), lambda x: x.roll((0, 5), (0, 1)), lambda x: x.roll(3), lambda x: x.repeat(2, 1), lambda x: x.repeat(1, 1),
    lambda x: x.tile((3, 1, 1)), lambda x: x.repeat_interleave(2, 0), lambda x: x.repeat_interleave(1), lambda x: x.diag(), lambda x: x.diff(n=0),
    lambda x: F.pad(x[None], (0, 0), "reflect"), lambda x: F.pad(x[None], (0, 0), "replicate"), lambda x: F.pad(x[None], (0, 0), "circular"),
    lambda x: F.pixel_shuffle(x[None, None], 1), lambda x: F.pixel_unshuffle(x[None, None], 1), lambda x: F.channel_shuffle(x[None, None], 1),
]  # fmt: skip


@pytest.mark.parametrize("k", range(len(COPIES)))
def test_what_is_promised_to_be_a_copy_is_one_for_the_smallest_shape_too(k: int) -> None:
    x = gpudl.tensor([[2.0]])
    y = COPIES[k](x)
    y += 1  # neither of a view nor of elements that share memory
    assert x.item() == 2 and (y == 3).all()


def test_tensors_without_dimensions(device: str) -> None:
    x, i = gpudl.tensor(2.0, device=device, requires_grad=True), gpudl.tensor(0, device=device)
    s = gpudl.tensor(5.0, device=device)
    assert x.movedim(0, -1).item() == 2 and x.scatter(0, i, s).item() == 5 and x.scatter(-1, i, 7.0).item() == 7
    assert x.index_add(0, i, s, alpha=2).item() == 12 and x.index_copy(0, i, s).item() == 5
    x.scatter_add(0, i, x).backward()
    assert x.grad is not None and x.grad.item() == 2
    for cut in (
        lambda t: t.unbind(), lambda t: t.split(1), lambda t: t.chunk(1), lambda t: t.tensor_split(1), lambda t: t.narrow(0, 0, 1), lambda t: t.roll(1, 0),
        lambda t: t.repeat_interleave(2, 0), lambda t: t.take_along_dim(i, 0), lambda t: t.diag_embed(),
    ):  # fmt: skip
        with pytest.raises(IndexError, match=r"^\w+: the tensor has 0 dimension"):
            cut(x)


def test_index_add_takes_no_source_of_another_shape(device: str) -> None:
    x, i = gpudl.zeros(3, 3, device=device), gpudl.tensor([0, 1], device=device)
    for shape in ((3, 2), (6,), (1, 3), (2, 2)):
        with pytest.raises(ValueError, match=r"index_add: index is \(2,\) and source is"):
            x.index_add(0, i, gpudl.ones(shape, device=device))
    with pytest.raises(TypeError, match=r"index_add: input is float32 and source is float64"):
        x.index_add(0, i, gpudl.ones(2, 3, dtype=gpudl.float64, device=device))
    for bad in (i.float(), i[None]):
        with pytest.raises(IndexError, match="index_add: index is"):
            x.index_add(0, bad, gpudl.ones(2, 3, device=device))
    assert not x.any()


def test_cov_of_one_variable_has_no_dimensions() -> None:
    row = gpudl.tensor([[1.0, 2.0, 6.0]])
    assert gpudl.cov(row).shape == () and gpudl.cov(row).item() == gpudl.cov(row[0]).item() == 7 and gpudl.cov(row.T).shape == (3, 3)


def test_grid_sample_at_a_nan_is_a_nan(device: str) -> None:
    x, grid = gpudl.ones(1, 1, 2, 2, device=device), gpudl.tensor([[[[nan, 0.0], [0.0, 0.0]]]], device=device)
    np.testing.assert_array_equal(host(F.grid_sample(x, grid, align_corners=False)), [[[[nan, 1]]]])
    np.testing.assert_array_equal(host(F.grid_sample(x, grid, "nearest", align_corners=False)), [[[[0, 1]]]])
