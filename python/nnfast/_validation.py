"""What a fit is judged by: the rows that are held out from training, and the loss and scores of outputs on them.

The numbers are those of scikit-learn's metrics, without their checks: these take a millisecond, which is many epochs of
a small network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy
from sklearn.metrics import d2_pinball_score
from sklearn.model_selection import train_test_split

from nnfast._network import MLP
from nnfast._rows import Array, Rows

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


def mean_loss(network: MLP, outputs: Array, Y: Array, weights: Array | None) -> float:
    """Mean over the rows of the network's loss; the squared error also over the outputs, others summed over them.

    Probabilities are clipped as in training.
    """
    if network.own_loss is not None:
        return network.own_loss.mean(Y, outputs, weights)
    with np.errstate(all="ignore"):  # of diverging training
        terms = _terms(network, outputs, Y)
        losses = terms.mean(axis=1) if network.loss_name == "squared_error" else terms.sum(axis=1)
        return float(np.average(losses.astype(np.float64), weights=weights))


def _terms(network: MLP, outputs: Array, Y: Array) -> Array:
    """The loss of each output, as `nnfast.MLP` defines it; of classes Y is an array of bool."""
    eps = np.finfo(outputs.dtype).eps
    counts: Any = True
    match network.loss_name:
        case "squared_error":
            return 0.5 * (outputs - Y) ** 2
        case "absolute_error":
            return abs(outputs - Y)
        case "huber":
            size = abs(outputs - Y)
            square = np.minimum(size, network.huber_delta)
            return square * (size - 0.5 * square)
        case "log_cosh":
            size = abs(outputs - Y)
            near = np.log1p(2 * np.sinh(np.minimum(size, 1) / 2) ** 2)  # cosh(d) = 1 + 2 sinh(d / 2)^2
            return np.where(size < 1, near, size - np.log(2) + np.log1p(np.exp(-2 * size)))
        case "poisson":
            return xlogy(Y, Y / outputs) - Y + outputs
        case "gamma":
            return Y / outputs - np.log(Y / outputs) - 1
        case "tweedie":
            a, b = 1 - network.tweedie_power, 2 - network.tweedie_power
            return Y**b / (a * b) - Y * outputs**a / a + outputs**b / b
        case "quantile":
            error, levels = outputs - Y, np.tile(network.levels, outputs.shape[1] // len(network.levels))
            return np.maximum(-levels * error, (1 - levels) * error)
        case "binary_log_loss" | "binary_focal":
            p = np.clip(outputs, eps, 1 - eps)
            told = np.where(Y, p, 1 - p)
        case _:
            told, counts = np.clip(outputs, eps, 1 - eps), Y.astype(bool)
    terms = -np.log(told, where=counts, out=np.zeros_like(told))
    return terms * (1 - told) ** network.focal_gamma if network.loss_name.endswith("focal") else terms


def r2(outputs: Array, Y: Array, weights: Array | None) -> float:
    """The mean over the outputs of the shares of the variance that they explain."""
    weight = np.ones((len(Y), 1)) if weights is None else weights[:, None]
    with np.errstate(all="ignore"):  # of diverging training
        unexplained = (weight * (Y - outputs) ** 2).sum(axis=0, dtype=np.float64)
        total = (weight * (Y - np.average(Y, axis=0, weights=weights)) ** 2).sum(axis=0, dtype=np.float64)
        # Of a constant target everything is explained, or nothing.
        share = np.divide(unexplained, total, out=(unexplained > 0).astype(np.float64), where=total > 0)
        return float((1 - share).mean())


def d2_pinball(outputs: Array, Y: Array, levels: Sequence[float], weights: Array | None) -> float:
    """The mean over targets and levels of the D2 pinball score, 1 - loss / loss of the best constant.

    outputs, Y (n, n_targets * n_levels): the levels of a target side by side, the target repeated for each.
    """
    n_levels = len(levels)
    return float(
        np.mean(
            [
                d2_pinball_score(Y[:, k::n_levels], outputs[:, k::n_levels], sample_weight=weights, alpha=level)
                for k, level in enumerate(levels)
            ]
        )
    )
