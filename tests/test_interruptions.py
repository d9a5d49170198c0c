"""Ctrl-C, in calls that take long. What was there before must work afterwards.

That a fit which was cut short goes on to the bit is tested in test_resuming.py.
"""

import numpy as np
import pytest
from sklearn.base import clone

from estimators import needs_callbacks, problem
from nnfast import MLP, MLPRegressor
from processes import MODELS, OnSignal, bits, digits, in_a_process, timers


def interruptions():
    import signal
    import sys
    import threading
    import time
    import warnings

    import numpy as np

    from nnfast import MLP, MLPClassifier, Perceptron

    main = threading.main_thread().ident

    def press_ctrl_c(inside):
        """As soon as the main thread is in C below the Python function of this name: seen there, then seen again."""

        def watch():
            seen = 0
            while seen < 2:
                time.sleep(0.05)
                seen = seen + 1 if sys._current_frames()[main].f_code.co_name == inside else 0
            signal.raise_signal(signal.SIGINT)

        threading.Thread(target=watch, daemon=True).start()

    def interrupted(inside, call):
        press_ctrl_c(inside)
        try:
            call()
        except KeyboardInterrupt:
            return True
        return False

    def same(a, b):
        return all((x == y).all() for x, y in zip(a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_, strict=True))

    # Each of these calls would go on for more than ten seconds (scalar kernels, at most two threads).
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200_000, 10)).astype(np.float32)
    Y = X[:, :1].copy()

    # Many small steps. The weights are those after one of them, and training goes on from there.
    options = {"activation": "tanh", "random_state": 0, "n_jobs": 2}
    network, replay = (MLP((10, 250, 250, 1), **options) for _ in range(2))
    assert interrupted("epoch", lambda: network.train_epoch(X, Y, 1))
    n_steps = 0
    with replay.training(1) as training:
        while not all((a == b).all() for a, b in zip(training.snapshot()[0], network.coefs_, strict=True)):
            training.epoch(X, Y, 1, np.array([n_steps]))
            n_steps += 1
    assert 0 < n_steps < len(X)
    assert same(network, replay)
    rest = np.arange(n_steps, n_steps + 5)
    network.train_epoch(X, Y, 1, rest)
    replay.train_epoch(X, Y, 1, rest)
    went_on = same(network, replay), network.n_steps_ == replay.n_steps_

    # One step of very many rows: nothing has happened yet.
    network, untouched = (MLP((10, 300, 300, 1), **options) for _ in range(2))
    assert interrupted("epoch", lambda: network.train_epoch(X, Y, 100_000))
    assert same(network, untouched) and network.n_steps_ == 0

    # A prediction: the last rows were not reached.
    out = np.full((len(X), 1), np.nan, np.float32)
    assert interrupted("forward", lambda: network.forward(X, out=out))
    assert np.isfinite(out[0, 0]) and np.isnan(out[-1, 0])
    assert np.isfinite(network.forward(X[:100])).all()
    out[:] = np.nan
    known = network.coefs_, network.intercepts_, "tanh", "identity", ()
    assert network._plan.forward(X[:100], out[:100], known, n_threads=1)  # so the next call goes this way too
    assert interrupted("forward", lambda: network.forward(X, out=out))
    assert np.isfinite(out[0, 0]) and np.isnan(out[-1, 0])
    with network.training(10) as training:
        assert interrupted("forward", lambda: training.forward(X))
        assert (training.forward(X[:100]) == network.forward(X[:100])).all()

    # The estimators. A fit that is interrupted in its first epoch ends well, as scikit-learn's does.
    y = Y[:, 0] > 0
    for early_stopping in (False, True):
        model = MLPClassifier((250, 250), batch_size=1, random_state=0, n_jobs=2, early_stopping=early_stopping)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert not interrupted("epoch", lambda model=model: model.fit(X, y))
        assert [str(w.message) for w in caught] == ["Training interrupted by user."]
        assert model.n_iter_ == 0 and model.loss_curve_ == []
        assert model.predict(X[:50]).shape == (50,)
    assert interrupted("_outputs", lambda: model.predict(X))
    assert model.predict(X[:50]).shape == (50,)
    model.set_params(max_iter=1, early_stopping=False, batch_size=50)
    warnings.simplefilter("ignore")
    assert model.fit(X[:100], y[:100]).n_iter_ == 1

    neuron = Perceptron(max_iter=10**9, tol=None)
    assert interrupted("_run_epochs", lambda: neuron.fit(X, y))
    neuron.set_params(max_iter=5).fit(X, y)
    assert neuron.score(X, y) > 0.9
    print(*went_on)


@pytest.fixture(scope="module")
def after_interruptions():
    return in_a_process(interruptions, NNFAST_ISA="scalar")


def test_ctrl_c_stops_what_takes_long_and_leaves_it_usable(after_interruptions):
    assert len(after_interruptions) == 2


def test_training_goes_on_after_ctrl_c_as_if_nothing_had_been(after_interruptions):
    """Adam counts its steps, also those before the interruption."""
    assert after_interruptions == ["True", "True"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_l_bfgs_leaves_the_weights_of_its_last_iteration(error):
    """Whatever ends it: here the loss, called 12 times before the first iteration, 9 of them to be checked."""
    _, X, y = problem("regression")
    last = np.inf

    def loss(y, raw):
        nonlocal last
        last -= 1
        if last < 0:
            raise error
        return 0.5 * ((raw - y) ** 2).sum(axis=1), raw - y

    model = MLPRegressor(loss, (4,), solver="lbfgs", max_iter=30, random_state=0)
    n_iterations = set()
    for calls in (10, 15, 25, 30):
        last = calls
        if error is KeyboardInterrupt:
            with pytest.warns(UserWarning, match="Training interrupted by user"):
                model.fit(X, y)
        else:
            with pytest.raises(RuntimeError):
                model.fit(X, y)
        last = np.inf
        n_iterations.add(model.n_iter_)
        assert len(model.history_["loss"]) == model.n_iter_
        if model.n_iter_ > 0:
            same = clone(model).set_params(max_iter=model.n_iter_).fit(X, y)
            assert bits(model) == bits(same)
        assert model.predict(X).shape == y.shape
    assert max(n_iterations) > min(n_iterations)


# ---- other exceptions ------------------------------------------------------------------------------------------------


class Enough(Exception):
    pass


def enough():
    raise Enough


@timers
@pytest.mark.parametrize("early_stopping", [False, True])
def test_an_exception_of_a_signal_handler_ends_a_fit_that_can_be_resumed(early_stopping):
    """Such as a time limit of the caller's."""
    X = np.random.default_rng(0).standard_normal((25_000, 20))
    options = {"batch_size": 8, "max_iter": 2, "random_state": 0, "early_stopping": early_stopping}
    model = MLPRegressor(hidden_layer_sizes=(200, 200), **options)
    whole = clone(model).fit(X, X[:, 0])
    with OnSignal(enough), pytest.raises(Enough):
        model.fit(X, X[:, 0])
    assert model.predict(X[:5]).shape == (5,)
    assert bits(model.fit(X, X[:, 0], resume=True)) == bits(whole)
    assert model.loss_curve_ == whole.loss_curve_


@timers
def test_an_exception_of_a_signal_handler_leaves_other_calls_as_they_were():
    X = np.random.default_rng(0).standard_normal((100_000, 20))
    network, same = (MLP((20, 500, 500, 1), random_state=0, dtype="float64") for _ in range(2))
    for call in (
        network.forward,
        lambda X: network.loss(X, X[:, :1]),
        lambda X: network.train_epoch(X, X[:, 0], 10**5),
    ):
        with OnSignal(enough), pytest.raises(Enough):
            call(X)
    assert bits(network) == bits(same) and network.n_steps_ == 0
    neuron = clone(MODELS["perceptron"]).fit(*digits("perceptron"))
    before = bits(neuron), neuron.n_features_in_
    with OnSignal(enough), pytest.raises(Enough):
        neuron.set_params(max_iter=10**9).fit(X, X[:, 0] > 0)
    assert (bits(neuron), neuron.n_features_in_) == before


@needs_callbacks
@pytest.mark.parametrize("error", [Enough, KeyboardInterrupt])
@pytest.mark.parametrize("hook", ["on_fit_task_begin", "on_fit_task_end"])
def test_an_exception_of_a_callback_ends_a_fit_that_can_be_resumed(error, hook):
    _, X, y = problem("regression")
    model = MLPRegressor(hidden_layer_sizes=(5,), max_iter=6, batch_size=20, random_state=0)
    whole = clone(model).fit(X, y)
    callback = Raising(hook, error)
    model.set_callbacks(callback)
    if error is KeyboardInterrupt:
        with pytest.warns(UserWarning, match="Training interrupted by user"):
            model.fit(X, y)
    else:
        with pytest.raises(Enough):
            model.fit(X, y)
    assert model.n_iter_ == len(model.loss_curve_) == (2 if hook == "on_fit_task_begin" else 3)
    model.set_callbacks()
    assert bits(model.fit(X, y, resume=True)) == bits(whole)


class Raising:
    """A callback whose hook fails in the third epoch."""

    def __init__(self, hook, error):
        self.hook, self.error, self.epochs = hook, error, 0

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def _called(self, hook, context):
        if hook == self.hook and context.task_name == "epoch":
            self.epochs += 1
            if self.epochs == 3:
                raise self.error

    def on_fit_task_begin(self, estimator, context, **_):
        self._called("on_fit_task_begin", context)

    def on_fit_task_end(self, estimator, context, **_):
        self._called("on_fit_task_end", context)


@pytest.mark.parametrize("error", [Enough, KeyboardInterrupt])
def test_an_exception_of_ones_own_loss_ends_a_fit_that_can_be_resumed(error):
    _, X, y = problem("outputs")
    left = np.inf

    def loss(y, raw):
        nonlocal left
        left -= 1
        if left == 0:
            raise error
        return 0.5 * ((raw - y) ** 2).sum(axis=1), raw - y

    model = MLPRegressor(loss, (5,), max_iter=3, batch_size=64, random_state=0)
    whole = clone(model).fit(X, y)
    left = 9 + 5  # checked nine times, three batches, the second of the next epoch
    with pytest.raises(Enough) if error is Enough else pytest.warns(UserWarning, match="Training interrupted by user"):
        model.fit(X, y)
    assert model.n_iter_ == 1
    assert bits(model.fit(X, y, resume=True)) == bits(whole)


# ---- fits in other threads -------------------------------------------------------------------------------------------


def ctrl_c_beside_a_fit():
    import os
    import signal
    import threading

    from work import X, Y, digest, trained

    network, same = trained(), trained()
    rows = list(range(600)) * 100
    begun, done = threading.Event(), threading.Event()

    def fit():
        begun.set()
        network.train_epoch(X, Y, 300, rows)
        done.set()

    threading.Thread(target=fit).start()
    begun.wait()
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        done.wait()  # not join: in CPython 3.11 one that was interrupted takes the thread for ended
        print("ended")
    except KeyboardInterrupt:
        print("interrupted")
    done.wait()
    same.train_epoch(X, Y, 300, rows)
    print(digest(*network.coefs_) == digest(*same.coefs_))


def test_ctrl_c_is_the_main_threads():
    """It waits for a fit in another thread and is interrupted at once; the fit goes on to its end."""
    assert in_a_process(ctrl_c_beside_a_fit) == ["interrupted", "True"]
