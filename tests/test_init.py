"""The first weights, init=: their distributions, the order of the draws, and arrays of the user's.

That the default's draws are scikit-learn's is tested in test_parity.py.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

import nnfast
from estimators import TARGETS, estimator, output, problem

SIZES = (300, 200, 7)
NORMAL = {"he": 2.0, "lecun": 1.0}  # variance times n_in


def network(init, **parameters):
    return nnfast.MLP(SIZES, **{"dtype": "float64", "random_state": 0} | parameters, init=init)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("init", NORMAL)
def test_normal_weights_are_these_draws(init, dtype):
    made = network(init, dtype=dtype)
    rng = np.random.RandomState(0)
    for coef, intercept, (n_in, n_out) in zip(made.coefs_, made.intercepts_, pairwise(SIZES), strict=True):
        want = rng.standard_normal((n_in, n_out)) * np.sqrt(NORMAL[init] / n_in)
        # The root and the quotient may round otherwise: an ulp or two of either type.
        np.testing.assert_allclose(coef, want, rtol=3 * np.finfo(dtype).eps)
        assert coef.dtype == intercept.dtype == dtype
        assert not intercept.any()
    # The sum of n squares of normal numbers has a standard deviation of sqrt(2 n); five of them.
    n = made.coefs_[0].size
    assert abs((made.coefs_[0].astype(float) ** 2).sum() / NORMAL[init] * SIZES[0] - n) < 5 * np.sqrt(2 * n)


@pytest.mark.parametrize("sizes", [(40, 30), (30, 40), (30, 30), (1, 5), (5, 1)])
def test_orthogonal(sizes):
    made = nnfast.MLP(sizes, dtype="float64", random_state=1, init="orthogonal")
    coef = made.coefs_[0]
    gram = coef.T @ coef if sizes[0] >= sizes[1] else coef @ coef.T
    # Householder's Q is orthogonal within a small multiple of its size times u (Higham 2002, section 19.3).
    np.testing.assert_allclose(gram, np.eye(min(sizes)), rtol=0, atol=40 * np.finfo(float).eps)
    # The normal matrix that it comes from has a triangular rest with a positive diagonal.
    normal = np.random.RandomState(1).standard_normal(sizes)
    rest = coef.T @ normal if sizes[0] >= sizes[1] else coef @ normal.T
    assert (np.diag(rest) > 0).all()
    np.testing.assert_allclose(np.tril(rest, -1), 0, atol=1e-13)
    assert not made.intercepts_[0].any()
    assert coef.flags.c_contiguous


def test_zeros_draw_nothing():
    rng = np.random.RandomState(3)
    made = network("zeros", random_state=rng)
    assert not any(w.any() for w in made.coefs_ + made.intercepts_)
    assert rng.randint(1000) == np.random.RandomState(3).randint(1000)


@pytest.mark.parametrize("activation", ["relu", "logistic"])
def test_glorot_is_the_default(activation):
    for one, other in zip(
        network("glorot", activation=activation).coefs_,
        nnfast.MLP(SIZES, dtype="float64", random_state=0, activation=activation).coefs_,
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    coef = network("glorot", activation=activation).coefs_[0]
    bound = np.sqrt((2 if activation == "logistic" else 6) / 500)
    assert 0.999 * bound < np.abs(coef).max() <= bound


def test_a_generator_draws_too():
    made = network("he", random_state=np.random.default_rng(5))
    want = np.random.default_rng(5).standard_normal((300, 200)) * np.sqrt(2 / 300)
    np.testing.assert_allclose(made.coefs_[0], want, rtol=1e-15)


def test_an_unknown_name_is_an_error():
    with pytest.raises(ValueError, match="unknown init 'xavier'; there are glorot, he, lecun, orthogonal, zeros"):
        network("xavier")


# ---- estimators -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("init", ["he", "lecun", "orthogonal"])
def test_estimators_start_as_networks_do(init, target, solver):
    _, X, y = problem(target)
    model = estimator(target, init=init, solver=solver, shuffle=False).fit(X, y)
    start = nnfast.MLP((X.shape[1], 8, model.n_outputs_), dtype="float64", random_state=0, init=init)
    given = (start.coefs_, start.intercepts_)
    other = estimator(target, init=given, solver=solver, shuffle=False).fit(X, y)
    np.testing.assert_array_equal(output(model, X), output(other, X))
    plain = estimator(target, solver=solver, shuffle=False).fit(X, y)
    assert np.abs(output(plain, X) - output(model, X)).max() > 1e-6


def test_a_linear_model_from_zeros():
    _, X, y = problem("multiclass")
    model = estimator("multiclass", hidden_layer_sizes=(), init="zeros", solver="lbfgs", max_iter=2000, tol=1e-8)
    model.fit(X, y)
    # The same convex problem: the sum of the losses plus ||W||^2 alpha / 2, where scikit-learn has C = 1 / alpha. Both
    # stop where no slope is larger than 1e-8; 1e-4 is its square root, the distance from a minimum as flat as alpha.
    peer = LogisticRegression(C=1e4, max_iter=5000, tol=1e-8).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), peer.predict_proba(X), atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_are_copied_and_come_back_with_every_fit(dtype):
    _, X, y = problem("regression")
    X = X.astype(dtype)
    rng = np.random.default_rng(0)
    init = ([rng.standard_normal((10, 8)), rng.standard_normal((8, 1))], (np.zeros(8), [0.5]))
    before = init[0][0].copy()
    model = estimator("regression", init=init).fit(X, y)
    first = output(model, X)
    assert model.coefs_[0].dtype == dtype
    np.testing.assert_array_equal(init[0][0], before)
    np.testing.assert_array_equal(output(clone(model).fit(X, y), X), first)
    np.testing.assert_array_equal(output(model.fit(X, y), X), first)
    sparse = clone(model).fit(scipy.sparse.csr_matrix(X), y)
    np.testing.assert_allclose(output(sparse, X), first, rtol=1e-9 if dtype == np.float64 else 1e-3, atol=1e-4)
    # A warm start and partial_fit go on from coefs_, as ever.
    model.set_params(warm_start=True, max_iter=1, solver="sgd", learning_rate_init=1e-300)
    np.testing.assert_array_equal(output(model.fit(X, y), X), first)


def test_the_rows_come_in_the_order_of_the_first_draws():
    _, X, y = problem("regression")
    zeros = ([np.zeros((10, 1))], [np.zeros(1)])
    given, named = (
        estimator("regression", hidden_layer_sizes=(), init=init, batch_size=1).fit(X, y) for init in (zeros, "zeros")
    )
    np.testing.assert_array_equal(given.coefs_[0], named.coefs_[0])


GOOD = ([np.zeros((10, 8)), np.zeros((8, 1))], [np.zeros(8), np.zeros(1)])


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ((), "init must be a name or arrays of numbers"),
        ((GOOD[0],), "init must be a name or arrays of numbers"),
        ((*GOOD, GOOD[1]), "init must be a name or arrays of numbers"),
        ((GOOD[0], None), "init must be a name or arrays of numbers"),
        ((GOOD[0], [["a"] * 8, np.zeros(1)]), "init must be a name or arrays of numbers"),
        ((GOOD[0], [np.zeros(8)]), r"must have the shapes .*\(10, 8\), \(8, 1\).*got .*\[\(8,\)\]"),
        (([GOOD[0][0].T, GOOD[0][1]], GOOD[1]), r"must have the shapes .*got .*\(8, 10\)"),
        ((GOOD[0], [np.zeros(8), np.array([np.nan])]), "arrays of init must be finite"),
    ],
    ids=str,
)
def test_arrays_that_do_not_fit(init, message):
    _, X, y = problem("regression")
    with pytest.raises(ValueError, match=message):
        estimator("regression", init=init).fit(X, y)
