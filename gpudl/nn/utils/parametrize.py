"""Parameters computed from others: `module.weight` becomes the output of a module applied to the tensors that are trained.

`register_parametrization(linear, "weight", Symmetric())` moves the weight to `linear.parametrizations.weight.original`, where optimisers
and state_dict find it, and from then on reading `linear.weight` calls Symmetric on it.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

from gpudl._tensor import Tensor
from gpudl.autograd import no_grad
from gpudl.nn.containers import ModuleDict, ModuleList
from gpudl.nn.module import Module
from gpudl.nn.parameter import Parameter

_cache: contextvars.ContextVar[dict[Any, Tensor] | None] = contextvars.ContextVar("gpudl.parametrize.cache", default=None)


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, applied first to last to `original`, or to original0, original1, ... where there are several.

    Built from the value that the tensor had: right_inverse of each module, last to first, says what the originals must be for it.
    """

    def __init__(self, modules: list[Module], original: Tensor, unsafe: bool = False):
        super().__init__(modules)
        self.unsafe = unsafe
        value = self._inverse(original)
        self.is_tensor = isinstance(value, Tensor)
        if isinstance(value, Tensor):
            self._check(original, value, "right_inverse")
            if value is not original:
                with no_grad():
                    original.copy_(value)
            self._add("original", original)
        else:
            self.ntensors = len(value)
            for i, part in enumerate(value):
                if not isinstance(part, Tensor):
                    raise ValueError(f"right_inverse must give a Tensor or several, not a {type(part).__name__} among them")
                own = part.detach().clone() if part is original else part.detach()
                self._add(f"original{i}", Parameter(own, requires_grad=original.requires_grad) if isinstance(original, Parameter) else own)

    def _add(self, name: str, value: Tensor) -> None:
        self.register_parameter(name, value) if isinstance(value, Parameter) else self.register_buffer(name, value)

    def _originals(self) -> list[Tensor]:
        return [self.original] if self.is_tensor else [getattr(self, f"original{i}") for i in range(self.ntensors)]

    def _inverse(self, value: Any) -> Any:
        """What the originals are for this value of the tensor; the value itself where no module says."""
        with no_grad():
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    value = module.right_inverse(value)
                elif not isinstance(value, Tensor):
                    raise RuntimeError(f"parametrization {type(module).__name__} has no right_inverse, which must take {len(value)} tensors")
        return value

    def _check(self, before: Tensor, after: Any, what: str) -> None:
        if not isinstance(after, Tensor):
            raise ValueError(f"{what} of a parametrization must give a Tensor, not {type(after).__name__}")
        if not self.unsafe and (after.shape != before.shape or after.dtype != before.dtype):
            raise ValueError(
                f"{what} of a parametrization gives {after.dtype}{tuple(after.shape)} for a tensor {before.dtype}{tuple(before.shape)}; "
                "shape and dtype may change with unsafe=True alone"
            )

    def right_inverse(self, value: Tensor) -> None:
        """Write into the originals what gives this value: what assigning to the parametrized tensor does."""
        found = self._inverse(value)
        with no_grad():
            for own, part in zip(self._originals(), [found] if isinstance(found, Tensor) else found, strict=True):
                if own.shape != part.shape:
                    raise ValueError(f"a value {tuple(value.shape)} is assigned, for which an original would be {tuple(part.shape)}, not {tuple(own.shape)}")
                own.copy_(part)

    def forward(self) -> Tensor:
        first, *rest = self
        value = first(*self._originals())
        for module in rest:
            value = module(value)
        return value


@contextlib.contextmanager
def cached() -> Iterator[None]:
    """Inside, each parametrized tensor is computed once and kept: for weights that are read several times in one forward."""
    token = _cache.set({} if _cache.get() is None else _cache.get())
    try:
        yield
    finally:
        _cache.reset(token)


def _property(name: str) -> property:
    def get(module: Any) -> Tensor:
        found = module.parametrizations[name]
        kept = _cache.get()
        if kept is None:
            return found()
        if id(found) not in kept:
            kept[id(found)] = found()
        return kept[id(found)]

    def put(module: Any, value: Tensor) -> None:
        if (kept := _cache.get()) is not None:
            kept.pop(id(module.parametrizations[name]), None)
        module.parametrizations[name].right_inverse(value)

    return property(get, put)


def register_parametrization(module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False) -> Module:
    """Make `module.<tensor_name>` (a parameter or buffer) the output of `parametrization`; further ones are applied after the earlier.

    Its right_inverse, if it has one, is called with the present value and says what is trained instead (one tensor or several). The module's
    class becomes a subclass called Parametrized...; state_dict has parametrizations.<tensor_name>.original, or original0, original1, ....
    unsafe=True lets shape and dtype change. ValueError where there is no such tensor or shape or dtype differ.
    """
    if not isinstance(parametrization, Module):
        raise TypeError(f"register_parametrization: parametrization must be a Module, not {type(parametrization).__name__}")
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        found = module.parametrizations[tensor_name]
        before = getattr(module, tensor_name)
        after = parametrization(before)
        found._check(before, after, "forward")
        if hasattr(parametrization, "right_inverse"):
            found.right_inverse(parametrization.right_inverse(before))
        found.append(parametrization)
        return module
    table = module._parameters if tensor_name in module._parameters else module._buffers
    original: Any = table.get(tensor_name)  # type: ignore[attr-defined]
    if original is None:
        raise ValueError(f"{module!r} has no parameter, buffer or parametrized tensor called {tensor_name!r}")
    made = ParametrizationList([parametrization], original, unsafe)
    with no_grad():
        made._check(original, made(), "forward")
    if not is_parametrized(module):
        kind = type(module)
        module.__class__ = type(f"Parametrized{kind.__name__}", (kind,), {"__module__": kind.__module__})
        module.parametrizations = ModuleDict()
    del table[tensor_name]
    setattr(type(module), tensor_name, _property(tensor_name))
    module.parametrizations[tensor_name] = made
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether the module has parametrizations, or has one of this tensor."""
    found = module._modules.get("parametrizations")
    return isinstance(found, ModuleDict) and (len(found) > 0 if tensor_name is None else tensor_name in found)


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make the tensor a plain parameter again, with the value that it has now or, leave_parametrized=False, with the original's.

    ValueError where it is not parametrized, or where leave_parametrized=False and there are several originals.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"remove_parametrizations: {module!r} has no parametrization of {tensor_name!r}")
    found = module.parametrizations[tensor_name]
    originals = found._originals()
    if not leave_parametrized and not found.is_tensor:
        raise ValueError(f"remove_parametrizations: {tensor_name!r} has {len(originals)} originals; leave_parametrized=False needs a single one")
    keep = originals[0]
    if leave_parametrized:
        with no_grad():
            value = getattr(module, tensor_name).clone()
        if found.is_tensor:
            keep.data = value
        else:
            keep = Parameter(value, keep.requires_grad) if isinstance(keep, Parameter) else value
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    if isinstance(keep, Parameter):
        module.register_parameter(tensor_name, keep)
    else:
        module.register_buffer(tensor_name, keep)
    if not is_parametrized(module):
        del module.parametrizations
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type[Module]:
    """The module's class before `register_parametrization` made a subclass of it."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)
