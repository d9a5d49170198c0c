"""fit(resume=True): a fit that was cut short goes on to the bits of one that was not."""

from __future__ import annotations

import copy
import inspect
import pickle
import signal
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning

import nnfast
from estimators import TARGETS, estimator, fitted, output, problem
from nnfast import MLPClassifier, MLPRegressor
from nnfast._base import BaseMLP
from nnfast._training import Progress, Training

PACKAGE = str(Path(nnfast.__file__).parent)
SETTINGS = {
    "plain": {},
    "sgd": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 1},
    "nadam": {"solver": "nadam", "clip_norm": 0.2, "l1": 0.1, "weight_decay": 0.1},
    "rprop": {"solver": "rprop", "batch_size": "auto"},
    "not shuffled": {"shuffle": False},
    "early stopping": {"early_stopping": True, "learning_rate_init": 0.1, "n_iter_no_change": 2},
    "averages": {"averaging": "ema", "averaging_start": 0.2, "learning_rate": "one_cycle", "warmup": 1},
    "averages, early stopping": {"averaging": "swa", "averaging_start": 0.2, "early_stopping": True},
    "dropout": {"dropout": 0.3, "activation": ["gelu"]},
}
RECORDS = ("loss_curve_", "validation_scores_", "validation_loss_curve_", "best_loss_", "best_validation_score_", "t_")


def assert_same(one, other, X):
    for a, b in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(output(one, X), output(other, X))
    for name in (*RECORDS, "n_iter_", "loss_", "_no_improvement_count"):
        assert getattr(one, name) == getattr(other, name), name
    for name, values in one.history_.items():
        if name != "seconds":
            np.testing.assert_array_equal(values, other.history_[name])
    assert one._network.n_steps_ == other._network.n_steps_


def cut_short(model, X, y, **data):
    """The fit, which KeyboardInterrupt ends."""
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        return model.fit(X, y, **data)


def quietly(call):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return call()


def line_of(function, text):
    """The number of the one line in the source of the function that has this text."""
    lines, first = inspect.getsourcelines(function)
    (number,) = (i for i, line in enumerate(lines) if text in line)
    return first + number


class InterruptAtLine:
    """Raises KeyboardInterrupt at the k-th line of this package that runs in the epochs of `_train`."""

    begin = line_of(BaseMLP._train, "while self.n_iter_")
    end = line_of(BaseMLP._train, "except KeyboardInterrupt:")

    def __init__(self, k):
        self.left = k
        self.over = False

    def __enter__(self):
        self.old = sys.gettrace()
        sys.settrace(self)
        return self

    def __exit__(self, *_):
        sys.settrace(self.old)

    def __call__(self, frame, event, _):
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        inside = frame
        while inside is not None and inside.f_code is not BaseMLP._train.__code__:
            inside = inside.f_back
        if event == "line" and inside is not None and inside.f_lineno >= self.begin and not self.over:
            self.over = frame is inside and frame.f_lineno >= self.end
            self.left -= not self.over
            if self.left == 0:
                self.over = True
                raise KeyboardInterrupt
        return self


@pytest.mark.parametrize("setting", SETTINGS)
def test_cut_short_at_any_line(setting, tmp_path):
    """Ctrl-C at each line of Python that runs in the epochs of the fit that does most, at every seventh of others.
    Pickled, saved or neither, it goes on as if nothing had been."""
    target = "binary"
    _, X, y = problem(target)
    settings = {"max_iter": 3, "batch_size": 64} | SETTINGS[setting]
    whole = quietly(lambda: estimator(target, **settings).fit(X, y))
    n_cut, every = 0, 1 if setting == "averages, early stopping" else 7
    for k in range(1 + len(setting) % every, 10_000, every):
        model = estimator(target, **settings)
        with InterruptAtLine(k) as line, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(X, y)
        if line.left > 0:
            break
        assert "Training interrupted by user." in {str(w.message) for w in caught}
        assert model._unfinished is not None
        n_cut += 1
        if n_cut % 3 == 1:
            model = pickle.loads(pickle.dumps(model))
        if n_cut % 3 == 2:
            nnfast.save(model, tmp_path / "model")
            model = nnfast.load(tmp_path / "model")
        quietly(lambda m=model: m.fit(X, y, resume=True))
        assert_same(model, whole, X)
    assert n_cut * every > 100


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("setting", [name for name in SETTINGS if "averages" not in name])
def test_more_epochs_than_were_planned(setting, target):
    """max_iter raised twice. Averages, and a schedule over all epochs, have to know them from the start."""
    _, X, y = problem(target)
    settings = {"batch_size": 64} | SETTINGS[setting]
    whole = quietly(lambda: estimator(target, max_iter=7, **settings).fit(X, y))
    model = quietly(lambda: estimator(target, max_iter=2, **settings).fit(X, y))
    for max_iter in (3, 7):
        model = copy.deepcopy(model).set_params(max_iter=max_iter)
        quietly(lambda m=model: m.fit(X, y, resume=True))
    assert_same(model, whole, X)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
@pytest.mark.parametrize("early_stopping", [False, True])
def test_cut_short_in_the_midst_of_an_epoch(early_stopping):
    """The engine, by a signal: some steps of the epoch are done, the others follow. Sparse rows with weights."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40_000, 20)) * (rng.random((40_000, 20)) < 0.5)
    y, weights, data = X[:, 0] > X[:, 1], rng.random(len(X)), scipy.sparse.csr_array(X)
    settings = {"batch_size": 8, "max_iter": 2, "random_state": 0, "early_stopping": early_stopping, "dropout": 0.1}
    whole = quietly(lambda: MLPClassifier((200, 200), **settings).fit(data, y, weights))
    model = MLPClassifier((200, 200), n_jobs=1, **settings)

    def ring(_, frame):
        if frame.f_code is Training.epoch.__code__:
            raise KeyboardInterrupt
        signal.setitimer(signal.ITIMER_REAL, 0.02)

    old = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.06)  # an epoch takes 0.3 s or more, and hears it every 0.05 s
        cut_short(model, data, y, sample_weight=weights)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    progress = Progress(*model._unfinished.progress)
    assert 0 < progress.rows < len(X) and progress.rows % 8 == 0 and progress.steps == progress.rows // 8
    model = pickle.loads(pickle.dumps(model)).set_params(n_jobs=2)
    quietly(lambda: model.fit(data, y, weights, resume=True))
    assert_same(model, whole, X)


def test_cut_short_between_two_calls_of_ones_own_loss():
    _, X, y = problem("outputs")
    calls = []

    def loss(y, raw):
        calls.append(0)
        if len(calls) == 9 + 3 + 2:  # checked nine times, an epoch of three batches, one step
            raise KeyboardInterrupt
        return 0.5 * ((raw - y) ** 2).sum(axis=1), raw - y

    settings = {"batch_size": 64, "loss": loss, "alpha": 0.1}
    model = cut_short(estimator("outputs", **settings), X, y)
    assert model._unfinished.progress[3] == 64 and model.n_iter_ == 1
    quietly(lambda: model.fit(X, y, resume=True))
    assert_same(model, quietly(lambda: estimator("outputs", **settings).fit(X, y)), X)


def test_cut_short_by_time_and_by_validation_data():
    _, X, y = problem("regression")
    data = {"X_val": X[:40], "y_val": y[:40], "sample_weight_val": np.arange(40.0)}
    settings = {"early_stopping": True, "scoring": "neg_mean_absolute_error", "max_iter": 6}
    whole = quietly(lambda: estimator("regression", **settings).fit(X, y, **data))
    model = estimator("regression", max_time=1e-9, **settings)
    for epoch in range(1, 7):
        quietly(lambda: model.fit(X, y, resume=True, **data))
        assert model.n_iter_ == epoch
    assert_same(model, whole, X)


def test_a_fit_that_has_converged_stays_and_one_that_has_not_begun_begins():
    _, X, y = problem("regression")
    model = estimator("regression", tol=1e3, n_iter_no_change=2, max_iter=50).fit(X, y, resume=True)
    assert model.n_iter_ < 50
    before = [w.tobytes() for w in model.coefs_]
    assert model.fit(X, y, resume=True) is model
    assert before == [w.tobytes() for w in model.coefs_]
    assert_same(model, estimator("regression", tol=1e3, n_iter_no_change=2, max_iter=50).fit(X, y), X)


def test_partial_fit_and_another_fit_end_what_could_be_resumed():
    model, X, y = fitted("regression", max_iter=2)
    model.partial_fit(X, y)
    with pytest.raises(ValueError, match="There is no fit to resume"):
        model.fit(X, y, resume=True)
    lbfgs = fitted("regression", solver="lbfgs")[0]
    with pytest.raises(ValueError, match="There is no fit to resume"):
        lbfgs.fit(X, y, resume=True)
    model.fit(X, y).set_params(max_iter=3)
    quietly(lambda: model.fit(X, y, resume=True))
    assert_same(model, fitted("regression", max_iter=3)[0], X)


def test_what_does_not_fit_the_fit_that_is_resumed():
    model, X, y = fitted("multiclass", max_iter=2)
    for change, message in {
        "rows": (lambda m: m.fit(X[:-1], y[:-1], resume=True), "It takes the same data"),
        "columns": (lambda m: m.fit(X[:, :5], y, resume=True), "features"),
        "classes": (lambda m: m.fit(X, y + 1, resume=True), "classes not in"),
    }.values():
        with pytest.raises(ValueError, match=message):
            change(copy.deepcopy(model))


@pytest.mark.parametrize("batch_size", [100, 7, 1000])
def test_another_batch_size_in_the_midst_of_an_epoch(batch_size):
    """The rest of the epoch has no whole batches, or rates of its own: refused before anything is read."""
    X = np.random.default_rng(0).standard_normal((1000, 3))
    model = MLPRegressor(hidden_layer_sizes=(3,), batch_size=1, max_iter=1)
    quietly(lambda: model.fit(X, X[:, 0]))
    model._unfinished.progress = (0.0, 0.0, 0.0, 950, 950)
    with pytest.raises(ValueError, match=f"batch_size={batch_size} .* began with another"):
        model.set_params(batch_size=batch_size, max_iter=3).fit(X, X[:, 0], resume=True)


def test_other_validation_than_the_fit_began_with():
    _, X, y = problem("regression")
    for before, after, data in (
        ({}, {"early_stopping": True}, {}),
        ({"early_stopping": True}, {"early_stopping": False}, {}),
        ({}, {}, {"X_val": X[:20], "y_val": y[:20]}),
    ):
        model = quietly(lambda before=before: estimator("regression", **before).fit(X, y)).set_params(
            max_iter=9, **after
        )
        with pytest.raises(ValueError, match="The fit to resume began with"):
            model.fit(X, y, resume=True, **data)
    model = quietly(lambda: estimator("regression").fit(X, y, X_val=X[:20], y_val=y[:20])).set_params(max_iter=9)
    with pytest.raises(ValueError, match="The fit to resume began with"):
        model.fit(X, y, resume=True)


def test_a_generator_of_ones_own_is_not_asked_again():
    """The orders of epochs that are resumed come from a copy."""
    _, X, y = problem("regression")
    whole = quietly(lambda: estimator("regression", random_state=np.random.RandomState(3), max_iter=4).fit(X, y))
    rng = np.random.RandomState(3)
    model = quietly(lambda: estimator("regression", random_state=rng, max_iter=2).fit(X, y).set_params(max_iter=4))
    state = rng.get_state()[2]
    quietly(lambda: model.fit(X, y, resume=True))
    assert rng.get_state()[2] == state
    assert_same(model, whole, X)


def test_what_is_kept_is_small():
    """A pickled model does not grow with the rows that it has seen."""
    rng = np.random.default_rng(0)
    sizes = []
    for n in (100, 10_000):
        X = rng.standard_normal((n, 3))
        model = MLPRegressor(hidden_layer_sizes=(4,), max_iter=2, batch_size=50)
        sizes.append(len(pickle.dumps(quietly(lambda m=model, X=X: m.fit(X, X[:, 0])))))
    assert sizes[1] == pytest.approx(sizes[0], abs=100)
