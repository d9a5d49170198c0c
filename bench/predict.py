"""How long a prediction takes: nnfast, scikit-learn, PyTorch, ONNX Runtime and JAX with the same float32 weights.

    python -m bench.predict [--sizes 20-64-64-1 ...] [--rows 1 1000 1000000] [--repeats 5] [--json FILE]

What is timed. One call that gives the probabilities of all rows, again and again: a sample is the mean of as many calls
as fill 20 ms, at least one. Each system has its inputs in its own kind of array before the clock starts, and compiles
and warms up before it too.

* nnfast and scikit-learn: `MLPClassifier.predict_proba`, checks of the input included.
* "nnfast forward": `MLP.forward(X, out=out)`, arrays alone.
* PyTorch: an eager `nn.Sequential` under `inference_mode`, once with one thread and once with all.
* ONNX Runtime: one Gemm and one activation a layer; input and output bound in advance, which is its `out=`; once with
  one thread and once with all.
* JAX: one compiled function, the weights constants in it; waits for the result.

What cannot be imported is named and skipped. Systems take turns.

What makes a row valid. Where a probability of any system differs from scikit-learn's by more than 1e-5, the row is void
and the exit status 1.
"""

from __future__ import annotations

import sys
import timeit
import warnings
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import sklearn.neural_network
from bench.machine import describe
from bench.measure import command_line, compare, report, spread, turns
from bench.peers import Weights, importable, jax_forward, jax_importable, torch_layers, torch_network, torch_threads
from sklearn.exceptions import ConvergenceWarning

import nnfast
from nnfast import _threads

SEED = 0
TOLERANCE = 1e-5  # of a probability; float32 itself errs by less than 1e-6 here
SECONDS, SAMPLES = 0.02, 3  # of a sample; of a turn

ROWS = (1, 1_000, 1_000_000)
MOST_INPUTS = 10**8  # elements of X: 784 columns have 100,000 rows in place of a million


class Network(NamedTuple):
    sizes: tuple[int, ...]

    @property
    def name(self) -> str:
        return "-".join(map(str, self.sizes))

    @property
    def loss(self) -> str:
        """As nnfast.MLP names it."""
        return "binary_log_loss" if self.sizes[-1] == 1 else "log_loss"

    def weights(self) -> Weights:
        drawn = nnfast.MLP(self.sizes, random_state=SEED)
        return drawn.coefs_, drawn.intercepts_

    def rows(self, wanted: int) -> int:
        return min(wanted, 10 ** int(np.log10(MOST_INPUTS / self.sizes[0])))


NETWORKS = [Network((20, 64, 64, 1)), Network((30, 100, 1)), Network((784, 100, 10))]


class Turn(NamedTuple):
    """What one turn of one system gives."""

    samples: list[float]  # microseconds a call
    probabilities: np.ndarray  # (rows, n_out)


def take_turn(call: Callable[[], Any]) -> Turn:
    output = call()
    timer = timeit.Timer(call)
    calls = max(1, int(SECONDS / min(timer.repeat(2, 1))))
    return Turn([seconds / calls * 1e6 for seconds in timer.repeat(SAMPLES, calls)], np.asarray(output))


# ---- the systems: each is given a network and X, and returns what takes its turn -------------------------------------

System = Callable[[Network, np.ndarray], Callable[[], Turn]]


def estimator(module: Any, network: Network, X: np.ndarray) -> Callable[[], Turn]:
    n_in, n_out = network.sizes[0], network.sizes[-1]
    classes = np.arange(max(2, n_out))
    fitted = module.MLPClassifier(network.sizes[1:-1], max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the weights are replaced
        fitted.fit(np.zeros((len(classes), n_in), np.float32), classes)
    fitted.coefs_, fitted.intercepts_ = network.weights()
    call = partial(fitted.predict_proba, X)

    def turn() -> Turn:
        samples, probabilities = take_turn(call)
        return Turn(samples, probabilities[:, -n_out:])  # of two classes, the second: what one output gives

    return turn


def nnfast_forward(network: Network, X: np.ndarray) -> Callable[[], Turn]:
    model = nnfast.MLP(network.sizes, loss=network.loss, start=network.weights())
    out = np.empty((len(X), network.sizes[-1]), np.float32)
    return partial(take_turn, partial(model.forward, X, out=out))


def pytorch(n_threads: int, network: Network, X: np.ndarray) -> Callable[[], Turn]:
    import torch

    output = torch.nn.Sigmoid() if network.loss == "binary_log_loss" else torch.nn.Softmax(dim=1)
    model = torch_network(torch_layers(network.weights(), torch.float32), output).eval()
    call = partial(model, torch.from_numpy(X))

    def turn() -> Turn:
        with torch_threads(n_threads), torch.inference_mode():
            return take_turn(call)

    return turn


def onnx_model(network: Network) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    nodes, initializers, A = [], [], "X"
    output = "Sigmoid" if network.loss == "binary_log_loss" else "Softmax"
    last = len(network.sizes) - 2
    for i, (coef, intercept) in enumerate(zip(*network.weights(), strict=True)):
        initializers += [numpy_helper.from_array(coef, f"W{i}"), numpy_helper.from_array(intercept, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [A, f"W{i}", f"b{i}"], [f"z{i}"]))
        A = "out" if i == last else f"A{i}"
        nodes.append(helper.make_node(output if i == last else "Relu", [f"z{i}"], [A]))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", size])
        for name, size in (("X", network.sizes[0]), ("out", network.sizes[-1]))
    ]
    graph = helper.make_graph(nodes, "mlp", ends[:1], ends[1:], initializers)
    # Versions of the format that every ONNX Runtime since 2022 reads.
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def onnx_runtime(n_threads: int, network: Network, X: np.ndarray) -> Callable[[], Turn]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    session = onnxruntime.InferenceSession(onnx_model(network), options, providers=["CPUExecutionProvider"])
    out = np.empty((len(X), network.sizes[-1]), np.float32)
    binding = session.io_binding()
    binding.bind_cpu_input("X", X)
    binding.bind_output("out", "cpu", 0, out.dtype, out.shape, out.ctypes.data)

    def turn() -> Turn:
        samples, _ = take_turn(partial(session.run_with_iobinding, binding))
        return Turn(samples, out)

    return turn


def jax_jit(network: Network, X: np.ndarray) -> Callable[[], Turn]:
    import jax

    output = jax.nn.sigmoid if network.loss == "binary_log_loss" else jax.nn.softmax
    weights, features = network.weights(), jax.numpy.array(X)
    predict = jax.jit(lambda X: output(jax_forward(weights, X)))
    return partial(take_turn, lambda: predict(features).block_until_ready())


def systems() -> dict[str, System]:
    """The systems that can be run here, by label."""
    found: dict[str, System] = {
        "nnfast": partial(estimator, nnfast),
        "nnfast forward": nnfast_forward,
        "scikit-learn": partial(estimator, sklearn.neural_network),
    }
    thread_counts = sorted({1, _threads.available()})
    if importable("PyTorch", "torch"):
        found |= {f"PyTorch, threads: {n}": partial(pytorch, n) for n in thread_counts}
    if importable("ONNX Runtime", "onnx", "onnxruntime"):
        found |= {f"ONNX Runtime, threads: {n}": partial(onnx_runtime, n) for n in thread_counts}
    if jax_importable():
        found["JAX"] = jax_jit
    return found


# ---- measuring -------------------------------------------------------------------------------------------------------


def measure(network: Network, rows: int, contestants: dict[str, System], repeats: int, peak: float) -> dict:
    """One row of the table, as it goes into the JSON file. Times are microseconds a call."""
    X = np.random.default_rng(SEED).standard_normal((rows, network.sizes[0]), np.float32)
    samples: dict[str, list[float]] = {label: [] for label in contestants}
    probabilities = {}
    ready = {label: make(network, X) for label, make in contestants.items()}
    for label, turn in turns(ready, repeats):
        new, probabilities[label] = turn()
        samples[label] += new
    reference = probabilities["scikit-learn"]
    differences = {label: float(np.abs(P - reference).max()) for label, P in probabilities.items()}
    times = {label: spread(values) for label, values in samples.items()}
    flop = 2 * rows * sum(n_in * n_out for n_in, n_out in pairwise(network.sizes))
    return {
        "title": f"{network.name} {rows:,} row{'s' * (rows > 1)}",
        "network": network.name,
        "rows": rows,
        "flop": flop,
        "valid": all(difference <= TOLERANCE for difference in differences.values()),
        "evidence": {"largest difference": differences},
        "times": times,
        **compare(times, flop, peak),
    }


def main() -> int:
    parser = command_line("bench.predict", __doc__, [network.name for network in NETWORKS])
    parser.add_argument(
        "--rows", nargs="+", type=int, default=ROWS, help="of X (default: 1, 1,000 and 1e6); at most 1e8 elements"
    )
    options = parser.parse_args()

    contestants = systems()
    machine = describe(["nnfast", "numpy", "scipy", "scikit-learn", "torch", "onnxruntime", "jax"])
    peak = machine["fma_peak_gflops"]["float32"]["all_threads"]
    rows = (
        measure(network, network.rows(wanted), contestants, options.repeats, peak)
        for network in NETWORKS
        if network.name in options.sizes
        for wanted in options.rows
    )
    return report(machine, contestants, rows, options.json)


if __name__ == "__main__":
    sys.exit(main())
