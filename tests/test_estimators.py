"""MLPClassifier and MLPRegressor as scikit-learn estimators: interface, messages, bad input, pickling, Ctrl-C, verbose.

Where scikit-learn has an exception, a warning or a text, both are run and compared. Numbers are compared in
test_parity.py.
"""

from __future__ import annotations

import copy
import inspect
import pickle
import re
import sys

import numpy as np
import pytest
import sklearn.neural_network
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

import nnfast
import reference
from estimators import NAMES, PACKAGES, TARGETS, both, estimator, fitted, outcome, output, parity, problem
from nnfast import MLP, MLPClassifier, MLPRegressor, _core

# ---- interface ------------------------------------------------------------------------------------------------------


# What nnfast adds, with defaults that change nothing.
COURSE = {
    "dropout": 0.0,
    "learning_rate_decay": 0.1,
    "learning_rate_decay_epochs": 30,
    "warmup": 0,
    "init": "glorot",
    "max_time": None,
    "precision": "auto",
    "averaging": None,
    "averaging_start": 0.75,
    "averaging_decay": 0.9,
}
STEP = {"weight_decay": None, "rho": 0.99, "l1": 0.0, "clip_value": None, "clip_norm": None}
PARAMETERS = {
    "MLPClassifier": {
        **dict.fromkeys(["n_jobs", "scoring", "class_weight"]),
        **COURSE,
        **{"loss": "log_loss", "focal_gamma": 2.0, "label_smoothing": 0.0},
        **STEP,
    },
    "MLPRegressor": {
        **dict.fromkeys(["n_jobs", "scoring"]),
        **COURSE,
        **{"huber_delta": 1.0, "tweedie_power": 1.5, "quantile": 0.5},
        **STEP,
    },
}
ARGUMENTS = {"X_val", "y_val", "sample_weight_val", "resume"}  # of fit


@parity
@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_scikit_learns_then_ours(name):
    ours, theirs = (list(inspect.signature(getattr(package, name)).parameters.values()) for package in PACKAGES)
    assert [p.replace(annotation=p.empty) for p in ours[: len(theirs)]] == theirs
    added = ours[len(theirs) :]
    assert [(p.name, p.default) for p in added] == list(PARAMETERS[name].items())
    assert {p.kind for p in added} == {inspect.Parameter.KEYWORD_ONLY}
    assert getattr(nnfast, name)().loss == getattr(sklearn.neural_network, name)().loss


@parity
@pytest.mark.parametrize("name", NAMES)
def test_methods_are_scikit_learns(name):
    ours, theirs = (getattr(package, name) for package in PACKAGES)
    public = {method for method in dir(theirs) if not method.startswith("_")}
    assert public <= set(dir(ours))
    assert "partial_fit" in public
    for method in public:
        if callable(getattr(theirs, method)):
            got, want = (
                list(inspect.signature(getattr(package, method)).parameters.values()) for package in (ours, theirs)
            )
            added = [p for p in got if p.name in ARGUMENTS]
            assert [p.name for p in got if p not in added] == [p.name for p in want], method
            assert {p.name for p in added} == (ARGUMENTS if method in ("fit", "set_fit_request") else set())
            assert {p.kind for p in added} <= {inspect.Parameter.KEYWORD_ONLY}


@parity
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_fitted_attributes_are_scikit_learns(target, early_stopping):
    _, X, y = problem(target)
    ours, theirs = (model.fit(X, y) for model in both(target, early_stopping=early_stopping))
    public = {name for name in vars(theirs) if not name.startswith("_")}
    added = {*PARAMETERS[type(ours).__name__], "validation_loss_curve_", "history_"}
    assert public == {name for name in vars(ours) if not name.startswith("_")} - added | {"loss"}
    for name in ("n_layers_", "n_outputs_", "out_activation_", "n_iter_", "t_", "n_features_in_", "best_loss_"):
        if name == "best_loss_" and not early_stopping:
            assert ours.best_loss_ == pytest.approx(theirs.best_loss_, rel=1e-9)
        else:
            assert getattr(ours, name) == getattr(theirs, name)
    assert [w.shape for w in ours.coefs_ + ours.intercepts_] == [w.shape for w in theirs.coefs_ + theirs.intercepts_]
    assert all(w.flags.c_contiguous and w.flags.writeable for w in ours.coefs_ + ours.intercepts_)
    if hasattr(theirs, "classes_"):
        assert ours.classes_.dtype == theirs.classes_.dtype
        assert ours.classes_.tolist() == theirs.classes_.tolist()
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
        np.testing.assert_allclose(ours.predict_log_proba(X), np.log(ours.predict_proba(X)), rtol=1e-15)
    assert ours.predict(X).shape == theirs.predict(X).shape
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y), rel=1e-9)


@parity
@pytest.mark.parametrize("name", NAMES)
def test_tags_are_scikit_learns_but_for_what_is_new(name):
    ours, theirs = (get_tags(getattr(package, name)()) for package in PACKAGES)
    if name == "MLPClassifier":
        theirs.target_tags.multi_output = True  # classes in several columns
    assert ours.transformer_tags.preserves_dtype == ["float64", "float32"]
    ours.transformer_tags = None  # theirs have no transform
    assert ours == theirs


def test_loss_is_a_mean_over_outputs_for_squared_error_only():
    for target, n in (("outputs", 3), ("poisson", 1)):
        _, X, y = problem(target)
        model = estimator(target, max_iter=1, batch_size=len(X), alpha=0.0, solver="sgd", learning_rate_init=1e-300)
        model.fit(X, y)  # a rate so small that the weights stay what they were when the loss was taken
        p = model.predict(X).reshape(len(X), -1)
        t = y.reshape(len(X), -1)
        loss = (p - t) ** 2 / 2 / n if target == "outputs" else t * np.log(t / p) - t + p
        assert model.loss_ == pytest.approx(loss.sum(axis=1).mean(), rel=1e-12)


# ---- what nnfast adds -----------------------------------------------------------------------------------------------


def test_leaky_relu_starts_like_relu_and_predicts_with_slope_one_hundredth():
    _, X, y = problem("regression")
    start = estimator("regression", activation="leaky_relu", solver="sgd", learning_rate_init=1e-300, max_iter=1)
    relu = clone(start).set_params(activation="relu").fit(X, y)
    start.fit(X, y)
    for leaky, plain in zip(start.coefs_ + start.intercepts_, relu.coefs_ + relu.intercepts_, strict=True):
        np.testing.assert_array_equal(leaky, plain)
    model = estimator("regression", activation="leaky_relu", max_iter=100).fit(X, y)
    assert model.loss_ < model.loss_curve_[0] / 2
    z = X @ model.coefs_[0] + model.intercepts_[0]
    assert (z < 0).any()
    expected = np.where(z > 0, z, 0.01 * z) @ model.coefs_[1] + model.intercepts_[1]
    np.testing.assert_allclose(model.predict(X), expected.ravel(), rtol=1e-12, atol=1e-13)


def test_sigmoid_is_logistic():
    one, X, _ = fitted("multiclass", activation="logistic")
    other, _, _ = fitted("multiclass", activation="sigmoid")
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_n_jobs_does_not_change_a_bit(dtype):
    X, y = load_digits(return_X_y=True)
    X = StandardScaler().fit_transform(X).astype(dtype)
    models = [
        MLPClassifier((300, 50), batch_size=400, max_iter=2, random_state=0, n_jobs=n_jobs).fit(X, y)
        for n_jobs in (1, 2, 16, None, -1, -1000)
    ]
    for model in models[1:]:
        assert model.loss_curve_ == models[0].loss_curve_
        for one, other in zip(models[0].coefs_ + models[0].intercepts_, model.coefs_ + model.intercepts_, strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(models[0].predict_proba(X), model.predict_proba(X))


# ---- predictions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu", "leaky_relu"])
@pytest.mark.parametrize("target", TARGETS)
def test_a_row_is_predicted_alike_alone_and_among_others(target, activation, dtype):
    model, X, y = fitted(target, activation=activation, hidden_layer_sizes=(19, 7))
    X = X.astype(dtype)
    model.fit(X, y)
    together = output(model, X)
    assert together.dtype == dtype
    for i in range(0, len(X), 7):
        np.testing.assert_array_equal(output(model, X[i : i + 1]), together[i : i + 1])
        np.testing.assert_array_equal(output(model, X[i : i + 6]), together[i : i + 6])
        np.testing.assert_array_equal(model.predict(X[i : i + 1]), model.predict(X)[i : i + 1])


@pytest.mark.parametrize("x_dtype", ["float16", "float32", "float64", "longdouble", "int8", "uint8", "int64", "bool"])
@pytest.mark.parametrize("fit_dtype", [np.float32, np.float64])
def test_predictions_have_the_wider_dtype_of_data_and_weights(x_dtype, fit_dtype):
    _, X, y = problem("regression")
    ours, theirs = (model.fit(X.astype(fit_dtype), y.astype(fit_dtype)) for model in both("regression"))
    data = (X * 3).round().astype(x_dtype)
    got, want = ours.predict(data), theirs.predict(data)
    assert got.dtype == (np.float64 if x_dtype == "longdouble" else want.dtype)
    assert ours.coefs_[0].dtype == theirs.coefs_[0].dtype == fit_dtype
    np.testing.assert_allclose(got, want.astype(got.dtype), rtol=0, atol=1e-4)


@pytest.mark.parametrize("target", ["multiclass", "regression"])
def test_the_layout_of_the_data_does_not_change_a_bit(target):
    model, X, y = fitted(target)
    want = output(model, X)
    wide = np.zeros((2 * len(X), 3 * X.shape[1]))
    wide[::2, ::3] = X
    frozen = X.copy()
    frozen.setflags(write=False)
    for layout in (np.asfortranarray(X), wide[::2, ::3], X[::-1].copy()[::-1], frozen, X.tolist(), X.astype(">f8")):
        np.testing.assert_array_equal(output(model, layout), want)
        np.testing.assert_array_equal(output(clone(model).fit(layout, y), X), want)


@pytest.mark.parametrize("change", ["edit", "replace", "layout", "dtype"])
@pytest.mark.parametrize("target", TARGETS)
def test_weights_edited_by_the_user_count(target, change):
    _, X, y = problem(target)
    ours, theirs = (model.fit(X, y) for model in both(target))
    before = output(ours, X)
    for model in (ours, theirs):
        if change == "edit":
            model.coefs_[0][2, :] = -0.5
            model.intercepts_[-1] += 0.25
        elif change == "replace":
            model.coefs_ = [0.5 * coef for coef in model.coefs_]
        elif change == "layout":
            model.coefs_ = [np.asfortranarray(-coef) for coef in model.coefs_]
        elif change == "dtype":
            model.coefs_ = [coef.astype(np.float32) for coef in model.coefs_]
            model.intercepts_ = [np.round(intercept).astype(int) for intercept in model.intercepts_]
    after = output(ours, X)
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(after, output(theirs, X), rtol=1e-6)


@pytest.mark.parametrize("target", TARGETS)
def test_predicting_leaves_the_estimator_as_it_was(target):
    model, X, _ = fitted(target)
    before = pickle.dumps(model)
    for method in ("predict", "predict_proba", "predict_log_proba"):
        if hasattr(model, method):
            getattr(model, method)(X)
    assert pickle.dumps(model) == before


def test_weights_of_the_wrong_shape_are_an_error():
    model, X, _ = fitted("regression")
    good = model.predict(X)
    for coefs in (
        [model.coefs_[0][:, :-1], model.coefs_[1]],
        [model.coefs_[0][:-1], model.coefs_[1]],
        [model.coefs_[0].ravel(), model.coefs_[1]],
        [model.coefs_[0]],
    ):
        broken = copy.deepcopy(model)
        broken.coefs_ = coefs
        with pytest.raises((ValueError, IndexError)):
            broken.predict(X)
    np.testing.assert_array_equal(model.predict(X), good)


# ---- copies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("target", TARGETS)
def test_pickles_and_copies_predict_the_same_and_stand_alone(target, early_stopping):
    model, X, _ = fitted(target, early_stopping=early_stopping)
    want = output(model, X)
    copies = [pickle.loads(pickle.dumps(model, protocol)) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)]
    copies += [copy.deepcopy(model), copy.copy(model)]
    for other in copies:
        np.testing.assert_array_equal(output(other, X), want)
        assert other.loss_curve_ == model.loss_curve_
        assert other.get_params() == model.get_params()
    copies[0].coefs_[0][...] = 0
    np.testing.assert_array_equal(output(model, X), want)


@pytest.mark.parametrize("target", TARGETS)
def test_a_clone_is_unfitted_and_fits_the_same(target):
    model, X, y = fitted(target, early_stopping=True)
    other = clone(model)
    assert not hasattr(other, "coefs_")
    np.testing.assert_array_equal(output(other.fit(X, y), X), output(model, X))


def test_fitting_again_starts_afresh_and_repeats_itself():
    model, X, y = fitted("multiclass")
    first = [w.copy() for w in model.coefs_ + model.intercepts_]
    old = model.coefs_
    model.fit(X, y)
    for one, other in zip(first, model.coefs_ + model.intercepts_, strict=True):
        np.testing.assert_array_equal(one, other)
    assert old[0] is not model.coefs_[0]
    assert len(model.loss_curve_) == model.n_iter_ == 5
    assert model.t_ == 5 * len(X)


# ---- bad parameters -------------------------------------------------------------------------------------------------

BAD_PARAMETERS = [
    *({"alpha": value} for value in (-1, -1e-9, "a", None, np.nan)),
    *({"hidden_layer_sizes": value} for value in (0, -1, (10, 0), (3, -2), 2.5, (2.5,), ("a",), "ab", None)),
    *({"batch_size": value} for value in (0, -5, "all", 1.5, None)),
    *({"learning_rate_init": value} for value in (0, -1, "a", None)),
    *({"power_t": value} for value in (-1, "a")),
    *({"max_iter": value} for value in (0, -1, 1.5, "a")),
    *({"shuffle": value} for value in ("yes", None)),
    *({"random_state": value} for value in ("a", -1.5)),
    *({"tol": value} for value in (-1, "a", None)),
    *({"verbose": value} for value in (-1, "a")),
    *({"warm_start": value} for value in ("yes", 2)),
    *({"momentum": value} for value in (-0.1, 1.1, "a")),
    *({"nesterovs_momentum": value} for value in ("yes", None)),
    *({"early_stopping": value} for value in ("yes", None)),
    *({"validation_fraction": value} for value in (-0.1, 1.0, "a")),
    *({"beta_1": value} for value in (-0.1, 1.0, "a")),
    *({"beta_2": value} for value in (-0.1, 1.0, "a")),
    *({"epsilon": value} for value in (0, -1, "a")),
    *({"n_iter_no_change": value} for value in (0, -1, 1.5, "a")),
    *({"max_fun": value} for value in (0, 1.5, "a")),
    # Bad only together with the data: no or too few validation rows.
    *({"early_stopping": True, "validation_fraction": value} for value in (0.0, 1e-3, 0.006, 0.999)),
]


@parity
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("parameters", BAD_PARAMETERS, ids=str)
def test_bad_parameters_give_scikit_learns_error(name, parameters):
    target = {"MLPClassifier": "multiclass", "MLPRegressor": "regression"}[name]
    _, X, y = problem(target)
    ours, theirs = both(target)
    good = ours.fit(X, y).predict(X)
    error, caught = outcome(lambda: clone(theirs).set_params(**parameters).fit(X, y))
    assert error is not None
    assert outcome(lambda: ours.set_params(**parameters).fit(X, y)) == (error, caught)
    np.testing.assert_array_equal(ours.set_params(**estimator(target).get_params()).fit(X, y).predict(X), good)


@parity
@pytest.mark.parametrize("loss", ["hinge", None, "log_loss"])
def test_bad_loss_gives_scikit_learns_error(loss):
    _, X, y = problem("regression")
    ours, theirs = (outcome(lambda m=m: m.set_params(loss=loss).fit(X, y)) for m in both("regression"))
    assert ours[0][0] == theirs[0][0] == "InvalidParameterError"
    losses = sorted(name for name in reference.LINKS if "log_loss" not in name and "focal" not in name)
    ours_too = "{" + ", ".join(map(repr, losses)) + "} or a callable"
    theirs_with_our_losses = re.sub(r"\{.*?\}", ours_too, theirs[0][1])
    assert (ours[0][1], ours[1]) == (theirs_with_our_losses, theirs[1])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("activation", "swish"),
        ("activation", ["relu", "swish"]),
        ("activation", ("tanh", 0.1)),
        ("activation", ["relu", "tanh", "relu"]),
        ("activation", 3),
        ("activation", None),
        ("solver", "newton"),
        ("solver", None),
        ("n_jobs", 0),
        ("n_jobs", 1.5),
        ("scoring", "x"),
        ("class_weight", 2),
        *(("learning_rate", value) for value in ("cosinus", 0.1, None)),
        *(("learning_rate_decay", value) for value in (0, 1.5, "a", None)),
        *(("learning_rate_decay_epochs", value) for value in (0, 1.5, "a", None)),
        *(("warmup", value) for value in (-1, 1.0, -0.5, "a", None)),
        *(("init", value) for value in ("random", None, 0)),
        *(("max_time", value) for value in (0, -1, "a")),
        *(("precision", value) for value in ("float16", None, 32)),
        *(("averaging", value) for value in ("mean", True)),
        *(("averaging_start", value) for value in (-0.1, 1.0, 2, "a", None)),
        *(("averaging_decay", value) for value in (-0.1, 1.0, "a", None)),
        *(("weight_decay", value) for value in (-1e-9, "a", np.nan)),
        *(("rho", value) for value in (-0.1, 1.0, "a", None)),
        *(("l1", value) for value in (-1e-9, "a", None, np.nan)),
        *((name, value) for name in ("clip_value", "clip_norm") for value in (0, -1, "a", np.nan)),
        *(("loss", value) for value in ("hinge", None, 0)),
    ],
)
def test_bad_values_of_what_nnfast_adds(key, value):
    model, X, y = fitted("binary")
    error, _ = outcome(lambda: model.set_params(**{key: value}).fit(X, y))
    assert error[0] == "InvalidParameterError"
    assert error[1].startswith(f"The '{key}' parameter of MLPClassifier must be ")


@pytest.mark.parametrize("name", ["weight_decay", "l1", "clip_value", "clip_norm"])
def test_what_is_part_of_a_step_is_no_business_of_lbfgs(name):
    _, X, y = problem("binary")
    with pytest.raises(ValueError, match=rf"{name}=0\.1 is part of a step of sgd, adam, .*; solver='lbfgs'"):
        estimator("binary", solver="lbfgs", **{name: 0.1}).fit(X, y)
    nothing = np.inf if name.startswith("clip") else 0
    plain, without = (estimator("binary", solver="lbfgs", **one).fit(X, y) for one in ({}, {name: nothing}))
    np.testing.assert_array_equal(plain.coefs_[0], without.coefs_[0])


def test_rprop_takes_all_rows_at_once():
    model, X, y = fitted("multiclass", solver="rprop")
    assert model._network.n_steps_ == model.n_iter_ == 5
    estimator("multiclass", solver="rprop", batch_size=len(X)).fit(X, y)
    other = estimator("multiclass", solver="rprop", batch_size=len(X) - 1)
    with pytest.raises(ValueError, match="solver='rprop' takes all rows as one batch"):
        other.fit(X, y)
    assert not hasattr(other, "coefs_")


def test_l1_leaves_weights_at_0_of_features_that_say_nothing():
    """Two of ten features make y. With the penalty of scikit-learn, alpha, no weight becomes 0."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 10))
    y = X[:, 3] - 2 * X[:, 7]
    parameters = {"hidden_layer_sizes": (6,), "random_state": 0, "max_iter": 300, "learning_rate_init": 0.01}
    sparse, dense = (MLPRegressor(**parameters, **one).fit(X, y) for one in ({"l1": 4.0}, {"alpha": 4.0}))
    used = np.abs(sparse.coefs_[0]).max(axis=1) > 0
    assert used[[3, 7]].all() and used.sum() < 6
    assert (dense.coefs_[0] != 0).all()
    assert sparse.score(X, y) > 0.98


@pytest.mark.parametrize("target", ["multiclass", "regression"])
def test_adamw_is_adam_with_decay(target):
    """Without decay the same bits; and weight_decay=None means 0.01 with adamw, 0 with adam."""
    decays = {"adam": (None, 0, 0.01), "adamw": (0, None, 0.01)}
    adam, adamw = (
        [fitted(target, solver=solver, weight_decay=decay)[0] for decay in decays[solver]] for solver in decays
    )

    def bits(model):
        return [w.tobytes() for w in model.coefs_ + model.intercepts_]

    assert bits(adam[0]) == bits(adam[1]) == bits(adamw[0])
    assert bits(adam[2]) == bits(adamw[1]) == bits(adamw[2]) != bits(adam[0])


def test_hidden_layer_sizes_come_in_many_forms():
    _, X, y = problem("binary")
    for sizes in (5, (5,), [5], np.array([5]), np.int64(5), range(5, 6), ()):
        ours, theirs = (model.fit(X, y) for model in both("binary", hidden_layer_sizes=sizes))
        assert [coef.shape for coef in ours.coefs_] == [coef.shape for coef in theirs.coefs_]


def test_whole_numbers_do_for_real_parameters():
    _, X, y = problem("binary")
    for parameters in (
        {"alpha": 1, "tol": 0, "epsilon": 1, "learning_rate_init": 1, "beta_1": 0, "beta_2": 0},
        {"solver": "sgd", "learning_rate_init": 1, "momentum": 1, "nesterovs_momentum": False, "power_t": 1},
        {"solver": "sgd", "learning_rate_init": 1, "momentum": 0, "learning_rate": "invscaling", "power_t": 1},
    ):
        ours, theirs = (model.fit(X, y) for model in both("binary", **parameters))
        np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)


# ---- bad data -------------------------------------------------------------------------------------------------------


def spoiled(X, value):
    X = X.copy()
    X[3, 1] = value
    return X


BAD_X = {
    "nan": lambda X: spoiled(X, np.nan),
    "inf": lambda X: spoiled(X, np.inf),
    "minus inf": lambda X: spoiled(X, -np.inf),
    "overflow in float32": lambda X: spoiled(X, 1e300).astype(object),
    "no rows": lambda X: X[:0],
    "no columns": lambda X: X[:, :0],
    "one dimension": lambda X: X[:, 0],
    "three dimensions": lambda X: X[:, :, None],
    "scalar": lambda X: 1.0,
    "strings": lambda X: X.astype(str).astype(object) + "x",
    "string dtype": lambda X: np.full(X.shape, "x"),
    "complex": lambda X: X + 1j,
    "ragged": lambda X: [[1.0], [1.0, 2.0]],
    "none": lambda X: None,
    "none inside": lambda X: spoiled(X.astype(object), None),
    "dictionaries": lambda X: np.full(X.shape, {}, dtype=object),
}


@pytest.mark.parametrize("target", ["multiclass", "regression"])
@pytest.mark.parametrize("case", BAD_X)
def test_bad_data_gives_scikit_learns_error(case, target):
    _, X, y = problem(target)
    ours, theirs = both(target)
    good = ours.fit(X, y).predict(X)
    bad = BAD_X[case](X)
    assert outcome(lambda: ours.fit(bad, y[: len(bad)] if hasattr(bad, "__len__") else y)) == outcome(
        lambda: theirs.fit(bad, y[: len(bad)] if hasattr(bad, "__len__") else y)
    )
    theirs.fit(X, y)
    np.testing.assert_array_equal(ours.fit(X, y).predict(X), good)

    for method in ("predict", "predict_proba"):
        if hasattr(ours, method):
            want, got = (outcome(lambda m=m, method=method: getattr(m, method)(bad)) for m in (theirs, ours))
            assert got == want
            assert (got[0] is None) == (case == "overflow in float32")
    np.testing.assert_array_equal(ours.predict(X), good)


BAD_Y = {
    "too short": lambda y: y[:-1],
    "none": lambda y: None,
    "nan": lambda y: np.where(np.arange(len(y)) == 2, np.nan, np.arange(len(y))),
    "inf": lambda y: np.where(np.arange(len(y)) == 2, np.inf, np.arange(len(y))),
    "three dimensions": lambda y: np.zeros((len(y), 2, 2)),
    "objects": lambda y: np.array([{}] * len(y), dtype=object),
    "fractions": lambda y: np.arange(len(y)) / 7,
    "fractions in several columns": lambda y: np.column_stack([np.arange(len(y)) / 7, np.arange(len(y)) / 3]),
    "one column": lambda y: y.reshape(-1, 1),
    "one class": lambda y: np.ones(len(y), dtype=int),
    "complex": lambda y: np.arange(len(y)) + 1j,
    "no columns": lambda y: np.zeros((len(y), 0)),
}


@pytest.mark.parametrize("target", ["multiclass", "regression"])
@pytest.mark.parametrize("case", BAD_Y)
def test_odd_targets_give_scikit_learns_error_or_fit(case, target):
    _, X, y = problem(target)
    ours, theirs = both(target)
    bad = BAD_Y[case](y)
    want = outcome(lambda: theirs.fit(X, bad))
    assert outcome(lambda: ours.fit(X, bad)) == want
    assert want != (None, [])  # each case has an error, or a warning at least
    ours.fit(X, y)
    assert ours.predict(X).shape == y.shape


def test_strings_are_no_targets_for_a_regression():
    # scikit-learn comes to grief in mid-fit, where NumPy cannot subtract a string; here it is an error at the door.
    model, X, y = fitted("regression")
    with pytest.raises(ValueError, match="could not convert string to float"):
        model.fit(X, np.full(len(y), "a"))
    assert model.fit(X, y).predict(X).shape == y.shape


@pytest.mark.parametrize("target", ["multiclass", "regression"])
def test_another_number_of_columns_gives_scikit_learns_error(target):
    _, X, y = problem(target)
    ours, theirs = (model.fit(X, y) for model in both(target))
    for columns in (X[:, :-1], np.hstack([X, X])):
        want = outcome(lambda columns=columns: theirs.predict(columns))
        assert outcome(lambda columns=columns: ours.predict(columns)) == want
        assert want[0][0] == "ValueError"


@pytest.mark.parametrize("target", ["multiclass", "regression"])
def test_predicting_before_fit_gives_scikit_learns_error(target):
    _, X, _ = problem(target)
    for method in ("predict", "predict_proba", "predict_log_proba"):
        ours, theirs = (outcome(lambda m=m, method=method: getattr(m, method)(X)) for m in both(target))
        if hasattr(MLPClassifier if target == "multiclass" else MLPRegressor, method):
            assert ours == theirs
            assert ours[0][0] == "NotFittedError"


@pytest.mark.parametrize("target", ["binary", "regression"])
def test_diverging_training_gives_scikit_learns_error(target):
    _, X, y = problem(target)
    models = both(target, solver="sgd", activation="identity", learning_rate_init=1e300, max_iter=20)
    ours, theirs = (outcome(lambda m=m: m.fit(X * 1e100, y))[0] for m in models)
    assert ours == theirs
    assert ours[1].startswith("Solver produced non-finite parameter weights.")


@parity
def test_a_class_with_one_member_cannot_be_stratified():
    _, X, _ = problem("binary")
    y = np.arange(len(X)) == 3
    ours, theirs = (outcome(lambda m=m: m.fit(X, y)) for m in both("binary", early_stopping=True))
    assert ours == theirs
    assert "Classes with too few members are: ['True']" in ours[0][1]


@pytest.mark.parametrize(
    ("target", "y"),
    [
        ("regression", np.ones(40)),  # constant, and predicted so or not: a score of 1 or 0
        ("outputs", np.column_stack([np.ones(40), np.arange(40) / 20])),
        ("regression", np.where(np.arange(40) == 0, 1e308, 0.0)),  # predictions overflow
        ("binary", np.ones(40)),  # one class, always predicted
        ("multilabel", np.column_stack([np.ones(40), np.arange(40) % 2])),
        ("multiclass", np.arange(40) % 3 - 0.0),
    ],
)
def test_validation_scores_of_odd_targets_are_scikit_learns(target, y):
    X = np.random.RandomState(0).normal(size=(40, 3))
    scores = []
    for model in both(target, early_stopping=True, max_iter=4, solver="sgd", learning_rate_init=0.1):
        outcome(lambda m=model: m.fit(X, y))  # where the numbers overflow the fit ends in an error
        scores.append(model.validation_scores_)
    assert len(scores[0]) == 4
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-9)


@parity
@pytest.mark.parametrize("target", ["binary", "multiclass", "multilabel"])
def test_an_equal_score_is_no_stall_without_a_tolerance(target):
    _, X, y = problem(target)
    parameters = {"early_stopping": True, "tol": 0.0, "n_iter_no_change": 2, "max_iter": 30}
    ours, theirs = (model.fit(X, y) for model in both(target, **parameters))
    assert len(set(ours.validation_scores_)) < len(ours.validation_scores_)
    assert ours.validation_scores_ == theirs.validation_scores_
    assert ours._no_improvement_count == theirs._no_improvement_count


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("target", ["multiclass", "regression"])
def test_running_out_of_memory_is_a_memory_error(target, early_stopping):
    model, X, y = fitted(target, early_stopping=early_stopping)
    want = output(model, X)
    failures = {"fit": 0, "predict": 0}
    try:
        for name, call in (("fit", lambda: model.fit(X, y)), ("predict", lambda: output(model, X))):
            for countdown in range(1000):  # each allocation of the call in turn, until none is left to fail
                _core.fail_allocation(countdown)
                try:
                    call()
                except MemoryError:
                    failures[name] += 1
                else:
                    break
    finally:
        _core.fail_allocation(-1)
    assert failures["fit"] > 0
    np.testing.assert_array_equal(output(model.fit(X, y), X), want)


# ---- warnings -------------------------------------------------------------------------------------------------------


@parity
@pytest.mark.parametrize(
    ("parameters", "category"),
    [
        ({"max_iter": 3}, "ConvergenceWarning"),
        ({"batch_size": 1000}, "UserWarning"),
        ({"early_stopping": True, "batch_size": 140}, "UserWarning"),
        ({"max_iter": 500, "tol": 1.0, "n_iter_no_change": 1}, None),
    ],
    ids=str,
)
@pytest.mark.parametrize("target", ["binary", "regression"])
def test_warnings_are_scikit_learns(target, parameters, category):
    _, X, y = problem(target)
    ours, theirs = (outcome(lambda m=m: m.fit(X, y)) for m in both(target, **parameters))
    assert ours == theirs
    assert ours[0] is None
    assert {kind for kind, _ in ours[1]} - {"ConvergenceWarning"} == ({category} - {None, "ConvergenceWarning"})
    assert (category is None) == (ours[1] == [])


def test_too_large_a_batch_is_clipped():
    _, X, y = problem("regression")
    whole = estimator("regression", batch_size=len(X)).fit(X, y)
    with pytest.warns(UserWarning, match="Got `batch_size` less than 1 or larger than sample size"):
        clipped = estimator("regression", batch_size=10 * len(X)).fit(X, y)
    np.testing.assert_array_equal(whole.coefs_[0], clipped.coefs_[0])


# ---- verbose --------------------------------------------------------------------------------------------------------

VERBOSE = {
    "max_iter": {"max_iter": 4},
    "tol": {"tol": 0.5, "n_iter_no_change": 2, "max_iter": 50},
    "validation": {"early_stopping": True, "max_iter": 60, "n_iter_no_change": 3, "tol": 1e-2},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 1, "max_iter": 200},
    "adaptive at its limit": {
        "solver": "sgd",
        "learning_rate": "adaptive",
        "learning_rate_init": 1e-6,
        "tol": 0.1,
        "n_iter_no_change": 1,
    },
    "adaptive validation": {
        "solver": "sgd",
        "learning_rate": "adaptive",
        "learning_rate_init": 0.1,
        "tol": 0.1,
        "n_iter_no_change": 1,
        "max_iter": 200,
        "early_stopping": True,
    },
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "max_iter": 5},
}


@parity
@pytest.mark.parametrize("case", VERBOSE)
@pytest.mark.parametrize("target", TARGETS)
def test_verbose_prints_what_scikit_learn_prints(target, case, capsys):
    _, X, y = problem(target)
    ours, theirs = both(target, verbose=True, **VERBOSE[case])
    ours.fit(X, y)
    got = capsys.readouterr()
    theirs.fit(X, y)
    want = capsys.readouterr()
    assert got.out.splitlines() == want.out.splitlines()
    assert got.err == want.err == ""
    assert got.out.startswith("Iteration 1, loss = ")
    if case == "adaptive":
        assert "Setting learning rate to 0.000200" in got.out
        assert got.out.endswith("Learning rate too small. Stopping.\n")


def test_silent_by_default(capsys):
    fitted("binary")
    assert capsys.readouterr() == ("", "")


# ---- Ctrl-C ---------------------------------------------------------------------------------------------------------


class Interrupting:
    """A stdout on which the user presses Ctrl-C as soon as the given text is printed."""

    def __init__(self, text):
        self.text = text

    def write(self, text):
        if self.text in text:
            raise KeyboardInterrupt

    def flush(self):
        pass


@parity
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("target", TARGETS)
def test_interrupted_training_keeps_the_last_finished_state(target, early_stopping, monkeypatch):
    _, X, y = problem(target)
    models = both(target, max_iter=100, early_stopping=early_stopping, verbose=True)
    for model in models:
        monkeypatch.setattr(sys, "stdout", Interrupting("Iteration 3"))
        with pytest.warns(UserWarning, match=r"^Training interrupted by user\.$"):
            assert model.fit(X, y) is model
        monkeypatch.undo()
    ours, theirs = models
    assert ours.n_iter_ == theirs.n_iter_ == len(ours.loss_curve_) == 3
    # Three finished epochs: the weights of a fit that ends there. scikit-learn prints before it scores the epoch.
    same = fitted(target, max_iter=3, early_stopping=early_stopping)[0]
    np.testing.assert_array_equal(output(ours, X), output(same, X))
    if not early_stopping:
        np.testing.assert_allclose(output(ours, X), output(theirs, X), rtol=1e-9)
    model = pickle.loads(pickle.dumps(ours))
    np.testing.assert_array_equal(output(model, X), output(ours, X))


# ---- scikit-learn's own checks --------------------------------------------------------------------------------------


@parametrize_with_checks([MLPClassifier(max_iter=100), MLPRegressor(max_iter=100)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_an_activation_for_each_layer():
    """fit, predict by both ways, pickle and clone; a list that is changed in place is noticed."""
    _, X, y = problem("multiclass")
    model = MLPClassifier((6, 5), ["gelu", ("leaky_relu", 0.2)], max_iter=3, random_state=0).fit(X, y)
    network = MLP([X.shape[1], 6, 5, 3], activation=model.activation, loss="log_loss", dtype="float64")
    network.coefs_, network.intercepts_ = model.coefs_, model.intercepts_
    np.testing.assert_array_equal(model.predict_proba(X), network.forward(X))
    one = model.predict_proba(X[:1])
    np.testing.assert_array_equal(model.predict_proba(X[:1]), one)
    for other in (pickle.loads(pickle.dumps(model)), clone(model).fit(X, y)):
        np.testing.assert_array_equal(other.predict_proba(X), model.predict_proba(X))
    same = clone(model).set_params(activation=np.array(["gelu", "tanh"])).fit(X, y)
    for _ in range(2):  # the second time arrays that are known are looked for
        np.testing.assert_array_equal(same.predict_proba(X[:1]), same.predict_proba(X)[:1])
    model.activation[0] = "tanh"
    assert not np.array_equal(model.predict_proba(X[:1]), one)
    model.activation[:] = ["relu"]
    with pytest.raises(ValueError, match="stands for 1 hidden layers, there are 2"):
        model.predict(X)
