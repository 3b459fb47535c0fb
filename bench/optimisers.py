"""Optimisers as the benchmark sees ops: one case is one step over a list of parameters, and its result the parameters and their state.

A step goes on from where the last one ended, so it is checked over several steps from the start (`contestants.Step`), and timed going on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.shapes import A, Shape, shape
from gpudl import optim
from gpudl.autograd import Cost

LR = 0.01  # so large that an error of a ten-thousandth of an update exceeds what rounding may do to the parameter

GRADIENT = 0.25, 1.0  # in size: float16 has no square of a small one times 0.001, and Adam's second moment would be zero


def resnet18() -> Iterator[tuple[int, ...]]:
    """He, Zhang, Ren, Sun 2015, arXiv:1512.03385, table 1: 11,689,512 parameters in 62 tensors."""
    yield from ((64, 3, 7, 7), (64,), (64,))
    before = 64
    for width in (64, 128, 256, 512):
        for _ in range(2):
            yield from ((width, before, 3, 3), (width,), (width,), (width, width, 3, 3), (width,), (width,))
            if before != width:
                yield from ((width, before, 1, 1), (width,), (width,))
            before = width
    yield from ((1000, 512), (1000,))


LENET = [(6, 1, 5, 5), (6,), (16, 6, 5, 5), (16,), (120, 400), (120,), (84, 120), (84,), (10, 84), (10,)]
LISTS: list[tuple[str, list[tuple[int, ...]], str]] = [  # (name, shapes of the parameters, tags)
    ("LeNet", LENET, "tiny lenet"),
    ("ragged 1M", [(999, 1001), (1023,), (1,), (77, 333)], "ragged"),
    ("ragged 9k", [(8193,), (1,), (33, 31), (7,)], "tiny ragged"),
    ("4M in one", [(2048, 2048)], ""),
    ("ResNet-18", list(resnet18()), "resnet large"),
    ("25M in one", [(25_000_000,)], "large"),
]


class Optimiser:
    """What is asked of an op, for an optimiser: `way` is "step", and the arguments are the parameters, the gradients, and the options by name."""

    ways = ("step",)
    family = "optimiser"
    differentiable = False

    def __init__(self, function: type[optim.Optimizer], states: int, flops: int, *variants: dict[str, Any]):
        self.name, self.function, self.ladders = function.__name__.lower(), function.__name__, (function.ladder,)
        self.states, self.flops, self.variants = states, flops, variants or ({},)
        self.__module__ = optim.__name__

    def cost(self, params: list[Any], grads: list[Any], **options: Any) -> Cost:
        """Parameter, gradient and states read, parameter and states written: in float32 SGD 12 B a parameter, 20 with momentum, Adam 28.
        FLOPs as the kernels' headers count them."""
        n, states = sum(p.size for p in params), self.states + (options.get("momentum", 0) != 0)
        flops = self.flops + 3 * (states - self.states)
        return Cost(bytes=(3 + 2 * states) * sum(p.nbytes for p in params), flops=flops * n)

    def measured_at(self) -> Iterator[Shape]:
        for name, lists, tags in LISTS:
            for options in self.variants:
                label = " ".join([name, *(f"{k} {v}" for k, v in options.items())])
                yield shape(label, [A(s) for s in lists], [A(s, "signed", *GRADIENT) for s in lists], tags=tags, grad=False, lr=LR, **options)


REGISTRY: dict[str, Optimiser] = {
    o.name: o for o in (
        Optimiser(optim.SGD, 0, 4, {}, {"momentum": 0.9}), Optimiser(optim.Adam, 2, 16), Optimiser(optim.AdamW, 2, 16, {"weight_decay": 0.01}),
        Optimiser(optim.RMSprop, 1, 10), Optimiser(optim.Adagrad, 1, 8),
    )
}  # fmt: skip
