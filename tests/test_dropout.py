"""Dropout: which units are dropped, to the bit; what that does to values and gradients; and what it is good for."""

import pickle

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.utils._param_validation import InvalidParameterError

import reference
from nnfast import MLP, MLPClassifier, MLPRegressor, _core

DTYPES = ["float32", "float64"]


def scramble(x):
    """The finalizer of splitmix64, modulo 2**64."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return x ^ (x >> 31)


def kept(noise, layer, row, n_units, rate):
    """Which units of a row are kept: csrc/kernels/dropout.inc.h in plain integers."""
    key = scramble((scramble((noise + layer * 0x9E3779B97F4A7C15) % 2**64) + int(row)) % 2**64)
    result = np.empty(n_units, bool)
    for unit in range(n_units):
        x = (unit * 0x9E3779B9 + key) % 2**32
        x = (x ^ (x >> 16)) * 0x7FEB352D % 2**32
        x = (x + (key >> 32)) % 2**32
        x = (x ^ (x >> 15)) * 0x846CA68B % 2**32
        x ^= x >> 16
        result[unit] = 1 + (x >> 9) / 2**23 >= np.float32(1 + rate)
    return result


def bits(network):
    return [a.tobytes() for a in network.coefs_ + network.intercepts_]


def data(n, n_in, n_out, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, n_in)).astype(dtype), rng.standard_normal((n, n_out)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_loss_and_step_are_those_of_the_thinned_network(isa, activation, dtype):
    """One step of gradient descent with rate 1 over rows out of order: the weights fall by the gradient, by hand."""
    rates = [0.3, 0.0, 0.6]
    X, Y = data(60, 5, 2, dtype)
    descent = {"solver": "sgd", "momentum": 0, "learning_rate_init": 1.0}
    network = MLP((5, 70, 9, 33, 2), activation=activation, dtype=dtype, dropout=rates, random_state=3, **descent)
    order = np.random.default_rng(1).permutation(60)[:50]
    before = [w.astype(np.longdouble) for w in network.coefs_ + network.intercepts_]
    coefs, intercepts = before[:4], before[4:]
    noise = network._noise(0)

    x, y = X[order].astype(np.longdouble), Y[order].astype(np.longdouble)
    values, slopes = [x], []
    for layer in range(3):
        z = reference.matmul(values[-1], coefs[layer]) + intercepts[layer]
        value = reference.ACTIVATIONS[activation](z)
        units = np.array([kept(noise, layer, row, z.shape[1], rates[layer]) for row in order])
        factor = np.where(units, 1 / (1 - np.longdouble(rates[layer])), 0)
        values.append(value * factor)
        slopes.append(reference.slope(activation, z, value) * factor)
    delta = reference.matmul(values[-1], coefs[3]) + intercepts[3] - y
    loss = (delta**2).sum() / 2 / len(x)

    got = network.train_epoch(X, Y, 50, order)
    tolerance = 300 * float(np.finfo(dtype).eps)  # chains of 70, three layers there and back
    assert abs(got - loss) <= tolerance * loss
    for layer in reversed(range(4)):
        expected = reference.matmul(values[layer].T, delta) / len(x)
        fall = before[layer] - network.coefs_[layer]
        assert np.abs(fall - expected).max() <= tolerance * (1 + np.abs(expected).max())
        fall = before[4 + layer] - network.intercepts_[layer]
        assert np.abs(fall - delta.sum(axis=0) / len(x)).max() <= tolerance * (1 + np.abs(delta).max())
        if layer > 0:
            delta = reference.matmul(delta, coefs[layer].T) * slopes[layer - 1]


def test_units_are_dropped_as_often_as_asked_and_independently():
    """A mean of n draws of probability p differs from p by more than 5 sqrt(p (1 - p) / n) once in two million."""
    rate, n_rows, n_units = 0.3, 400, 200
    masks = np.array([kept(5 << 32, 0, row, n_units, rate) for row in range(n_rows)])
    others = np.array([kept((5 << 32) + 1, 0, row, n_units, rate) for row in range(n_rows)])
    layers = np.array([kept(5 << 32, 1, row, n_units, rate) for row in range(n_rows)])
    near = 5 * np.sqrt(rate * (1 - rate))
    assert abs(masks.mean() - 0.7) < near / np.sqrt(masks.size)
    assert np.abs(masks.mean(axis=0) - 0.7).max() < near / np.sqrt(n_rows)
    assert np.abs(masks.mean(axis=1) - 0.7).max() < near / np.sqrt(n_units)
    shifted = [(masks[1:], masks[:-1]), (masks[:, 1:], masks[:, :-1]), (masks, others), (masks, layers)]
    for a, b in shifted:
        both = 0.49
        assert abs((a & b).mean() - both) < 5 * np.sqrt(both * (1 - both) / a.size)


@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_for_any_number_of_threads_and_instruction_set(dtype):
    X, Y = data(500, 200, 3, dtype)
    runs = {}
    chosen = _core.active_isa()
    try:
        for isa, there in _core.isas().items():
            if not there or isa == "scalar":  # which rounds differently
                continue
            _core.select_isa(isa)
            for n_jobs in (1, 2):
                for batch_size in (500, 20):  # rows to each thread, columns to each
                    network = MLP((200, 300, 150, 3), dropout=0.4, random_state=0, n_jobs=n_jobs, dtype=dtype)
                    losses = [network.train_epoch(X, Y, batch_size) for _ in range(3)]
                    runs.setdefault(batch_size, []).append((bits(network), losses))
    finally:
        _core.select_isa(chosen)
    assert all(run == first[0] for first in runs.values() for run in first)
    assert len(runs) == 2


def test_only_training_drops():
    X, Y = data(30, 4, 2)
    plain = MLP((4, 20, 2), random_state=0, dtype="float64")
    network = MLP((4, 20, 2), random_state=0, dtype="float64", dropout=0.5)
    assert bits(plain) == bits(network)
    np.testing.assert_array_equal(plain.forward(X), network.forward(X))
    assert plain.loss(X, Y) == network.loss(X, Y)
    for g, e in zip(network.gradients(X, Y), plain.gradients(X, Y), strict=True):
        for a, b in zip(g, e, strict=True):
            np.testing.assert_array_equal(a, b)
    assert network.train_epoch(X, Y, 30) != plain.loss(X, Y)
    nothing = MLP((4, 20, 2), random_state=0, dtype="float64", dropout=0.0)
    nothing.train_epoch(X, Y, 7)
    plain.train_epoch(X, Y, 7)
    assert bits(plain) == bits(nothing)


def test_epochs_and_seeds_drop_others():
    X, Y = data(30, 4, 2)
    frozen = {"solver": "sgd", "momentum": 0, "learning_rate_init": 0.0, "dtype": "float64", "random_state": 0}
    network = MLP((4, 20, 2), dropout=0.5, **frozen)
    losses = [network.train_epoch(X, Y, 10) for _ in range(5)]
    assert len(set(losses)) == 5, "the weights stay, what is dropped does not"
    again = MLP((4, 20, 2), dropout=0.5, **frozen)
    assert [again.train_epoch(X, Y, 10) for _ in range(5)] == losses
    other = MLP((4, 20, 2), dropout=0.5, start=(network.coefs_, network.intercepts_), **{**frozen, "random_state": 1})
    assert other.train_epoch(X, Y, 10) not in losses
    # It goes by the row's number: batches and order change nothing.
    first = MLP((4, 20, 2), dropout=0.5, **frozen).train_epoch(X, Y, 30, np.arange(30)[::-1])
    assert abs(first - losses[0]) < 1e-12


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_estimators_go_on_bit_for_bit(dtype, sparse):
    """partial_fit twice, with a pickle in between; dense and sparse rows alike."""
    X, _ = data(80, 6, 1, dtype)
    X[X < 0] = 0
    y = np.random.default_rng(0).integers(0, 3, 80)
    rows = scipy.sparse.csr_array(X) if sparse else X
    straight = MLPClassifier((12, 7), dropout=[0.5, 0.2], random_state=0)
    broken = clone(straight)
    for _ in range(3):
        straight.partial_fit(X, y, classes=[0, 1, 2])
        broken = pickle.loads(pickle.dumps(broken.partial_fit(rows, y, classes=[0, 1, 2])))
    for a, b in zip(straight.coefs_, broken.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)
    weighted = clone(straight).set_params(early_stopping=True, max_iter=4).fit(rows, y, sample_weight=np.arange(80.0))
    assert len(weighted.validation_scores_) == 4 and np.isfinite(weighted.loss_curve_).all()


def test_it_keeps_a_network_from_learning_wrong_labels_by_heart():
    """400 digits, three in ten with a label drawn at random; seen: losses 1.11 and 0.75, 71 and 80 % right."""
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    rng = np.random.default_rng(0)
    labels = np.where(rng.random(400) < 0.3, rng.integers(0, 10, 400), y[:400])
    settings = {"max_iter": 150, "tol": 0, "n_iter_no_change": 1000, "alpha": 0, "learning_rate_init": 0.003}
    ends, scores = {}, {}
    for dropout in (0.0, 0.5):
        model = MLPClassifier((128,), dropout=dropout, random_state=0, **settings)
        model.fit(X[:400], labels, X_val=X[400:], y_val=y[400:])
        ends[dropout], scores[dropout] = model.validation_loss_curve_[-1], model.score(X[400:], y[400:])
    assert ends[0.5] < 0.85 * ends[0.0] and scores[0.5] > scores[0.0] + 0.03, (ends, scores)


@pytest.mark.parametrize(
    "dropout", [1.0, -0.1, np.nan, "a", None, [0.5], [0.5, 1.0], [0.1, 0.2, 0.3], [[0.1, 0.2]]], ids=repr
)
def test_bad_rates(dropout):
    X, y = data(20, 3, 1)
    with pytest.raises(
        InvalidParameterError, match=r"'dropout' parameter of MLPRegressor must be .*range \[0\.0, 1\.0\)"
    ):
        MLPRegressor(hidden_layer_sizes=(4, 3), dropout=dropout).fit(X, y.ravel())
    with pytest.raises((TypeError, ValueError)):
        MLP((3, 4, 3, 1), dropout=dropout)


def test_lbfgs_refuses():
    X, y = data(20, 3, 1)
    with pytest.raises(ValueError, match="dropout needs a stochastic solver"):
        MLPRegressor(solver="lbfgs", dropout=0.1).fit(X, y.ravel())
