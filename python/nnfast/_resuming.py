"""What a fit that is cut short leaves behind: the estimator as it was, or what `fit(resume=True)` needs to go on.

The engine counts how far an epoch has come together with the weights (`nnfast._training.Training.progress`). Here is
the rest: what a fit keeps, and the way back from an epoch whose record was cut short, and from a fit that never began.
"""

from __future__ import annotations

import copy
from typing import Any, ClassVar, Self

import numpy as np

from nnfast._kept import Kept, check_random_state_dict
from nnfast._rows import Array


class Unfinished(Kept):
    """What `fit(resume=True)` needs of a fit that has not converged, besides the fitted attributes.

    Parameters
    ----------
    rng : numpy.random.RandomState
        As it is before the first draw for the rows. The rows held out and the orders of all epochs so far follow from
        that.
    n_rows : int
        Of the data.
    early_stopping, validated : bool
        Whether the fit stops early, and whether it was given validation data.
    """

    _kept: ClassVar[dict[str, Any]] = {
        "n_rows": int,
        "early_stopping": bool,
        "validated": bool,
        "source": dict[str, Any],
        "progress": tuple[float, float, float, int, int] | None,
        "weights": tuple[list[Array], list[Array]] | None,
    }

    def __init__(self, rng: np.random.RandomState, n_rows: int, early_stopping: bool, validated: bool) -> None:
        self.n_rows = n_rows
        self.early_stopping = early_stopping
        self.validated = validated
        # A copy of the generator takes 250 us, its state 30. One of somebody's own class may hold more than the state.
        self.source: Any = rng.get_state(legacy=False) if type(rng) is np.random.RandomState else copy.deepcopy(rng)
        self.progress: tuple[float, float, float, int, int] | None = None  # `Progress` of the epoch under way
        # Of training, where coefs_ are the best, or averages.
        self.weights: tuple[list[Array], list[Array]] | None = None

    def rng(self) -> np.random.RandomState:
        """A copy of the generator."""
        if not isinstance(self.source, dict):
            return copy.deepcopy(self.source)
        rng = np.random.RandomState(getattr(np.random, self.source["bit_generator"])())
        rng.set_state(self.source)
        return rng

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> Self:
        unfinished = super()._from_state(state)
        check_random_state_dict(unfinished.source)
        return unfinished


class Mark:
    """The attributes of these objects, and the lengths of the estimator's records, as they are at the time of `set`."""

    def __init__(self, estimator: Any, *others: Any) -> None:
        self._things = [one for one in (estimator, *others) if one is not None]
        records = (estimator.loss_curve_, estimator.validation_scores_, estimator.validation_loss_curve_)
        # Every epoch adds one to each.
        self._before = [
            (record, len(record) - estimator.n_iter_)
            for record in (*records, *estimator.history_.values())
            if record is not None
        ]
        self._states: list[dict[str, Any]] | None = None

    def set(self) -> None:
        self._states = [one.__dict__.copy() for one in self._things]

    def clear(self) -> None:
        self._states = None

    def restore(self) -> bool:
        """Bring all back to what it was; False when there is nothing to go back to."""
        if self._states is None:
            return False
        for one, state in zip(self._things, self._states, strict=True):
            _give_back(one, state)
        for record, before in self._before:
            del record[before + self._things[0].n_iter_ :]
        return True


class Attempt:
    """The block of a fit: an exception gives these objects back the attributes that they came with, until training is
    said to `begin`."""

    def __init__(self, *things: Any) -> None:
        self._states = [(one, one.__dict__.copy()) for one in things if one is not None]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            for one, state in self._states:
                _give_back(one, state)

    def begin(self) -> None:
        """Training looks after the attributes itself from now on; the weights and moments that they were may go."""
        self._states = []


def _give_back(thing: Any, state: dict[str, Any]) -> None:
    """Set all attributes. Those that it has before and after it never lacks: other threads may look at it."""
    thing.__dict__.update(state)
    for name in thing.__dict__.keys() - state.keys():
        del thing.__dict__[name]
