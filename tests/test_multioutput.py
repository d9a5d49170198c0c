"""Several columns of several classes in y: one softmax a column. scikit-learn's MLPClassifier refuses such y."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.utils.class_weight import compute_sample_weight

from estimators import estimator, outcome, problem
from nnfast import MLPClassifier

SIZES = [3, 2, 4]


def data():
    """X, and y with three columns of 3, 2 and 4 classes that X tells."""
    _, X, y = problem("multiclass")
    return X, np.column_stack([y, X[:, 0] > 0, np.digitize(X[:, 3], [-0.7, 0.0, 0.7]) + 5]).astype(int)


def fitted(**parameters):
    X, y = data()
    parameters = {"max_iter": 300, "learning_rate_init": 0.01} | parameters
    return estimator("multiclass", **parameters).fit(X, y), X, y


def test_answers_have_the_form_of_a_forests():
    model, X, y = fitted()
    forest = RandomForestClassifier(n_estimators=5, random_state=0).fit(X, y)
    assert isinstance(model.classes_, list)
    for ours, theirs in zip(model.classes_, forest.classes_, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert model.predict(X).shape == forest.predict(X).shape == y.shape
    assert model.predict(X).dtype == y.dtype
    for method in ("predict_proba", "predict_log_proba"):
        ours, theirs = getattr(model, method)(X), forest.predict_proba(X)
        assert isinstance(ours, list)
        assert [p.shape for p in ours] == [p.shape for p in theirs] == [(len(X), n) for n in SIZES]
    assert model.n_outputs_ == sum(SIZES)
    assert model.out_activation_ == "softmax"
    assert model.__sklearn_tags__().target_tags.multi_output


def test_it_learns_and_each_column_is_a_distribution():
    model, X, y = fitted(max_iter=90)
    proba = model.predict_proba(X)
    for column, p in enumerate(proba):
        np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-12)
        np.testing.assert_array_equal(model.classes_[column][p.argmax(axis=1)], model.predict(X)[:, column])
        np.testing.assert_allclose(np.exp(model.predict_log_proba(X)[column]), p, rtol=1e-12)
    right = model.predict(X) == y
    assert right.mean() > 0.9
    assert model.score(X, y) == right.all(axis=1).mean() < right.mean()
    weights = np.linspace(0, 1, len(X))
    assert model.score(X, y, weights) == pytest.approx(np.average(right.all(axis=1), weights=weights))


def test_loss_is_the_sum_over_the_columns():
    model, X, y = fitted(max_iter=1, batch_size=150, solver="sgd", learning_rate_init=1e-300, alpha=0.0)
    proba = model.predict_proba(X)
    total = sum(log_loss(y[:, k], proba[k], labels=model.classes_[k]) for k in range(3))
    assert model.loss_ == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_a_column_alone_is_the_multiclass_problem(solver):
    """Without a hidden layer the columns share nothing: each must be fit as if it were alone."""
    X, y = data()
    parameters = {"hidden_layer_sizes": (), "solver": solver, "shuffle": False, "max_iter": 12, "alpha": 0.0}
    together = estimator("multiclass", **parameters, warm_start=True)
    together.coefs_ = [np.zeros((X.shape[1], sum(SIZES)))]
    together.intercepts_ = [np.zeros(sum(SIZES))]
    together.fit(X, y)
    if solver == "lbfgs":  # its steps are of all columns together; both ends are the minimum
        together.set_params(alpha=1.0, max_iter=1000, tol=1e-9).fit(X, y)
        parameters |= {"alpha": 1.0, "max_iter": 1000, "tol": 1e-9}
    for k in (0, 2):
        alone = estimator("multiclass", **parameters, warm_start=True)
        alone.coefs_ = [np.zeros((X.shape[1], SIZES[k]))]
        alone.intercepts_ = [np.zeros(SIZES[k])]
        alone.fit(X, y[:, k])
        # SciPy stops where the loss falls by less than 2e-9 of itself: about sqrt(2e-9) from the minimum, as this is
        # flat there.
        tolerance = 1e-3 if solver == "lbfgs" else 1e-9
        np.testing.assert_allclose(together.predict_proba(X)[k], alone.predict_proba(X), rtol=0, atol=tolerance)


def test_classes_may_be_strings():
    X, y = data()
    names = np.array([["a", "b", "c"][i] for i in range(3)])
    words = np.column_stack([names[y[:, 0]], np.where(y[:, 1], "yes", "no")])
    model = estimator("multiclass", max_iter=300, learning_rate_init=0.01).fit(X, words)
    numbers = estimator("multiclass", max_iter=300, learning_rate_init=0.01).fit(X, y[:, :2])
    assert set(model.predict(X)[:, 1]) == {"yes", "no"}
    for a, b in zip(model.predict_proba(X), numbers.predict_proba(X), strict=True):
        np.testing.assert_array_equal(a, b)
    as_objects = estimator("multiclass", max_iter=300, learning_rate_init=0.01).fit(X, words.astype(object))
    np.testing.assert_array_equal(as_objects.predict(X), model.predict(X))


def test_indicators_are_still_labels():
    _, X, y = problem("multilabel")
    model = estimator("multilabel").fit(X, y)
    assert model.out_activation_ == "logistic"
    assert isinstance(model.predict_proba(X), np.ndarray)


def test_a_column_of_one_class_is_always_predicted():
    X, y = data()
    y[:, 1] = 8
    model = estimator("multiclass").fit(X, y)
    assert set(model.predict(X)[:, 1]) == {8}
    np.testing.assert_array_equal(model.predict_proba(X)[1], np.ones((len(X), 1)))


@pytest.mark.parametrize("sparse", [False, True])
def test_early_stopping_scores_whole_rows(sparse):
    X, y = data()
    rows = scipy.sparse.csr_array(X) if sparse else X
    model = estimator("multiclass", early_stopping=True, max_iter=60).fit(
        rows[::2], y[::2], X_val=rows[1::2], y_val=y[1::2]
    )
    assert model.best_validation_score_ == model.score(rows[1::2], y[1::2])
    inside = estimator("multiclass", early_stopping=True, max_iter=60).fit(rows, y)
    assert len(inside.validation_scores_) == inside.n_iter_
    other = estimator("multiclass", early_stopping=True, max_iter=60, scoring=lambda m, X, y: m.score(X, y))
    assert other.fit(rows, y).validation_scores_ == inside.validation_scores_


@pytest.mark.parametrize("class_weight", ["balanced", [{0: 2.0}, {1: 3.0}, {5: 0.5, 8: 2.0}]])
def test_class_weight(class_weight):
    X, y = data()
    model = estimator("multiclass", class_weight=class_weight).fit(X, y)
    by_hand = estimator("multiclass").fit(X, y, compute_sample_weight(class_weight, y))
    assert model.loss_curve_ == by_hand.loss_curve_


def test_partial_fit_and_warm_start():
    X, y = data()
    classes = [np.unique(column) for column in y.T]
    whole = estimator("multiclass", shuffle=False, max_iter=4).fit(X, y)
    parts = estimator("multiclass", shuffle=False)
    warm = estimator("multiclass", shuffle=False, max_iter=2, warm_start=True, solver="sgd")
    parts.partial_fit(X, y, classes=classes)
    for _ in range(3):
        parts.partial_fit(X, y)
    for a, b in zip(parts.predict_proba(X), whole.predict_proba(X), strict=True):
        np.testing.assert_array_equal(a, b)
    first = y[:, 0] < 2  # a batch without some classes
    parts.partial_fit(X[first], y[first], classes=[c.tolist() for c in classes])
    assert [p.shape[1] for p in parts.predict_proba(X)] == SIZES
    assert len(warm.fit(X, y).fit(X, y).loss_curve_) == 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, X, y: m.partial_fit(X, y), "classes must be passed on the first call to partial_fit"),
        (lambda m, X, y: m.fit(X, y).partial_fit(X, y + 1), "`y` has classes not in `self.classes_`"),
        (lambda m, X, y: m.fit(X, y).partial_fit(X, y[:, :2]), "`y` must have 3 columns"),
        (lambda m, X, y: m.fit(X, y).partial_fit(X, y[:, 0]), "`y` must have 3 columns"),
        (lambda m, X, y: m.fit(X, y).partial_fit(X, y, classes=[[0], [1], [2]]), "is not the same as in the first fit"),
        (lambda m, X, y: m.fit(X, y).partial_fit(X, y, classes=[0, 1, 2]), "is not the same as in the first fit"),
        (lambda m, X, y: m.set_params(warm_start=True).fit(X, y).fit(X, y[:, ::-1]), "warm_start can only be used"),
        (lambda m, X, y: m.fit(X, y, X_val=X, y_val=y[:, :2]), "`y_val` must have 3 columns"),
        (lambda m, X, y: m.fit(X, y, X_val=X, y_val=y + 1), "`y_val` has classes not in"),
        (lambda m, X, y: m.fit(X, y).score(X, y[:, :2]), "y must have shape"),
    ],
)
def test_mistakes(call, message):
    X, y = data()
    (kind, text), _ = outcome(lambda: call(estimator("multiclass"), X, y))
    assert kind == "ValueError"
    assert message in text


def test_pickles_and_searches():
    model, X, y = fitted(max_iter=5)
    other = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(other.predict(X), model.predict(X))
    search = GridSearchCV(MLPClassifier((8,), random_state=0, max_iter=5), {"alpha": [0.1, 1.0]}, cv=2).fit(X, y)
    assert 0 <= search.best_score_ <= 1
