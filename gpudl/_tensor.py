"""Tensor: an array on a device with a place in the graph. Each method and operator is one line into ops/."""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from gpudl import _dtypes, kernels
from gpudl._device import cpu
from gpudl._device import device as Device
from gpudl._errors import DeviceError, ShapeError


class Storage:
    """What all views of one piece of memory share: the number of writes that gpudl made to it, and in anomaly mode where its NaN is from."""

    __slots__ = ("nan", "version")
    nan: tuple[int, str]

    def __init__(self) -> None:
        self.version = 0


class Size(tuple):  # noqa: SLOT001
    """A shape: a tuple with `numel()`, printed as PyTorch prints it."""

    def numel(self) -> int:
        return int(np.prod(self, dtype=np.int64))

    def __repr__(self) -> str:
        return f"gpudl.Size({list(self)})"


def wrap(array: Any, device: Device, storage: Storage | None = None) -> Tensor:
    """A Tensor around an array that lies on `device` already; nothing is copied."""
    t = Tensor.__new__(Tensor)
    t._array, t.device = array, device
    t._storage = Storage() if storage is None else storage
    t._node, t._index, t._leaf, t._requires_grad, t._grad = None, 0, None, False, None
    t._view = t._views = None
    return t


def _method(name: str) -> Callable[..., Any]:
    """A method that is the function of ops/ with this name."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        return getattr(ops, name)(self, *args, **kwargs)

    method.__name__, method.__doc__ = name, f"See `gpudl.{name}`."
    return method


_SEVERAL = frozenset(("cumprod", "hypot", "logit", "tan", "xlogy"))  # made of several ops, of which not the last alone keeps the tensor


def _inplace(name: str) -> Callable[..., Any]:
    """The method that writes that function's result over the tensor."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        recorded = name in _SEVERAL and autograd.is_grad_enabled() and any(isinstance(t, Tensor) and t.requires_grad for t in (self, *args))
        return self._become(getattr(ops, name)(ops.clone(self) if recorded else self, *args, **kwargs), name + "_")

    method.__name__, method.__doc__ = name + "_", f"`gpudl.{name}` in place."
    return method


def _relayout(name: str) -> Callable[..., Any]:
    """The method that shows the tensor's own memory in the shape and order of that view function."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return self._relaid(lambda t: getattr(ops, name)(t, *args, **kwargs), name + "_")

    method.__name__, method.__doc__ = name + "_", f"`gpudl.{name}` in place: the same memory, another shape."
    return method


def _both(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    return _method(name), _inplace(name)


def _random(name: str) -> Callable[..., Any]:
    """A method that is the function of _random.py with this name."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        from gpudl import _random

        return getattr(_random, name)(self, *args, **kwargs)

    method.__name__, method.__doc__ = name, f"See `gpudl.{name}`."
    return method


def _operator(name: str, reflected: bool = False) -> Callable[..., Any]:
    """A Python operator; what is neither number nor data gets its own turn (`tensor == None` is False)."""

    def method(self: Tensor, other: Any) -> Any:
        if isinstance(other, np.ndarray):
            self, other = _meet(self, other, name)
        elif not isinstance(other, (Tensor, int, float, np.generic, list, tuple)):
            return NotImplemented
        return getattr(ops, name)(other, self) if reflected else getattr(ops, name)(self, other)

    return method


def _assignment(name: str) -> Callable[..., Any]:
    """An operator such as +=, in place. With an ndarray it is tensor = tensor + array, as in PyTorch, because the dtype may change."""
    change = _inplace(name)

    def method(self: Tensor, other: Any) -> Any:
        return NotImplemented if isinstance(other, np.ndarray) else change(self, other)

    return method


def _meet(tensor: Tensor, array: np.ndarray, what: str) -> tuple[Tensor, Tensor]:
    """A tensor and an ndarray as the operands of a Python operator: both as Tensors, of the dtype in which NumPy lets them meet.

    The array counts as a CPU tensor without gradient. float32 and int64 meet in float64, as in PyTorch, which leaves this case to NumPy.
    """
    from gpudl import _creation

    other = _creation.tensor(array, device=cpu)
    if tensor.dtype == other.dtype and what != "div":
        return tensor, other
    if _dtypes.bfloat16 in (tensor.dtype, other.dtype):
        raise TypeError(
            f"{what}: a bfloat16 tensor and an ndarray meet in no dtype of NumPy; gpudl.tensor(...) makes a Tensor of the array"
        )
    dtype = np.promote_types(tensor.dtype, other.dtype)
    if what == "div" and not _dtypes.is_float(dtype):
        dtype = _dtypes.float64
    return tensor.to(dtype), other.to(dtype)


_UNTRACKED = "this view was not made by a view operation inside the graph, so its base would not notice; write base[...] = ... instead"


class Tensor:
    """An n-dimensional array that remembers how it was made, with PyTorch's names.

    Make one with `gpudl.tensor`, `zeros`, `randn`, `from_numpy`, ... Views (slices, transposes, reshapes) share memory. Writes through
    `.numpy()` or through the array given to `from_numpy` are not seen by the check for in-place changes.
    """

    __slots__ = ("__weakref__", "_array", "_grad", "_index", "_leaf", "_node", "_requires_grad", "_storage", "_view", "_views", "device")
    __array_priority__ = 1000  # NumPy arrays on the left leave the operator to us

    _array: Any
    _grad: Tensor | None
    _index: int
    _leaf: Any
    _node: Any
    _storage: Storage
    _view: tuple[Tensor, tuple[Any, ...]] | None  # what this is a view of, and the ops (class, params) that lead there
    _views: Any  # the live views of this tensor by id, held weakly; None before the first
    device: Device
    _requires_grad: bool

    def __init__(self, data: Any = (), dtype: Any = None, device: Any = None, requires_grad: bool = False):
        from gpudl import _creation

        if isinstance(data, int):
            raise TypeError(
                f"Tensor({data}): PyTorch reads a number here as a size; write gpudl.empty(...) for that, gpudl.tensor(...) for data"
            )
        made = _creation.tensor(data, dtype=dtype or (None if hasattr(data, "dtype") else _dtypes.get_default_dtype()), device=device)
        self._array, self.device, self._storage = made._array, made.device, made._storage
        self._node, self._index, self._leaf, self._requires_grad, self._grad = None, 0, None, False, None
        self._view = self._views = None
        if requires_grad:
            self.requires_grad_()

    # ------------------------------------------------------------------------------------------------------------------ the graph
    def _edge(self) -> Any:
        """(node, output index) of what made this tensor; for a leaf its own node and, third, the tensor, which that node holds weakly."""
        if self._node is not None:
            return self._node, self._index
        if self._leaf is None:
            self._leaf = autograd.Leaf(self)
        return self._leaf, 0, self

    @property
    def grad(self) -> Tensor | None:
        """The gradient added up by `backward`: None until the first, assignable."""
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(f"grad: a Tensor or None is needed, not {type(value).__name__}")
            if value.shape != self.shape:
                raise ShapeError(f"grad: the gradient is {tuple(value.shape)} and the tensor is {tuple(self.shape)}; they must be equal")
            if value.device is not self.device or value.dtype != self.dtype:
                raise DeviceError(f"grad: the gradient is {value.dtype} on {value.device}, the tensor {self.dtype} on {self.device}")
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    @property
    def requires_grad(self) -> bool:
        """Whether operations on this tensor are recorded; assigning is `requires_grad_`."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    @property
    def grad_fn(self) -> Any:
        return self._node

    @property
    def is_leaf(self) -> bool:
        return self._node is None

    @property
    def _version(self) -> int:
        return self._storage.version

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        if requires_grad and not _dtypes.is_float(self.dtype):
            raise RuntimeError(f"requires_grad_: only floating tensors have gradients, this one is {self.dtype}; convert it with .float()")
        if not requires_grad and self._node is not None:
            raise RuntimeError("requires_grad_: only a leaf's flag can be cleared; use .detach() for a tensor outside the graph")
        self._requires_grad = bool(requires_grad)
        return self

    def backward(
        self, gradient: Tensor | None = None, retain_graph: bool | None = None, create_graph: bool = False, inputs: Any = None
    ) -> None:
        """Add d(self)/d(leaf), weighted with `gradient`, to `.grad` of every leaf; see `gpudl.autograd.backward`."""
        autograd.backward(self, gradient, retain_graph, create_graph, inputs)

    def detach(self) -> Tensor:
        """The same memory outside the graph."""
        return wrap(self._array, self.device, self._storage)

    def detach_(self) -> Tensor:
        if self._view is not None and self.requires_grad:
            raise RuntimeError("detach_: this tensor is a view, whose base would still write its graph here; use detach()")
        self._node, self._index, self._requires_grad = None, 0, False
        return self

    @property
    def data(self) -> Tensor:
        """The same memory outside the graph and outside the check for in-place changes; prefer `detach()`."""
        return wrap(self._array, self.device)

    @data.setter
    def data(self, value: Tensor) -> None:
        if value.shape != self.shape and self._node is not None:
            raise ShapeError(
                f"data: cannot give a tensor of shape {tuple(self.shape)} that is part of a graph the shape {tuple(value.shape)}"
            )
        self._array, self.device, self._storage = value._array, value.device, Storage()
        self._view = self._views = None

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Handle:
        """Call `hook(grad)` when this tensor's gradient is complete; what it returns, if anything, replaces the gradient."""
        if not self.requires_grad:
            raise RuntimeError("register_hook: the tensor does not require a gradient, so no hook can run")
        node, index = self._edge()[:2]
        return Handle(node.hooks.setdefault(index, {}), hook)

    def retain_grad(self) -> None:
        """Keep `.grad` of a tensor that is not a leaf."""
        if not self.requires_grad:
            raise RuntimeError("retain_grad: the tensor does not require a gradient")
        if self._node is not None:
            mine = weakref.ref(self)

            def keep(g: Tensor) -> None:
                t = mine()
                if t is not None:
                    t._grad = g if t._grad is None else t._grad + g

            self.register_hook(keep)

    def _wrote(self) -> None:
        """Every write of ours to this memory calls this: values saved for backward notice."""
        self._storage.version += 1

    def _check_writable(self, what: str) -> None:
        if self.requires_grad and self._node is None and autograd.is_grad_enabled():
            raise RuntimeError(
                f"{what}: a leaf that requires a gradient cannot be changed in place; do it under no_grad(), or clone() first"
            )
        if self._view is not None and autograd.is_grad_enabled():
            base = self._view[0]
            if base.requires_grad and base._node is None:
                raise RuntimeError(
                    f"{what}: this is a view of a leaf that requires a gradient, which cannot be changed in place; do it under no_grad(), or clone() first"
                )
            if base.requires_grad and not self._is_tracked():
                raise RuntimeError(f"{what}: {_UNTRACKED}")
        if any(s == 0 and n > 1 for s, n in zip(self._array.strides, self._array.shape, strict=True)) and self._array.size:
            raise RuntimeError(f"{what}: elements of this expanded tensor {tuple(self.shape)} share memory; clone() it first")
        if isinstance(self._array, np.ndarray) and not self._array.flags.writeable:
            raise RuntimeError(f"{what}: this memory is read-only; clone() the tensor first")

    def _made_view(self, view: Tensor, op: Any) -> None:
        """Note that `view` shows this tensor's memory and that `op` made it, so that an in-place change of either reaches the other's graph.

        A view made outside the graph (under no_grad) of a tensor inside it, and what an op that is no view op hands through, is not
        tracked: changing it in place where gradients are recorded is an error.
        """
        base, steps = (self, ()) if self._view is None else self._view
        view._view = base, (*steps, (type(op), op.params))
        if op.view and (self._view is None or self._is_tracked()) and (autograd.is_grad_enabled() or not base.requires_grad):
            if base._views is None:
                base._views = weakref.WeakValueDictionary()
            base._views[id(view)] = view

    def _is_tracked(self) -> bool:
        return self._view is not None and self._view[0]._views is not None and self._view[0]._views.get(id(self)) is self

    def _become(self, result: Tensor, what: str) -> Tensor:
        """Take over the value (into the same memory) and the place in the graph of `result`: what every in-place method does."""
        self._check_writable(what)
        if result.device is not self.device:
            raise DeviceError(
                f"{what}: the result is on {result.device} and does not fit in place into a tensor on {self.device}; use .to()"
            )
        if result.shape != self.shape:
            raise ShapeError(f"{what}: the result is {tuple(result.shape)} and does not fit in place into {tuple(self.shape)}")
        if not _dtypes.can_cast(result.dtype, self.dtype):
            raise RuntimeError(
                f"{what}: the result is {result.dtype} and cannot be written into {self.dtype}; use the out-of-place operation"
            )
        made = result._node  # before a conversion
        if result.dtype != self.dtype:
            result = result.to(self.dtype)
        if result.requires_grad:
            if result._node is None:  # a leaf is not made of anything: its copy is
                result = ops.clone(result)
            if self._view is not None and not self._is_tracked():
                raise RuntimeError(f"{what}: {_UNTRACKED}")
        for saved in (made.saved or {}).values() if isinstance(made, autograd.Op) and made is not self._node else ():
            if saved.storage is self._storage:  # its backward reads what is about to be overwritten: it gets a copy
                saved.array, saved.storage = kernels.contiguous(self.device, saved.array, copy=True), None
        if result._array is not self._array:
            kernels.copy_into(self.device, self._array, result._array)
        self._wrote()
        if hasattr(result._storage, "nan"):
            self._storage.nan = result._storage.nan
        if result.requires_grad or autograd.is_grad_enabled():
            self._rebase(result)
        return self

    def _relaid(self, function: Callable[..., Tensor], what: str) -> Tensor:
        """Show the same memory through a view operation from now on: what squeeze_, t_ and their like do.

        The views of this tensor keep the layout that they were made from: it lives on in a base that stands behind them all.
        """
        base = self if self._view is None else self._view[0]
        leaf = base.requires_grad and base._node is None
        if leaf and (autograd.is_grad_enabled() or self._views):
            raise RuntimeError(
                f"{what}: a leaf that requires a gradient, or a view of one, cannot be changed in place; use {what[:-1]}, or detach() first"
            )
        source = self
        if self._view is None and self._views:
            source = wrap(self._array, self.device, self._storage)
            source._node, source._index, source._requires_grad, source._views = self._node, self._index, self._requires_grad, self._views
            for view in list(source._views.values()):
                view._view = source, view._view[1]
            self._views = None
        with autograd.set_grad_enabled(self._node is not None):
            made = function(source)
        self._array = made._array
        if self._node is not None:
            self._node, self._index = made._node, made._index
        if source is not self or self._view is not None:
            self._view = made._view
            if source is not self:
                source._views[id(self)] = self
        return self

    def _rebase(self, written: Tensor) -> None:
        """The memory now holds the value of `written`: take its place in the graph, and tell the base and all views of this memory."""
        base, steps = (self, ()) if self._view is None else self._view
        if not (base.requires_grad or written.requires_grad):
            return
        if steps or not written.requires_grad:  # a part is written, or the old value gets a gradient of zeros, as in PyTorch
            written = ops.written(base, written, steps)
        base._node, base._index, base._requires_grad = written._node, written._index, written.requires_grad
        if base._views:
            with autograd.enable_grad():
                for view in list(base._views.values()):
                    again = ops.follow(base, view._view[1])
                    view._node, view._index, view._requires_grad = again._node, again._index, again.requires_grad

    # ------------------------------------------------------------------------------------------------------------------ facts
    @property
    def shape(self) -> Size:
        return Size(self._array.shape)

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self._array.shape[dim]

    @property
    def dtype(self) -> np.dtype:
        return self._array.dtype

    @property
    def ndim(self) -> int:
        return self._array.ndim

    def dim(self) -> int:
        return self._array.ndim

    ndimension = dim

    def numel(self) -> int:
        return int(self._array.size)

    nelement = numel

    @property
    def nbytes(self) -> int:
        return int(self._array.nbytes)

    def element_size(self) -> int:
        return int(self._array.itemsize)

    @property
    def itemsize(self) -> int:
        return int(self._array.itemsize)

    def stride(self, dim: int | None = None) -> Any:
        """Strides in elements."""
        steps = tuple(s // self._array.itemsize for s in self._array.strides)
        return steps if dim is None else steps[dim]

    def is_contiguous(self) -> bool:
        return bool(self._array.flags.c_contiguous)

    def is_floating_point(self) -> bool:
        return _dtypes.is_float(self.dtype)

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    @property
    def is_cpu(self) -> bool:
        return self.device.type == "cpu"

    def is_nonzero(self) -> bool:
        """Whether the only element is not 0; RuntimeError for more or fewer elements."""
        return bool(self)

    def is_same_size(self, other: Tensor) -> bool:
        return self.shape == other.shape

    def data_ptr(self) -> int:
        return kernels.pointer(self._array)

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return int(self._array.shape[0])

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d tensor; use .item()")
        return (self[i] for i in range(len(self)))

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        host = self.device.to_host(self._array)
        small = host.astype(np.float32) if host.dtype == _dtypes.bfloat16 else host
        text = np.array2string(small, separator=", ", precision=4, threshold=1000, edgeitems=3, prefix="tensor(")
        facts = []
        if self.device is not cpu:
            facts.append(f"device='{self.device}'")
        if self.numel() == 0 and self.ndim != 1:
            facts.append(f"size={tuple(self.shape)}")
        if self.dtype not in (_dtypes.get_default_dtype(), _dtypes.int64, _dtypes.bool_) or self.numel() == 0:
            facts.append(f"dtype={self.dtype}")
        if self._node is not None:
            facts.append(f"grad_fn=<{self._node.name}>")
        elif self.requires_grad:
            facts.append("requires_grad=True")
        return f"tensor({', '.join([text, *facts])})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.ndim == 0 and spec else repr(self)

    # ------------------------------------------------------------------------------------------------------- out of and between devices
    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The NumPy array that shares this CPU tensor's memory (writes through it are not seen by the in-place check).

        TypeError for a tensor on another device, RuntimeError for one that requires a gradient; force=True detaches and copies as needed.
        """
        if self.device is not cpu and not force:
            raise TypeError(f"numpy: the tensor is on {self.device}; bring it to the host with .cpu() first")
        if self.requires_grad and not force:
            raise RuntimeError("numpy: the tensor requires a gradient; use .detach().numpy()")
        return self.device.to_host(self._array)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        host = self.numpy()
        if dtype is not None and np.dtype(dtype) != host.dtype:
            return host.astype(dtype)
        return host.copy() if copy else host

    def item(self) -> Any:
        """The value of a one-element tensor as a Python number; waits for the device and raises what its kernels have reported."""
        if self.numel() != 1:
            raise RuntimeError(f"item: a tensor with {self.numel()} elements {tuple(self.shape)} cannot become one number; use .tolist()")
        return self.device.to_host(self._array).reshape(-1)[0].item()

    def tolist(self) -> Any:
        return self.device.to_host(self._array).tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if _dtypes.is_float(self.dtype) or self.numel() != 1:
            raise TypeError(f"only an integer tensor of one element can be an index, not {self.dtype} {tuple(self.shape)}")
        return int(self.item())

    def __bool__(self) -> bool:
        if self.numel() != 1:
            raise RuntimeError(f"the truth value of a tensor with {self.numel()} elements is ambiguous; use .any() or .all()")
        return bool(self.item())

    @property
    def __cuda_array_interface__(self) -> Any:
        if self.device.type != "cuda":
            raise AttributeError(f"__cuda_array_interface__: the tensor is on {self.device}")
        if self.requires_grad:
            raise RuntimeError("__cuda_array_interface__: the tensor requires a gradient; use .detach()")
        return self._array.__cuda_array_interface__

    def __dlpack__(self, *, stream: Any = None, **options: Any) -> Any:
        """Hand the memory to another library; BufferError for what DLPack consumers cannot see (a gradient, emulator memory, bfloat16)."""
        if self.requires_grad:
            raise BufferError("__dlpack__: the tensor requires a gradient, which another library would not see; use .detach()")
        if self.device.type == "emulator":
            raise BufferError("__dlpack__: emulator memory has no DLPack device; use .cpu()")
        if self.dtype == _dtypes.bfloat16:
            raise BufferError("__dlpack__: NumPy cannot export bfloat16; use .float()")
        return self._array.__dlpack__(stream=stream, **options)

    def __dlpack_device__(self) -> Any:
        if self.device.type == "emulator":
            raise BufferError("__dlpack_device__: emulator memory has no DLPack device; use .cpu()")
        return self._array.__dlpack_device__()

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        """This tensor with another dtype, on another device, or both: to(dtype), to(device), to(device, dtype), to(other)."""
        return ops.to(self, *args, **kwargs)

    def cpu(self) -> Tensor:
        return ops.to(self, "cpu")

    def cuda(self, index: int | None = None) -> Tensor:
        return ops.to(self, Device("cuda", index))

    def type(self, dtype: Any = None) -> Any:
        return str(self.dtype) if dtype is None else ops.to(self, dtype)

    def float(self) -> Tensor:
        return ops.to(self, _dtypes.float32)

    def double(self) -> Tensor:
        return ops.to(self, _dtypes.float64)

    def half(self) -> Tensor:
        return ops.to(self, _dtypes.float16)

    def bfloat16(self) -> Tensor:
        return ops.to(self, _dtypes.bfloat16)

    def long(self) -> Tensor:
        return ops.to(self, _dtypes.int64)

    def int(self) -> Tensor:
        return ops.to(self, _dtypes.int32)

    def bool(self) -> Tensor:
        return ops.to(self, _dtypes.bool_)

    def byte(self) -> Tensor:
        return ops.to(self, _dtypes.uint8)

    def char(self) -> Tensor:
        return ops.to(self, _dtypes.int8)

    def short(self) -> Tensor:
        return ops.to(self, _dtypes.int16)

    def new_tensor(self, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: Any = False) -> Tensor:
        """`gpudl.tensor` with this tensor's dtype and device unless given."""
        from gpudl import _creation

        return _creation.tensor(data, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad)

    def _new(self, name: str, size: Any, *value: Any, dtype: Any = None, device: Any = None, requires_grad: Any = False) -> Tensor:
        from gpudl import _creation

        options = {"dtype": dtype or self.dtype, "device": device or self.device, "requires_grad": requires_grad}
        return getattr(_creation, name)(as_shape(size), *value, **options)

    def new_zeros(self, *size: Any, **options: Any) -> Tensor:
        """`gpudl.zeros` with this tensor's dtype and device unless given; new_ones, new_empty and new_full likewise."""
        return self._new("zeros", size, **options)

    def new_ones(self, *size: Any, **options: Any) -> Tensor:
        return self._new("ones", size, **options)

    def new_empty(self, *size: Any, **options: Any) -> Tensor:
        return self._new("empty", size, **options)

    def new_full(self, size: Any, fill_value: Any, **options: Any) -> Tensor:
        return self._new("full", (size,), fill_value, **options)

    def type_as(self, other: Tensor) -> Tensor:
        return ops.to(self, other.dtype)

    def clone(self) -> Tensor:
        return ops.clone(self)

    def contiguous(self) -> Tensor:
        return self if self.is_contiguous() else ops.clone(self)

    def __deepcopy__(self, memo: dict[Any, Any]) -> Tensor:
        if self._node is not None:
            raise RuntimeError("deepcopy: only leaf tensors can be copied deeply; use .detach().clone()")
        with autograd.no_grad():
            made = ops.clone(self)
        copied = type(self).__new__(type(self))
        for name in ("_array", "device", "_storage", "_node", "_index", "_leaf", "_grad", "_view", "_views"):
            setattr(copied, name, getattr(made, name))
        copied._requires_grad = self.requires_grad
        memo[id(self)] = copied
        if self._grad is not None:
            copied._grad = self._grad.detach().clone()
        return copied

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _rebuild, (type(self), self.device.to_host(self._array), str(self.device), self.requires_grad)

    # ------------------------------------------------------------------------------------------------------------------ operations
    softmax = _method("softmax")
    log_softmax = _method("log_softmax")
    # --- elementwise: each also in place, with an underscore
    add, add_ = _both("add")
    sub, sub_ = _both("sub")
    mul, mul_ = _both("mul")
    div, div_ = _both("div")
    subtract, subtract_, multiply, multiply_ = sub, sub_, mul, mul_
    divide, divide_, true_divide, true_divide_ = div, div_, div, div_
    floor_divide, floor_divide_ = _both("floor_divide")
    remainder, remainder_ = _both("remainder")
    fmod, fmod_ = _both("fmod")
    pow, pow_ = _both("pow")
    atan2, atan2_ = _both("atan2")
    maximum = _method("maximum")
    minimum = _method("minimum")
    eq, eq_ = _both("eq")
    ne, ne_ = _both("ne")
    lt, lt_ = _both("lt")
    le, le_ = _both("le")
    gt, gt_ = _both("gt")
    ge, ge_ = _both("ge")
    logical_and, logical_and_ = _both("logical_and")
    logical_or, logical_or_ = _both("logical_or")
    logical_xor, logical_xor_ = _both("logical_xor")
    logical_not, logical_not_ = _both("logical_not")
    bitwise_and, bitwise_and_ = _both("bitwise_and")
    bitwise_or, bitwise_or_ = _both("bitwise_or")
    bitwise_xor, bitwise_xor_ = _both("bitwise_xor")
    bitwise_not, bitwise_not_ = _both("bitwise_not")
    neg, neg_ = _both("neg")
    abs, abs_ = _both("abs")
    sign, sign_ = _both("sign")
    square, square_ = _both("square")
    reciprocal, reciprocal_ = _both("reciprocal")
    exp, exp_ = _both("exp")
    expm1, expm1_ = _both("expm1")
    log, log_ = _both("log")
    log1p, log1p_ = _both("log1p")
    log2, log2_ = _both("log2")
    log10, log10_ = _both("log10")
    sqrt, sqrt_ = _both("sqrt")
    rsqrt, rsqrt_ = _both("rsqrt")
    sin, sin_ = _both("sin")
    cos, cos_ = _both("cos")
    tanh, tanh_ = _both("tanh")
    sigmoid, sigmoid_ = _both("sigmoid")
    erf, erf_ = _both("erf")
    relu, relu_ = _both("relu")
    floor, floor_ = _both("floor")
    ceil, ceil_ = _both("ceil")
    round, round_ = _both("round")
    trunc, trunc_ = _both("trunc")
    clamp, clamp_ = _both("clamp")
    clip, clip_ = clamp, clamp_
    masked_fill, masked_fill_ = _both("masked_fill")
    clamp_min, clamp_min_ = _both("clamp_min")
    clamp_max, clamp_max_ = _both("clamp_max")
    addcmul, addcmul_ = _both("addcmul")
    addcdiv, addcdiv_ = _both("addcdiv")
    lerp, lerp_ = _both("lerp")
    nan_to_num, nan_to_num_ = _both("nan_to_num")
    isclose = _method("isclose")
    allclose = _method("allclose")
    equal = _method("equal")
    isnan = _method("isnan")
    isinf = _method("isinf")
    isfinite = _method("isfinite")

    def where(self, condition: Tensor, other: Any) -> Tensor:
        return ops.where(condition, self, other)

    # --- operators
    __add__ = _operator("add")
    __radd__ = _operator("add", reflected=True)
    __iadd__ = _assignment("add")
    __sub__ = _operator("sub")
    __rsub__ = _operator("sub", reflected=True)
    __isub__ = _assignment("sub")
    __mul__ = _operator("mul")
    __rmul__ = _operator("mul", reflected=True)
    __imul__ = _assignment("mul")
    __truediv__ = _operator("div")
    __rtruediv__ = _operator("div", reflected=True)
    __itruediv__ = _assignment("div")
    __floordiv__ = _operator("floor_divide")
    __rfloordiv__ = _operator("floor_divide", reflected=True)
    __ifloordiv__ = _assignment("floor_divide")
    __mod__ = _operator("remainder")
    __rmod__ = _operator("remainder", reflected=True)
    __imod__ = _assignment("remainder")
    __pow__ = _operator("pow")
    __rpow__ = _operator("pow", reflected=True)
    __ipow__ = _assignment("pow")
    __and__ = _operator("bitwise_and")
    __rand__ = _operator("bitwise_and", reflected=True)
    __iand__ = _assignment("bitwise_and")
    __or__ = _operator("bitwise_or")
    __ror__ = _operator("bitwise_or", reflected=True)
    __ior__ = _assignment("bitwise_or")
    __xor__ = _operator("bitwise_xor")
    __rxor__ = _operator("bitwise_xor", reflected=True)
    __ixor__ = _assignment("bitwise_xor")
    __eq__ = _operator("eq")
    __ne__ = _operator("ne")
    __lt__ = _operator("lt")
    __le__ = _operator("le")
    __gt__ = _operator("gt")
    __ge__ = _operator("ge")
    __neg__ = _method("neg")
    __pos__ = _method("positive")
    __abs__ = _method("abs")
    __invert__ = _method("bitwise_not")

    # --- shapes
    def reshape(self, *shape: Any) -> Tensor:
        return ops.reshape(self, *shape)

    def view(self, *shape: Any) -> Tensor:
        return ops.view(self, *shape)

    def reshape_as(self, other: Tensor) -> Tensor:
        return ops.reshape(self, *other.shape)

    def view_as(self, other: Tensor) -> Tensor:
        return ops.view(self, *other.shape)

    def permute(self, *dims: Any) -> Tensor:
        return ops.permute(self, *dims)

    def transpose(self, dim0: Any, dim1: Any) -> Tensor:
        return ops.transpose(self, dim0, dim1)

    swapaxes = swapdims = transpose

    def movedim(self, source: Any, destination: Any) -> Tensor:
        return ops.movedim(self, source, destination)

    moveaxis = movedim

    def t(self) -> Tensor:
        return ops.t(self)

    @property
    def T(self) -> Tensor:
        """All axes in reverse order."""
        return ops.permute(self, tuple(reversed(range(self.ndim))))

    @property
    def mT(self) -> Tensor:
        """The last two axes exchanged."""
        if self.ndim < 2:
            raise ShapeError(f"mT: the tensor is {tuple(self.shape)}; at least 2 dimensions are needed")
        return ops.transpose(self, -2, -1)

    def expand(self, *sizes: Any) -> Tensor:
        return ops.expand(self, *sizes)

    def expand_as(self, other: Tensor) -> Tensor:
        return ops.expand(self, *other.shape)

    def broadcast_to(self, shape: Any) -> Tensor:
        return ops.broadcast_to(self, shape)

    squeeze = _method("squeeze")
    unsqueeze = _method("unsqueeze")
    squeeze_ = _relayout("squeeze")
    unsqueeze_ = _relayout("unsqueeze")
    transpose_ = _relayout("transpose")
    swapaxes_ = swapdims_ = transpose_
    t_ = _relayout("t")

    def flatten(self, start_dim: Any = 0, end_dim: Any = -1) -> Tensor:
        return ops.flatten(self, start_dim, end_dim)

    def ravel(self) -> Tensor:
        return ops.ravel(self)

    unflatten = _method("unflatten")

    def __getitem__(self, index: Any) -> Tensor:
        return ops.getitem(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        ops.setitem(self, index, value)

    select = _method("select")
    narrow = _method("narrow")
    unbind = _method("unbind")

    def split(self, split_size: Any, dim: Any = 0) -> tuple[Tensor, ...]:
        return ops.split(self, split_size, dim)

    chunk = _method("chunk")

    def diagonal(self, offset: Any = 0, dim1: Any = 0, dim2: Any = 1) -> Tensor:
        return ops.diagonal(self, offset, dim1, dim2)

    def diag(self, diagonal: Any = 0) -> Tensor:
        return ops.diag(self, diagonal)

    def tril(self, diagonal: Any = 0) -> Tensor:
        return ops.tril(self, diagonal)

    def triu(self, diagonal: Any = 0) -> Tensor:
        return ops.triu(self, diagonal)

    def flip(self, *dims: Any) -> Tensor:
        return ops.flip(self, *dims)

    def roll(self, shifts: Any, dims: Any = None) -> Tensor:
        return ops.roll(self, shifts, dims)

    def repeat(self, *repeats: Any) -> Tensor:
        return ops.repeat(self, *repeats)

    def tile(self, *dims: Any) -> Tensor:
        return ops.tile(self, *dims)

    repeat_interleave = _method("repeat_interleave")
    index_select = _method("index_select")
    gather = _method("gather")
    take_along_dim = _method("take_along_dim")
    scatter = _method("scatter")
    scatter_ = _method("scatter_")
    scatter_add = _method("scatter_add")
    index_add = _method("index_add")
    index_copy = _method("index_copy")

    def masked_select(self, mask: Any) -> Tensor:
        return ops.masked_select(self, mask)

    def nonzero(self, *, as_tuple: Any = False) -> Any:
        return ops.nonzero(self, as_tuple=as_tuple)

    sort = _method("sort")
    argsort = _method("argsort")
    topk = _method("topk")
    scatter_add_ = _inplace("scatter_add")
    index_add_ = _inplace("index_add")
    index_copy_ = _inplace("index_copy")

    # --- reductions
    sum = _method("sum")

    def sum_to_size(self, *size: Any) -> Tensor:
        return ops.sum_to_size(self, *size)

    mean = _method("mean")
    prod = _method("prod")
    max = _method("max")
    min = _method("min")
    amax = _method("amax")
    amin = _method("amin")
    aminmax = _method("aminmax")
    argmax = _method("argmax")
    argmin = _method("argmin")
    any = _method("any")
    all = _method("all")
    count_nonzero = _method("count_nonzero")
    var = _method("var")
    std = _method("std")

    def norm(self, p: Any = "fro", dim: Any = None, keepdim: Any = False, dtype: Any = None) -> Tensor:
        return ops.norm(self, p, dim, keepdim, dtype)

    logsumexp = _method("logsumexp")
    cumsum, cumsum_ = _both("cumsum")
    cumprod, cumprod_ = _both("cumprod")
    median = _method("median")
    unique = _method("unique")
    unique_consecutive = _method("unique_consecutive")
    trace = _method("trace")

    # --- products
    def matmul(self, other: Tensor) -> Tensor:
        return ops.matmul(self, other)

    __matmul__ = _operator("matmul")
    __rmatmul__ = _operator("matmul", reflected=True)

    def mm(self, mat2: Tensor) -> Tensor:
        return ops.mm(self, mat2)

    def bmm(self, mat2: Tensor) -> Tensor:
        return ops.bmm(self, mat2)

    def mv(self, vec: Tensor) -> Tensor:
        return ops.mv(self, vec)

    def dot(self, tensor: Tensor) -> Tensor:
        return ops.dot(self, tensor)

    outer = _method("outer")

    def addmm(self, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
        return ops.addmm(self, mat1, mat2, beta=beta, alpha=alpha)

    # --- made of other operations
    exp2, exp2_ = _both("exp2")
    float_power, float_power_ = _both("float_power")
    frac, frac_ = _both("frac")
    atan, atan_ = _both("atan")
    heaviside, heaviside_ = _both("heaviside")
    hypot, hypot_ = _both("hypot")
    logit, logit_ = _both("logit")
    tan, tan_ = _both("tan")
    xlogy, xlogy_ = _both("xlogy")
    addbmm, addbmm_ = _both("addbmm")
    addmv, addmv_ = _both("addmv")
    addr, addr_ = _both("addr")
    baddbmm, baddbmm_ = _both("baddbmm")
    index_fill, index_fill_ = _both("index_fill")
    index_put, index_put_ = _both("index_put")
    tril_ = _inplace("tril")
    triu_ = _inplace("triu")
    isneginf = _method("isneginf")
    isposinf = _method("isposinf")
    logaddexp = _method("logaddexp")
    logcumsumexp = _method("logcumsumexp")
    nanmean = _method("nanmean")
    nansum = _method("nansum")
    corrcoef = _method("corrcoef")
    cov = _method("cov")
    cross = _method("cross")
    dist = _method("dist")
    inner = _method("inner")
    kron = _method("kron")
    vdot = _method("vdot")
    argwhere = _method("argwhere")
    bincount = _method("bincount")
    diag_embed = _method("diag_embed")
    diagflat = _method("diagflat")
    diff = _method("diff")
    fliplr = _method("fliplr")
    flipud = _method("flipud")
    histc = _method("histc")
    hsplit = _method("hsplit")
    kthvalue = _method("kthvalue")
    quantile = _method("quantile")
    rot90 = _method("rot90")
    take = _method("take")
    tensor_split = _method("tensor_split")
    vsplit = _method("vsplit")
    prelu = _method("prelu")
    msort = _method("msort")
    positive = _method("positive")
    absolute, absolute_ = abs, abs_
    negative, negative_ = neg, neg_
    greater, greater_ = gt, gt_
    greater_equal, greater_equal_ = ge, ge_
    less, less_ = lt, lt_
    less_equal, less_equal_ = le, le_
    not_equal, not_equal_ = ne, ne_
    fix, fix_ = trunc, trunc_
    arctan2, arctan2_ = atan2, atan2_
    arctan, arctan_ = atan, atan_
    ger = outer
    addmm_ = _inplace("addmm")

    # --- random numbers, in place
    uniform_ = _random("uniform_")
    normal_ = _random("normal_")
    bernoulli_ = _random("bernoulli_")
    random_ = _random("random_")
    exponential_ = _random("exponential_")
    bernoulli = _random("bernoulli")
    multinomial = _random("multinomial")

    # --- in place
    def copy_(self, src: Any, non_blocking: Any = False) -> Tensor:
        """Write src (broadcast, cast, from any device) into this tensor's memory."""
        return ops.copy_(self, src)

    def fill_(self, value: Any) -> Tensor:
        return ops.fill_(self, value)

    def zero_(self) -> Tensor:
        return ops.fill_(self, 0)


def _rebuild(kind: type[Tensor], host: np.ndarray, device: str, requires_grad: bool) -> Tensor:
    where = Device(device)
    made = kind.__new__(kind)  # a Parameter stays one
    made._array, made.device, made._storage = where.from_host(host), where, Storage()
    made._node, made._index, made._leaf, made._requires_grad, made._grad = None, 0, None, requires_grad, None
    made._view = made._views = None
    return made


class Handle:
    """Returned by hook registration; `remove()` takes the hook out again. Works as a context manager."""

    _count = 0

    def __init__(self, hooks: dict[Any, Any], hook: Callable[..., Any]):
        Handle._count += 1
        self.id, self._hooks = Handle._count, weakref.ref(hooks) if not isinstance(hooks, dict) else lambda: hooks
        hooks[self.id] = hook

    def remove(self) -> None:
        (self._hooks() or {}).pop(self.id, None)

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def as_shape(shape: Sequence[Any]) -> tuple[int, ...]:
    """(2, 3) from f(2, 3), f((2, 3)) or f(Size); TypeError unless every size is an integer (nothing is rounded)."""
    if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
        shape = shape[0]
    try:
        return tuple([operator.index(n) for n in shape])
    except TypeError:
        raise TypeError(f"shape: sizes must be integers, not {tuple(shape)!r}; // divides without a remainder") from None


from gpudl import autograd, ops  # noqa: E402  (both need the class above)
