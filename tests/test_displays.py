"""The displays: what stands in the artists is the estimator's, axes are reused, wrong input is refused."""

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import sklearn.neural_network
from sklearn.exceptions import NotFittedError

from nnfast import LossCurveDisplay, MLPClassifier

matplotlib.use("Agg")
import matplotlib.pyplot as plt

rng = np.random.RandomState(0)
X = rng.standard_normal((80, 4))
y = (X[:, 0] > 0).astype(int)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


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


def test_matplotlib_is_not_imported_before_it_draws():
    program = "import sys, nnfast; nnfast.LossCurveDisplay([1.0]); assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


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
