"""Validation data of one's own, and what early stopping watches: X_val, scoring=, validation_loss_curve_."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import scipy.sparse
import sklearn
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import accuracy_score, log_loss, make_scorer, mean_absolute_error, r2_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from estimators import TARGETS, estimator, outcome, output, problem
from nnfast import MLPClassifier


def halves(target):
    """X, y to train on, then X, y to validate on."""
    _, X, y = problem(target)
    return X[::2], y[::2], X[1::2], y[1::2]


def loss_of(model, X, y, weights=None):
    """The loss without the penalty, from the predictions."""
    if hasattr(model, "predict_proba"):
        p = model.predict_proba(X)
        if y.ndim > 1:
            rows = -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum(axis=1)
        else:
            rows = -np.log(p[np.arange(len(y)), np.searchsorted(model.classes_, y)])
    else:
        p, y = model.predict(X).reshape(len(y), -1), y.reshape(len(y), -1)
        poisson = model.loss == "poisson"
        rows = (y * np.log(y / p) - y + p).sum(axis=1) if poisson else ((y - p) ** 2 / 2).mean(axis=1)
    return np.average(rows, weights=weights)


def weights_for(X):
    return np.random.RandomState(5).gamma(1.0, size=len(X))


# ---- own data -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("target", TARGETS)
def test_scores_and_losses_are_those_of_the_model_after_each_epoch(target, weighted):
    X, y, X_val, y_val = halves(target)
    weights = weights_for(X_val) if weighted else None
    model = estimator(target, shuffle=False, max_iter=6)
    whole = clone(model).fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weights)
    assert len(whole.validation_scores_) == len(whole.validation_loss_curve_) == 6
    for epochs in range(1, 7):
        part = clone(model).set_params(max_iter=epochs).fit(X, y)
        score = part.score(X_val, y_val, weights)
        assert whole.validation_scores_[epochs - 1] == pytest.approx(score, rel=1e-12)
        assert whole.validation_loss_curve_[epochs - 1] == pytest.approx(loss_of(part, X_val, y_val, weights), rel=1e-9)
    assert whole.best_validation_score_ == max(whole.validation_scores_)


@pytest.mark.parametrize("target", TARGETS)
def test_without_early_stopping_it_is_only_recorded(target):
    X, y, X_val, y_val = halves(target)
    plain = estimator(target).fit(X, y)
    watched = estimator(target).fit(X, y, X_val=X_val, y_val=y_val)
    np.testing.assert_array_equal(output(watched, X), output(plain, X))
    assert watched.best_loss_ == plain.best_loss_
    assert plain.validation_scores_ is plain.validation_loss_curve_ is plain.best_validation_score_ is None


@pytest.mark.parametrize("scoring", [None, "loss"])
@pytest.mark.parametrize("target", TARGETS)
def test_the_best_weights_are_the_ones_kept(target, scoring):
    X, y, X_val, y_val = halves(target)
    parameters = {"early_stopping": True, "scoring": scoring, "shuffle": False, "learning_rate_init": 0.02}
    model = estimator(target, max_iter=300, n_iter_no_change=5, **parameters)
    model.fit(X, y, X_val=X_val, y_val=y_val)
    assert model.n_iter_ < 300
    best = int(np.argmax(model.validation_scores_))
    assert best < model.n_iter_ - 1
    assert model.t_ == model.n_iter_ * len(X)  # nothing is set aside
    same = estimator(target, max_iter=best + 1, **(parameters | {"early_stopping": False})).fit(X, y)
    np.testing.assert_array_equal(output(model, X), output(same, X))
    score = -loss_of(model, X_val, y_val) if scoring == "loss" else model.score(X_val, y_val)
    assert model.best_validation_score_ == pytest.approx(score, rel=1e-9)
    assert model.best_loss_ is None


def test_rows_set_aside_by_hand_are_the_rows_set_aside():
    _, X, y = problem("regression")
    rng = np.random.RandomState(0)
    inside = estimator("regression", early_stopping=True, random_state=rng, shuffle=False).fit(X, y)
    rng = np.random.RandomState(0)
    for shape in ((10, 8), 8, (8, 1), 1):
        rng.uniform(size=shape)  # the weights are drawn first
    X, X_val, y, y_val = train_test_split(X, y, test_size=0.1, random_state=rng)
    outside = estimator("regression", early_stopping=True, random_state=0, shuffle=False)
    outside.fit(X, y, X_val=X_val, y_val=y_val)
    np.testing.assert_array_equal(outside.coefs_[0], inside.coefs_[0])
    assert outside.validation_scores_ == inside.validation_scores_
    assert outside.validation_loss_curve_ == inside.validation_loss_curve_


@pytest.mark.parametrize("early_stopping", [False, True])
def test_validation_data_comes_in_many_forms(early_stopping):
    X, y, X_val, y_val = halves("multiclass")
    reference = estimator("multiclass", early_stopping=early_stopping).fit(X, y, X_val=X_val, y_val=y_val)
    for layout in (X_val.tolist(), np.asfortranarray(X_val), scipy.sparse.csc_array(X_val), X_val.astype(">f8")):
        model = clone(reference).fit(X, y, X_val=layout, y_val=y_val.tolist())
        np.testing.assert_allclose(model.validation_loss_curve_, reference.validation_loss_curve_, rtol=1e-12)
    narrow = clone(reference).fit(X.astype(np.float32), y, X_val=X_val, y_val=y_val)
    assert narrow.coefs_[0].dtype == np.float32
    np.testing.assert_allclose(narrow.validation_loss_curve_, reference.validation_loss_curve_, rtol=1e-4)


def test_validation_data_of_one_class_or_one_row_will_do():
    X, y, X_val, y_val = halves("multiclass")
    model = estimator("multiclass", early_stopping=True)
    model.fit(X, y, X_val=X_val[y_val == 1], y_val=y_val[y_val == 1])
    assert model.validation_scores_[-1] == model.set_params().score(X_val[y_val == 1], y_val[y_val == 1])
    model.fit(X, y, X_val=X_val[:1], y_val=y_val[:1])
    assert set(model.validation_scores_) <= {0.0, 1.0}


MISTAKES = {
    "no y_val": (lambda X, y: {"X_val": X}, "X_val and y_val must be given together"),
    "no X_val": (lambda X, y: {"y_val": y}, "X_val and y_val must be given together"),
    "only weights": (lambda X, y: {"sample_weight_val": np.ones(len(X))}, "X_val and y_val must be given together"),
    "columns": (lambda X, y: {"X_val": X[:, 1:], "y_val": y}, "X has 12 features, but MLPClassifier is expecting 13"),
    "rows": (lambda X, y: {"X_val": X[1:], "y_val": y}, "Found input variables with inconsistent numbers of samples"),
    "nan": (lambda X, y: {"X_val": np.full_like(X, np.nan), "y_val": y}, "Input X contains NaN"),
    "class": (lambda X, y: {"X_val": X, "y_val": y + 1}, "`y_val` has classes not in `self.classes_`"),
    "kind": (lambda X, y: {"X_val": X, "y_val": np.column_stack([y, y]) % 2}, "multilabel"),
    "weights": (
        lambda X, y: {"X_val": X, "y_val": y, "sample_weight_val": np.ones(3)},
        "sample_weight.shape ==",
    ),
    "zero weights": (
        lambda X, y: {"X_val": X, "y_val": y, "sample_weight_val": np.zeros(len(X))},
        "must contain at least one non-zero number",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(case):
    X, y, X_val, y_val = halves("multiclass")
    arguments, message = MISTAKES[case]
    model = estimator("multiclass").fit(X, y)
    good = output(model, X)
    (kind, text), _ = outcome(lambda: model.fit(X, y, **arguments(X_val, y_val)))
    assert kind == "ValueError"
    assert message in text
    np.testing.assert_array_equal(output(model, X), good)


def test_outputs_must_be_as_many():
    X, y, X_val, y_val = halves("outputs")
    with pytest.raises(ValueError, match="y_val stands for 2 outputs, y for 3"):
        estimator("outputs").fit(X, y, X_val=X_val, y_val=y_val[:, :2])
    with pytest.raises(ValueError, match="Some values of y_val are negative"):
        estimator("poisson").fit(X, np.abs(y[:, 0]), X_val=X_val, y_val=-np.abs(y_val[:, 0]))


def test_negative_counts_are_an_error():
    # scikit-learn trains on, with a loss that is not a number.
    _, X, y = problem("poisson")
    for method in ("fit", "partial_fit"):
        with pytest.raises(ValueError, match=r"Some values of y are negative; loss='poisson' needs values of 0"):
            getattr(estimator("poisson"), method)(X, y - 100)


def test_lbfgs_does_not_look_at_it():
    X, y, X_val, y_val = halves("regression")
    model = estimator("regression", solver="lbfgs", early_stopping=True).fit(X, y, X_val=X_val, y_val=y_val)
    plain = estimator("regression", solver="lbfgs").fit(X, y)
    np.testing.assert_array_equal(output(model, X), output(plain, X))
    assert not hasattr(model, "validation_scores_")


# ---- scoring --------------------------------------------------------------------------------------------------------


def negative_error(model, X, y):
    return -mean_absolute_error(y, model.predict(X))


SCORINGS = {
    "accuracy": ("multiclass", "accuracy", lambda m, X, y: accuracy_score(y, m.predict(X))),
    "neg_log_loss": ("multiclass", "neg_log_loss", lambda m, X, y: -log_loss(y, m.predict_proba(X))),
    "r2": ("regression", "r2", lambda m, X, y: r2_score(y, m.predict(X))),
    "scorer": ("outputs", make_scorer(mean_absolute_error, greater_is_better=False), negative_error),
    "callable": ("regression", negative_error, negative_error),
    "loss": ("multilabel", "loss", lambda m, X, y: -loss_of(m, X, y)),
}


@pytest.mark.parametrize("own_data", [False, True])
@pytest.mark.parametrize("case", SCORINGS)
def test_scoring_chooses_what_is_watched(case, own_data):
    target, scoring, formula = SCORINGS[case]
    X, y, X_val, y_val = halves(target)
    seen = []

    def spy(model, X, y):
        seen.append((copy.deepcopy(model), X, y))
        return formula(model, X, y)

    data = {"X_val": X_val, "y_val": y_val} if own_data else {}
    parameters = {"early_stopping": True, "max_iter": 8}
    watched = estimator(target, scoring=spy, **parameters).fit(X, y, **data)
    model = estimator(target, scoring=scoring, **parameters).fit(X, y, **data)
    np.testing.assert_allclose(model.validation_scores_, watched.validation_scores_, rtol=1e-9)
    np.testing.assert_array_equal(output(model, X), output(watched, X))
    assert len(seen) == 8
    assert len({m.loss_ for m, _, _ in seen}) == 8
    best = seen[int(np.argmax(watched.validation_scores_))]
    np.testing.assert_array_equal(output(best[0], X), output(model, X))
    if own_data:
        np.testing.assert_array_equal(best[1], X_val)
        np.testing.assert_array_equal(best[2], y_val)
    else:
        assert len(best[1]) == 8  # a tenth of 75 rows
        assert best[2].dtype == y.dtype
        assert {tuple(np.ravel(row)) for row in best[2]} <= {tuple(np.ravel(row)) for row in y}


def test_default_scoring_is_accuracy_or_r2_to_the_bit():
    for target, scoring in (("binary", "accuracy"), ("multilabel", "accuracy"), ("multiclass", "accuracy")):
        X, y, _, _ = halves(target)
        one, other = (estimator(target, early_stopping=True, scoring=s).fit(X, y) for s in (None, scoring))
        assert one.validation_scores_ == other.validation_scores_
        np.testing.assert_array_equal(output(one, X), output(other, X))


def test_a_scorer_gets_the_weights_of_the_rows():
    X, y, X_val, y_val = halves("regression")
    weights = weights_for(X_val)
    models = [
        estimator("regression", early_stopping=True, scoring=scoring).fit(
            X, y, X_val=X_val, y_val=y_val, sample_weight_val=weights
        )
        for scoring in (None, "r2")
    ]
    np.testing.assert_allclose(models[0].validation_scores_, models[1].validation_scores_, rtol=1e-12)


def test_names_of_columns_do_not_make_a_scorer_warn():
    pd = pytest.importorskip("pandas")
    X, y, X_val, y_val = halves("regression")
    names = [f"column {i}" for i in range(X.shape[1])]
    X, X_val = pd.DataFrame(X, columns=names), pd.DataFrame(X_val, columns=names)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", sklearn.exceptions.ConvergenceWarning)
        model = estimator("regression", early_stopping=True, scoring="r2").fit(X, y, X_val=X_val, y_val=y_val)
        model.fit(X, y)
    assert model.feature_names_in_.tolist() == names
    with pytest.raises(ValueError, match="feature names"):
        model.fit(X, y, X_val=X_val.rename(columns={"column 0": "other"}), y_val=y_val)


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")  # in scikit-learn's metrics
def test_diverging_outputs_score_nan():
    X, y, X_val, y_val = halves("regression")
    for scoring in (None, "r2", "loss", negative_error):
        model = estimator(
            "regression", solver="sgd", learning_rate_init=1e100, early_stopping=True, scoring=scoring, max_iter=30
        )
        model.fit(X, y, X_val=X_val, y_val=y_val)  # the best weights, kept, are finite
        assert np.isnan(model.validation_scores_[-1])


def test_verbose_prints_the_score(capsys):
    X, y, X_val, y_val = halves("regression")
    model = estimator("regression", verbose=True, scoring="loss").fit(X, y, X_val=X_val, y_val=y_val)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1::2] == [f"Validation score: {-loss:f}" for loss in model.validation_loss_curve_]


# ---- meta-estimators ------------------------------------------------------------------------------------------------


def test_in_a_pipeline_the_validation_data_is_transformed_too():
    X, y = load_breast_cancer(return_X_y=True)
    X, X_val, y, y_val = train_test_split(X, y, random_state=0)
    scaler = StandardScaler().fit(X)
    parameters = {"early_stopping": True, "random_state": 0, "max_iter": 20}
    by_hand = MLPClassifier(**parameters).fit(scaler.transform(X), y, X_val=scaler.transform(X_val), y_val=y_val)
    with sklearn.config_context(enable_metadata_routing=True):
        model = MLPClassifier(**parameters).set_fit_request(X_val=True, y_val=True)
        pipeline = make_pipeline(StandardScaler(), model, transform_input=["X_val"])
        pipeline.fit(X, y, X_val=X_val, y_val=y_val)
        assert pipeline[-1].validation_scores_ == by_hand.validation_scores_
        np.testing.assert_array_equal(pipeline.predict_proba(X_val), by_hand.predict_proba(scaler.transform(X_val)))

        search = GridSearchCV(pipeline, {"mlpclassifier__alpha": [0.1, 1.0]}, cv=2)
        search.fit(X, y, X_val=X_val, y_val=y_val)
        assert len(search.best_estimator_[-1].validation_loss_curve_) > 1


def test_weights_are_routed_too():
    X, y, X_val, y_val = halves("multiclass")
    weights = weights_for(X_val)
    by_hand = estimator("multiclass").fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weights)
    with sklearn.config_context(enable_metadata_routing=True):
        request = {"X_val": True, "y_val": True, "sample_weight_val": True}
        model = make_pipeline(estimator("multiclass").set_fit_request(**request))
        model.fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weights)
    assert model[-1].validation_scores_ == by_hand.validation_scores_
