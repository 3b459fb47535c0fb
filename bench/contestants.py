"""Who takes part: gpudl's rungs, and on the other side PyTorch, NumPy, CuPy and JAX, each at its strongest setting and at the same precision.

A contestant turns a case and its inputs into a `Runner`: calls that compute it, and a way to bring what they gave to NumPy. Opponents are asked
by the name of gpudl's own public function, which is PyTorch's; only what differs is written here.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import gpudl
from bench import check, clocks
from bench.shapes import A, Shape
from gpudl import _dtypes, kernels
from gpudl.autograd import Cost, Op, Sample
from gpudl.autograd import grad as gpudl_grad


@dataclass(frozen=True)
class Case:
    """One op at one size, in one direction and dtype."""

    op: type[Op]
    shape: Shape
    way: str = "forward"
    dtype: str = "float32"

    @property
    def function(self) -> str:
        return self.op.function

    @property
    def id(self) -> str:
        return f"{self.op.name} {self.way} {self.shape.label} {self.dtype}"

    @functools.cached_property
    def cost(self) -> Cost:
        stubs = self.shape.stubs(self.dtype)
        return self.op.cost(*stubs.args, **stubs.kwargs)  # type: ignore[attr-defined]

    @property
    def input_bytes(self) -> int:
        size = _dtypes.as_dtype(self.dtype).itemsize
        return sum(a.size * {"label": 8, "bool": 1, "integer": 4}.get(a.draw, size) for a in self.shape.arrays)

    def inputs(self, seed: int) -> Sample:
        return self.shape.sample(np.random.default_rng(seed), self.dtype)

    def floor(self, outputs: list[Any], inputs: int) -> Cost:
        """Bytes and FLOPs that the call cannot do without. Forward: the op's own cost. Backward: the cotangent read once, the gradients
        written once, and twice the multiply-adds where the op is a product of its inputs."""
        if self.way != "backward":
            return self.cost
        size = _dtypes.as_dtype(self.dtype).itemsize
        written = sum(o.size for o in outputs if o is not None) * size
        dy = max(self.cost.bytes - inputs, 0)
        twice = 2 if self.op.name in ("matmul", "linear", "conv2d", "conv2d_relu_max_pool2d") else 1
        return Cost(bytes=dy + written, flops=twice * self.cost.flops)

    @property
    def length(self) -> int:
        """Terms in the longest sum, for the tolerance; 0 lets the sizes say."""
        if self.shape.length:
            return self.shape.length
        largest = max((a.size for a in self.shape.arrays), default=1)
        out = max(1, (self.cost.bytes - self.input_bytes) / _dtypes.as_dtype(self.dtype).itemsize)
        return int(min(self.cost.flops / (2 * out), 1e9)) if self.cost.flops > 4 * largest else 0


def cotangent(shape: tuple[int, ...], dtype: Any, seed: int) -> np.ndarray:
    return A(tuple(shape)).make(np.random.default_rng(seed + 1), _dtypes.as_dtype(dtype))


def convert(sample: Sample, change: Callable[[np.ndarray, bool], Any], constant: tuple[str, ...] = ()) -> tuple[list[Any], dict[str, Any]]:
    """The sample's arrays through `change(array, wants a gradient)`; everything else as it is."""

    def go(value: Any, grad: bool) -> Any:
        if isinstance(value, list):
            return [go(v, grad) for v in value]
        return change(value, grad and (value.dtype.kind == "f" or value.dtype == _dtypes.bfloat16)) if isinstance(value, np.ndarray) else value

    statistics = len(sample.args) > 2 and constant == ("running_mean", "running_var")  # given by position, second and third
    args = [go(a, not (statistics and i in (1, 2))) for i, a in enumerate(sample.args)]
    return args, {k: go(v, k not in constant) for k, v in sample.kwargs.items()}


class Step:
    """One step of an optimiser as a call. Its result are the parameters and their state: the very tensors that the next call goes on from."""

    def __init__(self, step: Callable[[], Any], results: Callable[[], list[Any]], restart: Callable[[], None]):
        self.step, self.results, self.restart = step, results, restart
        self.raw: list[Any] = []

    def __call__(self) -> list[Any]:
        self.step()
        if not self.raw:  # the state is made by the first step, and stays where it is
            self.raw = self.results()
        return self.raw


STEPS = 5  # that are checked, from the start


class Runner:
    """calls: each computes the case once, on its own copy of the inputs. collect: raw result to NumPy arrays. capture: calls to a graph.
    steps: what lies behind the calls where each goes on from the one before."""

    def __init__(self, calls: list[Any], collect: Callable[[Any], list[Any]], capture: Any = None, wipe: Any = None, steps: Any = ()):
        self.calls, self.collect, self.capture, self.wipe = calls, collect, capture, wipe
        self.steps = [s for s in steps if isinstance(s, Step)]

    def outcome(self, steps: int = STEPS) -> Any:
        """The raw result that is judged: of one call, or of so many steps from the start."""
        if not self.steps:
            return self.calls[0]()
        self.steps[0].restart()
        return [self.calls[0]() for _ in range(steps)][-1]


class Contestant:
    name = ""
    ways: tuple[str, ...] = ("forward", "backward")  # an opponent's
    opponent = True
    precision = "ieee"
    note = ""

    def missing(self) -> str:
        """Why it cannot take part at all, or "" ."""
        return ""

    def refuses(self, case: Case) -> str:
        """Why it does not take this case, or ""."""
        return ""

    def runner(self, case: Case, sample: Sample, seed: int, copies: int = 1) -> Runner:
        raise NotImplementedError

    def poisoned(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext()


# --------------------------------------------------------------------------------------------------------------------------------- gpudl
def public(op: type[Op]) -> Callable[..., Any]:
    return getattr(sys.modules[op.__module__], op.function)


def tensors(result: Any) -> list[Any]:
    return [r for r in (result if isinstance(result, (tuple, list)) else (result,)) if isinstance(r, gpudl.Tensor)]


class Gpudl(Contestant):
    """gpudl on a device, with the rung that dispatch picks or with a given one."""

    opponent = False

    def __init__(self, device: str = "cpu", ladder: str = "", rung: str = "", sanitize: bool = False):
        self.device, self.ladder, self.rung, self.sanitize = gpudl.device(device), ladder, rung, sanitize
        self.name = f"gpudl {ladder.rpartition('.')[2] + '/' if ladder else ''}{rung}".strip() if rung else "gpudl"
        if rung and kernels.ladder(ladder)[rung].precision == "tf32":  # "tf32x3" has float32's accuracy, and float32 opponents
            self.precision = "tf32"
        if rung and kernels.ladder(ladder)[rung].precision == "tf32x3":
            self.note = "3xTF32 products, held to the accuracy of float32"

    def missing(self) -> str:
        if not self.rung or kernels.ladder(self.ladder)[self.rung].backend != "numba" or self.device.type != "cuda":
            return ""
        try:
            from numba import cuda

            return "" if cuda.is_available() else "Numba sees no GPU"
        except Exception as error:
            return f"Numba has no CUDA here: {error}"

    def refuses(self, case: Case) -> str:
        if self.rung and _dtypes.as_dtype(case.dtype) not in kernels.ladder(self.ladder)[self.rung].dtypes:
            return f"{self.ladder}/{self.rung} does not take {case.dtype}"
        return ""

    @contextlib.contextmanager
    def picked(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            if self.rung:
                stack.enter_context(kernels.use(self.ladder, self.rung))
            if self.device.type == "emulator":
                stack.enter_context(kernels.emulation(sanitize=self.sanitize))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a rung that does not take this size: `ran` sees it
                yield

    def ran(self, before: int) -> bool:
        return not self.rung or kernels.ladder(self.ladder)[self.rung].launches > before

    @property
    def launches(self) -> int:
        return kernels.ladder(self.ladder)[self.rung].launches if self.rung else 0

    def poisoned(self) -> contextlib.AbstractContextManager[Any]:
        return check.poisoned(self.device)

    def place(self, case: Case, sample: Sample, grad: bool, dtype: Any = None) -> tuple[list[Any], dict[str, Any], list[Any]]:
        leaves: list[Any] = []

        def change(array: np.ndarray, wants: bool) -> Any:
            floating = array.dtype.kind == "f" or array.dtype == _dtypes.bfloat16
            if floating and dtype is not None:
                array = array.astype(dtype)
            if array.flags.c_contiguous or array.ndim < 2:
                made = self.device.from_host(array)
            else:  # column-major stays column-major
                made = self.device.xp.swapaxes(self.device.from_host(np.swapaxes(array, -1, -2)), -1, -2)
            t = gpudl._tensor.wrap(made, self.device)
            if grad and wants:
                leaves.append(t.requires_grad_())
            return t

        args, kwargs = convert(sample, change, case.shape.constant)
        return args, kwargs, leaves

    def call(self, case: Case, sample: Sample, seed: int, dtype: Any = None) -> Callable[[], Any]:
        function = public(case.op)
        if case.way == "step":
            return self.step(case, sample, dtype)
        if case.way == "forward":
            args, kwargs, _ = self.place(case, sample, False, dtype)

            def forward() -> Any:
                with gpudl.no_grad():
                    return tensors(function(*args, **kwargs))

            return forward
        args, kwargs, leaves = self.place(case, sample, True, dtype)
        outs = [o for o in tensors(function(*args, **kwargs)) if o.requires_grad]
        dys = [gpudl._tensor.wrap(self.device.from_host(cotangent(o.shape, case.dtype, seed).astype(o.dtype)), self.device) for o in outs]
        return lambda: gpudl_grad(outs, leaves, dys, retain_graph=True, allow_unused=True)

    def step(self, case: Case, sample: Sample, dtype: Any = None) -> Step:
        (params, grads), options, _ = self.place(case, sample, False, dtype)
        for p, g in zip(params, grads):
            p.requires_grad_().grad = g
        optimiser = public(case.op)(params, **options)

        def slots() -> list[str]:
            return sorted({name for state in optimiser.state.values() for name in state} - {"step"})

        def results() -> list[Any]:
            return [*params, *(optimiser.state[p][name] for name in slots() for p in params)]

        def restart() -> None:
            for p, first in zip(params, sample.args[0]):
                kernels.copy_into(self.device, p._array, self.device.from_host(first.astype(p.dtype)))
            counts = optimiser._counts.values() if self.device.kernels else [s["step"]._array for s in optimiser.state.values() if "step" in s]
            for array in [*counts, *(optimiser.state[p][name]._array for name in slots() for p in params)]:
                kernels.fill(self.device, array, 0.0)

        return Step(optimiser.step, results, restart)

    def runner(self, case: Case, sample: Sample, seed: int, copies: int = 1) -> Runner:
        with self.picked():
            calls = made = [self.call(case, sample, seed) for _ in range(copies)]
        if self.rung or self.device.type == "emulator":
            calls = [functools.partial(self._with, call) for call in made]
        return Runner(calls, self.collect, self._capture if self.device.type == "cuda" else None, self._wipe, made)

    def _with(self, call: Callable[[], Any]) -> Any:
        with self.picked():
            return call()

    def collect(self, raw: Any) -> list[Any]:
        return [None if t is None else np.array(self.device.to_host(t._array)) for t in raw]

    @staticmethod
    def views(raw: Any) -> bool:
        """Whether every result is one value seen many times, as the gradient of a sum is: no memory is written."""
        arrays = [t._array for t in raw if t is not None]
        return bool(arrays) and all(any(s == 0 and n > 1 for s, n in zip(a.strides, a.shape)) for a in arrays)

    def _capture(self, calls: list[Callable[[], Any]]) -> tuple[Callable[[], Any], Any]:
        cupy = self.device.xp
        stream = cupy.cuda.Stream(non_blocking=True)
        # Memory that is freed during a capture is still written by every replay: a pool of its own keeps it away from everybody else.
        pool = cupy.cuda.MemoryPool()
        with stream, cupy.cuda.using_allocator(pool.malloc):
            for call in dict.fromkeys(calls):
                call()  # the pool now holds what capture will ask for
            stream.synchronize()
            stream.begin_capture()
            try:
                outputs = [call() for call in calls]  # all kept, so that no output is the cached memory of the one before
            except BaseException:
                with contextlib.suppress(Exception):  # a capture left open would fail every synchronisation after it
                    stream.end_capture()
                raise
            graph = stream.end_capture()
        graph.launch()
        cupy.cuda.Device().synchronize()
        return lambda pool=pool: graph.launch(), outputs

    def _wipe(self, raw: Any) -> None:
        for t in raw:
            if t is not None:
                check.poison(t._array)


LARGE = 3e10, 1 << 24  # FLOPs or elements from which the reference of a GPU run is computed on the GPU


def reference(case: Case, sample: Sample, seed: int, device: str = "cpu") -> list[Any]:
    """The case in float64 on the CPU, whose forward is checked by hand-worked values and whose backward by finite differences.

    Of a large case on a GPU PyTorch's float64 is the reference: the CPU would take longer than all that is measured. The small sizes of the same
    op, where both are there, show that the two agree: an opponent is checked against the same reference.
    """
    if device == "cuda" and (case.cost.flops > LARGE[0] or case.shape.elements > LARGE[1]):
        torch = TorchStep("cuda") if case.way == "step" else Torch("cuda", precision="ieee")
        if not torch.missing() and not torch.refuses(case):
            torch.settings()
            floating = lambda a, _: a.astype(np.float64) if a.dtype.kind == "f" or a.dtype == _dtypes.bfloat16 else a  # noqa: E731
            args, kwargs = convert(sample, floating)
            call = torch.call(case, Sample(*args, **kwargs), seed)
            return torch.collect(Runner([call], torch.collect, steps=[call]).outcome())
    cpu = Gpudl("cpu")
    call = cpu.call(case, sample, seed, np.float64)
    return cpu.collect(Runner([call], cpu.collect, steps=[call]).outcome())


def ways(op: Any) -> tuple[str, ...]:
    """The directions in which this op can be measured."""
    return getattr(op, "ways", ("forward", "backward"))


def ladders(op: type[Op], way: str) -> list[str]:
    """The ladders that a call of the op launches in this direction."""
    named = getattr(op, "ladders", ()) or [n for n in kernels.ladders() if n.startswith(op.name + ".")]
    forward = ("forward", "eval", "take")
    return [n for n in named if n in kernels.ladders() and (n.rpartition(".")[2] in forward) == (way == "forward")]


# --------------------------------------------------------------------------------------------------------------------------------- PyTorch
class Torch(Contestant):
    """PyTorch. layout: "" or "channels_last" (4-d tensors are given in it, as a network that uses it keeps them). mode: eager, graph, compile."""

    def __init__(self, device: str = "cpu", layout: str = "", mode: str = "eager", precision: str = "ieee"):
        self.device, self.layout, self.mode, self.precision = device, layout, mode, precision
        words = [w for w in (layout, "" if mode == "eager" else mode, "" if precision == "ieee" else precision) if w]
        self.name = "torch" if device == "cpu" and not words else " ".join(["torch", *(words or ["eager"])])
        if layout:
            self.note = "tensors given in NHWC, as a network keeps them"

    def missing(self) -> str:
        try:
            import torch
        except ImportError:
            return "PyTorch is not installed"
        return "" if self.device == "cpu" or torch.cuda.is_available() else "this PyTorch sees no GPU"

    def settings(self) -> None:
        """The strongest setting at the stated precision. PyTorch's convolutions are TF32 unless told otherwise, its matmuls are not."""
        import torch

        if self.device != "cpu":
            if hasattr(torch.backends.cuda.matmul, "fp32_precision"):
                torch.backends.cuda.matmul.fp32_precision = self.precision
                torch.backends.cudnn.conv.fp32_precision = self.precision
            else:  # before PyTorch 2.9
                torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self.precision == "tf32"
            torch.backends.cudnn.benchmark = True

    def refuses(self, case: Case) -> str:
        if case.op.name == "dropout":
            return "dropout draws other random numbers there: no result to check against"
        if self.function(case) is None:
            return f"PyTorch has no {case.function}"
        images = case.op.name.startswith(("conv2d", "max_pool", "avg_pool", "batch_norm")) and any(len(a.shape) == 4 for a in case.shape.arrays)
        if self.layout and not images:
            return "a layout of images only"
        if self.precision != "ieee" and (case.dtype != "float32" or case.op.name not in ("matmul", "linear", "conv2d", "conv2d_dgrad", "conv2d_wgrad")):
            return f"{self.precision} is for products of float32"
        return ""

    @staticmethod
    def function(case: Case) -> Callable[..., Any] | None:
        import torch
        import torch.nn.functional as F

        own = TORCH.get(case.op.name)
        if own is not None:
            return functools.partial(own, torch, F)
        for place in (F, torch, torch.special):
            found = getattr(place, case.function, None)
            if callable(found):
                return found
        return None

    def place(self, sample: Sample, grad: bool, constant: tuple[str, ...]) -> tuple[list[Any], dict[str, Any], list[Any]]:
        import torch

        leaves: list[Any] = []

        def change(array: np.ndarray, wants: bool) -> Any:
            def plain(a: np.ndarray) -> Any:
                a = np.array(a, order="C")
                return torch.from_numpy(a.view(np.int16)).view(torch.bfloat16) if a.dtype == _dtypes.bfloat16 else torch.from_numpy(a)

            if array.ndim < 2 or array.flags.c_contiguous:
                t = plain(array).to(self.device)
            else:
                t = plain(np.swapaxes(array, -1, -2)).to(self.device).transpose(-1, -2)
            if self.layout and t.ndim == 4:
                t = t.contiguous(memory_format=torch.channels_last)
            if grad and wants:
                leaves.append(t.requires_grad_())
            return t

        args, kwargs = convert(sample, change, constant)
        return args, kwargs, leaves

    def call(self, case: Case, sample: Sample, seed: int) -> Callable[[], Any]:
        import torch

        function = self.function(case)
        assert function is not None
        if self.mode == "compile":
            function = torch.compile(function, mode="max-autotune-no-cudagraphs", dynamic=False)
        if case.way == "forward":
            args, kwargs, _ = self.place(sample, False, case.shape.constant)

            def forward() -> Any:
                with torch.no_grad():
                    return self.outputs(function(*args, **kwargs))

            return forward
        args, kwargs, leaves = self.place(sample, True, case.shape.constant)
        outs = [o for o in self.outputs(function(*args, **kwargs)) if o.requires_grad]
        dys = []
        for o in outs:
            dy = cotangent(tuple(o.shape), case.dtype, seed)
            t = torch.from_numpy(dy.view(np.int16)).view(torch.bfloat16) if dy.dtype == _dtypes.bfloat16 else torch.from_numpy(dy)
            t = t.to(device=self.device, dtype=o.dtype)
            dys.append(t.contiguous(memory_format=torch.channels_last) if self.layout and t.ndim == 4 else t)
        return lambda: torch.autograd.grad(outs, leaves, dys, retain_graph=True, allow_unused=True)

    @staticmethod
    def outputs(result: Any) -> list[Any]:
        import torch

        return [r for r in (result if isinstance(result, (tuple, list)) else (result,)) if isinstance(r, torch.Tensor)]

    def runner(self, case: Case, sample: Sample, seed: int, copies: int = 1) -> Runner:
        self.settings()
        calls = [self.call(case, sample, seed) for _ in range(copies)]
        return Runner(calls, self.collect, self._capture if self.device != "cpu" and self.mode != "eager" else None, self._wipe, calls)

    def collect(self, raw: Any) -> list[Any]:
        import torch

        out = []
        for t in raw:
            if t is None:
                out.append(None)
                continue
            t = t.detach().cpu().contiguous()
            out.append(t.view(torch.int16).numpy().view(_dtypes.bfloat16) if t.dtype == torch.bfloat16 else t.numpy().copy())
        return out

    def _capture(self, calls: list[Callable[[], Any]]) -> tuple[Callable[[], Any], Any]:
        import torch

        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                for call in dict.fromkeys(calls):
                    call()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = [call() for call in calls]
        graph.replay()
        torch.cuda.synchronize()
        return graph.replay, outputs

    def _wipe(self, raw: Any) -> None:
        for t in raw:
            if t is not None:
                t.detach().fill_(float("nan") if t.is_floating_point() else check.POISON_INTEGER)


class TorchStep(Torch):
    """PyTorch's optimisers. how: "fused", "foreach" or "plain" (one parameter after the other). mode: eager, graph or compile, as for its ops."""

    ways = ("step",)
    MOST_COMPILED = 4  # each copy of the parameters is compiled for itself, and PyTorch gives up compiling one function after eight times

    def __init__(self, device: str = "cpu", how: str = "plain", mode: str = "eager"):
        super().__init__(device, mode=mode)
        self.how = how
        self.name = " ".join(w for w in ("torch", how, mode) if w != "eager")

    def make(self, case: Case, params: list[Any], options: dict[str, Any]) -> Any:
        import torch

        made = getattr(torch.optim, case.function)
        known = inspect.signature(made).parameters
        if self.how == "fused" or "fused" in known:
            options = options | {"fused": self.how == "fused"}
        if self.mode != "eager" and self.device != "cpu" and "capturable" in known:
            options = options | {"capturable": True}
        return made(params, foreach=self.how == "foreach", **options)

    def refuses(self, case: Case) -> str:
        if case.way != "step":
            return "an optimiser's step only"
        import torch

        one = torch.ones(1, device=self.device, requires_grad=True)
        one.grad = torch.ones_like(one)
        try:
            self.make(case, [one], {}).step()
        except Exception as error:  # such as no fused kernel for this optimiser on this device
            return f"PyTorch's {case.function} has no such step: {type(error).__name__}: {str(error).splitlines()[0][:100] if str(error) else ''}"
        return ""

    def call(self, case: Case, sample: Sample, seed: int) -> Step:
        import torch

        (params, grads), options, _ = self.place(sample, False, ())
        for p, g in zip(params, grads):
            p.requires_grad_().grad = g
        optimiser = self.make(case, params, options)
        step = torch.compile(optimiser.step) if self.mode == "compile" else optimiser.step

        def states(*but: str) -> list[Any]:
            names = sorted({k for p in params for k, v in optimiser.state[p].items() if isinstance(v, torch.Tensor)} - set(but))
            return [optimiser.state[p][name] for name in names for p in params]

        def restart() -> None:
            with torch.no_grad():
                for p, first in zip(params, self.place(Sample(*sample.args[0]), False, ())[0]):
                    p.copy_(first)
                for state in states():
                    state.zero_()

        return Step(step, lambda: [*params, *states("step")], restart)

    def runner(self, case: Case, sample: Sample, seed: int, copies: int = 1) -> Runner:
        if self.mode == "compile":
            import torch

            if copies > self.MOST_COMPILED:
                raise NotImplementedError(f"{copies} copies of the parameters would each be compiled; so small a case has no cold figure here")
            torch._dynamo.reset()
        return super().runner(case, sample, seed, copies)


def _act(F: Any, y: Any, act: Any) -> Any:
    return y if act is None else getattr(F, act)(y)


def _conv_backward(torch: Any, dy: Any, x: Any, w: Any, stride: Any, pad: Any, dilation: Any, groups: int, wanted: list[bool]) -> Any:
    return torch.ops.aten.convolution_backward(dy, x, w, None, list(stride), list(pad), list(dilation), False, [0, 0], groups, wanted)


def _torch_dgrad(torch: Any, F: Any, dy: Any, w: Any, stride: Any, pad: Any, dilation: Any, groups: int, size: Any) -> Any:
    x = torch.empty((dy.shape[0], w.shape[1] * groups, *size), dtype=dy.dtype, device=dy.device, memory_format=_layout(torch, dy))
    return _conv_backward(torch, dy, x, w, stride, pad, dilation, groups, [True, False, False])[0]


def _torch_wgrad(torch: Any, F: Any, x: Any, dy: Any, stride: Any, pad: Any, dilation: Any, groups: int, size: Any) -> Any:
    w = torch.empty((dy.shape[1], x.shape[1] // groups, *size), dtype=dy.dtype, device=dy.device, memory_format=_layout(torch, dy))
    return _conv_backward(torch, dy, x, w, stride, pad, dilation, groups, [False, True, False])[1]


def _layout(torch: Any, like: Any) -> Any:
    return torch.channels_last if like.is_contiguous(memory_format=torch.channels_last) and not like.is_contiguous() else torch.contiguous_format


def _torch_conv_pool(torch: Any, F: Any, *conv: Any, **pool: Any) -> Any:
    return F.max_pool2d(F.relu(F.conv2d(*conv)), **{name.removeprefix("pool_"): value for name, value in pool.items()})


TORCH: dict[str, Callable[..., Any]] = {  # what has another name or form there
    "conv2d": lambda torch, F, *args: _act(F, F.conv2d(*args[:-1]), args[-1]),
    "conv2d_dgrad": _torch_dgrad,
    "conv2d_wgrad": _torch_wgrad,
    "conv2d_relu_max_pool2d": _torch_conv_pool,
    "linear": lambda torch, F, x, w, b=None, act=None: _act(F, F.linear(x, w, b), act),
    "avg_pool2d": lambda torch, F, x, *args: F.avg_pool2d(x, *args),
    "max_pool2d": lambda torch, F, x, *args, **kwargs: F.max_pool2d(x, *args, **kwargs),
    "batch_norm": lambda torch, F, *args, **kwargs: F.batch_norm(*args, **kwargs),
    "batch_norm_relu": lambda torch, F, *args, **kwargs: F.relu(F.batch_norm(*args, **kwargs)),
    "batch_norm_add_relu": lambda torch, F, x, residual, **kwargs: F.relu(F.batch_norm(x, **kwargs) + residual),
    "bias_act_dropout_add": lambda torch, F, x, b, act, p, residual: _act(F, x + b, act) + residual,
    "maxout": lambda torch, F, x, k: x.unflatten(-1, (-1, k)).amax(-1),
    "layer_norm": lambda torch, F, *args, **kwargs: F.layer_norm(*args, **kwargs),
    "softmax": lambda torch, F, x, dim=-1: F.softmax(x, dim),
    "log_softmax": lambda torch, F, x, dim=-1: F.log_softmax(x, dim),
    "cross_entropy": lambda torch, F, *args, **kwargs: F.cross_entropy(*args, **kwargs),
    "nll_loss": lambda torch, F, *args, **kwargs: F.nll_loss(*args, **kwargs),
    "gelu": lambda torch, F, x, *args: F.gelu(x),
    "gelu_tanh": lambda torch, F, x, *args: F.gelu(x, approximate="tanh"),
    "prelu": lambda torch, F, x, w: torch.where(x > 0, x, w * x),
    "softplus": lambda torch, F, *args, **kwargs: F.softplus(*args, **kwargs),
    "trunc_divide": lambda torch, F, a, b: torch.div(a, b, rounding_mode="trunc"),
    "copy": lambda torch, F, x: x.clone(memory_format=torch.contiguous_format),
}


# ----------------------------------------------------------------------------------------------------------------- NumPy, CuPy and JAX
UFUNCS = {"sub": "subtract", "mul": "multiply", "div": "true_divide", "pow": "power", "neg": "negative", "add": "add", "atan2": "arctan2",
          "eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "bitwise_not": "invert",
          "abs": "abs", "remainder": "remainder", "amax": "amax", "amin": "amin"}  # fmt: skip
SAME = {"add", "exp", "expm1", "log", "log1p", "log2", "log10", "sin", "cos", "tanh", "sqrt", "square", "sign", "floor", "ceil", "trunc", "maximum",
        "minimum", "fmod", "floor_divide", "logical_and", "logical_or", "logical_xor", "logical_not", "isnan", "isinf", "isfinite", "bitwise_and",
        "bitwise_or", "bitwise_xor", "reciprocal", "round"}  # fmt: skip
SUMS = {"sum", "mean", "prod", "amax", "amin", "any", "all", "count_nonzero", "cumsum", "argmax", "argmin"}


def _array_function(xp: Any, case: Case) -> Callable[..., Any] | None:
    """The op by NumPy's names: what somebody who has only arrays would write."""
    name = case.op.name
    if name == "matmul":
        return xp.matmul
    if name == "relu":
        return lambda x: xp.maximum(x, 0)
    if name == "linear" and all(isinstance(a, A) for a in case.shape.args):
        return lambda x, w, b: x @ w.T + b
    if name == "where":
        return xp.where
    if name == "copy":
        return lambda x: xp.array(x, order="C", copy=True)
    if name in ("softmax", "log_softmax"):

        def softmax(x: Any, dim: int) -> Any:
            x = x - x.max(dim, keepdims=True)
            e = xp.exp(x)
            total = e.sum(dim, keepdims=True)
            return e / total if name == "softmax" else x - xp.log(total)

        return softmax
    if name in SUMS:

        def reduce(x: Any, dim: Any = None, **kwargs: Any) -> Any:
            return getattr(xp, name)(x, axis=dim)

        return reduce
    if name in SAME or name in UFUNCS:
        return getattr(xp, UFUNCS.get(name, name), None)
    return None


class Numpy(Contestant):
    """NumPy: its ufuncs and its BLAS; allocates its results, as gpudl does."""

    name = "numpy"

    @property
    def xp(self) -> Any:
        return np

    def refuses(self, case: Case) -> str:
        if case.way != "forward":
            return f"{self.name} has no gradients"
        if case.dtype == "bfloat16" or (case.dtype == "float16" and self.xp is np):
            return f"{self.name} does not compute {case.dtype} in float32"
        return "" if _array_function(self.xp, case) else f"{self.name} has no {case.op.name}"

    def runner(self, case: Case, sample: Sample, seed: int, copies: int = 1) -> Runner:
        function = _array_function(self.xp, case)
        assert function is not None
        calls = []
        for _ in range(copies):
            args, kwargs = convert(sample, lambda a, _: self.give(a))
            calls.append(functools.partial(self.quiet, function, *args, **kwargs))
        return Runner(calls, lambda raw: [np.asarray(self.take(raw))], self.capture)

    capture: Any = None

    def give(self, array: np.ndarray) -> Any:
        return array.copy(order="K")

    def take(self, array: Any) -> Any:
        return array

    @staticmethod
    def quiet(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*args, **kwargs)


class Cupy(Numpy):
    """CuPy: cuBLAS for matmul, generated kernels for the rest. An opponent only; no op of gpudl calls it."""

    name = "cupy"

    def missing(self) -> str:
        try:
            import cupy  # noqa: F401
        except ImportError:
            return "CuPy is not installed"
        return "CuPy is a stand-in here" if clocks.REHEARSAL else ""

    @property
    def xp(self) -> Any:
        import cupy

        return cupy

    def refuses(self, case: Case) -> str:
        return super().refuses(case) or (f"cupy computes {case.dtype} in itself" if case.dtype != "float32" and case.dtype != "float64" else "")

    def give(self, array: np.ndarray) -> Any:
        return self.xp.asarray(array, order="K")

    def take(self, array: Any) -> Any:
        return self.xp.asnumpy(array)


class Jax(Numpy):
    """JAX: jit of the same expression, waited for. Compiled before the clock runs."""

    name = "jax"

    def missing(self) -> str:
        try:
            import jax  # noqa: F401
        except ImportError:
            return "JAX is not installed"
        return ""

    @property
    def xp(self) -> Any:
        import jax.numpy as jnp

        return jnp

    def refuses(self, case: Case) -> str:
        if case.way != "forward":
            return "forward only here"
        return "" if case.dtype == "float32" and self.function(case) else f"jax: no {case.op.name} here"

    def function(self, case: Case) -> Callable[..., Any] | None:
        import jax

        name = case.op.name
        if name == "conv2d":

            def conv(x: Any, w: Any, b: Any, stride: int, padding: int, dilation: int, groups: int, act: Any) -> Any:
                y = jax.lax.conv_general_dilated(
                    x, w, (stride, stride), [(padding, padding)] * 2, rhs_dilation=(dilation, dilation), feature_group_count=groups,
                    precision=jax.lax.Precision.HIGHEST,
                )  # fmt: skip
                return y + b[:, None, None]

            return conv
        if name == "matmul":
            return lambda a, b: self.xp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
        if name in ("sigmoid", "silu", "softplus", "elu", "leaky_relu", "softmax", "log_softmax"):
            found = getattr(jax.nn, name)
            return (lambda x, dim: found(x, axis=dim)) if "softmax" in name else found
        return _array_function(self.xp, case) if name not in ("count_nonzero", "copy") else None

    def runner(self, case: Case, sample: Sample, seed: int, copies: int = 1) -> Runner:
        import jax

        function = self.function(case)
        assert function is not None
        calls = []
        for _ in range(copies):
            args, kwargs = convert(sample, lambda a, _: jax.device_put(np.ascontiguousarray(a), jax.devices("cpu")[0]))
            fixed = [a for a in args if not isinstance(a, jax.Array)]
            count = len(args) - len(fixed)
            compiled = jax.jit(lambda *arrays, f=function, rest=tuple(fixed), kw=kwargs: f(*arrays, *rest, **kw))
            calls.append(lambda compiled=compiled, arrays=tuple(args[:count]): compiled(*arrays).block_until_ready())
        return Runner(calls, lambda raw: [np.asarray(raw)])


def opponents(device: str, compiled: bool = False) -> list[Contestant]:
    """All that can stand beside gpudl on this device, the main one first."""
    if device == "cpu":
        return [Torch(), Torch(layout="channels_last"), Numpy(), Jax(), *(TorchStep(how=how) for how in ("fused", "foreach", "plain"))]
    if device == "cuda":
        found = [Torch("cuda"), Torch("cuda", mode="graph"), Torch("cuda", "channels_last", "graph"), Torch("cuda", mode="graph", precision="tf32"), Cupy()]
        found += [TorchStep("cuda", how, mode) for how in ("fused", "foreach") for mode in ("graph", "eager")] + [TorchStep("cuda")]
        return [*found, Torch("cuda", mode="compile"), TorchStep("cuda", "foreach", "compile")] if compiled else found
    return []


def rungs(case: Case, device: str, sanitize: bool = False, last: int = 0) -> list[Gpudl]:
    """gpudl with each rung of each ladder that the case launches; last: only so many of each ladder."""
    found = []
    for name in ladders(case.op, case.way):
        mine = [rung for rung in kernels.ladder(name) if rung.backend == "cuda" or (device == "cuda" and not clocks.REHEARSAL)]
        found += [Gpudl(device, name, rung.name, sanitize) for rung in mine[-last:]]
    return found
