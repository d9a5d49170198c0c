"""The smallest and the largest sizes: products that overflow, more than any memory holds, nothing at all."""

import numpy as np
import pytest
import sklearn.neural_network

import nnfast
from nnfast import _core, ops


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
