"""Rows as the engine reads them: inputs, dense or sparse, and how much each counts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from nnfast import _core

Array = NDArray[Any]
# The types that the engine computes in, and its words for them.
FORMATS = {np.dtype(np.float32): "f", np.dtype(np.float64): "d"}


def aligned(array: Array) -> Array:
    """The array, with its elements where the CPU expects them: a field of packed records is not."""
    return array if array.flags.aligned else array.copy()


class SparseRows(NamedTuple):
    """A sparse matrix in compressed rows (CSR) as the engine reads it: indices ascending in a row, none twice."""

    values: Array  # (stored,)
    indices: NDArray[np.int32]  # (stored,)
    indptr: NDArray[np.int64]  # (n + 1,)
    shape: tuple[int, int]


Rows: TypeAlias = Array | SparseRows


def as_rows(array: Any, dtype: DTypeLike) -> Rows:
    """Inputs as the engine reads them; often no copy.

    Parameters
    ----------
    array : array-like (n,) or (n, n_in), or any matrix or array of scipy.sparse (n, n_in), or SparseRows
    dtype : float32 or float64

    Returns
    -------
    rows : array (n, n_in) with contiguous rows in order, or SparseRows
    """
    if isinstance(array, SparseRows):
        return array._replace(values=np.asarray(array.values, dtype))
    return _sparse_rows(array, dtype) if hasattr(array, "tocsr") else dense_rows(array, dtype)


def _sparse_rows(matrix: Any, dtype: DTypeLike) -> SparseRows:
    csr = matrix.tocsr()
    if csr.ndim != 2 or csr.shape[1] > np.iinfo(np.int32).max:
        raise ValueError(f"expected a sparse matrix of at most 2**31 - 1 columns, got shape {csr.shape}")
    if not csr.has_canonical_format:
        csr = csr.copy()
        csr.sum_duplicates()
    values = aligned(np.ascontiguousarray(csr.data[: csr.indptr[-1]], dtype))
    indices = aligned(np.ascontiguousarray(csr.indices[: len(values)], np.int32))
    return SparseRows(values, indices, np.ascontiguousarray(csr.indptr, np.int64), csr.shape)


def dense_rows(array: ArrayLike, dtype: DTypeLike) -> Array:
    """The array as a matrix of this dtype with contiguous rows in order; a vector becomes a column."""
    result = aligned(np.asarray(array, dtype=dtype))
    if result.ndim == 1:
        result = result.reshape(-1, 1)
    if result.ndim != 2:
        raise ValueError(f"expected a matrix, got {result.ndim} dimensions")
    item = result.itemsize
    if result.strides[1] != item or result.strides[0] < result.shape[1] * item or result.strides[0] % item:
        result = np.ascontiguousarray(result)
    return result


def as_row_weights(weights: ArrayLike | None) -> NDArray[np.float64] | None:
    """Weights of rows as the engine reads them."""
    if weights is None:
        return None
    result = aligned(np.ascontiguousarray(weights, np.float64))
    if result.sum() == 0:
        raise ValueError("the weights of the rows sum to 0")
    return result


def is_sound(X: Array) -> bool:
    """Whether X is a matrix of finite float32 or float64 that the engine can read as it lies."""
    if X.dtype not in FORMATS or X.ndim != 2 or not X.flags.aligned:
        return False
    return X.strides[1] == X.itemsize and X.strides[0] >= X.shape[1] * X.itemsize and _core.all_finite(X)


def are_finite(arrays: Iterable[Array]) -> bool:
    """Whether these arrays, float32 or float64 and contiguous, have finite elements alone."""
    return all(_core.all_finite(array.reshape(1, -1)) for array in arrays)
