"""Every two settings of the MLPs together: each pair of values of two parameters occurs in some fit."""

import warnings
from itertools import combinations, product

import numpy as np
import pytest
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning

from nnfast import MLPClassifier, MLPRegressor
from nnfast._network import HIDDEN_ACTIVATIONS

SHARED = {
    "activation": [*HIDDEN_ACTIVATIONS, ("elu", 0.5), ["gelu", "tanh"]],
    "solver": ["adam", "sgd", "adamw"],
    "dropout": [0.0, [0.0, 0.4]],
    "learning_rate": ["constant", "cosine", "one_cycle", "exponential"],
    "init": ["glorot", "orthogonal"],
    "averaging": [None, "ema"],
    "weight_decay": [None, 0.1],
    "early_stopping": [False, True],
    "precision": ["auto", "float32"],
    "weighted": [False, True],
    "sparse": [False, True],
    "float32": [False, True],
    "warm_start": [False, True],
}
ONLY = {
    MLPRegressor: {
        "loss": ["squared_error", "absolute_error", "huber", "log_cosh", "poisson", "gamma", "tweedie", "quantile"],
        "quantile": [0.5, [0.1, 0.5, 0.9]],
    },
    MLPClassifier: {
        "loss": ["log_loss", "focal"],
        "label_smoothing": [0.0, 0.1],
        "class_weight": [None, "balanced"],
        "n_classes": [2, 3],
    },
}


def pairwise(values, rng):
    """Rows that together hold every pair of values of two columns; each the best of 50 random ones with a new pair."""
    names = list(values)
    left = {
        ((a, i), (b, j))
        for a, b in combinations(range(len(names)), 2)
        for i, j in product(range(len(values[names[a]])), range(len(values[names[b]])))
    }
    while left:
        seed = dict(next(iter(sorted(left))))
        trials = [[rng.integers(len(values[name])) for name in names] for _ in range(50)]
        rows = [[seed.get(a, row[a]) for a in range(len(names))] for row in trials]
        best = max(rows, key=lambda row: sum(pair in left for pair in combinations(enumerate(row), 2)))
        left -= set(combinations(enumerate(best), 2))
        yield {name: values[name][i] for name, i in zip(names, best, strict=True)}


@pytest.mark.parametrize("cls", list(ONLY))
def test_every_pair_of_settings_trains_alike_on_one_thread_and_two(cls):
    """Finite weights and outputs, the same bits for 1 and 2 threads, dense and sparse alike; partial_fit goes on."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((90, 5)) * (rng.random((90, 5)) < 0.6)
    cases = 0
    for case in pairwise({**SHARED, **ONLY[cls]}, rng):
        n_classes = case.pop("n_classes", None)
        weighted, sparse, single = case.pop("weighted"), case.pop("sparse"), case.pop("float32")
        y = rng.integers(0, n_classes, 90) if n_classes else np.exp(X[:, 0] + 0.3 * rng.standard_normal(90))
        rows = X.astype(np.float32) if single else X
        weights = rng.random(90) + 0.1 if weighted else None
        settings = {"hidden_layer_sizes": (9, 6), "max_iter": 4, "batch_size": 32, "random_state": 0, **case}
        fitted = []
        for n_jobs, data in ((1, rows), (2, scipy.sparse.csr_array(rows) if sparse else rows)):
            model = cls(n_jobs=n_jobs, **settings)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(data, y, sample_weight=weights)
            fitted.append(model)
        for a, b in zip(*(model.coefs_ + model.intercepts_ for model in fitted), strict=True):
            assert np.isfinite(a).all(), case
            np.testing.assert_array_equal(a, b, err_msg=str(case))
        assert fitted[0].coefs_[0].dtype == (np.float32 if single or case["precision"] == "float32" else np.float64)
        predict = fitted[0].predict_proba if n_classes else fitted[0].predict
        outputs = predict(rows)
        assert np.isfinite(outputs).all(), case
        np.testing.assert_array_equal(predict(rows[3:4])[0], outputs[3], err_msg=str(case))
        if not case["early_stopping"] and case.get("class_weight") != "balanced":
            before = fitted[0].coefs_[0].copy()
            fitted[0].partial_fit(rows, y, sample_weight=weights)
            assert fitted[0].t_ == 5 * 90 and np.isfinite(fitted[0].coefs_[0]).all(), case
            over = case["learning_rate"] in ("cosine", "one_cycle")  # their rate is then 0, or 4e-9
            assert over or not np.array_equal(before, fitted[0].coefs_[0]), case
        cases += 1
    assert cases > 30
