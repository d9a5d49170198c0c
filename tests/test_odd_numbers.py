"""NaN, infinity, huge and subnormal numbers in the data and in the weights."""

import numpy as np
import pytest
import sklearn.neural_network

import nnfast
from estimators import both, outcome, output, problem
from nnfast import MLP


@pytest.mark.parametrize("hidden", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_nan_and_infinity_in_the_weights_are_seen(name, hidden):
    """Where scikit-learn's prediction is NaN or infinite, so is nnfast's, and nowhere else."""
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((50, 6)), np.arange(50) % 3
    X[::3, 2] = 0  # 0 times infinity
    n_seen = 0
    for activation in ("identity", "logistic", "tanh", "relu"):
        models = [
            getattr(package, name)(hidden_layer_sizes=(7, 5), activation=activation, max_iter=2, random_state=0).fit(
                X, y
            )
            for package in (nnfast, sklearn.neural_network)
        ]
        for part, layer, index in [("coefs_", 0, (2, 3)), ("coefs_", 2, (1, 0)), ("intercepts_", 1, (4,))]:
            outputs = []
            for model in models:
                kept = getattr(model, part)[layer][index]
                getattr(model, part)[layer][index] = hidden
                with np.errstate(all="ignore"):
                    outputs.append(getattr(model, "predict_proba", model.predict)(X))
                getattr(model, part)[layer][index] = kept
            np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-9, atol=1e-12)
            n_seen += not np.isfinite(outputs[0]).all()
        np.testing.assert_allclose(models[0].predict(X), models[1].predict(X), rtol=1e-6)
    assert n_seen >= 3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_in_training_spreads_and_stops_nothing(isa, dtype):
    rng = np.random.default_rng(4)
    X, Y = rng.standard_normal((30, 5)), rng.standard_normal((30, 2))
    for place in ("X", "Y", "weights"):
        network = MLP((5, 20, 2), activation="tanh", dtype=dtype, random_state=0)
        x, y = X.copy(), Y.copy()
        {"X": x, "Y": y, "weights": network.coefs_[0]}[place][1, 1] = np.nan
        assert np.isnan(network.loss(x, y)) and np.isnan(network.train_epoch(x, y, 10))
        assert np.isnan(network.coefs_[1]).any() and np.isnan(network.forward(X)).any()


# ---- divergence, and numbers that are very large or very small -------------------------------------------------------

DIVERGING = {
    "large steps": ({"solver": "sgd", "learning_rate_init": 1e200, "activation": "identity"}, 1e100, 1.0),
    "large X": ({"solver": "sgd", "activation": "identity"}, 1e300, 1.0),
    "large y": ({"solver": "sgd", "activation": "identity"}, 1.0, 1e300),
}


@pytest.mark.parametrize("call", ["fit", "partial_fit"])
@pytest.mark.parametrize("case", DIVERGING)
def test_divergence_is_reported_as_by_scikit_learn(case, call):
    parameters, x_scale, y_scale = DIVERGING[case]
    _, X, y = problem("regression")
    outcomes = []
    for model in both("regression", max_iter=20, **parameters):
        for _ in range(20 if call == "partial_fit" else 1):
            found = outcome(lambda m=model: getattr(m, call)(X * x_scale, y * y_scale))
            if found[0] is not None:
                break
        outcomes.append(found)
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0][1].startswith("Solver produced non-finite parameter weights.")


def test_early_stopping_keeps_the_weights_from_before_the_divergence():
    """As in scikit-learn: the best weights are finite, so there is no error, and the scores tell."""
    parameters, scale, _ = DIVERGING["large steps"]
    _, X, y = problem("regression")
    models = both("regression", early_stopping=True, max_iter=20, **parameters)
    assert len({str(outcome(lambda m=model: m.fit(X * scale, y))) for model in models}) == 1
    ours, theirs = models
    np.testing.assert_array_equal(np.isfinite(ours.validation_scores_), np.isfinite(theirs.validation_scores_))
    assert not np.isfinite(ours.validation_scores_[-1])


@pytest.mark.parametrize("scale", [1e-320, 1e-310, 1e-160])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_very_small_data_are_fitted_as_by_scikit_learn(activation, scale):
    _, X, y = problem("regression")
    ours, theirs = (m.fit(X * scale, y) for m in both("regression", activation=activation, solver="sgd"))
    for one, other in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=0)
    np.testing.assert_allclose(output(ours, X * scale), output(theirs, X * scale), rtol=1e-9)
