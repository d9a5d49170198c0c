"""Objects that several Python threads use at once: no crash, and no other bits than those of one thread.

With a GIL the threads meet in the engine alone; without one, everywhere. `make test-freethreaded` runs this, and all
other tests in several threads at once, on a Python without a GIL.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import nnfast
from estimators import fitted, output
from nnfast import _core

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

    def train(trained):
        for _ in range(5):
            trained.train_epoch(X, Y, None, 8, np.full(500, 1e-3))
        found = [np.empty_like(w) for w in weights[0]], [np.empty_like(b) for b in weights[1]]
        trained.store(_core.PARAMETERS, *found)
        return found[0][0]

    shared = network()
    begun = threading.Event()
    result = []
    trainer = threading.Thread(target=lambda: (begun.set(), result.append(train(shared))))
    refused = 0
    trainer.start()
    begun.wait()
    while trainer.is_alive():  # a call that comes between two epochs has its turn; it changes nothing
        try:
            shared.forward(X[:100], np.empty((100, 1)))
        except RuntimeError as error:
            assert "in use" in str(error)
            refused += 1
    trainer.join()
    assert refused > 0
    if result:  # else it was the trainer that was refused, between two epochs
        np.testing.assert_array_equal(result[0], train(network()))
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
    network = nnfast.MLP((10, 20, 2), random_state=0)

    def train(k):
        for _ in range(50):
            network.train_epoch(X, Y, 32)
            network.loss(X, Y)

    at_once(train)
    assert [w.shape for w in network.coefs_] == [(10, 20), (20, 2)]
    assert all(np.isfinite(w).all() for w in [*network.coefs_, *network.intercepts_])
    assert network.loss(X, Y) < nnfast.MLP((10, 20, 2), random_state=0).loss(X, Y)
