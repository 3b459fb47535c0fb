"""What every optimiser shares: groups, state, state_dict, closures, hooks, and the one launch that updates all parameters of a group.

On the CPU an optimiser updates one parameter after the other with NumPy, in place. On a device with kernels it launches once for all
parameters of a group and dtype: a table in device memory says where each piece of each parameter, its gradient and its state lie, and the
numbers that change from step to step (learning rate, step count) lie in device memory too, so that a captured launch follows them.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from gpudl import _dtypes, autograd, kernels
from gpudl._device import device as Device
from gpudl._errors import ShapeError
from gpudl._tensor import Handle, Tensor, wrap

CHUNK = 8192  # elements of a parameter that one block updates
COLUMNS = 8  # of the table: parameter, gradient, three states, step count, elements, first update or not


def traffic(n: int, states: int, chunks: int, options: int, itemsize: int, BLOCK: int) -> int:
    """Bytes that an update of n elements asks for: parameter, gradient and states are read, parameter and states written; each thread
    reads its chunk's row of the table and the options."""
    return (3 + 2 * states) * n * itemsize + 8 * BLOCK * (COLUMNS + options) * chunks


class Optimizer:
    """Base class. A subclass names its state and updates one parameter on the CPU, and names a ladder for the other devices;
    or it defines `step` itself.

    params: an iterable of Tensors, of (name, Tensor) pairs, or of dicts {"params": ..., option: value} (parameter groups).
    defaults: the options of groups that do not give them.
    TypeError for anything else, ValueError for no parameters, a parameter that is no leaf or comes twice.
    """

    ladder: ClassVar[str] = ""

    def __init__(self, params: Any, defaults: dict[str, Any]):
        name = type(self).__name__
        self.defaults = defaults
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._hooks: dict[str, dict[int, Callable[..., Any]]] = {"pre": {}, "post": {}}
        self._stepped = False  # schedulers ask
        self._forget()
        if isinstance(params, Tensor):
            raise TypeError(f"{name}: params is one Tensor; an iterable of Tensors or dicts is needed. Did you mean [tensor]?")
        given = list(params)
        if not given:
            raise ValueError(f"{name}: no parameters were given (empty list); is the module's parameters() a generator used up already?")
        for group in given if isinstance(given[0], dict) else [{"params": given}]:
            self.add_param_group(group)

    # ------------------------------------------------------------------------------------------------------------------- groups
    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with options of their own. TypeError and ValueError as for the constructor; nothing is added then."""
        name = type(self).__name__
        if not isinstance(param_group, dict):
            raise TypeError(f"{name}: a parameter group must be a dict with the key 'params', not {type(param_group).__name__}")
        if "params" not in param_group:
            raise ValueError(f"{name}: this parameter group has the keys {sorted(param_group)} and lacks 'params'")
        params = param_group["params"]
        if isinstance(params, (set, frozenset)):
            raise TypeError(f"{name}: params is a set, whose order changes from run to run; give a list")
        entries = [params] if isinstance(params, Tensor) else list(params)
        names = [e[0] for e in entries if isinstance(e, tuple)]
        if names and len(names) != len(entries):
            raise ValueError(f"{name}: either all parameters come with a name or none")
        entries = [e[1] if isinstance(e, tuple) else e for e in entries]
        for i, p in enumerate(entries):
            if not isinstance(p, Tensor):
                raise TypeError(f"{name}: parameter {i} is a {type(p).__name__}; an optimiser updates Tensors")
            if not p.is_leaf:
                raise ValueError(
                    f"{name}: parameter {i} {tuple(p.shape)} is not a leaf, it was made by {p.grad_fn.name}; "
                    "give the tensor it was made from, or .detach().requires_grad_() it"
                )
            if not _dtypes.is_float(p.dtype):
                raise TypeError(f"{name}: parameter {i} {tuple(p.shape)} is {p.dtype}; only floating tensors have gradients")
        known = {id(p): g for g, group in enumerate(self.param_groups) for p in group["params"]}
        seen: set[int] = set()
        for i, p in enumerate(entries):
            if id(p) in seen:
                raise ValueError(
                    f"{name}: parameter {i} {tuple(p.shape)} is a duplicate, it comes twice in its group; it would be updated twice"
                )
            if id(p) in known:
                raise ValueError(f"{name}: parameter {i} {tuple(p.shape)} appears in more than one parameter group, in {known[id(p)]} too")
            seen.add(id(p))
        group = {"params": entries, **({"param_names": names} if names else {}), **{k: v for k, v in param_group.items() if k != "params"}}
        for key, value in self.defaults.items():
            group.setdefault(key, value)
        self._check_options(group)
        self.param_groups.append(group)

    def _check_options(self, group: Mapping[str, Any]) -> None:
        """Raise for options out of range: a subclass extends it."""
        name = type(self).__name__
        lr = group.get("lr")
        if isinstance(lr, Tensor):
            raise NotImplementedError(f"{name}: lr is a Tensor; give a float (on a GPU it is kept in device memory anyway)")
        for option in ("lr", "eps", "weight_decay", "momentum", "lr_decay", "initial_accumulator_value"):
            self._at_least_zero(option, group.get(option))
        if group.get("differentiable"):
            raise NotImplementedError(f"{name}: differentiable=True is not supported")

    def _at_least_zero(self, option: str, value: Any) -> None:
        if value is not None and not value >= 0:
            raise ValueError(f"{type(self).__name__}: invalid {option} {value!r}; it must be at least 0")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or with set_to_none=False fill them with zeros (the same memory)."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none or p.grad is None:
                    p.grad = None
                else:
                    p.grad = p.grad.detach()
                    p.grad.zero_()

    # -------------------------------------------------------------------------------------------------------------------- step
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters that have a gradient. `closure`, if given, computes the loss anew and is called first; returns its value."""
        for hook in list(self._hooks["pre"].values()):
            hook(self, (closure,), {})
        loss = None
        if closure is not None:
            with autograd.enable_grad():
                loss = closure()
        with autograd.no_grad():
            for group in self.param_groups:
                batches: dict[tuple[Device, np.dtype], list[Tensor]] = {}
                for p in group["params"]:
                    if p.grad is None or p.numel() == 0:
                        continue
                    if p.device.kernels:
                        batches.setdefault((p.device, p.dtype), []).append(p)
                    else:
                        self._step_cpu(group, p)
                for (device, _), params in batches.items():
                    self._step_kernel(group, params, device)
        self._stepped = True
        for hook in list(self._hooks["post"].values()):
            hook(self, (closure,), {})
        return loss

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call hook(optimizer, args, kwargs) before every step."""
        return Handle(self._hooks["pre"], hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call hook(optimizer, args, kwargs) after every step."""
        return Handle(self._hooks["post"], hook)

    # what a subclass gives
    def _slots(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of the state arrays, shaped as the parameter; they start at `_start`."""
        return ()

    def _start(self, group: Mapping[str, Any], slot: str) -> float:
        return 0.0

    counted: ClassVar[bool] = False  # state["step"] counts the updates

    def _update(
        self, group: Mapping[str, Any], p: np.ndarray, g: np.ndarray, state: dict[str, np.ndarray], step: float, first: bool
    ) -> None:
        """Update p and its state in place (float32 or float64); g must stay as it is. `self._scratch(p, k)` is memory to work in."""
        raise NotImplementedError(f"{type(self).__name__}: neither step nor _update is defined")

    def _hyper(self, group: Mapping[str, Any]) -> dict[str, float]:
        """The numbers that the kernel reads from device memory, in the order of its header."""
        return {"lr": group["lr"]}

    def _defines(self, group: Mapping[str, Any]) -> dict[str, int]:
        """Macros of the kernel."""
        return {}

    # --------------------------------------------------------------------------------------------------------------- on the CPU
    def _prepare(self, group: Mapping[str, Any], p: Tensor) -> bool:
        """Make the state of p if it is missing; returns whether this is its first update."""
        slots = self._slots(group)
        if not slots and not self.counted:
            return False
        state = self.state[p]
        missing = [s for s in slots if state.get(s) is None]
        for slot in missing:
            array = p.device.empty(p.shape, p.dtype)
            kernels.fill(p.device, array, self._start(group, slot))
            state[slot] = wrap(array, p.device)
        if self.counted and "step" not in state:
            array = p.device.empty((), _dtypes.float32)
            kernels.fill(p.device, array, 0.0)
            state["step"] = wrap(array, p.device)
        return bool(missing)

    def _step_cpu(self, group: Mapping[str, Any], p: Tensor) -> None:
        first = self._prepare(group, p)
        slots = self._slots(group)
        state = self.state[p] if slots or self.counted else {}
        step = 0.0
        if self.counted:
            state["step"]._array += 1
            step = float(state["step"]._array)
        assert p.grad is not None
        array, g, arrays = p._array, p.grad._array, {s: state[s]._array for s in slots}
        if p.dtype in _dtypes.HALVES:  # computed in float32 and rounded once
            wide = array.astype(np.float32)
            wides = {s: a.astype(np.float32) for s, a in arrays.items()}
            with np.errstate(all="ignore"):
                self._update(group, wide, g.astype(np.float32), wides, step, first)
                array[...] = wide
                for s, a in arrays.items():
                    a[...] = wides[s]
        else:
            with np.errstate(all="ignore"):
                self._update(group, array, g, arrays, step, first)
        for s in slots:
            state[s]._wrote()
        p._wrote()

    def _scratch(self, p: np.ndarray, k: int = 0) -> np.ndarray:
        """Memory of p's shape and dtype to work in, the k-th such: the same from step to step."""
        flat = self._work.get((p.dtype, k))
        if flat is None or flat.size < p.size:
            flat = self._work[p.dtype, k] = np.empty(p.size, p.dtype)
        return flat[: p.size].reshape(p.shape)

    # ------------------------------------------------------------------------------------------------------- on a kernel device
    def _step_kernel(self, group: dict[str, Any], params: list[Tensor], device: Device) -> None:
        slots = self._slots(group)
        rows: list[tuple[int, ...]] = []  # one a parameter: pointers, elements, first
        held: list[Any] = []  # memory that the launch reads must live until it is enqueued
        back: list[tuple[Tensor, Any]] = []
        for p in params:
            first = self._prepare(group, p)
            state = self.state[p] if slots or self.counted else {}
            assert p.grad is not None
            g = kernels.contiguous(device, p.grad._array)
            array = kernels.contiguous(device, p._array)
            if array is not p._array:
                back.append((p, array))
            held += [g, array]
            places = [state[s]._array for s in slots]
            counts = kernels.pointer(self._count(p)) if self.counted else 0
            pointers = [kernels.pointer(a) for a in places] + [0] * (3 - len(places))
            rows.append((kernels.pointer(array), kernels.pointer(g), *pointers, counts, p.numel(), int(first and not self.counted)))
        table, chunks = self._table(group, device, params[0].dtype, tuple(rows))
        hyper = self._hyper_array(group, device)
        sizes = {"chunks": chunks, "n": sum(row[6] for row in rows), "states": len(slots), "options": len(hyper)}
        kernels.launch(device, self.ladder, {"like": held[0], "table": table, "hyper": hyper, **sizes}, defines=self._defines(group))
        for p, array in back:
            kernels.copy_into(device, p._array, array)
        for p in params:
            p._wrote()
            for s in slots:
                self.state[p][s]._wrote()

    def _count(self, p: Tensor) -> Any:
        """The step count, once for each chunk: a block reads and advances its own, so no block reads what another writes."""
        counts = self._counts.get(id(p))
        step = self.state[p]["step"]
        if counts is None or step._array.size == 0 or kernels.pointer(step._array) != kernels.pointer(counts):
            counts = p.device.empty((kernels.ceil_div(p.numel(), CHUNK),), _dtypes.float32)
            kernels.copy_into(p.device, counts, step._array.reshape(1))
            self._counts[id(p)] = counts
            self.state[p]["step"] = wrap(counts[:1].reshape(()), p.device)
        return counts

    def _table(self, group: Any, device: Device, dtype: np.dtype, rows: tuple[tuple[int, ...], ...]) -> tuple[Any, int]:
        """The chunks in device memory: uploaded when a pointer has moved since the last tables of this group, else the one that is there."""
        known = self._tables.setdefault((id(group), device, dtype), {})
        found = known.get(rows)
        if found is None:
            size = dtype.itemsize
            out = []
            for row in rows:
                for k in range(kernels.ceil_div(row[6], CHUNK)):
                    shifted = [pointer + k * CHUNK * size if pointer else 0 for pointer in row[:5]]
                    out.append([*shifted, row[5] + 4 * k if row[5] else 0, min(CHUNK, row[6] - k * CHUNK), row[7]])
            host = np.array(out, np.int64).reshape(-1, COLUMNS)
            if len(known) >= 8:
                known.pop(next(iter(known)))
            found = known[rows] = (device.from_host(host), len(host))
        return found

    def _hyper_array(self, group: dict[str, Any], device: Device) -> Any:
        """The group's numbers in device memory, written where they have changed."""
        values = self._hyper(group)
        known = self._hypers.get((id(group), device))
        if known is None:
            known = self._hypers[id(group), device] = (device.from_host(np.array(list(values.values()), np.float64)), dict(values))
        array, written = known
        for i, (name, value) in enumerate(values.items()):
            if written[name] != value:
                kernels.fill(device, array[i : i + 1], float(value))
                written[name] = value
        return array

    def sync_options(self) -> None:
        """Write the groups' options (learning rate, ...) to device memory now: for a captured step, which does not run Python."""
        for group in self.param_groups:
            for device in {p.device for p in group["params"] if p.device.kernels}:
                self._hyper_array(group, device)

    def _forget(self) -> None:
        """Drop what is derived from groups and state."""
        self._counts: dict[int, Any] = {}
        self._tables: dict[Any, dict[Any, tuple[Any, int]]] = {}
        self._hypers: dict[Any, tuple[Any, dict[str, float]]] = {}
        self._work: dict[Any, np.ndarray] = {}

    # --------------------------------------------------------------------------------------------------------------- state_dict
    def state_dict(self) -> dict[str, Any]:
        """State and groups in PyTorch's format: {"state": {index: {...}}, "param_groups": [{..., "params": [index, ...]}]}.

        Parameters are numbered through all groups. The state's Tensors are the optimiser's own, not copies.
        """
        numbers: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for p in group["params"]:
                numbers.setdefault(id(p), len(numbers))
            groups.append({k: v for k, v in group.items() if k != "params"} | {"params": [numbers[id(p)] for p in group["params"]]})
        state = {(numbers[id(k)] if isinstance(k, Tensor) else k): dict(v) if isinstance(v, dict) else v for k, v in self.state.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over state and options from `state_dict()` of an optimiser with groups of the same sizes; values are copied.

        Arrays and Tensors become Tensors of the parameter's dtype and device (the step count stays float32). ValueError where the
        number of groups, of their parameters, or the shape of a state does not match; nothing is changed then.
        """
        name = type(self).__name__
        missing = [k for k in ("state", "param_groups") if k not in state_dict]
        if missing:
            raise KeyError(f"{name}.load_state_dict: the key {missing[0]!r} is missing; this is not an optimiser's state_dict")
        groups = state_dict["param_groups"]
        if len(groups) != len(self.param_groups):
            raise ValueError(
                f"{name}.load_state_dict: the loaded state dict has a different number of parameter groups: {len(groups)}, "
                f"this optimiser has {len(self.param_groups)}"
            )
        for i, (mine, theirs) in enumerate(zip(self.param_groups, groups, strict=True)):
            if len(mine["params"]) != len(theirs["params"]):
                raise ValueError(
                    f"{name}.load_state_dict: the loaded state dict contains a parameter group that doesn't match the size of the optimiser's: "
                    f"group {i} has {len(theirs['params'])} parameters there and {len(mine['params'])} here"
                )
        params = {
            number: p
            for mine, theirs in zip(self.param_groups, groups, strict=True)
            for number, p in zip(theirs["params"], mine["params"], strict=True)
        }
        state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        for number, values in state_dict["state"].items():
            p = params.get(number)
            if p is None:
                state[number] = copy.deepcopy(values)
                continue
            state[p] = {key: self._restored(p, key, value, number) for key, value in values.items()}
        fresh = []
        for mine, theirs in zip(self.param_groups, groups, strict=True):
            options = {k: copy.deepcopy(v) for k, v in theirs.items() if k != "params"}
            fresh.append({"params": mine["params"], **{k: mine[k] for k in ("param_names",) if k in mine}, **options})
            for key, value in self.defaults.items():
                fresh[-1].setdefault(key, value)
            self._check_options(fresh[-1])
        self.state, self.param_groups = state, fresh
        self._forget()

    def _restored(self, p: Tensor, key: str, value: Any, number: Any) -> Any:
        if value is None or isinstance(value, (str, bool)):
            return value
        if key != "step" and not hasattr(value, "shape"):
            return copy.deepcopy(value)
        if isinstance(value, Tensor):
            host = value.device.to_host(value._array)
        else:
            host = np.asarray(value.detach().cpu().float() if hasattr(value, "detach") and "bfloat16" in str(value.dtype) else value)
        if key != "step" and host.shape != tuple(p.shape) and host.ndim:
            raise ShapeError(
                f"{type(self).__name__}.load_state_dict: {key} of parameter {number} is {host.shape}, the parameter is {tuple(p.shape)}; "
                "is this the checkpoint of another model?"
            )
        dtype = _dtypes.float32 if key == "step" else p.dtype
        return wrap(p.device.from_host(np.array(host, dtype=dtype)), p.device)

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._hooks, self._stepped = {"pre": {}, "post": {}}, False
        self._forget()

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {k}: {v}" for k, v in sorted(group.items()) if k not in ("params", "param_names")]
        return "\n".join([*lines, ")"])


Params = Iterable[Any]
