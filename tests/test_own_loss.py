"""A loss that is a Python function: `loss(y, raw) -> (loss, gradient)`.

The gradients that the functions here return are the engine's own to the last bit, so the weights must be too.
"""

from __future__ import annotations

import weakref

import numpy as np
import pytest
import scipy.sparse

from estimators import estimator, output, problem
from nnfast import MLP, MLPRegressor, _core, ops
from nnfast._own_loss import OwnLoss


def squared(y, raw):
    return 0.5 * ((raw - y) ** 2).sum(axis=1), raw - y


def of_probabilities(activation):
    """Minus log of the probabilities of what is there."""

    def loss(y, raw):
        p = activation(np.ascontiguousarray(raw))
        terms = y * np.log(p + 1e-300)
        if activation is ops.sigmoid:
            terms = terms + (1 - y) * np.log(1 - p + 1e-300)
        return -terms.sum(axis=1), p - y

    return loss


# target: (the loss of one's own, the parameters that mean the same)
SAME = {
    "regression": squared,
    "outputs": squared,
    "binary": of_probabilities(ops.sigmoid),
    "multilabel": of_probabilities(ops.sigmoid),
    "multiclass": of_probabilities(ops.softmax),
}
SETTINGS = {
    "plain": {},
    "sgd": {"solver": "sgd", "learning_rate": "invscaling"},
    "nadam": {"solver": "nadam", "weight_decay": 0.1},
    "rprop": {"solver": "rprop", "batch_size": "auto"},
    "dropout": {"dropout": 0.3},
    "limits": {"clip_value": 0.1, "clip_norm": 0.05, "l1": 0.1},
    "early stopping": {"early_stopping": True},
    "averages": {"averaging": "swa", "averaging_start": 0.2, "learning_rate": "cosine", "warmup": 1},
    "two threads": {"n_jobs": 2, "hidden_layer_sizes": (300, 200), "max_iter": 2},
    "no hidden layer": {"hidden_layer_sizes": ()},
}


def assert_same(one, other, X, y):
    for a, b in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(output(one, X), output(other, X))
    assert one.score(X, y) == other.score(X, y)
    assert one.out_activation_ == other.out_activation_
    assert one.t_ == other.t_ and one.n_iter_ == other.n_iter_


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("target", SAME)
def test_a_loss_that_the_engine_has_gives_its_weights(target, setting, dtype):
    """Fit, and two partial_fits. The losses are those of the engine to rounding, but for the mean over outputs that
    scikit-learn takes of the squared error."""
    _, X, y = problem(target)
    X = X.astype(dtype)
    settings = {"batch_size": 32, "alpha": 0.1} | SETTINGS[setting]
    ours, engines = (estimator(target, **settings, **loss).fit(X, y) for loss in ({"loss": SAME[target]}, {}))
    assert ours.coefs_[0].dtype == dtype
    assert_same(ours, engines, X, y)
    if target != "outputs":
        np.testing.assert_allclose(ours.loss_curve_, engines.loss_curve_, rtol=10 * np.finfo(dtype).eps * 32)
    assert ours.validation_scores_ == engines.validation_scores_
    if not settings.get("early_stopping"):
        for _ in range(2):
            for model in (ours, engines):
                model.partial_fit(X[:100], y[:100])
        assert_same(ours, engines, X, y)


@pytest.mark.parametrize("target", SAME)
def test_weights_sparse_rows_and_validation_data(target):
    _, X, y = problem(target)
    weights = np.random.RandomState(0).uniform(size=len(X)) * (np.arange(len(X)) % 3 > 0)
    weights[:32] = 0  # a batch without weight takes no step
    X = scipy.sparse.csr_array(np.where(X > 0, X, 0))
    settings = {"batch_size": 32, "shuffle": False, "early_stopping": True}
    ours, engines = (
        estimator(target, **settings, **loss).fit(
            X, y, sample_weight=weights, X_val=X[:60], y_val=y[:60], sample_weight_val=weights[40:100]
        )
        for loss in ({"loss": SAME[target]}, {})
    )
    assert_same(ours, engines, X, y)
    assert ours._network.n_steps_ == engines._network.n_steps_ < 5 * -(-len(y) // 32)
    factor = 3 if target == "outputs" else 1
    for mine, theirs in ((ours.loss_curve_, engines.loss_curve_),) if factor == 1 else ():
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)
    np.testing.assert_allclose(
        ours.validation_loss_curve_, np.multiply(factor, engines.validation_loss_curve_), rtol=1e-12
    )


@pytest.mark.parametrize("target", SAME)
def test_lbfgs_minimises_it(target):
    _, X, y = problem(target)
    ours, engines = (
        estimator(target, solver="lbfgs", max_iter=20, **loss).fit(X, y) for loss in ({"loss": SAME[target]}, {})
    )
    np.testing.assert_allclose(output(ours, X), output(engines, X), rtol=1e-6, atol=1e-9)


def test_several_columns_of_several_classes():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((90, 4)), np.column_stack([rng.integers(0, 3, 90), rng.integers(0, 2, 90)])

    def loss(y, raw):
        parts = [of_probabilities(ops.softmax)(y[:, group], raw[:, group]) for group in (slice(0, 3), slice(3, 5))]
        return parts[0][0] + parts[1][0], np.hstack([part[1] for part in parts])

    ours, engines = (
        estimator("binary", early_stopping=True, **one).fit(X, y) for one in ({"loss": loss}, {"loss": "log_loss"})
    )
    np.testing.assert_array_equal(np.hstack(ours.predict_proba(X)), np.hstack(engines.predict_proba(X)))
    assert ours.validation_scores_ == engines.validation_scores_


def mean_of_the_batch(y, raw):
    loss, gradient = squared(y, raw)
    return loss.mean(), gradient / len(y)


def test_one_number_for_the_batch():
    """The mean over the rows as one number: the weights of the loss by rows, to rounding; no weights of rows."""
    _, X, y = problem("outputs")
    whole, rows = (estimator("outputs", loss=loss, batch_size=32).fit(X, y) for loss in (mean_of_the_batch, squared))
    np.testing.assert_allclose(output(whole, X), output(rows, X), rtol=1e-9)
    np.testing.assert_allclose(whole.loss_curve_, rows.loss_curve_, rtol=1e-12)
    with pytest.raises(ValueError, match="takes no weights of rows"):
        whole.fit(X, y, sample_weight=np.ones(len(X)))


def test_a_loss_of_the_batch_as_a_whole():
    """One minus the correlation of predictions and targets, which no sum over rows can say."""

    def loss(y, raw):
        a, b = y - y.mean(), raw - raw.mean()
        size_a, size_b = np.linalg.norm(a), np.linalg.norm(b) + 1e-12
        correlation = (a * b).sum() / (size_a * size_b)
        return 1 - correlation, -(a / size_a - correlation * b / size_b) / size_b

    _, X, y = problem("regression")
    model = estimator("regression", loss=loss, max_iter=200, alpha=0.0).fit(X, y)
    assert np.corrcoef(model.predict(X), y)[0, 1] == pytest.approx(1 - model.loss_, abs=0.02)
    assert model.loss_ < 0.5 < model.loss_curve_[0]


def test_it_is_called_once_a_batch():
    """And, the first time, nine times more to be checked, in float64."""
    calls = []

    def loss(y, raw):
        calls.append((raw.shape, raw.dtype, y.shape, y.dtype))
        return squared(y, raw)

    _, X, y = problem("outputs")
    estimator("outputs", loss=loss, batch_size=60, max_iter=2).fit(X.astype(np.float32), y)
    shapes = [((n, 3), np.float32, (n, 3), np.float32) for n in (60, 60, 30)]
    assert calls == [((60, 3), np.float64, (60, 3), np.float64)] * 9 + 2 * shapes


def test_a_wrong_gradient_is_found():
    _, X, y = problem("outputs")
    wrong = {
        "sign": lambda y, raw: (squared(y, raw)[0], y - raw),
        "factor": lambda y, raw: (squared(y, raw)[0], 1.01 * (raw - y)),
        "mean": lambda y, raw: (squared(y, raw)[0], (raw - y) / len(y)),
        "one column": lambda y, raw: (squared(y, raw)[0], (raw - y) * [1, 1, 0]),
        "sum for mean": lambda y, raw: (squared(y, raw)[0].mean(), raw - y),
        "zero": lambda y, raw: (squared(y, raw)[0], np.zeros_like(raw)),
    }
    for name, loss in wrong.items():
        for solver in ("adam", "lbfgs"):
            model = estimator("outputs", loss=loss, solver=solver)
            with pytest.raises(ValueError, match="is not the gradient of the loss"):
                model.fit(X, y)
                pytest.fail(name)


def test_a_kink_is_no_wrong_gradient():
    """Where every first output lies on it, too."""
    _, X, y = problem("regression")

    def loss(y, raw):
        return np.abs(raw - y).sum(axis=1), np.sign(raw - y)

    start = {"init": ([np.zeros((X.shape[1], 8)), np.zeros((8, 1))], [np.zeros(8), np.zeros(1)])}
    ours, engines = (
        estimator("regression", **start, loss=one).fit(X, np.zeros(len(X))) for one in (loss, "absolute_error")
    )
    assert_same(ours, engines, X, y)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda y, raw: ((raw - y) ** 2).sum(axis=1), r"must return \(loss, gradient\), got ndarray"),
        (lambda y, raw: ((raw - y) ** 2, 2 * (raw - y)), r"got shapes \(60, 3\) and \(60, 3\)"),
        (lambda y, raw: (squared(y, raw)[0], raw[:, :1]), r"got shapes \(60,\) and \(60, 1\)"),
        (lambda y, raw: (squared(y, raw)[0][:5], raw), r"got shapes \(5,\) and \(60, 3\)"),
        (lambda y, raw: ("a", raw), "could not convert string to float"),
    ],
)
def test_what_it_must_return(loss, message):
    _, X, y = problem("outputs")
    with pytest.raises(ValueError, match=message):
        estimator("outputs", loss=loss, batch_size=60).fit(X, y)


def test_an_error_of_the_function_ends_the_fit_after_the_last_step():
    calls = []

    def loss(y, raw):
        calls.append(0)
        if len(calls) == 9 + 4:
            raise RuntimeError("mine")
        return squared(y, raw)

    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((50, 3)), rng.standard_normal((50, 2))
    ours, same = (MLP((3, 4, 2), loss=one, random_state=0, dtype="float64") for one in (loss, squared))
    with pytest.raises(RuntimeError, match="mine"):
        ours.train_epoch(X, Y, 10)
    same.train_epoch(X[:30], Y[:30], 10)
    assert ours.n_steps_ == same.n_steps_ == 3
    np.testing.assert_array_equal(ours.coefs_[0], same.coefs_[0])
    ours.train_epoch(X, Y, 10, [30, 31, 32])


def test_of_a_network_alone():
    """loss, gradients and epochs of an MLP, with and without weights of rows."""
    rng = np.random.default_rng(0)
    X, Y, weights = rng.standard_normal((20, 3)), rng.standard_normal((20, 2)), rng.random(20)
    ours, engines = (
        MLP((3, 4, 2), loss=loss, alpha=0.1, l1=0.2, random_state=0, dtype="float64", dropout=0.2)
        for loss in (squared, "squared_error")
    )
    for w in (None, weights):
        assert ours.loss(X, Y, w) == pytest.approx(engines.loss(X, Y, w), rel=1e-14)
        for mine, theirs in zip(ours.gradients(X, Y, w), engines.gradients(X, Y, w), strict=True):
            for a, b in zip(mine, theirs, strict=True):
                np.testing.assert_array_equal(a, b)
        losses = [one.train_epoch(X, Y, 6, weights=w) for one in (ours, engines)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-14)
        np.testing.assert_array_equal(ours.forward(X), engines.forward(X))
    assert "own" in repr(ours)


@pytest.mark.parametrize("factor", [0.99, 1.01, 1.5, -1.0])
@pytest.mark.parametrize("shape", [(1, 1), (200, 10), (50_000, 2)])
def test_a_wrong_gradient_of_the_mean_is_found(shape, factor):
    """Along any step the terms of many rows cancel, but not along the gradient's own signs."""
    rng = np.random.default_rng(0)
    y, raw = rng.standard_normal(shape), rng.standard_normal(shape)

    def loss(y, raw):
        value, gradient = mean_of_the_batch(y, raw)
        return value, factor * gradient

    with pytest.raises(ValueError, match="is not the gradient of the loss"):
        OwnLoss(loss)(y, raw, None)


@pytest.mark.parametrize("size", [1e-8, 1.0, 1e9])
def test_the_check_knows_losses_of_any_size(size):
    rng = np.random.default_rng(0)
    y, raw = rng.standard_normal((50, 2)), rng.standard_normal((50, 2))

    def loss(y, raw, factor=1.0):
        value, gradient = squared(y, raw)
        return size * value, factor * size * gradient

    OwnLoss(loss)(y, raw, None)
    with pytest.raises(ValueError, match="is not the gradient of the loss"):
        OwnLoss(lambda y, raw: loss(y, raw, 0.9))(y, raw, None)
    with pytest.raises(ValueError, match="is not the gradient of the loss"):
        OwnLoss(lambda y, raw: (squared(size * y, raw)[0], size * y - raw))(y, raw, None)


def test_a_step_reads_the_sparse_rows_of_its_batch_alone():
    """A wrong row of X is refused by the step that comes to it, not before."""
    X = scipy.sparse.csr_array(np.eye(6))
    indices = X.indices.astype(np.int32)
    indices[5] = 99
    rows = (X.data, indices, X.indptr.astype(np.int64))
    network = _core.Network("d", [6, 2], ["identity"], "squared_error", "sgd", max_batch=3, sparse=True)
    raw = np.empty((3, 2))
    network.step_forward(rows, np.arange(3), raw)
    with pytest.raises(ValueError, match="out of range"):
        network.step_forward(rows, np.arange(3, 6), raw)
    with pytest.raises(ValueError, match="out of range"):
        network.train_epoch(rows, np.ones((6, 2)), None, 3, np.ones(2))


@pytest.mark.parametrize("l1", [0.0, 0.1])
def test_gradients_alone_change_no_weight(l1):
    """Not even a -0, and whatever decay a step would have had."""
    network = _core.Network("d", [2, 2], ["identity"], "squared_error", "sgd", l1=l1, max_batch=3, keep_gradients=True)
    before, after = np.array([[1.0, -0.0], [0.0, -2.0]]), np.empty((2, 2))
    network.load(_core.PARAMETERS, [before], [np.ones(2)])
    network.step_backward(np.ones((3, 2)), None, np.ones((3, 2)), 0.0, 0.0, rate=0.1, decay=0.5, learning=False)
    network.store(_core.PARAMETERS, [after], [np.empty(2)])
    assert after.tobytes() == before.tobytes()


def test_a_fit_lets_go_of_the_last_one_once_training_has_begun():
    """Its weights and moments would be three copies of the weights more, through the whole fit."""
    X = np.random.default_rng(0).standard_normal((20, 4))
    alive = []

    def squares(y, raw):
        alive.append([array() is not None for array in last])
        return ((raw - y) ** 2).sum(axis=1) / 2, raw - y

    last = []
    model = MLPRegressor(loss=squares, hidden_layer_sizes=(3,), max_iter=1, random_state=0).fit(X, X[:, 0])
    last += [weakref.ref(array) for array in [*model.coefs_, *model._network._state[0][0]]]
    alive.clear()
    model.fit(X, X[:, 0])
    assert alive
    assert not any(map(any, alive))
