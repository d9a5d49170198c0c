"""Averages of the weights over the epochs of training: what `averaging=` of the MLP estimators keeps and judges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

import numpy as np

from nnfast._kept import Kept
from nnfast._network import MLP
from nnfast._outputs import forward
from nnfast._rows import Array, Rows

Weights: TypeAlias = tuple[list[Array], list[Array]]


class Average(Kept):
    """The mean of the weights at the ends of epochs (Izmailov et al. 2018), or an exponential moving average of them.

    Lives as long as the optimizer. Kept in float64; `snapshot` and `forward` are those of a `Training` whose weights
    are the average, once it has `begun`.

    Parameters
    ----------
    decay : float or None
        How much of the moving average an epoch keeps; None: the mean.
    start : float
        Epochs that pass before the first one that counts.
    """

    _kept: ClassVar[dict[str, Any]] = {
        "decay": float | None,
        "start": float,
        "epochs": int,
        "_count": int,
        "_mean": list[Array],
        "_raw": tuple[list[Array], list[Array]],
    }
    _derived = frozenset({"network"})  # given anew by `resume`

    def __init__(self, decay: float | None, start: float) -> None:
        self.decay = decay
        self.start = start
        self.epochs = 0
        self._forget()

    def _forget(self) -> None:
        self._count = 0
        self._mean: list[Array] = []
        self._raw: Weights = [], []

    @property
    def begun(self) -> bool:
        return self._count > 0

    def resume(self, network: MLP, afresh: bool = True) -> None:
        """Training goes on with this network: with the weights that were averaged, if it has the averages. If not
        afresh, it has the weights that training goes on with.

        Weights of other values were put there by the user. Training starts from them, and so does the average.
        """
        self.network = network
        if self.begun and afresh:
            given = [*network.coefs_, *network.intercepts_]
            coefs, intercepts = self.snapshot()
            if all(np.array_equal(one, other) for one, other in zip(given, coefs + intercepts, strict=False)):
                network.coefs_, network.intercepts_ = self._raw
            else:
                self._forget()

    def epoch_ended(self, snapshot: Callable[[], Weights]) -> None:
        """Take in the weights at the end of an epoch, which `snapshot` gives."""
        self.epochs += 1
        if self.epochs <= self.start:
            return
        self._raw = snapshot()
        weights = [*self._raw[0], *self._raw[1]]
        if not self.begun:
            self._mean = [weight.astype(np.float64) for weight in weights]
        self._count += 1
        share = 1 / self._count if self.decay is None else 1 - self.decay
        # New arrays: who has kept the old ones can go back to them.
        self._mean = [mean + share * (weight - mean) for mean, weight in zip(self._mean, weights, strict=True)]

    def snapshot(self) -> Weights:
        """The averages as (coefs, intercepts) in the network's dtype; copies."""
        weights = [mean.astype(self.network.dtype) for mean in self._mean]
        n_layers = len(weights) // 2
        return weights[:n_layers], weights[n_layers:]

    def forward(self, X: Rows) -> Array:
        """Outputs (n, n_out) with the averages."""
        network = self.network
        return forward(X, *self.snapshot(), network._activations(), network.n_jobs, output_groups=network.output_groups)


def average_for(estimator: Any) -> Average | None:
    """The average that the estimator's parameters ask for."""
    if estimator.averaging is None:
        return None
    decay = estimator.averaging_decay if estimator.averaging == "ema" else None
    return Average(decay, estimator.averaging_start * estimator.max_iter)
