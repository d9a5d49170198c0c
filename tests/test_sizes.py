"""The smallest and the largest sizes: products that overflow, more than any memory holds, nothing at all."""

import ctypes
import os

import numpy as np
import pytest
import scipy.sparse
import sklearn.linear_model
import sklearn.neural_network

import nnfast
from estimators import NAMES, outcome
from nnfast import MLP, MLPClassifier, MLPRegressor, Perceptron, _core, ops
from nnfast._rows import SparseRows


def test_sizes_that_no_memory_can_hold():
    """Each product of sizes, with the largest numbers that the binding takes: refused before anything is allocated."""
    largest = 2**63 - 1

    def network(sizes, **options):
        return _core.Network("d", sizes, ["relu"] * (len(sizes) - 2) + ["identity"], "squared_error", "adam", **options)

    for size in (largest, largest - 7, 2**62, 2**61, 2**60 + 1):
        for sizes in ([size, size], [1, size], [size, 1], [1, size, 1], [1, 1, size], [2**31, 2**31, 2**31]):
            with pytest.raises(MemoryError, match="larger than the address space"):
                network(sizes)
        with pytest.raises(MemoryError, match="larger than the address space"):
            network([1, 1], max_batch=size)
    with pytest.raises(MemoryError, match="larger than the address space"):
        network([2**40, 2**20], n_threads=2**31 - 1)
    with pytest.raises(OverflowError):
        network([largest + 1, 1])

    out = np.zeros((1, 1))
    for k, message in ((2**59, "larger than the address space"), (2**50, "not enough memory")):
        row, column = np.broadcast_to(1.0, (1, k)), np.broadcast_to(1.0, (k, 1))
        with pytest.raises(MemoryError, match=message):
            _core.matmul(row, column, out, 1)
        with pytest.raises(MemoryError, match=message):
            ops.matmul(row, column)
    assert out == 0


@pytest.mark.parametrize("sizes", [(2**62,), (2**44,), (3, 2**44), (2**44, 3), (10**30,)])
@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_hidden_layers_that_no_memory_can_hold(name, sizes):
    """scikit-learn's own error, for the same weights are drawn; then a fit of sensible size."""
    X, y = np.random.default_rng(0).standard_normal((20, 3)), np.arange(20) % 2
    errors = []
    for package in (nnfast, sklearn.neural_network):
        model = getattr(package, name)(hidden_layer_sizes=sizes, max_iter=2, random_state=0)
        with pytest.raises((ValueError, MemoryError, OverflowError)) as caught:
            model.fit(X, y)
        errors.append((caught.type, str(caught.value)))
        assert model.set_params(hidden_layer_sizes=(4,)).fit(X, y).predict(X).shape == (20,)
    assert errors[0] == errors[1]


# ---- 2**31 elements and more ----------------------------------------------------------------------------------------

BEYOND = 2**31
beyond_32_bits = pytest.mark.skipif(ctypes.sizeof(ctypes.c_void_p) < 8, reason="a process has 4 GB of addresses")


def zeros(*shape, dtype=np.float32):
    """Of which only what is written to takes memory: the system shows one page of zeros everywhere else."""
    try:
        return np.zeros(shape, dtype)
    except MemoryError:
        pytest.skip("the system does not promise memory that it has not got (vm.overcommit_memory)")


@beyond_32_bits
def test_x_of_more_elements_than_32_bits_count():
    """8 GB of zeros, but for the last rows: all begin beyond 2**31 elements, where a 32-bit index is negative."""
    n_in = 2**14
    X = zeros(BEYOND // n_in + 40, n_in)
    rng = np.random.default_rng(0)
    tail = rng.standard_normal((40, n_in)).astype(np.float32)
    X[-40:] = tail
    Y = np.zeros((len(X), 1), np.float32)
    Y[-40:] = rng.standard_normal((40, 1))
    network, same = (MLP((n_in, 3, 1), random_state=0) for _ in range(2))
    rows = np.arange(40)
    assert network.train_epoch(X, Y, 16, len(X) - 40 + rows) == same.train_epoch(tail, Y[-40:], 16, rows)
    np.testing.assert_array_equal(network.coefs_[0], same.coefs_[0])
    outputs = network.forward(X)
    np.testing.assert_array_equal(outputs[-40:], network.forward(tail))
    assert (outputs[:-40] == network.forward(np.zeros((1, n_in), np.float32))).all()


@beyond_32_bits
def test_sparse_x_of_more_elements_than_32_bits_count():
    """The first row is not visited; it only takes the places."""
    n_in, n = 50, 12
    dense = scipy.sparse.random(n, n_in, density=0.3, format="csr", random_state=np.random.default_rng(0))
    dense = dense.astype(np.float32)
    values, indices = zeros(BEYOND + dense.nnz), zeros(BEYOND + dense.nnz, dtype=np.int32)
    values[BEYOND:], indices[BEYOND:] = dense.data, dense.indices
    indptr = np.append(0, BEYOND + dense.indptr.astype(np.int64))
    network, same = (MLP((n_in, 3, 1), random_state=0) for _ in range(2))
    Y = np.arange(n + 1, dtype=np.float32)[:, np.newaxis]
    rows = SparseRows(values, indices, indptr, (n + 1, n_in))
    assert network.train_epoch(rows, Y, 5, np.arange(1, n + 1)) == same.train_epoch(dense, Y[1:], 5)
    np.testing.assert_array_equal(network.coefs_[0], same.coefs_[0])


@pytest.mark.slow
@beyond_32_bits
def test_more_rows_than_32_bits_count():
    """8 GB of outputs, and 2 GB to compare them."""
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if available < 12e9:
        pytest.skip(f"needs 12 GB of free memory, there are {available / 1e9:.1f}")
    X = zeros(BEYOND + 10, 1)
    X[-10:, 0] = np.arange(10)
    network = MLP((1, 2, 1), random_state=0)
    outputs = network.forward(X)
    np.testing.assert_array_equal(outputs[-10:], network.forward(X[-10:]))
    assert (outputs[:-10] == network.forward(X[:1])).all()


# ---- nothing, one, and a million ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_nothing_is_scikit_learns_error(name, shape):
    X, y = np.zeros(shape), np.zeros(shape[0])
    outcomes = []
    for package in (nnfast, sklearn.neural_network):
        model = getattr(package, name)(hidden_layer_sizes=(2,), max_iter=2)
        fitted = getattr(package, name)(hidden_layer_sizes=(2,), max_iter=2).fit(np.eye(3), np.arange(3))
        outcomes.append([outcome(lambda m=m: m(X, y)) for m in (model.fit, model.partial_fit, fitted.fit)])
        outcomes[-1].append(outcome(lambda m=fitted: m.predict(X)))
    assert outcomes[0] == outcomes[1]
    assert all(error[0] == "ValueError" for error, _ in outcomes[0])


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_one_row_and_one_column(solver):
    for name in NAMES:
        models = [
            getattr(package, name)(hidden_layer_sizes=(1,), solver=solver, max_iter=5, random_state=0)
            for package in (nnfast, sklearn.neural_network)
        ]
        for X, y in (([[2.0]], [1]), ([[2.0, -1.0, 0.5]], [1]), ([[2.0], [1.0]], [0, 1])):
            ours, theirs = (model.fit(np.array(X), np.array(y)) for model in models)
            np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], rtol=1e-9)
            np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-9)


def test_a_million_outputs():
    """The gradients of the last one are those of a network that has it alone."""
    X, Y = np.eye(3, dtype=np.float32), np.zeros((3, 10**6), np.float32)
    Y[1, -1] = 1.0
    network = MLP((3, 2, 10**6), random_state=0)
    (first, second), (inner, outer) = network.coefs_, network.intercepts_
    alone = MLP((3, 2, 1), start=([first, second[:, -1:]], [inner, outer[-1:]]))
    gradients = network.gradients(X, Y)[0][1]
    np.testing.assert_array_equal(gradients[:, -1:], alone.gradients(X, Y[:, -1:])[0][1])
    model = MLPRegressor(hidden_layer_sizes=(2,), max_iter=2, random_state=0).fit(X, Y)
    assert model.predict(X).shape == Y.shape and np.isfinite(model.predict(X)).all()


def test_a_hundred_thousand_classes():
    y = np.arange(10**5)
    X = np.random.default_rng(0).standard_normal((10**5, 2)).astype(np.float32)[y % 50]
    model = MLPClassifier((2,), max_iter=1, batch_size=20, random_state=0)
    probabilities = model.partial_fit(X[:40], y[:40], classes=y).predict_proba(X[:3])
    assert probabilities.shape == (3, 10**5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-3)
    assert model.predict(X[:3]).shape == (3,)


def test_rows_numbered_by_64_bits():
    """scikit-learn's perceptron takes no such indices, and says so; nnfast's gives the same error."""
    X = scipy.sparse.random(60, 9, density=0.4, format="csr", random_state=np.random.default_rng(0))
    wide = X.copy()
    wide.indices, wide.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    y = np.arange(60) % 3
    for model in (MLPClassifier((4,), max_iter=3, random_state=0), MLPRegressor(hidden_layer_sizes=4, max_iter=3)):
        model.set_params(random_state=0)
        expected = model.fit(X, y).predict(X)
        np.testing.assert_array_equal(model.fit(wide, y).predict(wide), expected)
    assert outcome(lambda: Perceptron().fit(wide, y)) == outcome(lambda: sklearn.linear_model.Perceptron().fit(wide, y))
