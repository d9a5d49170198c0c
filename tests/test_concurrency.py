"""Several calls at once: of Python threads on their own and on shared objects, and one call within another.

With a GIL the threads meet in the engine alone; without one, everywhere. `make test-freethreaded` runs this, and all
other tests in several threads at once, on a Python without a GIL.
"""

import subprocess
import sys
import sysconfig
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import numpy as np
import pytest
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from estimators import fitted, needs_callbacks, output
from nnfast import MLP, MLPClassifier, _core, ops
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


# ---- one object in several threads -----------------------------------------------------------------------------------

N_THREADS = 4


def at_once(work):
    """What work(k) gives in each of some threads that begin together."""
    together = threading.Barrier(N_THREADS)

    def begin(k):
        together.wait()
        return work(k)

    with ThreadPoolExecutor(N_THREADS) as pool:
        return list(pool.map(begin, range(N_THREADS)))


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this Python always has a GIL")
def test_the_gil_stays_off():
    code = """
import sys, warnings
warnings.simplefilter("error")
import nnfast
nnfast.MLPClassifier, nnfast.load, nnfast.show_versions
assert not sys._is_gil_enabled()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_network_in_training_is_one_thread_s():
    """A second one is refused, and does the first no harm."""
    rng = np.random.default_rng(0)
    X, Y = rng.random((4000, 50)), rng.random((4000, 1))
    weights = [rng.random((50, 100)) - 0.5, rng.random((100, 1)) - 0.5], [np.zeros(100), np.zeros(1)]

    def network():
        made = _core.Network("d", [50, 100, 1], ["relu", "identity"], "squared_error", "adam", max_batch=8)
        made.load(_core.PARAMETERS, *weights)
        return made

    def train(trained, ends):
        """Epochs until the end, at least one: their number, and the first weights."""
        for n_epochs in count(1):
            trained.train_epoch(X, Y, None, 8, np.full(500, 1e-3))
            if ends(n_epochs):
                break
        found = [np.empty_like(w) for w in weights[0]], [np.empty_like(b) for b in weights[1]]
        trained.store(_core.PARAMETERS, *found)
        return n_epochs, found[0][0]

    shared, refused = network(), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        trainer = pool.submit(train, shared, lambda _: refused.is_set())
        try:
            while not trainer.done():
                shared.forward(X[:100], np.empty((100, 1)))  # between two epochs it has its turn, and changes nothing
        except RuntimeError as error:
            assert "in use" in str(error)
        finally:
            refused.set()  # whatever it was, or the pool would wait for ever
    error = trainer.exception()
    if error is None:
        n_epochs, found = trainer.result()
        np.testing.assert_array_equal(found, train(network(), n_epochs.__eq__)[1])
    else:  # it was the trainer that was refused, between two epochs
        assert "in use" in str(error)
    shared.forward(X, np.empty((4000, 1)))


@pytest.mark.parametrize("target", ["binary", "regression"])
def test_one_estimator_predicts_in_many_threads(target):
    model, X, _ = fitted(target)
    expected = output(model, X)

    def predict(k):
        return all(
            np.array_equal(output(model, X[i : i + n]), expected[i : i + n]) for n in (1, 2, 100) for i in range(k, 50)
        )

    assert all(at_once(predict))


def test_weights_are_replaced_while_others_predict():
    """By other arrays in the same list, and by another list: whoever predicts sees the old ones, the new ones, or both,
    which all have one shape."""
    model, X, _ = fitted("regression")
    stop = threading.Event()

    def work(k):
        if k > 0:
            try:
                return all(model.predict(X[:1]).shape == (1,) for _ in range(2000))
            finally:
                stop.set()
        while not stop.is_set():
            model.coefs_[0] = model.coefs_[0].copy()
            model.coefs_.append(model.coefs_.pop())  # for a moment one is missing
            model.intercepts_ = [b.copy() for b in model.intercepts_]
        return True

    def tolerant(k):
        try:
            return work(k)
        except (IndexError, ValueError):  # of who met the list without its last array
            return True

    assert all(at_once(tolerant))


def test_one_estimator_is_fitted_in_many_threads():
    """As in scikit-learn, fits write over each other; there is a model in the end, and a fit alone is not disturbed."""
    model, X, y = fitted("binary")
    expected = output(model, X)

    def fit(k):
        for _ in range(5):
            model.fit(X, y)

    at_once(fit)
    assert np.isfinite(output(model, X)).all()
    np.testing.assert_array_equal(output(model.fit(X, y), X), expected)


def test_one_network_is_trained_in_many_threads():
    """Each epoch goes on from some weights; what comes out is finite, and whole."""
    rng = np.random.default_rng(0)
    X, Y = rng.random((200, 10)), rng.random((200, 2))
    network = MLP((10, 20, 2), random_state=0)

    def train(k):
        for _ in range(50):
            network.train_epoch(X, Y, 32)
            network.loss(X, Y)

    at_once(train)
    assert [w.shape for w in network.coefs_] == [(10, 20), (20, 2)]
    assert all(np.isfinite(w).all() for w in [*network.coefs_, *network.intercepts_])
    assert network.loss(X, Y) < MLP((10, 20, 2), random_state=0).loss(X, Y)


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


@needs_callbacks
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
