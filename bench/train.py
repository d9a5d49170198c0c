"""How long a training step takes: nnfast, scikit-learn and PyTorch on the same data from the same weights.

    python -m bench.train [--sizes 20-64-64-1:32 ...] [--dtype float32 float64] [--repeats 5] [--json FILE]

What is timed. Each system trains a few epochs in mini-batches with Adam, ReLU, cross-entropy and the L2 penalty that
is scikit-learn's default; rows are visited in a new random order in every epoch, the same for all systems. A sample is
the time of one whole epoch divided by its steps; the first epoch of a run warms up and is not counted.

* nnfast and scikit-learn run `MLPClassifier.fit`. With verbose=True both print a line at the end of every epoch; the
  time between two lines is an epoch as a user has it: the shuffling, the steps, the books. Set-up is not in it.
* PyTorch runs an eager loop over an index tensor with fused Adam, once with one thread and once with all; drawing the
  row order is not in its time. It is named and skipped where it cannot be imported.

Systems take turns in one process. Before each run there is a rest, in which the waiting threads of the one before fall
asleep: spinning threads make the next one up to four times slower.

What makes a row valid. The final weights of every system go into one function that computes the mean loss over all rows
in float64. A loss that differs from scikit-learn's by more than `tolerance` makes the row void, and the exit status 1.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import time
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import sklearn.neural_network
from bench.machine import describe
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import shuffle

import nnfast

try:
    import torch
except ImportError:
    torch = None

EPOCHS = 3  # of one run; the first is not counted
REST = 0.3  # seconds before each run
SEED = 0
ALPHA = 1e-4  # L2 penalty
RATE = 1e-3  # learning rate

DTYPES = ("float32", "float64")


def tolerance(system: str, dtype: str) -> float:
    """Largest relative difference of the loss after the run from scikit-learn's."""
    if system.startswith("PyTorch"):  # adds Adam's epsilon inside the bias correction: by itself 2e-4 of the loss
        return 1e-2
    # Of 784-512-512-10, scikit-learn's own losses in float32 and float64 differ by 1.6e-4; of 1024-2048-2048-10,
    # nnfast's by 2.1e-4, though after one step either's weights are as near to float64's. The likely cause: a unit
    # that rounding makes active for a row more or less gets Adam's whole first step, or none.
    return {"float32": 1e-3, "float64": 1e-9}[dtype]


class Problem(NamedTuple):
    sizes: tuple[int, ...]
    batch: int
    steps: int  # of an epoch

    @property
    def name(self) -> str:
        return f"{'-'.join(map(str, self.sizes))}:{self.batch}"

    @property
    def flop(self) -> int:
        """Floating-point operations in the matrix products of a step: forward, dW, and dX but for the first layer."""
        products = [a * b for a, b in pairwise(self.sizes)]
        return 2 * self.batch * (3 * sum(products) - products[0])


PROBLEMS = [
    Problem((8, 16, 1), 32, 512),
    Problem((20, 64, 64, 1), 32, 256),
    Problem((20, 64, 64, 1), 256, 64),
    Problem((30, 100, 1), 200, 64),
    Problem((784, 100, 10), 200, 30),
    Problem((784, 512, 512, 10), 128, 12),
    Problem((1024, 2048, 2048, 10), 512, 3),
]


class Run(NamedTuple):
    """What one run of one system gives."""

    epochs: list[float]  # seconds of each epoch but the first
    coefs: list[np.ndarray]
    intercepts: list[np.ndarray]


def data(problem: Problem, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Normal features, and classes that a random linear rule gives them: two for one output, else one an output."""
    rng = np.random.default_rng(SEED)
    n_in, n_out = problem.sizes[0], problem.sizes[-1]
    X = rng.standard_normal((problem.batch * problem.steps, n_in))
    scores = X @ rng.standard_normal((n_in, n_out))
    y = scores[:, 0] > 0 if n_out == 1 else scores.argmax(axis=1)
    return X.astype(dtype), y.astype(np.int64)


def mean_loss(X: np.ndarray, y: np.ndarray, run: Run) -> float:
    """The judge of all systems: mean cross-entropy of a ReLU network over the rows of X, in float64."""
    A = X.astype(np.float64)
    for coef, intercept in zip(run.coefs[:-1], run.intercepts[:-1], strict=True):
        A = np.maximum(A @ coef.astype(np.float64) + intercept, 0)
    z = A @ run.coefs[-1].astype(np.float64) + run.intercepts[-1]
    if z.shape[1] == 1:
        return float(np.logaddexp(0, np.where(y == 1, -z[:, 0], z[:, 0])).mean())
    return float(-log_softmax(z, axis=1)[np.arange(len(y)), y].mean())


# ---- the systems ----------------------------------------------------------------------------------------------------


class EpochClock(io.TextIOBase):
    """Takes the place of stdout and notes when an estimator reports the end of an epoch."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def write(self, text: str) -> int:
        if text.startswith("Iteration"):
            self.ends.append(time.perf_counter())
        return len(text)


def run_estimator(classifier: type, problem: Problem, X: np.ndarray, y: np.ndarray) -> Run:
    estimator = classifier(
        problem.sizes[1:-1],
        batch_size=problem.batch,
        alpha=ALPHA,
        learning_rate_init=RATE,
        max_iter=EPOCHS,
        random_state=SEED,
        verbose=True,
    )
    clock = EpochClock()
    with contextlib.redirect_stdout(clock), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # three epochs are not meant to converge
        estimator.fit(X, y)
    return Run([end - start for start, end in pairwise(clock.ends)], estimator.coefs_, estimator.intercepts_)


def run_torch(n_threads: int, problem: Problem, X: np.ndarray, y: np.ndarray) -> Run:
    torch.set_num_threads(n_threads)
    # The draws of the estimators: first the weights, then a new order of the rows for every epoch.
    rng = np.random.RandomState(SEED)
    start = nnfast.MLP(problem.sizes, dtype="float64", random_state=rng)
    layers = [torch.nn.Linear(n_in, n_out, dtype=torch.from_numpy(X).dtype) for n_in, n_out in pairwise(problem.sizes)]
    with torch.no_grad():
        for layer, coef, intercept in zip(layers, start.coefs_, start.intercepts_, strict=True):
            layer.weight.copy_(torch.from_numpy(coef.T))
            layer.bias.copy_(torch.from_numpy(intercept))
    network = torch.nn.Sequential(*[part for layer in layers for part in (layer, torch.nn.ReLU())][:-1])
    optimizer = torch.optim.Adam(
        [
            {"params": [layer.weight for layer in layers], "weight_decay": ALPHA / problem.batch},
            {"params": [layer.bias for layer in layers]},
        ],
        lr=RATE,
        fused=True,
    )
    features, targets = torch.from_numpy(X), torch.from_numpy(y)
    if problem.sizes[-1] == 1:
        loss_function: Callable = torch.nn.BCEWithLogitsLoss()
        targets = targets[:, None].to(features.dtype)
    else:
        loss_function = torch.nn.CrossEntropyLoss()

    epochs = []
    order = np.arange(len(X))
    for _ in range(EPOCHS):
        order = shuffle(order, random_state=rng)
        begin = time.perf_counter()
        for rows in torch.from_numpy(order).split(problem.batch):
            loss = loss_function(network(features[rows]), targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        epochs.append(time.perf_counter() - begin)
    weights = [layer.weight.detach().numpy().T for layer in layers]
    return Run(epochs[1:], weights, [layer.bias.detach().numpy() for layer in layers])


def systems() -> dict[str, Callable[[Problem, np.ndarray, np.ndarray], Run]]:
    """The systems that can be run here, by name."""
    found: dict[str, Callable] = {
        "nnfast": lambda *task: run_estimator(nnfast.MLPClassifier, *task),
        "scikit-learn": lambda *task: run_estimator(sklearn.neural_network.MLPClassifier, *task),
    }
    if torch is None:
        print("skipped, cannot be imported: PyTorch")
        return found
    for n_threads in sorted({1, torch.get_num_threads()}):
        found[f"PyTorch, threads: {n_threads}"] = lambda *task, n=n_threads: run_torch(n, *task)
    return found


# ---- measuring ------------------------------------------------------------------------------------------------------


def measure(problem: Problem, dtype: str, contestants: dict[str, Callable], repeats: int) -> dict[str, object]:
    """One row of the table, as it goes into the JSON file. Times are microseconds a step."""
    X, y = data(problem, dtype)
    samples: dict[str, list[float]] = {name: [] for name in contestants}
    losses = {}
    for _ in range(repeats):
        for name, run_one in contestants.items():
            time.sleep(REST)
            run = run_one(problem, X, y)
            samples[name] += [epoch / problem.steps * 1e6 for epoch in run.epochs]
            losses[name] = mean_loss(X, y, run)
    reference = losses["scikit-learn"]
    return {
        "network": problem.name,
        "dtype": dtype,
        "steps": problem.steps,
        "flop": problem.flop,
        "loss": losses,
        "valid": all(abs(loss - reference) <= tolerance(name, dtype) * reference for name, loss in losses.items()),
        "times": {
            name: dict(zip(("low", "median", "high"), np.percentile(times, (25, 50, 75)).tolist(), strict=True))
            | {"best": min(times), "samples": times}
            for name, times in samples.items()
        },
    }


def micros(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def print_row(row: dict) -> None:
    times, ours = row["times"], row["times"]["nnfast"]["median"]
    if not row["valid"]:
        print(f"{row['network']:<24}void: losses after the run {row['loss']}")
        return
    line = f"{row['network']:<24}{row['flop'] / ours * 1e-3:>8.1f}"
    for name, t in times.items():
        line += f"{micros(t['median'])} ({micros(t['low'])}-{micros(t['high'])})".rjust(24)
        line += "" if name == "nnfast" else f" ×{t['median'] / ours:<6.1f}"
    print(line)


def main() -> int:
    names = [problem.name for problem in PROBLEMS]
    parser = argparse.ArgumentParser(
        prog="python -m bench.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", choices=names, default=names, metavar="NETWORK:BATCH")
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=DTYPES)
    parser.add_argument("--repeats", type=int, default=5, help="runs of each system (default: %(default)s)")
    parser.add_argument("--steps", type=int, help="steps of an epoch, for a quick look (default: by network)")
    parser.add_argument("--json", type=Path, help="also write everything to this file")
    options = parser.parse_args()

    machine = describe(["nnfast", "numpy", "scipy", "scikit-learn", "torch"])
    speed = machine["product_512_gflops_one_thread"]
    print(f"{machine['cpu']}, {machine['isa']}, {machine['nnfast_threads']} threads, load {machine['load_before']:.1f}")
    print(", ".join(f"{name} {number}" for name, number in machine["versions"].items() if number))
    contestants = systems()

    rows = []
    for dtype in options.dtype:
        print(f"\n{dtype}: microseconds a step, median (quartiles), × nnfast's")
        print(f"GFLOP/s are nnfast's; in the product of two 512 x 512 matrices one core reaches {speed[dtype]:.0f}")
        peers = "".join(f"{name:>24}        " for name in contestants if name != "nnfast")
        print(f"{'network:batch':<24}{'GFLOP/s':>8}{'nnfast':>24}{peers}".rstrip())
        for problem in PROBLEMS:
            if problem.name in options.sizes:
                problem = problem._replace(steps=options.steps or problem.steps)
                rows.append(measure(problem, dtype, contestants, options.repeats))
                print_row(rows[-1])
                sys.stdout.flush()
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    return 0 if all(row["valid"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
