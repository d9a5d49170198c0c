"""Pictures of networks, in the manner of scikit-learn's displays: data first, `plot` draws it.

matplotlib is imported when something is drawn, not before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_is_fitted


class LossCurveDisplay:
    """The course of training: the loss of each epoch and, where there is one, the validation loss and score.

    Parameters
    ----------
    loss_curve : sequence of float of shape (n_epochs,)
        The training loss after each epoch.

    validation_loss_curve : sequence of float of shape (n_epochs,), default=None
        The loss on the validation rows.

    validation_scores : sequence of float of shape (n_epochs,), default=None
        The score on the validation rows, drawn against an axis of its own on the right.

    best_epoch : int, default=None
        The epoch, from 1, to mark with a vertical line.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the losses.

    score_ax_ : matplotlib Axes or None
        The axes of the scores.

    figure_ : matplotlib Figure
        The figure of both.

    lines_ : list of matplotlib Line2D
        The curves: training loss, validation loss, validation score, as far as they are there.

    best_line_ : matplotlib Line2D or None
        The mark of the best epoch.

    Examples
    --------
    >>> from nnfast import LossCurveDisplay
    >>> LossCurveDisplay([0.9, 0.5, 0.4]).loss_curve
    [0.9, 0.5, 0.4]
    """

    def __init__(
        self,
        loss_curve: Sequence[float],
        *,
        validation_loss_curve: Sequence[float] | None = None,
        validation_scores: Sequence[float] | None = None,
        best_epoch: int | None = None,
    ) -> None:
        self.loss_curve = loss_curve
        self.validation_loss_curve = validation_loss_curve
        self.validation_scores = validation_scores
        self.best_epoch = best_epoch

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None, **kwargs: Any) -> Self:
        """Draw the course of a fitted MLP's training.

        Parameters
        ----------
        estimator : fitted MLPClassifier or MLPRegressor, nnfast's or scikit-learn's
            With early stopping, the epoch of the best validation score is marked.

        ax : matplotlib Axes, default=None
            Where to draw; a new figure when None.

        **kwargs : dict
            For matplotlib's ``plot`` of the training loss.

        Returns
        -------
        display : LossCurveDisplay

        Raises
        ------
        NotFittedError
            The estimator is not fitted.
        ValueError
            It has no ``loss_curve_``, as after ``solver="lbfgs"``.
        ImportError
            matplotlib is not installed.
        """
        check_is_fitted(estimator)
        losses = getattr(estimator, "loss_curve_", None)
        if not losses:
            raise ValueError(f"This {type(estimator).__name__} has no loss_curve_ to draw.")
        scores = getattr(estimator, "validation_scores_", None) or None
        best = None
        if scores and estimator.early_stopping and not np.isnan(scores).all():
            best = int(np.nanargmax(scores)) + 1
        validation = getattr(estimator, "validation_loss_curve_", None) or None
        display = cls(losses, validation_loss_curve=validation, validation_scores=scores, best_epoch=best)
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw; for the parameters see `from_estimator`.

        Returns
        -------
        self : LossCurveDisplay
        """
        check_matplotlib_support("LossCurveDisplay.plot")
        import matplotlib.pyplot as plt
        from matplotlib.cbook import normalize_kwargs
        from matplotlib.lines import Line2D
        from matplotlib.ticker import MaxNLocator

        if ax is None:
            ax = plt.subplots(layout="constrained")[1]
        self.ax_, self.figure_ = ax, ax.figure
        self.score_ax_ = None if self.validation_scores is None else ax.twinx()
        curves = [(ax, self.loss_curve, "training loss", "tab:blue")]
        if self.validation_loss_curve is not None:
            curves.append((ax, self.validation_loss_curve, "validation loss", "tab:orange"))
        if self.validation_scores is not None:
            curves.append((self.score_ax_, self.validation_scores, "validation score", "tab:green"))
        self.lines_: list[Any] = []
        for where, values, label, color in curves:
            style = {"label": label, "color": color, "marker": "o" if len(values) == 1 else None}
            style |= normalize_kwargs(kwargs, Line2D) if not self.lines_ else {}  # c is color
            self.lines_ += where.plot(np.arange(1, len(values) + 1), values, **style)
        self.best_line_ = None
        if self.best_epoch is not None:
            self.best_line_ = ax.axvline(
                self.best_epoch, color="0.4", linestyle="--", label=f"best epoch: {self.best_epoch}"
            )
        ax.set(title="Course of training", xlabel="epoch", ylabel="loss")
        if ax.get_xscale() == "linear":
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        if self.score_ax_ is not None:
            self.score_ax_.set_ylabel("score")
        marks = [*self.lines_, *([] if self.best_line_ is None else [self.best_line_])]
        # The axes drawn last would lie over the other's legend.
        (self.score_ax_ or ax).legend(handles=marks, loc="center right" if self.score_ax_ else "best")
        return self
