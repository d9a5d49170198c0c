"""The engine without memory and with arguments that make no sense. Nothing may crash or leak; what was there before
must work afterwards.

Sizes: test_sizes.py. How much memory is used: test_memory.py. Ctrl-C: test_interruptions.py. Forks: test_processes.py.
Several threads: test_concurrency.py. NaN and its kin: test_odd_numbers.py. Bad parameters and bad data of the
estimators: test_estimators.py, test_perceptron.py. Of the network: test_network.py.
"""

import ast
import copy
import inspect
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone

import nnfast
from nnfast import MLP, MLPClassifier, MLPRegressor, Perceptron, _core, ops
from processes import (
    DIGITS,
    MODELS,
    bits,
    bytes_in_use,
    counts_with_glibc,
    digits,
    in_a_process,
    linux_only,
    real_memory,
)

# ---- no memory -------------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((40, 6)), RNG.standard_normal((40, 2))
COEFS, INTERCEPTS = [RNG.standard_normal(s) for s in ((6, 5), (5, 2))], [RNG.standard_normal(n) for n in (5, 2)]
ACTIVATIONS = ["tanh", "identity"]


def made(**options):
    options = {"max_batch": 40, "keep_gradients": True} | options
    network = _core.Network("d", [6, 5, 2], ACTIVATIONS, "squared_error", "adam", **options)
    network.load(_core.PARAMETERS, COEFS, INTERCEPTS)
    return network


def closed():
    network = made()
    network.close()
    return network


def stored(network, part=_core.PARAMETERS):
    coefs, intercepts = [np.empty_like(c) for c in COEFS], [np.empty_like(b) for b in INTERCEPTS]
    network.store(part, coefs, intercepts)
    return b"".join(a.tobytes() for a in coefs + intercepts)


def into(shape, call):
    """What a call writes into an array of this shape."""
    out = np.full(shape, np.nan)
    call(out)
    return out.tobytes()


def neuron(**changes):
    arguments = {
        "x": X,
        "target": np.sign(Y[:, 0]),
        "sample_weight": np.ones(40),
        "order": np.arange(40, dtype=np.intc),
        "weights": np.zeros(6),
        "activation": "step",
    }
    return _core.Neuron(**(arguments | changes))


def planned(out):
    plan = _core.Plan()
    known = COEFS, INTERCEPTS, "tanh", "identity", ()
    plan.bind(ACTIVATIONS, known)
    assert plan.forward(X[:9], out, known)


def shuffled(order):
    _core.shuffle(order, np.random.MT19937(0))


MANY = np.tile(X, (10, 1))  # rows that need more scratch than a call has on the stack
DEEP = [np.ones((1, 1))] * 20, [np.ones(1)] * 20  # likewise, layers

# Every entry of the binding that computes: how often it allocates, and a call whose result shows its work.
ENTRIES = {
    "matmul": (1, lambda: into((40, 5), lambda out: _core.matmul(X, COEFS[0], out, 2))),
    "matmul, A is copied": (1, lambda: into((20, 5), lambda out: _core.matmul(X[::2, ::2], COEFS[0][::2], out, 2))),
    "linear": (
        0,
        lambda: into((40, 5), lambda out: _core.linear(X, COEFS[0], INTERCEPTS[0], "tanh", out, 2)),
    ),
    "activate": (0, lambda: into(40, lambda out: _core.activate("tanh", Y[:, 0].copy(), out))),
    "activate_grad": (0, lambda: into(40, lambda out: _core.activate_grad("tanh", Y[:, 0].copy(), out))),
    "softmax": (0, lambda: into((40, 6), lambda out: _core.softmax(X, out))),
    "all_finite": (0, lambda: (_core.all_finite(X), _core.all_finite(X * np.nan))),
    "both_classes": (0, lambda: into((20, 2), _core.both_classes)),
    "shuffle": (0, lambda: into(30, lambda out: shuffled(out.view(np.int64)))),
    "Plan": (0, lambda: into((9, 2), planned)),
    "Plan.bind": (0, lambda: into((9, 2), planned)),
    "Plan.forward": (0, lambda: into((9, 2), planned)),
    "forward, weights in place": (
        0,
        lambda: into((9, 2), lambda out: _core.forward(X[:9], COEFS, INTERCEPTS, ACTIVATIONS, out, 2)),
    ),
    "forward, weights packed": (
        0,
        lambda: into((40, 2), lambda out: _core.forward(X, COEFS, INTERCEPTS, ACTIVATIONS, out, 2)),
    ),
    "forward, many rows": (
        1,
        lambda: into((400, 2), lambda out: _core.forward(MANY, COEFS, INTERCEPTS, ACTIVATIONS, out, 2)),
    ),
    "forward, many layers": (
        1,
        lambda: into((40, 1), lambda out: _core.forward(X[:, :1], *DEEP, ["tanh"] * 20, out, 2)),
    ),
    "Network": (2, lambda: stored(made())),
    "Network.load": (0, lambda n: n.load(_core.STATE_1, COEFS, INTERCEPTS)),
    "Network.store": (0, lambda n: stored(n)),
    "Network.close": (2, lambda: stored(closed())),
    "Network.forward": (0, lambda n: into((40, 2), lambda out: n.forward(X, out))),
    "Network.forward, many rows": (1, lambda n: into((400, 2), lambda out: n.forward(MANY, out))),
    "Network.train_epoch": (0, lambda n: n.train_epoch(X, Y, None, 20, np.full(2, 0.01))),
    "Network.step_forward": (0, lambda n: into((40, 2), lambda out: n.step_forward(X, None, out))),
    "Network.step_backward": (0, lambda n: (n.step_backward(X, None, Y, 0.5, 0.1, 0.01), stored(n))),
    "Network.gradients": (0, lambda n: (n.gradients(X, Y), stored(n, _core.GRADIENTS))),
    "Network.hold": (0, lambda n: n.hold(X, Y)),
    "Network.value": (0, lambda n: (n.hold(X, Y), into(47, lambda out: n.value(np.arange(47.0) / 47, out)))),
    "Neuron": (0, lambda: neuron().intercept),
    "Neuron.epoch": (0, lambda: neuron().epoch()),
    "Neuron.epoch, averaged": (0, lambda: neuron(weight_sum=np.zeros(6)).epoch()),
    "Neuron.rescale": (0, lambda: neuron().rescale()),
}


def test_every_entry_is_here():
    """As the stub lists them."""
    stub = ast.parse((Path(nnfast.__file__).parent / "_core.pyi").read_text())
    found = {node.name for node in stub.body if isinstance(node, ast.FunctionDef)}
    for node in stub.body:
        if isinstance(node, ast.ClassDef):
            found.add(node.name)
            methods = [m for m in node.body if isinstance(m, ast.FunctionDef) and not m.decorator_list]
            found |= {f"{node.name}.{m.name}" for m in methods if m.name != "__new__"}
    about = {"isas", "active_isa", "select_isa", "processors", "max_threads", "threads_backend", "compiler"}
    assert {name.partition(",")[0] for name in ENTRIES} | about | {"fail_allocation"} == found


@pytest.fixture(autouse=True)
def _allocations_work_again():
    yield
    _core.fail_allocation(-1)


def failures(call):
    """Lets each allocation of a call fail in turn; how many there are, and the result when none failed."""
    for countdown in range(100):
        _core.fail_allocation(countdown)
        try:
            result = call()
        except MemoryError:
            continue
        _core.fail_allocation(-1)
        return countdown, result
    raise AssertionError("it never succeeds")


@pytest.mark.parametrize("name", ENTRIES)
def test_each_allocation_of_the_engine_may_fail(isa, name):
    n_allocations, call = ENTRIES[name]
    if not inspect.signature(call).parameters:
        assert failures(call) == (n_allocations, call())
        return
    network, untouched = made(), made()
    before = stored(network)
    if n_allocations:
        _core.fail_allocation(0)
        with pytest.raises(MemoryError, match="not enough memory"):
            call(network)
        assert stored(network) == before
    assert failures(lambda: call(network)) == (n_allocations, call(untouched))
    assert stored(network) == stored(untouched)
    assert ENTRIES["Network.train_epoch"][1](network) == ENTRIES["Network.train_epoch"][1](untouched)
    assert stored(network) == stored(untouched)


@pytest.mark.parametrize("name", [name for name, (_, call) in ENTRIES.items() if inspect.signature(call).parameters])
def test_a_closed_network_stores_and_predicts(name):
    """What it needs for more is gone."""
    network, call = closed(), ENTRIES[name][1]
    if name.startswith(("Network.store", "Network.forward", "Network.hold")):
        assert call(network) == call(made())
    else:
        with pytest.raises(ValueError, match="out of range"):
            call(network)
    network.close()
    assert stored(network) == stored(made())


def network_of_two_threads():
    return MLP((60, 100, 90, 3), activation="tanh", dtype="float64", random_state=0, alpha=0.1)


@pytest.mark.parametrize(
    ("method", "n_allocations"), [("forward", 1), ("loss", 2), ("gradients", 2), ("train_epoch", 2)]
)
def test_a_network_without_memory_stays_as_it_was(method, n_allocations):
    rng = np.random.default_rng(1)
    X, Y = rng.standard_normal((200, 60)), rng.standard_normal((200, 3))
    network, untouched = network_of_two_threads(), network_of_two_threads()
    arguments = {"forward": (X,), "train_epoch": (X, Y, 90)}.get(method, (X, Y))
    expected = getattr(untouched, method)(*arguments)
    for countdown in range(n_allocations):
        _core.fail_allocation(countdown)
        with pytest.raises(MemoryError):
            getattr(network, method)(*arguments)
        assert bits(network) == bits(network_of_two_threads()) and network.n_steps_ == 0
    n_failed, got = failures(lambda: getattr(network, method)(*arguments))
    assert n_failed == n_allocations
    np.testing.assert_equal(got, expected)
    assert bits(network) == bits(untouched)


def picture(model):
    """All that an estimator knows."""
    return {name: pickle.dumps(value) for name, value in vars(model).items()}


CALLS = {
    "fit": lambda model, X, y: model.fit(X, y),
    "fit of other layers and data": lambda model, X, y: model.set_params(hidden_layer_sizes=7).fit(X[:, :9], y > 4),
    "warm start": lambda model, X, y: model.set_params(warm_start=True).fit(X, y),
    "partial_fit": lambda model, X, y: model.partial_fit(X, y),
    "resume": lambda model, X, y: model.set_params(max_iter=4).fit(X, y, resume=True),
    "L-BFGS": lambda model, X, y: model.set_params(solver="lbfgs").fit(X, y),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_an_estimator_whose_fit_has_no_memory_stays_as_it_was(kind, name):
    X, y = DIGITS.data[:100] / 16, DIGITS.target[:100]
    model = kind(hidden_layer_sizes=(5,), max_iter=2, random_state=0, averaging="ema", averaging_start=0).fit(X, y)
    same = copy.deepcopy(model)
    parameters, before = model.get_params(), picture(model)
    _core.fail_allocation(0)
    with pytest.raises(MemoryError):
        CALLS[name](model, X, y)
    _core.fail_allocation(-1)
    assert picture(model.set_params(**parameters)) == before
    for _ in range(2):
        assert bits(CALLS[name](model, X, y)) == bits(CALLS[name](same, X, y))
    assert picture(model).keys() == picture(same).keys()


@pytest.mark.parametrize("averaging", [None, "swa"])
def test_memory_that_ends_in_the_midst_of_a_fit(averaging):
    """It is needed at the end of each epoch, to judge it: the epoch counts when it has been judged."""
    X, y = DIGITS.data / 16, DIGITS.target
    options = {"early_stopping": True, "averaging": averaging, "averaging_start": 0}
    model = MLPClassifier((5,), max_iter=4, random_state=0, **options)
    whole = clone(model).fit(X, y)
    for n_done in range(3):
        _core.fail_allocation(2 + n_done)  # the network takes two
        with pytest.raises(MemoryError):
            model.fit(X, y)
        assert model.n_iter_ == len(model.loss_curve_) == n_done
        assert model.fit(X, y, resume=True).validation_scores_ == whole.validation_scores_
        assert bits(model) == bits(whole)


@pytest.mark.parametrize("name", ["classifier, small", "perceptron"])
def test_an_estimator_that_has_refused_data_stays_as_it_was(name):
    """Other features, and one class only: that is found when the number of features has been looked at."""
    model = clone(MODELS[name]).fit(*digits(name))
    before = picture(model)
    for X, y, refused in ((DIGITS.data[:, :9], DIGITS.target * np.nan, "NaN"), (DIGITS.data[:1, :9], ["a"], "a|one")):
        with pytest.raises(ValueError, match=refused):
            model.fit(X, y)
        assert picture(model) == before


def test_ops_without_memory():
    for call in (lambda: ops.matmul(X, COEFS[0]), lambda: ops.linear(MANY, np.ones((6, 900)))):
        n_failed, got = failures(call)
        assert n_failed > 0
        np.testing.assert_array_equal(got, call())


@counts_with_glibc
@pytest.mark.parametrize("name", [name for name, (n_allocations, _) in ENTRIES.items() if n_allocations])
def test_a_failed_call_leaks_nothing(name):
    n_allocations, call = ENTRIES[name]
    arguments = [made()] if inspect.signature(call).parameters else []

    def fail(rounds):
        for round_ in range(rounds):
            _core.fail_allocation(round_ % n_allocations)
            with pytest.raises(MemoryError):
                call(*arguments)
        _core.fail_allocation(-1)

    fail(100)  # caches fill
    before = bytes_in_use()
    fail(2000)
    # The least that the engine allocates is 64 bytes; if but every second call lost them, 64 KB would be gone.
    assert bytes_in_use() - before < 32e3


def fits_in_little_memory():
    """The weights have 4 MB, the engine wants several times that. How often the memory was too little for each call."""
    import mmap
    import resource
    import warnings

    import numpy as np

    from nnfast import MLP, MLPClassifier

    def used():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0]) * mmap.PAGESIZE

    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((50, 4)), np.arange(50) % 3
    # One thread: where memory for a stack is missing, OpenMP's runtime ends the process.
    model = MLPClassifier((4,), max_iter=2, random_state=0, n_jobs=1).fit(X, y)
    expected = model.predict_proba(X)
    network = MLP((4, 700, 700, 3), dtype="float64", random_state=0, n_jobs=1)
    many = np.zeros((200_000, 4))
    n_failed = []
    for call in (
        lambda: model.set_params(hidden_layer_sizes=(700, 700)).fit(X, y),
        lambda: network.train_epoch(X, np.eye(3)[y], 50),
        lambda: network.forward(many[:, ::-1]),
    ):
        for megabytes in range(1, 1000, 2):
            resource.setrlimit(resource.RLIMIT_AS, (used() + megabytes * 2**20, resource.RLIM_INFINITY))
            try:
                call()
            except MemoryError:
                continue
            finally:
                resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                model.set_params(hidden_layer_sizes=(4,)).fit(X, y)
                assert (model.predict_proba(X) == expected).all()
                assert np.isfinite(network.forward(X)).all()
            break
        n_failed.append(megabytes // 2)
    print(*n_failed)


@linux_only
@real_memory
def test_memory_that_really_runs_out():
    n_failed = in_a_process(fits_in_little_memory, MALLOC_MMAP_THRESHOLD_="65536")  # what is freed is really gone
    assert len(n_failed) == 3 and "0" not in n_failed


# ---- arguments that make no sense, straight to the binding -----------------------------------------------------------

A, B, C = RNG.standard_normal((4, 3)), RNG.standard_normal((3, 5)), np.zeros((4, 5))
SINGLE = np.float32


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def unaligned(array):
    result = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    result[...] = array
    return result


def strided(array, strides):
    """Any strides over more memory than they can reach."""
    middle = np.zeros(4 * array.size + 40)[2 * array.size :]
    return np.lib.stride_tricks.as_strided(middle, array.shape, strides)


NO_ARRAYS = {"None": None, "a list": [[0.0] * 5] * 4, "a number": 1.0, "text": "abc"}
STRANGE = {
    "integers": lambda a: a.astype(np.int64),
    "half": lambda a: a.astype(np.float16),
    "single": lambda a: a.astype(np.float32),
    "long double": lambda a: a.astype(np.longdouble),
    "complex": lambda a: a.astype(complex),
    "objects": lambda a: a.astype(object),
    "text": lambda a: a.astype(str),
    "bools": lambda a: a.astype(bool),
    "other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
    "unaligned": unaligned,
    "one dimension more": lambda a: a[np.newaxis].copy(),
    "one dimension less": lambda a: a[0].copy(),
    "one row less": lambda a: a[:-1].copy(),
    "nothing": lambda a: a[:0].copy(),
}
# Matrices are read row by row, each row and each vector without gaps; outputs are without gaps as a whole.
STRANGE_MATRICES = STRANGE | {
    "by columns": np.asfortranarray,
    "every second column": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "columns backwards": lambda a: a[:, ::-1],
    "rows backwards": lambda a: a[::-1],
    "one row over and over": lambda a: strided(a, (0, 8)),
    "rows that overlap": lambda a: strided(a, (8 * a.shape[1] - 8, 8)),
    "bytes between rows": lambda a: strided(a, (8 * a.shape[1] + 4, 8)),
}
STRANGE_VECTORS = STRANGE | {
    "every second": lambda a: np.repeat(a, 2)[::2],
    "backwards": lambda a: a[::-1],
    "one element over and over": lambda a: strided(a, (0,)),
    "bytes between elements": lambda a: strided(a, (12,)),
}
READ_ONLY = {"read-only": read_only}


def table():
    """(what is wrong, a call of the binding that must refuse it)."""
    n = _core
    w, b, f = COEFS, INTERCEPTS, ACTIVATIONS
    hidden, out, column = np.zeros((40, 5)), np.zeros((40, 2)), Y[:, 0].copy()
    rates, order = np.full(4, 0.01), np.arange(40)
    network = made()

    # Each array of each entry in turn, replaced by something strange.
    entries = {
        "matmul A": (A, STRANGE, lambda a: n.matmul(a, B, C, 1)),
        "matmul B": (B, STRANGE, lambda a: n.matmul(A, a, C, 1)),
        "matmul out": (C, STRANGE_MATRICES | READ_ONLY, lambda a: n.matmul(A, B, a, 1)),
        "activate x": (column, STRANGE_VECTORS, lambda a: n.activate("tanh", a, column.copy())),
        "activate out": (column, STRANGE_VECTORS | READ_ONLY, lambda a: n.activate("tanh", column, a)),
        "activate_grad x": (column, STRANGE_VECTORS, lambda a: n.activate_grad("tanh", a, column.copy())),
        "activate_grad out": (column, STRANGE_VECTORS | READ_ONLY, lambda a: n.activate_grad("tanh", column, a)),
        "softmax x": (X, STRANGE_MATRICES, lambda a: n.softmax(a, X.copy())),
        "softmax out": (X.copy(), STRANGE_MATRICES | READ_ONLY, lambda a: n.softmax(X, a)),
        "linear X": (X, STRANGE_MATRICES, lambda a: n.linear(a, w[0], b[0], "tanh", hidden, 1)),
        "linear W": (w[0], STRANGE_MATRICES, lambda a: n.linear(X, a, b[0], "tanh", hidden, 1)),
        "linear b": (b[0], STRANGE_VECTORS, lambda a: n.linear(X, w[0], a, "tanh", hidden, 1)),
        "linear out": (hidden, STRANGE_MATRICES | READ_ONLY, lambda a: n.linear(X, w[0], b[0], "tanh", a, 1)),
        "forward X": (X, STRANGE_MATRICES, lambda a: n.forward(a, w, b, f, out, 1)),
        "forward coefs": (w[0], STRANGE_MATRICES, lambda a: n.forward(X, [a, w[1]], b, f, out, 1)),
        "forward last coefs": (w[1], STRANGE_MATRICES, lambda a: n.forward(X, [w[0], a], b, f, out, 1)),
        "forward intercepts": (b[0], STRANGE_VECTORS, lambda a: n.forward(X, w, [a, b[1]], f, out, 1)),
        "forward out": (out, STRANGE_MATRICES | READ_ONLY, lambda a: n.forward(X, w, b, f, a, 1)),
        "load coefs": (w[0], STRANGE_MATRICES, lambda a: network.load(0, [a, w[1]], b)),
        "load intercepts": (b[1], STRANGE_VECTORS, lambda a: network.load(0, w, [b[0], a])),
        "store coefs": (w[0].copy(), STRANGE_MATRICES | READ_ONLY, lambda a: network.store(0, [a, w[1].copy()], b)),
        "store intercepts": (
            b[1].copy(),
            STRANGE_VECTORS | READ_ONLY,
            lambda a: network.store(0, [c.copy() for c in w], [b[0].copy(), a]),
        ),
        "Network.forward X": (X, STRANGE_MATRICES, lambda a: network.forward(a, out)),
        "Network.forward out": (out, STRANGE_MATRICES | READ_ONLY, lambda a: network.forward(X, a)),
        "train_epoch X": (X, STRANGE_MATRICES, lambda a: network.train_epoch(a, Y, order, 10, rates)),
        "train_epoch Y": (Y, STRANGE_MATRICES, lambda a: network.train_epoch(X, a, order, 10, rates)),
        "train_epoch rates": (rates, STRANGE_VECTORS, lambda a: network.train_epoch(X, Y, order, 10, a)),
        "step_forward X": (X, STRANGE_MATRICES, lambda a: network.step_forward(a, order, Y.copy())),
        "step_forward raw": (Y.copy(), STRANGE_MATRICES, lambda a: network.step_forward(X, order, a)),
        "step_backward X": (X, STRANGE_MATRICES, lambda a: network.step_backward(a, order, Y, 0.0, 0.0)),
        "step_backward gradient": (Y, STRANGE_MATRICES, lambda a: network.step_backward(X, order, a, 0.0, 0.0)),
        "gradients X": (X, STRANGE_MATRICES, lambda a: network.gradients(a, Y)),
        "gradients Y": (Y, STRANGE_MATRICES, lambda a: network.gradients(X, a)),
        "Neuron x": (X, STRANGE_MATRICES, lambda a: neuron(x=a).epoch()),
        "Neuron target": (column, STRANGE_VECTORS, lambda a: neuron(target=a).epoch()),
        "Neuron sample_weight": (column, STRANGE_VECTORS, lambda a: neuron(sample_weight=a).epoch()),
        "Neuron weights": (
            b[0][:3].copy(),
            STRANGE_VECTORS | READ_ONLY,
            lambda a: neuron(x=X[:, :3].copy(), weights=a),
        ),
        "Neuron l1_applied": (
            np.zeros(6),
            STRANGE_VECTORS | READ_ONLY,
            lambda a: neuron(l1_applied=a, penalty="l1").epoch(),
        ),
    }
    for entry, (array, changes, call) in entries.items():
        for what, change in changes.items():
            yield f"{entry}: {what}", (lambda call=call, array=array, change=change: call(change(array)))
        for what, thing in NO_ARRAYS.items():
            yield f"{entry}: {what}", (lambda call=call, thing=thing: call(thing))
    integers = {"single": order.astype("f4"), "double": order.astype("f8"), "unaligned": unaligned(order)}
    integers |= {"int32": order.astype(np.int32), "uint64": order.astype(np.uint64), "gaps": np.repeat(order, 2)[::2]}
    integers |= {"out of range": order + 1, "negative": order - 1, "huge": order + 2**62, "matrix": order.reshape(8, 5)}
    integers |= {"fewer": order[:30], "none": order[:0], "a list": order.tolist(), "text": "abc", "a number": 1}
    for what, thing in integers.items():
        yield f"train_epoch order: {what}", (lambda o=thing: network.train_epoch(X, Y, o, 10, rates))
    ints = np.arange(40, dtype=np.intc)
    for what, thing in {"int64": order, "read-only": read_only(ints), "gaps": np.repeat(ints, 2)[::2],
                        "fewer": ints[:30], "a list": ints.tolist(), "None": None}.items():  # fmt: skip
        yield f"Neuron order: {what}", (lambda o=thing: neuron(order=o))
    for what, change in (STRANGE_VECTORS | READ_ONLY).items():  # None is no average
        yield f"Neuron weight_sum: {what}", (lambda change=change: neuron(weight_sum=change(np.zeros(6))))

    def create(**changes):
        arguments = {"format": "d", "sizes": [6, 5, 2], "activations": f, "loss": "squared_error", "solver": "adam"}
        return _core.Network(**(arguments | changes))

    changes = [
        *({"format": v} for v in ("x", "", "ff", "float64", None, 1, b"d")),
        *({"sizes": v} for v in ([6], [], [6, 5], [6, 5, 2, 1], [0, 5, 2], [6, 0, 2], [6, 5, -2], [6, 2.5, 2])),
        *({"sizes": v} for v in (["6", "5", "2"], [6, None, 2], None, 3, "652", [6, 2**70, 2])),
        *({"activations": v} for v in ([], ["tanh"], ["tanh"] * 3, ["softmax", "identity"], ["tanh", "tanh"])),
        *({"activations": v} for v in (["tanh", "softmax"], [0, 0], [None, "identity"], ["", "identity"], None, 2)),
        *({"activations": ["tanh", "ordered"], "loss": "quantile", "levels": v} for v in ((), (0.5,), 0.5, "ab", None)),
        *(
            {"activations": ["tanh", "ordered"], "loss": "quantile", "levels": v}
            for v in ((0.5, 0.5), (0, 0.5), (0.5, 1))
        ),
        *({"loss": "huber", "huber_delta": v} for v in (0, -1, float("nan"), "a", None)),
        *({"activations": ["tanh", "exp"], "loss": "tweedie", "tweedie_power": v} for v in (1, 2, 0, "a", None)),
        *({"activations": ["tanh", "softmax"], "loss": "focal", "focal_gamma": v} for v in (-1, float("nan"), None)),
        *({"loss": v} for v in ("hinge", "", None, 0, "log_loss", "poisson", "binary_log_loss")),
        *({"solver": v} for v in ("lbfgs", "", None, 0)),
        *({"max_batch": v} for v in (0, -1, 2.5, "5", None, 2**64)),
        *({"n_threads": v} for v in (0, -1, "2", None, 2**31)),
        *({name: v} for name in ("alpha", "momentum", "beta_1", "epsilon") for v in ("a", None, 1j, [1])),
        {"unknown": 1},
    ]
    for change in changes:
        yield f"Network: {change}", (lambda c=change: create(**c))

    plain, small = create(solver="sgd"), create(max_batch=5)
    neurons = [{"seed": v} for v in (-1, 2**32, "a")] + [{"penalty": v} for v in ("l3", 1, "")]
    neurons += [{"activation": v} for v in ("softmax", "", None, 1)] + [{"eta0": "a"}, {"eta0": None}, {"unknown": 1}]
    for change in neurons:
        yield f"Neuron: {change}", (lambda c=change: neuron(**c).epoch())
    yield from {
        "matmul: inner sizes": lambda: n.matmul(A, B[:2], C, 1),
        "matmul: no threads": lambda: n.matmul(A, B, C, None),
        "matmul: arguments": lambda: n.matmul(A, B, C),
        "activate: unknown": lambda: n.activate("swish", column, column),
        "activate: softmax": lambda: n.activate("softmax", column, column),
        "activate: None": lambda: n.activate(None, column, column),
        "activate: bytes": lambda: n.activate(b"tanh", column, column),
        "activate: a part of x": lambda: n.activate("tanh", column[:-1], column[1:]),
        "softmax: a part of x": lambda: n.softmax(X[1:], X[:-1]),
        "softmax: a number": lambda: n.softmax(np.array(1.0), np.array(1.0)),
        "linear: unknown activation": lambda: n.linear(X, w[0], b[0], "swish", hidden, 1),
        "linear: no activation": lambda: n.linear(X, w[0], b[0], None, hidden, 1),
        "linear: no inputs": lambda: n.linear(X[:, :0], w[0][:0], b[0], "tanh", hidden, 1),
        "linear: no outputs": lambda: n.linear(X, w[0][:, :0].copy(), b[0][:0], "tanh", hidden[:, :0], 1),
        "linear: no threads": lambda: n.linear(X, w[0], b[0], "tanh", hidden, 0),
        "softmax: no columns": lambda: n.softmax(np.zeros((3, 0)), np.zeros((3, 0))),
        "forward: no layers": lambda: n.forward(X, [], [], [], out, 1),
        "forward: no layers, tuples": lambda: n.forward(X, (), (), (), out, 1),
        "forward: too few intercepts": lambda: n.forward(X, w, b[:1], f, out, 1),
        "forward: too many intercepts": lambda: n.forward(X, w, [*b, b[0]], f, out, 1),
        "forward: too few activations": lambda: n.forward(X, w, b, f[:1], out, 1),
        "forward: too many activations": lambda: n.forward(X, w, b, [*f, "tanh"], out, 1),
        "forward: unknown activation": lambda: n.forward(X, w, b, ["tanh", "swish"], out, 1),
        "forward: softmax between": lambda: n.forward(X, w, b, ["softmax", "identity"], out, 1),
        "forward: layers that do not meet": lambda: n.forward(X, [w[0], w[1][:4].copy()], b, f, out, 1),
        "forward: another order": lambda: n.forward(X, w[::-1], b[::-1], f, out, 1),
        "forward: no threads": lambda: n.forward(X, w, b, f, out, 0),
        "forward: fewer than none": lambda: n.forward(X, w, b, f, out, -1),
        "forward: a scalar for weights": lambda: n.forward(X, [np.float64(1)], b[:1], f[:1], out, 1),
        "forward: an empty layer": lambda: n.forward(X[:, :0], [np.ones((0, 2))], b[1:], f[1:], out, 1),
        "load: no such part": lambda: network.load(4, w, b),
        "load: a negative part": lambda: network.load(-1, w, b),
        "load: a huge part": lambda: network.load(2**40, w, b),
        "load: a state that is not kept": lambda: plain.load(_core.STATE_1, w, b),
        "store: a second state that is not kept": lambda: plain.store(_core.STATE_2, w, b),
        "store: gradients that are not kept": lambda: plain.store(_core.GRADIENTS, w, b),
        "load: too few": lambda: network.load(0, w[:1], b),
        "load: too many": lambda: network.load(0, w, [*b, b[0]]),
        "load: None": lambda: network.load(0, None, b),
        "train_epoch: empty batches": lambda: network.train_epoch(X, Y, None, 0, rates),
        "train_epoch: less than empty": lambda: network.train_epoch(X, Y, None, -10, rates),
        "train_epoch: half a row": lambda: network.train_epoch(X, Y, None, 2.5, rates),
        "train_epoch: larger than agreed": lambda: small.train_epoch(X, Y, None, 6, np.ones(7)),
        "train_epoch: huge, no rates": lambda: network.train_epoch(X, Y, None, 2**63 - 1, rates[:0]),
        "train_epoch: beyond 64 bits": lambda: network.train_epoch(X, Y, None, 2**63, rates[:1]),
        "train_epoch: a rate too few": lambda: network.train_epoch(X, Y, None, 10, rates[:3]),
        "train_epoch: a rate too many": lambda: network.train_epoch(X, Y, None, 20, rates[:3]),
        "gradients: larger than agreed": lambda: small.gradients(X, Y),
        "train_epoch: no targets": lambda: network.train_epoch(X, None, None, 40, rates[:1]),
        "train_epoch: begun beyond its end": lambda: network.train_epoch(
            X, Y, None, 10, rates, begun=(0.0, 0.0, 0.0, 41, 4)
        ),
        "train_epoch: begun before its beginning": lambda: network.train_epoch(
            X, Y, None, 10, rates, begun=(0.0, 0.0, 0.0, -1, 0)
        ),
        "train_epoch: more steps than rows": lambda: network.train_epoch(
            X, Y, None, 10, rates, begun=(0.0, 0.0, 0.0, 10, 11)
        ),
        "train_epoch: begun, in part": lambda: network.train_epoch(X, Y, None, 10, rates, begun=(0.0, 0.0)),
        "progress: text": lambda: setattr(network, "progress", "abcde"),
        "gradients: no targets": lambda: network.gradients(X, None),
        "hold: no targets": lambda: (network.hold(X, None), network.value(np.zeros(47), np.zeros(47))),
        "step_forward: larger than agreed": lambda: small.step_forward(X, None, Y.copy()),
        "step_forward: no rows": lambda: network.step_forward(X[:0], None, Y[:0].copy()),
        "step_backward: a row too few": lambda: network.step_backward(X, None, Y[:39], 0.0, 0.0),
        "step_backward: rows that are not there": lambda: network.step_backward(X, order + 1, Y, 0.0, 0.0),
        "step_backward: gradients that are not kept": lambda: plain.step_backward(
            X[:1], None, Y[:1], 0.0, 0.0, learning=False
        ),
        "gradients: not kept": lambda: plain.gradients(X[:1], Y[:1]),
        "select_isa: unknown": lambda: _core.select_isa("avx3000"),
        "select_isa: nothing": lambda: _core.select_isa(""),
        "select_isa: None": lambda: _core.select_isa(None),
        "select_isa: a number": lambda: _core.select_isa(2),
    }.items()


def test_the_binding_refuses_what_makes_no_sense():
    """And writes nothing, and works as before."""
    inputs = [A, B, X, Y, *COEFS, *INTERCEPTS]
    before = [a.tobytes() for a in inputs]
    isa, cases, accepted = _core.active_isa(), 0, []
    for what, call in table():
        cases += 1
        try:
            answer = call()
        except (ValueError, TypeError, BufferError, OverflowError, LookupError, AttributeError):
            continue
        if answer is not False:  # what the array operations say
            accepted.append(what)
    assert accepted == []
    assert cases > 700
    assert [a.tobytes() for a in inputs] == before
    assert _core.active_isa() == isa


def test_an_object_that_has_refused_works_as_before():
    network, untouched = made(), made()
    rates, order = np.full(4, 0.01), np.arange(40)
    for bad in (
        lambda: network.train_epoch(X, Y, order + 1, 10, rates),
        lambda: network.train_epoch(X, Y, order, 10, rates[:3]),
        lambda: network.train_epoch(X, Y[:39], order, 10, rates),
        lambda: network.load(_core.PARAMETERS, COEFS, [INTERCEPTS[0], INTERCEPTS[1].astype(SINGLE)]),
        lambda: network.store(_core.PARAMETERS, COEFS[:1], INTERCEPTS),
        lambda: network.forward(X, np.empty((40, 3))),
        lambda: network.gradients(X[:0], Y[:0]),
    ):
        with pytest.raises(ValueError):
            bad()
    assert stored(network) == stored(untouched)
    assert network.train_epoch(X, Y, order, 10, rates) == untouched.train_epoch(X, Y, order, 10, rates)
    assert stored(network) == stored(untouched)


def test_a_batch_larger_than_everything_is_one_batch():
    """Also the largest number there is, which users write for "all of it"."""
    for batch_size in (40, 41, 10**9, sys.maxsize):
        network, untouched = made(), made()
        got = network.train_epoch(X, Y, None, batch_size, np.ones(1))
        assert got == untouched.train_epoch(X, Y, None, 40, np.ones(1))
        assert stored(network) == stored(untouched)
        one = MLP((6, 3, 2), random_state=0)
        assert np.isfinite(one.train_epoch(X, Y, batch_size)) and one.n_steps_ == 1


def neuron_with_a_bad_order():
    import numpy as np

    from nnfast import _core

    for bad in (-1, 3, 2**30, -(2**30)):
        for activation, seed in (("step", None), ("tanh", None), ("step", 1)):
            neuron = _core.Neuron(
                x=np.ones((3, 2)),
                target=np.ones(3),
                sample_weight=np.ones(3),
                order=np.array([0, 1, bad], np.intc),
                weights=np.zeros(2),
                activation=activation,
                seed=seed,
            )
            try:
                neuron.epoch()
            except ValueError as error:
                assert "out of range" in str(error)
            else:
                raise AssertionError(bad)


def test_samples_that_are_not_there():
    """In a process of its own, for it might read anywhere."""
    in_a_process(neuron_with_a_bad_order)


# ---- arrays as other programs make them ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_whose_elements_lie_anywhere(dtype):
    """Fields of packed records, and what np.frombuffer finds after a header: NumPy and scikit-learn read them."""
    rng = np.random.default_rng(2)
    X = rng.standard_normal((30, 5)).astype(dtype)
    y = X[:, 0] > 0
    for model in (
        MLPClassifier((4,), max_iter=3, random_state=0),
        MLPRegressor(hidden_layer_sizes=(4,), max_iter=3, random_state=0),
        Perceptron(),
        Perceptron(activation="tanh", eta0=0.1),
    ):
        expected = clone(model).fit(X, y)
        got = clone(model).fit(unaligned(X), y)
        assert bits(got) == bits(expected)
        np.testing.assert_array_equal(got.predict(unaligned(X)), expected.predict(X))
        np.testing.assert_array_equal(got.predict(unaligned(X)[::2]), expected.predict(X[::2]))
    network, same = (MLP((5, 4, 1), dtype=dtype, random_state=0) for _ in range(2))
    network.coefs_ = [unaligned(c) for c in network.coefs_]
    network.intercepts_ = [unaligned(b) for b in network.intercepts_]
    order = np.arange(30)[::-1].copy()
    assert network.train_epoch(unaligned(X), y, 7, unaligned(order)) == same.train_epoch(X, y, 7, order)
    assert bits(network) == bits(same)


def test_a_network_takes_whole_sizes_only():
    for sizes in ((2.5, 1), (2, 3.7, 1), ("2", "1"), (None, 1), ((2,), 1)):
        with pytest.raises((TypeError, ValueError)):
            MLP(sizes)
    assert MLP(np.array([2, 1])).layer_sizes == (2, 1)


@linux_only
def test_read_only_memory_maps(tmp_path):
    X, y = digits("classifier")
    for array, name in ((X, "X"), (y, "y")):
        np.save(tmp_path / name, array)
    mapped = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "Xy"]
    for name in ("classifier", "regressor", "perceptron"):
        assert bits(clone(MODELS[name]).fit(*mapped)) == bits(clone(MODELS[name]).fit(X, y))
    network, same = (MLP((64, 5, 1), random_state=0, dtype="float64") for _ in range(2))
    assert network.train_epoch(*mapped, 100) == same.train_epoch(X, y, 100)
    np.testing.assert_array_equal(ops.linear(mapped[0], network.coefs_[0]), ops.linear(X, network.coefs_[0]))
