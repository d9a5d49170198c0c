"""Forks, and processes of multiprocessing and joblib: none hangs, all give the same bits."""

import numpy as np
import pytest
from joblib import Parallel, delayed, parallel_config
from sklearn.base import clone
from sklearn.model_selection import cross_validate

from processes import DIGITS, MODELS, bits, in_a_process, linux_only


def forks():
    import os
    import signal
    import threading

    import numpy as np

    from nnfast import MLP, _core

    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((600, 100)), rng.standard_normal((600, 3))

    def work():
        """Bits of a fit and of a prediction that are worth several threads."""
        network = MLP((100, 200, 150, 3), activation="tanh", dtype="float64", random_state=0)
        network.train_epoch(X, Y, 300)
        return network.forward(X).tobytes() + b"".join(w.tobytes() for w in network.coefs_)

    def child_agrees(generations=1):
        pid = os.fork()
        if pid == 0:
            signal.alarm(60)  # for a child that hangs
            right = _core.max_threads() == 1 and work() == expected and work() == expected
            os._exit(0 if right and (generations == 1 or child_agrees(generations - 1)) else 1)
        return os.waitpid(pid, 0)[1] == 0

    n_threads = len(os.listdir("/proc/self/task"))
    expected = work()
    if _core.max_threads() > 1:
        assert len(os.listdir("/proc/self/task")) > n_threads, "nothing was computed by several threads"
    for _ in range(3):
        assert child_agrees(generations=2)
        assert work() == expected

    # While another thread is in the middle of it.
    stop = threading.Event()
    results = set()

    def keep_working():
        while not stop.is_set():
            results.add(work())

    thread = threading.Thread(target=keep_working)
    thread.start()
    try:
        for _ in range(5):
            assert child_agrees()
    finally:
        stop.set()
        thread.join()
    assert results == {expected}


@linux_only
def test_a_forked_child_works_alone_and_gives_the_same_bits():
    in_a_process(forks)


def fork_beside_another_user_of_openmp():
    import ctypes
    import os
    import signal

    import numpy as np

    from nnfast import MLP

    with open("/proc/self/maps") as file:
        runtime = {line.split()[-1] for line in file if "libgomp" in line}
    if not runtime:
        print("none")
        return
    # Somebody else's parallel region: two threads that call abs().
    work = ctypes.cast(ctypes.CDLL(None).abs, ctypes.c_void_p)
    ctypes.CDLL(runtime.pop()).GOMP_parallel(work, None, 2, 0)
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)  # for a child that hangs
        MLP((300, 300, 3), random_state=0).train_epoch(np.ones((400, 300)), np.ones((400, 3)), 400)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0, "the child waits for threads that the fork has left behind"


@linux_only
def test_a_fork_before_the_first_call():
    """Another library has used the same OpenMP; nnfast was imported, but not called yet."""
    if in_a_process(fork_beside_another_user_of_openmp) == ["none"]:
        pytest.skip("this build does not use GNU OpenMP")


def test_processes_of_joblib():
    """Large arrays reach its workers as read-only memory maps."""
    X, y = np.tile(DIGITS.data, (2, 1)), np.tile(DIGITS.target, 2)
    assert X.nbytes > 1e6, "joblib maps what is larger than a megabyte"
    models = [MODELS["classifier"], MODELS["perceptron"]]
    with parallel_config("loky", n_jobs=2):
        fitted = Parallel()(delayed(model.fit)(X, y) for model in map(clone, models))
        folds = cross_validate(models[0], X, y, cv=2, return_estimator=True)
    for model, other in zip(models, fitted, strict=True):
        here = clone(model).fit(X, y)
        assert bits(other) == bits(here)
        np.testing.assert_array_equal(other.predict(X), here.predict(X))
    alone = cross_validate(models[0], X, y, cv=2, return_estimator=True)
    assert [bits(m) for m in folds["estimator"]] == [bits(m) for m in alone["estimator"]]
    np.testing.assert_array_equal(folds["test_score"], alone["test_score"])
