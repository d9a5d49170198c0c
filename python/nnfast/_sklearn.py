"""What only some of the releases of scikit-learn that nnfast runs with have, with what stands in for it elsewhere."""

from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.utils.validation import _check_sample_weight

__all__ = ["CallbackSupportMixin", "as_configured", "check_sample_weight", "with_callbacks"]

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # before 1.9
    if not TYPE_CHECKING:

        class CallbackSupportMixin:
            """Nobody to tell."""

        def with_callbacks(method):
            return method


# A sparse result as an array or as a matrix, whichever is configured; before 1.9 always a matrix.
try:
    from sklearn.utils import _align_api_if_sparse as as_configured
except ImportError:
    as_configured = csr_matrix


# From 1.9 on weights that are all 0 are refused there, unless this is said.
_ANY = (
    {"allow_all_zero_weights": True} if "allow_all_zero_weights" in signature(_check_sample_weight).parameters else {}
)


def check_sample_weight(sample_weight: Any, X: Any, dtype: Any = None, allow_all_zero: bool = False) -> np.ndarray:
    """The weights as floats, (n_samples,), all 1 for None. Refuses in every release what 1.9 does."""
    if sample_weight is None and dtype in (np.float32, np.float64):
        return np.ones(X.shape[0], dtype)
    checked = _check_sample_weight(sample_weight, X, dtype=dtype, **_ANY)
    if not allow_all_zero and not checked.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return checked
