"""Reverse-mode automatic differentiation: the graph, the walk through it, and the class that every operation derives from.

The class `Op` describes an operation; an instance is one node of the graph. A node knows its inputs' nodes (edges), so the graph is a chain
of plain references that disappears with its last Tensor. `backward` walks it from the newest node to the oldest with a heap: a consumer is
always younger than what it consumes, so when a node is reached all of its gradient has arrived, and no recursion is needed.
"""

from __future__ import annotations

import contextvars
import functools
import heapq
import itertools
import traceback
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from gpudl import _dtypes, kernels
from gpudl._device import device as Device
from gpudl._errors import DeviceError, ShapeError
from gpudl._tensor import Storage, Tensor, wrap

_enabled: contextvars.ContextVar[bool] = contextvars.ContextVar("gpudl.grad_enabled", default=True)
_anomaly: contextvars.ContextVar[bool] = contextvars.ContextVar("gpudl.anomaly", default=False)
_order = itertools.count(1)


class _Mode:
    """A switch that works as a call, as a context manager and as a decorator, and holds in this thread (context) alone."""

    variable: contextvars.ContextVar[bool]

    def __init__(self, value: bool):
        self.value = value

    def __enter__(self) -> Any:
        self._tokens = [*getattr(self, "_tokens", ()), self.variable.set(self.value)]
        return self

    def __exit__(self, *_: object) -> None:
        self.variable.reset(self._tokens.pop())

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with type(self)(self.value):  # type: ignore[call-arg]
                return function(*args, **kwargs)

        return wrapped


class set_grad_enabled(_Mode):
    """Record operations for backward or not: `set_grad_enabled(False)` as a call, in a `with`, or as a decorator."""

    variable = _enabled

    def __init__(self, mode: bool):
        super().__init__(bool(mode))
        self._before = _enabled.get()
        _enabled.set(self.value)

    def __enter__(self) -> Any:
        self._stack = [*getattr(self, "_stack", ()), self._before]
        _enabled.set(self.value)
        return self

    def __exit__(self, *_: object) -> None:
        _enabled.set(self._stack.pop())

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        _enabled.set(self._before)  # used as a decorator: the call that made this object must not change the mode
        return super().__call__(function)


class _Fixed(_Mode):
    variable = _enabled
    fixed: bool

    def __new__(cls, function: Any = None, *_: Any) -> Any:
        made = object.__new__(cls)
        made.value = cls.fixed
        return made(function) if callable(function) else made  # @no_grad without parentheses

    def __init__(self, *_: Any):
        pass


class no_grad(_Fixed):
    """Operations inside do not record a graph. Context manager or decorator."""

    fixed = False


class enable_grad(_Fixed):
    """Operations inside record a graph again. Context manager or decorator."""

    fixed = True


class inference_mode(no_grad):
    """As no_grad; `inference_mode(False)` changes nothing."""

    def __new__(cls, mode: Any = True) -> Any:
        if callable(mode):
            return super().__new__(cls, mode)
        made = super().__new__(cls)
        made.value = False if mode else _enabled.get()
        return made


def is_grad_enabled() -> bool:
    return _enabled.get()


class set_detect_anomaly(set_grad_enabled):
    """Anomaly mode: backward raises where a gradient is NaN and names the forward line of the op that made the first NaN of the graph.

    That op may lie anywhere in the graph, or outside it (a constant that was computed). Every operation looks at its results, which costs
    time and, on a GPU, waits for it; operations that ran before the mode was on are not known.
    """

    variable = _anomaly

    def __init__(self, mode: bool = True, check_nan: bool = True):
        self.value = bool(mode)
        self._before = _anomaly.get()
        _anomaly.set(self.value)

    def __enter__(self) -> Any:
        self._stack = [*getattr(self, "_stack", ()), self._before]
        _anomaly.set(self.value)
        return self

    def __exit__(self, *_: object) -> None:
        _anomaly.set(self._stack.pop())


class detect_anomaly(_Mode):
    """`with detect_anomaly():` as `set_detect_anomaly`, for the block."""

    variable = _anomaly

    def __init__(self, check_nan: bool = True):
        super().__init__(True)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with detect_anomaly():
                return function(*args, **kwargs)

        return wrapped


class Leaf:
    """The node of a tensor that the user made: where gradients end and add up in `.grad`."""

    __slots__ = ("__weakref__", "hooks", "order", "tensor")
    name = "leaf"
    outputs = 1

    def __init__(self, tensor: Tensor):
        # Weak: the tensor owns its leaf node, and a graph keeps the tensor alive through `Edge`.
        self.tensor = weakref.ref(tensor)
        self.order = 0  # older than every op, so all uses have arrived when the walk comes here
        self.hooks: dict[int, dict[int, Callable[..., Any]]] = {}


class Saved:
    """One value kept for backward: its array, the version its memory had, and its place in the graph."""

    __slots__ = ("array", "index", "kind", "storage", "version")
    INPUT, OUTPUT, OTHER = range(3)

    def __init__(self, array: Any, storage: Storage | None, kind: int, index: int):
        self.array, self.storage, self.kind, self.index = array, storage, kind, index
        self.version = storage.version if storage is not None else 0


class Sample:
    """Arguments of one call of an op's public function, for tests and benches.

    NumPy arrays become Tensors (floating ones require gradients), everything else passes as it is. Options that start with an underscore
    are for the driver: _grad=False (not differentiable here), _constant=(names) of keywords that need no gradient, _tolerance=factor on the
    derived tolerance, _deal=True (dear to compile: one rung of a ladder runs it, not each).
    """

    def __init__(self, *args: Any, **kwargs: Any):
        self.options = {k[1:]: v for k, v in kwargs.items() if k.startswith("_")}
        self.args, self.kwargs = args, {k: v for k, v in kwargs.items() if not k.startswith("_")}

    def __repr__(self) -> str:
        def show(v: Any) -> str:
            return f"{v.dtype}{list(v.shape)}" if isinstance(v, np.ndarray) else repr(v)

        return f"Sample({', '.join([show(a) for a in self.args] + [f'{k}={show(v)}' for k, v in self.kwargs.items()])})"


class Cost:
    """The least work of one call: bytes (inputs once, outputs once) and floating-point operations."""

    __slots__ = ("bytes", "flops")

    def __init__(self, bytes: float, flops: float):
        self.bytes, self.flops = bytes, flops


class Op:
    """One operation. A subclass gives, for arrays of its device:

    forward_cpu(self, *arrays, **params)        NumPy in, NumPy out; halves arrive as float32 and are rounded once by this class
    backward_cpu(self, dy, <names>)             gradients of the inputs, in order; <names> are saved values or params, found by name
    forward_kernel, backward_kernel             the same with `self.launch`; on a GPU and in the emulator
    backward_graph(self, dy, <names>)           the same formula over Tensors, for create_graph=True
    literals, samples, errors, cost             read off the class by tests and benches

    `self.save(y=y)` keeps arrays for backward. An array that is an input or the output keeps its place in the graph; any other is a constant
    to backward_graph. A gradient may come back in the broadcast shape and in the computing dtype: this class sums and rounds it.
    `self.needs[i]` says whether input i needs a gradient. Without backward_kernel (or backward_cpu), backward_graph runs there.
    """

    name: ClassVar[str]
    function: ClassVar[str]  # the public function in the op's module, where it has another name
    ladders: ClassVar[tuple[str, ...]] = ()  # those it launches, where their first name is not the op's
    registry: ClassVar[dict[str, type[Op]]] = {}
    widen: ClassVar[bool] = True  # compute halves in float32 on the CPU
    view: ClassVar[bool] = False  # the output shows the input's memory where it can: in-place changes pass through
    outputs = 1
    _names: ClassVar[dict[str, tuple[str, ...]]]

    # of a node
    device: Device
    params: dict[str, Any]
    needs: tuple[bool, ...]
    edges: tuple[Any, ...]
    meta: tuple[Any, ...]  # (shape, dtype) of each input
    order: int
    saved: dict[str, Saved] | None
    rungs: dict[str, kernels.Kernel]
    hooks: dict[int, dict[int, Callable[..., Any]]]
    trace: str | None = None  # in anomaly mode the forward's line, and the origin of the first NaN among its inputs and outputs
    nan: tuple[int, str] | None = None

    forward_cpu: ClassVar[Callable[..., Any]]
    forward_kernel: ClassVar[Callable[..., Any]]
    backward_cpu: ClassVar[Callable[..., Any]]
    backward_kernel: ClassVar[Callable[..., Any]]
    backward_graph: ClassVar[Callable[..., Any]]

    def __init_subclass__(cls, name: str = "", function: str = "", **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if name:
            cls.name, cls.function = name, function or name
            Op.registry[name] = cls
        cls._names = {
            kind: kernels._names(getattr(cls, kind))[2:]
            for kind in ("backward_cpu", "backward_kernel", "backward_graph")
            if hasattr(cls, kind)
        }

    # ------------------------------------------------------------------------------------------------------------------- forward
    @classmethod
    def apply(cls, *inputs: Tensor | None, **params: Any) -> Any:
        """Run forward on the inputs' device and, where a gradient is needed, leave a node behind. None is an input that is absent."""
        op = cls.__new__(cls)
        op.params = params
        device = op.device = cls.common_device(inputs)
        recording = _enabled.get()
        op.needs = tuple([recording and t is not None and t.requires_grad for t in inputs])
        arrays = [None if t is None else t._array for t in inputs]
        op._pending = {}  # type: ignore[attr-defined]
        op.rungs = {}
        op.picked = kernels.picked()  # type: ignore[attr-defined]
        if device.kernels:
            given = arrays
            if not hasattr(cls, "forward_kernel"):
                raise NotImplementedError(f"{cls.name}: no kernel computes this on {device}; move the inputs with .cpu()")
            out = op.forward_kernel(*arrays, **params)
        else:
            given = [a.astype(np.float32) if a is not None and a.dtype in _dtypes.HALVES else a for a in arrays] if cls.widen else arrays
            with np.errstate(all="ignore"):
                out = op.forward_cpu(*given, **params)
        outs = out if isinstance(out, tuple) else (out,)
        if given is not arrays:
            final = tuple(op._round(o, arrays) for o in outs)
        else:
            final = outs
        record = any(op.needs)
        tensors = tuple([op._wrap(o, inputs, arrays, i, record) for i, o in enumerate(final)])
        if record:
            op.order = next(_order)
            op.hooks = {}
            op.edges = tuple([t._edge() if need else None for t, need in zip(inputs, op.needs, strict=True)])  # type: ignore[union-attr]
            op.meta = tuple([(t.shape, t._array.dtype) if t is not None else None for t in inputs])  # type: ignore[attr-defined]
            op.out_meta = tuple([(o.shape, o.dtype) for o in final])  # type: ignore[attr-defined]
            op.outputs = len(final)
            op._keep(given, arrays, inputs, outs, final, tensors)
        else:
            op.saved = None
        op._pending = {}  # type: ignore[attr-defined]
        if _anomaly.get():
            op._note_nan(inputs, tensors)
        return tensors[0] if out is not outs else tensors

    @classmethod
    def common_device(cls, inputs: Sequence[Tensor | None]) -> Device:
        device = None
        for t in inputs:
            if t is None:
                continue
            if device is None:
                device = t.device
            elif t.device is not device:
                found = ", ".join(f"input {i} on {t.device}" for i, t in enumerate(inputs) if t is not None)
                raise DeviceError(f"{cls.name}: {found}; all inputs must be on one device. Move them with .to({str(device)!r})")
        assert device is not None, f"{cls.name}: an op needs at least one tensor"
        return device

    def _round(self, out: Any, arrays: Sequence[Any]) -> Any:
        """A float32 result of half inputs, rounded once to their common dtype."""
        if out.dtype != np.float32:
            return out
        dtype = functools.reduce(_dtypes._promote_two, [a.dtype for a in arrays if a is not None and _dtypes.is_float(a.dtype)])
        return out if dtype == np.float32 else out.astype(dtype)

    def _wrap(self, out: Any, inputs: Sequence[Tensor | None], arrays: Sequence[Any], index: int, record: bool) -> Tensor:
        source = None
        if getattr(out, "base", None) is not None or any(out is a for a in arrays):  # a view shares its input's storage
            for t, a in zip(inputs, arrays, strict=True):
                if t is not None and (out is a or (a.size and out.size and self.device.shares_memory(out, a))):
                    source = t
                    break
        if source is None:
            tensor = wrap(out, self.device)
        else:
            tensor = wrap(out, self.device, source._storage)
            if _dtypes.is_float(out.dtype):
                source._made_view(tensor, self)
        if record and _dtypes.is_float(out.dtype):
            tensor._node, tensor._index, tensor._requires_grad = self, index, True
        return tensor

    def save(self, *values: Any, **named: Any) -> Any:
        """Keep arrays for backward under these names; returns them (one alone, several as a tuple), so that forward can end with it."""
        self._pending.update(named)  # type: ignore[attr-defined]
        out = tuple(named.values())
        return out[0] if len(out) == 1 else out

    def _keep(self, given: Any, arrays: Any, inputs: Any, outs: Any, final: Any, tensors: Any) -> None:
        saved = {}
        for name, value in self._pending.items():  # type: ignore[attr-defined]
            if value is None:
                continue
            kept = None
            for i, g in enumerate(given):
                if value is g:
                    kept = Saved(arrays[i], inputs[i]._storage, Saved.INPUT, i)
                    break
            else:
                for i, o in enumerate(outs):
                    if value is o:
                        kept = Saved(final[i], tensors[i]._storage, Saved.OUTPUT, i)
                        break
            saved[name] = kept if kept is not None else Saved(value, None, Saved.OTHER, -1)
        self.saved = saved

    def launch(self, ladder: str, /, defines: Mapping[str, Any] | None = None, **arguments: Any) -> None:
        """Launch the ladder's rung on arguments named as the kernel's parameters. Backward launches what was picked at forward."""
        self.rungs[ladder] = kernels.launch(self.device, ladder, arguments, self.picked, defines)  # type: ignore[attr-defined]

    # ------------------------------------------------------------------------------------------------------------------ backward
    def backward(self, grads: list[Any], create_graph: bool) -> Iterable[Any]:
        """Gradients for each input from the gradients of the outputs: arrays in, arrays out, or Tensors with create_graph."""
        if self.saved is None:
            raise RuntimeError(
                f"{self.name}: backward through a graph that an earlier backward has freed; pass retain_graph=True to that first backward"
            )
        kind = "backward_kernel" if self.device.kernels else "backward_cpu"
        if create_graph or kind not in self._names:
            return self._backward_tensors(grads, create_graph)
        narrow = not self.device.kernels and self.widen
        values = {}
        for name in self._names[kind]:
            if name in self.saved:
                array = self._checked(name)
                values[name] = array.astype(np.float32) if narrow and array.dtype in _dtypes.HALVES else array
            else:
                values[name] = self.params.get(name)
        dys = [g.astype(np.float32) if g is not None and narrow and g.dtype in _dtypes.HALVES else g for g in grads]
        with np.errstate(all="ignore"):
            out = getattr(self, kind)(dys[0] if self.outputs == 1 or len(dys) == 1 else self._first(dys), **values)
        return [self._fit(g, i) for i, g in enumerate(out if isinstance(out, tuple) else (out,))]

    @staticmethod
    def _first(dys: list[Any]) -> Any:
        """Ops have one differentiable output (index 0); the others (indices, masks) carry no gradient. `Function` overrides `backward`."""
        return dys[0]

    def _backward_tensors(self, grads: list[Any], create_graph: bool) -> list[Any]:
        if "backward_graph" not in self._names:
            raise NotImplementedError(f"{self.name}: no gradient of its gradient (create_graph=True) is known")
        dy = grads[0] if isinstance(grads[0], Tensor) else wrap(grads[0], self.device)
        values = {}
        for name in self._names["backward_graph"]:
            values[name] = self._tensor(name) if name in self.saved else self.params.get(name)  # type: ignore[operator]
        with set_grad_enabled(create_graph), _Picked(self.picked):  # type: ignore[attr-defined]
            out = self.backward_graph(dy, **values)
        outs = out if isinstance(out, tuple) else (out,)
        if create_graph:
            return [self._fit_tensor(g, i) for i, g in enumerate(outs)]
        return [None if g is None else self._fit(g._array, i) for i, g in enumerate(outs)]

    def _checked(self, name: str) -> Any:
        saved = self.saved[name]  # type: ignore[index]
        if saved.storage is not None and saved.storage.version != saved.version:
            raise RuntimeError(
                f"{self.name}: {name} {tuple(saved.array.shape)} was changed in place after the forward that needs it "
                f"(version {saved.storage.version}, expected {saved.version}); use the out-of-place operation, or clone() before the change"
            )
        return saved.array

    def _tensor(self, name: str) -> Tensor:
        """A saved value as a Tensor in its place in the graph."""
        array, saved = self._checked(name), self.saved[name]  # type: ignore[index]
        tensor = wrap(array, self.device, saved.storage)
        if saved.kind == Saved.INPUT and self.needs[saved.index]:
            tensor._node, tensor._index = self.edges[saved.index][:2]
            if isinstance(tensor._node, Leaf):
                return self.edges[saved.index][2]
            tensor._requires_grad = True
        elif saved.kind == Saved.OUTPUT and _dtypes.is_float(array.dtype):
            tensor._node, tensor._index, tensor._requires_grad = self, saved.index, True
        return tensor

    def _fit(self, g: Any, i: int) -> Any:
        """A gradient brought to its input's shape (summed over broadcast axes) and dtype."""
        if g is None or not self.needs[i]:
            return None
        shape, dtype = self.meta[i]  # type: ignore[attr-defined]
        if g.shape != shape:
            g = reduce_to(g, shape, self.device)
        if g.dtype != dtype:
            if self.device.kernels:
                out = self.device.empty(shape, dtype)
                kernels.copy_into(self.device, out, g)
                return out
            g = g.astype(dtype)
        return g

    def _fit_tensor(self, g: Tensor | None, i: int) -> Tensor | None:
        if g is None or not self.needs[i]:
            return None
        shape, dtype = self.meta[i]  # type: ignore[attr-defined]
        if g.shape != shape:
            g = g.sum_to_size(shape)
        return g if g.dtype == dtype else g.to(dtype)

    def free(self) -> None:
        """Let go of what was saved; a second backward through this node is an error from now on. One that saved nothing runs again."""
        if self.saved:
            self.saved = None

    # ------------------------------------------------------------------------------------------------------------------- anomaly
    def _note_nan(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> None:
        """Keep the forward's line, and where the first NaN seen here comes from: with the node, and with the memory that holds it."""
        self.trace = user_line()
        for i, t in enumerate(inputs):
            if t is not None and _has_nan(self.device, t._array):
                if not hasattr(t._storage, "nan"):
                    t._storage.nan = (
                        next(_order),
                        f"{self.name}: the first NaN was in input {i} of this op, whose forward ran at {self.trace}",
                    )
                self.nan = t._storage.nan if self.nan is None else min(self.nan, t._storage.nan)
        if any(_has_nan(self.device, t._array) for t in outputs):
            if self.nan is None:  # an op inside a Function's forward may have been seen to make it
                inside = [t._storage.nan for t in outputs if hasattr(t._storage, "nan")]
                self.nan = min(inside, default=(next(_order), f"{self.name}: the first NaN was made by this op's forward at {self.trace}"))
            for t in outputs:
                t._storage.nan = self.nan

    def __repr__(self) -> str:
        return f"<{self.name} backward>"


class _Picked:
    """Inside, launches use the rungs that were picked when a forward ran."""

    def __init__(self, picked: Mapping[str, str]):
        self.value = picked

    def __enter__(self) -> None:
        self.token = kernels._picked.set(self.value)

    def __exit__(self, *_: object) -> None:
        kernels._picked.reset(self.token)


def user_line() -> str:
    """file:line and text of the newest frame outside gpudl's own package."""
    here = __file__.rpartition("/")[0] + "/"
    for frame in reversed(traceback.extract_stack()):
        if not frame.filename.startswith(here) and "importlib" not in frame.filename:
            return f"{frame.filename}:{frame.lineno}, in {frame.name}: {frame.line}"
    return "an unknown line"


def reduce_to(g: Any, shape: tuple[int, ...], device: Device) -> Any:
    """An array summed over the axes along which `shape` was broadcast."""
    lead = g.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(lead + i for i, n in enumerate(shape) if n == 1 and g.shape[lead + i] != 1)
    if not device.kernels:
        return g.sum(axis=axes, keepdims=True).reshape(shape) if axes else g.reshape(shape)
    from gpudl import ops

    with no_grad():
        return ops.sum(wrap(g, device), dim=axes, keepdim=True)._array.reshape(shape)


# --------------------------------------------------------------------------------------------------------------------------- the walk
def _accumulate(device: Device, a: Any, b: Any) -> Any:
    """a + b of two gradients; Tensors where the walk builds a graph."""
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return a + b
    if not device.kernels:
        with np.errstate(all="ignore"):  # inf - inf is NaN, and no warning, as everywhere
            return a + b
    from gpudl import ops

    with no_grad():
        return ops.add(wrap(a, device), wrap(b, device))._array


def _reaching(roots: Iterable[Any], targets: Mapping[int, int]) -> set[int]:
    """ids of the nodes on a path from a root to a target (ids with their creation order)."""
    oldest = min(targets.values(), default=0)
    reaching: set[int] = set(targets)
    seen: set[int] = set()
    stack = [(node, False) for node in roots]
    while stack:
        node, done = stack.pop()
        if done:
            if any(e is not None and id(e[0]) in reaching for e in node.edges):
                reaching.add(id(node))
            continue
        if id(node) in seen or isinstance(node, Leaf) or node.order < oldest:
            continue
        seen.add(id(node))
        stack.append((node, True))
        stack.extend((e[0], False) for e in node.edges if e is not None)
    return reaching


def _walk(
    roots: Sequence[Tensor],
    gradients: Sequence[Any],
    inputs: Sequence[Tensor] | None,
    accumulate: bool,
    retain_graph: bool,
    create_graph: bool,
) -> list[Any]:
    targets: dict[tuple[int, int], int] = {}
    needed: set[int] | None = None
    if inputs is not None:
        for position, t in enumerate(inputs):
            targets.setdefault((id(t._edge()[0]), t._index), position)
        needed = _reaching([r._edge()[0] for r in roots], {id(t._edge()[0]): t._edge()[0].order for t in inputs})
    found: dict[tuple[int, int], Any] = {}
    pending: dict[int, list[Any]] = {}
    heap: list[tuple[int, int, Any]] = []
    keep_alive: list[Tensor] = []  # leaf tensors, whose nodes hold them weakly

    def push(edge: Any, g: Any, device: Device) -> None:
        node, index = edge[0], edge[1]
        slots = pending.get(id(node))
        if slots is None:
            slots = pending[id(node)] = [None] * node.outputs
            heapq.heappush(heap, (-node.order, id(node), node))
            if len(edge) > 2:
                keep_alive.append(edge[2])
        slots[index] = g if slots[index] is None else _accumulate(device, slots[index], g)

    anomaly = _anomaly.get()
    for root, g in zip(roots, gradients, strict=True):
        edge = root._edge()
        if anomaly and _has_nan(root.device, g):
            raise RuntimeError(_first_nan(roots) or f"the gradient {tuple(g.shape)} that backward starts from holds a NaN")
        if needed is None or id(edge[0]) in needed:
            push(edge, g, root.device)
    while heap:
        node = heapq.heappop(heap)[2]
        slots = pending.pop(id(node))
        leaf = node.tensor() if isinstance(node, Leaf) else None
        device = node.device if leaf is None else leaf.device
        for index, hooks in node.hooks.items():
            if slots[index] is not None:
                for hook in list(hooks.values()):
                    before = slots[index] if isinstance(slots[index], Tensor) else wrap(slots[index], device)
                    after = hook(before)
                    if after is not None:
                        if after.shape != before.shape:
                            raise ShapeError(f"hook: returned a gradient of shape {tuple(after.shape)} for one of {tuple(before.shape)}")
                        slots[index] = after if create_graph else after._array
        for index, g in enumerate(slots):
            if g is not None and (id(node), index) in targets:
                found[id(node), index] = g
        if leaf is not None:
            if accumulate and (needed is None or (id(node), 0) in targets):
                _add_to_grad(leaf, slots[0], create_graph)
            continue
        if needed is not None and not any(e is not None and id(e[0]) in needed for e in node.edges):
            continue
        with _anomaly_of(node) if anomaly else _nothing:
            out = node.backward(slots, create_graph)
            if anomaly:
                _check_nan(node, slots, out, roots)
        slots = None  # type: ignore[assignment]
        for edge, g in zip(node.edges, out, strict=False):
            if edge is not None and g is not None and (needed is None or id(edge[0]) in needed):
                push(edge, g, node.device)
        del out
        if not retain_graph:
            node.free()
        node = None
    if inputs is None:
        return []
    return [found.get((id(t._edge()[0]), t._index)) for t in inputs]


class _Nothing:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


_nothing = _Nothing()


class _anomaly_of:
    """Adds the forward line of a node to an error of its backward."""

    def __init__(self, node: Op):
        self.node = node

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: Any, _: Any) -> None:
        if error is not None and self.node.trace:
            error.add_note(f"{self.node.name}: its forward ran at {self.node.trace}")


def _has_nan(device: Device, value: Any) -> bool:
    host = device.to_host(value._array if isinstance(value, Tensor) else value)
    return bool(_dtypes.is_float(host.dtype) and np.isnan(host.astype(np.float64)).any())


def _first_nan(roots: Sequence[Tensor]) -> str:
    """Where the first NaN that a forward of this graph saw comes from; "" where none did. Nodes that backward has freed are still linked."""
    found = [node.nan for root in roots for node in nodes(root) if isinstance(node, Op) and node.nan is not None]
    return min(found)[1] if found else ""


def _check_nan(node: Op, grads: Sequence[Any], out: Sequence[Any], roots: Sequence[Tensor]) -> None:
    """RuntimeError where this node's gradients are NaN, naming the op that made the first NaN of forward or backward."""
    if not any(_has_nan(node.device, g) for g in out if g is not None):
        return
    here = f"{node.name}, whose forward ran at {node.trace}"
    if first := _first_nan(roots):
        raise RuntimeError(f"{first}\nIt reached the gradients in the backward of {here}")
    if any(_has_nan(node.device, g) for g in grads if g is not None):
        raise RuntimeError(
            f"the gradient that reaches {here}, holds the first NaN: +inf and -inf met in a sum of gradients, or a hook returned it"
        )
    raise RuntimeError(f"{node.name}: its backward made the first NaN; its forward ran at {node.trace}")


def _add_to_grad(leaf: Tensor, g: Any, create_graph: bool) -> None:
    if isinstance(g, Tensor):  # with create_graph the gradient stays part of a graph
        leaf.grad = g if leaf.grad is None else leaf.grad + g
        return
    if leaf.grad is None:
        own = leaf.device.empty(leaf.shape, leaf.dtype)  # a buffer of its own, that stays where it is
        kernels.copy_into(leaf.device, own, g)
        leaf.grad = wrap(own, leaf.device)
    elif leaf.grad.requires_grad:
        leaf.grad = leaf.grad + wrap(g, leaf.device)
    else:
        with no_grad():
            leaf.grad.add_(wrap(g, leaf.device))


def _start(what: str, outputs: Sequence[Tensor], gradients: Sequence[Any], create_graph: bool) -> list[Any]:
    if len(gradients) != len(outputs):
        raise RuntimeError(f"{what}: {len(outputs)} tensor(s) and {len(gradients)} gradient(s); one gradient is needed for each tensor")
    starts = []
    for t, g in zip(outputs, gradients, strict=True):
        if not t.requires_grad:
            raise RuntimeError(
                f"{what}: the tensor does not require a gradient and has no graph; set requires_grad=True on what it is made of"
            )
        if g is None:
            if t.numel() != 1:
                raise RuntimeError(f"{what}: a gradient can be left out only for a scalar; this tensor is {tuple(t.shape)}. Pass gradient=")
            ones = t.device.empty(t.shape, t.dtype)
            kernels.fill(t.device, ones, 1)
            g = wrap(ones, t.device)
        if not isinstance(g, Tensor):
            raise TypeError(f"{what}: the gradient is a {type(g).__name__}; a Tensor is needed")
        if g.shape != t.shape:
            raise ShapeError(f"{what}: the gradient is {tuple(g.shape)} and the tensor is {tuple(t.shape)}; they must be equal")
        if g.device is not t.device:
            raise DeviceError(f"{what}: the gradient is on {g.device} and the tensor on {t.device}")
        if g.dtype != t.dtype:
            g = g.to(t.dtype)
        starts.append(g if create_graph else g._array)
    return starts


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Add d(tensors)/d(leaf), weighted with grad_tensors, to `.grad` of every leaf (or of `inputs` alone).

    grad_tensors: one Tensor of each tensor's shape; may be left out for one-element tensors (it is 1). retain_graph keeps what the graph saved
    for another backward (default: create_graph); create_graph makes the gradients differentiable themselves.
    RuntimeError where a tensor has no graph, where it was freed, or where a value that backward needs was changed in place.
    """
    roots = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    grads = [grad_tensors] if isinstance(grad_tensors, Tensor) or grad_tensors is None else list(grad_tensors)
    if grad_tensors is None:
        grads = [None] * len(roots)
    only = [inputs] if isinstance(inputs, Tensor) else None if inputs is None else list(inputs)
    if only is not None and not only:
        raise RuntimeError("backward: inputs is empty; leave it out to reach every leaf")
    starts = _start("backward", roots, grads, create_graph)
    found = _walk(roots, starts, only, True, create_graph if retain_graph is None else retain_graph, create_graph)
    for t, g in zip(only or (), found, strict=True):
        if g is not None and not t.is_leaf:
            _add_to_grad(t, g, create_graph)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """Gradients of the outputs with respect to the inputs, as a tuple; `.grad` is not touched.

    With create_graph they are differentiable in the inputs and in grad_outputs. An input that the outputs do not depend on gives None with
    allow_unused, zeros with materialize_grads, and RuntimeError otherwise.
    """
    if is_grads_batched:
        raise NotImplementedError("grad: is_grads_batched is not supported; call grad once per row")
    roots = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    wanted = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    grads = [grad_outputs] if isinstance(grad_outputs, Tensor) else [None] * len(roots) if grad_outputs is None else list(grad_outputs)
    if not wanted:
        raise RuntimeError("grad: no inputs are given; is a module's parameters() a generator used up already?")
    for i, t in enumerate(wanted):
        if not t.requires_grad:
            raise RuntimeError(f"grad: input {i} does not require a gradient; set requires_grad=True before it is used")
    starts = _start("grad", roots, grads, create_graph)
    found = _walk(roots, starts, wanted, False, create_graph if retain_graph is None else retain_graph, create_graph)
    out: list[Tensor | None] = []
    for i, (t, g) in enumerate(zip(wanted, found, strict=True)):
        if g is None:
            if materialize_grads:
                zeros = t.device.empty(t.shape, t.dtype)
                kernels.fill(t.device, zeros, 0)
                out.append(wrap(zeros, t.device))
                continue
            if not allow_unused:
                raise RuntimeError(
                    f"grad: input {i} {tuple(t.shape)} was not used to make the outputs; allow_unused=True gives None for it"
                )
            out.append(None)
        else:
            out.append(g if isinstance(g, Tensor) else wrap(g, t.device))
    return tuple(out)


def nodes(tensor: Tensor) -> Iterator[Op | Leaf]:
    """Every node of the graph behind a tensor, once, newest first."""
    seen: set[int] = set()
    heap = [(-tensor._edge()[0].order, id(tensor._edge()[0]), tensor._edge()[0])] if tensor.requires_grad else []
    while heap:
        node = heapq.heappop(heap)[2]
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        for e in getattr(node, "edges", ()):
            if e is not None:
                heapq.heappush(heap, (-e[0].order, id(e[0]), e[0]))


def __getattr__(name: str) -> Any:
    """gradcheck, Function and draw live in files of their own and are loaded when asked for."""
    import importlib

    homes = {
        "gradcheck": "_gradcheck", "gradgradcheck": "_gradcheck", "GradcheckError": "_gradcheck",
        "Function": "_function", "draw": "_draw",
    }  # fmt: skip
    if name not in homes:
        raise AttributeError(f"module 'gpudl.autograd' has no attribute {name!r}")
    return getattr(importlib.import_module(f"gpudl.{homes[name]}"), name)
