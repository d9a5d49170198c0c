"""scikit-learn's checks of X, y and parameters, left out where they would find and change nothing: of plain arrays and
of values that have passed before.

They take 0.2 ms for X, 0.4 for X and y, 1.2 for labels (Zen 3). In as much time a network of 20-64-64-1 predicts 1,000
rows, and 8-16-1 takes hundreds of steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike
from scipy.sparse import csr_array, csr_matrix, issparse
from sklearn.base import BaseEstimator
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_random_state, compute_class_weight
from sklearn.utils._param_validation import validate_parameter_constraints
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import validate_data

from nnfast._random import seeded
from nnfast._rows import FORMATS, Array, is_sound

# Plain ones; their subclasses may mean something else.
_MATRICES = np.ndarray, csr_array, csr_matrix


# And parameters that nobody can change but by putting another one in their place.
_VALUES = str, int, float, bool, type(None)


@cache
def _parameter_names(kind: type[BaseEstimator]) -> list[str]:
    return kind._get_param_names()


@lru_cache(maxsize=4096, typed=True)
def _check_value(kind: type[BaseEstimator], name: str, value: Any) -> None:
    """Asked once for each value that passes; an error is not remembered."""
    validate_parameter_constraints(kind._parameter_constraints, {name: value}, kind.__name__)


def check_parameters(estimator: Any) -> None:
    """What BaseEstimator._validate_params does; in a tenth of its 0.24 ms, as most values have passed before."""
    kind: Any = type(estimator)
    for name in _parameter_names(kind):
        value = getattr(estimator, name)
        (_check_value if type(value) in _VALUES else _check_value.__wrapped__)(kind, name, value)


def _is_plain_matrix(X: Any) -> bool:
    """Of finite float32 or float64, with contiguous rows or as CSR."""
    if type(X) not in _MATRICES or X.ndim != 2 or 0 in X.shape:
        return False
    if isinstance(X, np.ndarray):
        return is_sound(X)
    return X.indices.dtype == X.indptr.dtype == np.int32 and is_sound(X.data.reshape(1, -1))


def _is_vector(y: Any) -> bool:
    return type(y) is np.ndarray and y.ndim == 1 and y.size > 0


def _are_whole(y: Any) -> bool:
    """A vector of integers or of bool."""
    return _is_vector(y) and y.dtype.kind in "biu" and y.dtype.isnative


def _is_plain_vector(y: Any) -> bool:
    """Of integers, bool, or finite float32 or float64."""
    return _are_whole(y) or (_is_vector(y) and y.dtype in FORMATS and bool(np.isfinite(y).all()))


def check_rows(estimator: Any, X: Any) -> Any:
    """X (n_samples, n_features_in_) to predict: an array or, if it is sparse, CSR."""
    if "feature_names_in_" not in vars(estimator) and _is_plain_matrix(X):
        if X.shape[1] == getattr(estimator, "n_features_in_", X.shape[1]):
            return X
    return validate_data(estimator, X, accept_sparse="csr", reset=False)


def check_data(
    estimator: Any, X: Any, y: Any, *, dtype: Sequence[DTypeLike], reset: bool, **others: Any
) -> tuple[Any, Array]:
    """X of the first of these dtypes, or its own if it is one of them, in C order, or as CSR; and y, as long.

    A vector y may come out contiguous.
    """
    likely = type(X) in _MATRICES and X.dtype in dtype and (issparse(X) or X.flags.c_contiguous)
    if likely and _is_plain_vector(y) and X.shape[:1] == y.shape and _is_plain_matrix(X):
        # There remain the number of features and their names.
        if (
            not reset
            and "feature_names_in_" not in vars(estimator)
            and X.shape[1] == getattr(estimator, "n_features_in_", 0)
        ):
            return X, np.ravel(y)
        return validate_data(estimator, X, np.ravel(y), skip_check_array=True, reset=reset)
    return validate_data(estimator, X, y, accept_sparse="csr", order="C", dtype=dtype, reset=reset, **others)


def check_target(estimator: Any, y: Any) -> Array:
    """y alone."""
    return np.ravel(y) if _is_plain_vector(y) else validate_data(estimator, y=y)


def labels_of(y: Array) -> Array:
    """The labels that are in y, in ascending order."""
    return np.unique(y) if _are_whole(y) else unique_labels(y)


def are_among(y: Array, classes: Array) -> bool:
    """Whether all of y are among the ascending classes, if that can be told at once: of whole numbers of one type."""
    if not (_are_whole(y) and y.dtype == classes.dtype):
        return False
    return bool((classes.take(np.searchsorted(classes, y), mode="clip") == y).all())


def weights_of_classes(class_weight: Any, classes: Array, y: Array) -> Array:
    """The weight of each class, (n_classes,); ValueError when there are others in y."""
    if class_weight is None and are_among(y, classes):
        return np.ones(len(classes))
    return compute_class_weight(class_weight, classes=classes, y=y)


def generator(random_state: Any) -> np.random.RandomState:
    """That of an estimator with this parameter."""
    whole = isinstance(random_state, (int, np.integer))
    return seeded(int(random_state)) if whole else check_random_state(random_state)


def is_same(classes: Any, known: Array) -> bool:
    """Whether these are the classes that are known, in order and of their type; others may come to the same."""
    try:
        given = np.asarray(classes)
    except ValueError:  # columns of several lengths
        return False
    return given.dtype == known.dtype and np.array_equal(given, known)


def label_binarizer(y: Array) -> LabelBinarizer:
    """A LabelBinarizer that is fitted to y."""
    binarizer = LabelBinarizer()
    if not _are_whole(y):
        return binarizer.fit(y)
    binarizer.classes_ = np.unique(y)
    binarizer.y_type_ = "binary" if len(binarizer.classes_) <= 2 else "multiclass"
    binarizer.sparse_input_ = False
    return binarizer
