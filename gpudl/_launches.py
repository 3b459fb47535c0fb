"""Every launch that the library makes, without making it: which rung, for which types, with which macros.

The registry's samples, the optimisers and the random generators run on a device whose launches do nothing. What they would have compiled is
what `python -m gpudl resources` and the tests compile with NVRTC, for GPUs that are not there.
"""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

from gpudl import _dtypes, _random, autograd, kernels
from gpudl._device import device
from gpudl._errors import KernelError
from gpudl._tensor import Tensor, wrap
from gpudl.kernels import Kernel


class Variant(NamedTuple):
    """What a rung is compiled with: its type parameters, and the op's macros."""

    types: tuple[tuple[str, np.dtype], ...]
    defines: tuple[tuple[str, Any], ...]

    def __str__(self) -> str:
        types = [f"{name}={_dtypes.C_NAMES[dtype]}" for name, dtype in self.types]
        return " ".join([*types, *(f"{name}={value}" for name, value in self.defines)])


class _Dry(device):
    """NumPy memory and launches that do nothing, on a GPU of a given architecture."""

    kernels = True
    sms = 4

    def __new__(cls, arch: int) -> _Dry:
        self = object.__new__(cls)
        self.type, self.index, self.arch = "dry", None, arch
        return self

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return np.zeros(shape, dtype)

    def flag(self) -> Any:
        return np.zeros(1, np.int32)


def launches(arch: int = 90) -> dict[Kernel, list[Variant]]:
    """The variants of each CUDA rung that a GPU of this compute capability (90 for sm_90) is asked for. Takes a few seconds, once."""
    return _record(arch)[0]


def failures(arch: int = 90) -> list[str]:
    """The samples that could not run on a kernel device: what, and why."""
    return _record(arch)[1]


@functools.cache
def _record(arch: int) -> tuple[dict[Kernel, list[Variant]], list[str]]:
    where = _Dry(arch)
    failed: list[str] = []
    seen: dict[Kernel, dict[Variant, None]] = {}

    def prepare(self: Kernel, _device: Any, _entry: str, types: Mapping[str, Any], defines: Mapping[str, Any], *_: Any) -> Callable[..., None]:
        seen.setdefault(self, {})[Variant(tuple(sorted(types.items())), tuple(sorted(defines.items())))] = None
        return lambda values: None

    real = kernels.launch

    def launch(
        device: Any, ladder: str, arguments: dict[str, Any], picked: Any = None, defines: Mapping[str, Any] | None = None
    ) -> Kernel:
        if device is not where:
            return real(device, ladder, arguments, picked, defines)
        scalars = {k: v for k, v in arguments.items() if not kernels._is_array(v)}
        dtype = next((v.dtype for k, v in arguments.items() if k not in scalars), _dtypes.float32)
        taking = [r for r in kernels.ladder(ladder) if r.backend == "cuda" and r.takes(scalars, dtype, where)]
        for rung in taking:
            rung.launch(where, arguments, defines or {})
        return taking[-1] if taking else real(device, ladder, arguments, picked, defines)  # which says that no rung takes it

    with mock.patch.object(Kernel, "prepare", prepare), mock.patch.object(kernels, "launch", launch), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with np.errstate(all="ignore"):
            for work in _work(where):
                try:
                    work()
                except (NotImplementedError, KernelError):
                    pass  # an op, or a dtype, that the CPU alone computes
                except Exception as e:
                    failed.append(f"{work}: {type(e).__name__}: {e}")
    _random._defaults.pop(where, None)  # nothing of this device outlives its launches
    for rung in seen:
        rung._plans = {key: plan for key, plan in rung._plans.items() if key[0] is not where}
    return {rung: list(variants) for rung, variants in seen.items()}, failed


def covering(variants: list[Variant], part: int = 0, parts: int = 1) -> list[Variant]:
    """Few of the variants: among them each type in each place and each choice of macros.

    Of parts, a part has float32 and its share of the other types and of the macros: the parts together have all.
    """
    macros = list(dict.fromkeys(v.defines for v in variants))[part::parts]
    types = list(dict.fromkeys(t for v in variants for t in v.types))
    single = [t for t in types if t[1] == _dtypes.float32] or types[:1]
    wanted = {*single, *[t for t in types if t not in single][part::parts], *[("", d) for d in macros]}
    chosen = []
    for v in variants:
        new = wanted & {*v.types, ("", v.defines)}
        if new:
            wanted -= new
            chosen.append(v)
    return chosen


def _work(where: device) -> Iterator[Callable[[], None]]:
    for op in autograd.Op.registry.values():
        if "samples" in vars(op):
            function = getattr(sys.modules[op.__module__], op.function)
            for sample in op.samples(np.random.default_rng(0)):  # type: ignore[attr-defined]
                for dtype in _dtypes.FLOATS:
                    yield functools.partial(_run, function, sample, where, dtype)
    yield from _optimizers(where)
    yield from _creation(where)


def _tensor(value: Any, where: device, dtype: Any, grad: bool = True) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_tensor(v, where, dtype, grad) for v in value)
    if not isinstance(value, np.ndarray):
        return value
    floating = value.dtype.kind == "f"
    made = wrap(where.from_host(value.astype(dtype) if floating else value), where)
    return made.requires_grad_() if floating and grad else made


def _run(function: Callable[..., Any], sample: Any, where: device, dtype: Any) -> None:
    """Forward, and backward from ones."""
    grad = sample.options.get("grad", True)
    args = [_tensor(a, where, dtype, grad) for a in sample.args]
    constant = sample.options.get("constant", ())
    kwargs = {k: _tensor(v, where, dtype, grad and k not in constant) for k, v in sample.kwargs.items()}
    out = function(*args, **kwargs)
    for o in out if isinstance(out, (list, tuple)) else (out,):
        if isinstance(o, Tensor) and o.requires_grad:
            o.backward(wrap(where.empty(o.shape, o.dtype), where), retain_graph=True)


def _optimizers(where: device) -> Iterator[Callable[[], None]]:
    from gpudl import optim

    def step(kind: Any, dtype: Any, options: Mapping[str, Any]) -> None:
        p = wrap(where.empty((3,), dtype), where).requires_grad_()
        p.grad = wrap(where.empty((3,), dtype), where)
        optimizer = kind([p], lr=0.1, **options)
        for _ in range(2):
            optimizer.step()

    choices: dict[str, list[dict[str, Any]]] = {
        "SGD": [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"weight_decay": 0.1, "maximize": True}],
        "Adam": [{}, {"amsgrad": True}, {"weight_decay": 0.1}],
        "AdamW": [{}, {"amsgrad": True}],
        "RMSprop": [{}, {"centered": True}, {"momentum": 0.9}],
        "Adagrad": [{}],
    }
    for name, options in choices.items():
        for dtype in _dtypes.FLOATS:
            for each in options:
                yield functools.partial(step, getattr(optim, name), dtype, each)


def _creation(where: device) -> Iterator[Callable[[], None]]:
    generator = _random.Generator(where)
    for kind in _random._DRAWS:
        for dtype in _dtypes.ALL if kind == "integers" else _dtypes.FLOATS:
            yield functools.partial(generator._fill, where.empty((3,), dtype), kind)
    yield functools.partial(generator._set, 0, 0)
    for dtype in _dtypes.ALL:
        yield functools.partial(kernels.fill, where, where.empty((3,), dtype), 1)
        for source in _dtypes.ALL:
            yield functools.partial(kernels.copy_into, where, where.empty((3, 4), dtype), where.empty((4, 3), source).T)
            yield functools.partial(kernels.copy_into, where, where.empty((3, 4), dtype), where.empty((3, 4), source))
