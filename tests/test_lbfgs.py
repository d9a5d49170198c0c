"""solver="lbfgs" of the MLP estimators. That the first iterations are scikit-learn's is tested in test_parity.py."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.neural_network
from sklearn.base import clone

import nnfast
from estimators import TARGETS, both, estimator, fitted, outcome, output, problem
from nnfast import _training


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("target", TARGETS)
def test_attributes_are_scikit_learns(target, early_stopping):
    _, X, y = problem(target)
    models = both(target, solver="lbfgs", early_stopping=early_stopping)
    ours, theirs = ({n for n in vars(m.fit(X, y)) if n.endswith("_") and n[0] != "_"} for m in models)
    assert ours == theirs | {"history_"}
    assert "loss_" in ours
    assert not {"loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_"} & ours


def test_attributes_of_a_stochastic_fit_do_not_stay():
    _, X, y = problem("regression")
    model = estimator("regression").fit(X, y).set_params(solver="lbfgs").fit(X, y)
    assert not hasattr(model, "loss_curve_")
    model.set_params(solver="sgd", warm_start=True).fit(X, y)
    assert len(model.loss_curve_) == 5
    assert model.t_ == 5 * len(X)


@pytest.mark.parametrize(
    "parameters", [{"max_iter": 3}, {"max_iter": 1000, "max_fun": 5}, {"max_iter": 1000, "tol": 1.0}], ids=str
)
@pytest.mark.parametrize("target", ["multiclass", "regression"])
def test_warnings_and_counts_are_scikit_learns(target, parameters):
    _, X, y = problem(target)
    models = both(target, solver="lbfgs", **parameters)
    ours, theirs = (outcome(lambda m=m: m.fit(X, y)) for m in models)
    assert ours == theirs
    assert ours[0] is None
    assert (len(ours[1]) == 0) == ("tol" in parameters)
    assert models[0].n_iter_ == models[1].n_iter_
    assert models[0].loss_ == pytest.approx(models[1].loss_, rel=1e-8)


@pytest.mark.parametrize("target", ["binary", "multiclass", "multilabel", "regression", "poisson"])
def test_converges_to_a_loss_as_low_as_scikit_learns(target):
    _, X, y = problem(target)
    ours, theirs = (m.fit(X, y) for m in both(target, solver="lbfgs", alpha=1.0, max_iter=5000, tol=1e-6))
    assert ours.n_iter_ < 5000
    # Either may end in a little better a minimum; of a penalty so strong there are few.
    assert ours.loss_ <= theirs.loss_ * 1.01


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_loss_of_several_outputs_goes_with_its_gradient(loss, weighted):
    """At the minimum no slope is left; scikit-learn minimises a mean of the outputs by the slope of their sum."""
    _, X, y = problem("outputs")
    y = np.exp(y / 2) if loss == "poisson" else y
    weights = np.random.RandomState(0).gamma(1.0, size=len(X)) if weighted else None
    parameters = {"loss": loss, "solver": "lbfgs", "activation": "tanh", "alpha": 0.5, "max_iter": 5000, "tol": 1e-8}
    model = estimator("outputs", **parameters).fit(X, y, weights)

    def objective(theta):
        other = clone(model)
        sizes = [w.size for w in model.coefs_ + model.intercepts_]
        parts = np.split(theta, np.cumsum(sizes)[:-1])
        other.coefs_ = [p.reshape(w.shape) for p, w in zip(parts, model.coefs_, strict=False)]
        other.intercepts_ = parts[2:]
        other.n_layers_, other.n_outputs_, other.out_activation_ = 3, 3, model.out_activation_
        p = other.predict(X)
        losses = (y - p) ** 2 / 2 if loss == "squared_error" else y * np.log(y / p) - y + p
        total = len(X) if weights is None else weights.sum()
        penalty = 0.25 * sum((w**2).sum() for w in other.coefs_) / total
        return np.average(losses.sum(axis=1), weights=weights) + penalty

    def steepest(theta):
        steps = 1e-5 * np.eye(len(theta))
        return max(abs(objective(theta + h) - objective(theta - h)) / 2e-5 for h in steps)

    theta = np.concatenate([w.ravel() for w in model.coefs_ + model.intercepts_])
    assert objective(theta) == pytest.approx(model.loss_, rel=1e-12)
    # L-BFGS-B stops when a step gains less than 2e-9 of the loss: with a curvature of 100 in the direction of the
    # slope (assumed, not measured) that is a slope of sqrt(2 * 100 * 2e-9 * loss).
    most = np.sqrt(4e-7 * model.loss_)
    assert steepest(theta) < most
    # A penalty n_outputs times as heavy, as from a loss that is the mean of the outputs, has its minimum elsewhere.
    wrong = estimator("outputs", **parameters | {"alpha": 1.5}).fit(X, y, weights)
    assert steepest(np.concatenate([w.ravel() for w in wrong.coefs_ + wrong.intercepts_])) > 3 * most


@pytest.mark.parametrize("target", ["multiclass", "regression"])
def test_float32_gives_float32_and_is_near_float64(target):
    _, X, y = problem(target)
    wide = estimator(target, solver="lbfgs", max_iter=10).fit(X, y)
    narrow = estimator(target, solver="lbfgs", max_iter=10).fit(X.astype(np.float32), y)
    assert {w.dtype for w in narrow.coefs_ + narrow.intercepts_} == {np.dtype(np.float32)}
    assert output(narrow, X.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(output(narrow, X), output(wide, X), rtol=5e-3, atol=5e-3)


def test_warm_start_goes_on_from_the_weights():
    _, X, y = problem("regression")
    parameters = {"solver": "lbfgs", "warm_start": True, "max_iter": 5}
    ours, theirs = (m.fit(X, y).fit(X, y) for m in both("regression", **parameters))
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-6)
    assert ours.loss_ < estimator("regression", **parameters).fit(X, y).loss_
    ours.coefs_[0][:], ours.intercepts_[0][:] = 0, 0
    ours.set_params(activation="identity", max_iter=1).fit(X, y)
    assert ours.coefs_[0].any()


class CtrlC:
    """An objective at whose n-th evaluation the user presses Ctrl-C."""

    def __init__(self, n):
        self.n = n

    def __call__(self, evaluate):
        def interrupted(objective, theta):
            self.n -= 1
            if self.n < 0:
                raise KeyboardInterrupt
            return evaluate(objective, theta)

        return interrupted


@pytest.mark.parametrize("evaluations", [0, 1, 8])
@pytest.mark.parametrize("target", ["multiclass", "regression"])
def test_interrupted_minimisation_leaves_the_last_iterate(target, evaluations, monkeypatch):
    _, X, y = problem(target)
    start = estimator(target, max_iter=1, solver="sgd", learning_rate_init=1e-300).fit(X, y)
    model = estimator(target, solver="lbfgs", max_iter=100)
    evaluate = _training.Objective.__call__
    monkeypatch.setattr(_training.Objective, "__call__", CtrlC(evaluations)(evaluate))
    with pytest.warns(UserWarning, match=r"^Training interrupted by user\.$"):
        assert model.fit(X, y) is model
    monkeypatch.undo()
    if evaluations == 8:
        same = estimator(target, solver="lbfgs", max_iter=model.n_iter_).fit(X, y)
        assert 1 < model.n_iter_ < 8
        assert model.loss_ == same.loss_
    else:
        same = start
        assert model.n_iter_ == 0
    np.testing.assert_array_equal(output(model, X), output(same, X))


def test_hopeless_data_gives_scikit_learns_warning_and_the_first_weights():
    _, X, y = problem("regression")
    models = both("regression", solver="lbfgs")
    ours, theirs = (outcome(lambda m=m: m.fit(X * 1e200, y)) for m in models)
    assert ours == theirs
    assert "ABNORMAL" in ours[1][0][1]
    for got, want in zip(models[0].coefs_, models[1].coefs_, strict=True):
        np.testing.assert_array_equal(got, want)
    assert np.isnan(models[0].loss_) and np.isnan(models[1].loss_)


def test_silent_and_pickles(capsys):
    import pickle

    model, X, _ = fitted("multiclass", solver="lbfgs")
    assert capsys.readouterr() == ("", "")
    other = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(output(other, X), output(model, X))
    assert [w.flags.writeable for w in model.coefs_] == [True, True]


def test_verbose_prints_what_scikit_learn_prints(capfd):
    _, X, y = problem("regression")
    printed = []
    for package in (nnfast, sklearn.neural_network):
        estimator("regression", package, solver="lbfgs", verbose=True).fit(X, y)
        printed.append(len(capfd.readouterr().out.splitlines()))
    assert printed[0] == printed[1]
