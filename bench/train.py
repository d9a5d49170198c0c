"""How long a training step takes: nnfast, scikit-learn, PyTorch and JAX on the same data from the same weights.

    python -m bench.train [--sizes 20-64-64-1:32 ...] [--dtype float32 float64] [--repeats 5] [--json FILE] [--by-batch]

What is timed. Each system trains a few epochs in mini-batches with Adam, ReLU and the L2 penalty that is scikit-learn's
default; rows are visited in a new random order in every epoch, the same for all systems. A sample is the time of one
whole epoch divided by its steps; the first epoch of a run warms up, and compiles, and is not counted.

* nnfast and scikit-learn run `fit` of `MLPClassifier`; of `MLPRegressor` where the network has as many outputs as
  inputs. With verbose=True both print a line at the end of every epoch; the time between two lines is an epoch as a
  user has it: the shuffling, the steps, the books. Set-up is not in it.
* "sklearn SkylakeX" is the same scikit-learn in a process of its own that starts with OPENBLAS_CORETYPE=SkylakeX: on
  some CPUs OpenBLAS leaves AVX-512 unused unless asked. Skipped where it would change nothing.
* PyTorch runs an eager loop over an index tensor with fused Adam, once with one thread and once with all.
* JAX runs one compiled call an epoch: `lax.scan` over the steps, the data on the device, the state donated. The rows of
  a batch are gathered in their step, or those of all batches before the first: either is the faster for some networks.

PyTorch and JAX are given each row order ready drawn. What cannot be imported is named and skipped. Systems take turns.

With --by-batch every step is a call of its own, as where data come in a stream: `partial_fit` of the estimators,
`MLP.train_epoch`, a compiled step of JAX; all of them, and PyTorch, gather the rows of the batch within the time.

What makes a row valid. The final weights of every system go into one function that computes the mean loss over the rows
in float64. A loss that differs from scikit-learn's by more than `tolerance` makes the row void, and the exit status 1.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import sklearn.neural_network
from bench.machine import describe
from bench.measure import command_line, compare, report, spread, turns
from bench.peers import Weights, importable, jax_forward, jax_importable, torch_layers, torch_network, torch_threads
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import shuffle
from threadpoolctl import threadpool_info

import nnfast
from nnfast import _core

SEED = 0
ALPHA = 1e-4  # L2 penalty
RATE, BETA_1, BETA_2, EPSILON = 1e-3, 0.9, 0.999, 1e-8  # Adam's, scikit-learn's defaults

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
    epochs: int  # of a run; the first is not counted
    dtypes: tuple[str, ...] = DTYPES  # measured unless others are asked for

    @property
    def name(self) -> str:
        return f"{'-'.join(map(str, self.sizes))}:{self.batch}"

    @property
    def loss(self) -> str:
        """As nnfast.MLP names it."""
        n_in, n_out = self.sizes[0], self.sizes[-1]
        return "binary_log_loss" if n_out == 1 else "squared_error" if n_out == n_in else "log_loss"

    @property
    def flop(self) -> int:
        """Floating-point operations in the matrix products of a step: forward, dW, and dX but for the first layer."""
        products = [a * b for a, b in pairwise(self.sizes)]
        return 2 * self.batch * (3 * sum(products) - products[0])


PROBLEMS = [
    Problem((8, 16, 1), 32, 512, 6),
    Problem((20, 64, 64, 1), 32, 256, 6),
    Problem((20, 64, 64, 1), 256, 64, 6),
    Problem((30, 100, 1), 200, 64, 6),
    Problem((784, 100, 10), 200, 30, 4),
    Problem((784, 512, 512, 10), 128, 12, 3),
    Problem((1024, 2048, 2048, 10), 512, 3, 3),
    Problem((4096, 4096, 4096), 1024, 2, 2, ("float32",)),
]


class Run(NamedTuple):
    """What one run of one system gives."""

    epochs: list[float]  # seconds of each epoch but the first
    weights: Weights


def data(problem: Problem, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Normal features, and what a random linear rule makes of them: values of about unit variance to predict, or
    classes, two for one output, else one an output."""
    rng = np.random.default_rng(SEED)
    n_in, n_out = problem.sizes[0], problem.sizes[-1]
    X = rng.standard_normal((problem.batch * problem.steps, n_in))
    scores = X @ rng.standard_normal((n_in, n_out))
    if problem.loss == "squared_error":
        return X.astype(dtype), (scores / np.sqrt(n_in)).astype(dtype)
    y = scores[:, 0] > 0 if n_out == 1 else scores.argmax(axis=1)
    return X.astype(dtype), y.astype(np.int64)


def mean_loss(problem: Problem, X: np.ndarray, y: np.ndarray, weights: Weights) -> float:
    """The judge of all systems: mean loss of a ReLU network over the rows of X, in float64."""
    A = X.astype(np.float64)
    coefs, intercepts = weights
    for coef, intercept in zip(coefs[:-1], intercepts[:-1], strict=True):
        A = np.maximum(A @ coef.astype(np.float64) + intercept, 0)
    z = A @ coefs[-1].astype(np.float64) + intercepts[-1]
    if problem.loss == "squared_error":
        return float(((z - y) ** 2).sum(axis=1).mean() / 2)
    if problem.loss == "binary_log_loss":
        return float(np.logaddexp(0, np.where(y == 1, -z[:, 0], z[:, 0])).mean())
    return float(-log_softmax(z, axis=1)[np.arange(len(y)), y].mean())


# ---- the estimators --------------------------------------------------------------------------------------------------


class EpochClock(io.TextIOBase):
    """Takes the place of stdout and notes when an estimator reports the end of an epoch."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def write(self, text: str) -> int:
        if text.startswith("Iteration"):
            self.ends.append(time.perf_counter())
        return len(text)


def estimator_of(module: Any, problem: Problem) -> Any:
    kind = module.MLPRegressor if problem.loss == "squared_error" else module.MLPClassifier
    return kind(
        hidden_layer_sizes=problem.sizes[1:-1],
        batch_size=problem.batch,
        alpha=ALPHA,
        learning_rate_init=RATE,
        max_iter=problem.epochs,
        random_state=SEED,
    )


def run_estimator(module: Any, problem: Problem, X: np.ndarray, y: np.ndarray) -> Run:
    estimator = estimator_of(module, problem).set_params(verbose=True)
    clock = EpochClock()
    with contextlib.redirect_stdout(clock), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a few epochs are not meant to converge
        estimator.fit(X, y)
    return Run([end - start for start, end in pairwise(clock.ends)], (estimator.coefs_, estimator.intercepts_))


def run_partial_fit(module: Any, problem: Problem, X: np.ndarray, y: np.ndarray) -> Run:
    estimator, (_, orders) = estimator_of(module, problem), draws(problem)
    known = {} if problem.loss == "squared_error" else {"classes": np.unique(y)}

    def train_epoch(order: np.ndarray) -> None:
        for rows in order.reshape(problem.steps, problem.batch):
            estimator.partial_fit(X[rows], y[rows], **known)

    return Run(clocked(train_epoch, orders), (estimator.coefs_, estimator.intercepts_))


def run_sklearn(run: Callable, problem: Problem, X: np.ndarray, y: np.ndarray) -> Run:
    return run(sklearn.neural_network, problem, X, y)


def run_network(problem: Problem, X: np.ndarray, y: np.ndarray) -> Run:
    start, orders = draws(problem)
    network = nnfast.MLP(
        problem.sizes, loss=problem.loss, alpha=ALPHA, learning_rate_init=RATE, dtype=X.dtype, start=start
    )
    Y = y
    if problem.loss != "squared_error":  # one output is for the second of two classes
        Y = np.equal.outer(y, np.unique(y)[-problem.sizes[-1] :]).astype(X.dtype)

    def train_epoch(order: np.ndarray) -> None:
        for rows in order.reshape(problem.steps, problem.batch):
            network.train_epoch(X[rows], Y[rows], problem.batch)

    return Run(clocked(train_epoch, orders), (network.coefs_, network.intercepts_))


def openblas_cores() -> set[str]:
    """The CPU types that this process's OpenBLAS libraries have chosen their kernels for."""
    return {pool["architecture"] for pool in threadpool_info() if pool["internal_api"] == "openblas"}


def skylakex_worker() -> ProcessPoolExecutor | None:
    """A process that waits for its turns, whose OpenBLAS runs its kernels for SkylakeX; None where that is no use."""
    name, usual = "skipped: scikit-learn with OPENBLAS_CORETYPE=SkylakeX", openblas_cores()
    if not _core.isas().get("avx512"):
        print(f"{name} (the CPU has no AVX-512)")
    elif usual in (set(), {"SkylakeX"}):
        print(f"{name} ({'that is what runs as installed' if usual else 'NumPy does not use OpenBLAS'})")
    else:
        worker = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        os.environ["OPENBLAS_CORETYPE"] = "SkylakeX"  # read when the library is loaded, hence a new process
        try:
            cores = worker.submit(openblas_cores).result()
        finally:
            del os.environ["OPENBLAS_CORETYPE"]
        if cores == {"SkylakeX"}:
            return worker
        print(f"{name} (OpenBLAS chose {', '.join(cores)})")
    return None


# ---- PyTorch and JAX -------------------------------------------------------------------------------------------------


def draws(problem: Problem) -> tuple[Weights, Iterator[np.ndarray]]:
    """What the estimators draw from their random_state: the first weights, then a new order of rows for each epoch."""
    rng = np.random.RandomState(SEED)
    start = nnfast.MLP(problem.sizes, dtype="float64", random_state=rng)

    def orders() -> Iterator[np.ndarray]:
        order = np.arange(problem.batch * problem.steps)
        for _ in range(problem.epochs):
            order = shuffle(order, random_state=rng)
            yield order

    return (start.coefs_, start.intercepts_), orders()


def clocked(train_epoch: Callable[[np.ndarray], object], orders: Iterable[np.ndarray]) -> list[float]:
    seconds = []
    for order in orders:
        begin = time.perf_counter()
        train_epoch(order)
        seconds.append(time.perf_counter() - begin)
    return seconds[1:]


def run_torch(n_threads: int, problem: Problem, X: np.ndarray, y: np.ndarray) -> Run:
    import torch

    start, orders = draws(problem)
    features, targets = torch.from_numpy(X), torch.from_numpy(y)
    layers = torch_layers(start, features.dtype)
    network = torch_network(layers)
    optimizer = torch.optim.Adam(
        [
            {"params": [layer.weight for layer in layers], "weight_decay": ALPHA / problem.batch},
            {"params": [layer.bias for layer in layers]},
        ],
        lr=RATE,
        betas=(BETA_1, BETA_2),
        eps=EPSILON,
        fused=True,
    )
    if problem.loss == "squared_error":
        half_outputs = problem.sizes[-1] / 2

        def loss_function(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.mse_loss(z, t) * half_outputs  # scikit-learn sums over outputs
    elif problem.loss == "binary_log_loss":
        loss_function = torch.nn.BCEWithLogitsLoss()
        targets = targets[:, None].to(features.dtype)
    else:
        loss_function = torch.nn.CrossEntropyLoss()

    def train_epoch(order: np.ndarray) -> None:
        for rows in torch.from_numpy(order).split(problem.batch):
            loss = loss_function(network(features[rows]), targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    with torch_threads(n_threads):
        epochs = clocked(train_epoch, orders)
    intercepts = [layer.bias.detach().numpy() for layer in layers]
    return Run(epochs, ([layer.weight.detach().numpy().T for layer in layers], intercepts))


def jax_step(loss_name: str) -> Callable:
    """step(state, X, y, rate) -> state, to be compiled; state is (weights, m, v)."""
    import jax
    import jax.numpy as jnp

    def loss(weights: Any, X: Any, y: Any) -> Any:
        z = jax_forward(weights, X)
        if loss_name == "squared_error":
            loss = ((z - y) ** 2).sum() / 2
        elif loss_name == "binary_log_loss":
            loss = (jax.nn.softplus(z[:, 0]) - y * z[:, 0]).sum()
        else:
            loss = -jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], axis=1).sum()
        return (loss + ALPHA / 2 * sum((coef**2).sum() for coef in weights[0])) / len(X)

    def step(state: Any, X: Any, y: Any, rate: Any) -> Any:
        weights, m, v = state
        gradients = jax.grad(loss)(weights, X, y)
        m = jax.tree.map(lambda m, g: BETA_1 * m + (1 - BETA_1) * g, m, gradients)
        v = jax.tree.map(lambda v, g: BETA_2 * v + (1 - BETA_2) * g**2, v, gradients)
        weights = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + EPSILON), weights, m, v)
        return weights, m, v

    return step


def jax_rows(numbers: Any, *arrays: Any) -> tuple[Any, ...]:
    return tuple(array.at[numbers].get(mode="promise_in_bounds") for array in arrays)


@cache
def jax_epoch(loss_name: str, way: str) -> Callable:
    """epoch(state, X, y, order, rates) -> state, the steps of which are compiled as one or, "by batch", each by itself;
    order is (steps, batch)."""
    import jax

    step = jax_step(loss_name)

    def epoch(state: Any, X: Any, y: Any, order: Any, rates: Any) -> Any:
        if way == "first":
            return jax.lax.scan(lambda s, b: (step(s, *b), None), state, (*jax_rows(order, X, y), rates))[0]
        return jax.lax.scan(lambda s, b: (step(s, *jax_rows(b[0], X, y), b[1]), None), state, (order, rates))[0]

    def one(state: Any, X: Any, y: Any, numbers: Any, rate: Any) -> Any:
        return step(state, *jax_rows(numbers, X, y), rate)

    if way != "by batch":
        return jax.jit(epoch, donate_argnums=0)
    compiled = jax.jit(one, donate_argnums=0)

    def by_batch(state: Any, X: Any, y: Any, order: Any, rates: Any) -> Any:
        for numbers, rate in zip(order, rates, strict=True):
            state = compiled(state, X, y, numbers, rate)
        return state

    return by_batch


def run_jax(way: str, problem: Problem, X: np.ndarray, y: np.ndarray) -> Run:
    import jax
    import jax.numpy as jnp

    epoch = jax_epoch(problem.loss, way)
    start, orders = draws(problem)
    weights = jax.tree.map(lambda w: jnp.array(w, X.dtype), start)
    state = (weights, jax.tree.map(jnp.zeros_like, weights), jax.tree.map(jnp.zeros_like, weights))
    features = jnp.array(X)
    targets = jnp.array(y, {"binary_log_loss": X.dtype, "log_loss": np.int32, "squared_error": X.dtype}[problem.loss])
    t = np.arange(1, problem.epochs * problem.steps + 1).reshape(problem.epochs, problem.steps)
    rates = iter((RATE * np.sqrt(1 - BETA_2**t) / (1 - BETA_1**t)).astype(X.dtype))

    def train_epoch(order: np.ndarray) -> None:
        nonlocal state
        numbers = order.astype(np.int32).reshape(problem.steps, problem.batch)
        state = jax.block_until_ready(epoch(state, features, targets, numbers, next(rates)))

    epochs = clocked(train_epoch, orders)
    return Run(epochs, jax.tree.map(np.asarray, state[0]))


# ---- measuring -------------------------------------------------------------------------------------------------------


def systems(by_batch: bool) -> dict[str, Callable[[Problem, np.ndarray, np.ndarray], Run]]:
    """The systems that can be run here, by label."""
    run = run_partial_fit if by_batch else run_estimator
    run_scikit_learn = partial(run_sklearn, run)  # can be sent to a process
    found: dict[str, Callable] = {"nnfast": partial(run, nnfast), "scikit-learn": run_scikit_learn}
    if by_batch:
        found["nnfast.MLP"] = run_network
    if worker := skylakex_worker():
        found["sklearn SkylakeX"] = lambda *task: worker.submit(run_scikit_learn, *task).result()
    if importable("PyTorch", "torch"):
        import torch

        for n_threads in sorted({1, torch.get_num_threads()}):
            found[f"PyTorch, threads: {n_threads}"] = partial(run_torch, n_threads)
    if jax_importable():
        for way in ("by batch",) if by_batch else ("in each step", "first"):
            found[f"JAX, rows gathered: {way}"] = partial(run_jax, way)
    return found


def measure(problem: Problem, dtype: str, contestants: dict[str, Callable], repeats: int, peak: float) -> dict:
    """One row of the table, as it goes into the JSON file. Times are microseconds a step."""
    X, y = data(problem, dtype)
    samples: dict[str, list[float]] = {label: [] for label in contestants}
    losses = {}
    for label, run_one in turns(contestants, repeats):
        run = run_one(problem, X, y)
        samples[label] += [epoch / problem.steps * 1e6 for epoch in run.epochs]
        losses[label] = mean_loss(problem, X, y, run.weights)
    reference = losses["scikit-learn"]
    times = {label: spread(values) for label, values in samples.items()}
    return {
        "title": f"{problem.name} {dtype}",
        "network": problem.name,
        "dtype": dtype,
        "steps": problem.steps,
        "flop": problem.flop,
        "valid": all(abs(loss - reference) <= tolerance(label, dtype) * reference for label, loss in losses.items()),
        "evidence": {"loss": losses},
        "times": times,
        **compare(times, problem.flop, peak),
    }


def main() -> int:
    parser = command_line("bench.train", __doc__, [problem.name for problem in PROBLEMS])
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, help="default: both; 4096-4096-4096 in float32 alone")
    parser.add_argument(
        "--steps", type=int, metavar="N", help="steps of an epoch, for a quick look (default: by network)"
    )
    parser.add_argument("--by-batch", action="store_true", help="a call for each batch, in place of one for all epochs")
    options = parser.parse_args()

    contestants = systems(options.by_batch)
    machine = describe(["nnfast", "numpy", "scipy", "scikit-learn", "torch", "jax"])
    rows = (
        measure(
            problem._replace(steps=options.steps or problem.steps),
            dtype,
            contestants,
            options.repeats,
            machine["fma_peak_gflops"][dtype]["all_threads"],
        )
        for dtype in DTYPES
        for problem in PROBLEMS
        if problem.name in options.sizes and dtype in (options.dtype or problem.dtypes)
    )
    return report(machine, contestants, rows, options.json)


if __name__ == "__main__":
    sys.exit(main())
