"""A loss that is a Python function of the user's: called once a batch, and checked before it is trusted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class OwnLoss:
    """A loss and its gradient, by a function; `nnfast.MLP` says what that takes and gives.

    The first batch that it meets is used to compare the gradient with finite differences.
    """

    def __init__(self, function: Callable[[Array, Array], tuple[Any, Any]]) -> None:
        self.function = function
        self._checked = False

    def __call__(self, Y: Array, raw: Array, weights: NDArray[np.float64] | None) -> tuple[float, Array]:
        """The mean loss of a batch, by the weights of its rows, and the gradient (n, n_out) of each row's loss.

        Of a loss that is one number for the batch the rows have equal parts: the gradient is n times its gradient.
        """
        if not self._checked:
            self._check(Y.astype(np.float64), raw.astype(np.float64))
            self._checked = True
        loss, gradient = self._value(Y, raw)
        gradient = np.ascontiguousarray(gradient, raw.dtype)
        return _mean(loss, weights), gradient if loss.ndim else gradient * len(raw)

    def mean(self, Y: Array, raw: Array, weights: NDArray[np.float64] | None) -> float:
        """The mean loss of these rows."""
        return _mean(self._value(Y, raw)[0], weights)

    def _value(self, Y: Array, raw: Array) -> tuple[NDArray[np.float64], Array]:
        result = self.function(Y, raw)
        if not (isinstance(result, tuple) and len(result) == 2):
            raise ValueError(f"a loss must return (loss, gradient), got {type(result).__name__}")
        loss, gradient = np.asarray(result[0], np.float64), np.asarray(result[1])
        if loss.shape not in ((), (len(raw),)) or gradient.shape != raw.shape:
            raise ValueError(
                f"a loss must return one loss for each of {len(raw)} rows, or one number, and a gradient of shape "
                f"{raw.shape}; got shapes {loss.shape} and {gradient.shape}"
            )
        return loss, gradient

    def _check(self, Y: Array, raw: Array) -> None:
        """Raise ValueError unless the gradient is that of the loss, in float64: along its own signs, where no terms
        cancel, and in three random directions.

        Central differences over steps h err by h**3 times the third derivative and by the rounding of the loss, some
        eps: with h = 1e-5 both are 1e-15 of what is of size 1, where the difference itself is 1e-5. Rows near a kink of
        the loss, where they say nothing, are few; so the point is moved a little, as first outputs may lie exactly
        there, and one row in fifty may fail.
        """
        rng, size = np.random.RandomState(0), 1e-5 * (1 + np.abs(raw))
        raw = raw + 1e3 * size * rng.uniform(-1, 1, raw.shape)
        loss, gradient = self._value(Y, raw)
        if not (np.isfinite(loss).all() and np.isfinite(gradient).all()):
            return  # nothing to compare; training will tell
        for direction in (np.sign(gradient), *rng.uniform(-1, 1, (3, *raw.shape))):
            step = size * direction
            found = (self._value(Y, raw + step)[0] - self._value(Y, raw - step)[0]) / 2
            terms = gradient * step
            expected, scale = (part.sum(axis=1 if loss.ndim else None) for part in (terms, np.abs(terms)))
            wrong = np.abs(found - expected) > 1e-3 * scale + 16 * np.finfo(np.float64).eps * (1 + np.abs(loss))
            if np.mean(wrong) > 0.02:
                raise ValueError(
                    "the gradient that the loss returns is not the gradient of the loss that it returns: along a step "
                    f"the loss changes by {np.ravel(found)[np.argmax(wrong)]:.6g}, the gradient says "
                    f"{np.ravel(expected)[np.argmax(wrong)]:.6g}"
                )


def _mean(loss: NDArray[np.float64], weights: NDArray[np.float64] | None) -> float:
    if loss.ndim == 0 and weights is not None:
        raise ValueError("a loss that is one number for a batch takes no weights of rows: return one for each row")
    return float(np.average(loss, weights=weights))
