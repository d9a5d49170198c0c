"""nnfast.Perceptron: the bits of scikit-learn's, and the delta rule against its definition.

On x86-64 scikit-learn's wheels hold no fused multiply-adds, so that every weight must agree bit for bit. Elsewhere its
compiler may fuse, and one flipped tie changes a whole run: there only the cases whose arithmetic is exact are compared.
"""

import copy
import itertools
import pickle
import platform
import re
import sys
import warnings

import numpy as np
import pytest
import sklearn.linear_model
from scipy.sparse import csr_array, csr_matrix
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

import reference
from estimators import parity
from nnfast import Perceptron, _core

SKLEARN = sklearn.linear_model.Perceptron

same_arithmetic = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="scikit-learn's compiler may fuse multiply-adds on this CPU"
)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

AND_X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
GATES = {"AND": [0, 0, 0, 1], "OR": [0, 1, 1, 1], "XOR": [0, 1, 1, 0]}

DATA = {
    "binary": load_breast_cancer(return_X_y=True),
    "multiclass": load_iris(return_X_y=True),
}


def assert_same_model(ours, theirs, X):
    """Every public attribute equal: values, dtypes, shapes; scores to rounding, as two BLAS have them."""
    for name in ("coef_", "intercept_", "classes_"):
        a, b = getattr(ours, name), getattr(theirs, name)
        assert a.dtype == b.dtype
        assert np.array_equal(a, b), name
    for name in ("n_iter_", "t_", "n_features_in_"):
        a, b = getattr(ours, name), getattr(theirs, name)
        assert a == b, name
        assert type(a) is type(b), name
    scores, expected = ours.decision_function(X), theirs.decision_function(X)
    assert scores.dtype == expected.dtype
    terms = np.asarray(abs(X) @ abs(ours.coef_).T + abs(ours.intercept_)).reshape(expected.shape)
    eps = np.finfo(np.result_type(X.dtype, ours.coef_.dtype)).eps  # of the products; the intercept may be wider
    assert np.all(np.abs(scores - expected) <= (X.shape[1] + 2) * eps * terms)
    assert np.array_equal(ours.predict(X), theirs.predict(X))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble, np.float16, np.int64])
def test_a_row_is_decided_alone(dtype):
    X, y = load_digits(return_X_y=True)
    X = (X / 3).astype(dtype)
    estimator = Perceptron(max_iter=5, tol=None).fit(X.astype(np.float64), y)
    scores = estimator.decision_function(X[:200])
    for rows in (slice(0, 1), slice(17, 18), slice(100, 107)):
        assert np.array_equal(estimator.decision_function(X[rows]), scores[rows])
    far = X[:64].copy(order="F")
    assert np.array_equal(estimator.decision_function(far), scores[:64])


def outcome(call):
    """What a call raises, as (type, text); or None. Sets in the text are sorted: their order is chance."""
    try:
        call()
    except Exception as error:
        text = re.sub(r"\{(.*?)\}", lambda found: "{" + ", ".join(sorted(found[1].split(", "))) + "}", str(error))
        return type(error), text
    return None


def dict_weight(y):
    return {label: 0.5 + i for i, label in enumerate(np.unique(y))}


# ---- scikit-learn's bits ---------------------------------------------------------------------------------------------


@same_arithmetic
@parity
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("penalty", [None, "l2", "l1", "elasticnet"])
@pytest.mark.parametrize("data", list(DATA))
def test_same_bits(data, penalty, dtype, sparse):
    X, y = DATA[data]
    X = X.astype(dtype)
    X = csr_matrix(X) if sparse else X
    weights = [(None, 1.0), ("balanced", 0.3), ("dict", 0.3)]
    grid = itertools.product([True, False], [True, False], [True, False], weights)
    for shuffle, fit_intercept, early_stopping, (class_weight, eta0) in grid:
        settings = {
            "penalty": penalty,
            "alpha": 0.01,
            "shuffle": shuffle,
            "fit_intercept": fit_intercept,
            "class_weight": dict_weight(y) if class_weight == "dict" else class_weight,
            "early_stopping": early_stopping,
            "eta0": eta0,
            "max_iter": 8,
            "n_iter_no_change": 2,
            "random_state": 5,
        }
        assert_same_model(Perceptron(**settings).fit(X, y), SKLEARN(**settings).fit(X, y), X)


@same_arithmetic
@parity
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"penalty": "l2", "alpha": 0.5},  # the scale falls below its limit and is folded into the weights
        {"penalty": "l2", "alpha": 3.0},  # 1 - eta0 alpha < 0: weights go to zero
        {"penalty": "elasticnet", "l1_ratio": 0.0},
        {"penalty": "elasticnet", "l1_ratio": 1.0},
        {"penalty": "l1", "alpha": 0.0},
        {"penalty": "elasticnet", "l1_ratio": 0.6, "eta0": 3.2, "alpha": 0.13},  # (a b) c != a (b c)
        {"penalty": "elasticnet", "l1_ratio": 0.4, "eta0": 0.7, "alpha": 0.0007},  # the same for the L1 part
        {"tol": None, "max_iter": 40},
        {"early_stopping": True, "validation_fraction": 0.3, "penalty": "l2"},
    ],
    ids=str,
)
def test_same_bits_on_digits(settings, dtype):
    X, y = load_digits(return_X_y=True)
    X = X.astype(dtype)
    assert_same_model(Perceptron(**settings).fit(X, y), SKLEARN(**settings).fit(X, y), X)


@same_arithmetic
@parity
@pytest.mark.parametrize("eta0", [0.1, 0.3, 0.7, 1.0, 3.3])
@pytest.mark.parametrize("gate", list(GATES))
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_same_bits_with_ties(gate, eta0, dtype):
    """On gates w x + b is often exactly 0: any other rounding shows."""
    X = AND_X.astype(dtype)
    for seed, shuffle, container in itertools.product(range(8), [True, False], [np.asarray, csr_array]):
        settings = {"eta0": eta0, "random_state": seed, "shuffle": shuffle, "tol": None, "max_iter": 25}
        Z = container(X)
        assert_same_model(Perceptron(**settings).fit(Z, GATES[gate]), SKLEARN(**settings).fit(Z, GATES[gate]), Z)


@parity
@pytest.mark.parametrize("data", list(DATA))
def test_same_bits_on_integers(data):
    """Integers make every product and sum exact: this holds on any machine."""
    X, y = DATA[data]
    X = np.rint(X)
    assert_same_model(Perceptron().fit(X, y), SKLEARN().fit(X, y), X)


@same_arithmetic
@parity
@pytest.mark.parametrize("penalty", [None, "l2", "l1", "elasticnet"])
@pytest.mark.parametrize("data", list(DATA))
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_same_bits_from_given_weights(data, penalty, dtype):
    X, y = DATA[data]
    X = X.astype(dtype)
    n_rows = 1 if data == "binary" else 3
    rng = np.random.default_rng(0)
    coef, intercept = rng.normal(size=(n_rows, X.shape[1])), rng.normal(size=n_rows)
    settings = {"penalty": penalty, "max_iter": 15}
    ours = Perceptron(**settings).fit(X, y, coef_init=coef, intercept_init=intercept)
    # scikit-learn writes into coef_init when its dtype fits.
    theirs = SKLEARN(**settings).fit(X, y, coef_init=coef.copy(), intercept_init=intercept.copy())
    assert_same_model(ours, theirs, X)

    ours.set_params(warm_start=True, max_iter=3).fit(X, y)
    theirs.set_params(warm_start=True, max_iter=3).fit(X, y)
    assert_same_model(ours, theirs, X)
    ours.fit(X, y, intercept_init=intercept)
    theirs.fit(X, y, intercept_init=intercept.copy())
    assert_same_model(ours, theirs, X)


@same_arithmetic
@parity
@pytest.mark.parametrize("penalty", [None, "l2", "l1", "elasticnet"])
@pytest.mark.parametrize("data", list(DATA))
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_same_bits_of_partial_fit(data, penalty, dtype):
    X, y = DATA[data]
    X = X.astype(dtype)
    models = [C(penalty=penalty, class_weight=dict_weight(y)) for C in (Perceptron, SKLEARN)]
    order = np.random.default_rng(1).permutation(len(y))
    weight = np.random.default_rng(2).uniform(0.1, 2, len(y))
    for part in np.array_split(order, 7):
        for model in models:
            model.partial_fit(X[part], y[part], classes=np.unique(y), sample_weight=weight[part])
        assert_same_model(*models, X)
    for model in models:
        model.partial_fit(X[:1], y[:1])  # one sample
    assert_same_model(*models, X)
    for model in models:
        model.fit(X, y)  # starts again
    assert_same_model(*models, X)


@same_arithmetic
@parity
@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("data", list(DATA))
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_same_bits_with_sample_weight(data, early_stopping, dtype):
    X, y = DATA[data]
    weight = np.random.default_rng(3).uniform(0, 2, len(y))
    weight[::5] = 0
    settings = {"early_stopping": early_stopping, "max_iter": 20, "penalty": "elasticnet"}
    X = X.astype(dtype)
    ours = Perceptron(**settings).fit(X, y, sample_weight=weight)
    assert_same_model(ours, SKLEARN(**settings).fit(X, y, sample_weight=weight), X)


@same_arithmetic
@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("data", list(DATA))
def test_same_draws(data, early_stopping):
    """A RandomState, or NumPy's global one, is drawn from in scikit-learn's order, and as often."""
    X, y = DATA[data]
    settings = {"early_stopping": early_stopping, "max_iter": 5}
    ours, theirs = np.random.RandomState(7), np.random.RandomState(7)
    assert_same_model(
        Perceptron(random_state=ours, **settings).fit(X, y), SKLEARN(random_state=theirs, **settings).fit(X, y), X
    )
    assert ours.randint(2**31) == theirs.randint(2**31)

    models = []
    for C in (Perceptron, SKLEARN):
        np.random.seed(11)
        models.append(C(random_state=None, **settings).fit(X, y))
    assert_same_model(*models, X)


@same_arithmetic
@parity
@pytest.mark.parametrize("container", [csr_matrix, csr_array])
def test_same_bits_on_odd_sparse_data(container):
    """Empty rows, unsorted and repeated column numbers, a matrix without entries."""
    rng = np.random.default_rng(4)
    lengths = rng.integers(0, 9, size=60)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    indices = rng.integers(0, 12, size=indptr[-1]).astype(np.int32)
    X = container((rng.normal(size=indptr[-1]), indices, indptr), shape=(60, 12))
    y = rng.integers(0, 2, size=60)
    for penalty in (None, "l2", "l1", "elasticnet"):
        settings = {"penalty": penalty, "max_iter": 10}
        assert_same_model(Perceptron(**settings).fit(X, y), SKLEARN(**settings).fit(X, y), X)
    empty = container((60, 12))
    assert_same_model(Perceptron().fit(empty, y), SKLEARN().fit(empty, y), empty)


@pytest.mark.parametrize("classes", [np.array(["no", "yes"]), np.array([False, True]), np.array([-3.0, 8.0])])
def test_labels_of_any_kind(classes):
    X, y = DATA["binary"]
    y = classes[y]
    X = np.rint(X)
    assert_same_model(Perceptron().fit(X, y), SKLEARN().fit(X, y), X)


@parity
@same_arithmetic
@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("penalty", [None, "l2", "elasticnet"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("data", list(DATA))
def test_same_verbose_output(data, dtype, penalty, early_stopping, capsys):
    X, y = DATA[data]
    X = X.astype(dtype)
    texts = []
    for C in (Perceptron, SKLEARN):
        C(verbose=1, early_stopping=early_stopping, penalty=penalty, max_iter=30).fit(X, y)
        captured = capsys.readouterr()
        texts.append(re.sub(r"[\d.]+(s| seconds)", "TIME", captured.out))
    assert "Convergence after" in texts[0]
    assert texts[0] == texts[1]


def test_the_convergence_warning():
    X, y = DATA["binary"]
    with pytest.warns(ConvergenceWarning) as ours:
        Perceptron(max_iter=1).fit(X, y)
    with pytest.warns(ConvergenceWarning) as theirs:
        SKLEARN(max_iter=1).fit(X, y)
    assert [str(w.message) for w in ours] == [str(w.message) for w in theirs]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Perceptron(max_iter=1, tol=None).fit(X, y)


def test_threads_change_nothing():
    X, y = load_digits(return_X_y=True)
    one = Perceptron(n_jobs=1).fit(X, y)
    two = Perceptron(n_jobs=2).fit(X, y)
    assert np.array_equal(one.coef_, two.coef_)
    assert np.array_equal(one.intercept_, two.intercept_)
    assert one.n_iter_ == two.n_iter_


def test_the_number_of_samples_side_by_side_changes_nothing():
    """The engine sums 4 samples at once: lengths around that, against the same samples one call each."""
    X, y = DATA["binary"]
    X = np.rint(X)
    for n in range(1, 11):
        whole = Perceptron(shuffle=False).partial_fit(X[:n], y[:n], classes=[0, 1])
        single = Perceptron(shuffle=False)
        for i in range(n):
            single.partial_fit(X[i : i + 1], y[i : i + 1], classes=[0, 1])
        assert np.array_equal(whole.coef_, single.coef_), n


# ---- scikit-learn's interface ----------------------------------------------------------------------------------------


@parametrize_with_checks(
    [Perceptron()],
    # scikit-learn expects these two to fail for its own Perceptron: a weight is not a repetition when order matters.
    expected_failed_checks=lambda _: {
        "check_sample_weight_equivalence_on_dense_data": "sample_weight is not equivalent to repeating samples",
        "check_sample_weight_equivalence_on_sparse_data": "sample_weight is not equivalent to repeating samples",
    },
)
def test_estimator_checks(estimator, check):
    check(estimator)


def test_parameters():
    ours, theirs = Perceptron().get_params(), SKLEARN().get_params()
    assert ours.pop("activation") == "step"
    assert ours.pop("average") is False
    assert ours == theirs
    for name in ("loss", "learning_rate", "epsilon", "power_t", "average"):
        assert getattr(Perceptron(), name) == getattr(SKLEARN(), name)


@parity
def test_methods():
    X, y = DATA["binary"]
    ours, theirs = Perceptron().fit(X, y), SKLEARN().fit(X, y)
    missing = {name for name in dir(theirs) if not name.startswith("_")} - set(dir(ours))
    assert missing == {"loss_functions"}  # a table of scikit-learn's private classes
    for name in ("predict_proba", "predict_log_proba"):
        assert not hasattr(ours, name)
    for base in Perceptron.__mro__:
        assert not base.__module__.startswith("sklearn.linear_model")


X_BAD, Y_BAD = np.arange(12.0).reshape(6, 2), np.array([0, 1, 0, 1, 0, 1])


@parity
@pytest.mark.parametrize(
    "parameters",
    [
        {"penalty": "l3"},
        {"alpha": -1},
        {"alpha": "large"},
        {"l1_ratio": 1.5},
        {"l1_ratio": None},
        {"fit_intercept": "yes"},
        {"max_iter": 0},
        {"max_iter": 2.5},
        {"tol": -1e-3},
        {"tol": "auto"},
        {"shuffle": "no"},
        {"verbose": -1},
        {"eta0": 0},
        {"n_jobs": 1.5},
        {"random_state": "seed"},
        {"early_stopping": "yes"},
        {"validation_fraction": 0.0},
        {"validation_fraction": 1.0},
        {"n_iter_no_change": 0},
        {"class_weight": "unbalanced"},
        {"class_weight": {0: 1, 5: 2}},
        {"warm_start": "yes"},
        {"early_stopping": True, "validation_fraction": 0.01},
    ],
    ids=str,
)
def test_bad_parameters(parameters):
    ours = outcome(lambda: Perceptron(**parameters).fit(X_BAD, Y_BAD))
    assert ours is not None
    assert ours == outcome(lambda: SKLEARN(**parameters).fit(X_BAD, Y_BAD))


SPARSE_64 = csr_array(X_BAD)
SPARSE_64.indices = SPARSE_64.indices.astype(np.int64)

BAD_CALLS = {
    "no y": lambda p: p.fit(X_BAD, None),
    "one dimension": lambda p: p.fit(X_BAD[:, 0], Y_BAD),
    "zero rows": lambda p: p.fit(X_BAD[:0], Y_BAD[:0]),
    "zero columns": lambda p: p.fit(X_BAD[:, :0], Y_BAD),
    "lengths differ": lambda p: p.fit(X_BAD, Y_BAD[:4]),
    "nan": lambda p: p.fit(np.where(X_BAD == 3, np.nan, X_BAD), Y_BAD),
    "inf": lambda p: p.fit(np.where(X_BAD == 3, np.inf, X_BAD), Y_BAD),
    "text": lambda p: p.fit([["a", "b"]] * 6, Y_BAD),
    "complex": lambda p: p.fit(X_BAD * 1j, Y_BAD),
    "one class": lambda p: p.fit(X_BAD, np.zeros(6)),
    "regression target": lambda p: p.fit(X_BAD, np.linspace(0, 1, 6)),
    "two-column target": lambda p: p.fit(X_BAD, np.stack([Y_BAD, Y_BAD], axis=1)),
    "int64 indices": lambda p: p.fit(SPARSE_64, Y_BAD),
    "coef_init": lambda p: p.fit(X_BAD, Y_BAD, coef_init=np.zeros((1, 3))),
    "coef_init of several": lambda p: p.fit(X_BAD, [0, 1, 2, 0, 1, 2], coef_init=np.zeros((1, 2))),
    "intercept_init": lambda p: p.fit(X_BAD, Y_BAD, intercept_init=np.zeros(2)),
    "intercept_init of several": lambda p: p.fit(X_BAD, [0, 1, 2, 0, 1, 2], intercept_init=np.zeros(2)),
    "sample_weight length": lambda p: p.fit(X_BAD, Y_BAD, sample_weight=np.ones(5)),
    "sample_weight nan": lambda p: p.fit(X_BAD, Y_BAD, sample_weight=np.full(6, np.nan)),
    "sample_weight zero": lambda p: p.fit(X_BAD, Y_BAD, sample_weight=np.zeros(6)),
    "sample_weight zero, validation": lambda p: p.set_params(early_stopping=True, validation_fraction=0.4).fit(
        X_BAD, Y_BAD, sample_weight=np.zeros(6)
    ),
    "overflow": lambda p: p.fit(X_BAD * 1e308 / 11, Y_BAD),
    "overflow of float32": lambda p: p.set_params(eta0=1e38).fit(X_BAD.astype(np.float32), Y_BAD),
    "overflow of one class in three": lambda p: p.fit(X_BAD * 1e308 / 11, [0, 1, 2, 0, 1, 2]),
    "not fitted": lambda p: p.predict(X_BAD),
    "not fitted, scores": lambda p: p.decision_function(X_BAD),
    "not fitted, densify": lambda p: p.densify(),
    "not fitted, sparsify": lambda p: p.sparsify(),
    "columns at predict": lambda p: p.fit(X_BAD, Y_BAD).predict(X_BAD[:, :1]),
    "partial_fit without classes": lambda p: p.partial_fit(X_BAD, Y_BAD),
    "partial_fit with an unknown label": lambda p: p.partial_fit(X_BAD, Y_BAD, classes=[0, 2]),
    "partial_fit with other classes": lambda p: p.partial_fit(X_BAD, Y_BAD, classes=[0, 1]).partial_fit(
        X_BAD, Y_BAD, classes=[0, 1, 2]
    ),
    "partial_fit with other columns": lambda p: p.partial_fit(X_BAD, Y_BAD, classes=[0, 1]).partial_fit(
        X_BAD[:, :1], Y_BAD
    ),
    "partial_fit with early stopping": lambda p: p.set_params(early_stopping=True).partial_fit(X_BAD, Y_BAD, [0, 1]),
    "partial_fit balanced": lambda p: p.set_params(class_weight="balanced").partial_fit(X_BAD, Y_BAD, [0, 1]),
    "warm start with other columns": lambda p: p.set_params(warm_start=True).fit(X_BAD, Y_BAD).fit(X_BAD[:, :1], Y_BAD),
}


@parity
@pytest.mark.parametrize("case", list(BAD_CALLS))
def test_bad_calls(case):
    estimator = Perceptron()
    with np.errstate(all="ignore"):
        ours = outcome(lambda: BAD_CALLS[case](estimator))
        assert ours is not None
        assert ours == outcome(lambda: BAD_CALLS[case](SKLEARN()))
    estimator.set_params(**Perceptron().get_params()).fit(X_BAD, Y_BAD)  # still usable
    assert estimator.predict(X_BAD).shape == (6,)


def test_a_failed_fit_keeps_the_last_one():
    estimator = Perceptron().fit(X_BAD, Y_BAD)
    before = estimator.decision_function(X_BAD)
    for bad in ({"sample_weight": np.ones(5)}, {"coef_init": np.zeros(9)}):
        with pytest.raises(ValueError):
            estimator.fit(X_BAD, Y_BAD, **bad)
        assert np.array_equal(estimator.decision_function(X_BAD), before)


@pytest.mark.parametrize("as_labels", [np.array, list])
def test_a_failed_fit_keeps_the_names_of_features(as_labels):
    import pandas as pd

    names = list("abcdefgh")[: X_BAD.shape[1]]
    estimator = Perceptron().fit(pd.DataFrame(X_BAD, columns=names), Y_BAD)
    with pytest.raises(ValueError, match="NaN"):
        estimator.fit(X_BAD * np.nan, as_labels(Y_BAD))
    assert list(estimator.feature_names_in_) == names


@pytest.mark.parametrize(
    ("indices", "indptr", "message"),
    [
        ([0, 7], [0, 1, 2], "column indices outside"),
        ([0, -1], [0, 1, 2], "column indices outside"),
        ([0, 1], [0, 2, 1], "index pointer"),
        ([0, 1], [0, 1, 5], "index pointer"),
    ],
)
def test_broken_sparse_matrices(indices, indptr, message):
    X = csr_array((np.ones(2), np.array([0, 1], np.int32), np.array([0, 1, 2], np.int32)), shape=(2, 2))
    X.indices, X.indptr = np.array(indices, np.int32), np.array(indptr, np.int32)
    with pytest.raises(ValueError, match=message):
        Perceptron().fit(X, [0, 1])


def test_sparsify_and_densify():
    X, y = DATA["multiclass"]
    ours, theirs = Perceptron(penalty="l1").fit(X, y), SKLEARN(penalty="l1").fit(X, y)
    expected = ours.predict(X)
    assert ours.sparsify() is ours
    theirs.sparsify()
    assert type(ours.coef_) is type(theirs.coef_)
    assert np.array_equal(ours.predict(X), expected)
    with pytest.raises(ValueError, match="densify"):
        ours.partial_fit(X, y)
    assert ours.densify() is ours
    ours.partial_fit(X, y)


def test_pickle_copy_clone():
    X, y = DATA["multiclass"]
    fitted = Perceptron(penalty="l2", activation="tanh", eta0=0.01, max_iter=5).fit(X, y)
    for other in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted), copy.copy(fitted)):
        assert np.array_equal(other.decision_function(X), fitted.decision_function(X))
    new = clone(fitted)
    assert new.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        new.predict(X)


def test_the_callers_arrays_stay_as_they_are():
    X, y = DATA["binary"]
    coef, intercept, weight = np.ones((1, X.shape[1])), np.ones(1), np.ones(len(y))
    arrays = [X, y, coef, intercept, weight]
    for array in arrays:
        array.flags.writeable = False
    before = [array.copy() for array in arrays]
    try:
        estimator = Perceptron(warm_start=True).fit(X, y, coef, intercept, weight)
        first = estimator.coef_
        kept = first.copy()
        estimator.fit(X, y)
        estimator.partial_fit(X, y)
        assert np.array_equal(first, kept)
    finally:
        for array in arrays:
            array.flags.writeable = True
    for array, old in zip(arrays, before, strict=True):
        assert np.array_equal(array, old)


def test_partial_fit_takes_the_dtype_of_X():
    X, y = DATA["multiclass"]
    estimator = Perceptron().fit(X, y)
    assert estimator.coef_.dtype == np.float64
    assert estimator.partial_fit(X.astype(np.float32), y).coef_.dtype == np.float32


# ---- learning --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gate", ["AND", "OR"])
@pytest.mark.parametrize("activation", ["step", "sigmoid", "logistic", "tanh", "relu", "leaky_relu"])
def test_learns_what_a_line_can_separate(activation, gate):
    """From zero and from random weights; positive ones, for a rectified neuron must not start silent everywhere."""
    rng = np.random.default_rng(8)
    starts = [np.zeros(2)] if activation != "relu" else []
    starts += list(rng.uniform(0.1, 0.9, size=(10, 2)))
    if activation == "step":
        starts += list(rng.normal(size=(10, 2)))  # Rosenblatt's rule converges from anywhere
    for coef_init in starts:
        estimator = Perceptron(activation=activation, eta0=0.2, tol=None, max_iter=500)
        estimator.fit(AND_X, GATES[gate], coef_init=coef_init)
        assert np.array_equal(estimator.predict(AND_X), GATES[gate])


@pytest.mark.parametrize("activation", ["step", "sigmoid", "tanh", "leaky_relu"])
def test_no_neuron_learns_xor(activation):
    for coef_init in [np.zeros(2), *np.random.default_rng(8).normal(size=(10, 2))]:
        estimator = Perceptron(activation=activation, eta0=0.2, tol=None, max_iter=300)
        assert estimator.fit(AND_X, GATES["XOR"], coef_init=coef_init).score(AND_X, GATES["XOR"]) <= 0.75


def test_a_relu_neuron_needs_a_start():
    with pytest.warns(ConvergenceWarning, match="coef_init"):
        estimator = Perceptron(activation="relu").fit(AND_X, GATES["AND"])
    assert not estimator.coef_.any()
    assert not estimator.intercept_.any()


# f, its slope and its two targets, by definition and in float64.
DEFINITIONS = {
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2, 0.0, 1.0),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2, -1.0, 1.0),
    "relu": (lambda z: np.maximum(z, 0), lambda z: float(z > 0), 0.0, 1.0),
    "leaky_relu": (lambda z: np.where(z > 0, z, 0.01 * z), lambda z: 1.0 if z > 0 else 0.01, 0.0, 1.0),
}


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("activation", list(DEFINITIONS))
def test_the_delta_rule_follows_the_gradient(activation, label):
    """One update is -eta0 times the gradient of 1/2 (f(w x + b) - t)^2, found by central differences."""
    f, _, negative, positive = DEFINITIONS[activation]
    rng = np.random.default_rng(9)
    n_compared = 0
    for _ in range(20):
        x, w, b = rng.normal(size=5), rng.normal(size=5), rng.normal()
        target = positive if label else negative

        def loss(parameters, x=x, target=target):
            return 0.5 * (f(x @ parameters[:-1] + parameters[-1]) - target) ** 2

        at, h = np.append(w, b), 1e-5
        if abs(x @ w + b) < 1e-3:
            continue  # a kink of relu within reach of h
        gradient = np.array([(loss(at + h * e) - loss(at - h * e)) / (2 * h) for e in np.eye(6)])
        # The second sample, of the other class, has no weight.
        estimator = Perceptron(activation=activation, eta0=0.5, max_iter=1, tol=None, shuffle=False)
        estimator.fit([x, x], [label, 1 - label], coef_init=w, intercept_init=[b], sample_weight=[1, 0])
        update = np.append(estimator.coef_, estimator.intercept_) - at
        # h^2 / 6 times the third derivative (below 50 here), plus the rounding of the loss over h.
        np.testing.assert_allclose(update, -0.5 * gradient, rtol=0, atol=50 * h**2 / 6 + 1e-14 / h)
        n_compared += 1
    assert n_compared >= 15


def delta_rule(activation, X, y, eta0, n_epochs, penalty=0.0):
    """The definition, one sample after the other, in float64: weights, intercept, mean objective of each epoch."""
    f, slope, negative, positive = DEFINITIONS[activation]
    w, b, objectives = np.full(X.shape[1], 0.1), 0.1, []
    for _ in range(n_epochs):
        objective = 0.0
        for x, label in zip(X, y, strict=True):
            z = x @ w + b
            error = f(z) - (positive if label else negative)
            objective += 0.5 * error**2 + penalty * 0.5 * (w @ w)
            step = -eta0 * error * slope(z)
            w = w * (1 - eta0 * penalty) + step * x
            b += step
        objectives.append(objective / len(y))
    return w, b, objectives


@pytest.mark.parametrize("penalty", [0.0, 0.01])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("activation", list(DEFINITIONS))
def test_the_delta_rule_by_definition(activation, dtype, penalty, isa):
    rng = np.random.default_rng(10)
    X = rng.normal(size=(30, 4)).astype(dtype)
    y = X[:, 0] + 0.5 * X[:, 1] + 0.2 * rng.normal(size=30) > 0
    w, b, _ = delta_rule(activation, X.astype(np.float64), y, 0.05, 10, penalty)
    settings = {"penalty": "l2" if penalty else None, "alpha": penalty, "max_iter": 10, "tol": None, "shuffle": False}
    estimator = Perceptron(activation=activation, eta0=0.05, **settings)
    estimator.fit(X, y, coef_init=np.full(4, 0.1), intercept_init=[0.1])
    # 300 updates of at most 1, each with a few roundings.
    bound = 300 * 8 * np.finfo(dtype).eps
    np.testing.assert_allclose(estimator.coef_[0], w, rtol=0, atol=bound)
    np.testing.assert_allclose(estimator.intercept_[0], b, rtol=0, atol=bound)

    f, _, negative, positive = DEFINITIONS[activation]
    scores = f(X.astype(np.float64) @ w + b) - (negative + positive) / 2
    np.testing.assert_allclose(estimator.decision_function(X), scores, rtol=0, atol=20 * bound)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "leaky_relu"])
def test_the_delta_rule_stops_as_step_does(activation):
    rng = np.random.default_rng(12)
    X = rng.normal(size=(40, 3))
    y = X[:, 0] > 0
    _, _, objectives = delta_rule(activation, X, y, 0.02, 400, 0.001)
    best, stalled, n_iter = np.inf, 0, 0
    while stalled < 5:
        objective = objectives[n_iter]
        stalled = stalled + 1 if objective > best - 1e-3 else 0
        best = min(best, objective)
        n_iter += 1
    assert 5 < n_iter < 400
    estimator = Perceptron(activation=activation, eta0=0.02, penalty="l2", alpha=0.001, shuffle=False, max_iter=400)
    assert estimator.fit(X, y, coef_init=np.full(3, 0.1), intercept_init=[0.1]).n_iter_ == n_iter


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("penalty", [None, "l2", "l1", "elasticnet"])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "leaky_relu"])
def test_the_delta_rule_with_several_classes(activation, penalty, dtype, sparse, early_stopping):
    X, y = DATA["multiclass"]
    X = ((X - X.mean(axis=0)) / X.std(axis=0)).astype(dtype)
    X = csr_array(X) if sparse else X
    estimator = Perceptron(activation=activation, penalty=penalty, eta0=0.05, early_stopping=early_stopping, n_jobs=2)
    assert estimator.fit(X, y).score(X, y) > 0.75
    assert estimator.decision_function(X).shape == (150, 3)
    assert estimator.coef_.dtype == dtype


def test_early_stopping_scores_what_predict_says():
    """With L2 the stored weights lack the scale: the delta rule must not be scored on them."""
    X, y = DATA["binary"]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    printed = Perceptron(
        activation="sigmoid", penalty="l2", alpha=0.05, eta0=0.05, early_stopping=True, max_iter=4, tol=None
    ).fit(X, y)
    assert 0.9 < printed.score(X, y)


def test_the_delta_rule_overflows_as_step_does():
    with pytest.raises(ValueError, match="Floating-point under-/overflow occurred at epoch #"):
        Perceptron(activation="leaky_relu", eta0=1e6, max_iter=1000, tol=None).fit(X_BAD, Y_BAD)


# ---- averages --------------------------------------------------------------------------------------------------------


def sgd(**settings):
    """scikit-learn's averaged perceptron."""
    defaults = {"loss": "perceptron", "learning_rate": "constant", "eta0": 1.0, "penalty": None, "random_state": 0}
    return sklearn.linear_model.SGDClassifier(**(defaults | {"average": True} | settings))


def themselves(model):
    """The weights and intercepts that an averaging model trains."""
    return model._averages[:2]


def assert_same_averages(ours, theirs):
    """All but rounding: scikit-learn rounds sums of up to n |w| in X's dtype, n times, and divides them by n."""
    for name in ("n_iter_", "t_"):
        assert getattr(ours, name) == getattr(theirs, name)
    largest = max(np.abs(part).max() for part in (ours.coef_, *themselves(ours)))
    bound = 4 * (ours.t_ - 1) * np.finfo(ours.coef_.dtype).eps * largest
    for name in ("coef_", "intercept_"):
        a, b = getattr(ours, name), getattr(theirs, name)
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_allclose(a, b, rtol=0, atol=bound)


def trajectory(model, X, y):
    """Weights (n, n_features) and intercepts (n,) of a binary model after each sample, one partial_fit each."""
    weights, intercepts = [], []
    for i in range(X.shape[0]):
        model.partial_fit(X[i : i + 1], y[i : i + 1], classes=[0, 1])
        weights.append(model.coef_[0].astype(np.float64))
        intercepts.append(model.intercept_[0])
    return np.array(weights), np.array(intercepts)


@parity
@same_arithmetic
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("penalty", [None, "l2"])
@pytest.mark.parametrize("data", list(DATA))
def test_averages_are_those_of_sgd_classifier(data, penalty, dtype, sparse):
    """With `average`, training does not change by a bit."""
    X, y = DATA[data]
    X = X.astype(dtype)
    X = csr_matrix(X) if sparse else X
    others = itertools.cycle([(None, 1.0, True), ("balanced", 0.3, True), (dict_weight(y), 0.3, False)])
    for shuffle, early_stopping, average in itertools.product([True, False], [True, False], [True, 1, 2, 40]):
        class_weight, eta0, fit_intercept = next(others)
        settings = {
            "penalty": penalty,
            "alpha": 0.001,
            "shuffle": shuffle,
            "fit_intercept": fit_intercept,
            "class_weight": class_weight,
            "early_stopping": early_stopping,
            "eta0": eta0,
            "max_iter": 8,
            "n_iter_no_change": 2,
            "random_state": 5,
        }
        ours = Perceptron(average=average, **settings).fit(X, y)
        assert_same_averages(ours, sgd(average=average, **settings).fit(X, y))
        plain = Perceptron(**settings).fit(X, y)
        assert ours.n_iter_ == plain.n_iter_
        for a, b in zip(themselves(ours), (plain.coef_, plain.intercept_), strict=True):
            assert np.array_equal(a, b)


@same_arithmetic
@pytest.mark.parametrize("data", list(DATA))
def test_averages_with_sample_weight_and_warm_start_are_those_of_sgd_classifier(data):
    X, y = DATA[data]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    weight = np.random.default_rng(3).uniform(0, 2, len(y))
    settings = {"average": 10, "max_iter": 3, "tol": None, "warm_start": True}
    ours, theirs = Perceptron(**settings), sgd(**settings)
    for _ in range(3):  # from averages, into new ones
        assert_same_averages(ours.fit(X, y, sample_weight=weight), theirs.fit(X, y, sample_weight=weight))


@same_arithmetic
@pytest.mark.parametrize("data", list(DATA))
def test_partial_fit_of_averages_is_that_of_sgd_classifier(data):
    """Without intercepts: those of several classes scikit-learn mixes up with their averages."""
    X, y = DATA[data]
    ours, theirs = (C(average=30, fit_intercept=False) for C in (Perceptron, sgd))
    for part in np.array_split(np.random.default_rng(1).permutation(len(y)), 7):
        for model in (ours, theirs):
            model.partial_fit(X[part], y[part], classes=np.unique(y))
        assert_same_averages(ours, theirs)


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("activation", ["step", "tanh", "leaky_relu"])
def test_an_average_is_the_mean_after_each_sample(activation, dtype, sparse):
    """Of the weights as they are rounded, in float32 too; of those from the sample on that `average` says."""
    X, y = DATA["binary"]
    X, y = ((X - X.mean(axis=0)) / X.std(axis=0)).astype(dtype)[:90], y[:90]
    X = csr_array(X) if sparse else X
    settings = {"activation": activation, "eta0": 0.3, "shuffle": False, "tol": None, "max_iter": 1}
    weights, intercepts = trajectory(Perceptron(**settings), X, y)
    for average in (True, 1, 2, 37, 90):
        model = Perceptron(average=average, **settings).fit(X, y)
        for got, values in ((model.coef_[0], weights), (model.intercept_[0], intercepts)):
            mean = values[int(average) - 1 :].mean(axis=0)
            # Two sums in float64, in which terms of 90 |w| may cancel, and one rounding to dtype.
            slack = 4 * 90 * np.finfo(np.float64).eps * np.abs(values).max() + np.finfo(dtype).eps / 2 * np.abs(mean)
            assert np.all(np.abs(got - mean) <= slack)
    model = Perceptron(average=91, **settings).fit(X, y)
    assert np.array_equal(model.coef_[0], weights[-1])
    assert model.intercept_[0] == intercepts[-1]


# The step along x for eta0 = 1, and the target of the negative class.
STEPS = {
    "step": (lambda z, t: t * (z * t <= 0), -1.0),
    "sigmoid": (lambda z, t: (t - DEFINITIONS["sigmoid"][0](z)) * DEFINITIONS["sigmoid"][1](z), 0.0),
}


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("penalty", [None, "l1", "l2", "elasticnet"])
@pytest.mark.parametrize("activation", list(STEPS))
def test_averages_by_definition(activation, penalty, dtype, sparse, isa):
    """With L2 the scale shrinks to 1e-13 in all, so that it is folded into the weights on the way."""
    rng = np.random.default_rng(21)
    X = (rng.normal(size=(120, 8)) * (rng.random((120, 8)) < 0.6)).astype(dtype)
    y = X[:, 0] + 0.5 * X[:, 1] + 0.3 * rng.normal(size=120) > 0
    step, negative = STEPS[activation]
    alpha = 0.1 if penalty else 0.0
    ratio = {None: 0.0, "l1": 1.0, "l2": 0.0, "elasticnet": 0.3}[penalty]
    weights, intercepts = reference.perceptron(
        X.astype(np.float64),
        np.where(y, 1.0, negative),
        step,
        n_epochs=5,
        eta0=0.5,
        l1=alpha * ratio,
        l2=alpha * (1 - ratio),
        sparse=sparse,
    )
    settings = {"penalty": penalty, "alpha": alpha, "l1_ratio": 0.3, "eta0": 0.5, "activation": activation}
    Z = csr_array(X) if sparse else X
    for average in (1, 50):
        model = Perceptron(average=average, max_iter=5, tol=None, shuffle=False, **settings).fit(Z, y)
        # 600 updates, each with a few roundings.
        bound = 600 * 8 * np.finfo(dtype).eps * np.abs(weights).max()
        np.testing.assert_allclose(model.coef_[0], weights[average - 1 :].mean(axis=0), rtol=0, atol=bound)
        np.testing.assert_allclose(model.intercept_[0], intercepts[average - 1 :].mean(), rtol=0, atol=bound)


def test_averages_keep_their_digits_while_the_scale_shrinks():
    """To 1e-9 within an epoch: weight_sum and scale_sum * weights are then up to 1e9 times what is left of them."""
    rng = np.random.default_rng(23)
    X = rng.normal(size=(3000, 4))
    y = X[:, 0] + rng.normal(size=3000) > 0
    weights, _ = reference.perceptron(X, np.where(y, 1.0, 0.0), STEPS["sigmoid"][0], eta0=0.1, l2=0.2)
    settings = {"activation": "sigmoid", "penalty": "l2", "alpha": 0.2, "eta0": 0.1, "shuffle": False}
    model = Perceptron(average=True, max_iter=1, tol=None, **settings).fit(X, y)
    # 3000 roundings of a sum, of independent signs, while up to 1000 times of it cancels.
    bound = 1000 * np.sqrt(3000) * np.finfo(np.float64).eps * np.abs(weights.mean(axis=0)).max()
    np.testing.assert_allclose(model.coef_[0], weights.mean(axis=0), rtol=0, atol=bound)


@pytest.mark.parametrize("average", [1, 250])
@pytest.mark.parametrize("data", list(DATA))
def test_partial_fit_goes_on_with_the_average(data, average):
    """Whole numbers: the sums are exact, so that five calls give the bits of a fit of five epochs."""
    X, y = DATA[data]
    X = np.rint(X)
    settings = {"average": average, "shuffle": False}
    parts = Perceptron(**settings)
    for _ in range(5):
        parts = pickle.loads(pickle.dumps(parts.partial_fit(X, y, classes=np.unique(y))))
        copy.copy(parts).partial_fit(X, y)  # shares the sums, and adds to others
    whole = Perceptron(max_iter=5, tol=None, **settings).fit(X, y)
    for a, b in zip((parts.coef_, parts.intercept_), (whole.coef_, whole.intercept_), strict=True):
        assert np.array_equal(a, b)
        assert a.dtype == b.dtype
    assert not np.array_equal(whole.coef_, themselves(whole)[0])
    assert parts.t_ == whole.t_ == 5 * len(y) + 1


def test_an_average_begins_between_two_calls():
    X, y = DATA["binary"]
    X = np.rint(X)
    weights, intercepts = trajectory(Perceptron(), X[:60], y[:60])
    model = Perceptron(average=25, shuffle=False)
    for end in range(10, 70, 10):
        model.partial_fit(X[end - 10 : end], y[end - 10 : end], classes=[0, 1])
        counted = slice(24 if end >= 25 else end - 1, end)
        assert np.array_equal(model.coef_[0], weights[counted].mean(axis=0))
        assert model.intercept_[0] == intercepts[counted].mean()


@pytest.mark.parametrize("data", list(DATA))
def test_average_may_change_between_two_calls(data):
    """Raised to a sample that is yet to come, it begins there, and until then all is as without; lowered, now."""
    X, y = DATA[data][0][:60], DATA[data][1][:60]

    def after(*parts):
        """Trained on the samples up to each end, with its `average`."""
        model, begin = Perceptron(shuffle=False), 0
        for average, end in parts:
            model.set_params(average=average).partial_fit(X[begin:end], y[begin:end], classes=np.unique(DATA[data][1]))
            begin = end
        return model

    for changed, plain in (
        (after((1, 20), (41, 30)), after((False, 30))),
        (after((1, 20), (41, 30), (41, 60)), after((41, 60))),
        (after((1, 20), (41, 60)), after((41, 60))),
        (after((100, 20), (1, 60)), after((21, 60))),
        (after((11, 20), (1, 60)), after((11, 60))),
    ):
        np.testing.assert_allclose(changed.coef_, plain.coef_, rtol=1e-12)  # the sums of other parts of the samples
        np.testing.assert_allclose(changed.intercept_, plain.intercept_, rtol=1e-12)


def test_a_neuron_whose_average_has_not_begun_keeps_its_weights():
    """t_ counts samples held out, and epochs that other classes need: `average` of them, this neuron has not seen."""
    X, y = DATA["binary"]
    settings = {"early_stopping": True, "max_iter": 1, "tol": None}
    model = Perceptron(average=len(y), **settings).fit(X, y)
    assert model.t_ - 1 == model.average
    assert np.array_equal(model.coef_, Perceptron(**settings).fit(X, y).coef_)

    X, y = DATA["multiclass"]
    plain = Perceptron().fit(X, y)
    late = Perceptron(average=int(plain.t_) - 1).fit(X, y)  # the last sample of the class that took longest
    n_plain = sum(np.array_equal(a, b) for a, b in zip(late.coef_, plain.coef_, strict=True))
    assert n_plain >= 2
    assert late._averages[4].max() == 1


@pytest.mark.parametrize("data", list(DATA))
def test_partial_fit_goes_on_from_assigned_weights(data):
    """And begins a new average; so it does after a call without `average`, which goes on from what coef_ shows."""
    X, y = DATA[data]

    def in_place(model):
        model.coef_ *= 2

    def assigned(model):
        model.intercept_ = model.intercept_ + 1

    def switched_off(model):
        model.set_params(average=False).partial_fit(X, y).set_params(average=1)

    for change in (in_place, assigned, switched_off):
        model = Perceptron(average=1, shuffle=False, tol=None, max_iter=1).fit(X, y)
        change(model)
        start = model.coef_.copy(), model.intercept_.copy()
        assert np.array_equal(model.partial_fit(X, y).coef_, clone(model).fit(X, y, *start).coef_), change

    model.set_params(average=False)
    start = model.coef_.copy(), model.intercept_.copy()
    assert np.array_equal(model.partial_fit(X, y).coef_, clone(model).fit(X, y, *start).coef_)
    sparse = clone(model).set_params(average=1).fit(X, y)
    dense = copy.deepcopy(sparse)
    with pytest.raises(ValueError, match="densify"):
        sparse.sparsify().partial_fit(X, y)
    assert np.array_equal(sparse.densify().partial_fit(X, y).coef_, dense.partial_fit(X, y).coef_)


def test_averages_take_the_dtype_of_X():
    X, y = DATA["multiclass"]
    model = Perceptron(average=True).partial_fit(X, y, classes=[0, 1, 2])
    assert model.coef_.dtype == model.intercept_.dtype == np.float64
    model.partial_fit(X.astype(np.float32), y)
    assert model.coef_.dtype == model.intercept_.dtype == np.float32


def test_threads_do_not_change_averages():
    X, y = load_digits(return_X_y=True)
    one, two = (Perceptron(n_jobs=n, average=True).fit(X, y) for n in (1, 2))
    assert np.array_equal(one.coef_, two.coef_)
    assert np.array_equal(one.intercept_, two.intercept_)


@pytest.mark.parametrize("eta0", [1e307, 1e308])
def test_sums_that_overflow(eta0):
    """The largest number is 1.8e308. A weight of 1e307 twenty times is too much, and an intercept of -1e308 twice."""
    X, y = (AND_X, GATES["AND"]) if eta0 == 1e308 else (np.ones((20, 1)), np.arange(20) < 19)
    settings = {"eta0": eta0, "fit_intercept": eta0 == 1e308, "tol": None, "max_iter": 1, "shuffle": False}
    Perceptron(**settings).fit(X, y)
    with pytest.raises(ValueError, match="Floating-point under-/overflow occurred at epoch #1"):
        Perceptron(average=True, **settings).fit(X, y)


@parity
@pytest.mark.parametrize("average", [0, -1, 1.5, "yes", None])
def test_bad_averages(average):
    ours = outcome(lambda: Perceptron(average=average).fit(X_BAD, Y_BAD))
    kind, text = outcome(lambda: sgd(average=average).fit(X_BAD, Y_BAD))
    assert ours == (kind, text.replace("SGDClassifier", "Perceptron"))


def test_a_failed_partial_fit_keeps_the_average():
    model = Perceptron(average=True).fit(X_BAD, Y_BAD)
    untouched = copy.deepcopy(model)
    with pytest.raises(ValueError, match="overflow"):
        model.set_params(eta0=1e308).partial_fit(X_BAD, 1 - Y_BAD)
    model.set_params(eta0=1.0)
    assert np.array_equal(model.coef_, untouched.coef_)
    assert np.array_equal(model.partial_fit(X_BAD, Y_BAD).coef_, untouched.partial_fit(X_BAD, Y_BAD).coef_)


# ---- the binding -----------------------------------------------------------------------------------------------------


def neuron(**changes):
    arrays = {
        "x": X_BAD,
        "target": np.where(Y_BAD, 1.0, -1.0),
        "sample_weight": np.ones(6),
        "order": np.arange(6, dtype=np.intc),
        "weights": np.zeros(2),
        "activation": "step",
    }
    return _core.Neuron(**(arrays | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": X_BAD.astype(np.float32)}, "x has elements of format 'f', expected 'd'"),
        ({"x": X_BAD[:, :1].copy()}, "x has shape"),
        ({"x": np.asfortranarray(X_BAD)}, "x must be C-contiguous"),
        ({"target": np.ones(5)}, "x has shape|sample_weight has shape"),
        ({"order": np.arange(6.0)}, "order has elements of format"),
        ({"held_out": np.zeros(4, bool)}, "held_out has shape"),
        ({"activation": "softmax"}, "unknown activation"),
        ({"penalty": "l1"}, "out of range"),
    ],
    ids=str,
)
def test_the_binding_checks_its_arrays(changes, message):
    with pytest.raises(ValueError, match=message):
        neuron(**changes).epoch()


def test_the_seed_0():
    """xorshift cannot leave 0; scikit-learn takes 1 instead."""
    orders = []
    for seed in (0, 1, 2):
        order = np.arange(6, dtype=np.intc)
        neuron(order=order, seed=seed).epoch()
        orders.append(order.tolist())
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != sorted(orders[0])


def test_an_epoch():
    weights = np.zeros(2)
    alone = sys.getrefcount(weights)
    one = neuron(weights=weights)
    assert one.epoch() is True
    assert one.loss_sum == one.objective_sum
    assert weights.any()
    assert sys.getrefcount(weights) > alone  # the neuron holds it
