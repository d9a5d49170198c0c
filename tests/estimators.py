"""Data, estimators of both packages and comparisons that several test files use."""

from __future__ import annotations

import re
import warnings
from importlib.util import find_spec

import numpy as np
import pytest
import sklearn.neural_network
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.preprocessing import StandardScaler
from sklearn.utils.fixes import parse_version

import nnfast

NAMES = ("MLPClassifier", "MLPRegressor")
PACKAGES = (nnfast, sklearn.neural_network)
needs_callbacks = pytest.mark.skipif(not find_spec("sklearn.callback"), reason="scikit-learn has none before 1.9")
OLDER = parse_version(sklearn.__version__) < parse_version("1.9")
# Numbers, texts and parameters are those of 1.9.1; a Perceptron with a penalty had other numbers before.
parity = pytest.mark.skipif(OLDER, reason="parity is with 1.9.1")
TARGETS = ("binary", "multiclass", "multilabel", "regression", "outputs", "poisson")


def problem(target):
    """(parameters, standardised X, y): about 150 rows of a bundled data set."""
    if target in ("regression", "outputs", "poisson"):
        X, y = load_diabetes(return_X_y=True)
        X, y = StandardScaler().fit_transform(X[:150]), y[:150] / 100
        if target == "poisson":
            return {"loss": "poisson"}, X, y
        return {}, X, y if target == "regression" else np.column_stack([y, y[::-1], X[:, 0]])
    if target == "binary":
        X, y = load_breast_cancer(return_X_y=True)
        y = np.array(["malignant", "benign"])[y]
    else:
        X, y = load_wine(return_X_y=True)
        if target == "multilabel":
            y = np.column_stack([y == 0, y != 1, X[:, 0] > 13]).astype(int)
    rows = np.random.RandomState(0).permutation(len(X))[:150]
    return {}, StandardScaler().fit_transform(X[rows]), y[rows]


def estimator(target, package=nnfast, **parameters):
    """An unfitted estimator for a kind of target, fast to fit; converging is not its business."""
    if OLDER and package is not nnfast and target == "poisson":
        pytest.skip("scikit-learn has one loss for a regression before 1.7")
    parameters = {"hidden_layer_sizes": (8,), "max_iter": 5, "random_state": 0} | problem(target)[0] | parameters
    name = "MLPRegressor" if target in ("regression", "outputs", "poisson") else "MLPClassifier"
    return getattr(package, name)(**parameters)


def both(target, **parameters):
    return [estimator(target, package, **parameters) for package in PACKAGES]


def fitted(target, **parameters):
    _, X, y = problem(target)
    return estimator(target, **parameters).fit(X, y), X, y


def output(model, X):
    return getattr(model, "predict_proba", model.predict)(X)


def outcome(call):
    """What a call comes to: its exception, as (type name, text), or None; and its warnings, as (category, text).

    Without NumPy's RuntimeWarnings about overflow, which the engine has no counterpart of.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            call()
            error = None
        except Exception as exception:
            error = (type(exception).__name__, in_order(str(exception)))
    texts = [(w.category.__name__, str(w.message)) for w in caught]
    return error, [text for text in texts if text[0] != "RuntimeWarning"]


def in_order(text):
    """A text with the names of each {set} in it sorted."""
    return re.sub(r"\{(.*?)\}", lambda names: "{" + ", ".join(sorted(names[1].split(", "))) + "}", text)
