"""Random numbers from a counter: Philox 4x32-10, the same on every device.

Number i of a draw is a function of (seed, draws so far, i) and of nothing else: no thread, block size or device changes it. Uniforms and
integers agree bit for bit between NumPy, the emulator and a GPU; normals to 4 units in the last place (log, sin and cos differ by 1 or 2).
The stream is not PyTorch's. On a device with kernels the seed and the count of draws lie in device memory and advance there.
Source: Salmon, Moraes, Dror & Shaw 2011, "Parallel Random Numbers: As Easy as 1, 2, 3", doi:10.1145/2063384.2063405.
"""

from __future__ import annotations

import math
import os
import threading
from typing import Any

import numpy as np

from gpudl import _dtypes, autograd, kernels
from gpudl._creation import _checked, place
from gpudl._device import cpu
from gpudl._device import device as Device
from gpudl._errors import DeviceError, DtypeError, ShapeError
from gpudl._tensor import Tensor, wrap
from gpudl.kernels import Kernel, Step, ceil_div, ladder
from gpudl.ops._common import check_tensor

BLOCK = 256
_advance = Step("advance", grid=1, block=1)


def evaluations(size: int, per: int, sms: int) -> int:
    """Blocks whose threads use every number of a Philox evaluation, of which there are `per`."""
    return min(ceil_div(size, per * BLOCK), 16 * sms)


_whole: dict[str, Any] = dict(
    BLOCK=BLOCK,
    dtypes=_dtypes.ALL,
    traffic=lambda size, per, sms, itemsize: size * itemsize + 16 * BLOCK * evaluations(size, per, sms) + 16,
)
ladder(
    "random.fill",
    Kernel(
        "01_naive.cu",
        Step("draw", grid=lambda size: ceil_div(size, BLOCK), block=BLOCK),
        _advance,
        BLOCK=BLOCK,
        dtypes=_dtypes.ALL,
        traffic=lambda size, itemsize: size * (itemsize + 16) + 16,
    ),
    Kernel("02_whole.cu", Step("draw", grid=evaluations, block=BLOCK), _advance, **_whole),
    Kernel("03_vector.cu", Step("draw", grid=evaluations, block=BLOCK), _advance, **_whole),
)
ladder("random.seed", Kernel("01_naive.cu", grid=1, block=1, dtypes=(np.dtype(np.uint64),), traffic=lambda: 16))

_M0, _M1, _W0, _W1, _LOW = (np.uint64(n) for n in (0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85, 0xFFFFFFFF))
_32 = np.uint64(32)
_CHUNK = 8192  # counters at a time, so that the ten rounds stay in cache


def philox(counter: np.ndarray, stream: int, key: int) -> np.ndarray:
    """Philox 4x32-10 of the 128-bit counters (counter + stream * 2^64) under a 64-bit key: (n, 4) words of 32 bits."""
    c0, c1 = counter & _LOW, counter >> _32
    c2, c3 = np.full_like(c0, stream & 0xFFFFFFFF), np.full_like(c0, stream >> 32)
    k0, k1 = np.uint64(key & 0xFFFFFFFF), np.uint64(key >> 32)
    for _ in range(10):
        a, b = c0 * _M0, c2 * _M1
        np.right_shift(b, _32, out=c0)
        c0 ^= c1
        c0 ^= k0
        np.right_shift(a, _32, out=c2)
        c2 ^= c3
        c2 ^= k1
        c1, c3 = np.bitwise_and(b, _LOW, out=b), np.bitwise_and(a, _LOW, out=a)
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return np.stack((c0, c1, c2, c3), axis=-1).astype(np.uint32)


def _unit_double(hi: np.ndarray, lo: np.ndarray) -> np.ndarray:
    return ((hi >> np.uint32(5)) * 67108864.0 + (lo >> np.uint32(6))) * 2.0**-53


def _turn(u: np.ndarray, sine: bool) -> np.ndarray:
    """cos (or sin) of 2 pi u; u brought to the nearest quarter turn first, which is exact, so that values near 0 keep all their digits."""
    quarter = np.rint(4 * u)
    rest = (u - 0.25 * quarter) * (2 * math.pi)
    q = (quarter.astype(np.int8) + (3 if sine else 0)) & 3
    c = np.where(q & 1, np.sin(rest), np.cos(rest))
    return np.where((q == 1) | (q == 2), -c, c)


# The arithmetic of kernels/random/functions.cuh over (n, 4) words: (n, PER) numbers.
def _uniform(w: np.ndarray, dtype: np.dtype, a: float, b: float, low: int, span: int) -> np.ndarray:
    if dtype == _dtypes.float64:
        return _unit_double(w[:, 0::2], w[:, 1::2]) * (b - a) + a
    bits = {_dtypes.float16: 11, _dtypes.bfloat16: 8}.get(dtype, 24)  # what the dtype holds without rounding, so that 1 never comes out
    unit = (w >> np.uint32(32 - bits)).astype(np.float32)
    unit *= np.float32(2.0**-bits)
    unit *= np.float32(b - a)
    unit += np.float32(a)
    return unit.astype(dtype, copy=False)


def _normal(w: np.ndarray, dtype: np.dtype, mean: float, std: float, low: int, span: int) -> np.ndarray:
    if dtype == _dtypes.float64:
        u1, u2 = 1 - _unit_double(w[:, 0], w[:, 1]), _unit_double(w[:, 2], w[:, 3])
        u1, u2 = u1[:, None], u2[:, None]
    else:
        u1, u2 = (w[:, 0::2] + 1.0) * 2.0**-32, w[:, 1::2] * 2.0**-32
    radius = np.sqrt(-2.0 * np.log(u1))
    z = np.empty((len(w), 2 * u1.shape[1]))
    z[:, 0::2], z[:, 1::2] = radius * _turn(u2, False), radius * _turn(u2, True)
    z *= std
    z += mean
    return z if dtype == _dtypes.float64 else z.astype(np.float32).astype(dtype, copy=False)


def _integers(w: np.ndarray, dtype: np.dtype, a: float, b: float, low: int, span: int) -> np.ndarray:
    bits = w[:, 0::2].astype(np.uint64) << _32 | w[:, 1::2]
    if span:
        bits %= np.uint64(span)
    return kernels.cast((bits + np.uint64(low % 2**64)).view(np.int64), dtype)


_DRAWS = {"uniform": _uniform, "normal": _normal, "integers": _integers}


class Generator:
    """A stream of random numbers on one device: a seed, and how many draws were made from it.

    Pass it as `generator=`; without one, each device's own is used, which `gpudl.manual_seed` sets. RuntimeError for a tensor of another device.
    """

    def __init__(self, device: Any = "cpu"):
        self.device = Device(device)
        self._lock = threading.Lock()
        self._seed, self._draws = 67280421310721, 0  # PyTorch's default
        self._memory: Any = None  # (seed, draws) on a device with kernels, from the first draw on

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of this seed (an integer of 64 bits, negative ones wrap around). ValueError beyond; returns self."""
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
            raise TypeError(f"manual_seed: seed must be an integer, not {type(seed).__name__} {seed!r}")
        if not -(2**63) <= seed < 2**64:
            raise ValueError(f"manual_seed: seed {seed} does not fit into 64 bits")
        self._set(int(seed) % 2**64, 0)
        return self

    def seed(self) -> int:
        """Start from a seed of the operating system's randomness, and return it."""
        self._set(int.from_bytes(os.urandom(8), "little"), 0)
        return self._seed

    def initial_seed(self) -> int:
        """The seed that was set last."""
        return self._seed

    def get_state(self) -> Tensor:
        """Where the stream is: 16 bytes (uint8, on the CPU) for `set_state`. Waits for the device."""
        with self._lock:
            if self._memory is not None:
                self._draws = int(self.device.to_host(self._memory)[1])
            return wrap(np.array([self._seed, self._draws], np.uint64).view(np.uint8).copy(), cpu)

    def set_state(self, new_state: Tensor) -> None:
        """Continue where `get_state` was taken, on any device. TypeError or ShapeError for what is not such a state."""
        check_tensor("set_state", new_state=new_state)
        if new_state.dtype != _dtypes.uint8 or new_state.shape != (16,):
            raise ShapeError(f"set_state: the state is {new_state.dtype}{list(new_state.shape)}; get_state gives uint8[16]")
        seed, draws = new_state.device.to_host(new_state._array).copy().view(np.uint64)
        self._set(int(seed), int(draws))

    def clone_state(self) -> Generator:
        """A generator that continues from here on its own."""
        made = Generator(self.device)
        made.set_state(self.get_state())
        return made

    def _set(self, seed: int, draws: int) -> None:
        with self._lock:
            self._seed, self._draws = seed, draws
            if self._memory is not None:  # where it is: a captured graph reads this memory
                kernels.launch(self.device, "random.seed", {"state": self._memory, "seed": seed, "draws": draws})

    def memory(self) -> Any:
        """(seed, draws) as uint64[2] in the memory of a device with kernels; a kernel that draws must also advance it by one."""
        with self._lock:
            if self._memory is None:
                self._memory = self.device.from_host(np.array([self._seed, self._draws], np.uint64))
            return self._memory

    def _fill(self, out: Any, kind: str, a: float = 0.0, b: float = 1.0, low: int = 0, span: int = 0) -> None:
        """One draw into a C-contiguous array of the generator's device."""
        per = 4 if kind != "integers" and out.dtype != _dtypes.float64 else 2
        if self.device.kernels:
            kernels.launch(
                self.device, "random.fill",
                {"x": out, "state": self.memory(), "size": out.size, "per": per, "a": a, "b": b, "low": low, "range": span},
                defines={"F": kind, "PER": per},
            )  # fmt: skip
            return
        with self._lock:
            seed, draws = self._seed, self._draws
            self._draws += 1
        flat = out.reshape(-1)
        for first in range(0, ceil_div(flat.size, per), _CHUNK):
            last = min(first + _CHUNK, ceil_div(flat.size, per))
            numbers = _DRAWS[kind](philox(np.arange(first, last, dtype=np.uint64), draws, seed), out.dtype, a, b, low, span)
            flat[first * per : last * per] = numbers.reshape(-1)[: flat.size - first * per]

    def __repr__(self) -> str:
        return f"<gpudl.Generator device='{self.device}' seed={self._seed}>"


_defaults: dict[Device, Generator] = {}
_seed = int.from_bytes(os.urandom(8), "little")


def default_generator(device: Any = "cpu") -> Generator:
    """The generator that draws on this device use when none is given."""
    where = Device(device)
    found = _defaults.get(where)
    if found is None:
        found = _defaults.setdefault(where, Generator(where))
        found._set(_seed, 0)
    return found


def manual_seed(seed: int) -> Generator:
    """Seed the default generator of every device, now and to come; returns the CPU's. One seed reproduces a run on the CPU bit for bit."""
    global _seed
    made = default_generator().manual_seed(seed)
    _seed = made.initial_seed()
    for generator in _defaults.values():
        generator.manual_seed(seed)
    return made


def seed() -> int:
    """Seed the default generators from the operating system's randomness; returns the seed."""
    return manual_seed(int.from_bytes(os.urandom(8), "little")).initial_seed()


def initial_seed() -> int:
    """The seed of the CPU's default generator."""
    return default_generator().initial_seed()


def get_rng_state() -> Tensor:
    """The state of the CPU's default generator (uint8)."""
    return default_generator().get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Set the state of the CPU's default generator."""
    default_generator().set_state(new_state)


def _generator(op: str, generator: Any, device: Device) -> Generator:
    if generator is None:
        return default_generator(device)
    if not isinstance(generator, Generator):
        raise TypeError(f"{op}: generator must be a gpudl.Generator, not {type(generator).__name__}")
    if generator.device is not device:
        raise DeviceError(f"{op}: the generator is on {generator.device} and the tensor on {device}; make one with Generator(device={str(device)!r})")
    return generator


def _draw(op: str, shape: tuple[int, ...], dtype: np.dtype, device: Device, generator: Any, kind: str, **numbers: Any) -> Any:
    out = device.empty(shape, dtype)
    _generator(op, generator, device)._fill(out, kind, **numbers)
    return out


def _overwrite(op: str, input: Tensor, generator: Any, kind: str, **numbers: Any) -> Tensor:
    """Draw into a tensor's memory."""
    input._check_writable(op)
    source = _generator(op, generator, input.device)
    if input._array.flags.c_contiguous:
        source._fill(input._array, kind, **numbers)
    else:
        kernels.copy_into(input.device, input._array, _draw(op, input._array.shape, input.dtype, input.device, generator, kind, **numbers))
    return _written(input)


def _written(input: Tensor) -> Tensor:
    if autograd.is_grad_enabled() and input._node is not None:  # the old value, and what it came from, are gone
        return input._become(wrap(input._array, input.device, input._storage), "random numbers in place")
    input._wrote()
    return input


def _float_dtype(op: str, dtype: Any) -> np.dtype:
    found = _dtypes.as_dtype(dtype) if dtype is not None else _dtypes.get_default_dtype()
    if not _dtypes.is_float(found):
        raise DtypeError(f"{op}: dtype is {found}; a floating dtype is needed. See randint")
    return found


def _new(array: Any, where: Device, requires_grad: bool) -> Tensor:
    made = wrap(array, where)
    return made.requires_grad_() if requires_grad else made


def rand(*size: Any, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Uniform in [0, 1), with as many bits as the dtype holds (24 in float32, 53 in float64). ShapeError for a negative size."""
    where = place(device if device is not None or generator is None else generator.device)
    return _new(_draw("rand", _checked("rand", size), _float_dtype("rand", dtype), where, generator, "uniform"), where, requires_grad)


def randn(*size: Any, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Normal with mean 0 and standard deviation 1 (Box & Muller 1958). ShapeError for a negative size."""
    where = place(device if device is not None or generator is None else generator.device)
    out = _draw("randn", _checked("randn", size), _float_dtype("randn", dtype), where, generator, "normal", a=0.0, b=1.0)
    return _new(out, where, requires_grad)


def _bounds(op: str, low: Any, high: Any, dtype: np.dtype) -> tuple[int, int]:
    low, high = int(low), int(high)
    if low >= high:
        raise RuntimeError(f"{op}: low {low} must be below high {high}")
    if not _dtypes.is_float(dtype):
        least, most = (0, 1) if dtype == _dtypes.bool_ else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
        if low < least or high - 1 > most:
            raise RuntimeError(f"{op}: [{low}, {high}) does not fit into {dtype}, which holds {least} to {most}")
    return low, (high - low) % 2**64


def randint(*args: Any, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False, **named: Any) -> Tensor:
    """randint(high, size) or randint(low, high, size): integers in [low, high), int64 unless dtype is given.

    RuntimeError for an empty range or one that the dtype does not hold, ShapeError for a negative size.
    """
    names = ("high", "size") if len(args) + len(named) == 2 else ("low", "high", "size")
    given = dict(zip([n for n in names if n not in named], args, strict=False)) | named
    unknown = set(given) - {"low", "high", "size"}
    if unknown or "high" not in given or "size" not in given or len(args) + len(named) > 3:
        raise TypeError("randint: takes (high, size) or (low, high, size), and generator, dtype, device, requires_grad by keyword")
    kind = _dtypes.int64 if dtype is None else _dtypes.as_dtype(dtype)
    low, span = _bounds("randint", given.get("low", 0), given["high"], kind)
    where = place(device if device is not None or generator is None else generator.device)
    out = _draw("randint", _checked("randint", given["size"]), kind, where, generator, "integers", low=low, span=span)
    return _new(out, where, requires_grad)


def randperm(n: int, *, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """The integers from 0 to n - 1 in random order (the order of n random keys of 64 bits); int64 unless dtype is given."""
    if n < 0:
        raise RuntimeError(f"randperm: n must not be negative, it is {n}")
    where = place(device if device is not None or generator is None else generator.device)
    keys = _draw("randperm", (int(n),), _dtypes.int64, where, generator, "integers")
    with where.current():
        order = where.xp.argsort(keys, kind="stable") if where.xp is np else where.xp.argsort(keys)
    if where.kernels:
        order = _adopt(where, order)
    out = wrap(order, where)
    return _new(out.to(_dtypes.int64 if dtype is None else dtype)._array, where, requires_grad)


def _adopt(where: Device, array: Any) -> Any:
    """An array that the device's array module made, in memory that the device knows (the emulator's checks every access)."""
    return where.from_host(array) if where.type == "emulator" else array


def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normal numbers: normal(mean, std, size) of numbers, or mean and std Tensors (either, broadcast) whose shape is then the result's.

    RuntimeError for a negative std.
    """
    if size is not None:
        where = place(device if device is not None or generator is None else generator.device)
        _check_std("normal", std)
        out = _draw("normal", _checked("normal", size), _float_dtype("normal", dtype), where, generator, "normal", a=float(mean), b=float(std))
        return _new(out, where, requires_grad)
    given = [t for t in (mean, std) if isinstance(t, Tensor)]
    if not given:
        raise TypeError("normal: size is needed where mean and std are numbers")
    if dtype is not None or device is not None or requires_grad:
        raise TypeError("normal: dtype, device and requires_grad go with size; with Tensors the result is like them")
    if not isinstance(std, Tensor):
        _check_std("normal", std)
    shape = np.broadcast_shapes(*[t.shape for t in given])
    with autograd.no_grad():
        return randn(shape, generator=generator, dtype=_dtypes.result_type(*given), device=given[0].device) * std + mean


def _check_std(op: str, std: Any) -> None:
    if not std >= 0:
        raise RuntimeError(f"{op}: std {std} must not be negative")


def _check_probability(op: str, p: Any) -> None:
    if not 0 <= p <= 1:
        raise RuntimeError(f"{op}: p {p} is not a probability; it must lie in [0, 1]")


def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability that input holds (or with p, for every element), else 0; in input's dtype and shape.

    RuntimeError for p outside [0, 1], and on the CPU for such an element.
    """
    check_tensor("bernoulli", input=input)
    if p is None and not _dtypes.is_float(input.dtype):
        raise DtypeError(f"bernoulli: input is {input.dtype}; probabilities are floats")
    return _toss("bernoulli", input, input if p is None else p, generator)


def _toss(op: str, like: Tensor, p: Any, generator: Any) -> Tensor:
    with autograd.no_grad():
        if isinstance(p, Tensor):
            if p.device is cpu and not ((p._array >= 0) & (p._array <= 1)).all():
                raise RuntimeError(f"{op}: a probability lies outside [0, 1]")
        else:
            _check_probability(op, p)
        kind = _dtypes.float64 if isinstance(p, Tensor) and p.dtype == _dtypes.float64 else _dtypes.float32
        u = wrap(_draw(op, tuple(like.shape), kind, like.device, generator, "uniform"), like.device)
        return (u < (p.to(kind) if isinstance(p, Tensor) else p)).to(like.dtype)


def rand_like(input: Tensor, *, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """`rand` in the shape, dtype and device of input."""
    return rand(input.shape, generator=generator, dtype=dtype or input.dtype, device=device or input.device, requires_grad=requires_grad)


def randn_like(input: Tensor, *, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """`randn` in the shape, dtype and device of input."""
    return randn(input.shape, generator=generator, dtype=dtype or input.dtype, device=device or input.device, requires_grad=requires_grad)


def randint_like(input: Tensor, low: int, high: int | None = None, *, generator: Generator | None = None, dtype: Any = None, device: Any = None) -> Tensor:
    """`randint` in the shape, dtype and device of input: randint_like(input, high) or (input, low, high)."""
    low, high = (0, low) if high is None else (low, high)
    return randint(low, high, tuple(input.shape), generator=generator, dtype=dtype or input.dtype, device=device or input.device)


def multinomial(input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None) -> Tensor:
    """Indices of categories drawn with weights input ((categories,) or (rows, categories), floats >= 0); int64 (..., num_samples).

    Without replacement: the num_samples first arrivals of exponential clocks with the weights as rates. RuntimeError where the weights are
    negative, not finite or sum to 0 (on the CPU), or where fewer categories than samples can be drawn.
    Source: Efraimidis & Spirakis 2006, doi:10.1016/j.ipl.2005.11.003.
    """
    check_tensor("multinomial", input=input)
    if not _dtypes.is_float(input.dtype):
        raise DtypeError(f"multinomial: input is {input.dtype}; weights are floats")
    if input.ndim not in (1, 2):
        raise ShapeError(f"multinomial: input is {tuple(input.shape)}; it must be (categories,) or (rows, categories)")
    if num_samples <= 0:
        raise RuntimeError(f"multinomial: num_samples must be positive, it is {num_samples}")
    categories = input.shape[-1]
    if not replacement and num_samples > categories:
        raise RuntimeError(f"multinomial: {num_samples} samples without replacement from {categories} categories; set replacement=True")
    if input.device is cpu:
        w = input._array.astype(np.float64)
        if not (np.isfinite(w) & (w >= 0)).all() or not (w.sum(-1) > 0).all():
            raise RuntimeError("multinomial: weights must be finite, not negative, and of positive sum")
        if not replacement and ((w > 0).sum(-1) < num_samples).any():
            raise RuntimeError("multinomial: fewer categories of positive weight than samples without replacement")
    with autograd.no_grad():
        weights = input.detach().double()
        where = input.device
        if replacement:
            total = weights.cumsum(-1)
            u = rand((*input.shape[:-1], num_samples, 1), generator=generator, dtype=_dtypes.float64, device=where)
            below = total.unsqueeze(-2) <= u * total[..., -1:].unsqueeze(-1)
            return below.long().sum(-1)
        u = rand(input.shape, generator=generator, dtype=_dtypes.float64, device=where)
        arrivals = (1 - u).log().neg() / weights
        with where.current():
            order = where.xp.argsort(arrivals._array, axis=-1)[..., :num_samples]
        return wrap(_adopt(where, order) if where.kernels else np.ascontiguousarray(order), where)


# ------------------------------------------------------------------------------------------------------------------- methods of Tensor
def uniform_(input: Tensor, a: float = 0.0, b: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Overwrite with numbers uniform in [a, b); b itself can come out where the last sum rounds up. RuntimeError for a > b; DtypeError for integers."""
    _float_dtype("uniform_", input.dtype)
    if not a <= b:
        raise RuntimeError(f"uniform_: from {a} must not be above to {b}")
    return _overwrite("uniform_", input, generator, "uniform", a=float(a), b=float(b))


def normal_(input: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Overwrite with normal numbers. RuntimeError for a negative std; DtypeError for integers."""
    _float_dtype("normal_", input.dtype)
    _check_std("normal_", std)
    return _overwrite("normal_", input, generator, "normal", a=float(mean), b=float(std))


def bernoulli_(input: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Overwrite with 1 with probability p (a number or a Tensor), else 0. RuntimeError for p outside [0, 1]."""
    input._check_writable("bernoulli_")
    drawn = _toss("bernoulli_", input, p, generator)
    kernels.copy_into(input.device, input._array, drawn._array)
    return _written(input)


def random_(input: Tensor, *bounds: int, generator: Generator | None = None) -> Tensor:
    """random_(), random_(to), random_(from, to): overwrite with integers in [from, to); without bounds all that the dtype holds exactly from 0."""
    if len(bounds) > 2:
        raise TypeError(f"random_: takes at most two bounds, got {len(bounds)}")
    dtype = input.dtype
    digits = {_dtypes.float16: 11, _dtypes.bfloat16: 8, _dtypes.float32: 24, _dtypes.float64: 53, _dtypes.bool_: 1}
    top = 2 ** digits[dtype] + _dtypes.is_float(dtype) if dtype in digits else int(np.iinfo(dtype).max) + 1
    low, high = bounds if len(bounds) == 2 else (0, bounds[0] if bounds else top)
    low, span = _bounds("random_", low, high, dtype)
    return _overwrite("random_", input, generator, "integers", low=low, span=span)


def exponential_(input: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Overwrite with numbers of the exponential distribution with rate lambd. RuntimeError for a rate that is not positive."""
    if not lambd > 0:
        raise RuntimeError(f"exponential_: lambd {lambd} must be positive")
    with autograd.no_grad():
        u = rand(input.shape, generator=generator, dtype=_float_dtype("exponential_", input.dtype), device=input.device)
        input._check_writable("exponential_")
        kernels.copy_into(input.device, input._array, ((1 - u).log() * (-1 / lambd))._array)
    return _written(input)
