"""The learning rate of every step: the schedules of the MLP estimators and their warm-up, in closed form and in fits.

That the rates of scikit-learn's own schedules are scikit-learn's is tested in test_parity.py.
"""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
import scipy.sparse

import nnfast
from estimators import estimator, output, problem
from nnfast._schedules import schedule_for

STEP_BY_STEP = ("cosine", "one_cycle", "exponential", "step")
SOLVERS = ("adam", "sgd")


def rates(n_epochs, n_steps, **parameters):
    """The rates of all steps of a fit of so many epochs of so many steps."""
    schedule = schedule_for(nnfast.MLPClassifier(max_iter=n_epochs, **parameters))
    epochs = []
    for _ in range(n_epochs):
        epochs.append(np.broadcast_to(schedule.rates(n_steps), n_steps))
        schedule.epoch_ended(0)
    return np.concatenate(epochs)


def one_cycle(t):
    """As PyTorch's OneCycleLR anneals by default: from an initial rate of max / 25 to max, then to initial / 1e4."""

    def anneal(start, end, share):
        return end + (start - end) / 2 * (1 + math.cos(math.pi * share))

    return anneal(1 / 25, 1, t / 0.3) if t < 0.3 else anneal(1, 1 / 25 / 1e4, (t - 0.3) / 0.7)


CLOSED_FORMS = {  # of the k-th step of 8 epochs of 5 steps, from 0
    "cosine": lambda k: (1 + math.cos(math.pi * k / 40)) / 2,
    "one_cycle": lambda k: one_cycle(k / 40),
    "exponential": lambda k: 0.5 ** (k / 15),
    "step": lambda k: 0.5 ** (k // 15),
}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", STEP_BY_STEP)
def test_closed_forms(name, solver):
    decay = {"learning_rate_decay": 0.5, "learning_rate_decay_epochs": 3}
    got = rates(8, 5, learning_rate=name, learning_rate_init=0.3, solver=solver, **decay)
    want = [0.3 * CLOSED_FORMS[name](k) for k in range(40)]
    # A few roundings of numbers of at most 1, of which one_cycle and cosine take differences.
    np.testing.assert_allclose(got, want, rtol=1e-14, atol=4e-16)


def test_a_decay_of_every_epoch_is_pytorchs():
    decay = {"learning_rate_init": 1.0, "learning_rate_decay": 0.9, "learning_rate_decay_epochs": 1}
    for name in ("exponential", "step"):
        first_steps = rates(8, 5, learning_rate=name, **decay)[::5]
        np.testing.assert_allclose(first_steps, [0.9**epoch for epoch in range(8)], rtol=1e-15)
    assert set(rates(40, 2, learning_rate="step")) == {0.001, 0.001 * 0.1}


def test_one_cycle_ends_at_its_floor():
    got = rates(10, 100, learning_rate="one_cycle", learning_rate_init=2.0)
    assert got[0] == pytest.approx(2 / 25, rel=1e-15)
    assert got.argmax() == 300 and got.max() == 2.0
    # One step of 1/700 of the way down before the end: the half cosine is there within (pi / 700)^2 / 4 of its height.
    assert 2 / 25e4 < got[-1] < 2 / 25e4 + 2 * (math.pi / 700) ** 2 / 4


def test_a_callable_is_asked_for_every_step():
    asked = []

    def line(t):
        asked.append(t)
        return 1 - t

    got = rates(4, 5, learning_rate=line, learning_rate_init=0.5)
    np.testing.assert_allclose(asked, np.arange(20) / 20, rtol=1e-15)
    np.testing.assert_array_equal(got, 0.5 * (1 - np.array(asked)))
    assert {type(t) for t in asked} == {float}


@pytest.mark.parametrize("value", [-1e-9, np.nan, np.inf, "a", None, np.ones(2)], ids=str)
def test_bad_values_of_a_callable(value):
    _, X, y = problem("binary")
    model = estimator("binary", learning_rate=lambda t: 1.0 if t < 0.5 else value)
    with pytest.raises(ValueError, match="learning_rate must return finite numbers of at least 0; it returned"):
        model.fit(X, y)
    # The epochs before it stand: 5 epochs of one step, the third at t = 0.4.
    same = estimator("binary", max_iter=3).fit(X, y)
    for one, other in zip(model.coefs_, same.coefs_, strict=True):
        np.testing.assert_array_equal(one, other)


# ---- warm-up --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("warmup", [2, 0.25])
@pytest.mark.parametrize("name", STEP_BY_STEP)
def test_warmup_comes_before_the_schedule(name, warmup):
    decay = {"learning_rate_decay": 0.5, "learning_rate_decay_epochs": 3, "learning_rate_init": 0.3}
    got = rates(8, 5, learning_rate=name, warmup=warmup, **decay)
    rest = rates(6, 5, learning_rate=name, **decay)
    np.testing.assert_allclose(got[:10], rest[0] * np.arange(1, 11) / 10, rtol=1e-14)
    np.testing.assert_allclose(got[10:], rest, rtol=1e-14, atol=4e-16)


@pytest.mark.parametrize("solver", SOLVERS)
def test_warmup_to_a_constant_rate(solver):
    got = rates(6, 4, learning_rate_init=0.5, warmup=1.5 / 6, solver=solver)
    np.testing.assert_allclose(got, 0.5 * np.minimum(np.arange(1, 25) / 6, 1), rtol=1e-15)


def test_warmup_of_rates_that_follow_training():
    schedule = schedule_for(nnfast.MLPClassifier(solver="sgd", learning_rate="invscaling", warmup=2))
    np.testing.assert_allclose(schedule.rates(2), [0.00025, 0.0005], rtol=1e-15)
    schedule.epoch_ended(99)
    np.testing.assert_allclose(schedule.rates(2), [0.000075, 0.0001], rtol=1e-15)
    schedule.epoch_ended(399)
    assert schedule.rates(2) == 0.001 / 20
    schedule = schedule_for(nnfast.MLPClassifier(solver="sgd", learning_rate="adaptive", warmup=1))
    assert schedule.stalled()[0] is False
    np.testing.assert_allclose(schedule.rates(2), [0.0001, 0.0002], rtol=1e-15)


@pytest.mark.parametrize("warmup", [5, 7])
def test_a_warmup_without_end(warmup):
    _, X, y = problem("binary")
    model = estimator("binary").fit(X, y)
    before = [w.copy() for w in model.coefs_]
    with pytest.raises(ValueError, match=f"warmup must be less than max_iter=5, got {warmup}"):
        model.set_params(warmup=warmup).fit(X, y)
    for one, other in zip(model.coefs_, before, strict=True):
        np.testing.assert_array_equal(one, other)


# ---- fits -----------------------------------------------------------------------------------------------------------


def by_hand(model, X, Y, n_epochs, batch_size, step_rates):
    """The network that these rates train, and its losses."""
    dtype = X.dtype
    network = nnfast.MLP(
        (X.shape[1], 8, Y.shape[1]),
        loss="log_loss",
        solver=model.solver,
        alpha=model.alpha,
        dtype=dtype,
        random_state=0,
    )
    losses = []
    for epoch in np.split(step_rates, n_epochs):
        network.learning_rate = epoch
        losses.append(network.train_epoch(X, Y, batch_size))
    return network, losses


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", STEP_BY_STEP)
def test_a_fit_is_a_network_driven_by_hand(name, solver, dtype):
    _, X, y = problem("multiclass")
    X = X.astype(dtype)
    parameters = {"learning_rate": name, "solver": solver, "warmup": 1, "learning_rate_decay_epochs": 2}
    model = estimator("multiclass", shuffle=False, batch_size=40, max_iter=6, tol=0, **parameters).fit(X, y)
    Y = np.eye(3, dtype=dtype)[np.searchsorted(model.classes_, y)]
    network, losses = by_hand(model, X, Y, 6, 40, rates(6, 4, **parameters))
    assert model.loss_curve_ == losses
    for one, other in zip(model.coefs_ + model.intercepts_, network.coefs_ + network.intercepts_, strict=True):
        np.testing.assert_array_equal(one, other)
    constant = estimator("multiclass", shuffle=False, batch_size=40, max_iter=6, solver=solver, tol=0).fit(X, y)
    assert np.abs(constant.coefs_[0] - model.coefs_[0]).max() > 1e-4


def test_a_callable_of_one_is_the_constant_rate():
    _, X, y = problem("multiclass")
    for solver in SOLVERS:
        one = estimator("multiclass", solver=solver).fit(X, y)
        other = estimator("multiclass", solver=solver, learning_rate=lambda t: 1).fit(X, y)
        np.testing.assert_array_equal(output(one, X), output(other, X))


@pytest.mark.parametrize("name", [*STEP_BY_STEP, math.cos])
@pytest.mark.parametrize("solver", SOLVERS)
def test_partial_fit_goes_on_with_the_schedule(name, solver):
    _, X, y = problem("multiclass")
    parameters = {"learning_rate": name, "solver": solver, "shuffle": False, "max_iter": 7, "batch_size": 40, "tol": 0}
    whole = estimator("multiclass", warmup=1, **parameters).fit(X, y)
    single = estimator("multiclass", warmup=1, **parameters)
    for _ in range(7):
        single.partial_fit(X, y, classes=np.unique(y))
        single = pickle.loads(pickle.dumps(single))
    np.testing.assert_array_equal(output(single, X), output(whole, X))
    assert single.loss_curve_ == whole.loss_curve_
    single.partial_fit(X, y)  # beyond max_iter
    assert single._optimizer.learning_rate <= 0.001
    again = copy.deepcopy(whole).fit(X, y)
    np.testing.assert_array_equal(output(again, X), output(whole, X))


def test_after_max_iter_cosine_stands_still():
    _, X, y = problem("regression")
    model = estimator("regression", solver="sgd", momentum=0, learning_rate="cosine", max_iter=2)
    for _ in range(2):
        model.partial_fit(X, y)
    before = output(model, X)
    np.testing.assert_array_equal(output(model.partial_fit(X, y), X), before)


@pytest.mark.parametrize("name", ["cosine", "one_cycle"])
def test_with_everything_else(name):
    """Sparse rows, weights, early stopping and a warm start: sparse and dense rows take the same steps."""
    _, X, y = problem("binary")
    weights = np.random.RandomState(0).uniform(0.5, 2, len(X))
    kinds = []
    for data in (X, scipy.sparse.csr_matrix(X)):
        model = estimator("binary", learning_rate=name, warmup=0.2, early_stopping=True, warm_start=True, batch_size=16)
        first = model.fit(data, y, sample_weight=weights).loss_curve_[0]
        model.fit(data, y, sample_weight=weights)
        assert len(model.loss_curve_) == 10
        assert model.loss_curve_[-1] < first
        kinds.append(output(model, data))
    np.testing.assert_allclose(*kinds, rtol=1e-9)


def test_the_rates_of_a_network_are_as_many_as_its_steps():
    X, Y = np.ones((5, 2), np.float32), np.ones((5, 1), np.float32)
    for solver in SOLVERS:
        network = nnfast.MLP((2, 1), solver=solver, random_state=0)
        network.learning_rate = np.full(2, 0.1)
        with pytest.raises(ValueError, match=r"learning_rate must be a number or an array \(3,\), one a step"):
            network.train_epoch(X, Y, 2)
        network.learning_rate = np.full(3, 0.1)
        other = nnfast.MLP((2, 1), solver=solver, random_state=0, learning_rate_init=0.1)
        assert network.train_epoch(X, Y, 2) == other.train_epoch(X, Y, 2)
        np.testing.assert_array_equal(network.coefs_[0], other.coefs_[0])
