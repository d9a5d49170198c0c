"""precision=: what a fit computes in, whatever the type of X."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from estimators import TARGETS, estimator, output, problem

SOLVERS = ("adam", "sgd", "lbfgs")
PRECISIONS = ("float32", "float64")
KINDS = {
    "float64": np.asarray,
    "float32": lambda X: X.astype(np.float32),
    "fortran": np.asfortranarray,
    "list": np.ndarray.tolist,
    "sparse": scipy.sparse.csr_matrix,
    "sparse32": lambda X: scipy.sparse.csc_array(X.astype(np.float32)),
}


def weights(model):
    return model.coefs_ + model.intercepts_


def assert_same(one, other):
    for a, b in zip(weights(one), weights(other), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("target", TARGETS)
def test_a_fit_is_that_to_data_converted_before(target, precision, solver):
    _, X, y = problem(target)
    X = X.astype(np.float32)  # exact in both
    parameters = {"solver": solver, "early_stopping": solver != "lbfgs"}
    want = estimator(target, **parameters).fit(X.astype(precision), y)
    assert {w.dtype for w in weights(want)} == {np.dtype(precision)}
    for dtype in PRECISIONS:
        assert_same(estimator(target, precision=precision, **parameters).fit(X.astype(dtype), y), want)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_kinds_of_data(precision, kind):
    _, X, y = problem("multiclass")
    X = np.round(X * 8) / 8  # exact in both, with zeros
    model = estimator("multiclass", precision=precision, class_weight="balanced")
    data = KINDS[kind](X)
    model.fit(data, y, sample_weight=np.linspace(1, 2, len(y)), X_val=data, y_val=y)
    assert {w.dtype for w in weights(model)} == {np.dtype(precision)}
    dense = estimator("multiclass", class_weight="balanced")
    dense.fit(X.astype(precision), y, sample_weight=np.linspace(1, 2, len(y)), X_val=X.astype(precision), y_val=y)
    # Sparse products add in another order: a few hundred roundings of 15 steps' worth of weights.
    rtol = 1e-3 if precision == "float32" else 1e-10
    np.testing.assert_allclose(output(model, X), output(dense, X), rtol=rtol)
    np.testing.assert_allclose(model.validation_loss_curve_, dense.validation_loss_curve_, rtol=rtol)
    if not kind.startswith("sparse"):
        assert_same(model, dense)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_predictions_have_the_wider_type(precision):
    _, X, y = problem("regression")
    model = estimator("regression", precision=precision).fit(X, y)
    for dtype in PRECISIONS:
        assert model.predict(X.astype(dtype)).dtype == np.result_type(precision, dtype)
        assert model.predict(X[:1].astype(dtype)).dtype == np.result_type(precision, dtype)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_data_of_that_type_are_not_copied(precision, monkeypatch):
    _, X, y = problem("regression")
    X, seen = X.astype(precision), []
    model = estimator("regression", precision=precision)
    original = type(model)._check_data

    def spying(self, *arguments, **options):
        result = original(self, *arguments, **options)
        seen.append(result[0])
        return result

    monkeypatch.setattr(type(model), "_check_data", spying)
    model.fit(X, y)
    assert [data is X or np.shares_memory(data, X) for data in seen] == [True]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_going_on(precision):
    _, X, y = problem("multiclass")
    other = {"float32": "float64", "float64": "float32"}[precision]
    model = estimator("multiclass", precision=precision, warm_start=True).fit(X, y)
    model.partial_fit(X.astype(other), y)
    assert {w.dtype for w in weights(model)} == {np.dtype(precision)}
    model.set_params(precision="auto").fit(X.astype(other), y)  # scikit-learn's rule: the weights stay what they are
    assert {w.dtype for w in weights(model)} == {np.dtype(precision)}
    model.set_params(precision=other).fit(X, y)
    assert {w.dtype for w in weights(model)} == {np.dtype(other)}
    # partial_fit keeps its optimizer, and so its type.
    model.set_params(precision=precision).partial_fit(X, y)
    assert {w.dtype for w in weights(model)} == {np.dtype(other)}


@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")  # from scikit-learn's conversion
def test_numbers_that_float32_cannot_hold():
    _, X, y = problem("regression")
    X = X.copy()
    X[3, 2] = 1e39
    with pytest.raises(ValueError, match=r"Input X contains infinity or a value too large for dtype\('float32'\)"):
        estimator("regression", precision="float32").fit(X, y)
