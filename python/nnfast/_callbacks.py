"""What scikit-learn's callbacks are told of the fit of an MLP estimator, and whether they ask it to stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nnfast._rows import Array


class Tasks:
    """What scikit-learn's callbacks are told: the fit is a task, and each of its epochs or iterations one within it.

    Without callbacks, all that is done is to take the fit's place among the tasks of a meta-estimator; before
    scikit-learn 1.9, which has none, nothing.
    """

    def __init__(self, estimator: Any, name: str, most: int, X: Any, y: Any, sample_weight: Any) -> None:
        self._estimator = estimator
        self._name = name
        self._told = hasattr(estimator, "_skl_callbacks")
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._facts = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self._fit: Any = None
        if hasattr(estimator, "_init_callback_context"):
            self._fit = estimator._init_callback_context(max_subtasks=most)
            self._fit.call_on_fit_task_begin(**self._facts)
        self._task: Any = None

    def begin(self, weights: Callable[[], tuple[list[Array], list[Array]]]) -> None:
        """A task begins, unless it has already; `weights` gives (coefs, intercepts) to who wants to see them."""
        if self._told and self._task is None:
            self._task = self._fit.subcontext(task_name=self._name)
            self._task.call_on_fit_task_begin(**self._facts, reconstruction_attributes=_attributes(weights))

    def end(self, weights: Callable[[], tuple[list[Array], list[Array]]]) -> bool:
        """The task ends; whether a callback asks to stop."""
        if self._task is None:
            return False
        task, self._task = self._task, None
        return task.call_on_fit_task_end(**self._facts, reconstruction_attributes=_attributes(weights))

    def finish(self) -> None:
        """The fit ends; a task that began and came to nothing ends with it."""
        if self._task is not None:
            self._task.call_on_fit_task_end(estimator=self._estimator)
        if self._fit is not None:
            self._fit.call_on_fit_task_end(**self._facts, reconstruction_attributes={})


def _attributes(weights: Callable[[], tuple[list[Array], list[Array]]]) -> Callable[[], dict[str, Any]]:
    return lambda: dict(zip(("coefs_", "intercepts_"), weights(), strict=True))
