"""The displays: what stands in the artists is the estimator's, axes are reused, wrong input is refused."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import sklearn.neural_network
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression

from nnfast import (
    MLP,
    ActivationDisplay,
    LossCurveDisplay,
    MLPClassifier,
    MLPRegressor,
    NetworkDisplay,
    WeightsDisplay,
    _core,
    ops,
)

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")

rng = np.random.RandomState(0)
X = rng.standard_normal((80, 4))
y = (X[:, 0] > 0).astype(int)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


# ---- LossCurveDisplay -----------------------------------------------------------------------------------------------


def test_loss_curve_without_validation():
    model = MLPClassifier((5,), max_iter=4, tol=0, n_iter_no_change=np.inf, random_state=0).fit(X, y)
    ax = plt.figure().add_subplot()
    display = LossCurveDisplay.from_estimator(model, ax=ax, linewidth=3)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    (line,) = display.lines_
    assert line.get_linewidth() == 3
    assert line.get_xdata().tolist() == [1, 2, 3, 4]
    assert list(line.get_ydata()) == model.loss_curve_
    assert display.score_ax_ is None
    assert display.best_line_ is None


def test_loss_curve_with_early_stopping():
    model = MLPClassifier((5,), early_stopping=True, max_iter=60, random_state=0).fit(X, y)
    display = LossCurveDisplay.from_estimator(model)
    curves = [model.loss_curve_, model.validation_loss_curve_, model.validation_scores_]
    assert [list(line.get_ydata()) for line in display.lines_] == curves
    assert [line.axes for line in display.lines_] == [display.ax_, display.ax_, display.score_ax_]
    epoch = display.best_line_.get_xdata()[0]
    assert model.validation_scores_[epoch - 1] == model.best_validation_score_


def test_loss_curve_refuses():
    with pytest.raises(NotFittedError):
        LossCurveDisplay.from_estimator(MLPClassifier())
    model = MLPClassifier((5,), solver="lbfgs", random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="no loss_curve_"):
        LossCurveDisplay.from_estimator(model)


def test_axes_and_lines_of_ones_own():
    """Axes with a logarithmic scale keep it, an abbreviated property is the property; scikit-learn's model is drawn."""
    X, y = np.random.default_rng(0).standard_normal((60, 3)), np.arange(60.0)
    model = sklearn.neural_network.MLPRegressor(hidden_layer_sizes=(4,), max_iter=5, random_state=0).fit(X, y)
    ax = plt.subplots()[1]
    ax.set_xscale("log")
    display = LossCurveDisplay.from_estimator(model, ax=ax, c="red", lw=3)
    assert ax.get_xscale() == "log"
    assert display.lines_[0].get_color() == "red" and display.lines_[0].get_linewidth() == 3
    np.testing.assert_array_equal(display.lines_[0].get_ydata(), model.loss_curve_)


# ---- ActivationDisplay ----------------------------------------------------------------------------------------------

ELEMENTWISE = [name for name in _core.ACTIVATIONS if name not in ("softmax", "ordered")]


def test_every_activation_is_drawn_with_its_slope():
    display = ActivationDisplay.from_names(ELEMENTWISE)
    assert [panel.get_title() for panel in display.axes_] == ELEMENTWISE
    for panel, name, line, slope in zip(display.axes_, ELEMENTWISE, display.lines_, display.slope_lines_, strict=True):
        assert line.axes is slope.axes is panel
        x = line.get_xdata()
        np.testing.assert_array_equal(slope.get_xdata(), x)
        np.testing.assert_array_equal(line.get_ydata(), getattr(ops, name)(x))
        np.testing.assert_array_equal(slope.get_ydata(), getattr(ops, f"{name}_grad")(x))
        assert panel.get_ylim() == display.axes_[0].get_ylim()
    # A point that is none parts 0 from what follows, where some functions jump.
    (gap,) = np.flatnonzero(np.isnan(x))
    assert x[gap - 1] == 0 < x[gap + 1]
    low, high = panel.get_ylim()
    assert low <= -4 and 4 <= high < np.exp(4)  # of the functions only exp leaves the picture


def test_activations_with_arguments_at_points_of_ones_own():
    x = [-2, -1, 1.5]
    ax = plt.figure().add_subplot(1, 2, 2)
    display = ActivationDisplay.from_names([("elu", 0.5), "sigmoid"], x=x, ax=ax, c="red", lw=3)
    elu, sigmoid = display.lines_
    np.testing.assert_array_equal(elu.get_ydata(), ops.elu(x, alpha=0.5))
    np.testing.assert_array_equal(display.slope_lines_[0].get_ydata(), ops.elu_grad(x, alpha=0.5))
    np.testing.assert_array_equal(sigmoid.get_ydata(), ops.sigmoid(x))
    assert [panel.get_title() for panel in display.axes_] == ["elu (0.5)", "sigmoid"]
    assert elu.get_color() == "red" and elu.get_linewidth() == 3
    assert display.ax_ is ax and display.figure_ is ax.figure and not ax.axison
    inside(display.axes_, ax)
    assert len(ActivationDisplay.from_names("relu").lines_) == 1
    display = ActivationDisplay.from_names("relu", x=[-np.inf, -1, 2, np.nan, np.inf])
    assert np.isfinite(display.axes_[0].get_ylim()).all()


def inside(panels, ax):
    """The panels lie in the place of the axes."""
    place = ax.get_position().padded(1e-9)
    for panel in panels:
        assert all(place.contains(*corner) for corner in panel.get_position().corners())


def test_activations_of_a_network():
    model = MLPClassifier((3, 3, 2), ["relu", ("elu", 0.5), "relu"], max_iter=1, random_state=0).fit(X, y)
    display = ActivationDisplay.from_estimator(model)
    titles = ["relu\nhidden 1, 3", "elu (0.5)\nhidden 2", "logistic\noutput"]
    assert [panel.get_title() for panel in display.axes_] == titles

    def titles_of(network):
        return [panel.get_title() for panel in ActivationDisplay.from_estimator(network).axes_]

    assert titles_of(MLP((2, 3, 3), activation="tanh", loss="log_loss")) == ["tanh\nhidden 1"]  # softmax is left out
    assert titles_of(MLP((2, 3, 1), activation="sigmoid", loss="binary_log_loss")) == ["logistic\nhidden 1, output"]
    theirs = sklearn.neural_network.MLPRegressor(hidden_layer_sizes=(3,), max_iter=1).fit(X, y)
    assert titles_of(theirs) == ["relu\nhidden 1", "identity\noutput"]


def test_activations_refuse():
    refused = {
        "unknown activation 'swish'": lambda: ActivationDisplay.from_names(["relu", "swish"]),
        "softmax is no elementwise activation": lambda: ActivationDisplay.from_names(["softmax"]),
        "relu takes no argument": lambda: ActivationDisplay.from_names([("relu", 0.1)]),
        "no activation to draw": lambda: ActivationDisplay.from_names([]),
        "x must be a sequence of numbers": lambda: ActivationDisplay.from_names("relu", x=[[1.0]]),
        "not all infinite or NaN": lambda: ActivationDisplay.from_names("relu", x=[np.nan, np.inf]),
        "softmax is no function of one number": lambda: ActivationDisplay.from_estimator(MLP((2, 3), loss="log_loss")),
    }
    for message, call in refused.items():
        with pytest.raises(ValueError, match=message):
            call()
    assert_refuses_what_is_no_network(ActivationDisplay)


def assert_refuses_what_is_no_network(display):
    with pytest.raises(NotFittedError):
        display.from_estimator(MLPRegressor())
    with pytest.raises(TypeError, match="LinearRegression has no coefs_"):
        display.from_estimator(LinearRegression().fit(X, y))
    with pytest.raises(TypeError, match="not an estimator"):
        display.from_estimator("a network")


# ---- NetworkDisplay -------------------------------------------------------------------------------------------------


def looks(weights, widest):
    """Colours and relative widths that lines for these weights should have; `widest` is the largest weight."""
    colors = np.where(weights > 0, "tab:red", np.where(weights < 0, "tab:blue", "tab:gray"))
    return matplotlib.colors.to_rgba_array(colors.tolist()), np.abs(weights) / widest


def assert_lines(display, coefs, intercepts):
    widest = max(np.abs(part).max() for part in (*coefs, *intercepts))
    for layer, (lines, coef) in enumerate(zip(display.lines_, coefs, strict=True)):
        assert lines.axes is display.ax_
        colors, widths = looks(coef.ravel(), widest)
        np.testing.assert_array_equal(lines.get_colors()[:, :3], colors[:, :3])
        np.testing.assert_allclose(lines.get_linewidths(), 3 * widths, rtol=1e-6)  # the weights' float32
        # They lead from the unit of their row to that of their column.
        left, right = (units.get_offsets() for units in display.units_[layer : layer + 2])
        ends = [[left[j], right[k]] for j, k in np.ndindex(coef.shape)]
        np.testing.assert_array_equal(lines.get_segments(), ends)
    for units, intercept in zip(display.units_[1:], intercepts, strict=True):
        colors, widths = looks(intercept, widest)
        np.testing.assert_array_equal(units.get_edgecolors(), colors)
        np.testing.assert_allclose(units.get_linewidths(), 1 + 3 * widths, rtol=1e-6)


def labels(ticks):
    return [tick.get_text() for tick in ticks]


def test_a_network_as_lines():
    frame = pd.DataFrame(X, columns=["length", "width", "height", "weight"])
    model = MLPClassifier((3, 5), ["relu", ("elu", 0.5)], max_iter=2, random_state=0)
    model.fit(frame, np.array(["ant", "bee", "cat"])[np.arange(80) % 3])
    model.coefs_[0][0] = 0, 0.5, -9
    ax = plt.figure().add_subplot()
    display = NetworkDisplay.from_estimator(model, ax=ax)
    assert display.kind_ == "lines" and display.images_ == []
    assert display.ax_ is ax and display.axes_ == [ax] and display.figure_ is ax.figure
    assert_lines(display, model.coefs_, model.intercepts_)
    assert [len(units.get_offsets()) for units in display.units_] == [4, 3, 5, 3]
    assert ax.get_title() == "Network 4-3-5-3"
    assert labels(ax.get_xticklabels()) == [
        "input\nfeatures",
        "hidden 1\nrelu",
        "hidden 2\nelu (0.5)",
        "output\nsoftmax",
    ]
    # The names stand beside their units, the first one above.
    (right,) = ax.child_axes
    for axis, units, names in (
        (ax.yaxis, display.units_[0], ["length", "width", "height", "weight"]),
        (right.yaxis, display.units_[-1], ["ant", "bee", "cat"]),
    ):
        assert labels(axis.get_ticklabels()) == names
        np.testing.assert_array_equal(axis.get_ticklocs(), units.get_offsets()[:, 1])
        assert (np.diff(axis.get_ticklocs()) < 0).all()
    largest = max(part.max() for part in (*model.coefs_, *model.intercepts_))
    assert labels(ax.get_legend().get_texts()) == [f"positive, up to {largest:.3g}", "negative, down to -9"]


def test_names_of_outputs():
    def outputs(model):
        return labels(NetworkDisplay.from_estimator(model, kind="lines").ax_.child_axes[0].get_yticklabels())

    assert outputs(MLPClassifier((2,), max_iter=1).fit(X, np.where(y, "yes", "no"))) == ["yes"]
    columns = np.column_stack([np.where(y, "yes", "no"), np.array(["a", "b", "c"])[np.arange(80) % 3]])
    assert outputs(MLPClassifier((2,), max_iter=1).fit(X, columns)) == ["y0: no", "y0: yes", "y1: a", "y1: b", "y1: c"]
    assert outputs(MLPClassifier((2,), max_iter=1).fit(X, X > 0)) == ["0", "1", "2", "3"]
    assert outputs(MLPRegressor(hidden_layer_sizes=(2,), max_iter=1).fit(X, X[:, :2])) == ["y0", "y1"]
    assert outputs(sklearn.neural_network.MLPClassifier((2,), max_iter=1).fit(X, y)) == ["1"]
    assert outputs(MLP((2, 2))) == ["y0", "y1"]


@pytest.mark.parametrize("kind", ["lines", "heatmap"])
def test_names_are_no_mathematics(kind):
    """Nor need they be text."""
    frame = pd.DataFrame(X, columns=["price $", "$\\frac$", "a_b^{", ""])
    model = MLPClassifier((2,), max_iter=1).fit(frame, np.array(["$x$", "$\\x$", "\\"])[np.arange(80) % 3])
    display = NetworkDisplay.from_estimator(model, kind=kind)
    features = display.axes_[0].get_yticklabels()
    outputs = (display.ax_.child_axes[0].yaxis if kind == "lines" else display.axes_[-1].xaxis).get_ticklabels()
    assert labels(features) == list(frame) and labels(outputs) == list(model.classes_)
    assert not any(tick.get_parse_math() for tick in (*features, *outputs))
    display.figure_.canvas.draw()  # as mathematics some of them are errors
    numbered = NetworkDisplay(model.coefs_, model.intercepts_, feature_names=range(4), output_names=np.arange(3))
    assert labels(numbered.plot(kind=kind).axes_[0].get_yticklabels()) == ["0", "1", "2", "3"]


def test_weights_that_are_not_finite():
    """As of a training that diverged: the others are drawn as ever."""
    network = MLP((2, 3, 1), random_state=0)
    network.coefs_[0][:] = [[np.nan, np.inf, -np.inf], [1, -0.5, 0]]
    network.intercepts_[1][:] = -2
    display = NetworkDisplay.from_estimator(network)
    np.testing.assert_allclose(display.lines_[0].get_linewidths(), [0, 3, 3, 1.5, 0.75, 0])
    texts = labels(display.ax_.get_legend().get_texts())
    assert texts == ["positive, up to inf", "negative, down to -inf"]
    largest = max(1, np.abs(network.coefs_[1]).max())
    images = NetworkDisplay.from_estimator(network, kind="heatmap")
    assert images.images_[0].get_clim() == (-largest, largest)
    weights = WeightsDisplay(network.coefs_[0].T, image_shape=(3, 1)).plot()
    assert weights.images_[0].get_clim() == (-1, 1)
    images.figure_.canvas.draw()
    pixels = np.asarray(images.figure_.canvas.buffer_rgba())
    for column, row in np.ndindex(3, 2):  # what has no colour is black, not white as 0
        x, y = images.axes_[0].transData.transform((column, row)).astype(int)
        assert (pixels[-y, x, :3] == 0).all() == (row == 0)
    assert weights.axes_[0].get_facecolor() == (0, 0, 0, 1)
    network.coefs_[0][:] = network.coefs_[1][:] = network.intercepts_[0][:] = network.intercepts_[1][:] = np.nan
    assert labels(NetworkDisplay.from_estimator(network).ax_.get_legend().get_texts()) == []
    assert NetworkDisplay.from_estimator(network, kind="heatmap").images_[0].get_clim() == (-1, 1)


def test_a_network_as_heat_maps():
    network = MLP((40, 6, 3), loss="log_loss", random_state=0)
    ax = plt.figure().add_subplot(1, 2, 1)
    display = NetworkDisplay.from_estimator(network, ax=ax, cmap="PuOr")
    assert display.kind_ == "heatmap" and display.lines_ == display.units_ == []
    assert display.ax_ is ax and display.figure_ is ax.figure and not ax.axison
    inside(display.axes_, ax)
    largest = max(np.abs(coef).max() for coef in network.coefs_)
    for image, panel, coef in zip(display.images_, display.axes_, network.coefs_, strict=True):
        assert image.axes is panel
        np.testing.assert_array_equal(image.get_array(), coef)
        assert image.get_clim() == (-largest, largest) and image.get_cmap().name == "PuOr"
    first, last = display.axes_
    assert (first.get_ylabel(), first.get_xlabel()) == ("input\nfeatures", "hidden 1\nrelu")
    assert (last.get_ylabel(), last.get_xlabel()) == ("hidden 1\nrelu", "output\nsoftmax")
    assert labels(last.get_xticklabels()) == ["y0", "y1", "y2"]
    assert "x0" not in labels(first.get_yticklabels())  # there would be no room for 40


def test_size_decides_between_lines_and_heat_maps():
    small, large = MLP((2, 32, 1)), MLP((2, 33, 1))
    assert NetworkDisplay.from_estimator(small).kind_ == "lines"
    assert NetworkDisplay.from_estimator(small, kind="heatmap").kind_ == "heatmap"
    assert NetworkDisplay.from_estimator(small, max_units=31).kind_ == "heatmap"
    assert NetworkDisplay.from_estimator(large).kind_ == "heatmap"
    display = NetworkDisplay.from_estimator(large, kind="lines", max_units=33, lw=0.25, color="black")
    assert display.lines_[0].get_linewidths() == [0.25]
    np.testing.assert_array_equal(display.lines_[0].get_colors()[:, :3], [[0, 0, 0]])
    display = NetworkDisplay.from_estimator(small, colors="black", linewidths=2)
    np.testing.assert_array_equal(display.lines_[0].get_colors()[:, :3], [[0, 0, 0]])
    assert display.lines_[0].get_linewidths() == [2]


def test_a_network_given_by_arrays():
    coefs, intercepts = [np.zeros((2, 2)), np.array([[3.0], [1.5]])], [np.zeros(2), np.array([0.5])]
    display = NetworkDisplay(coefs, intercepts, feature_names=["a", "b"]).plot()
    assert_lines(display, coefs, intercepts)
    assert labels(display.ax_.get_xticklabels()) == ["input", "hidden 1", "output"]
    assert labels(display.ax_.get_yticklabels()) == ["a", "b"]
    assert labels(display.ax_.get_legend().get_texts()) == ["positive, up to 3"]
    assert NetworkDisplay([[[0.0]]], [[0.0]]).plot().lines_[0].get_linewidths() == [0]


def test_networks_refuse():
    network = MLP((2, 33, 1))
    with pytest.raises(ValueError, match="'auto', 'lines' or 'heatmap', got 'graph'"):
        NetworkDisplay.from_estimator(network, kind="graph")
    with pytest.raises(ValueError, match=r"has 33 units, more than max_units=32 .*; kind='heatmap'"):
        NetworkDisplay.from_estimator(network, kind="lines")
    with pytest.raises(ValueError, match="There are 1 names for 2 features"):
        NetworkDisplay([[[0.0], [0.0]]], [[0.0]], feature_names=["a"]).plot()
    assert plt.get_fignums() == []
    assert_refuses_what_is_no_network(NetworkDisplay)


# ---- WeightsDisplay -------------------------------------------------------------------------------------------------


def test_weights_as_images():
    network = MLP((12, 30, 2), random_state=0)
    (weights, _) = network.coefs_
    display = WeightsDisplay.from_estimator(network, image_shape=(3, 4))
    assert len(display.images_) == len(display.axes_) == 25
    for unit, (image, panel) in enumerate(zip(display.images_, display.axes_, strict=True)):
        assert image.axes is panel and panel.get_title() == f"unit {unit}"
        np.testing.assert_array_equal(image.get_array(), weights[:, unit].reshape(3, 4))
        # The same weight has the same colour in all images, and 0 is in the middle.
        assert image.get_clim() == (-np.abs(weights[:, :25]).max(), np.abs(weights[:, :25]).max())
        np.testing.assert_allclose(image.to_rgba(0.0)[:3], 0.967, atol=0.003)  # the grey of RdBu_r
    assert display.colorbar_.mappable is display.images_[0]
    assert display.colorbar_.ax.get_ylabel() == "weight"


def test_weights_of_some_units():
    model = MLPClassifier((7,), max_iter=2, random_state=0).fit(X, y)
    ax = plt.figure().add_axes([0.5, 0.1, 0.4, 0.8])
    display = WeightsDisplay.from_estimator(model, units=[6, 2], ax=ax, cmap="PuOr", vmin=-2, vmax=2)
    assert display.ax_ is ax and display.figure_ is ax.figure and not ax.axison
    inside(display.axes_, ax)
    assert [panel.get_title() for panel in display.axes_] == ["unit 6", "unit 2"]
    for image, unit in zip(display.images_, [6, 2], strict=True):
        np.testing.assert_array_equal(image.get_array(), model.coefs_[0][:, unit].reshape(2, 2))  # 4 features: a square
        assert image.get_cmap().name == "PuOr" and image.get_clim() == (-2, 2)
    for limit in ({"vmax": 2}, {"vmin": -2}):  # 0 stays in the middle
        assert WeightsDisplay.from_estimator(model, **limit).images_[0].get_clim() == (-2, 2)
    norm = matplotlib.colors.SymLogNorm(0.1)
    assert WeightsDisplay.from_estimator(model, units=3, norm=norm).images_[2].norm is norm
    assert len(WeightsDisplay.from_estimator(model).images_) == 7
    assert WeightsDisplay(np.zeros((4, 1))).plot().images_[0].get_clim() == (-1, 1)


def test_weights_refuse():
    network = MLP((12, 5, 2))
    refused = {
        r"12 features make no square; image_shape=\(rows, columns\)": {},
        r"12 features make no images of shape \(5, 2\)": {"image_shape": (5, 2)},
        r"12 features make no images of shape \(-3, -4\)": {"image_shape": (-3, -4)},
        r"12 features make no images of shape \(2, 2, 3\)": {"image_shape": (2, 2, 3)},
        "or which, from 0 to 4; got 0": {"image_shape": (3, 4), "units": 0},
        "or which, from 0 to 4; got -1": {"image_shape": (3, 4), "units": -1},
        r"or which, from 0 to 4; got \[1, 5\]": {"image_shape": (3, 4), "units": [1, 5]},
        r"or which, from 0 to 4; got 2.0": {"image_shape": (3, 4), "units": 2.0},
        r"or which, from 0 to 4; got \[\]": {"image_shape": (3, 4), "units": []},
    }
    for message, options in refused.items():
        with pytest.raises(ValueError, match=message):
            WeightsDisplay.from_estimator(network, **options)
    assert plt.get_fignums() == []
    assert_refuses_what_is_no_network(WeightsDisplay)


# ---- matplotlib -----------------------------------------------------------------------------------------------------


def test_matplotlib_is_not_imported_before_it_draws():
    program = """
import sys, nnfast
for name in nnfast.__all__:
    getattr(nnfast, name)
nnfast.LossCurveDisplay([1.0])
nnfast.ActivationDisplay([1.0], [[1.0]], [[1.0]], titles=["relu"])
nnfast.NetworkDisplay([[[1.0]]], [[1.0]])
nnfast.WeightsDisplay([[1.0]])
assert "matplotlib" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
