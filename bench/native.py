"""The engine's inner loops without Python between two calls, and the FMA peak: bench/kernels.c, through ctypes.

The library carries an engine of its own, built from the same sources as the installed package; an instruction set
chosen here is not chosen there. Each function below but `peak_gflops` gives a `Run`: called with a number of calls, it
makes them and returns their seconds. Arrays are C-contiguous where nothing else is said.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nnfast import _core

Run = Callable[[int], float]

# Threads that sleep between two bouts may come to lie better the next time.
BOUTS, REST = 3, 0.1  # seconds
VARIABLE = "NNFAST_BENCH_LIBRARY"
DTYPES = ("float32", "float64")  # by nnf_dtype

index, pointer = ctypes.c_ssize_t, ctypes.c_void_p

RATES = ("alpha", "inv_rows", "rate", "gradient_rate", "momentum", "beta_1", "beta_2", "epsilon")  # of nnf_update

# What follows (calls, dtype) among the arguments of the function of that name in kernels.c.
KERNELS = {
    "matmul": [index, index, index, pointer, *2 * [pointer, index, index], ctypes.c_int],
    "activate": [ctypes.c_int, index, pointer, pointer],
    "derive": [ctypes.c_int, index, pointer, pointer, pointer],
    "log": [index, pointer, pointer],
    "softmax": [index, index, pointer],
    "update": [ctypes.c_int, index, *4 * [pointer], *len(RATES) * [ctypes.c_double]],
}


@functools.cache
def library() -> ctypes.CDLL:
    abi = sys.implementation.cache_tag + getattr(sys, "abiflags", "")
    built = Path(__file__).parents[1] / "build" / abi / "bench-native" / "libnnfast_bench.so"
    path = os.environ.get(VARIABLE) or str(built)
    try:
        found = ctypes.CDLL(path)
    except OSError as error:
        raise FileNotFoundError(f"{error}. `make bench-native` builds it; {VARIABLE} names another") from None
    found.bench_select.argtypes = [ctypes.c_char_p]
    found.bench_peak.argtypes = [ctypes.c_int, ctypes.c_int]
    found.bench_peak.restype = ctypes.c_double
    for name, arguments in KERNELS.items():
        function = getattr(found, f"bench_{name}")
        function.argtypes = [index, ctypes.c_int, *arguments]
        function.restype = ctypes.c_double
    return found


def select(isa: str) -> None:
    if library().bench_select(isa.encode()) != 0:
        raise ValueError(f"{isa}: not in this build, or not on this CPU")


def peak_gflops(isa: str, dtype: str, n_threads: int) -> float:
    """Multiply-adds that n_threads side by side do at best, in GFLOP/s of all together.

    The scalar set has products and sums in place of FMAs; where gcc makes vectors of them, as it does in the matrix
    kernel, more than this is possible.
    """
    select(isa)
    best = 0.0
    for _ in range(BOUTS):
        best = max(best, library().bench_peak(DTYPES.index(dtype), n_threads))
        time.sleep(REST)
    return best


def _run(kernel: str, isa: str, array: np.ndarray, *arguments: Any) -> Run:
    """Calls of the kernel for arrays of the type of `array`."""
    function, dtype = getattr(library(), f"bench_{kernel}"), DTYPES.index(array.dtype.name)

    def run(calls: int) -> float:
        select(isa)
        seconds = function(calls, dtype, *arguments)
        if seconds < 0:
            raise MemoryError
        return seconds

    return run


def _strided(matrix: np.ndarray) -> tuple[Any, ...]:
    return matrix.ctypes, *(stride // matrix.itemsize for stride in matrix.strides)


def matmul(isa: str, C: np.ndarray, A: np.ndarray, B: np.ndarray, n_threads: int) -> Run:
    """C = A B by nnf_matmul: the packing of B and its memory are in the time. A and B have any strides."""
    (m, k), n = A.shape, B.shape[1]
    return _run("matmul", isa, C, m, n, k, C.ctypes, *_strided(A), *_strided(B), n_threads)


def activate(activation: str, isa: str, out: np.ndarray, x: np.ndarray) -> Run:
    return _run("activate", isa, x, _core.ACTIVATIONS.index(activation), x.size, out.ctypes, x.ctypes)


def derive(activation: str, isa: str, out: np.ndarray, dy: np.ndarray, y: np.ndarray) -> Run:
    """out = dy f'(z), where y = f(z)."""
    return _run("derive", isa, y, _core.ACTIVATIONS.index(activation), y.size, out.ctypes, y.ctypes, dy.ctypes)


def log(isa: str, out: np.ndarray, x: np.ndarray) -> Run:
    return _run("log", isa, x, x.size, out.ctypes, x.ctypes)


def softmax(isa: str, x: np.ndarray) -> Run:
    """The rows of x to probabilities, in place; every further call takes the result of the one before."""
    return _run("softmax", isa, x, *x.shape, x.ctypes)


def update(solver: str, isa: str, w: np.ndarray, dw: np.ndarray, s1: np.ndarray, s2: np.ndarray, **rates: float) -> Run:
    """Steps of an optimizer, one after the other, on w and its states. `rates`: all of RATES."""
    arrays = [array.ctypes for array in (dw, w, s1, s2)]
    return _run("update", isa, w, _core.SOLVERS.index(solver), w.size, *arrays, *(rates[name] for name in RATES))
