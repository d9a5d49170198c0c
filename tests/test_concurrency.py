"""Several calls at once: of Python threads on their own and on shared objects, and one call within another."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from nnfast import MLP, MLPClassifier, ops
from processes import DIGITS, MODELS, OnSignal, bits, digits, timers


def test_threads_that_fit_and_predict_at_once():
    """All the same bits as alone. Warnings, whose filters belong to all threads, are left to the main thread."""
    expected = {name: clone(model).fit(*digits(name)) for name, model in MODELS.items()}
    predictions = {name: model.predict(digits(name)[0]) for name, model in expected.items()}
    products = ops.matmul(DIGITS.data.T, DIGITS.data)

    def work(name):
        model = clone(MODELS[name])
        model.fit(*digits(name))
        shared = expected[name].predict(digits(name)[0])  # an estimator that all threads use
        return bits(model), shared, ops.matmul(DIGITS.data.T, DIGITS.data)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    try:
        with ThreadPoolExecutor(6) as pool:
            results = [(name, pool.submit(work, name)) for _ in range(3) for name in MODELS]
            for name, result in results:
                found, predicted, product = result.result()
                assert found == bits(expected[name]), name
                np.testing.assert_array_equal(predicted, predictions[name], err_msg=name)
                np.testing.assert_array_equal(product, products)
    finally:
        sys.setswitchinterval(interval)


# ---- a call within another ------------------------------------------------------------------------------------------


def long_epoch(n_jobs):
    """A network, and X and Y of which an epoch takes 0.3 s or more: OnSignal needs 0.1."""
    X = np.random.default_rng(0).standard_normal((40_000, 20))
    return MLP((20, 200, 200, 1), random_state=0, dtype="float64", n_jobs=n_jobs), X, X[:, :1].copy()


@timers
@pytest.mark.parametrize("batch_size", [8, 2000])
def test_a_network_in_training_has_one_caller_at_a_time(batch_size):
    """The engine's memory is that of one step. A second call, of the same thread or another, is refused; the first goes
    on."""
    network, X, Y = long_epoch(None)
    same = long_epoch(None)[0]
    with ThreadPoolExecutor(1) as pool, network.training(batch_size) as training:

        def use():
            for call in (training.epoch, lambda *data: pool.submit(training.epoch, *data).result()):
                with pytest.raises(RuntimeError, match="in use"):
                    call(X[:8].copy(), Y[:8].copy(), 8)

        with OnSignal(use) as signals:
            losses = training.epoch(X, Y, batch_size)
    assert signals.calls == 1
    with same.training(batch_size) as training:
        assert training.epoch(X, Y, batch_size) == losses
    assert bits(network) == bits(same) and network.n_steps_ == same.n_steps_


@timers
@pytest.mark.parametrize("batch_size", [8, 2000])
def test_work_below_a_signal_handler_has_its_own_bits(batch_size):
    """The engine asks for signals from within a team: what the handler does there is done right, by some threads."""
    network, X, Y = long_epoch(None)
    same = long_epoch(None)[0]
    found = []

    def work():
        found.append((bits(clone(MODELS["classifier"]).fit(*digits("classifier"))), ops.matmul(X.T, X).tobytes()))

    with OnSignal(work) as signals:
        network.train_epoch(X, Y, batch_size)
    assert signals.calls == 1
    same.train_epoch(X, Y, batch_size)
    assert bits(network) == bits(same)
    work()
    assert found[0] == found[1]


def test_a_fit_in_a_callback_of_a_fit():
    X, y = digits("classifier")
    model = clone(MODELS["classifier"])
    expected = bits(clone(model).fit(X, y))

    class Inner:
        def setup(self, estimator, context):
            self.found = []

        def teardown(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context, **_):
            pass

        def on_fit_task_end(self, estimator, context, **_):
            if context.task_name == "epoch":
                inner = Parallel(n_jobs=2, backend="threading")(
                    delayed(clone(MODELS["classifier"]).fit)(X, y) for _ in range(2)
                )
                self.found += map(bits, inner)

    inner = Inner()
    assert bits(model.set_callbacks(inner).fit(X, y)) == expected
    assert inner.found == [expected] * 4


def test_predicting_with_an_estimator_that_another_thread_fits():
    """A prediction is that of some weights of before, meanwhile or after; where layers of several do not meet, it is an
    error. Nothing worse happens, and what comes out in the end is right."""
    X, y = digits("classifier")
    sizes = [(30,), (50, 20), (20, 50), (64,)]
    model = MLPClassifier(sizes[0], max_iter=1, random_state=0).fit(X, y)
    n_predicted, errors, done = 0, set(), threading.Event()

    def predict():
        nonlocal n_predicted
        while not done.is_set():
            for rows in (X, X[:1]):
                try:
                    assert model.predict_proba(rows).shape == (len(rows), 10)
                    n_predicted += 1
                except (ValueError, AttributeError, IndexError, NotFittedError) as error:
                    errors.add(type(error))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(2) as pool:
            predictions = [pool.submit(predict) for _ in range(2)]
            for size in sizes * 5:
                model.set_params(hidden_layer_sizes=size).fit(X, y)
            done.set()
            for prediction in predictions:
                prediction.result()
    finally:
        done.set()
        sys.setswitchinterval(interval)
    assert n_predicted > 10
    np.testing.assert_array_equal(model.predict_proba(X), clone(model).fit(X, y).predict_proba(X))
