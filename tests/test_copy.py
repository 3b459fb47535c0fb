"""Fills, copies into memory, moves between devices, dtypes: the ladders fill.forward and copy.forward, and `to`."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from accesses import accesses

import gpudl
from gpudl import _dtypes, kernels

DEVICES = ["cpu", pytest.param("emulator", marks=pytest.mark.emulator), pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [str(d) for d in _dtypes.ALL])
def test_full_of_every_dtype(device: str, dtype: str) -> None:
    value = True if dtype == "bool" else 3
    with kernels.emulation(sanitize=True):
        t = gpudl.full((3, 5), value, dtype=dtype, device=device)
    assert t.dtype == _dtypes.as_dtype(dtype) and (t.cpu()._array == value).all()
    assert gpudl.full((0, 2), value, dtype=dtype, device=device).shape == (0, 2)
    assert gpudl.full((), value, dtype=dtype, device=device).item() == value


@pytest.mark.parametrize("device", DEVICES)
def test_fill_holds_64_bit_integers_and_strided_targets(device: str) -> None:
    big = 2**62 + 1
    assert gpudl.full((2,), big, dtype=gpudl.int64, device=device).tolist() == [big, big]
    t = gpudl.zeros(4, 6, device=device)
    t.T[1:3].fill_(2.5)
    want = np.zeros((4, 6))
    want[:, 1:3] = 2.5
    np.testing.assert_array_equal(t.cpu().numpy(), want)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("source", [str(d) for d in _dtypes.ALL])
def test_casts_between_all_dtypes(device: str, source: str) -> None:
    host = np.array([[0, 1, 3], [2, 5, 100]]).astype(_dtypes.as_dtype(source))
    t = gpudl.tensor(host, device=device)
    for target in _dtypes.ALL:
        got = t.T.to(target)
        assert got.dtype == target and got.device is gpudl.device(device)
        np.testing.assert_array_equal(got.cpu()._array.astype(float), host.T.astype(target).astype(float))


@pytest.mark.parametrize("device", DEVICES)
def test_copy_broadcasts_casts_and_checks(device: str) -> None:
    t = gpudl.zeros(3, 4, device=device)
    t.copy_(gpudl.tensor([1, 2, 3, 4]))
    np.testing.assert_array_equal(t.cpu().numpy(), np.tile([1, 2, 3, 4], (3, 1)))
    t[1:, ::2].copy_(7)
    assert t.cpu().numpy()[1:, ::2].tolist() == [[7, 7], [7, 7]]
    with pytest.raises(gpudl.ShapeError, match=r"copy_: the source is \(5,\) and does not broadcast to \(3, 4\)"):
        t.copy_(gpudl.zeros(5))
    w = gpudl.ones(4, requires_grad=True)
    t = gpudl.zeros(3, 4).copy_(w)
    t.sum().backward()
    assert w.grad.tolist() == [3, 3, 3, 3]


@pytest.mark.emulator
def test_moving_between_devices_is_differentiable() -> None:
    x = gpudl.tensor([1.0, 2.0], requires_grad=True)
    y = x.to("emulator") * 2
    assert str(y.device) == "emulator"
    y.to("cpu", gpudl.float64).sum().backward()
    assert x.grad.tolist() == [2, 2] and x.grad.device is gpudl.device("cpu")


def test_to_gives_itself_where_nothing_changes() -> None:
    x = gpudl.ones(2)
    assert x.to("cpu") is x and x.to(gpudl.float32) is x and x.to(x) is x and x.to(x, copy=True) is not x
    assert x.to(dtype=gpudl.float64).dtype == gpudl.float64
    with pytest.raises(gpudl.DeviceError, match="'tpu' is not known; gpudl has 'cpu', 'cuda'"):
        x.to("tpu")
    with pytest.raises(TypeError, match="complex64 is not supported|complex64' is not supported|is not supported; gpudl has"):
        x.to(np.complex64)


def test_devices_have_one_object_each() -> None:
    assert gpudl.device("cuda") is gpudl.device("cuda:0") is gpudl.device("cuda", 0) is gpudl.device(0)
    assert str(gpudl.device("cuda:1")) == "cuda:1" and repr(gpudl.device("cpu")) == "device(type='cpu')"
    for bad in ("cuda:x", "cpu:3", "gpu"):
        with pytest.raises(gpudl.DeviceError):
            gpudl.device(bad)


def test_tensor_makes_pytorchs_dtypes() -> None:
    assert gpudl.tensor([1.0]).dtype == gpudl.float32 and gpudl.tensor([1]).dtype == gpudl.int64 and gpudl.tensor(True).dtype == np.bool_
    assert gpudl.tensor(np.ones(2)).dtype == gpudl.float64 and gpudl.tensor([np.float64(1)]).dtype == gpudl.float64
    assert gpudl.tensor([]).dtype == gpudl.float32 and gpudl.tensor([1, 2.5]).dtype == gpudl.float32
    assert gpudl.tensor(2.5).shape == () and gpudl.zeros(2, 3).shape == (2, 3) and gpudl.ones((2,)).shape == (2,)
    assert gpudl.arange(5).dtype == gpudl.int64 and gpudl.arange(0, 1, 0.25).tolist() == [0, 0.25, 0.5, 0.75]
    for bad, kind, text in [
        ([[1, 2], [3]], gpudl.ShapeError, "equal lengths"), (["a"], TypeError, "has no tensor dtype"), (None, TypeError, "has no tensor dtype"),
        ([1j], TypeError, "has no tensor dtype"),
    ]:  # fmt: skip
        with pytest.raises(kind, match=text):
            gpudl.tensor(bad)
    host = np.ones(3)
    made = gpudl.tensor(host)
    host[0] = 5
    assert made.tolist() == [1, 1, 1]
    shared = gpudl.from_numpy(host)
    host[1] = 7
    assert shared.tolist() == [5, 7, 1]


def test_repr_is_readable() -> None:
    assert repr(gpudl.tensor([1.0, 2.0])) == "tensor([1., 2.])"
    assert repr(gpudl.tensor([1.0], requires_grad=True)) == "tensor([1.], requires_grad=True)"
    assert "dtype=float64" in repr(gpudl.tensor(np.ones(1))) and "bfloat16" in repr(gpudl.ones(2, dtype=gpudl.bfloat16))
    assert "grad_fn=<copy>" in repr(gpudl.ones(1, requires_grad=True).clone())
    assert len(repr(gpudl.zeros(100, 100))) < 600
    assert repr(gpudl.tensor([1e-5, 1.0])) == "tensor([1.e-05, 1.e+00])"  # small is not zero


@pytest.mark.parametrize("sizes", [(3,), (2, 3)])
def test_the_class_called_with_sizes_says_what_to_write(sizes: tuple[int, ...]) -> None:
    with pytest.raises(TypeError, match=r"PyTorch reads a number here as a size; write gpudl\.empty"):
        gpudl.Tensor(*sizes)
    assert gpudl.Tensor([3]).tolist() == [3.0]


@pytest.mark.parametrize("size", [(2.5,), (2.0,), (3, "4"), (2, None)])
def test_sizes_are_integers(size: tuple[object, ...]) -> None:
    for make in (gpudl.zeros, gpudl.empty, gpudl.ones(6).reshape, gpudl.ones(1).expand, lambda *s: gpudl.nn.Linear(s[0], s[-1])):
        with pytest.raises(TypeError, match="sizes must be integers"):
            make(*size)
    assert gpudl.zeros(np.int64(2), gpudl.tensor(3)).shape == (2, 3)


# ------------------------------------------------------------------------------------------------------------ transposition, and bytes
@pytest.mark.emulator
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8"])
def test_a_transposed_copy_in_every_rung_and_shape(dtype: str) -> None:
    rng = np.random.default_rng(0)
    rungs = [r.name for r in kernels.ladder("copy.forward") if r.backend == "cuda"]
    for shape, axes in [((33, 40), (1, 0)), ((1, 5), (1, 0)), ((2, 17, 3, 40), (0, 3, 1, 2)), ((3, 31, 2, 35), (2, 3, 0, 1)), ((64, 32), (1, 0))]:
        x = rng.integers(0, 200, size=shape).astype(dtype)
        for rung in rungs:
            with kernels.use("copy.forward", rung), kernels.emulation(sanitize=True), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # 02 and 03 take runs alone
                np.testing.assert_array_equal(gpudl.tensor(x, device="emulator").permute(*axes).clone().cpu().numpy(), x.transpose(axes))
                into = gpudl.zeros(*shape, dtype=dtype, device="emulator").permute(*axes)  # what is written lies transposed
                into.copy_(gpudl.tensor(np.ascontiguousarray(x.transpose(axes)), device="emulator"))
                np.testing.assert_array_equal(into.cpu().numpy(), x.transpose(axes))


@pytest.mark.emulator
@pytest.mark.parametrize(
    ("rung", "turned", "sectors", "wavefronts"),
    [("01_naive", True, 32, 0), ("04_tile", True, 4, 32), ("05_padded", True, 4, 1), ("02_flat", False, 4, 0), ("03_vector", False, 16, 0)],
)
def test_what_a_copy_asks_of_memory(rung: str, turned: bool, sectors: int, wavefronts: int) -> None:
    """The lesson's numbers: sectors of the worst request of global memory, passes of the worst of shared memory."""
    x = gpudl.tensor(np.random.default_rng(0).normal(size=(128, 96)), dtype="float32", device="emulator")
    asked, stated, lines = accesses("copy.forward", rung, lambda: (x.T if turned else x).clone())
    assert asked == stated == 2 * x.numel() * 4
    assert max(line.sectors_per_request for line in lines if line.space == "global") == sectors
    assert max((line.wavefronts_per_request for line in lines if line.space == "shared"), default=0) == wavefronts


@pytest.mark.emulator
def test_the_dispatch_rule_turns_squares_that_are_worth_it() -> None:
    def ran(view: gpudl.Tensor) -> str:
        return view.requires_grad_().clone().grad_fn.rungs["copy.forward"].name

    x = gpudl.ones(2, 32, 20, device="emulator")
    assert ran(x.detach().mT) == "05_padded" and ran(x.detach()[:, :, :3].mT) == "01_naive" and ran(x.detach()) == "03_vector"


@pytest.mark.emulator
@pytest.mark.parametrize("rung", ["01_naive", "02_vector"])
def test_what_a_fill_asks_of_memory(rung: str) -> None:
    for dtype in ("float32", "float16", "int64", "bool"):
        asked, stated, lines = accesses("fill.forward", rung, lambda dtype=dtype: gpudl.full((64, 64), 1, dtype=dtype, device="emulator"))
        assert asked == stated == 64 * 64 * _dtypes.as_dtype(dtype).itemsize
        assert all(line.sectors == line.ideal_sectors for line in lines)
    with kernels.use("fill.forward", rung):
        for size in (1, 15, 33, 1000):
            base = gpudl.zeros(size + 5, device="emulator")
            base[1 : size + 1].fill_(2.5)  # starts between two vectors
            assert base.tolist() == [0] + [2.5] * size + [0] * 4
