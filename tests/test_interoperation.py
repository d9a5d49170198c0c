"""The estimators among the tools they are used with: data frames, meta-estimators, searches, inspection, plots.

scikit-learn's estimator is put in the same place; whatever then comes out must agree. MLPs are trained for 20 epochs on
standardised data, where nnfast promises 1e-8; the Perceptron on whole numbers, where its arithmetic is exact and its
weights are the same on every CPU.
"""

from __future__ import annotations

import pickle
from itertools import cycle

import joblib
import numpy as np
import pandas
import polars
import pytest
import sklearn.linear_model
import sklearn.neural_network
from scipy.sparse import csr_array
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_digits, load_wine
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import RFE, SelectFromModel
from sklearn.inspection import DecisionBoundaryDisplay, permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, LearningCurveDisplay, cross_val_predict, learning_curve
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier

import nnfast
from estimators import OLDER, outcome, parity

NAMES = ("MLPClassifier", "MLPRegressor", "Perceptron")
HOMES = {
    "MLPClassifier": sklearn.neural_network,
    "MLPRegressor": sklearn.neural_network,
    "Perceptron": sklearn.linear_model,
}


def problem(name):
    """Real data for an estimator: X and y of some 200 rows."""
    if name == "Perceptron":
        X, y = load_digits(n_class=4, return_X_y=True)
        return X[:200], y[:200]
    X, y = load_wine(return_X_y=True) if name == "MLPClassifier" else load_diabetes(return_X_y=True)
    rows = np.random.RandomState(0).permutation(len(X))[:200]
    X, y = X[rows], y[rows]
    return StandardScaler().fit_transform(X), y if name == "MLPClassifier" else (y - y.mean()) / y.std()


def both(name, **parameters):
    """nnfast's estimator and scikit-learn's."""
    if name != "Perceptron":
        own = {"hidden_layer_sizes": (9,), "max_iter": 20, "learning_rate_init": 0.01, "batch_size": 20}
        parameters = own | {"random_state": 0} | parameters
    return [getattr(package, name)(**parameters) for package in (nnfast, HOMES[name])]


def output(model, X):
    """The most telling prediction that the model makes."""
    for method in ("predict_proba", "decision_function", "predict"):
        if hasattr(model, method):
            return getattr(model, method)(X)
    raise AssertionError("a model predicts")


def assert_alike(got, want):
    """Labels and counts are equal, numbers within 1e-8 of the largest."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    if want.dtype.kind == "f":
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-8 * np.abs(want).max())
    else:
        np.testing.assert_array_equal(got, want)


def weights(model):
    return [model.coef_, model.intercept_] if hasattr(model, "coef_") else [*model.coefs_, *model.intercepts_]


# ---- data of every form ---------------------------------------------------------------------------------------------


def strided(X):
    wide = np.full((2 * len(X), 3 * X.shape[1]), np.nan)
    wide[::2, ::3] = X
    return wide[::2, ::3]


def unaligned(X):
    """At an odd address, as a field of a packed record or a piece of a message may be."""
    return np.frombuffer(b" " + X.tobytes(), np.uint8)[1:].view(X.dtype).reshape(X.shape)


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def mapped(X, folder):
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode="r")


def columns(X, types):
    """Name -> column, each in the next of the types."""
    return {f"x{i}": column.astype(types[i % len(types)]) for i, column in enumerate(X.T)}


def framed(X, *types):
    """A pandas frame; its columns get the types in turn."""
    frame = pandas.DataFrame(columns(X, ["float64"]))
    return frame.astype(dict(zip(frame.columns, cycle(types), strict=False)))


NUMBERS = ["int64", "float64", "int8", "float32", "uint16"]
NULLABLE = ["Int64", "Float64", "Int8", "Float32", "object"]
FORMS = {
    "read-only": lambda X, folder: read_only(X),
    "memory-mapped": mapped,
    "Fortran-ordered": lambda X, folder: np.asfortranarray(X),
    "strided": lambda X, folder: strided(X),
    "reversed": lambda X, folder: X[::-1, ::-1].copy()[::-1, ::-1],
    "byte-swapped": lambda X, folder: X.astype(X.dtype.newbyteorder()),
    "unaligned": lambda X, folder: unaligned(X),
    "long double": lambda X, folder: X.astype(np.longdouble),
    "float16": lambda X, folder: X.astype(np.float16),
    **{name: lambda X, folder, name=name: X.astype(name) for name in ("int8", "uint8", "int32", "uint64")},
    "objects": lambda X, folder: X.astype(object),
    "lists": lambda X, folder: X.tolist(),
    "pandas": lambda X, folder: pandas.DataFrame(X),
    "pandas, mixed types": lambda X, folder: framed(X, *NUMBERS),
    "pandas, nullable": lambda X, folder: framed(X, *NULLABLE),
    "polars": lambda X, folder: polars.DataFrame(columns(X, ["float64"])),
    "polars, mixed types": lambda X, folder: polars.DataFrame(columns(X, NUMBERS)),
}


@pytest.mark.filterwarnings("ignore:X has feature names")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_data_of_every_form_gives_the_same_bits(name, form, tmp_path):
    X, y = problem(name)
    X = np.rint(4 * X - 4 * X.min(axis=0))  # whole numbers that fit into every type
    assert 0 <= X.min() < X.max() <= 64
    plain, _ = both(name)
    model = clone(plain)
    want = output(plain.fit(X, y), X)
    data = FORMS[form](X, tmp_path)
    np.testing.assert_array_equal(output(plain, data), want)
    np.testing.assert_array_equal(output(model.fit(data, y), data), want)
    for got, expected in zip(weights(model), weights(plain), strict=True):
        np.testing.assert_array_equal(got, expected)


TARGETS = {
    "list": lambda y: y.tolist(),
    "pandas": pandas.Series,
    "pandas, other index": lambda y: pandas.Series(y, index=np.arange(len(y))[::-1]),
    "pandas, nullable": lambda y: pandas.Series(y).convert_dtypes(),
    "pandas, one column": lambda y: pandas.DataFrame({"target": y}),
    "polars": polars.Series,
    "float32": lambda y: y.astype(np.float32),
    "read-only": read_only,
    "unaligned": unaligned,
    "reversed": lambda y: y[::-1].copy()[::-1],
    "byte-swapped": lambda y: y.astype(y.dtype.newbyteorder()),
}
WORDS = np.array(["one", "two", "three", "four"])
LABELS = {
    "strings": lambda y: WORDS[y],
    "objects": lambda y: WORDS[y].astype(object),
    "booleans": lambda y: y > 0,
    "pandas, strings": lambda y: pandas.Series(WORDS[y]),
    "pandas, categories": lambda y: pandas.Series(WORDS[y], dtype="category"),
    "pandas, booleans": lambda y: pandas.Series(y > 0, dtype="boolean"),
    "polars, strings": lambda y: polars.Series(WORDS[y].tolist()),
}


@pytest.mark.parametrize(
    ("name", "form"),
    [(name, form) for name in NAMES for form in (TARGETS if name == "MLPRegressor" else TARGETS | LABELS)],
)
def test_targets_of_every_form_are_scikit_learns(name, form):
    X, y = problem(name)
    y = (TARGETS | LABELS)[form](y)
    ours, theirs = both(name)
    got, want = (outcome(lambda m=m: m.fit(X, y)) for m in (ours, theirs))
    assert got == want
    assert_alike(ours.predict(X), theirs.predict(X))
    assert_alike(output(ours, X), output(theirs, X))
    if is_classifier(ours):
        assert_alike(ours.classes_, theirs.classes_)
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y), rel=1e-8)


# ---- names of features ----------------------------------------------------------------------------------------------


POLARS = pytest.param(
    "polars", marks=pytest.mark.skipif(OLDER, reason="scikit-learn asks as polars 2 no longer tells, before 1.9")
)


def frames(name):
    X, y = problem(name)
    named = {f"column {i}": x for i, x in enumerate(X.T)}
    return {"pandas": pandas.DataFrame(named), "polars": polars.DataFrame(named)}, X, y


@pytest.mark.parametrize("library", ["pandas", POLARS])
@pytest.mark.parametrize("name", NAMES)
def test_names_of_features_are_kept_and_checked(name, library):
    by_library, X, y = frames(name)
    frame = by_library[library]
    ours, theirs = (model.fit(frame, y) for model in both(name))
    assert ours.feature_names_in_.tolist() == list(frame.columns)
    assert ours.feature_names_in_.dtype == theirs.feature_names_in_.dtype == object
    plain = clone(ours).fit(X, y)
    assert not hasattr(plain, "feature_names_in_")
    assert_alike(output(ours, frame), output(plain, X))

    others = {
        "another order": frame[list(frame.columns)[::-1]],
        "other names": frame.rename(columns=str.upper) if library == "pandas" else frame.rename(str.upper),
        "one fewer": frame[list(frame.columns)[1:]],
        "no names": X,
    }
    for case, other in others.items():
        got, want = (outcome(lambda m=m, other=other: m.predict(other)) for m in (ours, theirs))
        assert got == want, case
        assert (want[0] or want[1][0])[0] == ("UserWarning" if case == "no names" else "ValueError"), case
    got, want = (outcome(lambda m=m: m.fit(X, y).predict(frame)) for m in both(name))
    assert got == want
    assert f"but {name} was fitted without feature names" in want[1][-1][1]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_not_all_strings_are_scikit_learns_error(name):
    X, y = problem(name)
    frame = pandas.DataFrame(X).rename(columns={0: "first"})
    got, want = (outcome(lambda m=m: m.fit(frame, y)) for m in both(name))
    assert got == want
    assert want[0][0] == "TypeError"


@pytest.mark.parametrize("library", ["pandas", POLARS])
@pytest.mark.parametrize("name", NAMES)
def test_names_reach_the_end_of_a_pipeline(name, library):
    by_library, _, y = frames(name)
    frame = by_library[library]
    ours, theirs = (
        make_pipeline(StandardScaler(), model).set_output(transform=library).fit(frame, y) for model in both(name)
    )
    assert ours[-1].feature_names_in_.tolist() == list(frame.columns)
    assert_alike(ours.predict(frame), theirs.predict(frame))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_selected_features_keep_their_names(library):
    by_library, _, y = frames("Perceptron")
    got, want = (
        SelectFromModel(model, threshold="mean").set_output(transform=library).fit_transform(by_library[library], y)
        for model in both("Perceptron")
    )
    assert 0 < len(want.columns) < by_library[library].shape[1]
    assert type(got) is type(want)
    assert got.equals(want)


# ---- display --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_display_names_the_estimator_and_what_was_chosen(name):
    X, y = problem(name)
    ours, theirs = both(name, max_iter=7, tol=0.5, n_iter_no_change=2)
    assert repr(ours) == repr(theirs)
    assert "max_iter=7" in repr(ours)
    before = ours._repr_html_()
    fitted = ours.fit(X, y)._repr_html_()
    for page, state in ((before, "Not fitted"), (fitted, "Fitted")):
        assert name in page
        assert "max_iter" in page
        assert f"<span>{state}</span>" in page
        assert 'href="https://scikit-learn.org' not in page  # its page of that name is about another class
    assert ours._repr_mimebundle_()["text/plain"] == repr(ours)


@pytest.mark.parametrize("name", NAMES)
def test_looking_at_an_estimator_leaves_it_as_it_was(name):
    X, y = problem(name)
    model = both(name)[0].fit(X, y)
    before = pickle.dumps(model)
    for look in (
        lambda: output(model, X),
        lambda: model.predict(X),
        lambda: model.score(X, y),
        lambda: repr(model),
        model._repr_html_,
        model.get_params,
        model.__sklearn_tags__,
        lambda: clone(model),
        lambda: permutation_importance(model, X, y, n_repeats=1),
    ):
        look()
        assert pickle.dumps(model) == before


# ---- searches -------------------------------------------------------------------------------------------------------

GRIDS = {
    "MLPClassifier": {"alpha": [1e-4, 1.0], "hidden_layer_sizes": [(3,), (5, 4)]},
    "MLPRegressor": {"solver": ["sgd", "adam"], "activation": ["tanh", "relu"]},
    "Perceptron": {"class_weight": [None, {0: 3.0}], "max_iter": [1, 50]},
}


@pytest.mark.parametrize("name", NAMES)
def test_a_search_in_two_processes_and_in_two_threads(name):
    X, y = problem(name)
    ours, theirs = both(name)
    want = GridSearchCV(theirs, GRIDS[name], cv=3).fit(X, y)
    alone = GridSearchCV(ours, GRIDS[name], cv=3).fit(X, y)
    assert_alike(alone.cv_results_["mean_test_score"], want.cv_results_["mean_test_score"])
    assert len(set(want.cv_results_["mean_test_score"])) > 1
    assert alone.best_params_ == want.best_params_
    assert_alike(output(alone, X), output(want, X))
    for backend in ("loky", "threading"):
        with joblib.parallel_config(backend, n_jobs=2):
            search = GridSearchCV(ours, GRIDS[name], cv=3).fit(X, y)
        for split in range(3):
            key = f"split{split}_test_score"
            np.testing.assert_array_equal(search.cv_results_[key], alone.cv_results_[key])
        np.testing.assert_array_equal(output(search, X), output(alone, X))


@pytest.mark.parametrize("name", NAMES)
def test_data_that_a_process_maps_into_its_memory(name):
    X, y = problem(name)
    ours, theirs = both(name)
    want = cross_val_predict(theirs, X, y, cv=3)
    with joblib.parallel_config("loky", n_jobs=2, max_nbytes=1):  # larger arrays come as read-only memory maps
        assert_alike(cross_val_predict(ours, X, y, cv=3), want)


# ---- meta-estimators ------------------------------------------------------------------------------------------------

CLASSIFIERS = {
    "calibrated": lambda model: CalibratedClassifierCV(model, cv=3),
    "calibrated together": lambda model: CalibratedClassifierCV(model, cv=3, ensemble=False),
    "bagging": lambda model: BaggingClassifier(model, 3, random_state=0),
    "bagging features": lambda model: BaggingClassifier(model, 3, max_features=0.5, random_state=0),
    "voting": lambda model: VotingClassifier([("a", model), ("b", LogisticRegression(max_iter=500))]),
    "stacking": lambda model: StackingClassifier([("a", model)], LogisticRegression(), cv=3),
    "one against the rest": OneVsRestClassifier,
    "one against one": OneVsOneClassifier,
}
WITH_PROBABILITIES = {
    "soft voting": lambda model: VotingClassifier([("a", model), ("b", LogisticRegression())], voting="soft"),
    "boosting": lambda model: AdaBoostClassifier(model, n_estimators=3, random_state=0),
    "self-training": lambda model: SelfTrainingClassifier(model, max_iter=2),
}
REGRESSORS = {
    "bagging": lambda model: BaggingRegressor(model, 3, random_state=0),
    "voting": lambda model: VotingRegressor([("a", model), ("b", Ridge())]),
    "stacking": lambda model: StackingRegressor([("a", model)], Ridge(), cv=3),
    "boosting": lambda model: AdaBoostRegressor(model, n_estimators=3, random_state=0),
    "transformed target": lambda model: TransformedTargetRegressor(model, func=np.arcsinh, inverse_func=np.sinh),
}
WITH_COEFFICIENTS = {"elimination of features": lambda model: RFE(model, n_features_to_select=5, step=20)}
IN_PLACE = {
    "MLPClassifier": CLASSIFIERS | WITH_PROBABILITIES,
    "MLPRegressor": REGRESSORS,
    "Perceptron": CLASSIFIERS | WITH_COEFFICIENTS,
}


@parity
@pytest.mark.parametrize(("name", "meta"), [(name, meta) for name, metas in IN_PLACE.items() for meta in metas])
def test_inside_a_meta_estimator(name, meta):
    X, y = problem(name)
    if meta == "self-training":
        y = np.where(np.arange(len(y)) % 3, y, -1)
    ours, theirs = (IN_PLACE[name][meta](model).fit(X, y) for model in both(name))
    assert_alike(output(ours, X), output(theirs, X))
    again = clone(ours).fit(X, y)
    np.testing.assert_array_equal(output(again, X), output(ours, X))
    np.testing.assert_array_equal(output(pickle.loads(pickle.dumps(ours)), X), output(ours, X))


MANY_TARGETS = {
    "MLPClassifier": (MultiOutputClassifier, lambda model: ClassifierChain(model, order=[1, 0])),
    "MLPRegressor": (MultiOutputRegressor,),
    "Perceptron": (MultiOutputClassifier, lambda model: ClassifierChain(model, order=[1, 0])),
}


@pytest.mark.parametrize("name", NAMES)
def test_one_estimator_for_each_of_several_targets(name):
    X, y = problem(name)
    Y = np.column_stack([y > np.median(y), y == y.min()]) if name != "MLPRegressor" else np.column_stack([y, -(y**2)])
    for meta in MANY_TARGETS[name]:
        ours, theirs = (meta(model).fit(X, Y) for model in both(name))
        assert_alike(ours.predict(X), theirs.predict(X))


# ---- inspection and plots -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_permutation_importance(name):
    X, y = problem(name)
    ours, theirs = (
        permutation_importance(model.fit(X, y), X, y, n_repeats=3, random_state=0, n_jobs=n_jobs)
        for model, n_jobs in zip(both(name), (2, None), strict=True)
    )
    assert_alike(ours.importances, theirs.importances)
    assert np.ptp(theirs.importances_mean) > 0


@pytest.fixture
def pyplot():
    pytest.importorskip("matplotlib").use("agg")
    return pytest.importorskip("matplotlib.pyplot")


@parity
@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("MLPClassifier", "predict"),
        ("MLPClassifier", "predict_proba"),
        ("MLPRegressor", "predict"),
        ("Perceptron", "predict"),
        ("Perceptron", "decision_function"),
    ],
)
def test_the_plot_of_a_decision_boundary(name, method, pyplot):
    X, y = problem(name)
    X = X[:, :2] if name != "Perceptron" else X[:, [20, 42]]
    plots = [
        DecisionBoundaryDisplay.from_estimator(model.fit(X, y), X, grid_resolution=33, response_method=method)
        for model in both(name)
    ]
    ours, theirs = (plot.response for plot in plots)
    assert_alike(ours, theirs)
    assert len(np.unique(theirs)) > 1
    for plot in plots:
        pyplot.close(plot.figure_)


@pytest.mark.parametrize("name", NAMES)
def test_the_plot_of_a_learning_curve(name, pyplot):
    X, y = problem(name)
    plots = [
        LearningCurveDisplay.from_estimator(
            model, X, y, train_sizes=[0.3, 0.6, 1.0], cv=3, shuffle=True, random_state=0
        )
        for model in both(name)
    ]
    ours, theirs = plots
    assert_alike(ours.train_sizes, theirs.train_sizes)
    assert_alike(ours.train_scores, theirs.train_scores)
    assert_alike(ours.test_scores, theirs.test_scores)
    drawn, expected = ([line.get_ydata() for line in plot.lines_] for plot in plots)
    assert_alike(drawn, expected)
    for plot in plots:
        pyplot.close(plot.figure_)


@pytest.mark.parametrize("name", NAMES)
def test_a_learning_curve_by_partial_fit(name):
    X, y = problem(name)
    ours, theirs = (
        learning_curve(model, X, y, train_sizes=[0.3, 0.6, 1.0], cv=3, exploit_incremental_learning=True)
        for model in both(name)
    )
    for got, want in zip(ours, theirs, strict=True):
        assert_alike(got, want)


# ---- bad input ------------------------------------------------------------------------------------------------------


def changed(X, value):
    X = X.astype(object)
    X[2, 1] = value
    return X


BAD_DATA = {
    "pandas, NaN": lambda X: pandas.DataFrame(changed(X, np.nan).astype(float)),
    "pandas, NA": lambda X: pandas.DataFrame(changed(X, pandas.NA)).astype("Float64"),
    "pandas, strings": lambda X: pandas.DataFrame(changed(X, "high")),
    "pandas, dates": lambda X: pandas.DataFrame(columns(X, ["float64"])).assign(x0=pandas.Timestamp("2026-01-01")),
    "pandas, no rows": lambda X: pandas.DataFrame(X[:0]),
    "pandas, a series": lambda X: pandas.Series(X[:, 0]),
    "polars, null": lambda X: polars.DataFrame(columns(X, ["float64"])).with_columns(
        x1=polars.when(polars.col("x1") > 0).then(polars.col("x1"))
    ),
    "masked by NaN": lambda X: np.ma.masked_greater(X, 0).filled(np.nan),
    "a list of unequal rows": lambda X: [list(x[: 1 + i % 2]) for i, x in enumerate(X)],
    "a string": lambda X: "X",
    "a dictionary": lambda X: {"x0": X[:, 0]},
    "sparse, NaN": lambda X: csr_array(changed(X, np.nan).astype(float)),
    "sparse, one row too few": lambda X: csr_array(X)[1:],
}


@pytest.mark.parametrize("case", BAD_DATA)
@pytest.mark.parametrize("name", NAMES)
def test_bad_data_gives_scikit_learns_error(name, case):
    X, y = problem(name)
    models = both(name)
    got, want = (outcome(lambda m=m: m.fit(BAD_DATA[case](X), y)) for m in models)
    assert got == want
    assert want[0] is not None
    ours, theirs = (model.fit(X, y) for model in models)
    got, want = (outcome(lambda m=m: m.predict(BAD_DATA[case](X))) for m in models)
    assert got == want
    assert_alike(output(ours, X), output(theirs, X))


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_text_in_a_polars_frame_is_an_error_of_fit_and_predict(name):
    """The same of both; scikit-learn's predict gets as far as multiplying the text by a weight."""
    X, y = problem(name)
    frame = polars.DataFrame(columns(X, ["float64"]))
    text = frame.with_columns(x1=polars.lit("high"))
    ours, theirs = both(name)
    error = outcome(lambda: theirs.fit(text, y))
    assert error == (("ValueError", "could not convert string to float: 'high'"), [])
    assert outcome(lambda: ours.fit(text, y)) == error
    ours.fit(frame, y)
    assert outcome(lambda: ours.predict(text)) == error


BAD_WEIGHTS = {
    "too few": lambda n: np.ones(n - 1),
    "two columns": lambda n: np.ones((n, 2)),
    "NaN": lambda n: np.where(np.arange(n) == 3, np.nan, 1.0),
    "infinite": lambda n: np.where(np.arange(n) == 3, np.inf, 1.0),
    "strings": lambda n: ["heavy"] * n,
    "complex": lambda n: np.ones(n) * 1j,
    "all zero": np.zeros,
    "pandas, NA": lambda n: pandas.Series([1.0] * (n - 1) + [pandas.NA], dtype="Float64"),
}


@parity
@pytest.mark.parametrize("case", BAD_WEIGHTS)
@pytest.mark.parametrize("name", NAMES)
def test_bad_weights_of_samples_give_scikit_learns_error(name, case):
    X, y = problem(name)
    got, want = (outcome(lambda m=m: m.fit(X, y, sample_weight=BAD_WEIGHTS[case](len(y)))) for m in both(name))
    assert got == want
    assert want[0] is not None


def begun(model, X, y, **weights):
    """The model after a first partial_fit."""
    return model.partial_fit(X, y, **({"classes": np.unique(y)} if is_classifier(model) else {}), **weights)


def named(X, letter):
    return pandas.DataFrame(X, columns=[f"{letter}{i}" for i in range(X.shape[1])])


BAD_INCREMENTS = {
    "fewer columns": lambda m, X, y: begun(m, X, y).partial_fit(X[:, 1:], y),
    "other names": lambda m, X, y: begun(m, named(X, "a"), y).partial_fit(named(X, "b"), y),
    "NaN": lambda m, X, y: begun(m, np.where(X > 0, np.nan, X), y),
    "early stopping": lambda m, X, y: begun(m.set_params(early_stopping=True), X, y),
    "a bad parameter": lambda m, X, y: begun(m.set_params(shuffle="no"), X, y),
    "too few weights": lambda m, X, y: begun(m, X, y, sample_weight=[1.0]),
    "too few targets": lambda m, X, y: begun(m, X, y[1:]),
}
BAD_CLASSES = {
    "none": lambda m, X, y: m.partial_fit(X, y),
    "fewer the second time": lambda m, X, y: begun(m, X, y).partial_fit(X, y, classes=[0, 1]),
    "not those of y": lambda m, X, y: m.partial_fit(X, y, classes=[0, 1]),
    "not those of a later y": lambda m, X, y: begun(m, X, y).partial_fit(X, y + 1),
    "strings": lambda m, X, y: m.partial_fit(X, y, classes=["a", "b"]),
}


@parity
@pytest.mark.parametrize(
    ("name", "call"),
    [
        *(pytest.param(name, call, id=f"{name}-{case}") for case, call in BAD_INCREMENTS.items() for name in NAMES),
        *(
            pytest.param(name, call, id=f"{name}-classes {case}")
            for case, call in BAD_CLASSES.items()
            for name in ("MLPClassifier", "Perceptron")
        ),
    ],
)
def test_bad_partial_fit_gives_scikit_learns_error(name, call):
    X, y = problem(name)
    got, want = (outcome(lambda m=m: call(m, X, y)) for m in both(name))
    assert got == want
    assert want[0] is not None


@pytest.mark.parametrize(
    "y",
    [
        lambda y: csr_array(np.column_stack([y, y])),
        lambda y: pandas.Series(y).where(y > 0),
        lambda y: pandas.Series(y).astype("Int64").where(y > 0),
        lambda y: np.array([*y[:-1], "last"], object),
        lambda y: [None, *y[1:]],
        lambda y: np.array([[label] for label in y] + [None], object)[:-1],
        lambda y: y / 3,
        lambda y: y * 1j,
    ],
    ids=["sparse", "NaN", "NA", "a string among numbers", "None", "lists", "fractions", "complex"],
)
@pytest.mark.parametrize("name", ["MLPClassifier", "Perceptron"])
def test_bad_labels_give_scikit_learns_error(name, y):
    X, labels = problem(name)
    got, want = (outcome(lambda m=m: m.fit(X, y(labels))) for m in both(name))
    assert got == want
    assert want[0] is not None


def test_several_columns_of_labels_are_too_many_for_perceptron():
    X, labels = problem("Perceptron")
    got, want = (outcome(lambda m=m: m.fit(X, labels[:, None] + np.arange(2))) for m in both("Perceptron"))
    assert got == want
    assert want[0] is not None


# ---- the hidden layers as features -----------------------------------------------------------------------------------


def test_transform_gives_the_values_of_a_hidden_layer():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((80, 5)).astype(np.float32), rng.integers(0, 3, 80)
    model = nnfast.MLPClassifier((7, 4), activation=["tanh", "relu"], max_iter=3, random_state=0).fit(X, y)
    first = nnfast.ops.linear(X, model.coefs_[0], model.intercepts_[0], "tanh")
    second = nnfast.ops.linear(first, model.coefs_[1], model.intercepts_[1], "relu")
    for layer, expected in ((0, first), (-2, first), (1, second), (-1, second)):
        np.testing.assert_array_equal(model.transform(X, layer=layer), expected)
    np.testing.assert_array_equal(model.transform(X), second)
    np.testing.assert_array_equal(model.transform(csr_array(X)), second)
    assert model.transform(X).dtype == np.float32
    np.testing.assert_array_equal(clone(model).fit_transform(X, y), second)
    # What is left of the network is linear in them.
    scores = nnfast.ops.linear(model.transform(X), model.coefs_[2], model.intercepts_[2], "softmax")
    np.testing.assert_array_equal(model.predict_proba(X), scores)

    for layer in (2, -3):
        with pytest.raises(ValueError, match="from -2 to 1: there are 2 hidden layers"):
            model.transform(X, layer=layer)
    linear = nnfast.MLPRegressor(hidden_layer_sizes=(), max_iter=2).fit(X, y)
    with pytest.raises(ValueError, match="there are 0 hidden layers"):
        linear.transform(X)
    with pytest.raises(NotFittedError):
        nnfast.MLPRegressor().transform(X)


def test_names_of_hidden_units():
    X = pandas.DataFrame(np.random.default_rng(0).standard_normal((40, 3)), columns=list("abc"))
    y = X["a"] - X["b"]
    model = (
        nnfast.MLPRegressor(hidden_layer_sizes=(4, 2), max_iter=3, random_state=0)
        .set_output(transform="pandas")
        .fit(X, y)
    )
    assert list(model.get_feature_names_out()) == ["mlpregressor0", "mlpregressor1"]
    for layer, width in ((0, 4), (1, 2)):
        frame = model.transform(X, layer=layer)
        assert list(frame.columns) == [f"mlpregressor{unit}" for unit in range(width)]
        assert frame.index.equals(X.index)
    with pytest.raises(ValueError, match="input_features is not equal to feature_names_in_"):
        model.get_feature_names_out(["x", "y", "z"])
    features = make_pipeline(
        StandardScaler(), nnfast.MLPRegressor(hidden_layer_sizes=(4, 2), max_iter=3, random_state=0), Ridge()
    )
    features.set_output(transform="polars").fit(X, y)
    assert features[:-1].transform(X).columns == ["mlpregressor0", "mlpregressor1"]
