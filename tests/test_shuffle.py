"""Generators from seeds, and the order of the rows: the engine's permutations and what they draw, bit for bit against
NumPy's RandomState.

The words that are drawn, one by one, are in tests/c/test_shuffle.c.
"""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime_CAPI
from itertools import chain
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.utils import shuffle as sklearn_shuffle

from estimators import both, problem
from nnfast import _core
from nnfast._random import reshuffle, seeded

GENERATORS = ["MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"]
SIZES = [*range(6), *chain.from_iterable((2**b - 1, 2**b, 2**b + 1) for b in range(3, 17)), 1000, 70_000]


def random_state(name, seed=5):
    return np.random.RandomState(getattr(np.random, name)(seed))


def assert_same_state(ours, theirs):
    np.testing.assert_equal(ours.get_state(legacy=False), theirs.get_state(legacy=False))
    assert ours.randint(2**31) == theirs.randint(2**31)


@pytest.mark.parametrize("seed", [0, 1, 2026, 2**32 - 1])
def test_a_generator_from_a_seed(seed):
    ours, theirs = seeded(seed), np.random.RandomState(seed)
    for draw in (lambda rng: rng.normal(), lambda rng: rng.permutation(1000).tolist(), lambda rng: rng.uniform()):
        assert_same_state(ours, theirs)
        assert draw(ours) == draw(theirs)
    assert_same_state(ours, theirs)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range(seed):
    for make in (seeded, np.random.RandomState):
        with pytest.raises(ValueError, match="Seed must be between"):
            make(seed)


@pytest.mark.parametrize("name", GENERATORS)
def test_same_permutation_and_draws(name):
    ours, theirs = random_state(name), random_state(name)
    for n in SIZES:
        order, expected = np.arange(n), np.arange(n)
        _core.shuffle(order, ours._bit_generator)
        theirs.shuffle(expected)
        np.testing.assert_array_equal(order, expected)
        assert_same_state(ours, theirs)


@pytest.mark.parametrize("name", GENERATORS)
def test_a_chain_of_epochs_is_scikit_learns(name):
    ours, theirs = random_state(name), random_state(name)
    order = expected = np.arange(1237)
    order = order.copy()
    for _ in range(20):
        reshuffle(order, ours)
        expected = sklearn_shuffle(expected, random_state=theirs)
        np.testing.assert_array_equal(order, expected)
    assert_same_state(ours, theirs)


def test_a_draw_keeps_the_normal_number_that_waits():
    ours, theirs = np.random.RandomState(0), np.random.RandomState(0)
    order, expected = np.arange(10), np.arange(10)
    assert ours.normal() == theirs.normal()  # one of two
    reshuffle(order, ours)
    theirs.shuffle(expected)
    assert ours.normal() == theirs.normal()
    assert_same_state(ours, theirs)


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize(
    ("method", "parameters"),
    [("fit", {}), ("fit", {"early_stopping": True}), ("fit", {"shuffle": False}), ("partial_fit", {})],
)
def test_training_leaves_the_random_state_where_scikit_learn_does(name, method, parameters):
    _, X, y = problem("regression")
    states = [random_state(name), random_state(name)]
    for model, state in zip(both("regression", **parameters), states, strict=True):
        model.set_params(random_state=state)
        for _ in range(2):
            getattr(model, method)(X, y)
    assert_same_state(*states)


def test_numpys_own_random_state_is_drawn_from():
    """np.random's, also after another generator has been put in."""
    before = np.random.get_bit_generator()
    try:
        for generator in (np.random.MT19937, np.random.SFC64):
            np.random.set_bit_generator(generator(3))
            ours, theirs = np.random.mtrand._rand, np.random.RandomState(generator(3))
            order, expected = np.arange(100), np.arange(100)
            reshuffle(order, ours)
            theirs.shuffle(expected)
            np.testing.assert_array_equal(order, expected)
            assert_same_state(ours, theirs)
    finally:
        np.random.set_bit_generator(before)


def test_a_shuffle_of_somebodys_own_is_called():
    class Backwards(np.random.RandomState):
        def shuffle(self, x):
            x[:] = x[::-1].copy()

    order = np.arange(7)
    reshuffle(order, Backwards(0))
    np.testing.assert_array_equal(order, np.arange(7)[::-1])


def test_threads_share_a_random_state_in_turns():
    """A shuffle has the generator to itself: together they are those of one thread, whoever comes first."""
    n, n_shuffles = 20_000, 200
    ours, theirs = np.random.RandomState(1), np.random.RandomState(1)
    orders, expected = ([np.arange(n) for _ in range(n_shuffles)] for _ in range(2))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda order: _core.shuffle(order, ours._bit_generator), orders))
    for order in expected:
        theirs.shuffle(order)
    assert sorted(order.tobytes() for order in orders) == sorted(order.tobytes() for order in expected)
    assert_same_state(ours, theirs)


def test_wrong_arguments():
    generator = np.random.MT19937(0)
    start = generator.state
    read_only = np.arange(4)
    read_only.flags.writeable = False
    for order, error, message in [
        (read_only, ValueError, "read-only"),
        (np.arange(4, dtype=np.int32), ValueError, "order has elements of format 'i'"),
        (np.arange(4.0), ValueError, "order has elements of format 'd'"),
        (np.arange(4).reshape(2, 2), ValueError, "order has 2 dimensions, expected 1"),
        (np.arange(8)[::2], ValueError, "order must be C-contiguous"),
        ([0, 1], TypeError, "bytes-like"),
    ]:
        with pytest.raises(error, match=message):
            _core.shuffle(order, generator)

    for source, error, message in [
        (None, AttributeError, "capsule"),
        (np.random.RandomState(0), AttributeError, "capsule"),
        (SimpleNamespace(capsule=7, lock=generator.lock), ValueError, "PyCapsule"),
        (SimpleNamespace(capsule=datetime_CAPI, lock=generator.lock), ValueError, "PyCapsule"),  # of another kind
    ]:
        with pytest.raises(error, match=message):
            _core.shuffle(np.arange(4), source)
    np.testing.assert_equal(generator.state, start)
