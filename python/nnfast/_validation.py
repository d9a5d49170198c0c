"""What a fit is judged by: the rows that are held out from training, and the loss and scores of outputs on them.

The numbers are those of scikit-learn's metrics, without their checks: these take a millisecond, which is many epochs of
a small network.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy
from sklearn.model_selection import train_test_split

from nnfast._network import Array, Rows

Part: TypeAlias = tuple[Any, Array, Array | None]  # X, Y, weights


class Sample(NamedTuple):
    """Rows that a network is trained or judged on."""

    X: Any  # (n, n_features), an array or a CSR matrix
    rows: Rows  # the same as the engine reads it
    Y: Array  # (n, n_outputs), what the network's outputs should be
    weights: Array | None  # (n,) of float64


def hold_out(
    X: Any, Y: Array, weights: Array | None, fraction: float, rng: np.random.RandomState, stratify: Array | None
) -> tuple[NDArray[np.int64], Part]:
    """The numbers of the rows to train on, and what to validate on, with scikit-learn's draws from `rng`.

    The rows to train on are not copied: they are most of the data.
    """
    rows, others = train_test_split(
        np.arange(len(Y), dtype=np.int64), random_state=rng, test_size=fraction, stratify=stratify
    )
    if len(others) < 2:
        raise ValueError("The validation set is too small. Increase 'validation_fraction' or the size of your dataset.")
    weights_val = None if weights is None else weights[others]
    if weights_val is not None and not weights_val.any():
        raise ValueError("The weights of the validation set are all zero. Try another random_state.")
    return rows, (X[others], Y[others], weights_val)


def mean_loss(loss: str, outputs: Array, Y: Array, weights: Array | None) -> float:
    """Mean over the rows of a loss of `nnfast.MLP`; the squared error also over the outputs, others summed over them.

    Probabilities are clipped as in training.
    """
    with np.errstate(all="ignore"):  # of diverging training
        if loss == "squared_error":
            losses = 0.5 * ((outputs - Y) ** 2).mean(axis=1)
        elif loss == "poisson":
            losses = (xlogy(Y, Y / outputs) - Y + outputs).sum(axis=1)
        else:
            eps = np.finfo(outputs.dtype).eps
            p = np.clip(outputs, eps, 1 - eps)
            if loss == "binary_log_loss":
                losses = -np.log(np.where(Y, p, 1 - p)).sum(axis=1)
            else:
                losses = -np.log(p, where=Y.astype(bool), out=np.zeros_like(p)).sum(axis=1)
        return float(np.average(losses.astype(np.float64), weights=weights))


def r2(outputs: Array, Y: Array, weights: Array | None) -> float:
    """The mean over the outputs of the shares of the variance that they explain."""
    weight = np.ones((len(Y), 1)) if weights is None else weights[:, None]
    with np.errstate(all="ignore"):  # of diverging training
        unexplained = (weight * (Y - outputs) ** 2).sum(axis=0, dtype=np.float64)
        total = (weight * (Y - np.average(Y, axis=0, weights=weights)) ** 2).sum(axis=0, dtype=np.float64)
        # Of a constant target everything is explained, or nothing.
        share = np.divide(unexplained, total, out=(unexplained > 0).astype(np.float64), where=total > 0)
        return float((1 - share).mean())
