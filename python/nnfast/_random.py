"""Random numbers: a generator from a seed, and the order of the rows of an epoch, as scikit-learn draws it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray

from nnfast import _core


class _NoEntropy(ISeedSequence):
    """Stands in for the entropy of a generator that is seeded at once."""

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> Any:
        return [0] * n_words  # the generator takes them one by one: from an array 30 us longer


def seeded(seed: int) -> np.random.RandomState:
    """RandomState(seed), in 6 us. By itself it takes 0.1 ms, nearly all for random bits that the seed then replaces:
    once a fit, and once a call of `partial_fit`."""
    nothing: Any = _NoEntropy()
    rng = np.random.RandomState(np.random.MT19937(nothing))
    rng.seed(seed)
    return rng


def reshuffle(order: NDArray[np.int64], rng: np.random.RandomState) -> None:
    """Put the rows in the order of the next epoch: a permutation of the last one, drawn as scikit-learn draws it.

    A class of somebody's own that descends from RandomState may shuffle in its own way.
    """
    if type(rng) is np.random.RandomState:
        _core.shuffle(order, rng._bit_generator)
    else:
        rng.shuffle(order)
