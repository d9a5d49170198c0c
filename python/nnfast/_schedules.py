"""Learning-rate schedules of the MLP estimators: the rate of every step, and what a stall means for it.

A schedule lives as long as the optimizer: fit makes a new one, partial_fit goes on with the one that is there. Time is
counted in epochs, so that calls with different numbers of rows add up; a step in the middle of an epoch is at its
fraction. `schedule_for` picks by an estimator's parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nnfast._kept import Kept

Rates: TypeAlias = NDArray[np.float64]


class ConstantRate(Kept):
    """A learning rate that stays as it is, after a warm-up of so many epochs.

    `learning_rate` is the rate without the warm-up.
    """

    _kept: ClassVar[dict[str, Any]] = {"initial": float, "learning_rate": float, "warmup": float, "epochs": int}

    def __init__(self, initial: float, warmup: float = 0.0) -> None:
        self.initial = float(initial)
        self.learning_rate = self.initial
        self.warmup = warmup
        self.epochs = 0

    def rates(self, n_steps: int) -> float | Rates:
        """The rates of the next epoch: one for all of its steps, or an array (n_steps,)."""
        return self.learning_rate if self.epochs >= self.warmup else self.learning_rate * self._ramp(n_steps)

    def _ramp(self, n_steps: int) -> Rates:
        """The share that the warm-up grants each step of the next epoch: k / n to the k-th of its n steps, then 1."""
        return np.minimum((self.epochs + np.arange(1, n_steps + 1) / n_steps) / self.warmup, 1.0)

    def epoch_ended(self, samples_seen: int) -> None:
        """Set the rate of the next epoch."""
        self.epochs += 1

    def stalled(self) -> tuple[bool, str]:
        """Training has stopped improving: whether to stop, and how to say what was done about it."""
        return True, "Stopping."


class InverseScalingRate(ConstantRate):
    """The initial rate divided by (samples seen + 1) ** power."""

    _kept: ClassVar[dict[str, Any]] = {**ConstantRate._kept, "power": float}

    def __init__(self, initial: float, power: float, warmup: float = 0.0) -> None:
        super().__init__(initial, warmup)
        self.power = power

    def epoch_ended(self, samples_seen: int) -> None:
        super().epoch_ended(samples_seen)
        self.learning_rate = self.initial / (samples_seen + 1) ** self.power


class AdaptiveRate(ConstantRate):
    """A rate that falls to a fifth at every stall; training stops when it is 1e-6 or less."""

    def stalled(self) -> tuple[bool, str]:
        if self.learning_rate <= 1e-6:
            return True, "Learning rate too small. Stopping."
        self.learning_rate /= 5.0
        return False, f"Setting learning rate to {self.learning_rate:f}"


class CurveRate(ConstantRate):
    """The initial rate times a curve over so many epochs, the first of them for the warm-up.

    The curve is one of `_CURVES`, with its parameters, or a function of the share of training that is done.
    `learning_rate` is that of the last step.
    """

    _kept: ClassVar[dict[str, Any]] = {
        **ConstantRate._kept,
        "curve": str | Callable,
        "n_epochs": int,
        "parameters": dict[str, float],
    }

    def __init__(
        self,
        initial: float,
        curve: str | Callable[[float], float],
        n_epochs: int,
        warmup: float = 0.0,
        **parameters: float,
    ) -> None:
        super().__init__(initial, warmup)
        self.curve = curve
        self.n_epochs = n_epochs
        self.parameters = parameters

    def rates(self, n_steps: int) -> Rates:
        epochs = np.maximum(self.epochs + np.arange(n_steps) / n_steps - self.warmup, 0.0)
        n_epochs = self.n_epochs - self.warmup
        if isinstance(self.curve, str):
            shares = _CURVES[self.curve](epochs, n_epochs, **self.parameters)
        else:
            shares = _called(epochs, n_epochs, self.curve)
        rates = self.initial * shares
        if self.epochs < self.warmup:
            rates *= self._ramp(n_steps)
        self.learning_rate = float(rates[-1])
        return rates

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> Self:
        schedule = super()._from_state(state)
        if schedule.curve not in _CURVES or schedule.parameters.keys() != _parameters_of(schedule.curve):
            raise ValueError(f"there is no curve {schedule.curve!r} with the parameters {schedule.parameters}")
        return schedule


def _cosine(epochs: Rates, n_epochs: float) -> Rates:
    """Half a cosine from 1 down to 0 (Loshchilov and Hutter 2017, eq. 5 without restarts)."""
    return (1 + np.cos(np.pi * np.minimum(epochs / n_epochs, 1.0))) / 2


def _one_cycle(epochs: Rates, n_epochs: float) -> Rates:
    """Up and down once (Smith 2018), with the figures and the two half cosines of PyTorch's OneCycleLR."""
    first, last, peak = 1 / 25, 1 / 25e4, 0.3
    t = np.minimum(epochs / n_epochs, 1.0)
    up = first + (1 - first) * (1 - np.cos(np.pi * t / peak)) / 2
    down = last + (1 - last) * (1 + np.cos(np.pi * (t - peak) / (1 - peak))) / 2
    return np.where(t < peak, up, down)


def _exponential(epochs: Rates, n_epochs: float, decay: float, every: int) -> Rates:
    return decay ** (epochs / every)


def _step(epochs: Rates, n_epochs: float, decay: float, every: int) -> Rates:
    return decay ** (epochs // every)


def _called(epochs: Rates, n_epochs: float, function: Callable[[float], float]) -> Rates:
    """A function of the fraction of training done, asked for every step."""
    return np.array([_share(function, t) for t in np.minimum(epochs / n_epochs, 1.0).tolist()])


def _share(function: Callable[[float], float], t: float) -> float:
    share = function(t)
    if not (isinstance(share, Real) and math.isfinite(share) and share >= 0):
        raise ValueError(f"learning_rate must return finite numbers of at least 0; it returned {share!r} for {t}.")
    return float(share)


_CURVES: dict[str, Callable[..., Rates]] = {
    "cosine": _cosine,
    "one_cycle": _one_cycle,
    "exponential": _exponential,
    "step": _step,
}
NAMES = {"constant", "invscaling", "adaptive", *_CURVES}
# What curves take besides, and the estimators' names for it.
_PARAMETERS = {"decay": "learning_rate_decay", "every": "learning_rate_decay_epochs"}


def _parameters_of(curve: Any) -> set[str]:
    return set(_PARAMETERS) if curve in ("exponential", "step") else set()


def schedule_for(estimator: Any) -> ConstantRate:
    """The schedule that the estimator's parameters ask for; ValueError when no time is left after the warm-up."""
    name, initial, n_epochs, warmup = (
        getattr(estimator, parameter) for parameter in ("learning_rate", "learning_rate_init", "max_iter", "warmup")
    )
    warmup = float(warmup) if isinstance(warmup, Integral) else warmup * n_epochs
    if warmup >= n_epochs:
        raise ValueError(f"warmup must be less than max_iter={n_epochs}, got {estimator.warmup}.")
    if callable(name) or name in _CURVES:
        parameters = {part: getattr(estimator, _PARAMETERS[part]) for part in _parameters_of(name)}
        return CurveRate(initial, name, n_epochs, warmup, **parameters)
    if estimator.solver == "sgd" and name == "invscaling":
        return InverseScalingRate(initial, estimator.power_t, warmup)
    if estimator.solver == "sgd" and name == "adaptive":
        return AdaptiveRate(initial, warmup)
    return ConstantRate(initial, warmup)
