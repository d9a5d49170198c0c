"""What a fit tells of its course, and how long it may take: history_, verbose=k and max_time."""

from __future__ import annotations

import math
import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning

from estimators import TARGETS, estimator, needs_callbacks, output, problem
from nnfast import MLP
from nnfast._schedules import schedule_for

KEYS = ["loss", "validation_loss", "validation_score", "learning_rate", "gradient_norm", "seconds"]
SOLVERS = ("adam", "sgd", "lbfgs")


def assert_history(model, n):
    """n sound lines, and those of the curves."""
    history = model.history_
    assert list(history) == KEYS
    assert {len(column) for column in history.values()} == {n}
    assert history["loss"] == model.loss_curve_
    assert all(0 < seconds < math.inf for seconds in history["seconds"])
    assert {type(value) for column in history.values() for value in column} == {float}
    if model.validation_scores_ is None:
        assert np.isnan(history["validation_loss"]).all() and np.isnan(history["validation_score"]).all()
    else:
        np.testing.assert_array_equal(history["validation_loss"], model.validation_loss_curve_)
        np.testing.assert_array_equal(history["validation_score"], model.validation_scores_)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("target", TARGETS)
def test_history_has_the_curves(target, early_stopping, dtype):
    _, X, y = problem(target)
    model = estimator(target, early_stopping=early_stopping).fit(X.astype(dtype), y)
    assert_history(model, 5)
    assert model.history_["learning_rate"] == [0.001] * 5


def test_history_has_the_rate_of_the_last_step():
    _, X, y = problem("multiclass")
    model = estimator("multiclass", learning_rate="cosine", warmup=1, batch_size=40, tol=0).fit(X, y)
    schedule, want = schedule_for(model), []
    for _ in range(5):
        want.append(schedule.rates(4)[-1])
        schedule.epoch_ended(0)
    assert model.history_["learning_rate"] == want
    model = estimator("multiclass", solver="sgd", learning_rate="invscaling").fit(X, y)
    want = [0.001 / (len(X) * epoch + 1) ** 0.5 for epoch in range(5)]
    np.testing.assert_allclose(model.history_["learning_rate"], want, rtol=1e-15)


def test_history_has_the_norm_of_the_gradient_with_clip_norm():
    """The mean over the steps, before clipping; inf clips nothing."""
    _, X, y = problem("multiclass")
    plain, measured, clipped = (
        estimator("multiclass", batch_size=50, shuffle=False, max_iter=2, clip_norm=limit).fit(X, y)
        for limit in (None, np.inf, 0.1)
    )
    assert np.isnan(plain.history_["gradient_norm"]).all()
    np.testing.assert_array_equal(plain.coefs_[0], measured.coefs_[0])
    assert measured.loss_curve_ == plain.loss_curve_
    network = MLP((13, 8, 3), loss="log_loss", alpha=1e-4, dtype="float64", random_state=0)
    norms = []
    for _ in range(2):
        for first in range(0, len(X), 50):
            rows = slice(first, first + 50)
            gradients = network.gradients(X[rows], np.eye(3)[y[rows]])
            norms.append(np.sqrt(sum((part**2).sum() for part in gradients[0] + gradients[1])))
            network.train_epoch(X[rows], np.eye(3)[y[rows]], 50)
    np.testing.assert_allclose(
        measured.history_["gradient_norm"], np.mean(np.reshape(norms, (2, -1)), axis=1), rtol=1e-9
    )
    assert min(norms) > 0.1 < clipped.history_["gradient_norm"][0] != measured.history_["gradient_norm"][0]


def test_history_of_lbfgs_has_the_norm_of_the_gradient():
    _, X, y = problem("regression")
    model = estimator("regression", solver="lbfgs", alpha=0.0).fit(X, y)
    network = MLP((X.shape[1], 8, 1), dtype="float64", start=(model.coefs_, model.intercepts_))
    gradients = network.gradients(X, y)
    norm = np.sqrt(sum((part**2).sum() for part in gradients[0] + gradients[1]))
    assert model.history_["gradient_norm"][-1] == pytest.approx(norm, rel=1e-9)
    assert model.history_["gradient_norm"][0] > norm


@pytest.mark.parametrize("scoring", [None, "loss"])
def test_history_goes_on(scoring):
    _, X, y = problem("multiclass")
    model = estimator("multiclass", warm_start=True, scoring=scoring).fit(X, y, X_val=X[:50], y_val=y[:50])
    assert_history(model, 5)
    model = pickle.loads(pickle.dumps(model)).fit(scipy.sparse.csr_matrix(X), y, X_val=X[:50], y_val=y[:50])
    assert_history(model, 10)
    model.partial_fit(X, y, sample_weight=np.ones(len(y)))
    assert model.history_["loss"] == model.loss_curve_
    assert len(model.history_["seconds"]) == 11
    assert math.isnan(model.history_["validation_loss"][-1])  # partial_fit has no validation rows
    assert_history(model.set_params(warm_start=False).fit(X, y), 5)


def test_history_of_lbfgs():
    _, X, y = problem("multiclass")
    model = estimator("multiclass", solver="lbfgs", warm_start=True).fit(X, y)
    history = model.history_
    assert list(history) == KEYS
    assert {len(column) for column in history.values()} == {model.n_iter_} == {5}
    assert history["loss"][-1] == model.loss_
    assert sorted(history["loss"], reverse=True) == history["loss"]
    assert np.isnan([history[name] for name in KEYS[1:4]]).all()
    assert all(0 < seconds < math.inf for seconds in history["seconds"])
    assert len(model.fit(X, y).history_["loss"]) == 10


def test_history_after_an_interruption_has_whole_lines():
    _, X, y = problem("regression")

    def scorer(model, X, y):
        if len(model.loss_curve_) == 3:
            raise KeyboardInterrupt
        return model.score(X, y)

    model = estimator("regression", scoring=scorer)
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(X, y, X_val=X, y_val=y)
    assert {len(column) for column in model.history_.values()} == {2}


# ---- verbose --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 3, 7, 100])
@pytest.mark.parametrize("validated", [False, True])
def test_verbose_k_prints_the_first_and_every_kth_epoch(k, validated, capsys):
    _, X, y = problem("regression")
    data = {"X_val": X, "y_val": y} if validated else {}
    every = estimator("regression", max_iter=12, verbose=True).fit(X, y, **data)
    lines = np.array(capsys.readouterr().out.splitlines()).reshape(12, -1)
    model = estimator("regression", max_iter=12, verbose=k).fit(X, y, **data)
    assert capsys.readouterr().out.splitlines() == lines[[0, *range(k - 1, 12, k)]].ravel().tolist()
    np.testing.assert_array_equal(output(model, X), output(every, X))


def test_verbose_k_counts_through_partial_fit(capsys):
    _, X, y = problem("regression")
    model = estimator("regression", verbose=3)
    for _ in range(7):
        model.partial_fit(X, y)
    want = [f"Iteration 1, loss = {model.loss_curve_[i]:.8f}" for i in (0, 2, 5)]
    assert capsys.readouterr().out.splitlines() == want


def test_verbose_k_says_why_training_stopped(capsys):
    _, X, y = problem("regression")
    estimator("regression", max_iter=50, verbose=40, tol=10.0, n_iter_no_change=2).fit(X, y)
    _, line = capsys.readouterr().out.splitlines()
    assert line == "Training loss did not improve more than tol=10.000000 for 2 consecutive epochs. Stopping."


# ---- max_time -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("target", ["multiclass", "regression"])
def test_no_time_is_one_epoch(target, solver, early_stopping):
    _, X, y = problem(target)
    model = estimator(target, solver=solver, early_stopping=early_stopping, max_time=1e-12)
    name = "lbfgs" if solver == "lbfgs" else "Stochastic Optimizer"
    message = rf"^{name}: Maximum time \(1e-12 seconds\) reached and the optimization hasn't converged yet\.$"
    with pytest.warns(ConvergenceWarning, match=message) as caught:
        model.fit(X, y)
    assert len(caught) == 1
    assert model.n_iter_ == len(model.history_["seconds"]) == 1
    one = estimator(target, solver=solver, early_stopping=early_stopping, max_iter=1).fit(X, y)
    np.testing.assert_array_equal(output(model, X), output(one, X))


@pytest.mark.parametrize("solver", SOLVERS)
def test_time_enough_changes_nothing(solver):
    _, X, y = problem("multiclass")
    one, other = (estimator("multiclass", solver=solver, max_time=time).fit(X, y) for time in (None, 1e9))
    np.testing.assert_array_equal(output(one, X), output(other, X))
    assert one.n_iter_ == other.n_iter_ == 5


def test_the_end_has_one_reason():
    _, X, y = problem("multiclass")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator("multiclass", max_time=1e-12).partial_fit(X, y, classes=np.unique(y))
    with pytest.warns(ConvergenceWarning) as caught:
        estimator("multiclass", max_iter=1, max_time=1e-12).fit(X, y)
    assert len(caught) == 1


@needs_callbacks
@pytest.mark.parametrize("solver", SOLVERS)
def test_callbacks_see_the_last_epoch(solver):
    from sklearn.callback import ScoringMonitor

    _, X, y = problem("multiclass")
    monitor = ScoringMonitor(scoring="accuracy")
    model = estimator("multiclass", solver=solver, max_time=1e-12).set_callbacks(monitor)
    with pytest.warns(ConvergenceWarning, match="Maximum time"):
        model.fit(X, y)
    assert monitor.get_logs().data[-1]["accuracy"] == model.score(X, y)
