"""Learning rates that change from epoch to epoch. Call `scheduler.step()` after the optimiser's steps of an epoch (OneCycleLR: of a batch).

Each schedule is stated as the learning rate at epoch t; most compute it from the rate at t - 1, as PyTorch does, so that several
schedules act together and a change by hand stays.
"""

from __future__ import annotations

import bisect
import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gpudl.optim._optimizer import Optimizer

__all__ = [
    "ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR", "ExponentialLR", "LRScheduler", "LambdaLR",
    "LinearLR", "MultiStepLR", "MultiplicativeLR", "OneCycleLR", "PolynomialLR", "ReduceLROnPlateau", "SequentialLR", "StepLR",
]  # fmt: skip


class LRScheduler:
    """Base class: a subclass gives `get_lr()`, the learning rates of all groups at `last_epoch`.

    last_epoch=-1 starts anew; to resume, load both state_dicts, or give the epoch with an optimiser whose groups have `initial_lr`.
    TypeError for what is no Optimizer, KeyError for a resume without `initial_lr`.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        name = type(self).__name__
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{name}: {type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"{name}: last_epoch={last_epoch} resumes, but group {i} has no 'initial_lr'; load the optimiser's state_dict first"
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._step_count = 0
        self._last_lr: list[float] = []
        self.step()

    def get_lr(self) -> list[float]:
        """The learning rates at last_epoch, computed anew; what is in force is `get_last_lr()`."""
        raise NotImplementedError(f"{type(self).__name__}: get_lr is not defined")

    def get_last_lr(self) -> list[float]:
        """The learning rates that the last step set, one a group."""
        return self._last_lr

    def step(self, epoch: int | None = None) -> None:
        """Go to the next epoch and set its learning rates. NotImplementedError for an explicit epoch (deprecated in PyTorch)."""
        if epoch is not None:
            raise NotImplementedError(f"{type(self).__name__}.step: an explicit epoch is not supported; call step() once an epoch")
        if self._step_count == 1 and not self.optimizer._stepped and type(self.optimizer).step is Optimizer.step:
            warnings.warn(
                f"{type(self).__name__}.step() came before the first optimizer.step(): the first learning rate is skipped; swap the two calls",
                stacklevel=2,
            )
        self._step_count += 1
        self.last_epoch += 1
        self._set(self.get_lr())

    def _set(self, rates: Iterable[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def _restart(self) -> None:
        """Set the learning rates of epoch 0 (a schedule in a sequence begins)."""
        self.last_epoch, self._step_count = -1, 0
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = base
        self.step()

    @property
    def _rates(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """All but the optimiser (functions are left out, as in PyTorch; objects that can be called keep their attributes)."""
        return {k: v for k, v in self.__dict__.items() if k != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave. Load the optimiser's as well: the learning rates themselves are in its groups."""
        self.__dict__.update(state_dict)


def _per_group(name: str, what: str, value: Any, count: int) -> list[Any]:
    if isinstance(value, (list, tuple)):
        if len(value) != count:
            raise ValueError(f"{name}: {what} has {len(value)} entries; the optimiser has {count} parameter groups")
        return list(value)
    return [value] * count


class LambdaLR(LRScheduler):
    """lr(t) = initial_lr * lr_lambda(t); one function, or one a group."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Any, last_epoch: int = -1):
        self.lr_lambdas = _per_group(type(self).__name__, "lr_lambda", lr_lambda, len(optimizer.param_groups))
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [base * f(self.last_epoch) for base, f in zip(self.base_lrs, self.lr_lambdas, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        state["lr_lambdas"] = [None if hasattr(f, "__code__") else dict(f.__dict__) for f in self.lr_lambdas]
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        state = dict(state_dict)
        for f, saved in zip(self.lr_lambdas, state.pop("lr_lambdas"), strict=True):
            if saved is not None:
                f.__dict__.update(saved)
        self.__dict__.update(state)


class MultiplicativeLR(LambdaLR):
    """lr(t) = lr(t - 1) * lr_lambda(t) from t = 1 on."""

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._rates
        return [lr * f(self.last_epoch) for lr, f in zip(self._rates, self.lr_lambdas, strict=True)]


class StepLR(LRScheduler):
    """lr(t) = initial_lr * gamma ^ floor(t / step_size)."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1):
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        falls = self.last_epoch != 0 and self.last_epoch % self.step_size == 0
        return [lr * self.gamma if falls else lr for lr in self._rates]


class MultiStepLR(LRScheduler):
    """lr(t) = initial_lr * gamma ^ (number of milestones <= t)."""

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1):
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [lr * self.gamma ** self.milestones.count(self.last_epoch) for lr in self._rates]


class ExponentialLR(LRScheduler):
    """lr(t) = initial_lr * gamma ^ t."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1):
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [lr if self.last_epoch == 0 else lr * self.gamma for lr in self._rates]


class ConstantLR(LRScheduler):
    """lr(t) = initial_lr * factor for t < total_iters, initial_lr from then on."""

    def __init__(self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1):
        if not 0 <= factor <= 1:
            raise ValueError(f"ConstantLR: factor {factor} must lie in [0, 1]")
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        scale = self.factor if self.last_epoch == 0 else 1 / self.factor if self.last_epoch == self.total_iters else 1.0
        return [lr * scale for lr in self._rates]


class LinearLR(LRScheduler):
    """lr(t) = initial_lr * (start_factor + (end_factor - start_factor) * min(t, total_iters) / total_iters)."""

    def __init__(
        self, optimizer: Optimizer, start_factor: float = 1.0 / 3, end_factor: float = 1.0, total_iters: int = 5, last_epoch: int = -1
    ):
        if not 0 < start_factor <= 1:
            raise ValueError(f"LinearLR: start_factor {start_factor} must lie in (0, 1]")
        if not 0 <= end_factor <= 1:
            raise ValueError(f"LinearLR: end_factor {end_factor} must lie in [0, 1]")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        t, slope = self.last_epoch, self.end_factor - self.start_factor
        if t == 0:
            return [lr * self.start_factor for lr in self._rates]
        if t > self.total_iters:
            return self._rates
        return [lr * (1 + slope / (self.total_iters * self.start_factor + (t - 1) * slope)) for lr in self._rates]


class PolynomialLR(LRScheduler):
    """lr(t) = initial_lr * (1 - min(t, total_iters) / total_iters) ^ power."""

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1):
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        t, n = self.last_epoch, self.total_iters
        if t == 0 or t > n:
            return self._rates
        return [lr * ((1 - t / n) / (1 - (t - 1) / n)) ** self.power for lr in self._rates]


class CosineAnnealingLR(LRScheduler):
    """lr(t) = eta_min + (initial_lr - eta_min) * (1 + cos(pi * t / T_max)) / 2.

    Source: Loshchilov & Hutter 2016, arXiv:1608.03983 (without restarts).
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1):
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        t, period, low = self.last_epoch, self.T_max, self.eta_min
        if t == 0:
            return self._rates
        if self._step_count == 1:  # resumed at a later epoch: from the formula
            return [low + (base - low) * (1 + math.cos(t * math.pi / period)) / 2 for base in self.base_lrs]
        if (t - 1 - period) % (2 * period) == 0:  # the rate before was the lowest: the ratio below would be 0 / 0
            return [lr + (base - low) * (1 - math.cos(math.pi / period)) / 2 for base, lr in zip(self.base_lrs, self._rates, strict=True)]
        ratio = (1 + math.cos(math.pi * t / period)) / (1 + math.cos(math.pi * (t - 1) / period))
        return [ratio * (lr - low) + low for lr in self._rates]


class CosineAnnealingWarmRestarts(LRScheduler):
    """lr = eta_min + (initial_lr - eta_min) * (1 + cos(pi * T_cur / T_i)) / 2; when T_cur reaches T_i it restarts at 0 and T_i grows by T_mult.

    Source: Loshchilov & Hutter 2016, arXiv:1608.03983.
    """

    def __init__(self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1):
        for what, value in (("T_0", T_0), ("T_mult", T_mult)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"CosineAnnealingWarmRestarts: {what} {value!r} must be an integer of at least 1")
        self.T_0, self.T_i, self.T_mult, self.eta_min, self.T_cur = T_0, T_0, T_mult, eta_min, float(last_epoch)
        super().__init__(optimizer, last_epoch)

    def step(self, epoch: float | None = None) -> None:
        """Go to the next epoch, or to `epoch` (which may lie between two)."""
        self._step_count += 1
        t = float(self.last_epoch + 1 if epoch is None else epoch)
        if t < 0:
            raise ValueError(f"CosineAnnealingWarmRestarts.step: epoch {epoch} must be at least 0")
        start, self.T_i = 0.0, self.T_0
        if self.T_mult == 1:
            start = t // self.T_0 * self.T_0
        while t >= start + self.T_i:
            start, self.T_i = start + self.T_i, self.T_i * self.T_mult
        self.T_cur = t - start
        self.last_epoch = math.floor(t)
        self._set(self.get_lr())

    def get_lr(self) -> list[float]:
        return [self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2 for base in self.base_lrs]


class OneCycleLR(LRScheduler):
    """From max_lr / div_factor up to max_lr and down to max_lr / div_factor / final_div_factor, stepped after every batch; the momentum
    (SGD's, or Adam's first beta) goes the other way.

    ValueError where neither total_steps nor epochs and steps_per_epoch are given, for more steps than the schedule has, and for
    cycle_momentum with an optimiser that has none. Source: Smith & Topin 2017, arXiv:1708.07120.
    """

    def __init__(
        self, optimizer: Optimizer, max_lr: Any, total_steps: int | None = None, epochs: int | None = None,
        steps_per_epoch: int | None = None, pct_start: float = 0.3, anneal_strategy: str = "cos", cycle_momentum: bool = True,
        base_momentum: Any = 0.85, max_momentum: Any = 0.95, div_factor: float = 25.0, final_div_factor: float = 1e4,
        three_phase: bool = False, last_epoch: int = -1,
    ):  # fmt: skip
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("OneCycleLR: give total_steps, or epochs and steps_per_epoch")
            total_steps = epochs * steps_per_epoch
        if not isinstance(total_steps, int) or total_steps <= 0:
            raise ValueError(f"OneCycleLR: total_steps {total_steps!r} must be a positive integer")
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: pct_start {pct_start} must lie in [0, 1]")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"OneCycleLR: anneal_strategy {anneal_strategy!r} must be 'cos' or 'linear'")
        self.total_steps, self.anneal_strategy, self.cycle_momentum = total_steps, anneal_strategy, cycle_momentum
        if three_phase:
            self.ends = [pct_start * total_steps - 1, 2 * pct_start * total_steps - 2, total_steps - 1]
            self.legs = [("initial", "max"), ("max", "initial"), ("initial", "min")]
        else:
            self.ends = [pct_start * total_steps - 1, total_steps - 1]
            self.legs = [("initial", "max"), ("max", "min")]
        groups = optimizer.param_groups
        peaks = _per_group("OneCycleLR", "max_lr", max_lr, len(groups))
        if last_epoch == -1:
            for group, peak in zip(groups, peaks, strict=True):
                group["initial_lr"] = peak / div_factor
                group["max_lr"], group["min_lr"] = peak, group["initial_lr"] / final_div_factor
        if cycle_momentum:
            if not any(k in optimizer.defaults for k in ("momentum", "betas")):
                raise ValueError(f"OneCycleLR: {type(optimizer).__name__} has no momentum; pass cycle_momentum=False")
            if last_epoch == -1:
                lows = _per_group("OneCycleLR", "base_momentum", base_momentum, len(groups))
                highs = _per_group("OneCycleLR", "max_momentum", max_momentum, len(groups))
                for group, low, high in zip(groups, lows, highs, strict=True):
                    group["base_momentum"], group["max_momentum"] = low, high
                    self._set_momentum(group, high)
        super().__init__(optimizer, last_epoch)

    @staticmethod
    def _set_momentum(group: dict[str, Any], value: float) -> None:
        if "betas" in group:
            group["betas"] = (value, *group["betas"][1:])
        else:
            group["momentum"] = value

    def _between(self, start: float, end: float, share: float) -> float:
        if self.anneal_strategy == "linear":
            return (end - start) * share + start
        return end + (start - end) / 2 * (1 + math.cos(math.pi * share))

    def get_lr(self) -> list[float]:
        t = self.last_epoch
        if t > self.total_steps:
            raise ValueError(f"OneCycleLR: step {t} of a schedule of {self.total_steps} steps; it is over")
        start, rates = 0.0, []
        leg = 0
        while t > self.ends[leg] and leg < len(self.ends) - 1:
            start, leg = self.ends[leg], leg + 1
        share = (t - start) / (self.ends[leg] - start)
        first, last = self.legs[leg]
        for group in self.optimizer.param_groups:
            rates.append(self._between(group[f"{first}_lr"], group[f"{last}_lr"], share))
            if self.cycle_momentum:
                momenta = {"initial": group["max_momentum"], "max": group["base_momentum"], "min": group["max_momentum"]}
                self._set_momentum(group, self._between(momenta[first], momenta[last], share))
        return rates


class CyclicLR(LRScheduler):
    """Up and down between base_lr and max_lr, stepped after every batch; the momentum (SGD's, or Adam's first beta) goes the other way.

        lr = base_lr + (max_lr - base_lr) * height * scale

    height rises from 0 to 1 in step_size_up batches and falls back in step_size_down (as many by default). scale: 1 ("triangular"), halved with
    each cycle ("triangular2"), gamma ** batches ("exp_range"), or scale_fn of the cycle's number from 1 or, scale_mode="iterations", of the
    batches so far. ValueError for another mode, and for cycle_momentum with an optimiser that has none.
    Source: Smith 2017, arXiv:1506.01186.
    """

    def __init__(
        self, optimizer: Optimizer, base_lr: Any, max_lr: Any, step_size_up: int = 2000, step_size_down: int | None = None,
        mode: str = "triangular", gamma: float = 1.0, scale_fn: Callable[[float], float] | None = None, scale_mode: str = "cycle",
        cycle_momentum: bool = True, base_momentum: Any = 0.8, max_momentum: Any = 0.9, last_epoch: int = -1,
    ):  # fmt: skip
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError(f"CyclicLR: mode {mode!r} must be 'triangular', 'triangular2' or 'exp_range', or a scale_fn be given")
        if scale_mode not in ("cycle", "iterations"):
            raise ValueError(f"CyclicLR: scale_mode {scale_mode!r} must be 'cycle' or 'iterations'")
        if step_size_up <= 0 or (step_size_down is not None and step_size_down < 0):
            raise ValueError(f"CyclicLR: step_size_up {step_size_up} must be positive and step_size_down {step_size_down} not negative")
        self.up, self.length = step_size_up, step_size_up + (step_size_up if step_size_down is None else step_size_down)
        self.mode, self.gamma, self._scale_fn, self.cycle_momentum = mode, gamma, scale_fn, cycle_momentum
        self.scale_mode = scale_mode if scale_fn is not None else "iterations" if mode == "exp_range" else "cycle"
        groups = optimizer.param_groups
        lows, self.max_lrs = (_per_group("CyclicLR", n, v, len(groups)) for n, v in (("base_lr", base_lr), ("max_lr", max_lr)))
        if last_epoch == -1:
            for group, low in zip(groups, lows, strict=True):
                group["lr"] = group["initial_lr"] = low
        self.momenta: list[tuple[float, float]] = []
        if cycle_momentum:
            if not any(k in optimizer.defaults for k in ("momentum", "betas")):
                raise ValueError(f"CyclicLR: {type(optimizer).__name__} has no momentum; pass cycle_momentum=False")
            numbers = [_per_group("CyclicLR", n, v, len(groups)) for n, v in (("base_momentum", base_momentum), ("max_momentum", max_momentum))]
            self.momenta = list(zip(*numbers, strict=True))
        super().__init__(optimizer, last_epoch)

    def _scale(self, cycle: int) -> float:
        at = cycle if self.scale_mode == "cycle" else self.last_epoch
        if self._scale_fn is not None:
            return self._scale_fn(at)
        return {"triangular": lambda: 1.0, "triangular2": lambda: 0.5 ** (at - 1), "exp_range": lambda: self.gamma**at}[self.mode]()

    def get_lr(self) -> list[float]:
        cycle, at = divmod(self.last_epoch, self.length)
        height = at / self.up if at <= self.up else (self.length - at) / (self.length - self.up)
        part = height * self._scale(cycle + 1)
        for group, (low, high) in zip(self.optimizer.param_groups, self.momenta, strict=False):
            OneCycleLR._set_momentum(group, high - (high - low) * part)
        return [low + (high - low) * part for low, high in zip(self.base_lrs, self.max_lrs, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """All but the optimiser and a scale_fn, which code gives again."""
        return {k: v for k, v in super().state_dict().items() if k != "_scale_fn"}


class SequentialLR(LRScheduler):
    """Schedulers one after the other: the k-th takes over at epoch milestones[k - 1], at its own epoch 0."""

    def __init__(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = -1):
        if len(schedulers) < 1 or len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR: {len(schedulers)} schedulers need {max(len(schedulers) - 1, 0)} milestones, {len(milestones)} were given"
            )
        for i, s in enumerate(schedulers):
            if getattr(s, "optimizer", None) is not optimizer:
                raise ValueError(f"SequentialLR: scheduler {i} ({type(s).__name__}) belongs to another optimiser")
        self.optimizer, self._schedulers, self._milestones = optimizer, list(schedulers), list(milestones)
        self.last_epoch = last_epoch + 1
        for group in optimizer.param_groups:  # building the later schedulers has moved the rates
            group["lr"] = group["initial_lr"]
        self._schedulers[0]._restart()
        self._last_lr = self._schedulers[0].get_last_lr()

    def step(self, epoch: int | None = None) -> None:
        if epoch is not None:
            raise NotImplementedError("SequentialLR.step: an explicit epoch is not supported")
        self.last_epoch += 1
        k = bisect.bisect_right(self._milestones, self.last_epoch)
        current = self._schedulers[k]
        if k > 0 and self._milestones[k - 1] == self.last_epoch:
            current._restart()
        else:
            current.step()
        self._last_lr = current.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        state = {k: v for k, v in self.__dict__.items() if k not in ("optimizer", "_schedulers")}
        return state | {"_schedulers": [s.state_dict() for s in self._schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        state = dict(state_dict)
        for scheduler, saved in zip(self._schedulers, state.pop("_schedulers"), strict=True):
            scheduler.load_state_dict(saved)
        self.__dict__.update(state)


class ChainedScheduler(LRScheduler):
    """Schedulers that act together, each on the rate that the one before it set."""

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None):
        if not schedulers:
            raise ValueError("ChainedScheduler: no schedulers were given")
        self.optimizer = optimizer or schedulers[0].optimizer
        for i, s in enumerate(schedulers):
            if s.optimizer is not self.optimizer:
                raise ValueError(f"ChainedScheduler: scheduler {i} ({type(s).__name__}) belongs to another optimiser")
        self._schedulers = list(schedulers)
        self._last_lr = self._rates

    def step(self, epoch: int | None = None) -> None:
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = self._rates

    state_dict = SequentialLR.state_dict
    load_state_dict = SequentialLR.load_state_dict  # type: ignore[assignment]


class ReduceLROnPlateau(LRScheduler):
    """Multiply the learning rates by `factor` when a metric has not improved for more than `patience` epochs: `step(metric)`.

    mode "min" or "max"; an improvement exceeds `threshold`, relative to the best ("rel") or in units ("abs"); after a reduction
    `cooldown` epochs do not count; no rate goes under min_lr (one, or one a group) or changes by less than eps.
    ValueError for a factor of 1 or more, an unknown mode or threshold_mode.
    """

    def __init__(
        self, optimizer: Optimizer, mode: str = "min", factor: float = 0.1, patience: int = 10, threshold: float = 1e-4,
        threshold_mode: str = "rel", cooldown: int = 0, min_lr: Any = 0, eps: float = 1e-8,
    ):  # fmt: skip
        if factor >= 1:
            raise ValueError(f"ReduceLROnPlateau: factor {factor} must be below 1")
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"ReduceLROnPlateau: {type(optimizer).__name__} is not an Optimizer")
        if mode not in ("min", "max"):
            raise ValueError(f"ReduceLROnPlateau: mode {mode!r} is not known; 'min' or 'max'")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"ReduceLROnPlateau: threshold_mode {threshold_mode!r} is not known; 'rel' or 'abs'")
        self.optimizer, self.mode, self.factor, self.patience = optimizer, mode, factor, patience
        self.threshold, self.threshold_mode, self.cooldown, self.eps = threshold, threshold_mode, cooldown, eps
        self.min_lrs = _per_group("ReduceLROnPlateau", "min_lr", min_lr, len(optimizer.param_groups))
        self.last_epoch, self.cooldown_counter, self.num_bad_epochs = 0, 0, 0
        self.best = math.inf if mode == "min" else -math.inf
        self._last_lr = self._rates

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """Take this epoch's metric (a number or a Tensor of one element) and reduce the rates if it is due."""
        if epoch is not None:
            raise NotImplementedError("ReduceLROnPlateau.step: an explicit epoch is not supported")
        current = float(metrics)
        self.last_epoch += 1
        if self.is_better(current, self.best):
            self.best, self.num_bad_epochs = current, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group, low in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
                lower = max(group["lr"] * self.factor, low)
                if group["lr"] - lower > self.eps:
                    group["lr"] = lower
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = self._rates

    def is_better(self, a: float, best: float) -> bool:
        sign = 1 if self.mode == "min" else -1
        if self.threshold_mode == "rel":
            return sign * a < sign * best * (1 - sign * self.threshold)
        return sign * a < sign * best - self.threshold

    @property
    def in_cooldown(self) -> bool:
        return self.cooldown_counter > 0
