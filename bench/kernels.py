"""How fast and how exact the engine's inner loops are: products, activations, optimizers, on every instruction set.

    python -m bench.kernels [--quick] [--part product ...] [--isa avx2 ...] [--dtype float32 ...] [--json FILE]

A cell is the median, half the distance of the quartiles in percent of it, and the error of what was timed.

* product, m x k x n: GFLOP/s; share of the FMA peak, measured in the same run, of that instruction set (for peers: the
  best one; the scalar set has no FMA) and as many threads; the largest error of 1000 elements drawn at random, divided
  by what k + 2 roundings can do, (k + 2) u sum |a| |b|. `ops` is nnfast.ops.matmul with out=; all else of nnfast is
  called from C. XᵀZ and ZWᵀ are the products of backpropagation, with a transposed view. No product that would take
  more than 5 s at the peak.
* activation: nanoseconds an element; largest error in ULP over 2^17 random arguments, in extended precision. A name
  with a prime is dy times the slope, which is taken from the value y of the function. What 1 - y^2 loses near 1, and
  x - max in a softmax, is in the error. From C, 4096 elements in the first-level cache. What is called from Python gets
  32768, or the call itself (1 to 3 microseconds) would be what is timed.
* update: nanoseconds an element and GB/s read and written, on one thread, of a block of weights as training has it and
  of more weights than caches hold; largest error of one step in units of u (half an ULP of 1) times the terms of the
  new weight without their signs. PyTorch runs its fused optimizers, whose call is too slow for a block.

Systems take turns in one process. Before a run on several threads there is a rest, in which the waiting threads of the
one before fall asleep.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from bench import native
from bench.machine import describe
from bench.native import Run
from bench.peers import torch_threads
from threadpoolctl import ThreadpoolController

from nnfast import _core, _threads, ops

try:
    import torch
except ImportError:
    torch = None

Array = np.ndarray

SEED = 0
REST = 0.3  # seconds before each run on several threads, and
WAKE = 0.05  # seconds of work before it is timed: the operating system may have woken two threads on one CPU
POOLS = ThreadpoolController()


class Plan(NamedTuple):
    """What to measure, and how long."""

    isas: list[str]
    threads: list[int]
    peaks: dict[str, dict[str, dict[int, float]]]  # GFLOP/s by type, instruction set and threads; the best set first
    repeats: int
    sample: float  # seconds of a sample, about; a single call may take longer
    quick: bool


class Entry(NamedTuple):
    """One system doing a task."""

    system: str  # an instruction set, where the engine is called from C
    amount: int  # floating-point operations of a call, or elements
    run: Run
    error: Callable[[], float]  # of one call; used before the run is timed


class Task(NamedTuple):
    """One row of the table."""

    name: str
    threads: int
    entries: list[Entry]
    bytes: int = 0  # read and written an element


# ---- measuring ------------------------------------------------------------------------------------------------------


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """So many threads for NumPy and PyTorch."""
    with POOLS.limit(limits=threads, user_api="blas"), nullcontext() if torch is None else torch_threads(threads):
        yield


def from_python(function: Callable, *arguments: Any, threads: int = 1, **options: Any) -> Run:
    def run(calls: int) -> float:
        with limited(threads):
            begin = time.perf_counter()
            for _ in range(calls):
                function(*arguments, **options)
            return time.perf_counter() - begin

    return run


def calls_for(seconds: float, run: Run) -> int:
    calls = 1
    while (taken := run(calls)) < seconds / 4:
        calls *= 4
    return ceil(calls * seconds / taken)


def measure(task: Task, plan: Plan) -> dict[str, dict[str, Any]]:
    """By system: quartiles of the seconds of a call, and its error."""
    errors = [entry.error() for entry in task.entries]
    calls = [calls_for(plan.sample, entry.run) for entry in task.entries]
    samples: list[list[float]] = [[] for _ in task.entries]
    for _ in range(plan.repeats):
        for entry, n, times in zip(task.entries, calls, samples, strict=True):
            if task.threads > 1:
                time.sleep(REST)
            awake = time.perf_counter() + (WAKE if task.threads > 1 else 0)
            entry.run(n // 8)  # fills the caches; nothing where a call is long
            while time.perf_counter() < awake:
                entry.run(ceil(n / 8))
            times.append(entry.run(n) / n)
    return {
        entry.system: dict(zip(("low", "median", "high"), np.percentile(times, (25, 50, 75)).tolist(), strict=True))
        | {"samples": times, "error": error}
        for entry, times, error in zip(task.entries, samples, errors, strict=True)
    }


# ---- products -------------------------------------------------------------------------------------------------------


class Product(NamedTuple):
    kind: str
    m: int
    k: int
    n: int


PRODUCTS = [
    *(Product("XW", n, n, n) for n in (32, 64, 128, 256, 512, 1024, 2048, 4096)),
    Product("XW", 200, 784, 100),
    Product("XW", 128, 784, 512),
    Product("XW", 512, 2048, 2048),
    Product("XᵀZ", 784, 200, 100),
    Product("XᵀZ", 784, 128, 512),
    Product("XᵀZ", 64, 256, 64),
    Product("ZWᵀ", 200, 10, 100),
    Product("ZWᵀ", 128, 512, 512),
    Product("ZWᵀ", 512, 2048, 2048),
    Product("XW", 256, 64, 1),
    Product("XW", 200, 100, 10),
]
QUICK_FLOP = 3e8  # the largest of a quick look
LONGEST = 5.0  # seconds at the peak
N_CHECKED = 1000


def product_tasks(dtype: str, plan: Plan) -> Iterator[Task]:
    for product in PRODUCTS:
        if not plan.quick or 2 * product.m * product.k * product.n < QUICK_FLOP:
            for threads in plan.threads:
                yield product_task(product, threads, dtype, plan)


def product_task(product: Product, threads: int, dtype: str, plan: Plan) -> Task:
    kind, m, k, n = product
    rng = np.random.default_rng(SEED)
    A = rng.standard_normal((k, m)).astype(dtype).T if kind == "XᵀZ" else rng.standard_normal((m, k)).astype(dtype)
    B = rng.standard_normal((n, k)).astype(dtype).T if kind == "ZWᵀ" else rng.standard_normal((k, n)).astype(dtype)
    C = np.empty((m, n), dtype)

    i, j = rng.integers(m, size=N_CHECKED), rng.integers(n, size=N_CHECKED)
    terms = A[i].astype(np.longdouble) * B[:, j].T
    exact, bound = terms.sum(axis=1), (k + 2) * np.finfo(dtype).eps / 2 * np.abs(terms).sum(axis=1)

    def error(run: Run) -> float:
        C.fill(np.nan)
        run(1)
        return float((np.abs(C[i, j] - exact) / bound).max())

    flop = 2 * m * k * n
    runs = {
        isa: native.matmul(isa, C, A, B, threads)
        for isa in plan.isas
        if flop < LONGEST * 1e9 * plan.peaks[dtype][isa][threads]
    }
    runs["ops"] = from_python(ops.matmul, A, B, out=C, n_jobs=threads, threads=threads)
    runs["NumPy"] = from_python(np.matmul, A, B, out=C, threads=threads)
    if torch is not None:
        a, b, c = map(torch.from_numpy, (A, B, C))
        runs["PyTorch"] = from_python(torch.mm, a, b, out=c, threads=threads)
    entries = [Entry(system, flop, run, partial(error, run)) for system, run in runs.items()]
    return Task(f"{kind} {m}x{k}x{n}", threads, entries)


# ---- activations ----------------------------------------------------------------------------------------------------

FROM_C, FROM_PYTHON, CHECKED = 2**12, 2**15, 2**17  # elements

# From the arrays `out` and arguments, what computes out.
Maker = Callable[..., Run]


def by_numpy(function: Callable) -> Maker:
    return lambda out, *arguments: from_python(function, *arguments, out=out)


def by_torch(function: Callable, keyword: str = "out", **options: Any) -> Maker:
    return lambda out, *arguments: from_python(
        function, *map(torch.from_numpy, arguments), **{keyword: torch.from_numpy(out)}, **options
    )


def softmax_in_place(isa: str, out: Array, x: Array) -> Run:
    """Every call but the first takes probabilities, which costs the same."""
    np.copyto(out, x)
    return native.softmax(isa, out)


def numpy_logistic(x: Array, out: Array) -> None:
    """Four passes, four times as fast as scipy.special.expit in float32."""
    np.negative(x, out=out)
    np.exp(out, out=out)
    np.add(out, 1, out=out)
    np.reciprocal(out, out=out)


# The functions of csrc/activation.def, and their slopes from their values.
EXACT: dict[str, tuple[Callable, Callable]] = {
    "identity": (lambda x: x, lambda y: 1),
    "logistic": (lambda x: 1 / (1 + np.exp(-x)), lambda y: y * (1 - y)),
    "tanh": (np.tanh, lambda y: 1 - y * y),
    "relu": (lambda x: np.maximum(x, 0), lambda y: y > 0),
    "leaky_relu": (lambda x: np.where(x > 0, x, x / 100), lambda y: np.where(y > 0, 1, np.longdouble(1) / 100)),
    "step": (lambda x: x > 0, lambda y: 0),
    "exp": (np.exp, lambda y: y),
}
NUMPY = {
    "identity": by_numpy(np.positive),
    "logistic": by_numpy(numpy_logistic),
    "tanh": by_numpy(np.tanh),
    "relu": by_numpy(lambda x, out: np.maximum(x, 0, out=out)),
    "step": by_numpy(lambda x, out: np.heaviside(x, 0, out=out)),
    "exp": by_numpy(np.exp),
    "log": by_numpy(np.log),
}
TORCH: dict[str, Maker] = {}
if torch is not None:
    aten = torch.ops.aten
    TORCH = {
        "logistic": by_torch(torch.sigmoid),
        "tanh": by_torch(torch.tanh),
        "relu": by_torch(aten.relu.out),
        "leaky_relu": by_torch(aten.leaky_relu.out),  # its default slope is ours
        "exp": by_torch(torch.exp),
        "log": by_torch(torch.log),
        "softmax": by_torch(torch.softmax, dim=1),
        "logistic'": by_torch(aten.sigmoid_backward.grad_input, "grad_input"),
        "tanh'": by_torch(aten.tanh_backward.grad_input, "grad_input"),
        "relu'": by_torch(aten.threshold_backward.grad_input, "grad_input", threshold=0),
        "leaky_relu'": by_torch(
            aten.leaky_relu_backward.grad_input, "grad_input", negative_slope=0.01, self_is_result=True
        ),
    }


def aligned(array: Array) -> Array:
    """A copy that begins at a cache line, as the engine's own arrays do."""
    memory = np.empty(array.nbytes + 64, np.uint8)
    begin = -memory.ctypes.data % 64
    result = memory[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)
    result[...] = array
    return result


def ulps(result: Array, exact: Array) -> float:
    spacing = np.spacing(np.abs(exact).astype(result.dtype))
    return float((np.abs(result - exact) / spacing).max())


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def activation_tasks(dtype: str, plan: Plan) -> Iterator[Task]:
    rng = np.random.default_rng(SEED)
    x, dy = 3 * rng.standard_normal(CHECKED), rng.standard_normal(CHECKED)

    def task(name: str, title: str, kernel: Callable, exact: Callable, *arguments: Array) -> Task:
        """kernel(isa, out, *arguments) gives a Run. The arguments have one shape; first they are rounded."""
        arguments = tuple(aligned(a.astype(dtype)) for a in arguments)
        correct = np.broadcast_to(exact(*(a.astype(np.longdouble) for a in arguments)), arguments[0].shape)

        def entry(system: str, maker: Maker, elements: int) -> Entry:
            def error() -> float:
                out = np.empty_like(arguments[0])
                maker(out, *arguments)(1)
                return ulps(out, correct.astype(np.longdouble))

            timed = [a[: elements // a[0].size] for a in arguments]
            return Entry(system, timed[0].size, maker(aligned(timed[0]), *timed), error)

        public = getattr(ops, name, None)
        makers = {"ops": public and by_numpy(public), "NumPy": NUMPY.get(name), "PyTorch": TORCH.get(name)}
        entries = [entry(isa, partial(kernel, isa), FROM_C) for isa in plan.isas]
        entries += [entry(system, maker, FROM_PYTHON) for system, maker in makers.items() if maker]
        return Task(title, 1, entries)

    for name, (function, _) in EXACT.items():
        yield task(name, name, partial(native.activate, name), function, x)
    yield task("log", "log", native.log, np.log, np.exp(x))
    for columns in (10, 64):
        rows = x[: CHECKED // columns * columns].reshape(-1, columns)
        yield task("softmax", f"softmax, rows of {columns}", softmax_in_place, softmax, rows)
    for name, (function, slope) in EXACT.items():
        kernel, exact = partial(native.derive, name), partial(lambda slope, dy, y: dy * slope(y), slope)
        yield task(f"{name}'", f"{name}'", kernel, exact, dy, function(x))


# ---- optimizers -----------------------------------------------------------------------------------------------------

BLOCK, MEMORY, QUICK_MEMORY = 48 * 64, 2**23, 2**20  # elements
N_COMPARED = 2**16

# A step as large as the weights, so that its error shows. The bias corrections of PyTorch's Adam are 1 after so many.
RATES = {
    "alpha": 1e-2,
    "inv_rows": 1 / 200,
    "rate": 0.1,
    "gradient_rate": 0.01,
    "momentum": 0.9,
    "beta_1": 0.9,
    "beta_2": 0.999,
    "epsilon": 1e-8,
}
STEPS_BEFORE = 1e6
FUSED = ("sgd", "momentum", "nesterov", "adam")  # by PyTorch


def new_weights(solver: str, w: Array, dw: Array, s1: Array, s2: Array, sign: int = -1) -> Array:
    """The weights after a step. With absolute arguments and the sign 1: the sum of the terms without their signs."""
    g = (dw + RATES["alpha"] * w) * RATES["inv_rows"]
    step = sign * RATES["rate"] * g
    momentum, beta_1, beta_2 = RATES["momentum"], RATES["beta_1"], RATES["beta_2"]
    v = s1 + g * g if solver == "adagrad" else beta_2 * (s1 if solver == "rmsprop" else s2) + (1 - beta_2) * g * g
    size = np.sqrt(v) + RATES["epsilon"]
    match solver:
        case "sgd":
            return w + step
        case "momentum":
            return w + momentum * s1 + step
        case "nesterov":
            return w + momentum * (momentum * s1 + step) + step
        case "adam" | "nadam":
            ahead = RATES["gradient_rate"] * g if solver == "nadam" else 0
            return w + sign * (RATES["rate"] * (beta_1 * s1 + (1 - beta_1) * g) + ahead) / size
        case "rmsprop" | "adagrad":
            return w + step / size
        case "rprop":  # of a sign that has changed no step is taken
            return w + sign * RATES["rate"] * np.where(g * s1 < 0, 0, np.sign(g)) * s2 * 1.2
    raise ValueError(solver)


def torch_step(solver: str, w: Array, dw: Array, s1: Array, s2: Array) -> Run:
    """The same step by a fused optimizer. Its weight decay and gradient are of the mean loss, its velocity without the
    rate."""
    weights = torch.nn.Parameter(torch.from_numpy(w))
    weights.grad = torch.from_numpy(dw * w.dtype.type(RATES["inv_rows"]))
    options = {"lr": RATES["rate"], "weight_decay": RATES["alpha"] * RATES["inv_rows"], "fused": True}
    if solver == "adam":
        betas = RATES["beta_1"], RATES["beta_2"]
        optimizer = torch.optim.Adam([weights], betas=betas, eps=RATES["epsilon"], **options)
        moments = {"exp_avg": torch.from_numpy(s1), "exp_avg_sq": torch.from_numpy(s2)}
        optimizer.state[weights] = {"step": torch.tensor(STEPS_BEFORE), **moments}
    else:
        momentum = 0 if solver == "sgd" else RATES["momentum"]
        optimizer = torch.optim.SGD([weights], momentum=momentum, nesterov=solver == "nesterov", **options)
        if momentum:
            optimizer.state[weights] = {"momentum_buffer": torch.from_numpy(s1 / w.dtype.type(-RATES["rate"]))}
    return from_python(optimizer.step)


def update_tasks(dtype: str, plan: Plan) -> Iterator[Task]:
    rng = np.random.default_rng(SEED)
    for n in (BLOCK, QUICK_MEMORY if plan.quick else MEMORY):
        w, dw, s1 = rng.standard_normal((3, n), dtype)
        dw /= dw.dtype.type(RATES["inv_rows"])
        s2 = rng.random(n, dtype) + dw.dtype.type(0.5)
        for solver in _core.SOLVERS:
            before = w, dw, s2 if solver in ("rmsprop", "adagrad") else s1, s2  # a mean of squares may be the first
            yield update_task(solver, before, n != BLOCK, plan)


def update_task(solver: str, before: tuple[Array, ...], with_torch: bool, plan: Plan) -> Task:
    arrays = [aligned(array) for array in before]
    few = [array[:N_COMPARED].astype(np.longdouble) for array in before]
    exact, terms = new_weights(solver, *few), new_weights(solver, *map(np.abs, few), sign=1)
    size, itemsize = before[0].size, before[0].itemsize

    def error(run: Run) -> float:
        for array, start in zip(arrays, before, strict=True):
            np.copyto(array, start)
        run(1)
        u = np.finfo(arrays[0].dtype).eps / 2
        return float((np.abs(arrays[0][:N_COMPARED] - exact) / (u * terms)).max())

    runs = {isa: native.update(solver, isa, *arrays, **RATES) for isa in plan.isas}
    if torch is not None and with_torch and solver in FUSED:
        runs["PyTorch"] = torch_step(solver, *arrays)
    entries = [Entry(system, size, run, partial(error, run)) for system, run in runs.items()]
    # dw is read, all else read and written
    return Task(f"{solver}, {size} weights", 1, entries, bytes=(3 + 2 * _core.N_STATES[solver]) * itemsize)


# ---- the table ------------------------------------------------------------------------------------------------------


class Part(NamedTuple):
    tasks: Callable[[str, Plan], Iterator[Task]]  # of a type
    peers: list[str]
    unit: str


PARTS = {
    "product": Part(product_tasks, ["ops", "NumPy", "PyTorch"], "GFLOP/s, share of the peak, error by bound"),
    "activation": Part(activation_tasks, ["ops", "NumPy", "PyTorch"], "ns an element, error in ULP"),
    "update": Part(update_tasks, ["PyTorch"], "ns an element, GB/s, error in u"),
}


def figures(part: str, task: Task, entry: Entry, seconds: float, peak: dict[str, dict[int, float]]) -> dict[str, float]:
    """What a cell says beside the spread and the error."""
    if part == "product":
        gflops = {"gflops": entry.amount / seconds * 1e-9}
        if entry.system == "scalar":  # no FMA, and the compiler makes vectors of it where it can: no peak to speak of
            return gflops
        best = next(iter(peak))
        return gflops | {"share_of_peak": gflops["gflops"] / peak.get(entry.system, peak[best])[task.threads]}
    speed = {"ns_an_element": seconds / entry.amount * 1e9}
    return speed | ({"gb_s": task.bytes / speed["ns_an_element"]} if task.bytes else {})


FORMATS = {"gflops": "{:.3g}", "share_of_peak": "{:.0%}", "ns_an_element": "{:.3g}", "gb_s": "{:.0f} GB/s"}


def cell(row: dict[str, Any]) -> str:
    first, *others = (form.format(row[key]) for key, form in FORMATS.items() if key in row)
    spread = (row["high"] - row["low"]) / (2 * row["median"])
    return " ".join([first, f"±{spread:.0%}", *others, f"{row['error']:.2g}"])


def tables(parts: list[str], dtypes: list[str], plan: Plan) -> Iterator[dict[str, Any]]:
    """Prints a table for each part and type; gives its cells as they go into the JSON file."""
    for part in parts:
        systems = [*plan.isas, *PARTS[part].peers]
        for dtype in dtypes:
            print(f"\n{part}, {dtype}: {PARTS[part].unit}")
            print(f"{'':<26}{'threads':>7}{''.join(f'{system:>25}' for system in systems)}")
            for task in PARTS[part].tasks(dtype, plan):
                measured = measure(task, plan)
                rows = {
                    entry.system: {"part": part, "task": task.name, "dtype": dtype, "threads": task.threads}
                    | {"system": entry.system, "amount": entry.amount}
                    | figures(part, task, entry, measured[entry.system]["median"], plan.peaks[dtype])
                    | measured[entry.system]
                    for entry in task.entries
                }
                cells = [cell(rows[system]) if system in rows else "" for system in systems]
                print(f"{task.name:<26}{task.threads:>7}{''.join(f'{text:>25}' for text in cells)}".rstrip())
                sys.stdout.flush()
                yield from rows.values()


def main() -> None:
    available = [name for name, here in _core.isas().items() if here]
    parser = argparse.ArgumentParser(
        prog="python -m bench.kernels", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small products and arrays, short samples")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--isa", nargs="+", choices=available, default=available)
    parser.add_argument("--dtype", nargs="+", choices=native.DTYPES, default=native.DTYPES)
    parser.add_argument("--repeats", type=int, help="samples of each cell (default: 5, quick: 3)")
    parser.add_argument("--json", type=Path, help="also write everything to this file")
    options = parser.parse_args()

    machine = describe(["nnfast", "numpy", "scipy", "torch"])
    print(f"{machine['cpu']}, {machine['isa']}, {machine['nnfast_threads']} threads, load {machine['load_before']:.1f}")
    print(", ".join(f"{name} {number}" for name, number in machine["versions"].items() if number))
    if torch is None:
        print("skipped, cannot be imported: PyTorch")
    threads = sorted({1, _threads.available()})
    peaks = {
        dtype: {isa: {n: native.peak_gflops(isa, dtype, n) for n in threads} for isa in available}
        for dtype in options.dtype
    }
    for dtype, of_isa in peaks.items():
        speeds = [f"{isa} {' / '.join(f'{peak:.1f}' for peak in of_n.values())}" for isa, of_n in of_isa.items()]
        print(f"FMA peak, {dtype}, GFLOP/s on {' / '.join(map(str, threads))} threads: {', '.join(speeds)}")

    repeats = options.repeats or (3 if options.quick else 5)
    plan = Plan(options.isa, threads, peaks, repeats, 2e-3 if options.quick else 2e-2, options.quick)
    rows = list(tables(options.part, options.dtype, plan))
    if options.json:
        content = {"machine": machine, "peak_gflops": peaks, "repeats": repeats, "rows": rows}
        options.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
