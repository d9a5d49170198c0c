"""Every two settings of the MLPs together: each pair of values of two parameters occurs in some fit."""

import warnings
from itertools import combinations, product

import numpy as np
import pytest
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning

from nnfast import MLPClassifier, MLPRegressor, ops
from nnfast._layers import HIDDEN_ACTIVATIONS
from nnfast._network import STOCHASTIC_SOLVERS


def own_squared_error(y, raw):
    return 0.5 * ((raw - y) ** 2).sum(axis=1), raw - y


def own_log_loss(y, raw):
    """Two classes are told by one output, three by one each."""
    if raw.shape[1] == 1:
        return (np.logaddexp(0, raw) - y * raw).sum(axis=1), ops.sigmoid(raw) - y
    p = ops.softmax(raw)
    return -(y * np.log(np.maximum(p, 1e-30))).sum(axis=1), p * y.sum(axis=1, keepdims=True) - y


ALWAYS = {
    "activation": [*HIDDEN_ACTIVATIONS, ("elu", 0.5), ["gelu", "tanh"]],
    "init": ["glorot", "orthogonal"],
    "precision": ["auto", "float32"],
    "weighted": [False, True],
    "sparse": [False, True],
    "float32": [False, True],
    "warm_start": [False, True],
    "watched": [False, True],  # by a callback
}
STEPS = {
    "solver": list(STOCHASTIC_SOLVERS),
    "dropout": [0.0, [0.0, 0.4]],
    "learning_rate": ["constant", "cosine", "one_cycle", "exponential"],
    "averaging": [None, "ema"],
    "weight_decay": [None, 0.1],
    "l1": [0.0, 0.05],
    "clip_value": [None, 0.05],
    "clip_norm": [None, 0.1, np.inf],
    "early_stopping": [False, True],
    "cut": [False, True],  # after each epoch, and resumed
}
ONLY = {
    MLPRegressor: {
        "loss": [
            *("squared_error", "absolute_error", "huber", "log_cosh", "poisson", "gamma", "tweedie", "quantile"),
            own_squared_error,
        ],
        "quantile": [0.5, [0.1, 0.5, 0.9]],
    },
    MLPClassifier: {
        "loss": ["log_loss", "focal", own_log_loss],
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


class Watch:
    """A callback that takes the weights at the end of each epoch or iteration."""

    def __init__(self):
        self.seen = []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        if context.parent:
            self.seen.append(fitted_estimator.coefs_[0].copy())


def fitted(cls, case, rng, solver_settings):
    """Two estimators of this case, one trained on one thread, the other on two, on other forms of the data and in other
    ways; X and y and what else is given to fit."""
    case = dict(case)
    n_classes = case.pop("n_classes", None)
    weighted, sparse, single = case.pop("weighted"), case.pop("sparse"), case.pop("float32")
    watched, cut = case.pop("watched") and hasattr(cls, "set_callbacks"), case.pop("cut", False)
    X = rng.standard_normal((90, 5)) * (rng.random((90, 5)) < 0.6)
    y = rng.integers(0, n_classes, 90) if n_classes else np.exp(X[:, 0] + 0.3 * rng.standard_normal(90))
    rows = X.astype(np.float32) if single else X
    weights = rng.random(90) + 0.1 if weighted else None
    settings = {"hidden_layer_sizes": (9, 6), "random_state": 0, **solver_settings, **case}
    models = []
    for n_jobs, data in ((1, rows), (2, scipy.sparse.csr_array(rows) if sparse else rows)):
        model = cls(n_jobs=n_jobs, **settings)
        watch = Watch()
        if watched and n_jobs == 2:
            model.set_callbacks(watch)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            if cut and n_jobs == 2:
                model.set_params(max_time=1e-9)
                while getattr(model, "n_iter_", 0) < model.max_iter:
                    model.fit(data, y, sample_weight=weights, resume=True)
            else:
                model.fit(data, y, sample_weight=weights)
        if watched and n_jobs == 2:
            assert len(watch.seen) == model.n_iter_
            if not model.early_stopping:
                np.testing.assert_array_equal(watch.seen[-1], model.coefs_[0])
        models.append(model)
    return models, rows, y, weights


def check_alike(models, rows, case):
    """Finite weights and outputs, the same bits for 1 and 2 threads, dense and sparse, at one go or not; and a row's
    prediction is its own."""
    for a, b in zip(*(model.coefs_ + model.intercepts_ for model in models), strict=True):
        assert np.isfinite(a).all(), case
        np.testing.assert_array_equal(a, b, err_msg=str(case))
    single = case["float32"] or case["precision"] == "float32"
    assert models[0].coefs_[0].dtype == (np.float32 if single else np.float64)
    predict = getattr(models[0], "predict_proba", models[0].predict)
    outputs = predict(rows)
    assert np.isfinite(outputs).all(), case
    np.testing.assert_array_equal(predict(rows[3:4])[0], outputs[3], err_msg=str(case))


@pytest.mark.parametrize("cls", list(ONLY))
def test_every_pair_of_settings_trains_alike(cls):
    """And partial_fit goes on."""
    rng = np.random.default_rng(0)
    cases = 0
    for case in pairwise({**ALWAYS, **STEPS, **ONLY[cls]}, rng):
        batch_size = "auto" if case["solver"] == "rprop" else 32
        models, rows, y, weights = fitted(cls, case, rng, {"max_iter": 4, "batch_size": batch_size})
        check_alike(models, rows, case)
        if not case["early_stopping"] and case.get("class_weight") != "balanced":
            before = models[0].coefs_[0].copy()
            models[0].partial_fit(rows, y, sample_weight=weights)
            assert models[0].t_ == 5 * 90 and np.isfinite(models[0].coefs_[0]).all(), case
            over = case["learning_rate"] in ("cosine", "one_cycle")  # their rate is then 0, or 4e-9
            assert over or not np.array_equal(before, models[0].coefs_[0]), case
        cases += 1
    assert cases > 60


@pytest.mark.parametrize("cls", list(ONLY))
def test_every_pair_of_settings_of_lbfgs_trains_alike(cls):
    rng = np.random.default_rng(1)
    cases = 0
    for case in pairwise({**ALWAYS, **ONLY[cls]}, rng):
        models, rows, _, _ = fitted(cls, case, rng, {"max_iter": 5, "solver": "lbfgs"})
        check_alike(models, rows, case)
        assert models[0].loss_ == models[1].loss_ < models[0].history_["loss"][0]
        cases += 1
    assert cases > 30
