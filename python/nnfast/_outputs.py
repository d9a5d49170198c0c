"""Outputs of a network: how they come about, and the probabilities, labels and values that they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nnfast import _core
from nnfast._layers import Activation
from nnfast._rows import FORMATS, Array, SparseRows, aligned, as_rows
from nnfast._threads import resolve_threads


def forward(
    X: Any,
    coefs: Sequence[Array],
    intercepts: Sequence[Array],
    activations: Sequence[Activation],
    n_jobs: int | None = None,
    out: Array | None = None,
    output_groups: Sequence[int] = (),
) -> Array:
    """Outputs (n, n_out) of a network given by plain arrays, in the wider of X's and the weights' dtype.

    X (n, n_in) is an array, a sparse matrix, or rows from `as_rows`.
    """
    values = X.values if isinstance(X, SparseRows) else X
    dtype = np.result_type(values.dtype, *coefs, *intercepts, np.float32)
    if dtype not in FORMATS:
        dtype = np.dtype(np.float64)  # long double
    if out is None:
        out = np.empty((X.shape[0], coefs[-1].shape[1]), dtype)
    _core.forward(
        as_rows(X, dtype),
        [aligned(np.ascontiguousarray(c, dtype)) for c in coefs],
        [aligned(np.ascontiguousarray(b, dtype)) for b in intercepts],
        activations,
        out,
        resolve_threads(n_jobs),
        output_groups,
    )
    return out


# What makes calls short (nnfast._core). Whoever calls `forward` again and again with the same arrays keeps one.
Plan = _core.Plan


def both_classes(outputs: Array) -> Array:
    """The rows (1 - p, p), shape (n, 2), of the outputs p, shape (n, 1), of a network that tells two classes."""
    rows = np.empty((len(outputs), 2), outputs.dtype)
    rows.ravel()[: len(outputs)] = outputs.ravel()
    _core.both_classes(rows)
    return rows


def as_labels(outputs: Array, classes: Array | list[Array], softmax: bool) -> Array:
    """The labels that outputs (n, n_outputs) stand for.

    Of a softmax the most probable class, of several, with a list of classes, that of each in a column. Else what is
    above 1/2: the second class where there is one output, 0 or 1 for each label where there are more.
    """
    if isinstance(classes, list):
        groups = np.split(outputs, np.cumsum([len(known) for known in classes])[:-1], axis=1)
        return np.column_stack([as_labels(group, known, True) for group, known in zip(groups, classes, strict=True)])
    if softmax:
        return classes[outputs.argmax(axis=1)]
    above = (outputs > 0.5).astype(np.intp)
    if outputs.shape[1] > 1:
        return above
    return classes[above.ravel()] if len(classes) == 2 else np.repeat(classes[0], len(above))


def as_values(outputs: Array, n_levels: int | None) -> Array:
    """The values that outputs (n, n_outputs) stand for: (n,) of one target, (n, n_targets) of more; with levels of a
    distribution, a number of them for each target, (n, n_levels) or (n, n_targets, n_levels)."""
    if n_levels is not None:
        levels = outputs.reshape(len(outputs), -1, n_levels)
        return levels[:, 0] if levels.shape[1] == 1 else levels
    return outputs.ravel() if outputs.shape[1] == 1 else outputs


def check_classes(classes: Array | list[Array], n_outputs: int, softmax: bool) -> None:
    """ValueError unless `as_labels` can tell these classes by so many outputs."""
    several = isinstance(classes, list)
    each = classes if several else [classes]
    if not all(np.ndim(known) == 1 and len(known) for known in each):
        raise ValueError(f"classes_ should be a vector of labels, or a list of such vectors, got {classes}")
    n_classes = sum(map(len, each))
    if (several and not softmax) or (n_classes != n_outputs and (softmax or n_outputs > 1 or n_classes > 2)):
        raise ValueError(f"{n_outputs} outputs, {'softmax' if softmax else 'logistic'}, cannot tell {classes}")
