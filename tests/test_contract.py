"""The numeric contract: which operations are rounded, in which order, whatever the tile, thread or instruction set.

Part 2 of reference.py repeats the engine's arithmetic operation by operation, so most comparisons here allow no
difference at all. What the contract promises to users: the bits of a result depend on the data and the parameters
alone."""

import hashlib
import os
import sys
from fractions import Fraction
from itertools import cycle, islice, product

import numpy as np
import pytest

import reference
from conftest import ISAS
from nnfast import _core

DTYPES = ["float32", "float64"]
FORMATS = {"float32": "f", "float64": "d"}
SOLVERS = list(_core.SOLVERS)
HIDDEN = ["identity", "logistic", "tanh", "relu", "leaky_relu"]


# ---- what the tests are made of --------------------------------------------------------------------------------------


def activate(name, x):
    """The engine's own elementwise functions, for their last bits are not prescribed."""
    out = np.empty(x.size, x.dtype)
    _core.activate(name, np.ascontiguousarray(x).ravel(), out)
    return out.reshape(x.shape)


def engine(net, max_batch, *, n_threads=1, keep_gradients=False):
    """The network of reference.py, in the engine."""
    sizes = [len(W) for W in net.coefs] + [len(net.intercepts[-1])]
    made = _core.Network(
        FORMATS[str(net.coefs[0].dtype)],
        sizes,
        net.activations,
        net.loss,
        net.solver,
        alpha=net.alpha,
        l1=net.l1,
        clip_value=net.clip_value,
        clip_norm=net.clip_norm,
        momentum=net.momentum,
        beta_1=net.beta_1,
        beta_2=net.beta_2,
        epsilon=net.epsilon,
        max_batch=max_batch,
        n_threads=n_threads,
        keep_gradients=keep_gradients,
    )
    made.load(_core.PARAMETERS, net.coefs, net.intercepts)
    return made


def stored(made, net, part=_core.PARAMETERS):
    """Parameters (or states, or gradients) of the engine: coefs, then intercepts."""
    coefs, intercepts = [np.empty_like(W) for W in net.coefs], [np.empty_like(b) for b in net.intercepts]
    made.store(part, coefs, intercepts)
    return coefs + intercepts


def data(rng, net, n):
    X = rng.standard_normal((n, len(net.coefs[0]))).astype(net.coefs[0].dtype)
    return X, reference.random_targets(rng, net.loss, n, len(net.intercepts[-1]), X.dtype)


def bits(arrays):
    return [a.tobytes() for a in arrays]


def os_threads():
    return len(os.listdir("/proc/self/task"))


# ---- the emulated operations -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_fused_rounds_once(dtype):
    """Against rational arithmetic. The hard cases: c close to -a b, and results near the middle of two numbers."""
    rng = np.random.default_rng(1)
    T = np.dtype(dtype).type
    a, b, c = (np.ldexp(rng.standard_normal(3000), rng.integers(-8, 9, 3000)).astype(dtype) for _ in range(3))
    c[::3] = (-(a * b) * (1 + rng.integers(-2, 3, 3000) * np.finfo(dtype).eps))[::3]
    c[1::3] = np.ldexp(c[1::3], int(np.finfo(dtype).nmant) * rng.integers(-1, 2, 1000))
    twice = 0
    for got, *factors in zip(reference.fused(a, b, c), a, b, c, strict=True):
        x, y, z = map(Fraction, map(float, factors))
        exact = x * y + z
        near = [float(np.nextafter(got, T(side))) for side in (-np.inf, np.inf)]
        distance = abs(Fraction(float(got)) - exact)
        assert all(distance <= abs(Fraction(n) - exact) for n in near)
        assert all(distance < abs(Fraction(n) - exact) or got.view(f"i{got.itemsize}") % 2 == 0 for n in near)
        twice += got != factors[0] * factors[1] + factors[2]
    assert twice > 100, "the two ways of rounding must differ, or the tests below could not tell them apart"


# ---- products --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("m", "n", "k"), [(1, 1, 30), (13, 35, 7), (7, 66, 64), (2, 3, 1100)])
def test_an_element_of_a_product_is_one_chain(isa, dtype, m, n, k):
    rng = np.random.default_rng(2)
    A, B = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    expected = reference.chain(reference.multiply_add(isa), A, B, A.dtype.type(0))
    for a, b in [(A, B), (np.asfortranarray(A), np.asfortranarray(B)), (A.repeat(2, axis=1)[:, ::2], B)]:
        for n_threads in (1, 2):
            C = np.empty((m, n), dtype)
            _core.matmul(a, b, C, n_threads)
            np.testing.assert_array_equal(C, expected)
    if k > 20 and m * n > 1:  # a single element may come out the same both ways
        other = reference.fused if isa == "scalar" else reference.separate
        assert (reference.chain(other, A, B, A.dtype.type(0)) != expected).any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [5, 40])
def test_a_layer_starts_its_chains_from_the_bias(isa, dtype, n):
    rng = np.random.default_rng(3)
    net = reference.random_network(rng, (600, 35), dtype)
    X, _ = data(rng, net, n)
    out = np.empty((n, 35), dtype)
    _core.forward(X, net.coefs, net.intercepts, ["identity"], out, 1)
    expected = reference.chain(reference.multiply_add(isa), X, net.coefs[0], net.intercepts[0])
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_sums_in_sixteen_lanes(isa, dtype):
    rng = np.random.default_rng(4)
    for n in [1, 2, 5, 15, 16, 17, 40, 100]:
        x = (3 * rng.standard_normal((50, n))).astype(dtype)
        out = np.empty_like(x)
        _core.softmax(x, out)
        np.testing.assert_array_equal(out, reference.softmax_to_the_bit(lambda x: activate("exp", x), x))


# ---- predictions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", ["squared_error", "log_loss"])
def test_a_row_does_not_know_its_batch(isa, dtype, loss):
    """Alone, in the first or last place of a batch, with weights in place (fewer than 32 rows) or packed, on several
    threads, in a network that is being trained: the same bits."""
    rng = np.random.default_rng(5)
    net = reference.random_network(rng, (40, 70, 35, 5), dtype, activation="tanh", loss=loss)
    X, _ = data(rng, net, 203)

    def outputs(rows, n_threads=1):
        out = np.empty((len(rows), 5), dtype)
        _core.forward(np.ascontiguousarray(rows), net.coefs, net.intercepts, net.activations, out, n_threads)
        return out

    whole = outputs(X)
    for n_threads in (2, 3, 4, 16):
        assert bits([outputs(X, n_threads)]) == bits([whole])
    for i in [0, 1, 5, 6, 30, 31, 32, 33, 95, 96, 200, 202]:
        assert bits([outputs(X[i : i + 1])]) == bits([whole[i]])
        assert bits([outputs(X[: i + 1])]) == bits([whole[: i + 1]])
    assert bits([outputs(X[::-1])[::-1]]) == bits([whole])
    trained = np.empty_like(whole)
    engine(net, 7).forward(X, trained)
    assert bits([trained]) == bits([whole])


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_that_share_columns(isa, dtype):
    """Of few rows of a wide network: in place or packed, dense or sparse, with groups of outputs, few or one."""
    rng = np.random.default_rng(6)
    for n_out, groups, outputs in [(5, (), "softmax"), (6, (4, 2), "softmax"), (1, (), "logistic")]:
        net = reference.random_network(rng, (610, 830, 590, n_out), dtype, activation="relu")
        X, _ = data(rng, net, 45)
        X[rng.random(X.shape) < 0.5] = 0
        for rows in (1, 2, 11, 13, 25, 31, 45):
            at = [np.flatnonzero(row) for row in X[:rows]]
            indices, indptr = np.concatenate(at).astype(np.int32), np.cumsum([0, *map(len, at)])
            sparse = np.concatenate([row[i] for row, i in zip(X, at, strict=False)]), indices, indptr
            found = set()
            for given, n_threads in product([X[:rows].copy(), sparse], [1, 2, 3, 16]):
                out = np.full((rows, n_out), np.nan, dtype)
                activations = ["relu", "relu", outputs]
                _core.forward(given, net.coefs, net.intercepts, activations, out, n_threads, groups)
                found.add(out.tobytes())
            assert len(found) == 1
            assert np.isfinite(out).all()


# ---- training --------------------------------------------------------------------------------------------------------


def assert_epoch_to_the_bit(isa, net, X, Y, batch_size, rates, order=None):
    made = engine(net, batch_size)
    emulated = net.copy()
    of_gradient, reaches = [rate / 4 for rate in rates], [3 * rate for rate in rates]
    got = made.train_epoch(
        X,
        Y,
        order,
        batch_size,
        np.asarray(rates),
        decays=np.full(len(rates), net.decay),
        gradient_rates=np.asarray(of_gradient),
        reaches=np.asarray(reaches),
    )
    if net.solver == "nadam":
        rates = list(zip(rates, of_gradient, strict=True))
    data_sum, penalty_sum, _, norm_sum = reference.epoch_to_the_bit(
        reference.multiply_add(isa), activate, emulated, X, Y, batch_size, rates, order, reaches=reaches
    )
    n_states = _core.N_STATES[net.solver]
    for name, ours, theirs in [
        ("parameters", stored(made, net), emulated.coefs + emulated.intercepts),
        ("state 1", stored(made, net, _core.STATE_1) if n_states > 0 else [], emulated.state_1),
        ("state 2", stored(made, net, _core.STATE_2) if n_states > 1 else [], emulated.state_2),
    ]:
        for i, (a, b) in enumerate(zip(ours, theirs, strict=False)):
            np.testing.assert_array_equal(a, b, err_msg=f"{name} {i}")
    assert got[1:] == (penalty_sum, len(rates))
    assert data_sum is None or got[0] == data_sum
    assert made.progress == (*got[:2], norm_sum, len(X if order is None else order), len(rates))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("limited", [False, True])
def test_training_to_the_bit(isa, dtype, solver, limited):
    rng = np.random.default_rng(6)
    losses = cycle(reference.CANONICAL)
    shapes = [(5, 9, 3), (50, 17, 2), (3, 34, 18, 4), (1, 1), (97, 5, 1)]
    for activation, sizes, loss in zip(HIDDEN, shapes, losses, strict=False):
        net = reference.random_network(
            rng, sizes, dtype, activation=activation, loss=loss, solver=solver, alpha=rng.choice([0, 0.3])
        )
        net.decay = rng.choice([0, 0.01])
        if limited:
            net.l1, net.clip_value, net.clip_norm = 0.05, 0.1, 0.2
        X, Y = data(rng, net, 17)
        order = rng.permutation(17)[:15]  # steps of 6, 6 and 3 rows
        assert_epoch_to_the_bit(isa, net, X, Y, 6, [0.05, 0.03, 0.01], order)


@pytest.mark.parametrize("dtype", DTYPES)
def test_more_than_4096_rows_to_the_bit(isa, dtype):
    """Sums over samples begin a new chain every 4096 and are merged in float64."""
    rng = np.random.default_rng(7)
    net = reference.random_network(rng, (3, 2), dtype)
    X, Y = data(rng, net, 2 * reference.CHAIN_ROWS + 5)
    assert_epoch_to_the_bit(isa, net, X, Y, len(X), [0.1])
    assert_epoch_to_the_bit(isa, net, X, Y, reference.CHAIN_ROWS, [0.1, 0.1, 0.1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_to_the_bit_and_as_the_update_uses_them(isa, dtype):
    rng = np.random.default_rng(8)
    fma = reference.multiply_add(isa)
    for activation, loss in zip(HIDDEN, islice(cycle(reference.CANONICAL), 5), strict=True):
        l1 = rng.choice([0, 0.1])
        net = reference.random_network(rng, (7, 19, 4), dtype, activation=activation, loss=loss, alpha=0.2, l1=l1)
        X, Y = data(rng, net, 11)
        made = engine(net, 11, keep_gradients=True)
        made.gradients(X, Y)
        got = stored(made, net, _core.GRADIENTS)
        expected = reference.epoch_to_the_bit(fma, activate, net, X, Y, 11, [0.0], only_gradients=True)[2]
        for g, e in zip(got, expected, strict=True):
            np.testing.assert_array_equal(g, e)
        if l1 > 0:  # whose part of a step is not by the gradient
            continue
        made.train_epoch(X, Y, None, 11, np.array([0.25]))
        for w, before, g in zip(stored(made, net), net.coefs + net.intercepts, got, strict=True):
            np.testing.assert_array_equal(w, fma(before.dtype.type(-0.25), g, before))


# ---- threads ---------------------------------------------------------------------------------------------------------


def train(made, decay, X, Y, batch_size, order):
    steps = -(-len(order) // batch_size)
    rates = np.full(steps, 0.01)
    return made.train_epoch(X, Y, order, batch_size, rates, decays=np.full(steps, decay), reaches=rates)


def trained(net, X, Y, batch_size, order, n_threads):
    """Bits of everything that two steps leave behind."""
    made = engine(net, batch_size, n_threads=n_threads)
    sums = train(made, net.decay, X, Y, batch_size, order)
    return bits([*stored(made, net), np.array(sums), np.array(made.progress)])


# Units of the two hidden layers, and rows a step. With 2 threads the first three split the batch by rows, and the next
# two the layers by columns; the last has few rows too, but so few weights that it splits the batch.
@pytest.mark.parametrize(
    ("units", "batch_size"),
    [((320, 330), 300), ((320, 330), 97), ((320, 330), 48), ((320, 330), 47), ((1024, 1030), 5), ((100, 110), 47)],
)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("limited", [False, True])
def test_training_does_not_depend_on_the_number_of_threads(isa, dtype, units, batch_size, limited):
    if isa == "scalar" and batch_size > 48:
        pytest.skip("slow, and the code above the kernels is the same for all instruction sets")
    rng = np.random.default_rng(9)
    net = reference.random_network(
        rng, (30, *units, 10), dtype, activation="relu", loss="log_loss", solver="adam", alpha=0.1
    )
    net.decay = 0.01
    if limited:
        net.l1, net.clip_value, net.clip_norm = 0.01, 0.1, 0.1
    X, Y = data(rng, net, 350)
    order = rng.permutation(350)[: batch_size + 3]  # the second step has 3 rows
    one = trained(net, X, Y, batch_size, order, 1)
    for n_threads in (2, 3, 5, 16):
        assert trained(net, X, Y, batch_size, order, n_threads) == one
    if sys.platform == "linux":  # a thread for every 2 MFLOP of the first step, one row with one weight being 6
        worth = 1 + 6 * batch_size * sum(coef.size for coef in net.coefs) / 2e6
        assert worth >= 3
        train(engine(net, batch_size, n_threads=16), net.decay, X, Y, batch_size, order)  # no smaller team comes after
        assert os_threads() >= min(16, int(worth)), "OpenMP never started the threads that were asked for"


def test_products_do_not_depend_on_the_number_of_threads(isa):
    rng = np.random.default_rng(10)
    for m, n in [(400, 130), (130, 400), (3, 4000), (4000, 3)]:
        A, B = rng.standard_normal((m, 200)), rng.standard_normal((200, n))
        one, many = np.empty((m, n)), np.empty((m, n))
        _core.matmul(A, B, one, 1)
        for n_threads in (2, 3, 5, 16):
            _core.matmul(A, B, many, n_threads)
            assert bits([many]) == bits([one])


# ---- instruction sets ------------------------------------------------------------------------------------------------


def story():
    """Bits of a matrix product, of two networks in training, and of their outputs. No libm, no generator whose stream
    may change between releases of NumPy."""
    found = []
    for dtype in DTYPES:
        rng = np.random.RandomState(11)
        for activation, loss in [("tanh", "log_loss"), ("logistic", "poisson"), ("relu", "binary_log_loss")]:
            coefs = [(rng.random_sample(shape) - 0.5).astype(dtype) for shape in [(9, 37), (37, 21), (21, 3)]]
            intercepts = [(rng.random_sample(n) - 0.5).astype(dtype) for n in (37, 21, 3)]
            net = reference.Network(coefs, intercepts, activation=activation, loss=loss, solver="adam", alpha=0.01)
            X = (4 * rng.random_sample((60, 9)) - 2).astype(dtype)
            Y = np.eye(3, dtype=dtype)[rng.randint(0, 3, 60)]
            made = engine(net, 32)
            for _ in range(3):
                sums = made.train_epoch(X, Y, None, 32, np.array([0.01, 0.02]))
            outputs = np.empty((60, 3), dtype)
            made.forward(X, outputs)
            found += [*stored(made, net), np.array(sums), outputs]
        square = np.empty((60, 60), dtype)
        _core.matmul(X, X.T, square, 1)
        found.append(square)
    return hashlib.sha256(b"".join(bits(found))).hexdigest()


# A change of these is a change of users' results. They were the same with AVX2, with AVX-512 and with NEON.
STORIES = {
    "fma": "addde281c33ea57be6ba40e5dfda9ebc07045b5494d26daa5cfa41382d676f7a",
    "scalar": "81f6131214b97835bca34cd79eda43c5a14cbc411aa57f3a81eac88de3daad21",
}


def test_bits_are_the_same_on_every_machine(isa):
    assert story() == STORIES["scalar" if isa == "scalar" else "fma"]


def test_both_kinds_of_kernels_were_compared():
    assert len(ISAS) >= 2 or ISAS == ["scalar"]


# ---- small numbers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("solver", ["momentum", "nesterov", "adam"])
def test_tiny_moments_become_zero(isa, dtype, solver):
    """A unit that has died has gradient 0; its moments shrink, and stop at the smallest normal number."""
    tiny = np.finfo(dtype).tiny
    net = reference.Network([np.zeros((1, 40), dtype)], [np.zeros(40, dtype)], solver=solver)
    made = engine(net, 1)
    moments = np.linspace(-4, 4, 40).astype(dtype) * tiny
    for part in (_core.STATE_1, _core.STATE_2)[: 2 if solver == "adam" else 1]:
        start = np.abs(moments) if part == _core.STATE_2 else moments
        made.load(part, [start.reshape(1, 40)], [start])
    made.train_epoch(np.zeros((1, 1), dtype), np.zeros((1, 40), dtype), None, 1, np.array([0.1]))
    for part, decay in ((_core.STATE_1, 0.9), (_core.STATE_2, 0.999))[: 2 if solver == "adam" else 1]:
        start = np.abs(moments) if part == _core.STATE_2 else moments
        expected = np.dtype(dtype).type(decay) * start
        expected[np.abs(expected) < tiny] = 0
        assert 0 < np.count_nonzero(expected == 0) < 40
        for got in stored(made, net, part):
            np.testing.assert_array_equal(got.ravel(), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_subnormal_numbers_pass_through_a_layer(isa, dtype):
    smallest = np.finfo(dtype).smallest_subnormal
    X = smallest * np.arange(1, 6, dtype=dtype).reshape(5, 1)
    out = np.empty((5, 1), dtype)
    one, zero = np.ones((1, 1), dtype), np.zeros(1, dtype)
    _core.forward(X, [one], [zero], ["identity"], out, 1)
    np.testing.assert_array_equal(out, X)
    _core.matmul(X, one, out, 1)
    np.testing.assert_array_equal(out, X)
    assert (out > 0).all()
