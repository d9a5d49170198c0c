"""What holds of the estimators for any data and parameters. hypothesis chooses them, the same ones in every run.

tests/test_ops.py does so for the array functions, tests/test_combinations.py has every two settings once.
"""

from __future__ import annotations

import copy
import itertools
import pickle
import warnings

import numpy as np
import pytest
import sklearn.linear_model
import sklearn.neural_network
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, csr_matrix
from sklearn.base import clone

import nnfast
from estimators import OLDER, outcome, output
from nnfast import MLP, MLPClassifier, MLPRegressor, Perceptron
from nnfast._layers import HIDDEN_ACTIVATIONS
from nnfast._network import STOCHASTIC_SOLVERS
from test_ops import layouts
from test_perceptron import same_arithmetic

pytestmark = pytest.mark.filterwarnings("ignore")  # odd values, which most of these are, make NumPy and sklearn warn


def examples(n):
    return settings(
        max_examples=n,
        derandomize=True,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


# ---- data and settings -----------------------------------------------------------------------------------------------

# Batches of one row and of more rows than there are, a layer of one unit, more units than a vector has lanes.
SETTINGS = {
    "hidden_layer_sizes": st.lists(st.integers(1, 20), max_size=3).map(tuple),
    "activation": st.sampled_from([*HIDDEN_ACTIVATIONS, ("elu", 0.3), ("leaky_relu", 0.0)]),
    "solver": st.sampled_from([*STOCHASTIC_SOLVERS, "lbfgs"]),
    "alpha": st.sampled_from([0.0, 1e-4, 1.0]),
    "learning_rate_init": st.sampled_from([1e-3, 0.05, 1e-12]),
    "learning_rate": st.sampled_from(["constant", "invscaling", "adaptive", "cosine", "step"]),
    "max_iter": st.integers(1, 4),
    "random_state": st.integers(0, 3),
    "shuffle": st.booleans(),
    "tol": st.sampled_from([0.0, 1e-4, 10.0]),
    "momentum": st.sampled_from([0.0, 0.9, 1.0]),
    "nesterovs_momentum": st.booleans(),
    "n_iter_no_change": st.integers(1, 3),
    "early_stopping": st.booleans(),
    "precision": st.sampled_from(["auto", "float32", "float64"]),
    "init": st.sampled_from(["glorot", "he", "lecun", "orthogonal"]),
}
# Of the solvers that take steps; lbfgs refuses most of them.
STEPS = {
    "batch_size": st.sampled_from(["auto", 1, 2, 7, 50]),
    "dropout": st.sampled_from([0.0, 0.5, 0.9]),
    "averaging": st.sampled_from([None, "swa", "ema"]),
    "averaging_start": st.sampled_from([0.0, 0.5]),
    "l1": st.sampled_from([0.0, 0.1]),
    "clip_value": st.sampled_from([None, 0.1]),
    "clip_norm": st.sampled_from([None, 0.1, np.inf]),
    "warmup": st.sampled_from([0, 2, 0.5]),
}
LOSSES = ["squared_error", "absolute_error", "huber", "log_cosh", "poisson", "gamma", "tweedie", "quantile"]


@st.composite
def data(draw, kind, least=2):
    """X and y: of standard numbers, with constant columns, equal rows, and sizes apart by powers of ten."""
    n, n_in = draw(st.integers(least, 40)), draw(st.integers(1, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    X = rng.standard_normal((n, n_in)) * rng.choice([1.0, 1.0, 0.0, 1e-3, 30.0], n_in)
    X = X.astype(draw(st.sampled_from([np.float64, np.float32])))
    if draw(st.booleans()):
        X[rng.random(X.shape) < 0.7] = 0
    if draw(st.booleans()):
        X[n // 2 :] = X[0]
    n_out = draw(st.integers(1, 3))
    if kind == "regression":
        y = np.exp(rng.standard_normal((n, n_out)))
        return X, y[:, 0] if n_out == 1 else y
    if kind == "labels":
        return X, rng.integers(0, 2, (n, n_out + 1))
    y = rng.integers(0, n_out + 1, n)
    y[: n_out + 1] = np.arange(min(n_out + 1, n))  # each class once at least
    return X, draw(st.sampled_from([y, y.astype(float) - 1, y.astype(str)]))


@st.composite
def problems(draw, kinds=("regression", "classes", "labels"), **others):
    """An unfitted model, X and y that suit it, weights of the rows or None."""
    kind = draw(st.sampled_from(kinds))
    chosen = {name: draw(values) for name, values in (SETTINGS | others).items()}
    if chosen["solver"] != "lbfgs":
        chosen |= {name: draw(values) for name, values in STEPS.items() if name not in others}
    if chosen["solver"] == "rprop":
        chosen["batch_size"] = "auto"
    if chosen["early_stopping"] and chosen["solver"] != "lbfgs":
        chosen["validation_fraction"] = 0.3
    if kind == "regression":
        chosen["loss"] = draw(st.sampled_from(LOSSES))
    X, y = draw(data(kind, least=12))
    weights = draw(st.none() | st.just(np.linspace(0.1, 2, len(X))))
    model = (MLPRegressor if kind == "regression" else MLPClassifier)(**chosen)
    note(f"{model!r}")
    return model, X, y, weights


def fit_or_error(model, X, y, weights=None):
    """The fitted model, or what its fit raises: that a class is too small to be held out, or that training diverges."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return model.fit(X, y) if weights is None else model.fit(X, y, sample_weight=weights)
        except ValueError as error:
            return str(error)


def assert_same_bits(one, other):
    assert one.dtype == other.dtype and one.shape == other.shape
    np.testing.assert_array_equal(one, other)


def assert_same_fit(one, other):
    """The same error, or weights and course of training of the same bits."""
    if isinstance(one, str) or isinstance(other, str):
        assert one == other
        return
    for a, b in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        assert_same_bits(a, b)
    assert (one.n_iter_, one.t_) == (other.n_iter_, other.t_)
    np.testing.assert_array_equal(one.history_["loss"], other.history_["loss"])


# ---- MLPs ------------------------------------------------------------------------------------------------------------

LAYOUTS = list(layouts(np.zeros((1, 1))))


@examples(80)
@given(problems(), st.sampled_from(LAYOUTS), st.sampled_from(LAYOUTS), st.integers(1, 3))
def test_a_fit_sees_the_numbers_alone(problem, of_X, of_y, n_jobs):
    """Not where they lie, whether zeros are stored, how many threads there are, or that it has been fitted before."""
    model, X, y, weights = problem
    one = fit_or_error(clone(model), X, y, weights)
    other = clone(model).set_params(n_jobs=n_jobs)
    # Of numbers in the other byte order scikit-learn makes float64, and 1.6 does not see that they are integers.
    if X.dtype == np.float32 and of_X == "other byte order":
        of_X = "contiguous"
    if y.dtype.kind not in "if" or (OLDER and of_y == "other byte order"):
        of_y = "contiguous"
    assert_same_fit(one, fit_or_error(other, layouts(X)[of_X], layouts(y)[of_y], weights))
    assert_same_fit(one, fit_or_error(other, csr_array(X), y, weights))
    if isinstance(one, str):
        return
    expected = output(one, X)
    assert len(expected) == len(X) and np.isfinite(expected).all()
    for rows in (layouts(X)[of_X], csr_array(X), csr_matrix(X)):
        assert_same_bits(output(one, rows), expected)
    for i in (0, len(X) - 1):
        assert_same_bits(output(one, X[i : i + 1])[0], expected[i])


@examples(60)
@given(problems())
def test_a_copy_is_the_model(tmp_path, problem):
    """It predicts as the model does and goes on as it does: pickled, copied, or through a model file."""
    model, X, y, weights = problem
    model = fit_or_error(model, X, y, weights)
    if isinstance(model, str):
        return
    nnfast.save(model, tmp_path / "model")
    copies = [nnfast.load(tmp_path / "model"), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)]
    expected = output(model, X)
    for one in copies:
        assert_same_bits(output(one, X), expected)
        assert one.get_params() == model.get_params()
    network = nnfast.load(tmp_path / "model", network=True)
    np.testing.assert_array_equal(network.predict(X), model.predict(X))
    if hasattr(model, "partial_fit") and not model.early_stopping:
        for one in copies:
            one.partial_fit(X, y)
        model.partial_fit(X, y)
        for one in copies:
            assert_same_fit(model, one)


WHOLE = {
    "early_stopping": st.just(False),
    "averaging": st.just(None),
    "dropout": st.just(0.0),
    "shuffle": st.just(False),
    "tol": st.just(0.0),
    "n_iter_no_change": st.just(10),
    "learning_rate": st.sampled_from(["constant", "invscaling"]),
    "warmup": st.just(0),
    "solver": st.sampled_from(list(STOCHASTIC_SOLVERS)),
}


@examples(80)
@given(problems(**WHOLE))
def test_epochs_one_by_one_are_a_fit(problem):
    model, X, y, weights = problem
    one = fit_or_error(clone(model), X, y, weights)
    if isinstance(one, str):
        return
    other = clone(model)
    labels = np.unique(y) if y.ndim == 1 else np.arange(y.shape[1])
    more = {"classes": labels} if isinstance(model, MLPClassifier) else {}
    for _ in range(model.max_iter):
        other.partial_fit(X, y, sample_weight=weights, **more)
    for a, b in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        assert_same_bits(a, b)


@examples(80)
@given(
    problems(kinds=("regression", "labels"), **WHOLE | {"learning_rate": st.just("constant")}),  # others count rows
    st.integers(0, 2**32 - 1),
)
def test_a_row_that_weighs_nothing_is_not_there(problem, seed):
    """In one batch of all rows, not a bit of the weights is different: its terms are zeros."""
    model, X, y, _ = problem
    there = np.random.default_rng(seed).random(len(X)) < 0.6
    there[0] = True
    batch = "auto" if model.solver == "rprop" else len(X)
    one = fit_or_error(clone(model).set_params(batch_size=batch), X, y, there.astype(float))
    batch = "auto" if model.solver == "rprop" else int(there.sum())
    if isinstance(one, str):
        return
    other = clone(model).set_params(batch_size=batch).fit(X[there], y[there])
    for a, b in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        assert_same_bits(a, b)


@examples(80)
@given(data("regression"), st.lists(st.integers(1, 12), max_size=3), st.integers(0, 2**32 - 1))
def test_columns_and_units_have_no_order(problem, hidden, seed):
    """Whole numbers, which no order of a sum rounds: the same network with its columns and units in another order."""
    rng = np.random.default_rng(seed)
    X = np.round(problem[0]).clip(-4, 4)
    sizes = [X.shape[1], *hidden, 2]
    coefs = [rng.integers(-4, 5, shape).astype(X.dtype) for shape in itertools.pairwise(sizes)]
    intercepts = [rng.integers(-4, 5, n).astype(X.dtype) for n in sizes[1:]]
    orders = [rng.permutation(n) for n in sizes[:-1]] + [np.arange(2)]
    moved = [w[np.ix_(a, b)] for w, a, b in zip(coefs, orders[:-1], orders[1:], strict=True)]
    one = MLP(sizes, start=(coefs, intercepts), dtype=X.dtype)
    other = MLP(
        sizes, start=(moved, [b[o] for b, o in zip(intercepts, orders[1:], strict=True)]), dtype=X.dtype, n_jobs=2
    )
    expected = X.astype(int)
    for layer, (w, b) in enumerate(zip(coefs, intercepts, strict=True)):
        expected = expected @ w.astype(int) + b.astype(int)
        expected = expected.clip(min=0) if layer < len(hidden) else expected
    np.testing.assert_array_equal(one.forward(X), expected)
    np.testing.assert_array_equal(other.forward(X[:, orders[0]]), expected)


# ---- parameters of any value -----------------------------------------------------------------------------------------

# Those that may make a fit long, or large, have their own.
ODD = [
    None, True, False, 0, 1, -1, 2, 0.0, -0.0, 0.5, 1.0, 1.5, -0.5, 1e-320, 1e300, np.nan, np.inf, -np.inf, "", "auto",
    "relu", "adam", "constant", "swa", "he", "quantile", b"adam", 1j, (), [], [0.5], [1, 2], {}, {0: 1}, object(), len,
    np.float32(0.5), np.int8(1), np.bool_(True), np.array(0.5), np.array([0.5, 0.5]), np.array([]), np.str_("adam"),
]  # fmt: skip
BOUNDED = {
    "max_iter": [None, 0, -1, 1, 2, 2.0, True, "2", np.nan, np.int64(2)],
    "max_fun": [None, 0, -1, 1, 2, 2.0, "2", np.nan],
    "hidden_layer_sizes": [None, 0, -1, 3, 2.5, (), (3,), (3, 0), [2, 2], "3", (2.0,), np.array([3, 2]), [[2]]],
    "verbose": [False],
    "warmup": [None, 0, 1, 0.5, -1, 1.5, "a", np.nan, True],
}
EXTENDED = {"activation", "learning_rate", "loss", "solver"}  # have more values than in scikit-learn
NETWORKS = {MLPClassifier: sklearn.neural_network.MLPClassifier, MLPRegressor: sklearn.neural_network.MLPRegressor}


@st.composite
def odd_settings(draw, cls):
    names = draw(st.lists(st.sampled_from(sorted(cls().get_params())), min_size=1, max_size=3, unique=True))
    odd = {name: st.sampled_from(BOUNDED.get(name, ODD)) for name in names}
    return {name: draw((SETTINGS | STEPS).get(name, odd[name]) if draw(st.booleans()) else odd[name]) for name in names}


@pytest.mark.parametrize("cls", list(NETWORKS))
def test_any_value_is_refused_or_trained_with(cls):
    """A parameter of scikit-learn's as scikit-learn does; of ours with a TypeError or ValueError, or a finite model."""
    rng = np.random.RandomState(0)
    X, y = rng.standard_normal((30, 3)), np.arange(30) % 3
    refused = trained = 0

    @examples(200)
    @given(odd_settings(cls))
    def check(odd):
        nonlocal refused, trained
        base = {"max_iter": 2, "hidden_layer_sizes": (3,), "random_state": 0}
        model = cls(**base | odd)
        error, _ = outcome(lambda: model.fit(X, y))
        if all(name in NETWORKS[cls]().get_params() for name in odd):
            theirs, _ = outcome(lambda: NETWORKS[cls](**base | odd).fit(X, y))
            if theirs is None or not EXTENDED & odd.keys():
                assert (error is None) == (theirs is None), (error, theirs)
        if error is None:
            trained += 1
            assert all(np.isfinite(w).all() for w in model.coefs_ + model.intercepts_)
            assert np.isfinite(output(model, X)).all() and len(model.predict(X)) == len(y)
            return
        refused += 1
        assert error[0] in ("InvalidParameterError", "TypeError", "ValueError"), error

    check()
    assert min(refused, trained) > 30, (refused, trained)


# ---- perceptron ------------------------------------------------------------------------------------------------------


NATIVE_LAYOUTS = [name for name in LAYOUTS if name != "other byte order"]  # float32 of which becomes float64, as there


@st.composite
def neurons(draw):
    """Settings of both packages' Perceptron."""
    return {
        "penalty": draw(st.sampled_from([None, "l1", "l2", "elasticnet"])),
        "alpha": draw(st.sampled_from([1e-4, 0.1, 1.0])),
        "eta0": draw(st.sampled_from([1.0, 0.3, 1e-3])),
        "fit_intercept": draw(st.booleans()),
        "max_iter": draw(st.integers(1, 6)),
        "tol": draw(st.sampled_from([None, 1e-3])),
        "shuffle": draw(st.booleans()),
        "random_state": draw(st.integers(0, 3)),
        "class_weight": draw(st.sampled_from([None, "balanced"])),
        "n_iter_no_change": draw(st.integers(1, 3)),
    }


@same_arithmetic
@examples(100)
@given(data("classes", least=6), neurons(), st.booleans(), st.booleans())
def test_a_neuron_has_scikit_learns_bits(problem, chosen, sparse, whole_numbers):
    X, y = problem
    X = np.round(X) if whole_numbers else X
    rows = csr_array(X) if sparse else X
    ours, theirs = Perceptron(**chosen), sklearn.linear_model.Perceptron(**chosen)
    failed = [outcome(lambda model=model: model.fit(rows, y))[0] for model in (ours, theirs)]
    assert failed[0] == failed[1]
    if failed[0] is None:
        for name in ("coef_", "intercept_", "classes_"):
            assert_same_bits(getattr(ours, name), getattr(theirs, name))
        assert (ours.n_iter_, ours.t_) == (theirs.n_iter_, theirs.t_)


@examples(80)
@given(data("classes", least=6), neurons(), st.sampled_from(NATIVE_LAYOUTS), st.sampled_from(["step", "tanh", "relu"]))
def test_a_neuron_sees_the_numbers_alone(tmp_path, problem, chosen, layout, activation):
    X, y = problem
    chosen |= {"activation": activation, "eta0": chosen["eta0"] / 100}
    model = Perceptron(**chosen)
    if outcome(lambda: model.fit(X, y))[0] is not None:
        return
    other = Perceptron(n_jobs=2, **chosen).fit(layouts(X)[layout], y)
    nnfast.save(model, tmp_path / "neuron")
    for one in (other, nnfast.load(tmp_path / "neuron"), pickle.loads(pickle.dumps(model)), clone(model).fit(X, y)):
        assert_same_bits(one.coef_, model.coef_)
        assert_same_bits(one.intercept_, model.intercept_)
        assert_same_bits(one.decision_function(layouts(X)[layout]), model.decision_function(X))
    assert_same_bits(model.decision_function(X[-1:])[0], model.decision_function(X)[-1])
