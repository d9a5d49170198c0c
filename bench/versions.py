"""How this nnfast compares with another version of it: both in one process, an epoch each in turns.

    python -m bench.versions FOLDER [--sizes 20-64-64-1:32 ...] [--dtype float32 float64] [--threads 1 2] [--seconds 3]
                                    [--stored 20]

FOLDER holds the other package `nnfast`; `make bench-versions BASE=HEAD~1` installs that of a commit and compares it.

What is timed. The networks of bench/train.py, or any other, without estimator: `Training.epoch` with Adam and ReLU, on
rows drawn anew for each pair of epochs, the same for both. An epoch has as many steps as take about 2 ms, and at least
one. Which version goes first changes from pair to pair; the first tenth of the pairs is not counted.

Why so. Where neighbours share the processor, the same program runs half as long again from one second to the next, and
two runs of it say nothing of a few percent. Two epochs within milliseconds meet the same neighbour: of a version and a
copy of it, the median of the pairs differs by less than 1 %.

The last column says whether both came to the same losses and weights, bit for bit. That is no condition: a version may
have other numbers by decision.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import scipy.sparse
from bench.train import ALPHA, DTYPES, PROBLEMS, RATE, SEED, Problem, data

import nnfast

EPOCH = 2e-3  # seconds, about


def load(folder: Path) -> ModuleType:
    """The nnfast that lies in the folder, beside the one that is imported."""
    mine = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "nnfast"}
    sys.path.insert(0, str(folder))
    try:
        other = importlib.import_module("nnfast")
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.split(".")[0] == "nnfast"]:
            del sys.modules[name]
        sys.modules.update(mine)
    return other


def targets(problem: Problem, y: np.ndarray, dtype: str) -> np.ndarray:
    """As `MLP` takes them: values, or a column of 0 and 1 for each class."""
    if problem.sizes[-1] > 1 and y.ndim == 1:
        return (y[:, None] == np.arange(problem.sizes[-1])).astype(dtype)
    return y.reshape(len(y), -1).astype(dtype)


def problem_of(name: str) -> Problem:
    """One of bench/train.py, or another "units:rows of a batch", with data of 2,048 rows or eight batches."""
    for problem in PROBLEMS:
        if problem.name == name:
            return problem
    units, _, batch = name.partition(":")
    sizes, rows = tuple(int(n) for n in units.split("-")), int(batch)
    if len(sizes) < 2 or min(*sizes, rows) < 1:
        raise ValueError(f"no network and rows of a batch: {name}")
    return Problem(sizes, rows, max(8, 2048 // rows), 0)


def thinned(X: np.ndarray, stored: int) -> scipy.sparse.csr_array:
    """X with so many of its values in each row, in columns drawn at random."""
    n, n_in = X.shape
    drawn = np.random.default_rng(SEED).permuted(np.tile(np.arange(n_in, dtype=np.int32), (n, 1)), axis=1)
    columns = np.sort(drawn[:, :stored], axis=1)
    kept = columns.shape[1]
    values = np.take_along_axis(X, columns, axis=1)
    return scipy.sparse.csr_array((values.ravel(), columns.ravel(), np.arange(n + 1) * kept), X.shape)


def measure(
    versions: list[ModuleType], problem: Problem, dtype: str, n_threads: int, seconds: float, stored: int | None
) -> dict[str, Any]:
    """Seconds a step, one row for each version, and whether their numbers are the same."""
    X, y = data(problem, dtype)
    Y = targets(problem, y, dtype)
    rows = [X if stored is None else nn._rows.as_rows(thinned(X, stored), dtype) for nn in versions]
    rng = np.random.default_rng(SEED)
    networks = [
        nn.MLP(
            problem.sizes,
            loss=problem.loss,
            alpha=ALPHA,
            learning_rate_init=RATE,
            dtype=dtype,
            n_jobs=n_threads,
            random_state=SEED,
        )
        for nn in versions
    ]
    times: list[list[float]] = [[], []]
    same = True
    with ExitStack() as stack:
        trainings = [stack.enter_context(network.training(problem.batch, stored is not None)) for network in networks]

        def turn(n_steps: int, first: int) -> list[float]:
            nonlocal same
            order = rng.integers(len(X), size=n_steps * problem.batch)
            took, losses = [0.0, 0.0], [0.0, 0.0]
            for i in (first, 1 - first):
                begin = time.perf_counter()
                losses[i] = trainings[i].epoch(rows[i], Y, problem.batch, order)[0]
                took[i] = (time.perf_counter() - begin) / n_steps
            same = same and losses[0] == losses[1]
            return took

        turn(1, 0)  # wakes the threads
        n_steps = max(1, round(EPOCH / min(turn(4, 0))))
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or not times[0]:
            for version, step in zip(times, turn(n_steps, len(times[0]) % 2), strict=True):
                version.append(step)
    weights = [[*network.coefs_, *network.intercepts_] for network in networks]
    same = same and all(np.array_equal(a, b) for a, b in zip(*weights, strict=True))
    return {"times": np.array(times)[:, len(times[0]) // 10 :], "same": same}


def line(problem: Problem, dtype: str, n_threads: int, times: np.ndarray, same: bool) -> str:
    theirs, ours = np.median(times, axis=1) * 1e6
    low, median, high = np.percentile(times[0] / times[1], (25, 50, 75))
    row = f"{problem.name + ' ' + dtype:<32}{n_threads:>8}{theirs:>14.2f}{ours:>14.2f}"
    return f"{row}{median:>9.3f} ({low:.3f}-{high:.3f}){times.shape[1]:>8}  {'same' if same else 'other'}"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.versions", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="that the other package lies in")
    parser.add_argument(
        "--sizes",
        nargs="+",
        type=problem_of,
        default=PROBLEMS[:-1],
        metavar="NETWORK",
        help="units and rows of a batch, 20-64-64-1:32 (default: those of bench/train.py but the last)",
    )
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=["float32"], help="default: float32")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], metavar="N", help="default: 1 and 2")
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S", help="a row (default: %(default)s)")
    parser.add_argument("--stored", type=int, metavar="N", help="values of a row of a sparse X (default: X is dense)")
    options = parser.parse_args()
    if not (options.folder / "nnfast" / "__init__.py").exists():
        parser.error(f"there is no package nnfast in {options.folder}")

    versions = [load(options.folder), nnfast]
    print("Medians of steps in µs; of the pairs (quartiles), how many times as long as this version the other takes.\n")
    print(f"{'':<32}{'threads':>8}{'other':>14}{'this':>14}{'ratio':>9} {'':13}{'pairs':>8}  numbers", flush=True)
    for problem, dtype, n_threads in product(options.sizes, options.dtype, options.threads):
        row = measure(versions, problem, dtype, n_threads, options.seconds, options.stored)
        print(line(problem, dtype, n_threads, **row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
