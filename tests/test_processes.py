"""Processes that come and go: forks, workers of multiprocessing, joblib and web servers, the end of the interpreter.

None hangs, all give the same bits. That joblib's processes and nnfast share the CPUs is tested in test_threads.py.
"""

import time

import numpy as np
import pytest
from joblib import Parallel, delayed, parallel_config
from sklearn.base import clone
from sklearn.model_selection import cross_validate

from nnfast import _core
from processes import DIGITS, MODELS, bits, in_a_process, linux_only


def forks():
    import os
    import signal
    import threading

    from nnfast import _core
    from work import work

    def child_agrees(generations=1):
        pid = os.fork()
        if pid == 0:
            signal.alarm(60)  # for a child that hangs
            right = _core.max_threads() == n_in_child and work() == expected and work() == expected
            os._exit(0 if right and (generations == 1 or child_agrees(generations - 1)) else 1)
        return os.waitpid(pid, 0)[1] == 0

    n_in_child = 1 if _core.threads_backend() == "openmp" else _core.max_threads()
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
def test_a_forked_child_gives_the_same_bits():
    """Alone, where OpenMP's threads have stayed with its parent; with native threads, on new ones."""
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


# ---- multiprocessing and joblib --------------------------------------------------------------------------------------


def pools():
    """Fits in several threads, then starts pools of each kind; with one that forks from a server which has fitted."""
    import multiprocessing
    import warnings

    from work import X, digest, job, trained, work

    warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads, which is what is tested
    network, expected = trained(), work()
    for method in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool:
            results = pool.map_async(job, [network] * 4, chunksize=1).get(timeout=300)
        assert {(predicted, fitted) for predicted, fitted, _ in results} == {(digest(network.forward(X)), expected)}
        assert work() == expected
        print(method, *{threads for _, _, threads in results})


@linux_only
def test_pools_of_multiprocessing():
    words = in_a_process(pools)
    threads = dict(zip(words[::2], words[1::2], strict=True))
    assert threads.keys() == {"fork", "forkserver", "spawn"}
    assert threads["spawn"] == str(_core.max_threads())


def joblib_forks():
    import sys
    import warnings

    from joblib import Parallel, delayed
    from sklearn.base import clone

    from processes import DIGITS, MODELS, bits

    warnings.simplefilter("ignore")  # of fits that are short, and of a fork beside threads
    models = [clone(MODELS[name]) for name in ("classifier", "regressor", "perceptron")]
    expected = [bits(clone(model).fit(DIGITS.data, DIGITS.target)) for model in models]
    for _ in range(2):
        fits = (delayed(model.fit)(DIGITS.data, DIGITS.target) for model in models)
        fitted = Parallel(n_jobs=2, backend="multiprocessing")(fits)
        assert [bits(model) for model in fitted] == expected
    assert "multiprocessing.pool" in sys.modules, "joblib has used no pool"


@linux_only
def test_the_multiprocessing_of_joblib():
    """A pool of forks of a process that has fitted."""
    in_a_process(joblib_forks)


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


# ---- a server that forks its workers ---------------------------------------------------------------------------------


def preforking_server():
    """As gunicorn with --preload: the master fits in several threads, its forks answer, one that dies is replaced."""
    import os
    import signal
    import socket
    import struct

    from work import X, digest, trained, work

    network = trained()
    expected = {n: digest(network.forward(X[:n])) for n in (1, 7, len(X))}
    listener = socket.create_server(("127.0.0.1", 0), backlog=16)

    def serve():
        signal.alarm(300)  # for a worker that hangs
        while True:
            connection, _ = listener.accept()
            with connection:
                (n,) = struct.unpack("q", connection.recv(8))
                # 0 asks to train a model in the worker, as for a customer of its own.
                answer = work() if n == 0 else digest(network.forward(X[:n]))
                connection.sendall(f"{os.getpid()} {answer}".encode())

    def fork():
        pid = os.fork()
        if pid == 0:
            try:
                serve()
            finally:
                os._exit(1)
        return pid

    def ask(n):
        with socket.create_connection(listener.getsockname(), timeout=300) as connection:
            connection.sendall(struct.pack("q", n))
            pid, answer = connection.makefile().read().split()
        return int(pid), answer

    def answers():
        """The workers that answered; every answer is right."""
        found = set()
        for n in (*expected, 0) * 5:
            pid, answer = ask(n)
            assert answer == (expected[n] if n else trained_bits), n
            found.add(pid)
        return found

    trained_bits = work()
    workers = {fork() for _ in range(2)}
    try:
        for round_ in range(3):
            assert answers() <= workers
            killed = workers.pop()
            os.kill(killed, signal.SIGKILL)
            assert os.waitpid(killed, 0)[1] == signal.SIGKILL
            if round_ == 1:  # the master works again before it forks again
                assert work() == trained_bits
            workers.add(fork())
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)


@linux_only
def test_a_server_that_forks_its_workers():
    in_a_process(preforking_server)


# ---- the end of the interpreter --------------------------------------------------------------------------------------


def exit_beside_a_daemon():
    """The last object takes so long to go that the daemon is met in the engine by an interpreter which is no more."""
    import threading
    import time

    from work import X, Y, trained

    class Last:
        def __del__(self):
            time.sleep(0.3)

    def train():
        while True:
            network.train_epoch(X, Y, 300, rows)

    globals()["last"] = Last()
    network, rows = trained(), list(range(len(X))) * 500  # an epoch of seconds, heard every 0.05 s
    threading.Thread(target=train, daemon=True).start()
    time.sleep(0.2)
    print("end")


def exit_beside_a_daemon_that_predicts():
    import threading
    import time

    import numpy as np

    from work import trained

    class Last:
        def __del__(self):
            time.sleep(0.3)

    def predict():
        while True:
            network.forward(many)

    globals()["last"] = Last()
    network, many = trained(), np.zeros((200_000, 100))
    threading.Thread(target=predict, daemon=True).start()
    time.sleep(0.2)
    print("end")


def exit_waits_for_a_fit():
    """sys.exit with another thread in a fit, which is no daemon: the interpreter lets it finish."""
    import sys
    import threading
    import time

    from work import work

    expected = work()

    def fit():
        print({work() for _ in range(20)} == {expected}, flush=True)

    threading.Thread(target=fit).start()
    time.sleep(0.01)
    sys.exit(0)


def fit_at_exit():
    import atexit

    from work import work

    expected = work()
    atexit.register(lambda: print(work() == expected))


@linux_only
@pytest.mark.parametrize(
    ("function", "said", "times"),
    [
        (exit_beside_a_daemon, ["end"], 4),
        (exit_beside_a_daemon_that_predicts, ["end"], 2),
        (exit_waits_for_a_fit, ["True"], 1),
        (fit_at_exit, ["True"], 1),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_interpreter_ends_during_a_fit(function, said, times):
    """Exit status 0, no crash, and no waiting for a fit of minutes."""
    for _ in range(times):
        begin = time.monotonic()
        assert in_a_process(function) == said
        assert time.monotonic() - begin < 60, "the interpreter waited for the daemon"
