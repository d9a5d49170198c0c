"""Predictions of plain arrays take a shorter way (nnfast._core.Plan): the same bits, and nothing is overlooked."""

import copy
import gc
import pickle
import threading
import warnings
import weakref

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from nnfast import MLP, MLPClassifier, MLPRegressor, _core
from nnfast._outputs import forward

SIZES = [(3, 5, 1), (20, 64, 64, 1), (7, 4), (9, 17, 3), (5, 2, 2, 2, 4)]


def long_way(network, X):
    """The outputs without a plan."""
    return forward(X, network.coefs_, network.intercepts_, network._activations(), 1)


def known(network, groups=()):
    return network.coefs_, network.intercepts_, network.activation, network.out_activation_, groups


def takes_short_way(network, X, groups=(), **how):
    out = np.empty((len(X), network.layer_sizes[-1]), network.dtype)
    return network._plan.forward(X, out, known(network, groups), **how)


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("loss", ["squared_error", "binary_log_loss", "log_loss"])
def test_the_same_bits(sizes, loss, dtype):
    network = MLP(sizes, loss=loss, activation="tanh", dtype=dtype, random_state=0)
    X = np.random.default_rng(0).standard_normal((2000, sizes[0])).astype(dtype)
    expected = long_way(network, X)
    network.forward(X[:1])  # is remembered
    for rows in (X[:1], X[3:4], X[:7], X[:40:3], X[:40], X, np.asfortranarray(X), X[:, ::-1][:, ::-1]):
        out = np.full((len(rows), sizes[-1]), np.nan, dtype)
        assert network.forward(rows, out=out) is out
        np.testing.assert_array_equal(out, long_way(network, rows))
        np.testing.assert_array_equal(network.forward(rows), out)
    np.testing.assert_array_equal(network.forward(X), expected)
    assert takes_short_way(network, X[:1])
    assert takes_short_way(network, X[:40:8])
    assert takes_short_way(network, X, n_threads=1)
    assert takes_short_way(network, X[::8], n_threads=2)


def test_what_is_written_into_the_weights_counts():
    network = MLP((3, 4, 2), random_state=0)
    X = np.ones((1, 3), np.float32)
    network.forward(X)
    for change in (
        lambda: network.coefs_[0].__imul__(2),
        lambda: network.intercepts_[1].__iadd__(1),
        lambda: network.coefs_.__setitem__(1, -network.coefs_[1]),
        lambda: setattr(network, "intercepts_", [b + 1 for b in network.intercepts_]),
        lambda: setattr(network, "activation", "tanh"),
        lambda: setattr(network, "coefs_", [w.astype(np.float64) for w in network.coefs_]),
        lambda: setattr(network, "coefs_", [np.asfortranarray(w) for w in network.coefs_]),
        lambda: setattr(network, "coefs_", tuple(network.coefs_)),
    ):
        before = network.forward(X).copy()
        change()
        expected = long_way(network, X)
        np.testing.assert_array_equal(network.forward(X), expected)
        np.testing.assert_array_equal(network.forward(X), expected)
        assert before.shape == expected.shape
    network.coefs_ = [np.zeros((3, 4), np.float32), np.zeros((3, 2), np.float32)]
    with pytest.raises(ValueError, match=r"coefs\[\d\]"):
        network.forward(X)


def test_other_arrays_take_the_long_way():
    network = MLP((3, 4, 2), random_state=0)
    X = np.ones((2, 3), np.float32)
    network.forward(X)
    assert takes_short_way(network, X)
    others = [
        X.astype(np.float64),
        X.astype(">f4"),
        X.tolist(),
        X[:, :2],
        X[0],
        X[:0],
        np.ones((2, 6), np.float32)[:, ::2],
        np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view(np.float32).reshape(2, 3),
        None,
        memoryview(b"123"),
    ]
    for other in others:
        rows = 2 if not hasattr(other, "shape") else other.shape[0]
        out = np.empty((rows, 2), np.float32)
        assert not network._plan.forward(other, out, known(network))
    read_only = np.empty((2, 2), np.float32)
    read_only.flags.writeable = False
    for out in (np.empty((2, 2)), np.empty((1, 2), np.float32), np.empty((2, 4), np.float32)[:, ::2], read_only):
        assert not network._plan.forward(X, out, known(network))
    for wrong in (np.empty((1, 2), np.float32), read_only):
        with pytest.raises(ValueError):
            network.forward(X, out=wrong)


def test_groups_of_outputs():
    network = MLP((3, 4, 6), loss="log_loss", output_groups=(3, 2, 1), random_state=0)
    X = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
    expected = forward(X, network.coefs_, network.intercepts_, network._activations(), 1, output_groups=(3, 2, 1))
    for _ in range(3):
        np.testing.assert_array_equal(network.forward(X), expected)
    assert takes_short_way(network, X, groups=(3, 2, 1))
    for other in ((), (3, 3), (3, 2), (6,)):
        assert not takes_short_way(network, X, groups=other)
    for refused in ((3, 2), (3, 2, 2), (7, -1), (0, 6)):  # as the long way says
        network.output_groups = refused
        with pytest.raises(ValueError):
            network.forward(X)
    network.output_groups = ()
    together = forward(X, network.coefs_, network.intercepts_, network._activations(), 1)
    for groups, outputs in [((), together), ((3, 2, 1), expected), ((), together)]:
        network.output_groups = groups
        for _ in range(2):
            np.testing.assert_array_equal(network.forward(X), outputs)


def test_an_empty_layer():
    network = MLP((3, 4, 2), random_state=0)
    network.coefs_, network.intercepts_ = [np.zeros((3, 0), "f"), np.zeros((0, 2), "f")], [np.zeros(0, "f")] * 2
    for _ in range(2):
        with pytest.raises(ValueError):
            network.forward(np.ones((1, 3), np.float32))


def test_weights_of_another_dtype():
    """Every call does the same, whatever was remembered."""
    network = MLP((3, 4, 2), random_state=0)
    network.coefs_ = [w.astype(np.float64) / 3 for w in network.coefs_]
    network.intercepts_ = [b.astype(np.float64) for b in network.intercepts_]
    X = np.random.default_rng(0).standard_normal((1, 3))
    first = network.forward(X, out=np.empty((1, 2)))
    np.testing.assert_array_equal(network.forward(X, out=np.empty((1, 2))), first)
    np.testing.assert_array_equal(network.forward(X), first)


def test_strings_of_numpy():
    """As a grid search over an array of names passes them on."""
    X = np.eye(4)
    model = MLPClassifier((3,), activation=np.str_("tanh"), max_iter=2, random_state=0).fit(X, [0, 1, 0, 1])
    for _ in range(3):
        one = model.predict_proba(X[:1])
        np.testing.assert_array_equal(one, model.set_params(activation="tanh").predict_proba(X)[:1])
        model.set_params(activation=np.str_("tanh"))


@pytest.mark.parametrize("names", [{"loss": "huber"}, {"solver": "nadam"}, {"loss": "huber", "solver": "lbfgs"}])
def test_losses_and_solvers_that_are_strings_of_numpy(names):
    X, y = np.eye(4), np.arange(4.0)
    settings = {"hidden_layer_sizes": 3, "max_iter": 2, "random_state": 0}
    expected = MLPRegressor(**settings, **names).fit(X, y).predict(X)
    model = MLPRegressor(**settings, **{name: np.str_(value) for name, value in names.items()})
    np.testing.assert_array_equal(model.fit(X, y).predict(X), expected)


def test_much_work_lets_other_threads_run():
    """Few multiply-adds, but many exponentials: a millisecond that must not be spent with the GIL. That it is let go
    where threads are given: test_threads.py."""
    for sizes, rows in (((4, 8, 1), 10_000), ((2, 2), 100_000), ((1, 5_000, 1), 1)):
        network = MLP(sizes, activation="tanh", loss="log_loss", random_state=0)
        X = np.ones((rows, sizes[0]), np.float32)
        network.forward(X[:1])
        assert not takes_short_way(network, X)
        assert takes_short_way(network, X, n_threads=1)


@pytest.mark.parametrize("rows", [1, 5, 1000])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite(rows, value, dtype):
    """Found wherever it is, and only in X itself: not between its rows, nor around it."""
    network = MLP((5, 400, 1), dtype=dtype, random_state=0)  # 1,000 rows are worth two threads
    network.forward(np.ones((1, 5), dtype))
    X = np.ones((rows, 5), dtype)
    around = np.full((rows + 2, 8), value, dtype)
    around[1:-1, 2:7] = 1
    for n_threads in (1, 2):
        for whole in (X, around[1:-1, 2:7]):
            assert takes_short_way(network, whole, n_threads=n_threads, finite=True)
            for row in {0, rows // 2 - 1, rows // 2, rows - 1}:
                for column in (0, 4):
                    whole[row, column] = value
                    assert not takes_short_way(network, whole, n_threads=n_threads, finite=True)
                    assert takes_short_way(network, whole, n_threads=n_threads)
                    whole[row, column] = 1


def test_a_plan_forgets():
    network = MLP((3, 4, 2), random_state=0)
    X, Y = np.ones((2, 3), np.float32), np.ones((2, 2), np.float32)
    network.forward(X)
    old = weakref.ref(network.coefs_[0])
    network.train_epoch(X, Y, batch_size=2)
    gc.collect()
    assert old() is None, "the plan holds weights that have been replaced"
    network.forward(X)
    for again in (copy.deepcopy(network), pickle.loads(pickle.dumps(network)), copy.copy(network)):
        np.testing.assert_array_equal(again.forward(X), network.forward(X))
    empty = pickle.loads(pickle.dumps(network._plan))
    assert type(empty) is _core.Plan
    assert not empty.forward(X, Y, known(network))


def estimators():
    X = np.random.default_rng(0).standard_normal((60, 4))
    y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
    settings = {"hidden_layer_sizes": (30,), "max_iter": 3, "random_state": 0}
    yield MLPClassifier(**settings).fit(X, y), X
    yield MLPClassifier(**settings).fit(X, np.array(["no", "yes"])[(y > 0).astype(int)]), X
    yield MLPClassifier(**settings).fit(X, np.full(60, "all")), X
    yield MLPClassifier(**settings).fit(X, np.column_stack([y > 0, y > 1])), X
    yield MLPClassifier(**settings).fit(X, np.column_stack([y, y > 1])), X
    yield MLPRegressor(**settings).fit(X, X[:, 0]), X
    yield MLPRegressor(**settings).fit(X, X[:, :2]), X
    yield MLPRegressor(**settings, loss="quantile", quantile=(0.1, 0.9)).fit(X, X[:, :2]), X


@pytest.mark.parametrize("number", range(8))
def test_estimators(number, monkeypatch):
    estimator, X = list(estimators())[number]
    names = ["predict"] + ["predict_proba", "predict_log_proba"] * hasattr(estimator, "predict_proba")
    before = dict(estimator.__dict__)
    for name in names:
        method = getattr(estimator, name)
        whole = method(X.tolist())  # not for the short way
        for _ in range(2):
            for n in (1, 3, len(X)):
                some = method(X[:n])
                if isinstance(whole, list):
                    for expected, found in zip(whole, some, strict=True):
                        np.testing.assert_array_equal(found, expected[:n])
                else:
                    np.testing.assert_array_equal(some, whole[:n])
                    assert some.dtype == whole.dtype
    assert estimator.__dict__ == before

    def long_way(*_, **__):
        raise AssertionError("the long way was taken")

    with monkeypatch.context() as patch:
        patch.setattr("nnfast._base.forward", long_way)
        for name in names:
            getattr(estimator, name)(X)
            getattr(estimator, name)(np.resize(X, (30_000, 4)))
    for value, message in ((np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")):
        for rows in (1, 60, 30_000):
            wrong = np.resize(X, (rows, 4))
            wrong[-1, 2] = value
            for _ in range(2):
                with pytest.raises(ValueError, match=message):
                    estimator.predict(wrong)
    with pytest.raises(ValueError, match="features"):
        estimator.predict(X[:1, :3])
    with pytest.raises(ValueError, match="minimum of 1"):
        estimator.predict(X[:0])


def test_estimator_without_a_fit_and_with_names(dtype):
    import pandas as pd

    X = pd.DataFrame(np.eye(3, dtype=dtype), columns=list("abc"))
    with pytest.raises(NotFittedError):
        MLPClassifier().predict(X.to_numpy())
    with pytest.raises(NotFittedError):
        MLPClassifier().predict_proba(X.to_numpy())
    estimator = MLPClassifier((3,), max_iter=2).fit(X, [0, 1, 1])
    estimator.predict(X)
    for _ in range(2):
        with pytest.warns(UserWarning, match="feature names"):
            estimator.predict(X.to_numpy())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator.predict(X)


def test_a_scorer_leaves_nothing_behind():
    """It predicts with copies of the weights, which nobody needs after the fit."""
    seen = []

    def scorer(model, X, y):
        seen.append(weakref.ref(model.coefs_[0]))
        return float((model.predict(X[:1]) == y[:1]).mean() + (model.predict(X[:1]) == y[:1]).mean())

    X = np.random.default_rng(0).standard_normal((40, 4))
    estimator = MLPClassifier((5,), early_stopping=True, scoring=scorer, max_iter=3, random_state=0)
    estimator.fit(X, X[:, 0] > 0)
    gc.collect()
    kept = [ref() for ref in seen if ref() is not None]
    assert len(seen) == 3 and kept == []


def test_many_threads_share_an_estimator():
    estimator, X = next(estimators())
    expected = estimator.predict_proba(X)
    wrong = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(500):
            i = rng.integers(len(X))
            if not np.array_equal(estimator.predict_proba(X[i : i + 1]), expected[i : i + 1]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
