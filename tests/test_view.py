"""Views: which results share memory, what cannot be a view, shapes and messages."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import gpudl
from gpudl.ops.view import viewable


@pytest.fixture(params=["cpu", pytest.param("emulator", marks=pytest.mark.emulator)])
def device(request: Any) -> str:
    return request.param


def host(t: gpudl.Tensor) -> np.ndarray:
    return t.detach().cpu().numpy()


A = np.arange(24.0).reshape(2, 3, 4)

SHARED = [
    (lambda x: x.reshape(6, -1), lambda a: a.reshape(6, -1)),
    (lambda x: x.view((4, 6)), lambda a: a.reshape(4, 6)),
    (lambda x: x.T, lambda a: a.T),
    (lambda x: x.mT, lambda a: a.swapaxes(-1, -2)),
    (lambda x: x[0].t(), lambda a: a[0].T),
    (lambda x: x.permute(2, 0, 1), lambda a: a.transpose(2, 0, 1)),
    (lambda x: x.permute((0, -1, 1)), lambda a: a.transpose(0, 2, 1)),
    (lambda x: x.transpose(0, -1), lambda a: a.swapaxes(0, -1)),
    (lambda x: x.swapaxes(1, 2), lambda a: a.swapaxes(1, 2)),
    (lambda x: x.movedim(0, 2), lambda a: np.moveaxis(a, 0, 2)),
    (lambda x: x.movedim((0, 1), (-1, 0)), lambda a: np.moveaxis(a, (0, 1), (-1, 0))),
    (lambda x: x.unsqueeze(-1), lambda a: a[..., None]),
    (lambda x: x.unsqueeze(0).squeeze(), lambda a: a),
    (lambda x: x.unsqueeze(1).squeeze(1), lambda a: a),
    (lambda x: x.squeeze(0), lambda a: a),  # an extent that is not 1 stays
    (lambda x: x.flatten(1), lambda a: a.reshape(2, 12)),
    (lambda x: x.flatten(), lambda a: a.reshape(24)),
    (lambda x: x.ravel(), lambda a: a.reshape(24)),
    (lambda x: x.unflatten(-1, (2, -1)), lambda a: a.reshape(2, 3, 2, 2)),
    (lambda x: x.expand(5, -1, 3, 4), lambda a: np.broadcast_to(a, (5, 2, 3, 4))),
    (lambda x: x[:, :1].expand(2, 7, 4), lambda a: np.broadcast_to(a[:, :1], (2, 7, 4))),
    (lambda x: x[1:, ..., None, ::2], lambda a: a[1:, ..., None, ::2]),
    (lambda x: x[-1, 2], lambda a: a[-1, 2]),
    (lambda x: x.select(1, 2), lambda a: a[:, 2]),
    (lambda x: x.narrow(2, 1, 2), lambda a: a[:, :, 1:3]),
    (lambda x: x.narrow(2, -3, 2), lambda a: a[:, :, 1:3]),
    (lambda x: x.split(2, 2)[1], lambda a: a[:, :, 2:]),
    (lambda x: x.split([1, 2], 1)[1], lambda a: a[:, 1:]),
    (lambda x: x.chunk(2, 1)[0], lambda a: a[:, :2]),
    (lambda x: x.unbind(1)[2], lambda a: a[:, 2]),
    (lambda x: x.diagonal(1, 1, 2), lambda a: a.diagonal(1, 1, 2)),
    (lambda x: x.diagonal(-1), lambda a: a.diagonal(-1)),
]


@pytest.mark.parametrize("i", range(len(SHARED)))
def test_views_share_memory_and_version(i: int, device: str) -> None:
    see, want = SHARED[i]
    x = gpudl.tensor(A, device=device)
    y = see(x)
    np.testing.assert_array_equal(host(y), want(A))
    assert y.shape == want(A).shape
    assert np.shares_memory(x._array, y._array)
    x.add_(1)
    assert y._version == x._version == 1
    np.testing.assert_array_equal(host(y), want(A + 1))


COPIED = [
    (lambda x: x.T.reshape(6, 4), lambda a: a.T.reshape(6, 4)),
    (lambda x: x.transpose(0, 1).flatten(), lambda a: a.swapaxes(0, 1).reshape(-1)),
    (lambda x: x.T.contiguous(), lambda a: np.ascontiguousarray(a.T)),
    (lambda x: x.flip(0, -1), lambda a: a[::-1, :, ::-1]),
    (lambda x: x.roll(1), lambda a: np.roll(a, 1)),
    (lambda x: x.roll((1, -2), (0, 2)), lambda a: np.roll(a, (1, -2), (0, 2))),
    (lambda x: x.repeat(2, 1, 1, 3), lambda a: np.tile(a, (2, 1, 1, 3))),
    (lambda x: x.tile(2), lambda a: np.tile(a, 2)),
    (lambda x: x.repeat_interleave(2, 1), lambda a: np.repeat(a, 2, 1)),
    (lambda x: x.repeat_interleave(gpudl.tensor([1, 0, 3]), 1), lambda a: np.repeat(a, [1, 0, 3], 1)),
    (lambda x: x.tril(1), lambda a: np.tril(a, 1)),
    (lambda x: x.triu(-1), lambda a: np.triu(a, -1)),
    (lambda x: x[0, 0].diag(1), lambda a: np.diag(a[0, 0], 1)),
]


@pytest.mark.parametrize("i", range(len(COPIED)))
def test_copies_do_not_share_memory(i: int, device: str) -> None:
    make, want = COPIED[i]
    x = gpudl.tensor(A, device=device)
    y = make(x)
    np.testing.assert_array_equal(host(y), want(A))
    assert not np.shares_memory(x._array, y._array) and y._version == 0


def test_viewable_agrees_with_numpy() -> None:
    """For every layout and shape here: a view is possible exactly where NumPy needs no copy."""
    base = np.arange(48).reshape(2, 3, 8)
    layouts = [base, base.T, base.transpose(1, 0, 2), base[:, :, ::2], base[:, :2], base[:, :1], base[::2, None], np.broadcast_to(base[:, :1], (2, 3, 8)),
               base.transpose(2, 0, 1)[::4], base[:0]]  # fmt: skip
    seen = {True: 0, False: 0}
    for a in layouts:
        for shape in [(a.size,), (2, -1), (-1, 2), (1, *a.shape), (*a.shape[::-1],), (3, 2, -1), (-1, 1, 4), (2, 3, 2, -1)]:
            try:
                r = a.reshape(shape)
            except ValueError:
                continue
            free = bool(np.shares_memory(a, r)) or a.size == 0
            assert viewable(a.shape, a.strides, r.shape) == free, (a.shape, a.strides, r.shape)
            seen[free] += 1
    assert min(seen.values()) > 5


def test_view_raises_where_a_copy_would_be_needed(device: str) -> None:
    x = gpudl.tensor(A, device=device)
    with pytest.raises(
        ValueError, match=r"view: a tensor \(4, 3, 2\) with strides \(1, 4, 12\) cannot be seen as \(24,\) without a copy; use \.reshape"
    ):
        x.T.view(-1)
    with pytest.raises(RuntimeError):  # PyTorch's kind catches it too
        x.T.view(24)
    with pytest.raises(NotImplementedError, match=r"view\(dtype\)"):
        x.view(gpudl.float32)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda x: x.reshape(5, -1),
            ValueError,
            r"reshape: the input is \(2, 3, 4\) with 24 element\(s\), which do not divide into \(5, -1\)",
        ),
        (lambda x: x.reshape(-1, -1), ValueError, r"reshape: the shape \(-1, -1\) must have extents >= 0 and at most one -1"),
        (lambda x: x.reshape(23), ValueError, r"24 element\(s\) and the shape \(23,\) has 23"),
        (lambda x: x.permute(0, 1), ValueError, r"permute: dims \(0, 1\) must name each of the 3 axes"),
        (lambda x: x.transpose(0, 3), IndexError, r"transpose: dim 3 is out of range"),
        (lambda x: x.t(), ValueError, r"t: the input is \(2, 3, 4\); at most 2 dimensions"),
        (lambda x: x[0, 0].mT, ValueError, r"mT: .* at least 2 dimensions"),
        (lambda x: x.movedim((0, 1), 0), ValueError, r"movedim: source \(0, 1\) and destination \(0,\)"),
        (lambda x: x.unsqueeze(4), IndexError, r"unsqueeze: dim 4 is out of range"),
        (lambda x: x.flatten(2, 1), ValueError, r"flatten: start_dim 2 lies after end_dim 1"),
        (lambda x: x.unflatten(2, (3, 2)), ValueError, r"unflatten: .* 4 element\(s\) and the shape \(3, 2\) has 6"),
        (lambda x: x.expand(2, 3), ValueError, r"expand: \(2, 3, 4\) does not broadcast to \(2, 3\)"),
        (lambda x: x.expand(2, 3, 8), ValueError, r"expand: \(2, 3, 4\) does not broadcast to \(2, 3, 8\)"),
        (lambda x: x.expand(-1, 2, 3, 4), ValueError, r"expand: "),
        (lambda x: x.narrow(1, 2, 2), ValueError, r"narrow: start 2 and length 2 reach outside dimension 1 with size 3"),
        (lambda x: x.split([1, 1], 1), ValueError, r"split: the sizes \[1, 1\] do not add up to 3"),
        (lambda x: x.chunk(0), RuntimeError, r"chunk: chunks must be positive"),
        (lambda x: x.repeat(2), ValueError, r"repeat: repeats \(2,\) for \(2, 3, 4\)"),
        (lambda x: x[0, 0].tril(), ValueError, r"tril: the input is \(4,\); at least 2 dimensions"),
        (lambda x: x.roll((1, 2), 0), ValueError, r"roll: 2 shifts for 1 dims"),
        (lambda x: iter(x.sum()).__next__(), TypeError, r"0-d"),
    ],
)
def test_messages(call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call(gpudl.tensor(A))


def test_empty_and_zero_dimensional() -> None:
    s = gpudl.tensor(3.0)
    assert (
        s.T.shape == s.t().shape == s.squeeze().shape == ()
        and s.flatten().shape == s.reshape(-1).shape == (1,)
        and s.transpose(0, -1).item() == 3
    )
    e = gpudl.zeros(0, 3)
    assert (
        e.reshape(3, 0, 7).shape == (3, 0, 7)
        and e.T.shape == (3, 0)
        and e.flatten().shape == e.ravel().shape == (0,)
        and e.expand(2, 0, 3).shape == (2, 0, 3)
    )
    with pytest.raises(ValueError, match="do not divide"):
        e.reshape(-1, 0)
    assert [t.shape for t in e.split(2)] == [(0, 3)] and [t.shape for t in e.chunk(2)] == [(0, 3), (0, 3)]


def test_pieces_add_up() -> None:
    x = gpudl.tensor(A, requires_grad=True)
    for pieces, dim in itertools.product((x.split, x.chunk), (0, 1, 2)):
        np.testing.assert_array_equal(host(gpudl.cat(pieces(2, dim), dim)), A)
    assert [p.shape[0] for p in gpudl.arange(7).chunk(4)] == [2, 2, 2, 1] and [p.shape[0] for p in gpudl.arange(5).chunk(4)] == [2, 2, 1]
    gpudl.stack(x.unbind(1), 1).mul(gpudl.tensor(A)).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), A)


def test_halves_and_integers_pass_unchanged(device: str) -> None:
    for dtype in ("float16", "bfloat16", "int8", "bool"):
        x = gpudl.tensor(np.array([[0, 1], [1, 1]]), dtype=dtype, device=device)
        for y in (x.T.reshape(4), x.flip(0), x.expand(2, 2, 2)[1], x.roll(1)):
            assert y.dtype == x.dtype
        assert x.T.reshape(4).tolist() == [0, 1, 1, 1]


def test_iteration_and_meshgrid() -> None:
    assert [r.tolist() for r in gpudl.tensor([[1, 2], [3, 4]])] == [[1, 2], [3, 4]]
    a, b = gpudl.meshgrid(gpudl.arange(2), gpudl.arange(3))
    assert a.tolist() == [[0, 0, 0], [1, 1, 1]] and b.tolist() == [[0, 1, 2], [0, 1, 2]]
    for got, want in zip(
        gpudl.meshgrid(gpudl.arange(2), gpudl.arange(3), indexing="xy"), np.meshgrid(np.arange(2), np.arange(3)), strict=True
    ):
        assert got.tolist() == want.tolist()
