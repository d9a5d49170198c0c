"""What the losses promise, and what the estimators make of them: targets, validation, real data.

The gradients of every loss, and whole epochs against reference.py, are in test_network.py.
"""

import numpy as np
import pytest
import scipy.sparse
from mpmath import mp
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_wine
from sklearn.linear_model import GammaRegressor, TweedieRegressor
from sklearn.metrics import d2_pinball_score, mean_gamma_deviance, mean_pinball_loss, mean_tweedie_deviance
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import reference
from estimators import problem
from nnfast import MLP, MLPClassifier, MLPRegressor
from nnfast._validation import mean_loss

REGRESSION = {
    "absolute_error": {},
    "huber": {"huber_delta": 0.5},
    "log_cosh": {},
    "gamma": {},
    "tweedie": {"tweedie_power": 1.3},
    "quantile": {"quantile": [0.1, 0.5, 0.8]},
}
LEVELS = [0.1, 0.5, 0.9]


def regressor(loss, **parameters):
    return MLPRegressor(loss, **{"hidden_layer_sizes": (8,), "max_iter": 4, "random_state": 0} | parameters)


def classifier(**parameters):
    return MLPClassifier(**{"hidden_layer_sizes": (8,), "max_iter": 4, "random_state": 0} | parameters)


def weights_of(model):
    return [a.tobytes() for a in model.coefs_ + model.intercepts_]


def targets(n_targets=1):
    _, X, y = problem("regression")
    return X, y if n_targets == 1 else np.column_stack([y, y[::-1]])


# ---- the engine ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_log_cosh_loses_nothing_near_zero_nor_far_away(dtype):
    """Against 80 digits: log, tanh and exp err by 2.2 ULP at most, and -log(1 - t^2) / 2 by 1.6 times 2 errors of t."""
    d = np.concatenate([np.geomspace(1e-15, 700, 400), [0.999999, 1.0, 1.000001]]).astype(dtype)
    network = MLP((1, 1), loss="log_cosh", dtype=dtype, start=([np.ones((1, 1))], [np.zeros(1)]))
    mp.dps = 80  # of 1 + d^2 / 2 half are lost
    for x in d:
        exact = float(mp.log(mp.cosh(mp.mpf(float(x)))))
        assert network.loss([[x]], [0]) == pytest.approx(exact, rel=10 * float(np.finfo(dtype).eps), abs=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_focal_loss_with_gamma_0_is_the_log_loss_to_the_bit(dtype):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 5)).astype(dtype)
    for loss, focal, Y in [
        ("log_loss", "focal", np.eye(3)[rng.integers(0, 3, 60)]),
        ("log_loss", "focal", np.eye(20)[rng.integers(0, 20, 60)]),
        ("binary_log_loss", "binary_focal", rng.integers(0, 2, (60, 3))),
        ("binary_log_loss", "binary_focal", rng.integers(0, 2, (60, 1))),
    ]:
        found = []
        for name in (loss, focal):
            network = MLP((5, 7, Y.shape[1]), loss=name, focal_gamma=0, dtype=dtype, random_state=0)
            for _ in range(3):
                network.train_epoch(X, Y, 16)
            found.append(weights_of(network))
        assert found[0] == found[1]


def test_huber_loss_far_from_its_corner_is_the_squared_error_to_the_bit():
    X, y = targets()
    huber = regressor("huber", huber_delta=1e6).fit(X, y)
    assert weights_of(huber) == weights_of(regressor("squared_error").fit(X, y))
    assert huber.loss_curve_ == regressor("squared_error").fit(X, y).loss_curve_


def test_the_powers_of_the_tweedie_loss_between_which_it_lies():
    X, y = targets()
    for power, loss in {0: "squared_error", 1: "poisson", 2: "gamma"}.items():
        model = regressor("tweedie", tweedie_power=power).fit(X, y)
        other = regressor(loss).fit(X, y)
        assert weights_of(model) == weights_of(other) and model.loss_curve_ == other.loss_curve_
        assert model.out_activation_ == other.out_activation_


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_levels_never_fall_whatever_the_layer_before_says(dtype):
    """Also where log(1 + exp(z)) is 0 or lost in the sum; and a row does not depend on its batch."""
    rng = np.random.default_rng(1)
    for n_targets, n_levels in [(1, 2), (1, 37), (3, 5)]:
        n = n_targets * n_levels
        start = [np.eye(n)], [np.zeros(n)]
        network = MLP((n, n), loss="quantile", quantile=reference.levels(n_levels), dtype=dtype, start=start)
        X = (rng.standard_normal((70, n)) * 10.0 ** rng.integers(-8, 9, (70, n))).astype(dtype)
        outputs = network.forward(X)
        assert (np.diff(outputs.reshape(70, n_targets, n_levels)) >= 0).all()
        expected = [reference.ordered(x) for x in np.split(X.astype(np.float64), n_targets, axis=1)]
        np.testing.assert_allclose(
            outputs, np.concatenate(expected, axis=1), rtol=n * 4 * np.finfo(dtype).eps, atol=1e-6
        )
        for rows in (slice(0, 1), slice(3, 20)):
            assert network.forward(X[rows]).tobytes() == outputs[rows].tobytes()
        with network.training(70) as training:
            assert training.forward(X).tobytes() == outputs.tobytes()


def test_several_targets_with_levels_have_the_gradient_of_each():
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((9, 4)), rng.standard_normal((9, 2))
    options = {"loss": "quantile", "quantile": LEVELS, "dtype": "float64"}
    both = MLP((4, 6), random_state=0, **options)
    (d_coef,), (d_intercept,) = both.gradients(X, np.repeat(y, 3, axis=1))
    for t, columns in enumerate((slice(0, 3), slice(3, 6))):
        one = MLP((4, 3), start=([both.coefs_[0][:, columns]], [both.intercepts_[0][columns]]), **options)
        (coef,), (intercept,) = one.gradients(X, np.repeat(y[:, [t]], 3, axis=1))
        np.testing.assert_allclose(coef, d_coef[:, columns], rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(intercept, d_intercept[columns], rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("loss", reference.LINKS)
def test_losses_do_not_depend_on_the_number_of_threads(loss):
    rng = np.random.default_rng(3)
    sizes = (300, 200, 5)
    X, Y = rng.standard_normal((150, 300)), reference.random_targets(rng, loss, 150, 5)
    found = set()
    for n_jobs in (1, 2, 5):
        options = {"loss": loss, "dtype": "float64", "random_state": 0, "n_jobs": n_jobs}
        network = MLP(sizes, **options, quantile=reference.levels(5))
        losses = [network.train_epoch(X, Y, 100) for _ in range(2)]
        found.add((*weights_of(network), *losses, network.forward(X).tobytes()))
    assert len(found) == 1


def test_bad_parameters_of_losses():
    for parameters, text in [
        ({"huber_delta": 0}, "huber_delta must be above 0"),
        ({"huber_delta": np.nan}, "huber_delta must be above 0"),
        ({"tweedie_power": 0.5}, "tweedie_power must be 0, or from 1 to 2"),
        ({"tweedie_power": 3}, "tweedie_power must be 0, or from 1 to 2"),
        ({"focal_gamma": -1}, "focal_gamma must be 0 or above"),
        *(({"quantile": q}, "ascending") for q in (0, 1, [], [0.5, 0.5], [0.9, 0.1], [0.1, np.nan])),
        ({"loss": "quantile", "quantile": [0.1, 0.2, 0.3]}, "3 levels do not divide 4 outputs"),
        ({"loss": "huber", "output_groups": (2, 2)}, "output_groups go with log_loss and focal"),
    ]:
        with pytest.raises(ValueError, match=text):
            MLP((3, 4), **parameters)
    X, y = targets()
    for parameters in (
        *({"huber_delta": v} for v in (0, -1, "a", None)),
        *({"tweedie_power": v} for v in (-1, 0.5, 2.5, None)),
        *({"quantile": v} for v in (0.0, 1.0, -1, "a", None)),
        {"loss": "hinge"},
    ):
        with pytest.raises(ValueError, match=f"The '{next(iter(parameters))}' parameter of MLPRegressor must be"):
            MLPRegressor(**parameters).fit(X, y)
    with pytest.raises(ValueError, match="ascending"):
        MLPRegressor("quantile", quantile=[0.5, 0.1]).fit(X, y)
    for parameters in ({"focal_gamma": -1}, {"label_smoothing": 1.5}, {"label_smoothing": -0.1}, {"loss": "hinge"}):
        with pytest.raises(ValueError, match=f"The '{next(iter(parameters))}' parameter of MLPClassifier must be"):
            MLPClassifier(**parameters).fit(X, y > 1)


def test_bad_targets():
    X, y = targets()
    for loss in ("gamma", "tweedie"):
        with pytest.raises(ValueError, match=f"Some values of y are negative; loss='{loss}'"):
            regressor(loss).fit(X, y - 100)
        with pytest.raises(ValueError, match=f"Some values of y_val are negative; loss='{loss}'"):
            regressor(loss).fit(X, y, X_val=X, y_val=-y)
    y[3] = 0
    assert np.isfinite(regressor("tweedie").fit(X, y).loss_)
    for parameters in ({"loss": "gamma"}, {"loss": "tweedie", "tweedie_power": 2}):
        with pytest.raises(ValueError, match="Some values of y are 0"):
            regressor(**parameters).fit(X, y)


# ---- the estimators --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", REGRESSION)
@pytest.mark.parametrize("n_targets", [1, 2])
def test_every_way_to_train_with_every_loss(loss, n_targets):
    X, y = targets(n_targets)
    weights = np.random.RandomState(0).gamma(1.0, size=len(y))
    parameters = REGRESSION[loss]
    model = regressor(loss, **parameters).fit(X, y, weights, X_val=X, y_val=y, sample_weight_val=weights)
    # The validation loss is the loss of the network as it is; that the engine computes by itself.
    network = model._new_network([X.shape[1], 8, model.n_outputs_], X.dtype, start=(model.coefs_, model.intercepts_))
    network.alpha = 0
    Y = np.repeat(y.reshape(len(y), -1), model.n_outputs_ // n_targets, axis=1)
    assert model.validation_loss_curve_[-1] == pytest.approx(network.loss(X, Y, weights), rel=1e-12)
    assert model.validation_scores_[-1] == pytest.approx(model.score(X, y, weights), rel=1e-12)

    sparse = regressor(loss, **parameters).fit(scipy.sparse.csr_array(X), y, weights)
    for a, b in zip(sparse.coefs_, model.coefs_, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)
    np.testing.assert_allclose(sparse.predict(scipy.sparse.csr_array(X)), model.predict(X), rtol=1e-10)
    single = regressor(loss, **parameters).fit(X.astype(np.float32), y, weights)
    assert single.predict(X.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(single.predict(X.astype(np.float32)), model.predict(X), rtol=1e-3, atol=1e-3)
    part = regressor(loss, **parameters)
    for _ in range(3):
        part.partial_fit(X, y)
    assert part.loss_curve_[2] < part.loss_curve_[0] and part.predict(X).shape == model.predict(X).shape
    stopped = regressor(loss, **parameters, early_stopping=True).fit(X, y)
    assert len(stopped.validation_scores_) == 4 and np.isfinite(stopped.validation_scores_).all()
    first = regressor(loss, **parameters, solver="lbfgs", max_iter=1).fit(X, y)
    last = regressor(loss, **parameters, solver="lbfgs", max_iter=30).fit(X, y)
    assert last.loss_ < first.loss_


@pytest.mark.parametrize("target", ["binary", "multiclass", "multilabel"])
def test_every_way_to_train_with_the_focal_loss(target):
    _, X, y = problem(target)
    model = classifier(loss="focal", focal_gamma=1.5).fit(X, y, X_val=X, y_val=y)
    network = model._new_network([X.shape[1], 8, model.n_outputs_], X.dtype, start=(model.coefs_, model.intercepts_))
    network.alpha = 0
    Y = model._encode(y).reshape(len(y), -1)
    assert model.validation_loss_curve_[-1] == pytest.approx(network.loss(X, Y), rel=1e-12)
    assert mean_loss(network, network.forward(X), Y, None) == pytest.approx(network.loss(X, Y), rel=1e-12)
    first = classifier(loss="focal", solver="lbfgs", max_iter=1).fit(X, y)
    last = classifier(loss="focal", solver="lbfgs", max_iter=100, tol=1e-8).fit(X, y)
    assert last.loss_ < 0.1 * first.loss_ and last.score(X, y) > 0.95


@pytest.mark.parametrize("target", ["binary", "multiclass", "multilabel", "columns"])
def test_label_smoothing_is_a_change_of_the_targets(target):
    _, X, y = problem("multiclass" if target == "columns" else target)
    if target == "columns":
        y = np.column_stack([y, np.arange(len(y)) % 4])
    model = classifier(label_smoothing=0.2, shuffle=False, alpha=0).fit(X, y)
    Y = model._encode(y).reshape(len(y), -1).astype(float)
    n_classes = {"multiclass": 3, "columns": np.array([3] * 3 + [4] * 4)}.get(target, 2)
    network = MLP(
        (X.shape[1], 8, Y.shape[1]),
        loss="binary_log_loss" if target in ("binary", "multilabel") else "log_loss",
        output_groups=(3, 4) if target == "columns" else (),
        dtype="float64",
        random_state=0,
    )
    smooth = 0.8 * Y + 0.2 / n_classes
    losses = [network.train_epoch(X, smooth, len(X)) for _ in range(4)]
    assert weights_of(network) == weights_of(model)
    assert model.loss_curve_ == losses
    plain = classifier(shuffle=False, alpha=0).fit(X, y)
    assert weights_of(plain) == weights_of(classifier(shuffle=False, alpha=0, label_smoothing=0.0).fit(X, y))
    assert weights_of(plain) != weights_of(model)


def test_label_smoothing_keeps_probabilities_from_the_ends():
    """With enough training p is the target: 1 - s + s / 3 of the class that the row has."""
    X, y = np.eye(3).repeat(4, axis=0), np.arange(3).repeat(4)
    options = {"hidden_layer_sizes": (), "alpha": 0, "solver": "lbfgs", "max_iter": 500, "tol": 1e-9}
    p = classifier(label_smoothing=0.3, **options).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(p, 0.7 * np.eye(3)[y] + 0.1, atol=1e-5)  # L-BFGS stops where the loss changes by 2e-9


@pytest.mark.parametrize(("loss", "model"), [("gamma", GammaRegressor), ("tweedie", TweedieRegressor)])
def test_deviances_without_hidden_layers_are_the_linear_models_of_scikit_learn(loss, model):
    """The same minimum, found by L-BFGS on both sides until no slope is above 1e-7."""
    X, y = targets()
    options = {"power": 1.5, "link": "log"} if loss == "tweedie" else {}
    theirs = model(alpha=0, tol=1e-7, max_iter=5000, **options).fit(X, y)
    ours = regressor(loss, hidden_layer_sizes=(), alpha=0, solver="lbfgs", tol=1e-7, max_iter=5000, max_fun=50000)
    ours.fit(X, y)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-4)
    power = 2 if loss == "gamma" else 1.5
    deviance = mean_gamma_deviance if loss == "gamma" else mean_tweedie_deviance
    arguments = {} if loss == "gamma" else {"power": power}
    assert ours.loss_ == pytest.approx(deviance(y, ours.predict(X), **arguments) / 2, rel=1e-12)


# ---- real data -------------------------------------------------------------------------------------------------------


def test_huber_beats_the_squared_error_where_there_are_outliers():
    """Every tenth y of half the rows of diabetes is ten times too large; the other half is as it is."""
    X, y = load_diabetes(return_X_y=True)
    X, y = StandardScaler().fit_transform(X), y / y.std()
    spoilt = y[::2].copy()
    spoilt[::10] *= 10
    errors = {}
    for loss in ("squared_error", "huber", "log_cosh", "absolute_error"):
        model = regressor(loss, solver="lbfgs", max_iter=300, alpha=1.0).fit(X[::2], spoilt)
        errors[loss] = np.abs(model.predict(X[1::2]) - y[1::2]).mean()
    for loss in ("huber", "log_cosh", "absolute_error"):
        assert errors[loss] < 0.8 * errors["squared_error"], errors


def test_quantile_levels_cover_what_they_claim_and_never_cross():
    """Share of the held-out rows below each level, within four standard errors sqrt(q (1 - q) / n) of q."""
    X, y = load_diabetes(return_X_y=True)
    y = y / y.std()
    model = regressor("quantile", quantile=LEVELS, alpha=10.0, max_iter=60, learning_rate_init=0.01, batch_size=50)
    folds = KFold(5, shuffle=True, random_state=0)
    predicted = cross_val_predict(make_pipeline(StandardScaler(), model), X, y, cv=folds)
    assert predicted.shape == (442, 3)
    assert (np.diff(predicted) >= 0).all()
    for k, level in enumerate(LEVELS):
        below = np.mean(y <= predicted[:, k])
        assert abs(below - level) <= 4 * np.sqrt(level * (1 - level) / len(y)), (level, below)
        constant = mean_pinball_loss(y, np.full(len(y), np.quantile(y, level)), alpha=level)
        assert mean_pinball_loss(y, predicted[:, k], alpha=level) < constant


def test_shapes_and_score_of_quantiles():
    X, y = targets()
    _, both = targets(2)
    one = regressor("quantile", quantile=0.7).fit(X, y)
    assert one.predict(X).shape == (150,) and one.out_activation_ == "ordered"
    assert one.score(X, y) == pytest.approx(d2_pinball_score(y, one.predict(X), alpha=0.7), rel=1e-12)
    assert regressor("quantile", quantile=[0.7]).fit(X, y).predict(X).shape == (150, 1)
    assert regressor("quantile", quantile=0.7).fit(X, both).predict(X).shape == (150, 2)
    several = clone(one).set_params(quantile=np.array(LEVELS)).fit(X, both)
    predicted = several.predict(X)
    assert predicted.shape == (150, 2, 3) and (np.diff(predicted) >= 0).all()
    scores = [d2_pinball_score(both, predicted[:, :, k], alpha=q) for k, q in enumerate(LEVELS)]
    assert several.score(X, both) == pytest.approx(np.mean(scores), rel=1e-12)
    assert predicted[:1].tobytes() == several.predict(X[:1]).tobytes()


def test_scorers_see_y_as_it_was_given():
    X, y = targets()
    seen = []

    def scorer(model, X, y):
        seen.append((model.predict(X).shape, y.shape))
        return 0.0

    regressor("quantile", quantile=LEVELS, scoring=scorer, max_iter=1).fit(X, y, X_val=X[:9], y_val=y[:9])
    assert seen == [((9, 3), (9,))]


def test_focal_loss_turns_to_the_rows_that_are_hard():
    """Of wine, with few steps: the larger gamma, the less sure the network is of the rows it tells well."""
    X, y = load_wine(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    sure = []
    for gamma in (0, 2, 5):
        model = classifier(loss="focal", focal_gamma=gamma, max_iter=200, learning_rate_init=0.01, tol=0).fit(X, y)
        assert model.score(X, y) == 1.0
        sure.append(model.predict_proba(X).max(axis=1).mean())
    assert sure[0] > sure[1] > sure[2]


# ---- one epoch from the books ----------------------------------------------------------------------------------------

# What is asked of the estimators, and of y the loss that it is by output.
BY_NUMPY = {
    "squared_error": (regressor, {"loss": "squared_error"}, "amounts", "squared_error"),
    "poisson": (regressor, {"loss": "poisson"}, "amounts", "poisson"),
    "absolute_error": (regressor, {"loss": "absolute_error"}, "amounts", "absolute_error"),
    "huber": (regressor, {"loss": "huber", "huber_delta": 0.3}, "amounts", "huber"),
    "log_cosh": (regressor, {"loss": "log_cosh"}, "amounts", "log_cosh"),
    "gamma": (regressor, {"loss": "gamma"}, "amounts", "gamma"),
    "tweedie": (regressor, {"loss": "tweedie", "tweedie_power": 1.2}, "amounts", "tweedie"),
    "one level": (regressor, {"loss": "quantile", "quantile": reference.levels(1)}, "amounts", "quantile"),
    "levels": (regressor, {"loss": "quantile", "quantile": reference.levels(3)}, "amounts", "quantile"),
    "log_loss": (classifier, {}, "three classes", "log_loss"),
    "log_loss, two": (classifier, {}, "two classes", "binary_log_loss"),
    "focal": (classifier, {"loss": "focal", "focal_gamma": 1.5}, "three classes", "focal"),
    "focal, two": (classifier, {"loss": "focal", "focal_gamma": 1.5}, "two classes", "binary_focal"),
    "smoothed": (classifier, {"label_smoothing": 0.2}, "three classes", "log_loss"),
    "smoothed, two": (classifier, {"label_smoothing": 0.2}, "two classes", "binary_log_loss"),
    "smoothed focal": (classifier, {"loss": "focal", "label_smoothing": 0.2}, "three classes", "focal"),
}


@pytest.mark.parametrize("case", BY_NUMPY)
def test_one_epoch_with_the_same_draws_in_numpy(case):
    """First weights, order, Adam and the loss in NumPy's float64, from the seed alone. 19 batches of products and
    activations, and Adam's division, leave 1e-9 of the largest weight; a wrong term leaves 1e-3 or more."""
    make, parameters, kind, loss = BY_NUMPY[case]
    rng = np.random.default_rng(1)
    X = rng.standard_normal((150, 4))
    if kind == "amounts":
        y = np.exp(0.5 * X[:, 0] + 0.3 * rng.standard_normal(150))
        n_out = np.size(parameters.get("quantile", 0))
        Y = np.repeat(y[:, np.newaxis], n_out, axis=1)
    else:
        n_classes = 3 if kind == "three classes" else 2
        y = rng.integers(0, n_classes, 150)
        n_out = 3 if n_classes == 3 else 1
        smoothing = parameters.get("label_smoothing", 0.0)
        Y = (np.eye(3)[y] if n_out == 3 else y[:, np.newaxis]) * (1 - smoothing) + smoothing / n_classes
    model = make(**parameters, max_iter=1, batch_size=8, alpha=0.3, learning_rate_init=0.01, random_state=5).fit(X, y)

    draws = np.random.RandomState(5)
    coefs, intercepts = [], []
    for n_in, n in ((4, 8), (8, n_out)):
        bound = np.sqrt(6 / (n_in + n))
        coefs.append(draws.uniform(-bound, bound, (n_in, n)))
        intercepts.append(draws.uniform(-bound, bound, n))
    order = np.arange(150)
    draws.shuffle(order)
    names = ("huber_delta", "tweedie_power", "focal_gamma")
    options = {name: getattr(model, name) for name in names if hasattr(model, name)}
    net = reference.Network(coefs, intercepts, loss=loss, solver="adam", alpha=0.3, **options)
    rates = [reference.adam_rate(0.01, t, 0.9, 0.999) for t in range(1, 20)]
    data, penalty = reference.epoch(net, X, Y, 8, rates, order)
    for ours, theirs in zip(model.coefs_ + model.intercepts_, net.coefs + net.intercepts, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9 * np.abs(theirs).max())
    assert model.loss_ == pytest.approx((data + penalty) / 150, rel=1e-10)
