"""Module: parameters, buffers and modules in a tree, with PyTorch's names and rules."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gpudl import _dtypes, autograd
from gpudl._creation import as_host
from gpudl._device import device as Device
from gpudl._tensor import Handle, Tensor, wrap
from gpudl.nn.parameter import Parameter


class IncompatibleKeys(namedtuple("IncompatibleKeys", ["missing_keys", "unexpected_keys"])):
    """What `load_state_dict` did not match: names the model has and the state lacks, and the other way round."""

    __slots__ = ()

    def __repr__(self) -> str:
        return super().__repr__() if self.missing_keys or self.unexpected_keys else "<All keys matched successfully>"


class Module:
    """Base of every layer and network: assign Parameters, buffers and Modules as attributes and define `forward`.

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(2, 1)

            def forward(self, x):
                return self.fc(x).sigmoid()

    Calling the module runs its hooks and `forward`. AttributeError where something is assigned before `super().__init__()`.
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _non_persistent_buffers_set: set[str]
    _forward_hooks: OrderedDict[int, Callable[..., Any]]
    _forward_pre_hooks: OrderedDict[int, Callable[..., Any]]
    _backward_hooks: OrderedDict[int, Callable[..., Any]]
    _backward_pre_hooks: OrderedDict[int, Callable[..., Any]]
    _with_kwargs: set[int]
    _always_call: set[int]

    def __init__(self) -> None:
        # Straight into __dict__: __setattr__ below needs these to be there.
        self.__dict__.update(
            training=True,
            _parameters={},
            _buffers={},
            _non_persistent_buffers_set=set(),
            _modules={},
            _forward_hooks=OrderedDict(),
            _forward_pre_hooks=OrderedDict(),
            _backward_hooks=OrderedDict(),
            _backward_pre_hooks=OrderedDict(),
            _with_kwargs=set(),  # ids of forward (pre-)hooks that take kwargs
            _always_call=set(),  # ids of forward hooks that run after an error too
        )

    # ---------------------------------------------------------------------------------------------------------------------- call
    def forward(self, *input: Any) -> Any:
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._forward_pre_hooks or self._forward_hooks or self._backward_hooks or self._backward_pre_hooks:
            return self._call_with_hooks(args, kwargs)
        return self.forward(*args, **kwargs)

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        ran: set[int] = set()
        try:
            for key, hook in list(self._forward_pre_hooks.items()):
                if key in self._with_kwargs:
                    changed = hook(self, args, kwargs)
                    if changed is not None:
                        if not isinstance(changed, tuple) or len(changed) != 2:
                            raise RuntimeError(f"forward pre-hook with kwargs must return None or (args, kwargs), not {changed!r}")
                        args, kwargs = changed
                else:
                    changed = hook(self, args)
                    if changed is not None:
                        args = changed if isinstance(changed, tuple) else (changed,)
            gate = _Gates(self) if self._backward_hooks or self._backward_pre_hooks else None
            if gate is not None:
                args = gate.inputs(args)
            result = self.forward(*args, **kwargs)
            for key, hook in list(self._forward_hooks.items()):
                ran.add(key)
                changed = hook(self, args, kwargs, result) if key in self._with_kwargs else hook(self, args, result)
                if changed is not None:
                    result = changed
            return result if gate is None else gate.outputs(result)
        except Exception:
            for key, hook in list(self._forward_hooks.items()):
                if key in self._always_call and key not in ran:
                    hook(self, args, kwargs, None) if key in self._with_kwargs else hook(self, args, None)
            raise

    # --------------------------------------------------------------------------------------------------------------------- hooks
    def _hook(self, hooks: OrderedDict[int, Any], hook: Any, prepend: bool) -> Handle:
        handle = Handle(hooks, hook)
        if prepend:
            hooks.move_to_end(handle.id, last=False)
        return handle

    def register_forward_pre_hook(self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False) -> Handle:
        """Call hook(module, args) before forward, or hook(module, args, kwargs); a result that is not None replaces the arguments."""
        handle = self._hook(self._forward_pre_hooks, hook, prepend)
        if with_kwargs:
            self._with_kwargs.add(handle.id)
        return handle

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> Handle:
        """Call hook(module, args, output) after forward, or hook(module, args, kwargs, output); a result that is not None replaces the output."""
        handle = self._hook(self._forward_hooks, hook, prepend)
        if with_kwargs:
            self._with_kwargs.add(handle.id)
        if always_call:
            self._always_call.add(handle.id)
        return handle

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> Handle:
        """Call hook(module, grad_input, grad_output) when the gradients of the module's inputs are known.

        Both are tuples, with None for what is no tensor or needs no gradient; a result that is not None replaces grad_input.
        """
        return self._hook(self._backward_hooks, hook, prepend)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> Handle:
        """Call hook(module, grad_output) before backward goes through the module; a result that is not None replaces grad_output."""
        return self._hook(self._backward_pre_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs) when a state_dict is about to
        be loaded: it may rename or change entries of state_dict, which is a copy. The last five are empty or as they were given."""
        return self._hook(self.__dict__.setdefault("_load_state_dict_pre_hooks", OrderedDict()), hook, False)

    # ---------------------------------------------------------------------------------------------------------------- attributes
    def _table(self, name: str, what: str) -> Any:
        table = self.__dict__.get(name)
        if table is None:
            raise AttributeError(
                f"cannot assign {what} before Module.__init__() call: {type(self).__name__}.__init__ must call super().__init__() first"
            )
        return table

    def _forget(self, name: str, *keep: str) -> None:
        for table in ("_parameters", "_buffers", "_modules"):
            if table not in keep:
                self.__dict__[table].pop(name, None)
        self.__dict__.pop(name, None)
        if "_buffers" not in keep:
            self._non_persistent_buffers_set.discard(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self._table("_parameters", "parameters")
            self._forget(name, "_parameters")
            self.register_parameter(name, value)
            return
        if isinstance(value, Module):
            modules = self._table("_modules", "module")
            self._forget(name, "_modules")
            modules[name] = value
            return
        own = self.__dict__
        for table, kind in (("_parameters", "nn.Parameter"), ("_modules", "nn.Module"), ("_buffers", "gpudl.Tensor")):
            if name in own.get(table, ()):
                if value is not None and not (table == "_buffers" and isinstance(value, Tensor)):
                    raise TypeError(
                        f"cannot assign '{type(value).__name__}' as {table[1:-1].replace('module', 'child module')} '{name}' ({kind} or None expected)"
                    )
                own[table][name] = value
                return
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:  # only for what is not in __dict__ or on the class
        own = self.__dict__
        for table in ("_parameters", "_buffers", "_modules"):
            if table in own and name in own[table]:
                return own[table][name]
        hint = "" if "_parameters" in own else f"; {type(self).__name__}.__init__ must call super().__init__() first"
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'{hint}")

    def __delattr__(self, name: str) -> None:
        for table in ("_parameters", "_buffers", "_modules"):
            if name in self.__dict__.get(table, ()):
                del self.__dict__[table][name]
                if table == "_buffers":
                    self._non_persistent_buffers_set.discard(name)
                return
        super().__delattr__(name)

    def __dir__(self) -> list[str]:
        names = {*dir(type(self)), *self.__dict__, *self._parameters, *self._buffers, *self._modules}
        return sorted(name for name in names if not name[0].isdigit())

    def _check_name(self, name: Any, what: str, table: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{what} name should be a string. Got {type(name).__name__}")
        if "." in name:
            raise KeyError(f'{what} name can\'t contain ".", got: {name}')
        if name == "":
            raise KeyError(f'{what} name can\'t be empty string ""')
        if hasattr(self, name) and name not in self.__dict__[table]:
            raise KeyError(f"attribute '{name}' already exists")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under a name (None keeps the place, as `bias=False` does). KeyError for a name that is taken or has a dot."""
        table = self._table("_parameters", "parameter")
        self._check_name(name, "parameter", "_parameters")
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(f"cannot assign '{type(param).__name__}' object to parameter '{name}' (nn.Parameter or None required)")
        table[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that moves with the module but is not trained; persistent=False leaves it out of state_dict."""
        table = self._table("_buffers", "buffer")
        self._check_name(name, "buffer", "_buffers")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"cannot assign '{type(tensor).__name__}' object to buffer '{name}' (gpudl.Tensor or None required)")
        table[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child under a name: for names that are made at run time."""
        table = self._table("_modules", "module")
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{type(module).__name__} is not a Module subclass")
        self._check_name(name, "module", "_modules")
        table[name] = module

    register_module = add_module

    # ----------------------------------------------------------------------------------------------------------- walks over the tree
    def named_modules(self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """This module and all below it with their dotted names; one that stands in two places comes once, unless remove_duplicate is False."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                yield from child.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        seen = set()
        for name, child in self._modules.items():
            if child is not None and child not in seen:
                seen.add(child)
                yield name, child

    def children(self) -> Iterator[Module]:
        return (child for _, child in self.named_children())

    def _named(self, table: str, prefix: str, recurse: bool, remove_duplicate: bool) -> Iterator[tuple[str, Any]]:
        seen = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, value in module.__dict__[table].items():
                if value is None or value in seen:
                    continue
                if remove_duplicate:
                    seen.add(value)
                yield f"{path}.{name}" if path else name, value

    def named_parameters(self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True) -> Iterator[tuple[str, Parameter]]:
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True) -> Iterator[tuple[str, Tensor]]:
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        return (b for _, b in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """The module of a dotted name; AttributeError says which part is missing."""
        module = self
        for name in target.split(".") if target else ():
            found = module._modules.get(name)
            if found is None:
                raise AttributeError(f"{type(module).__name__} has no submodule `{name}` (of {target!r})")
            module = found
        return module

    def _get(self, target: str, table: str, what: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        found = module.__dict__[table].get(name)
        if found is None:
            raise AttributeError(f"{type(module).__name__} has no {what} `{name}` (of {target!r})")
        return found

    def get_parameter(self, target: str) -> Parameter:
        return self._get(target, "_parameters", "parameter")

    def get_buffer(self, target: str) -> Tensor:
        return self._get(target, "_buffers", "buffer")

    def apply(self, fn: Callable[[Module], Any]) -> Any:
        """Call fn on every module, children first; returns self."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    # ------------------------------------------------------------------------------------------------------------------- modes
    def train(self, mode: bool = True) -> Any:
        """Training mode (dropout drops, batch norm uses the batch) for this module and all below it; returns self."""
        if not isinstance(mode, bool):
            raise ValueError(f"training mode is expected to be boolean, not {mode!r}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Any:
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Train the parameters or not (freeze them); returns self."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the parameters' gradients, or write zeros into them."""
        for p in self.parameters():
            if set_to_none:
                p.grad = None
            elif p.grad is not None:
                p.grad = p.grad.detach().zero_()

    # ------------------------------------------------------------------------------------------------------- dtypes and devices
    def _apply(self, change: Callable[[Tensor], Tensor]) -> Any:
        """Replace the value of every parameter, gradient and buffer; a parameter stays the same object, so optimisers keep it."""
        for module in self.modules():
            for p in module._parameters.values():
                if p is None:
                    continue
                after = change(p.detach())
                grad = None if p._grad is None else change(p._grad.detach())
                if after._array is not p._array:
                    p.data = after
                    p._grad = grad
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[name] = change(buffer)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """Move to a device, cast floating parameters and buffers, or both: to(device), to(dtype), to(device, dtype), to(tensor).

        Changes this module and returns it. TypeError for a dtype that is not floating.
        """
        device, dtype = kwargs.pop("device", None), kwargs.pop("dtype", None)
        kwargs.pop("non_blocking", None)
        if kwargs:
            raise TypeError(f"Module.to: unknown argument {next(iter(kwargs))!r}; it takes device, dtype and non_blocking")
        for arg in args:
            if isinstance(arg, Tensor):
                device, dtype = arg.device, arg.dtype
            elif isinstance(arg, Device) or isinstance(arg, (str, int)) and not isinstance(arg, bool) and arg not in _dtypes._NAMES:
                device = Device(arg)
            elif not isinstance(arg, bool) and arg is not None:
                dtype = arg
        if device is not None:
            device = Device(device)
        if dtype is not None:
            dtype = _dtypes.as_dtype(dtype)
            if not _dtypes.is_float(dtype):
                raise TypeError(f"Module.to only accepts floating dtypes, but got desired dtype={dtype}")
        return self._apply(lambda t: t.to(device=device, dtype=dtype if _dtypes.is_float(t.dtype) else None))

    def cpu(self) -> Any:
        return self.to("cpu")

    def cuda(self, device: Any = None) -> Any:
        return self.to(Device("cuda" if device is None else device))

    def type(self, dst_type: Any) -> Any:
        kind = _dtypes.as_dtype(dst_type)
        return self._apply(lambda t: t.to(kind))

    def double(self) -> Any:
        return self.to(_dtypes.float64)

    def half(self) -> Any:
        return self.to(_dtypes.float16)

    def bfloat16(self) -> Any:
        return self.to(_dtypes.bfloat16)

    def float(self) -> Any:
        return self.to(_dtypes.float32)

    # --------------------------------------------------------------------------------------------------------------------- state
    def get_extra_state(self) -> Any:
        """Override, with set_extra_state, to keep something beside tensors in state_dict (under `_extra_state`)."""
        raise RuntimeError("get_extra_state: this module has none")

    def set_extra_state(self, state: Any) -> None:
        raise RuntimeError("set_extra_state: this module has none")

    def _state(self) -> Iterator[tuple[str, Tensor]]:
        """(name, tensor) of what this module itself puts into state_dict."""
        for name, p in self._parameters.items():
            if p is not None:
                yield name, p
        for name, b in self._buffers.items():
            if b is not None and name not in self._non_persistent_buffers_set:
                yield name, b

    def state_dict(self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """All parameters and persistent buffers by dotted name, in PyTorch's order, sharing memory with the model.

        destination: a mapping to fill; keep_vars: the Parameters themselves, not detached tensors. Clone the values (or save them) to keep
        them while training goes on.
        """
        state = OrderedDict() if destination is None else destination
        for name, value in self._state():
            state[prefix + name] = value if keep_vars else value.detach()
        if type(self).get_extra_state is not Module.get_extra_state:
            state[prefix + "_extra_state"] = self.get_extra_state()
        for name, child in self._modules.items():
            if child is not None:
                child.state_dict(destination=state, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> IncompatibleKeys:
        """Write the values of a state_dict (Tensors or arrays, of any dtype and device) into this model's parameters and buffers.

        Each parameter stays the same object and keeps its dtype and device; with assign=True the given tensors take their places instead.
        strict=False lets missing and unexpected keys pass. Returns (missing_keys, unexpected_keys). RuntimeError that lists every missing
        and unexpected key and every shape that differs, before anything is written; TypeError where state_dict is no mapping.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"load_state_dict: expected a mapping of names to tensors, got {type(state_dict).__name__}")
        hooked = [(path, m) for path, m in self.named_modules(remove_duplicate=False) if "_load_state_dict_pre_hooks" in m.__dict__]
        if hooked:
            state_dict = OrderedDict(state_dict)  # which hooks may change
            for path, module in hooked:
                for hook in list(module.__dict__["_load_state_dict_pre_hooks"].values()):
                    hook(module, state_dict, f"{path}." if path else "", {}, strict, [], [], [])
        writes: list[tuple[Module, str, Tensor, Any]] = []
        extras: list[tuple[Module, Any]] = []
        missing: list[str] = []
        errors: list[str] = []
        known = set()
        # Duplicates too: a module that stands in two places has two sets of keys, as in state_dict.
        for path, module in self.named_modules(remove_duplicate=False):
            prefix = f"{path}." if path else ""
            for name, own in module._state():
                key = prefix + name
                known.add(key)
                if key not in state_dict:
                    missing.append(key)
                    continue
                value = state_dict[key]
                try:
                    shape = tuple(value.shape if isinstance(value, Tensor) else as_host(value).shape)
                except TypeError:
                    errors.append(f'"{key}" is a {type(value).__name__}; a Tensor or an array is needed.')
                    continue
                if shape != tuple(own.shape):
                    errors.append(
                        f"size mismatch for {key}: copying a param with shape {shape} from checkpoint, "
                        f"the shape in current model is {tuple(own.shape)}."
                    )
                elif assign and not isinstance(value, Tensor):
                    errors.append(f'"{key}" is a {type(value).__name__}; assign=True needs a Tensor.')
                else:
                    writes.append((module, name, own, value))
            if type(module).get_extra_state is not Module.get_extra_state:
                known.add(prefix + "_extra_state")
                if prefix + "_extra_state" in state_dict:
                    extras.append((module, state_dict[prefix + "_extra_state"]))
                else:
                    missing.append(prefix + "_extra_state")
        unexpected = [key for key in state_dict if key not in known]
        if strict:
            lists = ((unexpected, "Unexpected"), (missing, "Missing"))
            errors = [f"{word} key(s) in state_dict: {', '.join(map(_quoted, keys))}." for keys, word in lists if keys][::-1] + errors
        if errors:
            raise RuntimeError("\n\t".join([f"Error(s) in loading state_dict for {type(self).__name__}:", *errors]))
        with autograd.no_grad():
            for module, name, own, value in writes:
                if not assign:
                    own.copy_(value)
                elif isinstance(own, Parameter) and not isinstance(value, Parameter):
                    setattr(module, name, Parameter(value, requires_grad=own.requires_grad))
                else:
                    setattr(module, name, value)
        for module, extra in extras:
            module.set_extra_state(extra)
        return IncompatibleKeys(missing, unexpected)

    # ---------------------------------------------------------------------------------------------------------------------- repr
    def extra_repr(self) -> str:
        """What stands between the parentheses of repr; override it in a layer."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({name}): {_indented(repr(child))}" for name, child in self._modules.items()]
        if not children and len(lines) <= 1:
            return f"{self._get_name()}({extra})"
        return "\n  ".join([f"{self._get_name()}(", *lines, *children]) + "\n)"


def _quoted(key: Any) -> str:
    return f'"{key}"'


def _indented(text: str) -> str:
    """All lines but the first moved right by two."""
    return text.replace("\n", "\n  ")


class _Gate(autograd.Op):
    """A node without arithmetic that several tensors pass through at once, so that a function sees all their gradients together."""

    name = "module hook"

    @classmethod
    def through(cls, tensors: list[Tensor], function: Callable[[list[Tensor | None]], list[Tensor | None]]) -> list[Tensor]:
        node = cls.__new__(cls)
        node.device, node.params, node.saved, node.rungs, node.hooks = tensors[0].device, {}, {}, {}, {}
        node.function = function  # type: ignore[misc, assignment]
        node.needs = tuple(t.requires_grad for t in tensors)
        node.edges = tuple(t._edge() for t in tensors)
        node.outputs = len(tensors)
        node.meta = node.out_meta = tuple((t.shape, t.dtype) for t in tensors)  # type: ignore[attr-defined]
        node.order = next(autograd._order)
        out = []
        for i, t in enumerate(tensors):
            made = wrap(t._array, t.device, t._storage)
            made._node, made._index, made._requires_grad = node, i, True
            out.append(made)
        return out

    def backward(self, grads: list[Any], create_graph: bool) -> list[Any]:
        if self.saved is None:
            raise RuntimeError("backward through a graph that an earlier backward has freed; pass retain_graph=True to that first backward")
        given = [g if g is None or isinstance(g, Tensor) else wrap(g, self.device) for g in grads]
        with autograd.set_grad_enabled(create_graph):
            after = self.function(given)  # type: ignore[operator, call-arg]
        return list(after) if create_graph else [None if g is None else g._array for g in after]


class _Gates:
    """The two gates around one call of a module with backward hooks: what it puts in and what comes out."""

    def __init__(self, module: Module):
        self.module = module
        self.hooks, self.pre_hooks = list(module._backward_hooks.values()), list(module._backward_pre_hooks.values())
        self.grad_output: tuple[Any, ...] = ()
        self.gated = False

    def inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        at = [i for i, a in enumerate(args) if isinstance(a, Tensor) and a.requires_grad]
        if not at or not self.hooks or not autograd.is_grad_enabled():
            return args
        self.gated = True

        def complete(grads: list[Tensor | None]) -> list[Tensor | None]:
            grad_input: list[Tensor | None] = [None] * len(args)
            for i, g in zip(at, grads, strict=True):
                grad_input[i] = g
            return _pick(self._run(tuple(grad_input)), at)

        through = _Gate.through([args[i] for i in at], complete)
        out = list(args)
        for i, t in zip(at, through, strict=True):
            out[i] = t
        return tuple(out)

    def _run(self, grad_input: tuple[Any, ...]) -> tuple[Any, ...]:
        for hook in self.hooks:
            changed = hook(self.module, grad_input, self.grad_output)
            if changed is not None:
                changed = changed if isinstance(changed, tuple) else (changed,)
                if len(changed) != len(grad_input):
                    raise RuntimeError(f"backward hook returned {len(changed)} gradient(s); the module has {len(grad_input)} input(s)")
                grad_input = changed
        return grad_input

    def outputs(self, result: Any) -> Any:
        several = isinstance(result, (tuple, list))
        outs = list(result) if several else [result]
        at = [i for i, o in enumerate(outs) if isinstance(o, Tensor) and o.requires_grad]
        if not at or not autograd.is_grad_enabled():
            return result

        def start(grads: list[Tensor | None]) -> list[Tensor | None]:
            grad_output: list[Tensor | None] = [None] * len(outs)
            for i, g in zip(at, grads, strict=True):
                grad_output[i] = g
            self.grad_output = tuple(grad_output)
            for hook in self.pre_hooks:
                changed = hook(self.module, self.grad_output)
                if changed is not None:
                    self.grad_output = changed if isinstance(changed, tuple) else (changed,)
            if not self.gated:  # no input needs a gradient: there is nothing to wait for
                self._run((None,) * 1)
            return _pick(self.grad_output, at)

        through = _Gate.through([outs[i] for i in at], start)
        for i, t in zip(at, through, strict=True):
            outs[i] = t
        if not several:
            return outs[0]
        return type(result)(*outs) if hasattr(result, "_fields") else type(result)(outs)


def _pick(values: tuple[Any, ...], at: list[int]) -> list[Any]:
    return [values[i] for i in at]
