"""Memory shared with other libraries: from_numpy, .numpy(), __array__, DLPack in and out, __cuda_array_interface__; what is refused and how."""

from __future__ import annotations

import numpy as np
import pytest

import gpudl

DTYPES = ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_from_numpy_shares_memory_both_ways(dtype: str) -> None:
    a = np.ones((2, 3), dtype)
    t = gpudl.from_numpy(a)
    assert t.dtype == a.dtype and t.numpy() is a and np.shares_memory(t.T.numpy(), a)
    a[0, 0] = 0
    assert not t[0, 0].item()
    t[1] = 0
    assert not a[1].any()


def test_from_numpy_keeps_strides_and_shape() -> None:
    a = np.arange(24.0).reshape(2, 3, 4)
    for view in (a.T, a[:, ::2], a[..., ::-1], a[1, 2], a[:0], a[0, 0, 0:1].reshape(())):
        t = gpudl.from_numpy(view)
        assert t.shape == view.shape and t.stride() == tuple(s // 8 for s in view.strides)
        np.testing.assert_array_equal((t + 0).numpy(), view)
        assert t.numel() == 0 or np.shares_memory(t.numpy(), a)


def test_from_numpy_refuses_what_it_cannot_carry() -> None:
    with pytest.raises(TypeError, match=r"from_numpy: expected a numpy\.ndarray, got list"):
        gpudl.from_numpy([1.0])
    with pytest.raises(TypeError, match=r"complex128.* not supported; gpudl has"):
        gpudl.from_numpy(np.zeros(3, complex))
    with pytest.raises(TypeError, match=r"foreign byte order"):
        gpudl.from_numpy(np.zeros(3, ">f4"))


def test_read_only_memory_is_never_written() -> None:
    a = np.ones(3, np.float32)
    a.flags.writeable = False
    t = gpudl.from_numpy(a)
    with pytest.raises(RuntimeError, match=r"add_: this memory is read-only; clone\(\)"):
        t.add_(1)
    with pytest.raises(RuntimeError, match="read-only"):
        t[0] = 2.0
    assert (t + 1).tolist() == [2, 2, 2] and a.tolist() == [1, 1, 1]


def test_tensor_copies_and_as_tensor_shares() -> None:
    a = np.ones(3, np.float32)
    assert not np.shares_memory(gpudl.tensor(a).numpy(), a) and np.shares_memory(gpudl.as_tensor(a).numpy(), a)


def test_numpy_functions_take_cpu_tensors() -> None:
    t = gpudl.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert np.asarray(t) is t.numpy() and np.asarray(t, dtype=np.float64).dtype == np.float64
    assert not np.shares_memory(np.array(t, copy=True), t.numpy())
    assert np.concatenate([t, t]).shape == (4, 2) and np.mean(np.asarray(t)) == 2.5
    for mixed in (lambda: np.ones(2, np.float32) * t, lambda: t * np.ones(2, np.float32)):
        assert isinstance(mixed(), gpudl.Tensor) and mixed().tolist() == t.tolist()


def test_numpy_refuses_gradients_and_other_devices() -> None:
    t = gpudl.tensor([1.0], requires_grad=True)
    with pytest.raises(RuntimeError, match=r"numpy: the tensor requires a gradient; use \.detach\(\)\.numpy\(\)"):
        t.numpy()
    with pytest.raises(RuntimeError, match=r"requires a gradient"):
        np.asarray(t)
    assert t.numpy(force=True).tolist() == [1.0]


@pytest.mark.emulator
def test_emulator_memory_stays_where_the_emulator_sees_it() -> None:
    t = gpudl.tensor([1.0, 2.0], device="emulator")
    with pytest.raises(TypeError, match=r"numpy: the tensor is on emulator; bring it to the host with \.cpu\(\)"):
        t.numpy()
    for call in (t.__dlpack__, t.__dlpack_device__):
        with pytest.raises(BufferError, match=r"emulator memory has no DLPack device; use \.cpu\(\)"):
            call()
    assert t.cpu().numpy().tolist() == [1, 2]


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d != "bool"])
def test_dlpack_out_and_in_share_memory(dtype: str) -> None:
    t = gpudl.ones(2, 3, dtype=dtype)
    a = np.from_dlpack(t)
    assert a.dtype == t.dtype and np.shares_memory(a, t.numpy())
    back = gpudl.from_dlpack(a)
    assert back.shape == (2, 3) and back.dtype == t.dtype and np.shares_memory(back.numpy(), t.numpy())
    t[0] = 0
    assert back[0].sum().item() == 0
    assert gpudl.from_dlpack(t.T).stride() == (1, 3)


def test_dlpack_says_where_the_memory_is() -> None:
    assert tuple(map(int, gpudl.zeros(1).__dlpack_device__())) == (1, 0)


def test_dlpack_refuses_what_the_other_side_could_not_see() -> None:
    with pytest.raises(BufferError, match=r"requires a gradient.*use \.detach\(\)"):
        np.from_dlpack(gpudl.ones(2, requires_grad=True))
    with pytest.raises(BufferError, match=r"bfloat16; use \.float\(\)"):
        np.from_dlpack(gpudl.ones(2, dtype="bfloat16"))
    with pytest.raises(TypeError, match=r"from_dlpack: list has no __dlpack__"):
        gpudl.from_dlpack([1.0])
    with pytest.raises(TypeError, match=r"complex64.* not supported"):
        gpudl.from_dlpack(np.zeros(2, np.complex64))

    class Elsewhere:
        def __dlpack_device__(self) -> tuple[int, int]:
            return 10, 0  # ROCm

    with pytest.raises(BufferError, match=r"from_dlpack: DLPack device type 10 is not supported"):
        gpudl.from_dlpack(Elsewhere())


def test_cuda_array_interface_is_on_cuda_only() -> None:
    assert not hasattr(gpudl.ones(2), "__cuda_array_interface__")
    with pytest.raises(AttributeError, match=r"__cuda_array_interface__: the tensor is on cpu"):
        gpudl.ones(2).__cuda_array_interface__
