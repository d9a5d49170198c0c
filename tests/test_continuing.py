"""Training that goes on from where it was: partial_fit and warm_start of the MLP estimators.

That the numbers are scikit-learn's is tested in test_parity.py.
"""

from __future__ import annotations

import copy
import io
import pickle
import sys

import joblib
import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone

from estimators import TARGETS, both, estimator, fitted, outcome, output, problem
from nnfast import MLP, _core
from nnfast._training import Idle

SOLVERS = {
    "adam": {},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False},
    "nesterov": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 1},
    "adamw": {"solver": "adamw", "weight_decay": 0.3},
    "nadam": {"solver": "nadam", "l1": 0.1, "clip_norm": 0.5},
    "rmsprop": {"solver": "rmsprop"},
    "adagrad": {"solver": "adagrad"},
    "rprop": {"solver": "rprop"},
}


def classes(target):
    """The argument of the first partial_fit."""
    y = problem(target)[2]
    if target in ("binary", "multiclass"):
        return {"classes": np.unique(y)}
    return {"classes": np.arange(y.shape[1])} if target == "multilabel" else {}


def assert_same_state(one, other, X):
    for a, b in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(output(one, X), output(other, X))
    for name in ("loss_curve_", "t_", "n_iter_", "best_loss_", "_no_improvement_count"):
        assert getattr(one, name) == getattr(other, name), name
    assert one._optimizer.learning_rate == other._optimizer.learning_rate


def through_joblib(model):
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return joblib.load(file)


COPIES = {
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "joblib": through_joblib,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("target", ["multiclass", "multilabel", "outputs"])
def test_a_copy_goes_on_with_the_same_bits(target, way, solver):
    _, X, y = problem(target)
    model = estimator(target, **SOLVERS[solver])
    for _ in range(3):
        model.partial_fit(X, y, **classes(target))
    other = COPIES[way](model)
    before = [w.copy() for w in model.coefs_]
    for _ in range(3):
        other.partial_fit(X, y)
    for a, b in zip(before, model.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)  # the copy stands alone
    for _ in range(3):
        model.partial_fit(X, y)
    assert_same_state(model, other, X)
    assert model.t_ == 6 * len(X)
    assert len(model.loss_curve_) == 6


@pytest.mark.parametrize("target", TARGETS)
def test_a_clone_forgets_what_training_has_learnt(target):
    _, X, y = problem(target)
    model = estimator(target)
    first = copy.deepcopy(model.partial_fit(X, y, **classes(target)))
    model.partial_fit(X, y)
    assert vars(clone(model)).keys() == model.get_params().keys()
    assert_same_state(clone(model).partial_fit(X, y, **classes(target)), first, X)


def test_epochs_one_by_one_are_a_fit_without_shuffling():
    _, X, y = problem("multiclass")
    whole = estimator("multiclass", shuffle=False, max_iter=7).fit(X, y)
    single = estimator("multiclass", shuffle=False, max_iter=7)
    for _ in range(7):
        single.partial_fit(X, y, **classes("multiclass"))
    assert single.n_iter_ == 1
    single.n_iter_ = 7
    assert_same_state(whole, single, X)


def test_an_int_seed_repeats_the_order_of_the_rows():
    _, X, y = problem("multiclass")
    models = []
    for seed in (0, np.random.RandomState(0)):
        model = estimator("multiclass", random_state=seed, batch_size=10)
        for _ in range(3):
            model.partial_fit(X, y, **classes("multiclass"))
        models.append(model)
    seeded, drawn = models
    assert seeded.loss_curve_[0] == drawn.loss_curve_[0]  # weights and order of the first epoch
    assert seeded.loss_curve_[2] != drawn.loss_curve_[2]
    repeated = estimator("multiclass", batch_size=10)
    for call in range(3):
        # After the first call no weights are drawn: the order is that of a generator fresh from the seed.
        rng = np.random.RandomState(0)
        if call == 0:
            for coef, intercept in zip(seeded.coefs_, seeded.intercepts_, strict=True):
                rng.uniform(size=coef.size + intercept.size)
        order = rng.permutation(len(X))
        repeated.set_params(shuffle=call == 0)  # the first call draws the same weights and order itself
        rows = slice(None) if call == 0 else order
        repeated.partial_fit(X[rows], y[rows], **classes("multiclass"))
    assert repeated.loss_curve_ == seeded.loss_curve_


@pytest.mark.parametrize("target", ["multiclass", "regression"])
def test_weights_given_before_any_fit_are_where_training_starts(target):
    _, X, y = problem(target)
    reference = estimator(target, max_iter=1, shuffle=False).fit(X, y)
    for dtype in (np.float64, np.float32, int):
        ours, theirs = both(target, shuffle=False)
        for model in (ours, theirs):
            rng = np.random.RandomState(1)
            draw = [rng.uniform(-0.6, 0.6, c.shape) for c in reference.coefs_]  # no probability is clipped
            model.coefs_ = [np.round(w).astype(int) if dtype is int else w.astype(dtype) for w in draw]
            model.intercepts_ = [np.zeros(i.shape, dtype) for i in reference.intercepts_]
        ours.partial_fit(X, y, **classes(target))
        assert ours.coefs_[0].dtype == (np.float32 if dtype == np.float32 else np.float64)
        # scikit-learn asks for more than the weights, and cannot train whole numbers.
        theirs.coefs_ = [c.astype(float) for c in theirs.coefs_]
        theirs.intercepts_ = [i.astype(float) for i in theirs.intercepts_]
        start = {"n_layers_": 3, "out_activation_": reference.out_activation_, "t_": 0, "best_loss_": np.inf}
        vars(theirs).update(start, loss_curve_=[], _no_improvement_count=0)
        theirs.partial_fit(X, y, **classes(target))
        rtol = 1e-4 if dtype == np.float32 else 1e-8
        np.testing.assert_allclose(output(ours, X), output(theirs, X), rtol=rtol, atol=rtol)
        assert ours.loss_ == pytest.approx(theirs.loss_, rel=rtol)


@pytest.mark.parametrize("first", [np.float32, np.float64])
def test_data_of_another_dtype_does_not_change_that_of_the_weights(first):
    _, X, y = problem("regression")
    (second,) = {np.float32, np.float64} - {first}
    model = estimator("regression").partial_fit(X.astype(first), y)
    same = copy.deepcopy(model).partial_fit(X.astype(np.float32).astype(first), y)
    model.partial_fit(X.astype(np.float32).astype(second), y)
    assert all(w.dtype == first for w in model.coefs_ + model.intercepts_)
    assert_same_state(model, same, X.astype(first))


def test_weights_of_other_layers_are_an_error():
    model, X, y = fitted("regression")
    good = copy.deepcopy(model).partial_fit(X, y)
    for coefs in ([*model.coefs_, np.ones((1, 1))], [model.coefs_[0], np.ones((8, 2))], [model.coefs_[0][:, :-1]]):
        broken = copy.deepcopy(model)
        broken.coefs_ = coefs
        with pytest.raises(ValueError):
            broken.partial_fit(X, y)
    for change in ({"hidden_layer_sizes": (8, 8)}, {"hidden_layer_sizes": ()}):
        with pytest.raises(ValueError, match=r"Only a new fit with warm_start=False can change them so\."):
            clone(model).set_params(warm_start=True).fit(X, y).set_params(**change).fit(X, y)
    assert_same_state(model.partial_fit(X, y), good, X)


def test_more_neurons_may_be_given_between_fits():
    """The weights say how large a hidden layer is; hidden_layer_sizes is read when they are drawn, as scikit-learn."""
    for model in both("regression", warm_start=True):
        _, X, y = problem("regression")
        model.fit(X, y).set_params(hidden_layer_sizes=(11,)).fit(X, y)
        assert model.coefs_[0].shape == (10, 8)
        model.coefs_ = [np.hstack([model.coefs_[0]] * 2), np.vstack([model.coefs_[1]] * 2) / 2]
        model.intercepts_ = [np.tile(model.intercepts_[0], 2), model.intercepts_[1]]
        start = model.loss_
        assert model.fit(X, y).coefs_[0].shape == (10, 16)
        assert model.loss_ < start


@pytest.mark.parametrize("target", ["multiclass", "regression"])
def test_the_best_weights_stay_when_a_second_fit_scores_no_better(target):
    # scikit-learn gives back the last weights here: what it keeps as the best it also trains on.
    model, X, y = fitted(target, early_stopping=True, warm_start=True, max_iter=60)
    best = [w.copy() for w in model.coefs_ + model.intercepts_]
    n_scores = len(model.validation_scores_)
    model.best_validation_score_ = 2.0  # no epoch can beat it
    model.set_params(max_iter=3).fit(X, y)
    assert len(model.validation_scores_) > n_scores
    assert model.best_validation_score_ == 2.0
    for a, b in zip(model.coefs_ + model.intercepts_, best, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("target", ["binary", "regression"])
def test_early_stopping_may_come_and_go_between_warm_fits(target):
    model, X, y = fitted(target, warm_start=True)
    model.set_params(early_stopping=True).fit(X, y)
    assert len(model.validation_scores_) == 5
    assert model.best_validation_score_ == max(model.validation_scores_)
    model.set_params(early_stopping=False).fit(X, y)
    assert len(model.loss_curve_) == 15
    assert model.best_loss_ <= min(model.loss_curve_[10:])


# ---- bad input ------------------------------------------------------------------------------------------------------

MISTAKES = {
    "no classes": lambda model, X, y: model.partial_fit(X, y),
    "other classes": lambda model, X, y: model.partial_fit(X, y, classes=[0, 1, 2]).partial_fit(X, y, classes=[0, 1]),
    "unknown class": lambda model, X, y: model.partial_fit(X, y, classes=[0, 1, 2]).partial_fit(X, y + 1),
    "class left out": lambda model, X, y: model.partial_fit(X, y, classes=[0, 1]),
    "unknown class after fit": lambda model, X, y: model.fit(X, y).partial_fit(X, y - 1),
    "fewer classes in a warm start": lambda model, X, y: (
        model.set_params(warm_start=True).fit(X, y).fit(X[y < 2], y[y < 2])
    ),
    "fewer classes in a warm partial_fit": lambda model, X, y: (
        model.set_params(warm_start=True).fit(X, y).partial_fit(X[y < 2], y[y < 2])
    ),
    "early stopping": lambda model, X, y: model.set_params(early_stopping=True).partial_fit(X, y, classes=[0, 1, 2]),
    "columns": lambda model, X, y: model.fit(X, y).partial_fit(X[:, 1:], y),
    "columns of a warm start": lambda model, X, y: model.set_params(warm_start=True).fit(X, y).fit(X[:, 1:], y),
    "lengths": lambda model, X, y: model.partial_fit(X, y[1:], classes=[0, 1, 2]),
    "nan": lambda model, X, y: model.partial_fit(np.full_like(X, np.nan), y, classes=[0, 1, 2]),
    "parameter": lambda model, X, y: model.set_params(alpha=-1.0).partial_fit(X, y, classes=[0, 1, 2]),
    "lbfgs": lambda model, X, y: model.set_params(solver="lbfgs").partial_fit(X, y),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_in_continuing_give_scikit_learns_error(case):
    _, X, y = problem("multiclass")
    ours, theirs = (outcome(lambda m=m: MISTAKES[case](m, X, y)) for m in both("multiclass"))
    assert ours == theirs
    assert ours[0] is not None


@pytest.mark.parametrize(
    "case", ["early stopping", "columns", "columns of a warm start", "lengths", "nan", "parameter"]
)
def test_mistakes_of_a_regression_too(case):
    _, X, y = problem("regression")

    def call(model):
        partial_fit = model.partial_fit
        model.partial_fit = lambda X, y, classes=None: partial_fit(X, y)
        return MISTAKES[case](model, X, y)

    ours, theirs = (outcome(lambda m=m: call(m)) for m in both("regression"))
    assert ours == theirs
    assert ours[0] is not None


@pytest.mark.parametrize("target", ["multiclass", "regression"])
def test_partial_fit_is_there_for_solvers_that_take_steps(target):
    for solver, there in (("adam", True), ("sgd", True), ("lbfgs", False)):
        assert hasattr(estimator(target, solver=solver), "partial_fit") == there
    with pytest.raises(AttributeError) as caught:
        estimator(target, solver="lbfgs").partial_fit(*problem(target)[1:])
    text = "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
    assert str(caught.value.__cause__) == text


def test_classes_of_a_later_call_may_be_missing():
    _, X, y = problem("multiclass")
    ours, theirs = (m.partial_fit(X, y, classes=[0, 1, 2]).partial_fit(X[y < 2], y[y < 2]) for m in both("multiclass"))
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-8)
    assert ours.predict_proba(X).shape == (len(X), 3)


@pytest.mark.parametrize("warm_start", [False, True])
def test_a_refused_call_changes_nothing_of_a_fitted_model(warm_start):
    model, X, y = fitted("multiclass", warm_start=warm_start)
    same = copy.deepcopy(model)
    for bad in (lambda: model.partial_fit(X, y + 1), lambda: model.partial_fit(X[:, 1:], y)):
        with pytest.raises(ValueError):
            bad()
    assert_same_state(model, same, X)
    assert_same_state(model.partial_fit(X, y), same.partial_fit(X, y), X)


def test_interrupted_epoch_leaves_a_model_that_goes_on(monkeypatch):
    class Interrupting:
        def write(self, text):
            raise KeyboardInterrupt

    model, X, y = fitted("regression", verbose=False)
    before = model.t_
    model.verbose = True
    monkeypatch.setattr(sys, "stdout", Interrupting())
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model.partial_fit(X, y)
    monkeypatch.undo()
    model.verbose = False
    assert model.partial_fit(X, y).t_ == before + 2 * len(X)


# ---- the engine between two calls ------------------------------------------------------------------------------------


def halve(model):
    model.coefs_[0] *= 0.5


def replace(model):
    model.coefs_ = [w * 0.5 for w in model.coefs_]
    model.intercepts_ = [w + 1 for w in model.intercepts_]


# What happens to the model in the midst, and how many engines it then takes in all.
CHANGES = {
    "nothing": (lambda model: model, 1),
    "weights in place": (halve, 1),
    "other weights": (replace, 1),
    "predictions": (lambda model: model.predict(problem("multiclass")[1]), 1),
    "a copy that goes on": (lambda model: copy.deepcopy(model).partial_fit(*problem("multiclass")[1:]), 2),
    "alpha": (lambda model: model.set_params(alpha=0.1), 2),
    "activation": (lambda model: model.set_params(activation="tanh"), 2),
    "dropout": (lambda model: model.set_params(dropout=0.5), 2),
    "n_jobs": (lambda model: model.set_params(n_jobs=1), 2),
    "another state": (lambda model: setattr(model._network, "_state", copy.deepcopy(model._network._state)), 2),
}


@pytest.fixture
def engines(monkeypatch):
    """The engines that are made from now on."""
    made = []

    class Counting:
        def __new__(cls, *args, **settings):
            made.append(network(*args, **settings))
            return made[-1]

    network = _core.Network
    monkeypatch.setattr(_core, "Network", Counting)
    return made


@pytest.mark.parametrize("solver", [name for name in SOLVERS if name != "rprop"])
@pytest.mark.parametrize("change", CHANGES)
def test_an_engine_that_is_kept_changes_no_bit(change, solver, engines):
    """Against a model that is copied before every call, and so makes an engine each time."""
    _, X, y = problem("multiclass")
    happens, expected = CHANGES[change]
    kept, fresh = (estimator("multiclass", n_jobs=2, **SOLVERS[solver]) for _ in range(2))
    for call in range(6):
        if call == 3:
            happens(kept)
        rows = slice(20 * call, 20 * call + 30 - call)
        kept.partial_fit(X[rows], y[rows], **classes("multiclass"))
    assert len(engines) == expected
    for call in range(6):
        fresh = copy.deepcopy(fresh)
        if call == 3:
            happens(fresh)
        rows = slice(20 * call, 20 * call + 30 - call)
        fresh.partial_fit(X[rows], y[rows], **classes("multiclass"))
    assert len(engines) >= expected + 6
    assert_same_state(kept, fresh, X)


def test_an_engine_is_kept_for_as_many_rows_as_it_has_room_for(engines):
    _, X, y = problem("regression")
    model = estimator("regression")
    for n, expected in ((20, 1), (10, 1), (20, 1), (21, 2), (20, 2)):
        model.partial_fit(X[:n], y[:n])
        assert len(engines) == expected
    model.partial_fit(csr_array(X[:n]), y[:n])
    assert len(engines) == 3


def test_an_engine_of_another_instruction_set_is_not_gone_on_with(engines):
    _, X, Y = problem("outputs")
    network = MLP((X.shape[1], 8, 3), random_state=0)
    before = _core.active_isa()
    try:
        for isa in ("scalar", before, before):
            _core.select_isa(isa)
            network.train_epoch(X, Y, 32)
    finally:
        _core.select_isa(before)
    assert len(engines) == (1 if before == "scalar" else 2)


def test_shallow_copies_of_a_network_go_their_own_ways():
    """They share the engine that is kept, whose optimizer state is that of one of them."""
    _, X, Y = problem("outputs")
    one = MLP((X.shape[1], 8, 3), random_state=0)
    one.train_epoch(X, Y, 32)
    other, alone = copy.copy(one), copy.deepcopy(one)
    other_alone = copy.deepcopy(one)
    for _ in range(2):
        one.train_epoch(X, Y, 32)
        other.train_epoch(-X, Y, 32)
        alone.train_epoch(X, Y, 32)
        other_alone = copy.deepcopy(other_alone)
        other_alone.train_epoch(-X, Y, 32)
    for a, b in ((one, alone), (other, other_alone)):
        for w, v in zip(a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_, strict=True):
            np.testing.assert_array_equal(w, v)


def test_after_an_error_in_the_midst_of_an_epoch_an_engine_is_made_anew(engines):
    _, X, Y = problem("outputs")
    failing: list[bool] = []  # from the last on: whether a batch fails

    def squares(T, Z):
        if failing and failing.pop():
            raise ZeroDivisionError
        return ((Z - T) ** 2).sum(axis=1) / 2, Z - T

    network = MLP((X.shape[1], 8, 3), loss=squares, random_state=0)
    network.train_epoch(X, Y, 32)
    same = copy.deepcopy(network)
    failing += [True, False]
    with pytest.raises(ZeroDivisionError):
        network.train_epoch(X, Y, 32)
    assert network.n_steps_ == same.n_steps_ + 1
    same.train_epoch(X[:32], Y[:32], 32)
    assert len(engines) == 2
    for one in (network, same):
        one.train_epoch(X, Y, 32)
    assert len(engines) == 3
    for w, v in zip(network.coefs_ + network.intercepts_, same.coefs_ + same.intercepts_, strict=True):
        np.testing.assert_array_equal(w, v)


def test_no_engine_is_kept_by_a_fit_nor_for_a_large_batch(monkeypatch, engines):
    model, X, y = fitted("regression")
    assert model._network._idle._engines == []
    model.partial_fit(X, y)
    assert len(model._network._idle._engines) == 1
    model.fit(X, y)
    assert model._network._idle._engines == []
    monkeypatch.setattr(Idle, "MOST", 2 * 8 * len(X) * (X.shape[1] + 8 + 1) - 1)
    model.partial_fit(X, y)
    assert model._network._idle._engines == []
    model.partial_fit(X[1:], y[1:])
    assert len(model._network._idle._engines) == 1
