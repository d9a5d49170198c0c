"""NaN, infinity, huge and subnormal numbers in the data and in the weights."""

import numpy as np
import pytest
import sklearn.neural_network

import nnfast
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
