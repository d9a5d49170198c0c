"""What tests of threads, processes, memory and interruptions share: code in a process of its own, models, signals."""

import ctypes
import gc
import inspect
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

import nnfast
from nnfast import MLPClassifier, MLPRegressor, Perceptron

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc or limits the address space")
real_memory = pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer keeps what was freed"
)
counts_with_glibc = pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="counts with glibc's mallinfo2"
)


def bits(model):
    """Of the weights, as they are now."""
    if isinstance(model, Perceptron):
        return model.coef_.tobytes(), model.intercept_.tobytes()
    return [w.tobytes() for w in model.coefs_ + model.intercepts_]


def in_a_process(function, *arguments, **environment):
    """Runs a function that imports what it needs, from here too, in a process of its own. It must end well; what it
    printed comes back. Ten minutes are for a process that hangs."""
    code = textwrap.dedent(inspect.getsource(function)) + f"\n{function.__name__}()\n"
    here = os.pathsep.join(filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": here} | environment,
        timeout=600,
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout.split()


class Mallinfo2(ctypes.Structure):
    """struct mallinfo2 of glibc."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    )


def bytes_in_use():
    """What malloc has given out and not got back."""
    info = ctypes.CDLL(None).mallinfo2
    info.restype = Mallinfo2
    gc.collect()
    state = info()
    return state.uordblks + state.hblkhd


DIGITS = load_digits()
MODELS = {
    "classifier": MLPClassifier((150, 50), batch_size=400, max_iter=2, random_state=0),
    "classifier, small": MLPClassifier((20,), activation="tanh", max_iter=3, random_state=1, early_stopping=True),
    "regressor": MLPRegressor(hidden_layer_sizes=(120,), solver="sgd", batch_size=300, max_iter=2, random_state=2),
    "single": MLPClassifier((100,), max_iter=2, random_state=3),
    "perceptron": Perceptron(max_iter=5, tol=None, random_state=4),
    "delta rule": Perceptron(activation="tanh", eta0=0.01, max_iter=3, tol=None, random_state=5),
}


def digits(name):
    X = (DIGITS.data - 5) / 6
    return (X.astype(np.float32) if name == "single" else X), DIGITS.target


timers = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")


class OnSignal:
    """Within the block the main thread's Python runs `call` once, as a signal handler, from within the engine: when two
    signals in a row have met the same call of the same frame of this package."""

    def __init__(self, call):
        self.call = call
        self.calls = 0
        self.place = None

    def __enter__(self):
        self.old = signal.signal(signal.SIGALRM, self)
        signal.setitimer(signal.ITIMER_REAL, 0.03, 0.03)  # the engine hears it every 0.05 s
        return self

    def __exit__(self, *_):
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self.old)

    def __call__(self, _, frame):
        last, self.place = self.place, (frame, frame.f_lasti)
        if self.place == last and frame.f_code.co_filename.startswith(str(Path(nnfast.__file__).parent)):
            signal.setitimer(signal.ITIMER_REAL, 0)
            self.calls += 1
            self.call()
