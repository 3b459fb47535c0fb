"""autograd.Function: an operation of the user's own."""

from __future__ import annotations

import weakref
from typing import Any

from gpudl import _dtypes, kernels
from gpudl._tensor import Tensor, wrap
from gpudl.autograd import Op, _anomaly, _enabled, _order, no_grad, set_grad_enabled


class Context:
    """What forward leaves for backward: `save_for_backward(...)`, `saved_tensors`, `needs_input_grad`, and attributes of your own."""

    needs_input_grad: tuple[bool, ...]

    def __init__(self, node: _FunctionOp):
        self._node = weakref.ref(node)  # the node owns this object
        self._saved: tuple[Any, ...] = ()
        self._constant: set[int] = set()
        self._dirty: tuple[Tensor, ...] = ()
        self._materialize = True

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep inputs or outputs for backward, with the check that nothing changes them in between."""
        for t in tensors:
            if t is not None and not isinstance(t, Tensor):
                raise TypeError(
                    f"save_for_backward: Tensors are saved here, not {type(t).__name__}; set an attribute on ctx for other values"
                )
        self._saved = tensors

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        node = self._node()
        assert node is not None
        return node.unpack()

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        self._constant |= {id(t) for t in tensors}

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Inputs that forward changed in place."""
        self._dirty = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """False: an output that the loss does not depend on gives None in backward, not zeros."""
        self._materialize = value


class _FunctionOp(Op):
    """The graph node of one call of a Function."""

    name = "Function"  # each call's node carries its class's name
    owner: type[Function]
    context: Context

    def keep(self, inputs: tuple[Any, ...], outs: tuple[Any, ...]) -> None:
        kept: list[Any] = []
        for t in self.context._saved:
            if t is None:
                kept.append(None)
                continue
            place = next((i for i, o in enumerate(outs) if o is t), None)
            node = None if place is not None else t  # an output is rebuilt around this node: no reference cycle
            kept.append((t._array, t._storage, t._storage.version, place, node))
        self.saved = {}
        self.kept = kept

    def free(self) -> None:
        super().free()
        self.kept = []

    def unpack(self) -> tuple[Tensor | None, ...]:
        if self.saved is None:
            raise RuntimeError(f"{self.name}: the saved tensors were freed by an earlier backward; pass retain_graph=True to that one")
        out: list[Tensor | None] = []
        for item in self.kept:
            if item is None:
                out.append(None)
                continue
            array, storage, version, place, tensor = item
            if storage.version != version:
                raise RuntimeError(
                    f"{self.name}: a saved tensor {tuple(array.shape)} was changed in place after forward; clone() it before the change"
                )
            if tensor is None:
                tensor = wrap(array, self.device, storage)
                tensor._node, tensor._index, tensor._requires_grad = self, place, True
            out.append(tensor)
        return tuple(out)

    def backward(self, grads: list[Any], create_graph: bool) -> list[Any]:
        if self.saved is None:
            raise RuntimeError(
                f"{self.name}: backward through a graph that an earlier backward has freed; pass retain_graph=True to that first one"
            )
        given: list[Tensor | None] = []
        for g, (shape, dtype) in zip(grads, self.out_meta, strict=True):  # type: ignore[attr-defined]
            if g is None and self.context._materialize:
                zeros = self.device.empty(shape, dtype)
                kernels.fill(self.device, zeros, 0)
                g = zeros
            given.append(g if g is None or isinstance(g, Tensor) else wrap(g, self.device))
        with set_grad_enabled(create_graph):
            out = self.owner.backward(self.context, *given)
        outs = list(out) if isinstance(out, tuple) else [out]
        if len(outs) != len(self.positions):
            raise RuntimeError(
                f"{self.name}.backward: returned {len(outs)} gradient(s) for {len(self.positions)} argument(s) of forward; use None where there is none"
            )
        result: list[Any] = []
        for position, i in enumerate(self.positions):
            g = outs[position]
            if i is None or g is None:
                continue
            if not isinstance(g, Tensor):
                raise TypeError(f"{self.name}.backward: gradient {position} is a {type(g).__name__}; a Tensor or None is needed")
            if g.shape != self.meta[i][0]:  # type: ignore[attr-defined]
                raise RuntimeError(
                    f"{self.name}.backward: gradient {position} is {tuple(g.shape)} for an input of {tuple(self.meta[i][0])}"
                )  # type: ignore[attr-defined]
            while len(result) <= i:
                result.append(None)
            result[i] = self._fit_tensor(g, i) if create_graph else self._fit(g._array, i)
        return result + [None] * (len(self.edges) - len(result))

    positions: tuple[int | None, ...]


class Function:
    """Write `forward(ctx, *args)` and `backward(ctx, *grad_outputs)` as static methods and call `MyFunction.apply(...)`, as in PyTorch.

    forward may also leave ctx out when `setup_context(ctx, inputs, output)` is defined. backward returns one gradient (or None) per argument
    of forward. With create_graph=True backward itself is recorded, so that built from differentiable operations it can be differentiated.
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("Function: define a static method forward(ctx, ...)")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        raise NotImplementedError("Function: define a static method backward(ctx, *grad_outputs)")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        node = _FunctionOp.__new__(_FunctionOp)
        node.name, node.owner = cls.__name__, cls  # type: ignore[misc]
        node.context = ctx = Context(node)
        node.params, node.rungs, node.hooks, node.saved = {}, {}, {}, None
        node.picked = kernels.picked()  # type: ignore[attr-defined]
        tensors = [a for a in args if isinstance(a, Tensor)]
        if tensors:
            node.device = Op.common_device.__func__(node, tensors)  # type: ignore[attr-defined]
        recording = _enabled.get()
        ctx.needs_input_grad = tuple(recording and isinstance(a, Tensor) and a.requires_grad for a in args)
        counter = iter(range(len(tensors)))
        node.positions = tuple(next(counter) if isinstance(a, Tensor) else None for a in args)
        with no_grad():
            if "setup_context" in dir(cls):
                out = cls.forward(*args)
                cls.setup_context(ctx, args, out)  # type: ignore[attr-defined]
            else:
                out = cls.forward(ctx, *args)
        outs = out if isinstance(out, tuple) else (out,)
        node.needs = tuple(recording and t.requires_grad for t in tensors)
        if not any(node.needs):
            return out
        node.order = next(_order)
        node.edges = tuple(t._edge() if need else None for t, need in zip(tensors, node.needs, strict=True))
        node.meta = tuple((t.shape, t.dtype) for t in tensors)  # type: ignore[attr-defined]
        node.out_meta = tuple((o.shape, o.dtype) for o in outs)  # type: ignore[attr-defined]
        node.outputs = len(outs)
        final = []
        for i, o in enumerate(outs):
            if not isinstance(o, Tensor):
                raise TypeError(f"{cls.__name__}.forward: output {i} is a {type(o).__name__}; Tensors are needed")
            if any(o is t for t in tensors) and not any(o is d for d in ctx._dirty):
                o = wrap(o._array, o.device, o._storage)  # an input handed through is a new tensor in the graph
            if any(o is d for d in ctx._dirty):
                o._check_writable(cls.__name__)
                o._wrote()
            if _dtypes.is_float(o.dtype) and id(outs[i]) not in ctx._constant:
                o._node, o._index, o._requires_grad = node, i, True
            final.append(o)
        node.keep(tuple(tensors), tuple(final))
        if _anomaly.get():
            node._note_nan(tensors, final)
        return tuple(final) if isinstance(out, tuple) else final[0]
