"""Several calls at once: of Python threads on their own and on shared objects, and one call within another."""

import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.base import clone

from nnfast import MLP, ops
from processes import DIGITS, MODELS, bits, digits


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

timers = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")


class OnSignal:
    """Within the block, once and soon, the main thread's Python runs `call` wherever it is, as a signal handler."""

    def __init__(self, call):
        self.call = call
        self.calls = 0

    def __enter__(self):
        self.old = signal.signal(signal.SIGALRM, self)
        signal.setitimer(signal.ITIMER_REAL, 0.06)
        return self

    def __exit__(self, *_):
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self.old)

    def __call__(self, *_):
        self.calls += 1
        self.call()


def long_epoch(n_jobs):
    """A network, and X and Y of which an epoch takes 0.3 s or more: the engine hears signals every 0.05 s."""
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
