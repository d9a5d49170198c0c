"""Pictures of networks, in the manner of scikit-learn's displays: data first, `plot` draws it.

matplotlib is imported when something is drawn, not before.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, isqrt, sqrt
from numbers import Integral
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_is_fitted

from nnfast import _core
from nnfast._layers import Activation, hidden_activations
from nnfast._rows import Array


def _coefs(estimator: Any) -> list[Array]:
    """The weights of a fitted MLP, nnfast's or scikit-learn's, or of an `nnfast.MLP`."""
    if not hasattr(estimator, "coefs_"):
        check_is_fitted(estimator)
        raise TypeError(f"A {type(estimator).__name__} has no coefs_ to draw; of a pipeline take the step that has.")
    return estimator.coefs_


def _activations(estimator: Any) -> list[Activation]:
    """What each layer after the input applies."""
    n_hidden = len(_coefs(estimator)) - 1
    return [*hidden_activations(estimator.activation, n_hidden), estimator.out_activation_]


def _output_names(estimator: Any) -> list[str] | None:
    """The classes that the outputs stand for; None where they stand for none."""
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        return None
    if isinstance(classes, list):  # several columns of classes
        return [f"y{column}: {label}" for column, labels in enumerate(classes) for label in labels]
    return [str(label) for label in (classes[-1:] if len(estimator.intercepts_[-1]) == 1 else classes)]


def _label(activation: Activation) -> str:
    return activation if isinstance(activation, str) else f"{activation[0]} ({activation[1]:g})"


def _layer_names(n: int) -> list[str]:
    return ["input", *(f"hidden {i}" for i in range(1, n - 1)), "output"]


def _curves(activations: Sequence[Activation], x: ArrayLike | None) -> tuple[Array, Array, Array]:
    """What `ActivationDisplay` is made of: the points, and what the functions and their slopes are there."""
    if x is None:
        half = np.linspace(-4, 0, 401)
        x = np.concatenate([half, [np.nan], -half[-2::-1]])
    points = np.ascontiguousarray(x, np.float64)
    if points.ndim != 1 or not np.isfinite(points).any():
        raise ValueError(f"x must be a sequence of numbers, not all infinite or NaN, got shape {points.shape}")
    if not activations:
        raise ValueError("There is no activation to draw.")
    values, slopes = np.empty((2, len(activations), len(points)))
    for activation, value, slope in zip(activations, values, slopes, strict=True):
        name = "logistic" if activation == "sigmoid" else activation
        _core.activate(name, points, value)
        _core.activate_grad(name, points, slope)
    return points, values, slopes


def _largest(weights: Sequence[Array]) -> float:
    """The largest size of a weight that is finite; 1 where there is none but 0. Of a training that diverged, too."""
    return max(np.abs(w[np.isfinite(w)]).max(initial=0.0) for w in weights) or 1.0


# Of the axes of images, seen through weights that are not finite: those are drawn transparent, and 0 almost white.
_NOT_FINITE = "black"


def _colors(weights: Sequence[Array], kwargs: dict[str, Any]) -> dict[str, Any]:
    """What ``imshow`` is told: red for positive weights and blue for negative ones, unless `kwargs` says otherwise; one
    limit there is the other one too."""
    bound = abs(kwargs.get("vmax") or kwargs.get("vmin") or _largest(weights))
    scale = {} if "norm" in kwargs else {"vmin": -bound, "vmax": bound}
    return {"cmap": "RdBu_r", "interpolation": "nearest", **scale, **kwargs}


def _panels(ax: Any, title: str, n: int, columns: int, size: tuple[float, float]) -> tuple[Any, list[Any]]:
    """n axes, row by row, in the place of `ax`, or in a new figure with a title and this size (inches) for each.

    Returns
    -------
    place : matplotlib Axes
        Invisible.
    panels : list of matplotlib Axes
    """
    import matplotlib.pyplot as plt

    rows = -(-n // columns)
    if ax is None:
        figsize = max(columns * size[0] + 1, 3), rows * size[1] + 0.5  # 3: the title needs it
        ax = plt.subplots(figsize=figsize, layout="constrained")[1]
        ax.figure.suptitle(title)
    ax.set_axis_off()
    spec = ax.get_subplotspec()
    if spec is None:  # placed by hand
        box = ax.get_position()
        spec = ax.figure.add_gridspec(1, 1, left=box.x0, right=box.x1, bottom=box.y0, top=box.y1)[0]
    grid = spec.subgridspec(rows, columns)
    return ax, [ax.figure.add_subplot(grid[i]) for i in range(n)]


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


class ActivationDisplay:
    """Activation functions and their slopes, each function in a panel of its own.

    Parameters
    ----------
    x : array-like of shape (n_points,)
        The weighted sums at which the functions are drawn.

    values : array-like of shape (n_functions, n_points)
        What each function makes of them.

    slopes : array-like of shape (n_functions, n_points)
        The derivatives there.

    titles : sequence of str of length n_functions
        What stands above each panel.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The place of all panels, itself invisible.

    axes_ : list of matplotlib Axes
        The panels.

    figure_ : matplotlib Figure
        Their figure.

    lines_, slope_lines_ : lists of matplotlib Line2D
        The functions, and their slopes.

    Examples
    --------
    >>> from nnfast import ActivationDisplay
    >>> ActivationDisplay([-1.0, 1.0], [[0.0, 1.0]], [[0.0, 1.0]], titles=["relu"]).titles
    ['relu']
    """

    def __init__(self, x: ArrayLike, values: ArrayLike, slopes: ArrayLike, *, titles: Sequence[str]) -> None:
        self.x = x
        self.values = values
        self.slopes = slopes
        self.titles = titles

    @classmethod
    def from_estimator(cls, estimator: Any, *, x: ArrayLike | None = None, ax: Any = None, **kwargs: Any) -> Self:
        """Draw the functions that the layers of a network apply, each once.

        Parameters
        ----------
        estimator : fitted MLPClassifier or MLPRegressor, nnfast's or scikit-learn's, or nnfast.MLP
            Outputs that depend on each other, such as those of a softmax, are no function of one number: they are left
            out.

        x : array-like of shape (n_points,), default=None
            See `from_names`.

        ax : matplotlib Axes, default=None
            The panels take its place; a new figure when None.

        **kwargs : dict
            For matplotlib's ``plot`` of the functions.

        Returns
        -------
        display : ActivationDisplay

        Raises
        ------
        NotFittedError
            The estimator is not fitted.
        TypeError
            It is no network.
        ValueError
            It has no hidden layer, and an output that is left out.
        ImportError
            matplotlib is not installed.
        """
        *hidden, output = _activations(estimator)
        places: dict[Activation, list[str]] = {}
        for number, activation in enumerate(hidden, start=1):
            place = places.setdefault(activation, [])
            place.append(f"{number}" if place else f"hidden {number}")
        if output not in ("softmax", "ordered"):
            places.setdefault(output, []).append("output")
        if not places:
            raise ValueError(f"There is no hidden layer, and {output} is no function of one number.")
        titles = [f"{_label(activation)}\n{', '.join(place)}" for activation, place in places.items()]
        return cls(*_curves(list(places), x), titles=titles).plot(ax=ax, **kwargs)

    @classmethod
    def from_names(
        cls,
        activations: str | Sequence[str | tuple[str, float]],
        *,
        x: ArrayLike | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw functions of `nnfast.ops` by their names.

        Parameters
        ----------
        activations : str, or sequence with a str or (str, float) for each function
            Such as ``["relu", ("elu", 0.5)]``.

        x : array-like of shape (n_points,), default=None
            The weighted sums; 801 from -4 to 4 when None, without a line between 0 and what follows, so that a jump is
            a gap.

        ax : matplotlib Axes, default=None
            The panels take its place; a new figure when None.

        **kwargs : dict
            For matplotlib's ``plot`` of the functions.

        Returns
        -------
        display : ActivationDisplay

        Raises
        ------
        ValueError
            There is no such function, or it takes no argument, or x has no finite number.
        ImportError
            matplotlib is not installed.
        """
        if isinstance(activations, str):
            activations = [activations]
        titles = [_label(activation) for activation in activations]
        return cls(*_curves(activations, x), titles=titles).plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw; for the parameters see `from_estimator`.

        All panels have the same limits; a function that goes much further from 0 than x does, as exp, leaves them.

        Returns
        -------
        self : ActivationDisplay
        """
        check_matplotlib_support("ActivationDisplay.plot")
        from matplotlib.cbook import normalize_kwargs
        from matplotlib.lines import Line2D

        n = len(self.titles)
        columns = min(n, 5)
        self.ax_, self.axes_ = _panels(ax, "Activation functions", n, columns, (2.4, 2.6))
        self.figure_ = self.ax_.figure
        style = {"color": "tab:blue", "linewidth": 2, "label": "function"} | normalize_kwargs(kwargs, Line2D)
        self.lines_: list[Any] = []
        self.slope_lines_: list[Any] = []
        values, slopes = np.asarray(self.values), np.asarray(self.slopes)
        x = np.asarray(self.x, np.float64)
        reach = 1.25 * np.abs(x[np.isfinite(x)]).max(initial=1.0)
        drawn = np.clip([values, slopes], -reach, reach)
        margin = 0.05 * np.ptp(drawn[~np.isnan(drawn)])
        limits = np.nanmin(drawn) - margin, np.nanmax(drawn) + margin
        for i, panel in enumerate(self.axes_):
            panel.axhline(0, color="0.8", linewidth=0.8)
            panel.axvline(0, color="0.8", linewidth=0.8)
            self.lines_ += panel.plot(self.x, values[i], **style)
            self.slope_lines_ += panel.plot(
                self.x, slopes[i], color="tab:orange", linewidth=1.5, linestyle="--", label="slope"
            )
            panel.set(title=self.titles[i], ylim=limits)
            panel.locator_params("x", nbins=4)
            lowest, first = i + columns >= n, i % columns == 0
            panel.tick_params(labelbottom=lowest, labelleft=first)
            panel.set(xlabel="weighted sum" if lowest else "", ylabel="output" if first else "")
        self.axes_[0].legend(frameon=False)
        return self


class _Names(NamedTuple):
    layers: list[str]
    features: list[str]
    outputs: list[str]


class NetworkDisplay:
    """A network: its units in columns and its weights as lines between them, or its weights as heat maps.

    Parameters
    ----------
    coefs : sequence of array-like of shape (units of layer i, units of layer i + 1)
        The weights of each layer after the input.

    intercepts : sequence of array-like of shape (units of layer i + 1,)
        Likewise the intercepts.

    layer_names : sequence of str, default=None
        One for each layer, the input and the output included; 'input', 'hidden 1', ..., 'output' when None.

    feature_names : sequence of str, default=None
        The inputs; 'x0', 'x1', ... when None.

    output_names : sequence of str, default=None
        The outputs; 'y0', 'y1', ... when None. Names are drawn as they are, a ``$`` too.

    Attributes
    ----------
    kind_ : {'lines', 'heatmap'}
        What has been drawn.

    ax_ : matplotlib Axes
        The axes; with heat maps the place of all of them, itself invisible.

    axes_ : list of matplotlib Axes
        One for each heat map; with lines ``[ax_]``.

    figure_ : matplotlib Figure
        Their figure.

    lines_ : list of matplotlib LineCollection
        The lines of each layer after the input, those of ``coefs[i][j, k]`` in the order of ``coefs[i].ravel()``.

    units_ : list of matplotlib PathCollection
        The units of each layer, the input included.

    images_ : list of matplotlib AxesImage
        The heat maps, as ``coefs``: a row for each unit that the weights come from, a column for each they lead to.

    colorbar_ : matplotlib Colorbar
        With heat maps, what their colours mean.

    Examples
    --------
    >>> from nnfast import NetworkDisplay
    >>> NetworkDisplay([[[1.0], [-2.0]]], [[0.5]], output_names=["price"]).output_names
    ['price']
    """

    def __init__(
        self,
        coefs: Sequence[ArrayLike],
        intercepts: Sequence[ArrayLike],
        *,
        layer_names: Sequence[str] | None = None,
        feature_names: Sequence[str] | None = None,
        output_names: Sequence[str] | None = None,
    ) -> None:
        self.coefs = coefs
        self.intercepts = intercepts
        self.layer_names = layer_names
        self.feature_names = feature_names
        self.output_names = output_names

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, kind: str = "auto", max_units: int = 32, ax: Any = None, **kwargs: Any
    ) -> Self:
        """Draw a network with the names of its features, of its layers' activations and of its classes.

        Parameters
        ----------
        estimator : fitted MLPClassifier or MLPRegressor, nnfast's or scikit-learn's, or nnfast.MLP

        kind : {'auto', 'lines', 'heatmap'}, default='auto'
            How to draw the weights.

            - 'lines' draws one for each weight, red for positive and blue for negative ones, and the wider the larger
              the weight is; the edges of the units do the same for the intercepts.
            - 'heatmap' draws an image for each layer, with one scale of colours for all, and black for what is not
              finite; the intercepts are left out.
            - 'auto' is 'lines' for networks small enough, else 'heatmap'.

        max_units : int, default=32
            The most units of a layer, inputs included, that are drawn with lines.

        ax : matplotlib Axes, default=None
            Where to draw; heat maps take its place. A new figure when None.

        **kwargs : dict
            For matplotlib's ``LineCollection`` of the lines, or ``imshow`` of the heat maps.

        Returns
        -------
        display : NetworkDisplay

        Raises
        ------
        NotFittedError
            The estimator is not fitted.
        TypeError
            It is no network.
        ValueError
            There is no such kind, or a layer has more than ``max_units`` units and ``kind='lines'``.
        ImportError
            matplotlib is not installed.
        """
        labels = ["features", *map(_label, _activations(estimator))]
        display = cls(
            estimator.coefs_,
            estimator.intercepts_,
            layer_names=[f"{name}\n{label}" for name, label in zip(_layer_names(len(labels)), labels, strict=True)],
            feature_names=getattr(estimator, "feature_names_in_", None),
            output_names=_output_names(estimator),
        )
        return display.plot(ax=ax, kind=kind, max_units=max_units, **kwargs)

    def plot(self, ax: Any = None, *, kind: str = "auto", max_units: int = 32, **kwargs: Any) -> Self:
        """Draw; for the parameters see `from_estimator`.

        Returns
        -------
        self : NetworkDisplay
        """
        check_matplotlib_support("NetworkDisplay.plot")
        if kind not in ("auto", "lines", "heatmap"):
            raise ValueError(f"kind must be 'auto', 'lines' or 'heatmap', got {kind!r}")
        coefs = [np.asarray(coef) for coef in self.coefs]
        intercepts = [np.asarray(intercept) for intercept in self.intercepts]
        sizes = [len(coefs[0]), *map(len, intercepts)]
        largest = max(sizes)
        if kind == "lines" and largest > max_units:
            raise ValueError(
                f"A layer has {largest} units, more than max_units={max_units} that are drawn with lines; "
                "kind='heatmap' draws networks of any size."
            )
        self.kind_ = "lines" if kind != "heatmap" and largest <= max_units else "heatmap"
        names = _Names(
            _layer_names(len(sizes)) if self.layer_names is None else list(self.layer_names),
            [f"x{i}" for i in range(sizes[0])] if self.feature_names is None else list(map(str, self.feature_names)),
            [f"y{i}" for i in range(sizes[-1])] if self.output_names is None else list(map(str, self.output_names)),
        )
        for what, given, n in zip(names._fields, names, (len(sizes), sizes[0], sizes[-1]), strict=True):
            if len(given) != n:
                raise ValueError(f"There are {len(given)} names for {n} {what}.")
        self.lines_: list[Any] = []
        self.units_: list[Any] = []
        self.images_: list[Any] = []
        title = f"Network {'-'.join(map(str, sizes))}"
        if self.kind_ == "lines":
            self._plot_lines(ax, title, coefs, intercepts, names, kwargs)
        else:
            self._plot_heatmaps(ax, title, coefs, names, kwargs)
        return self

    def _plot_lines(
        self,
        ax: Any,
        title: str,
        coefs: list[Array],
        intercepts: list[Array],
        names: _Names,
        kwargs: dict[str, Any],
    ) -> None:
        import matplotlib.pyplot as plt
        from matplotlib.cbook import normalize_kwargs
        from matplotlib.collections import LineCollection
        from matplotlib.lines import Line2D

        sizes = [len(coefs[0]), *map(len, intercepts)]
        most = max(sizes)
        if ax is None:
            figsize = 1.5 + 1.8 * len(sizes), 1.6 + 0.3 * max(most, 6)
            ax = plt.subplots(figsize=figsize, layout="constrained")[1]
        self.ax_, self.axes_, self.figure_ = ax, [ax], ax.figure
        everything = np.concatenate([np.ravel(part) for part in (*coefs, *intercepts)])
        largest = _largest([everything])
        # Points for the largest weight: 3, but less where that would make one surface of the lines of many units.
        widest = 3 * min(1, 10 / most)

        def looks(weights: Array) -> tuple[Any, Any]:
            """Colours and widths of the lines for these weights: none for NaN, the widest for an infinite one."""
            colors = np.select([weights > 0, weights < 0], ["tab:red", "tab:blue"], "tab:gray")
            return colors, widest / largest * np.nan_to_num(np.abs(weights), posinf=largest)

        heights = [(n - 1) / 2 - np.arange(n) for n in sizes]
        given = normalize_kwargs(kwargs, LineCollection)
        for layer, coef in enumerate(coefs):
            j, k = (unit.ravel() for unit in np.indices(coef.shape))
            lines = np.empty((coef.size, 2, 2))  # (line, end, x and y)
            lines[:, :, 0] = layer, layer + 1
            lines[:, 0, 1], lines[:, 1, 1] = heights[layer][j], heights[layer + 1][k]
            colors, widths = looks(coef.ravel())
            style = {"colors": colors, "linewidth": widths, "alpha": 0.8, "zorder": 1} | given
            self.lines_.append(LineCollection(list(lines), **style))
            ax.add_collection(self.lines_[-1])

        pitch = ax.get_window_extent().height * 72 / ax.figure.dpi / (most + 1)  # points from unit to unit
        for layer, y in enumerate(heights):
            colors, widths = looks(intercepts[layer - 1] if layer else np.zeros(len(y)))
            units = ax.scatter(np.full(len(y), layer), y, s=min(0.6 * pitch, 16) ** 2, color="white", zorder=2)
            units.set(edgecolor=colors, linewidth=1 + widths, clip_on=False)  # in narrow axes they reach over the edge
            self.units_.append(units)

        fontsize = min(10, max(0.7 * pitch, 4))
        reach = (most + 1) / 2
        ax.set(title=title, xlim=(-0.12, len(coefs) + 0.12), ylim=(-reach, reach))
        ax.xaxis.tick_top()
        ax.set_xticks(range(len(sizes)), names.layers)
        ax.set_yticks(heights[0], names.features, fontsize=fontsize, parse_math=False)
        right = ax.secondary_yaxis("right")
        right.set_yticks(heights[-1], names.outputs, fontsize=fontsize, parse_math=False)
        for axes in (ax, right):
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
        marks = []
        numbers = everything[~np.isnan(everything)]
        for sign, value, words in (
            (1, numbers.max(initial=0), "positive, up to"),
            (-1, numbers.min(initial=0), "negative, down to"),
        ):
            if sign * value > 0:
                color, width = looks(value)
                marks.append(Line2D([], [], color=str(color), linewidth=float(width), label=f"{words} {value:.3g}"))
        ax.legend(
            handles=marks,
            title="weights; intercepts on the edges of the units",
            loc="upper center",
            bbox_to_anchor=(0.5, 0),
            ncols=2,
            frameon=False,
        )

    def _plot_heatmaps(self, ax: Any, title: str, coefs: list[Array], names: _Names, kwargs: dict[str, Any]) -> None:
        style = {"aspect": "auto"} | _colors(coefs, kwargs)
        self.ax_, self.axes_ = _panels(ax, title, len(coefs), min(len(coefs), 4), (2.8, 3.4))
        self.figure_ = self.ax_.figure
        for layer, (panel, coef) in enumerate(zip(self.axes_, coefs, strict=True)):
            self.images_.append(panel.imshow(coef, **style))
            panel.set(ylabel=names.layers[layer], xlabel=names.layers[layer + 1], facecolor=_NOT_FINITE)
            panel.locator_params(nbins=5, integer=True)
        for set_ticks, labels in (
            (self.axes_[0].set_yticks, names.features),
            (self.axes_[-1].set_xticks, names.outputs),
        ):
            if len(labels) <= 30:  # of more, in the 170 points of a panel, none could be read
                set_ticks(range(len(labels)), labels, fontsize=min(10, 170 / len(labels)), parse_math=False)
        if len(" ".join(names.outputs)) > 24:  # letters of 6 points fill the width of a panel
            self.axes_[-1].tick_params(axis="x", labelrotation=90)
        self.colorbar_ = self.figure_.colorbar(self.images_[0], ax=self.axes_, label="weight")


class WeightsDisplay:
    """The weights of the first layer's units as images, all with the same colours for the same weights.

    Parameters
    ----------
    weights : array-like of shape (n_features, n_units)
        A column of weights for each unit.

    image_shape : (int, int), default=None
        Rows and columns of the images that the features stand for, row by row; square when None.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The place of all images, itself invisible.

    axes_ : list of matplotlib Axes
        One for each image.

    figure_ : matplotlib Figure
        Their figure.

    images_ : list of matplotlib AxesImage
        The images.

    colorbar_ : matplotlib Colorbar
        What the colours mean.

    Examples
    --------
    >>> import numpy as np
    >>> from nnfast import WeightsDisplay
    >>> WeightsDisplay(np.zeros((12, 5)), image_shape=(3, 4)).image_shape
    (3, 4)
    """

    def __init__(self, weights: ArrayLike, *, image_shape: tuple[int, int] | None = None) -> None:
        self.weights = weights
        self.image_shape = image_shape

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        image_shape: tuple[int, int] | None = None,
        units: int | Sequence[int] = 25,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw what the units of a network's first layer look for in an image.

        Parameters
        ----------
        estimator : fitted MLPClassifier or MLPRegressor, nnfast's or scikit-learn's, or nnfast.MLP

        image_shape : (int, int), default=None
            Rows and columns of the images that the features stand for, row by row; square when None.

        units : int or sequence of int, default=25
            How many units to draw, the first ones, or which.

        ax : matplotlib Axes, default=None
            The images take its place; a new figure when None.

        **kwargs : dict
            For matplotlib's ``imshow``, such as ``cmap`` or ``vmax``.

        Returns
        -------
        display : WeightsDisplay

        Raises
        ------
        NotFittedError
            The estimator is not fitted.
        TypeError
            It is no network.
        ValueError
            The features do not make images of this shape, or there are no such units.
        ImportError
            matplotlib is not installed.
        """
        return cls(_coefs(estimator)[0], image_shape=image_shape).plot(ax=ax, units=units, **kwargs)

    def plot(self, ax: Any = None, *, units: int | Sequence[int] = 25, **kwargs: Any) -> Self:
        """Draw; for the parameters see `from_estimator`.

        Returns
        -------
        self : WeightsDisplay
        """
        check_matplotlib_support("WeightsDisplay.plot")
        weights = np.asarray(self.weights)
        n_features, n_units = weights.shape
        height, width = self._shape(n_features)
        chosen = np.arange(n_units)[: max(units, 0)] if isinstance(units, Integral) else np.asarray(units)
        if not chosen.size or chosen.dtype.kind not in "iu" or not np.isin(chosen, np.arange(n_units)).all():
            raise ValueError(f"units must be how many, at least 1, or which, from 0 to {n_units - 1}; got {units!r}")
        columns = ceil(sqrt(chosen.size))
        size = (1.1, 0.3 + min(max(1.1 * height / width, 0.3), 2.2))
        self.ax_, self.axes_ = _panels(ax, "Weights of the first layer", chosen.size, columns, size)
        self.figure_ = self.ax_.figure
        style = _colors([weights[:, chosen]], kwargs)
        self.images_: list[Any] = []
        for panel, unit in zip(self.axes_, chosen, strict=True):
            self.images_.append(panel.imshow(weights[:, unit].reshape(height, width), **style))
            panel.set(xticks=[], yticks=[], facecolor=_NOT_FINITE)
            panel.set_title(f"unit {unit}", fontsize="small")
        self.colorbar_ = self.figure_.colorbar(self.images_[0], ax=self.axes_, label="weight")
        return self

    def _shape(self, n_features: int) -> tuple[int, int]:
        side = isqrt(n_features)
        shape = (side, side) if self.image_shape is None else tuple(self.image_shape)
        if len(shape) == 2 and min(shape) > 0 and shape[0] * shape[1] == n_features:
            return shape
        if self.image_shape is None:
            raise ValueError(f"{n_features} features make no square; image_shape=(rows, columns) says what they make.")
        raise ValueError(f"{n_features} features make no images of shape {shape}.")
