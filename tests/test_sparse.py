"""Sparse X for the MLP estimators. That fits of it are scikit-learn's is tested in test_parity.py."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone

from estimators import TARGETS, both, estimator, outcome, output, problem

FORMATS = [
    getattr(scipy.sparse, f"{name}_{kind}")
    for name in ("csr", "csc", "coo", "bsr", "dok", "lil")
    for kind in ("array", "matrix")
]


def thinned(target):
    """X with most entries blank, y."""
    _, X, y = problem(target)
    return np.where(np.random.RandomState(0).uniform(size=X.shape) < 0.7, 0.0, X), y


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("target", TARGETS)
def test_predictions_of_sparse_rows_are_those_of_dense_rows(target, dtype):
    X, y = thinned(target)
    X = X.astype(dtype)
    model = estimator(target, hidden_layer_sizes=(19, 7)).fit(X, y)
    for to_sparse in FORMATS:
        sparse = to_sparse(X)
        got = output(model, sparse)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, output(model, X))
        np.testing.assert_array_equal(model.predict(sparse), model.predict(X))
    rows = scipy.sparse.csr_array(X)
    np.testing.assert_array_equal(output(model, rows[3:4]), output(model, rows)[3:4])
    assert model.score(rows, y) == model.score(X, y)


@pytest.mark.parametrize("dtype", [np.float16, np.int8, np.int64, bool, np.longdouble])
def test_other_dtypes_are_converted(dtype):
    X, y = thinned("multiclass")
    X = np.round(X).astype(np.int8).astype(dtype)
    dense = estimator("multiclass").fit(X.astype(np.float64), y)
    sparse = estimator("multiclass")
    data = scipy.sparse.csr_array(X.astype(np.float32) if dtype == np.float16 else X)  # SciPy has no float16
    sparse.fit(data.astype(np.float64) if dtype == np.float16 else data, y)
    np.testing.assert_allclose(output(sparse, data), output(dense, X.astype(np.float64)), rtol=1e-5)
    assert sparse.coefs_[0].dtype == np.float64


@pytest.mark.parametrize("n_jobs", [2, 16])
def test_threads_do_not_change_a_bit(n_jobs):
    X, y = thinned("multiclass")
    X = scipy.sparse.csr_array(np.tile(X, (8, 1)))
    y = np.tile(y, 8)
    one, other = (
        estimator("multiclass", hidden_layer_sizes=(200,), batch_size=600, n_jobs=n).fit(X, y) for n in (1, n_jobs)
    )
    assert one.loss_curve_ == other.loss_curve_
    np.testing.assert_array_equal(output(one, X), output(other, X))


def test_the_data_is_left_as_it_was():
    X, y = thinned("multiclass")
    rows = scipy.sparse.csr_array(X)
    twice = scipy.sparse.csr_array(
        (np.repeat(rows.data / 2, 2), np.repeat(rows.indices, 2), 2 * rows.indptr), rows.shape
    )
    before = [a.copy() for a in (twice.data, twice.indices, twice.indptr)]
    for a in (twice.data, twice.indices, twice.indptr):
        a.setflags(write=False)
    model = estimator("multiclass", early_stopping=True).fit(twice, y)
    model.predict(twice)
    for a, b in zip((twice.data, twice.indices, twice.indptr), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_empty_rows_and_columns_are_data():
    X, y = thinned("multiclass")
    X[::3] = 0.0
    X[:, 2:5] = 0.0
    dense, sparse = estimator("multiclass").fit(X, y), estimator("multiclass").fit(scipy.sparse.csr_array(X), y)
    np.testing.assert_allclose(output(sparse, X), output(dense, X), rtol=1e-9)
    blank = scipy.sparse.csr_array(X.shape)
    np.testing.assert_array_equal(output(sparse, blank), output(sparse, np.zeros(X.shape)))


@pytest.mark.parametrize("method", ["fit", "predict"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_bad_values_give_scikit_learns_error(value, method):
    X, y = thinned("multiclass")
    bad = X.copy()
    bad[3, 1] = value
    texts = []
    for model in both("multiclass"):
        model.fit(X, y)
        sparse = scipy.sparse.csr_array(bad)
        call = (lambda m=model, d=sparse: m.fit(d, y)) if method == "fit" else (lambda m=model, d=sparse: m.predict(d))
        texts.append(outcome(call))
    assert texts[0] == texts[1]
    assert texts[0][0][0] == "ValueError"


def test_sparse_and_dense_data_may_take_turns():
    X, y = thinned("regression")
    dense, mixed = estimator("regression"), estimator("regression")
    for i in range(6):
        dense.partial_fit(X, y)
        mixed.partial_fit(scipy.sparse.csc_array(X) if i % 2 else X, y)
    np.testing.assert_allclose(output(mixed, X), output(dense, X), rtol=1e-9)
    other = clone(mixed).fit(X, y, X_val=scipy.sparse.coo_array(X), y_val=y)
    assert other.validation_scores_ == clone(mixed).fit(X, y, X_val=X, y_val=y).validation_scores_
