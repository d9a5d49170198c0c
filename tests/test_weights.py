"""sample_weight and class_weight of the MLP estimators.

That weighted fits are scikit-learn's is tested in test_parity.py; class_weight, which scikit-learn does not have, is
tested here against sample_weight.
"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight

from estimators import both, estimator, fitted, outcome, output, parity, problem


def assert_same_fit(one, other, X):
    assert one.loss_curve_ == other.loss_curve_
    for a, b in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        np.testing.assert_array_equal(a, b)


def weights_of(target, rng=None):
    return (rng or np.random.RandomState(0)).gamma(1.0, size=len(problem(target)[1]))


# ---- sample_weight --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["binary", "multilabel", "outputs"])
def test_loss_is_the_weighted_mean(target):
    _, X, y = problem(target)
    weights = weights_of(target)
    model = estimator(target, max_iter=1, batch_size=len(X), alpha=0.0, solver="sgd", learning_rate_init=1e-300)
    model.fit(X, y, weights)  # a rate so small that the weights stay what they were when the loss was taken
    if target == "binary":
        loss = log_loss(y, model.predict_proba(X)[:, ::-1][:, ::-1], sample_weight=weights)
    elif target == "multilabel":
        p = model.predict_proba(X)
        loss = np.average(-(y * np.log(p) + (1 - y) * np.log(1 - p)).sum(axis=1), weights=weights)
    else:
        loss = np.average(((y - model.predict(X)) ** 2 / 2).mean(axis=1), weights=weights)
    assert model.loss_ == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_equal_weights_are_no_weights(early_stopping):
    _, X, y = problem("multiclass")
    plain = estimator("multiclass", early_stopping=early_stopping).fit(X, y)
    for weight in (np.ones(len(X)), np.ones(len(X), np.float32), np.ones(len(X), int).tolist(), 1, 1.0):
        other = estimator("multiclass", early_stopping=early_stopping).fit(X, y, weight)
        np.testing.assert_allclose(output(other, X), output(plain, X), rtol=1e-12)
        np.testing.assert_allclose(other.loss_curve_, plain.loss_curve_, rtol=1e-12)


@pytest.mark.parametrize("target", ["binary", "regression"])
def test_a_row_of_weight_zero_is_as_if_not_there(target):
    _, X, y = problem(target)
    there = np.arange(len(X)) % 3 != 0
    weights = there * 2.5
    whole = {"batch_size": len(X), "shuffle": False, "alpha": 0.0, "solver": "sgd"}
    one = estimator(target, **whole).fit(X, y, weights)
    other = estimator(target, **(whole | {"batch_size": int(there.sum())})).fit(X[there], y[there])
    np.testing.assert_allclose(output(one, X), output(other, X), rtol=1e-12)


@parity
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_a_batch_of_weight_zero_is_passed_over(solver):
    """scikit-learn divides by zero here."""
    _, X, y = problem("regression")
    weights = np.ones(len(X))
    weights[20:40] = 0.0
    parameters = {"solver": solver, "batch_size": 20, "shuffle": False, "max_iter": 3, "alpha": 0.1}
    model = estimator("regression", **parameters).fit(X, y, weights)
    kept = weights > 0
    other = estimator("regression", **parameters).fit(X[kept], y[kept])
    np.testing.assert_array_equal(model.coefs_[0], other.coefs_[0])
    assert model.t_ == 3 * len(X)
    theirs = both("regression", **parameters)[1]
    with pytest.raises(ZeroDivisionError):
        theirs.fit(X, y, weights)


MISTAKES = {
    "too few": np.ones(3),
    "too many": np.ones(1000),
    "two dimensions": np.ones((150, 1)),
    "nan": np.r_[np.nan, np.ones(149)],
    "inf": np.r_[np.inf, np.ones(149)],
    "all zero": np.zeros(150),
    "strings": np.array(["a"] * 150),
}


@parity
@pytest.mark.parametrize("case", MISTAKES)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("target", ["multiclass", "regression"])
def test_bad_weights_give_scikit_learns_error(target, method, case):
    _, X, y = problem(target)
    assert len(X) == 150
    classes = {"classes": [0, 1, 2]} if (target, method) == ("multiclass", "partial_fit") else {}
    ours, theirs = (
        outcome(lambda m=m: getattr(m, method)(X, y, sample_weight=MISTAKES[case], **classes)) for m in both(target)
    )
    assert ours == theirs
    assert ours[0][0] == "ValueError"


def test_validation_rows_must_weigh_something():
    _, X, y = problem("regression")
    weights = np.zeros(len(X))
    weights[np.random.RandomState(0).permutation(len(X))[:4]] = 1.0
    with pytest.raises(ValueError, match="weights of the validation set are all zero"):
        estimator("regression", early_stopping=True, validation_fraction=2).set_params(
            validation_fraction=2 / len(X)
        ).fit(X, y, weights)


# ---- class_weight ---------------------------------------------------------------------------------------------------

CLASS_WEIGHTS = {
    "binary": [{"benign": 3.0, "malignant": 0.5}, {"malignant": 7}, "balanced", {}],
    "multiclass": [{0: 1.0, 1: 5.0, 2: 0.0}, {1: 0.25}, "balanced"],
    "multilabel": [[{0: 1, 1: 3}, {0: 2, 1: 1}, {0: 1, 1: 1}], "balanced"],
}


@pytest.mark.parametrize("with_samples", [False, True])
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize(
    ("target", "class_weight"), [(t, w) for t, weights in CLASS_WEIGHTS.items() for w in weights], ids=str
)
def test_class_weight_multiplies_the_weights_of_the_rows(target, class_weight, early_stopping, with_samples):
    _, X, y = problem(target)
    weights = weights_of(target) if with_samples else np.ones(len(X))
    model = estimator(target, class_weight=class_weight, early_stopping=early_stopping)
    model.fit(X, y, weights if with_samples else None)
    by_hand = estimator(target, early_stopping=early_stopping)
    by_hand.fit(X, y, weights * compute_sample_weight(class_weight, y))
    assert_same_fit(model, by_hand, X)
    if class_weight != {}:
        assert model.loss_curve_ != estimator(target, early_stopping=early_stopping).fit(X, y, weights).loss_curve_


def test_class_weight_shifts_the_decision():
    rng = np.random.RandomState(0)
    y = np.repeat([0, 1, 2], [80, 15, 5])
    X = rng.normal(size=(100, 2)) + 0.7 * y[:, None]
    shares = []
    for class_weight in (None, "balanced", {2: 1000.0}):
        model = estimator("multiclass", class_weight=class_weight, max_iter=300, learning_rate_init=0.01).fit(X, y)
        shares.append((model.predict(X) == 2).mean())
    assert shares[0] < shares[1] < shares[2]


def test_partial_fit_takes_a_dict():
    _, X, y = problem("multiclass")
    class_weight = {0: 4.0, 2: 0.5}
    model = estimator("multiclass", class_weight=class_weight)
    by_hand = estimator("multiclass")
    for rows in (y < 2, y > 0, y == 1):  # batches without some class, one of them that with a weight
        model.partial_fit(X[rows], y[rows], classes=[0, 1, 2])
        weights = np.array([4.0, 1.0, 0.5])[y[rows]]
        by_hand.partial_fit(X[rows], y[rows], weights, classes=[0, 1, 2])
    assert_same_fit(model, by_hand, X)


def test_partial_fit_does_not_take_balanced():
    _, X, y = problem("multiclass")
    model = estimator("multiclass", class_weight="balanced")
    with pytest.raises(ValueError, match="class_weight='balanced' is not supported by partial_fit"):
        model.partial_fit(X, y, classes=[0, 1, 2])
    weights = compute_class_weight("balanced", classes=np.arange(3), y=y)
    model.set_params(class_weight=dict(enumerate(weights))).partial_fit(X, y, classes=[0, 1, 2])
    assert model.t_ == len(X)


@pytest.mark.parametrize(
    ("target", "class_weight", "message"),
    [
        ("multiclass", {5: 1.0}, r"The classes, \[0, 1, 2\], are not in class_weight"),
        ("multiclass", {0: 0, 1: 0, 2: 0}, "must contain at least one non-zero number"),
        ("multilabel", {0: 1, 1: 2}, "For multi-output, class_weight should be a list of dicts"),
        ("multilabel", [{0: 1, 1: 2}], "number of elements in class_weight should match number of outputs"),
    ],
)
def test_bad_class_weights(target, class_weight, message):
    _, X, y = problem(target)
    with pytest.raises(ValueError, match=message):
        estimator(target, class_weight=class_weight).fit(X, y)


def test_score_is_weighted():
    model, X, y = fitted("multiclass")
    weights = weights_of("multiclass")
    assert model.score(X, y, weights) == accuracy_score(y, model.predict(X), sample_weight=weights)
    assert model.score(X, y, weights) != model.score(X, y)
