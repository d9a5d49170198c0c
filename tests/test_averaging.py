"""averaging=: means of the weights over epochs, beside the weights of models that stop after each of these epochs."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse

from estimators import TARGETS, estimator, needs_callbacks, output, problem

SOLVERS = ("adam", "sgd")
N = 8


def weights(model):
    return model.coefs_ + model.intercepts_


def raw_weights(target, X, y, **parameters):
    """The weights at the end of each of N epochs, without averaging."""
    models = [estimator(target, max_iter=n, tol=0, **parameters).fit(X, y) for n in range(1, N + 1)]
    return [[w.astype(np.float64) for w in weights(model)] for model in models]


def swa(epochs):
    return [np.mean(layer, axis=0) for layer in zip(*epochs, strict=True)]


def ema(epochs, decay=0.9):
    mean = epochs[0]
    for epoch in epochs[1:]:
        mean = [decay * m + (1 - decay) * w for m, w in zip(mean, epoch, strict=True)]
    return mean


AVERAGES = {"swa": swa, "ema": ema}


def assert_near(model, want):
    # One rounding to the type of the model, and a few of float64 for each of at most 8 epochs.
    eps = np.finfo(model.coefs_[0].dtype).eps
    for one, other in zip(weights(model), want, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=(eps + 1e-15) * np.abs(other).max())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("target", ["multiclass", "regression"])
@pytest.mark.parametrize("name", AVERAGES)
def test_averages(name, target, solver, dtype):
    _, X, y = problem(target)
    X = X.astype(dtype)
    epochs = raw_weights(target, X, y, solver=solver, batch_size=40)
    plain = estimator(target, max_iter=N, tol=0, solver=solver, batch_size=40).fit(X, y)
    for start, first in ((0.0, 0), (0.3, 2), (0.75, 6)):  # 0.3 of 8 epochs are 2.4: the third is the first after them
        parameters = {"max_iter": N, "tol": 0, "solver": solver, "batch_size": 40, "averaging": name}
        model = estimator(target, averaging_start=start, **parameters).fit(X, y)
        assert_near(model, AVERAGES[name](epochs[first:]))
        assert model.coefs_[0].dtype == dtype
        assert model.loss_curve_ == plain.loss_curve_


def test_the_decay():
    _, X, y = problem("regression")
    epochs = raw_weights("regression", X, y)
    model = estimator("regression", max_iter=N, tol=0, averaging="ema", averaging_start=0, averaging_decay=0.25)
    assert_near(model.fit(X, y), ema(epochs, 0.25))
    assert_near(model.set_params(averaging_decay=0.0).fit(X, y), epochs[-1])


@pytest.mark.parametrize("name", AVERAGES)
@pytest.mark.parametrize("target", TARGETS)
def test_validation_scores_are_those_of_the_averages(target, name):
    _, X, y = problem(target)
    parameters = {"tol": 0, "averaging": name, "averaging_start": 0.0}
    model = estimator(target, max_iter=N, **parameters).fit(X, y, X_val=X, y_val=y)
    assert model.validation_scores_[-1] == pytest.approx(model.score(X, y), rel=1e-12)
    scored = estimator(target, max_iter=N, early_stopping=True, scoring=lambda m, X, y: m.coefs_[0][0, 0], **parameters)
    scored.fit(X, y, X_val=X, y_val=y)
    assert scored.coefs_[0][0, 0] == scored.best_validation_score_ == max(scored.validation_scores_)
    assert scored.validation_loss_curve_ == model.validation_loss_curve_


@pytest.mark.parametrize("name", AVERAGES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_partial_fit_goes_on_with_the_weights_themselves(name, solver):
    _, X, y = problem("multiclass")
    parameters = {"solver": solver, "shuffle": False, "max_iter": N, "tol": 0, "averaging": name}
    whole = estimator("multiclass", averaging_start=0.25, **parameters).fit(X, y)
    single = estimator("multiclass", averaging_start=0.25, **parameters)
    for _ in range(N):
        single.partial_fit(X, y, classes=np.unique(y))
        single = pickle.loads(pickle.dumps(single))
    assert single.loss_curve_ == whole.loss_curve_
    for one, other in zip(weights(single), weights(whole), strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_that_the_user_wrote_are_where_training_and_the_average_start():
    _, X, y = problem("regression")
    model = estimator("regression", averaging="swa", averaging_start=0.0, solver="sgd", learning_rate_init=1e-300)
    for _ in range(3):
        model.partial_fit(X, y)
    model.coefs_[0][...] = 0.5
    want = [w.copy() for w in weights(model)]
    for one, other in zip(weights(model.partial_fit(X, y)), want, strict=True):
        np.testing.assert_array_equal(one, other)


@needs_callbacks
def test_with_everything_else():
    from sklearn.callback import ScoringMonitor

    _, X, y = problem("binary")
    row_weights = np.random.RandomState(0).uniform(0.5, 2, len(X))
    kinds = []
    for data in (X, scipy.sparse.csr_matrix(X)):
        monitor = ScoringMonitor(scoring="accuracy")
        model = estimator("binary", averaging="swa", averaging_start=0.2, warm_start=True, learning_rate="cosine")
        model.set_callbacks(monitor).fit(data, y, sample_weight=row_weights)
        assert monitor.get_logs().data[-1]["accuracy"] == model.score(data, y, row_weights)
        first = [w.copy() for w in weights(model)]
        # A warm start begins with the averages.
        model.set_callbacks().set_params(solver="sgd", learning_rate_init=1e-300).fit(
            data, y, sample_weight=row_weights
        )
        for one, other in zip(weights(model), first, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-15)
        kinds.append(output(model, data))
    np.testing.assert_allclose(*kinds, rtol=1e-9)


def test_lbfgs_has_no_averages():
    _, X, y = problem("binary")
    one, other = (estimator("binary", solver="lbfgs", averaging=name).fit(X, y) for name in (None, "swa"))
    np.testing.assert_array_equal(output(one, X), output(other, X))
