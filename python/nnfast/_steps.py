"""What the engine needs to know of each step of an epoch: the learning rates, as the solver makes use of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnfast._rows import Array

if TYPE_CHECKING:
    from nnfast._network import MLP


class StepRates(NamedTuple):
    """What the engine needs to know of the steps of an epoch: see nnf_epoch in csrc/nnfast.h."""

    rates: NDArray[np.float64]
    gradient_rates: NDArray[np.float64] | None
    reaches: NDArray[np.float64] | None
    decays: NDArray[np.float64] | None

    def of_step(self, k: int) -> list[float]:
        return [0.0 if values is None else float(values[k]) for values in self]


# Steps whose rates are worked out at once. For one NumPy takes 15 us; all else in an epoch of 8-16-1 with 100 rows, 20.
AHEAD = 256

# What `step_rates` reads of a network.
SETTINGS = ("learning_rate", "solver", "beta_1", "beta_2", "momentum", "nesterovs_momentum", "l1", "weight_decay")


class KnownRates:
    """The rates of one epoch after the other. From the second on, those of short ones are worked out many at once."""

    def __init__(self) -> None:
        # The settings that they are for, the first step, the rates. Replaced as one: Ctrl-C may come in between.
        self._known: tuple[tuple[Any, ...], int, StepRates] = (), 0, StepRates(np.empty(0), None, None, None)

    def of(self, network: MLP, first: int, n_steps: int) -> StepRates:
        """What `step_rates` gives, to the bit."""
        if 4 * n_steps > AHEAD or not isinstance(network.learning_rate, float):
            return step_rates(network, first, n_steps)
        settings = tuple([getattr(network, name) for name in SETTINGS])
        known_settings, known_first, rates = self._known
        begin, n_known = first - known_first, len(rates.rates)
        if settings != known_settings or not 0 <= begin <= n_known - n_steps:
            goes_on = settings == known_settings and 0 < begin <= n_known
            rates = step_rates(network, first, AHEAD if goes_on else n_steps)
            self._known, begin = (settings, first, rates), 0
        end = begin + n_steps
        return StepRates._make([values if values is None else values[begin:end] for values in rates])


def step_rates(network: MLP, first: int, n_steps: int) -> StepRates:
    """The rates of so many steps after the `first` ones, with the bias corrections of Adam and NAdam."""
    rate: Any = network.learning_rate
    of_gradient: Any = None
    if not isinstance(rate, float) and np.shape(rate) not in ((), (n_steps,)):
        raise ValueError(
            f"learning_rate must be a number or an array ({n_steps},), one a step, got shape {np.shape(rate)}"
        )
    t = np.arange(first + 1, first + n_steps + 1)
    if network.solver in ("adam", "adamw", "nadam"):
        rate = rate * np.sqrt(_rest(network.beta_2, t))
    reach = rate  # of solvers whose step is the gradient's own
    if network.solver in ("adam", "adamw"):
        rate = rate / _rest(network.beta_1, t)
    elif network.solver == "nadam":
        momentum, rest = _nadam_momentum(network.beta_1, np.append(t, t[-1:] + 1))
        rate, of_gradient = rate * momentum[1:] / rest[1:], rate * (1 - momentum[:-1]) / rest[:-1]
        reach = rate * _rest(network.beta_1, t) + of_gradient
    elif network.solver == "sgd" and network.l1:
        reach = rate * _geometric(network.momentum, t + (network.nesterovs_momentum and network.momentum > 0))
    decay = network.weight_decay
    if decay is None:
        decay = 0.01 if network.solver == "adamw" else 0.0  # PyTorch's default
    return StepRates(
        _each(rate, n_steps),
        None if of_gradient is None else _each(of_gradient, n_steps),
        _each(reach, n_steps) if network.l1 else None,
        _each(network.learning_rate * decay, n_steps) if decay else None,
    )


def _each(value: Any, n: int) -> NDArray[np.float64]:
    """An array (n,) of this number, or this array."""
    array = np.ascontiguousarray(value, np.float64)
    return array if array.shape == (n,) else np.full(n, value, np.float64)


def _rest(beta: float, t: NDArray[np.int64]) -> Any:
    """1 - beta**t for ascending t. Powers take 50 ns each; where none of them can be told from 0, the 1 is enough."""
    return 1.0 if beta ** float(t[0]) < 2.0**-54 else 1 - beta**t


def _geometric(ratio: float, t: NDArray[np.int64]) -> Any:
    """1 + ratio + ... + ratio**(t - 1)."""
    return t if ratio == 1 else (1 - ratio**t) / (1 - ratio)


def _nadam_momentum(beta_1: float, t: NDArray[np.int64]) -> tuple[Array, Array]:
    """Of the steps t, which follow each other: the momentum mu_t (Dozat 2016, section 3.2, with the figures of
    PyTorch) and 1 - mu_1 mu_2 ... mu_t."""

    def momentum(t: NDArray[np.int64]) -> Array:
        return np.asarray(beta_1 * (1 - 0.5 * 0.96 ** (0.004 * t)))

    begin, end = int(t[0]), int(t[-1]) + 1
    # As all of them are below beta_1, their product cannot be told from 0 after so many.
    last = min(end, 2 if beta_1 == 0 else 2 + int(np.ceil(54 * np.log(2) / -np.log(beta_1))))
    rest = np.ones(len(t))
    rest[: max(0, last - begin)] -= np.cumprod(momentum(np.arange(1, last)))[begin - 1 :]
    return momentum(t), rest
