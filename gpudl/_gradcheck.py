"""Gradients against finite differences, in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpudl import _dtypes
from gpudl._tensor import Tensor, wrap
from gpudl.autograd import enable_grad, grad, no_grad

FULL = 512  # up to this many (input element, output element) pairs the whole Jacobian is compared
DIRECTIONS = 4


class GradcheckError(RuntimeError):
    """A gradient that does not agree with finite differences, is NaN, or is asked for where there is none."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    seed: int = 0,
) -> bool:
    """Whether backward agrees with central differences, for every input that requires a gradient and every floating output.

    inputs: float64 tensors (TypeError otherwise: in float32 differences say little) and anything else func takes. The comparison runs along
    random directions with random output weights, and over the full Jacobian where that is small. A NaN fails. A point where func has a kink
    is reported as such: second differences there shrink like eps, not like eps**2. Twice the same call must give the same gradient within
    nondet_tol. With raise_exception=False a failure returns False; else GradcheckError (a RuntimeError) says which input and output.
    Source: the random-direction test follows Chainer's gradient_check (Tokui et al. 2019, arXiv:1908.00213).
    """
    arguments = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    checked = [i for i, a in enumerate(arguments) if isinstance(a, Tensor) and a.requires_grad]
    if not checked:
        raise ValueError("gradcheck: no input requires a gradient; set requires_grad=True on at least one")
    for i in checked:
        if arguments[i].dtype != _dtypes.float64:
            raise TypeError(f"gradcheck: input {i} is {arguments[i].dtype}; finite differences need float64. Convert it with .double()")
    try:
        _check(func, arguments, checked, eps, atol, rtol, nondet_tol, np.random.default_rng(seed))
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    grad_outputs: Tensor | Sequence[Tensor] | None = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    seed: int = 1,
) -> bool:
    """`gradcheck` of the gradient itself: differentiable in the inputs and in grad_outputs (random ones where none are given)."""
    arguments = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    checked = [i for i, a in enumerate(arguments) if isinstance(a, Tensor) and a.requires_grad]
    with enable_grad():
        outputs = _floating(func(*arguments))
    rng = np.random.default_rng(seed)
    if grad_outputs is None:
        cotangents = [_tensor(rng.standard_normal(o.shape), o, True) for o in outputs if o.requires_grad]
    else:
        cotangents = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs)

    def gradient(*values: Any) -> Any:
        out = [o for o in _floating(func(*values[: len(arguments)])) if o.requires_grad]
        found = grad(out, [values[i] for i in checked], list(values[len(arguments) :]), create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    return gradcheck(
        gradient,
        [*arguments, *cotangents],
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        seed=seed,
    )


def _floating(out: Any) -> list[Tensor]:
    outs = list(out) if isinstance(out, (tuple, list)) else [out]
    return [o for o in outs if isinstance(o, Tensor) and _dtypes.is_float(o.dtype)]


def _tensor(host: np.ndarray, like: Tensor, requires_grad: bool) -> Tensor:
    made = wrap(like.device.from_host(np.asarray(host, like.dtype)), like.device)
    return made.requires_grad_() if requires_grad else made


def _host(t: Tensor) -> np.ndarray:
    return np.array(t.device.to_host(t._array), np.float64)


def _check(
    func: Callable[..., Any], arguments: list[Any], checked: list[int], eps: float, atol: float, rtol: float, nondet_tol: float, rng: Any
) -> None:
    points = [_host(arguments[i]) for i in checked]
    if not all(np.isfinite(p).all() for p in points):
        raise GradcheckError("gradcheck: an input holds NaN or infinity; there is no difference quotient at such a point")

    def run(moved: list[np.ndarray], record: bool) -> tuple[list[Tensor], list[Tensor]]:
        values = list(arguments)
        for i, p in zip(checked, moved, strict=True):
            values[i] = _tensor(p, arguments[i], True)
        leaves = [values[i] for i in checked]
        with enable_grad() if record or not arguments else no_grad():
            return _floating(func(*values)), leaves

    def evaluate(moved: list[np.ndarray]) -> list[np.ndarray]:
        # A function that is itself a gradient needs the graph; its value is all that is taken here.
        return [_host(o) for o in run(moved, True)[0]]

    outputs, leaves = run(points, True)
    base = [_host(o) for o in outputs]
    for k, value in enumerate(base):
        if not np.isfinite(value).all():
            raise GradcheckError(f"gradcheck: output {k} holds NaN or infinity at the given point")
    differentiable = [k for k, o in enumerate(outputs) if o.requires_grad]

    def analytic(cotangents: list[np.ndarray]) -> list[np.ndarray]:
        outs, mine = run(points, True)
        if not differentiable:
            return [np.zeros(p.shape, p.dtype) for p in points]
        found = grad(
            [outs[k] for k in differentiable], mine, [_tensor(cotangents[k], outs[k], False) for k in differentiable], allow_unused=True
        )
        values = [np.zeros(p.shape, p.dtype) if g is None else _host(g) for g, p in zip(found, points, strict=True)]
        for i, g in zip(checked, values, strict=True):
            if not np.isfinite(g).all():
                raise GradcheckError(f"gradcheck: the gradient of input {i} holds NaN or infinity")
        return values

    def numeric(direction: list[np.ndarray]) -> list[np.ndarray]:
        """Directional derivative of each output, checked for kinks."""

        def at(h: float) -> list[np.ndarray]:
            return evaluate([p + h * u for p, u in zip(points, direction, strict=True)])

        plus, minus = at(eps), at(-eps)
        half_plus, half_minus = at(eps / 2), at(-eps / 2)
        slopes = []
        for k, (a, b, c, d) in enumerate(zip(plus, minus, half_plus, half_minus, strict=True)):
            slope = (a - b) / (2 * eps)
            bend, half_bend = np.abs(a - 2 * base[k] + b) / eps, np.abs(c - 2 * base[k] + d) / (eps / 2)
            # Rounding leaves about 4 ulp of the value over eps in a second difference; a kink leaves its jump of slope at either step.
            noise = 64 * np.finfo(np.float64).eps * (1 + np.abs(base[k])) / eps
            if (
                not (np.minimum(bend, half_bend) <= np.maximum(10 * noise, 1e-3 * np.abs(slope) + 1e-4)).all()
                and not (half_bend <= 0.75 * bend + noise).all()
            ):
                raise GradcheckError(
                    f"gradcheck: output {k} is not differentiable at this point (its slope jumps); move the input off the kink"
                )
            slopes.append(slope)
        return slopes

    scale = [np.ones(o.shape) for o in base]
    first, second = analytic(scale), analytic(scale)
    for i, a, b in zip(checked, first, second, strict=True):
        if not (np.abs(a - b) <= nondet_tol).all():
            raise GradcheckError(f"gradcheck: two runs gave different gradients for input {i}, by up to {np.abs(a - b).max():.3g}")

    for _ in range(DIRECTIONS if sum(p.size for p in points) else 0):
        direction = [rng.standard_normal(p.shape) for p in points]
        slopes = numeric(direction)
        cotangents = [rng.standard_normal(o.shape) for o in base]
        wanted = sum(float((s * v).sum()) for s, v in zip(slopes, cotangents, strict=True))
        size = sum(float(np.abs(s * v).sum()) for s, v in zip(slopes, cotangents, strict=True))
        gradients = analytic(cotangents)
        got = sum(float((g * u).sum()) for g, u in zip(gradients, direction, strict=True))
        if not abs(got - wanted) <= atol + rtol * size:
            raise GradcheckError(f"gradcheck: along a random direction backward gives {got:.9g} and differences give {wanted:.9g}")

    if sum(p.size for p in points) * sum(o.size for o in base) > FULL:
        return
    columns: dict[tuple[int, int], list[np.ndarray]] = {}
    for n, p in enumerate(points):
        for e in range(p.size):
            direction = [np.zeros(q.shape, q.dtype) for q in points]
            direction[n].reshape(-1)[e] = 1
            columns[n, e] = numeric(direction)
    for k in differentiable:
        for e in range(base[k].size):
            cotangents = [np.zeros(o.shape, o.dtype) for o in base]
            cotangents[k].reshape(-1)[e] = 1
            for n, g in enumerate(analytic(cotangents)):
                wanted_row = np.array([columns[n, j][k].reshape(-1)[e] for j in range(points[n].size)])
                got_row = g.reshape(-1)
                if not (np.abs(got_row - wanted_row) <= atol + rtol * np.abs(wanted_row)).all():
                    raise GradcheckError(
                        f"gradcheck: d output {k}[{e}] / d input {checked[n]}: backward gives\n{got_row}\nand differences give\n{wanted_row}"
                    )
