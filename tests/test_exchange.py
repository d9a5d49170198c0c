"""Models from scikit-learn and back: equal predictions, and training that goes on as on the other side.

"Equal" is to rounding, as everywhere between the two packages (docs/numerics.md): 1e-8 for MLPs trained for some epochs
on standardised data, the last bit for the Perceptron on whole numbers.
"""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest
import sklearn.linear_model
import sklearn.neural_network
from sklearn.base import clone
from sklearn.datasets import load_digits, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

import nnfast
from estimators import TARGETS, both, estimator, fitted, output, parity, problem
from nnfast import MLP, MLPClassifier, from_sklearn, load, save, to_sklearn

SETTINGS = {
    "adam": {},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False, "learning_rate": "adaptive", "tol": 1.0},
    "nesterov": {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.3, "learning_rate_init": 0.05},
    "plain": {"solver": "sgd", "momentum": 0.0},
    "no hidden layers": {"hidden_layer_sizes": (), "activation": "logistic"},
    "generator": {"random_state": np.random.RandomState(3), "activation": "tanh"},
}
EXCHANGED = {"to scikit-learn": (to_sklearn, 0), "from scikit-learn": (from_sklearn, 1)}


def assert_close(one, other, X):
    """Of two estimators, one of each package: weights, records, predictions."""
    for a, b in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(output(one, X), output(other, X), rtol=1e-8, atol=1e-9)
    for name in ("loss_curve_", "validation_scores_", "best_loss_", "best_validation_score_", "loss_"):
        a, b = getattr(one, name, None), getattr(other, name, None)
        assert (a is None) == (b is None), name
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-8, err_msg=name)
    for name in ("t_", "n_iter_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(one, name) == getattr(other, name), name
    assert getattr(one, "_no_improvement_count", None) == getattr(other, "_no_improvement_count", None)


def classes(target, y):
    """The argument of the first partial_fit."""
    if target == "multilabel":
        return {"classes": np.arange(y.shape[1])}
    return {"classes": np.unique(y)} if target in ("binary", "multiclass") else {}


@pytest.mark.parametrize("way", EXCHANGED)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_partial_fit_goes_on_on_the_other_side(way, target, setting):
    _, X, y = problem(target)
    exchange, side = EXCHANGED[way]
    model = both(target, **SETTINGS[setting])[side]
    for _ in range(3):
        model.partial_fit(X, y, **classes(target, y))
    other = exchange(model)
    assert_close(model, other, X)
    assert model.score(X, y) == pytest.approx(other.score(X, y), rel=1e-8)
    for _ in range(3):
        model.partial_fit(X, y)
        other.partial_fit(X, y)
    assert_close(model, other, X)


@parity
@pytest.mark.parametrize("way", EXCHANGED)
@pytest.mark.parametrize(
    "options", [{}, {"early_stopping": True, "validation_fraction": 0.2}, {"solver": "lbfgs"}], ids=str
)
@pytest.mark.parametrize("target", ["binary", "multilabel", "regression"])
def test_warm_start_goes_on_on_the_other_side(way, target, options):
    _, X, y = problem(target)
    exchange, side = EXCHANGED[way]
    model = both(target, warm_start=True, **options)[side].fit(X, y)
    other = exchange(model)
    assert_close(model, other, X)
    if side == 1:  # scikit-learn's would go on training the best weights themselves (docs/differences.md)
        model._best_coefs, model._best_intercepts = copy.deepcopy((model.coefs_, model.intercepts_))
    model.fit(X, y)
    other.fit(X, y)
    assert_close(model, other, X)


@pytest.mark.parametrize("package", [nnfast, sklearn.neural_network])
def test_there_and_back(package):
    _, X, y = problem("multiclass")
    model = estimator("multiclass", package).fit(X, y)
    ways = (to_sklearn, from_sklearn) if package is nnfast else (from_sklearn, to_sklearn)
    other = ways[1](ways[0](model))
    assert type(other) is type(model)
    assert other.get_params() == model.get_params()
    np.testing.assert_array_equal(output(other, X), output(model, X))
    model.partial_fit(X, y)
    np.testing.assert_array_equal(output(other.partial_fit(X, y), X), output(model, X))


@pytest.mark.parametrize("way", EXCHANGED)
def test_nothing_is_shared(way):
    _, X, y = problem("regression")
    exchange, side = EXCHANGED[way]
    model = both("regression", random_state=np.random.RandomState(0))[side].fit(X, y)
    before = pickle.dumps(model)
    other = exchange(model)
    assert pickle.dumps(model) == before
    other.partial_fit(X, y)
    other.coefs_[0][:] = 0
    other.loss_curve_.clear()
    assert pickle.dumps(model) == before


@pytest.mark.parametrize("n_class", [2, 4])
@pytest.mark.parametrize("options", [{}, {"penalty": "elasticnet", "alpha": 0.01}, {"warm_start": True}], ids=str)
@pytest.mark.parametrize("way", EXCHANGED)
def test_perceptron(way, n_class, options):
    X, y = load_digits(n_class=n_class, return_X_y=True)
    X, labels = X[:200], np.array(["null", "eins", "zwei", "drei"])[y[:200]]
    exchange, side = EXCHANGED[way]
    model = (nnfast, sklearn.linear_model)[side].Perceptron(max_iter=3, tol=None, **options).fit(X, labels)
    other = exchange(model)
    assert other.get_params().items() >= (model.get_params() if side else to_sklearn(model).get_params()).items()
    for train in (lambda m: m, lambda m: m.partial_fit(X, labels), lambda m: m.fit(X, labels)):
        for one in (model, other):
            train(one)
        np.testing.assert_array_equal(model.coef_, other.coef_)
        np.testing.assert_array_equal(model.intercept_, other.intercept_)
        np.testing.assert_array_equal(model.predict(X), other.predict(X))
        assert (model.t_, model.n_iter_) == (other.t_, other.n_iter_)


def test_names_of_features_and_output():
    frame, y = load_wine(return_X_y=True, as_frame=True)
    for model in (
        m((3,), max_iter=2, random_state=0).fit(frame, y) for m in (MLPClassifier, sklearn.neural_network.MLPClassifier)
    ):
        other = to_sklearn(model) if type(model) is MLPClassifier else from_sklearn(model)
        assert list(other.feature_names_in_) == list(frame)
        np.testing.assert_array_equal(other.predict(frame), model.predict(frame))
        with pytest.raises(ValueError, match="feature names"):
            other.predict(frame[frame.columns[::-1]])


def test_float32():
    _, X, y = problem("multiclass")
    X = X.astype(np.float32)
    for exchange, side in EXCHANGED.values():
        model = both("multiclass")[side].fit(X, y)
        other = exchange(model)
        assert {w.dtype for w in other.coefs_ + other.intercepts_} == {np.dtype(np.float32)}
        # 5 and 6 epochs of float32, each rounded to 6e-8 many times.
        np.testing.assert_allclose(output(other, X), output(model, X), rtol=1e-5)
        np.testing.assert_allclose(output(other.partial_fit(X, y), X), output(model.partial_fit(X, y), X), rtol=1e-4)


@parity
def test_an_exchanged_model_is_one_like_any_other(tmp_path):
    _, X, y = problem("binary")
    theirs = estimator("binary", sklearn.neural_network, early_stopping=True).fit(X, y)
    ours = from_sklearn(theirs)
    assert ours.history_["loss"] == theirs.loss_curve_
    assert ours.history_["validation_score"] == theirs.validation_scores_
    assert {len(line) for line in ours.history_.values()} == {theirs.n_iter_}
    save(ours, tmp_path / "model")
    np.testing.assert_array_equal(load(tmp_path / "model").predict(X), theirs.predict(X))
    np.testing.assert_array_equal(load(tmp_path / "model", network=True).predict(X), theirs.predict(X))
    assert ours.fit(X, y).n_iter_ == theirs.fit(X, y).n_iter_
    assert_close(ours, theirs, X)
    assert_close(clone(to_sklearn(ours)).fit(X, y), theirs, X)


# ---- what the other side does not have -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"activation": "gelu"}, "one activation for all layers, .* this one has 'gelu'"),
        ({"activation": ["tanh", "relu"], "hidden_layer_sizes": (4, 4)}, "one activation for all layers"),
        ({"activation": [("leaky_relu", 0.0)]}, "one activation for all layers"),
        ({"loss": "quantile", "quantile": [0.1, 0.9]}, "no levels of a distribution"),
    ],
)
def test_what_scikit_learn_cannot_predict(options, text):
    model, _, _ = fitted("regression", **options)
    with pytest.raises(ValueError, match=text):
        to_sklearn(model)


def test_several_softmaxes_and_other_neurons():
    X, y = load_wine(return_X_y=True)
    with pytest.raises(ValueError, match="one column of classes"):
        to_sklearn(MLPClassifier((3,), max_iter=2).fit(X, np.column_stack([y, y])))
    with pytest.raises(ValueError, match="is a step, it has no activation='tanh'"):
        to_sklearn(nnfast.Perceptron(activation="tanh").fit(X / 1000, y))


def test_one_activation_in_other_words():
    for activation in (["tanh", "tanh"], "sigmoid"):
        model, X, _ = fitted("binary", activation=activation, hidden_layer_sizes=(4, 4))
        np.testing.assert_allclose(output(to_sklearn(model), X), output(model, X), rtol=1e-12)


@parity
@pytest.mark.parametrize(
    ("target", "options", "named"),
    [
        (
            "multiclass",
            {"dropout": 0.2, "averaging": "swa", "averaging_start": 0.0},
            "averaging='swa', averaging_start=0.0, dropout=0.2:",
        ),
        ("multiclass", {"solver": "adamw", "loss": "focal"}, "loss='focal', solver='adamw':"),
        ("regression", {"loss": "huber", "learning_rate": "cosine"}, "learning_rate='cosine', loss='huber':"),
        ("regression", {"loss": "quantile"}, "loss='quantile':"),
        ("outputs", {"loss": "quantile", "quantile": 0.9}, "loss='quantile', quantile=0.9:"),
        ("regression", {"quantile": np.array([0.5]), "rho": 0.5}, "rho=0.5:"),
        ("poisson", {"loss": "tweedie", "dropout": np.array([0.1])}, r"dropout=array\(\[0.1\]\), loss='tweedie':"),
    ],
)
def test_training_that_scikit_learn_does_not_have(target, options, named):
    model, X, y = fitted(target, **options)
    with pytest.warns(UserWarning, match=f"scikit-learn has no {named} training"):
        other = to_sklearn(model)
    np.testing.assert_allclose(output(other, X), output(model, X), rtol=1e-10)
    other.partial_fit(X, y)
    assert all(np.isfinite(w).all() for w in other.coefs_)


def test_n_jobs_is_no_loss():
    model, _, _ = fitted("binary", n_jobs=1, solver="lbfgs")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        to_sklearn(model)


def test_what_is_no_estimator():
    model, _, _ = fitted("binary")
    theirs = to_sklearn(model)
    for wrong in (theirs, MLP((2, 1)), make_pipeline(model), MLPClassifier, None):
        with pytest.raises(TypeError, match="to_sklearn takes MLPClassifier"):
            to_sklearn(wrong)
    for wrong in (model, sklearn.linear_model.SGDClassifier(), make_pipeline(theirs), None):
        with pytest.raises(TypeError, match="from_sklearn takes MLPClassifier"):
            from_sklearn(wrong)
    for exchange, one in ((to_sklearn, MLPClassifier()), (from_sklearn, clone(theirs))):
        with pytest.raises(NotFittedError):
            exchange(one)
    theirs.coefs_[0] = theirs.coefs_[0][1:]
    with pytest.raises(ValueError, match="the weights should have the shapes"):
        from_sklearn(theirs)
