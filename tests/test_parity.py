"""The estimators against scikit-learn's: the same data, parameters and random_state must give the same fit.

Two fits are compared array by array: max|difference| / max|reference| over each of coefs_, intercepts_, loss_curve_ and
the predictions. The bounds are the promise of nnfast (1e-8 in float64 after 20 epochs on standardised data, 1e-4 in
float32 after 5); on raw data, where rounding errors grow fast, the bound is 100 times what scikit-learn differs from
itself between two CPUs.
"""

from __future__ import annotations

import itertools
import os
import platform
import subprocess
import sys
import warnings
from collections import ChainMap
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import sklearn.neural_network
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

import nnfast
from estimators import parity

pytestmark = parity

# ---- data and fits --------------------------------------------------------------------------------------------------


def standardised(a):
    return StandardScaler().fit_transform(a)


def digits():
    """The first 500 of scikit-learn's digits: enough for three batches of 200 rows, the last one short."""
    X, y = load_digits(return_X_y=True)
    return X[:500], y[:500]


@cache
def problem(kind):
    """(estimator name, parameters, raw X, y) of a kind of target.

    A regression's y is standardised unless it is called unscaled, a Poisson's is positive with mean 1.
    """
    if kind == "multilabel":
        X, y = digits()
        return "MLPClassifier", {}, X, (y[:, None] >> np.arange(4)) & 1  # the bits of the digit
    if kind == "unscaled regression":
        return "MLPRegressor", {}, *load_diabetes(return_X_y=True, scaled=False)
    if kind.startswith(("regression", "poisson")):
        X, y = load_diabetes(return_X_y=True)
        if kind.endswith("outputs"):
            y = np.column_stack([y, y[::-1] + 50 * X[:, 2], 400 - y])
        if kind.startswith("poisson"):
            return "MLPRegressor", {"loss": "poisson"}, X, y / y.mean()
        return "MLPRegressor", {}, X, standardised(y.reshape(len(y), -1)).reshape(y.shape)
    loaders = {
        "binary": lambda: load_breast_cancer(return_X_y=True),
        "iris": lambda: load_iris(return_X_y=True),
        "wine": lambda: load_wine(return_X_y=True),
        "digits": digits,
    }
    return "MLPClassifier", {}, *loaders[kind]()


def fit(package, kind, X, y, **parameters):
    """Fit the estimator of `package` that the target kind asks for."""
    name, own, _, _ = problem(kind)
    with warnings.catch_warnings():
        # Some fits are meant to be too short, or to overflow; whether the texts agree is tested in test_estimators.py.
        warnings.simplefilter("ignore")
        return getattr(package, name)(random_state=7, **own, **parameters).fit(X, y)


def arrays(estimator, X):
    """What two fits are compared by: name -> array."""
    named = {"loss_curve_": np.array(estimator.loss_curve_)}
    for i, (coef, intercept) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True)):
        named |= {f"coefs_[{i}]": coef, f"intercepts_[{i}]": intercept}
    predict = getattr(estimator, "predict_proba", estimator.predict)
    return named | {"prediction": predict(X)}


def differences(got, want):
    """name -> max|got - want| / max|want|."""
    assert got.keys() == want.keys()
    return {name: relative_difference(got[name], want[name]) for name in want}


def relative_difference(got, want):
    assert got.shape == want.shape
    return float(np.max(np.abs(got - want)) / np.max(np.abs(want)))


def assert_same_fit(kind, X, y, bound, **parameters):
    ours = fit(nnfast, kind, X, y, **parameters)
    theirs = fit(sklearn.neural_network, kind, X, y, **parameters)
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.t_ == theirs.t_
    assert all(w.dtype == X.dtype for w in ours.coefs_ + ours.intercepts_)
    worst = differences(arrays(ours, X), arrays(theirs, X))
    assert all(d <= bound for d in worst.values()), worst


# ---- the grid -------------------------------------------------------------------------------------------------------

# The levels of each factor, by name. Rates are such that 20 epochs move the weights well away from where they began,
# penalties such that no weights decay to rounding errors; `adaptive` has a tolerance that makes it cut its rate several
# times in those 20 epochs.
FACTORS = {
    "kind": {
        name.replace(" ", "-"): name
        for name in (
            *("binary", "iris", "wine", "digits", "multilabel"),
            *("regression", "regression outputs", "poisson", "poisson outputs"),
        )
    },
    "activation": {name: {"activation": name} for name in ("identity", "logistic", "tanh", "relu")},
    "solver": {
        "adam": {"solver": "adam", "learning_rate_init": 0.003},
        "adam-fast": {"solver": "adam", "beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-4, "learning_rate_init": 0.01},
        "sgd": {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.01},
        "momentum": {"solver": "sgd", "momentum": 0.9, "nesterovs_momentum": False, "learning_rate_init": 0.01},
        "nesterov": {"solver": "sgd", "momentum": 0.9, "nesterovs_momentum": True, "learning_rate_init": 0.01},
    },
    "schedule": {
        "constant": {"tol": 0.0, "n_iter_no_change": 20},
        "invscaling": {"learning_rate": "invscaling", "power_t": 0.25, "tol": 0.0, "n_iter_no_change": 20},
        "adaptive": {"learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 1},
    },
    "batch": {
        "auto": {},
        "32": {"batch_size": 32},
        "7": {"batch_size": 7},
        "unshuffled": {"batch_size": 50, "shuffle": False},
    },
    "network": {
        "20": {"hidden_layer_sizes": (20,)},
        "13-9": {"hidden_layer_sizes": (13, 9), "alpha": 0.0},
        "16-8-5": {"hidden_layer_sizes": (16, 8, 5), "alpha": 0.03},
        "linear": {"hidden_layer_sizes": ()},
    },
}
GRID = [dict(zip(FACTORS, levels, strict=True)) for levels in itertools.product(*FACTORS.values())]


def pairs(case):
    """The pairs of levels of different factors that a case holds."""
    return set(itertools.combinations(case.items(), 2))


def covering_cases():
    """A part of the grid in which every two levels of different factors meet; chosen greedily from random cases."""
    rng = np.random.default_rng(0)
    missing = set().union(*(pairs(case) for case in GRID))
    while missing:
        candidates = [GRID[i] for i in rng.choice(len(GRID), size=200, replace=False)]
        best = max(candidates, key=lambda case: len(missing & pairs(case)))
        if missing & pairs(best):
            missing -= pairs(best)
            yield best


def label(case):
    return " ".join(case.values())


def check_grid_case(case):
    kind, *levels = (FACTORS[factor][level] for factor, level in case.items())
    parameters = dict(ChainMap(*levels))
    if case["batch"] == "7":  # so many noisy steps: at the full rates some fits diverge, or multiply rounding
        parameters["learning_rate_init"] /= 4
    _, _, X, y = problem(kind)
    assert_same_fit(kind, standardised(X), y, 1e-8, max_iter=20, **parameters)


COVERING = list(covering_cases())


def test_covering_cases_cover_every_pair():
    assert set().union(*map(pairs, COVERING)) == set().union(*map(pairs, GRID))
    assert len(COVERING) < 100


@pytest.mark.parametrize("case", COVERING, ids=label)
def test_same_fit(case):
    check_grid_case(case)


# All but the network, whose levels take turns: 2160 fits of each package.
@pytest.mark.slow
@pytest.mark.parametrize("case", GRID[:: len(FACTORS["network"])], ids=label)
def test_same_fit_everywhere(case):
    turn = sum(list(levels).index(case[factor]) for factor, levels in FACTORS.items())
    networks = list(FACTORS["network"])
    check_grid_case(case | {"network": networks[turn % len(networks)]})


# ---- stopping -------------------------------------------------------------------------------------------------------


ADAPTIVE = {"solver": "sgd", "learning_rate": "adaptive", "tol": 1e-2, "n_iter_no_change": 2}


@pytest.mark.parametrize("kind", ["binary", "wine", "multilabel", "regression", "poisson outputs"])
@pytest.mark.parametrize(
    "parameters",
    [
        {"solver": "adam", "tol": 1e-3, "learning_rate_init": 0.01},
        {"solver": "adam", "early_stopping": True, "n_iter_no_change": 5},
        {"solver": "sgd", "early_stopping": True, "validation_fraction": 0.3, "learning_rate_init": 0.02, "tol": 1e-3},
        ADAPTIVE | {"learning_rate_init": 0.05},
        ADAPTIVE | {"learning_rate_init": 0.02, "early_stopping": True},
    ],
    ids=["tol", "validation", "validation-sgd", "adaptive", "adaptive-validation"],
)
def test_stops_in_the_same_epoch(kind, parameters):
    _, _, X, y = problem(kind)
    X = standardised(X)
    ours, theirs = (
        fit(package, kind, X, y, hidden_layer_sizes=(20,), activation="tanh", max_iter=400, **parameters)
        for package in (nnfast, sklearn.neural_network)
    )
    assert 1 < theirs.n_iter_ < 400
    assert ours.n_iter_ == theirs.n_iter_
    assert ours._no_improvement_count == theirs._no_improvement_count
    if parameters["solver"] == "sgd":  # Adam's private rate is the corrected one in scikit-learn
        assert ours._optimizer.learning_rate == theirs._optimizer.learning_rate
    if theirs.validation_scores_ is None:
        assert ours.validation_scores_ is None
        assert ours.best_validation_score_ is None
        assert relative_difference(np.array(ours.best_loss_), np.array(theirs.best_loss_)) <= 1e-8
    else:
        assert ours.best_loss_ is None
        assert relative_difference(np.array(ours.validation_scores_), np.array(theirs.validation_scores_)) <= 1e-8
        assert ours.best_validation_score_ == max(ours.validation_scores_)
    # The best weights, not the last, are those that stay after early stopping.
    worst = differences(arrays(ours, X), arrays(theirs, X))
    assert all(d <= 1e-7 for d in worst.values()), worst


# ---- float32 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "solver", [{"solver": "adam"}, {"solver": "sgd", "learning_rate_init": 0.02}], ids=["adam", "sgd"]
)
@pytest.mark.parametrize("activation", FACTORS["activation"])
@pytest.mark.parametrize("kind", FACTORS["kind"].values())
def test_same_fit_float32(kind, activation, solver):
    _, _, X, y = problem(kind)
    X = standardised(X).astype(np.float32)
    assert_same_fit(kind, X, y, 1e-4, activation=activation, hidden_layer_sizes=(20, 10), max_iter=5, **solver)


# ---- raw data -------------------------------------------------------------------------------------------------------

RAW_FITS = [
    (kind, {"activation": activation, "solver": solver, "hidden_layer_sizes": (15,), "max_iter": 20})
    for kind in ("binary", "iris", "wine", "digits", "multilabel", "unscaled regression")
    for activation, solver in itertools.product(FACTORS["activation"], ("adam", "sgd"))
    if (kind, solver) != ("unscaled regression", "sgd")  # diverges
]
# What lets scikit-learn's numbers vary with the CPU: OpenBLAS's kernel and, for tanh, the instruction sets of NumPy (in
# its names: AVX2 with FMA, and AVX-512). The last bit of a tanh near 1 decides the slope of its unit.
REFERENCE = {"OPENBLAS_CORETYPE": "Haswell"}
OTHER_KERNEL = {"OPENBLAS_CORETYPE": "Sandybridge"}
OTHER_TANH = OTHER_KERNEL | {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4"}


def write_raw_fits(path):
    """Save scikit-learn's fits on raw data. Runs in a process of its own, where OPENBLAS_CORETYPE has its effect."""
    np.savez(
        path,
        **{
            f"{i} {name}": array
            for i, (kind, parameters) in enumerate(RAW_FITS)
            for name, array in arrays(
                fit(sklearn.neural_network, kind, *problem(kind)[2:], **parameters), problem(kind)[2]
            ).items()
        },
    )


@pytest.fixture(scope="module")
def raw_fits(tmp_path_factory):
    """scikit-learn's fits on raw data under some environment variables: index of the fit -> name -> array."""
    if platform.machine() != "x86_64":
        pytest.skip("the two OpenBLAS kernels compared are those of x86-64")

    @cache
    def read(*settings):
        path = tmp_path_factory.mktemp("raw") / "fits.npz"
        code = f"import test_parity; test_parity.write_raw_fits({str(path)!r})"
        environment = os.environ | dict(settings)
        environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *sys.path])
        environment["OPENBLAS_NUM_THREADS"] = "1"
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)
        fits = [{} for _ in RAW_FITS]
        with np.load(path) as file:
            for key, array in file.items():
                index, name = key.split(" ", 1)
                fits[int(index)][name] = array
        return fits

    return lambda environment: read(*environment.items())


@pytest.mark.parametrize("index", range(len(RAW_FITS)))
def test_raw_data_within_scikit_learns_own_spread(index, raw_fits):
    kind, parameters = RAW_FITS[index]
    X, y = problem(kind)[2:]
    reference = raw_fits(REFERENCE)[index]
    varied = raw_fits(OTHER_TANH if parameters["activation"] == "tanh" else OTHER_KERNEL)[index]
    own = differences(varied, reference)
    ours = differences(arrays(fit(nnfast, kind, X, y, **parameters), X), reference)
    # A fit whose numbers all came out alike twice still has the rounding of its last operation.
    assert max(ours.values()) <= 100 * max(*own.values(), np.finfo(X.dtype).eps), (ours, own)


def test_the_kernels_compared_do_differ(raw_fits):
    for other in (OTHER_KERNEL, OTHER_TANH):
        pairs_of_fits = zip(raw_fits(REFERENCE), raw_fits(other), strict=True)
        assert any(max(differences(varied, reference).values()) > 0 for reference, varied in pairs_of_fits)


# ---- continued training ---------------------------------------------------------------------------------------------

SGD = {"solver": "sgd", "learning_rate_init": 0.02}
# name -> (parameters, the methods called one after the other)
CONTINUED = {
    "partial-adam": ({"solver": "adam", "learning_rate_init": 0.01}, ["partial_fit"] * 12),
    "partial-nesterov": (SGD, ["partial_fit"] * 12),
    "partial-invscaling": (SGD | {"learning_rate": "invscaling", "power_t": 0.2}, ["partial_fit"] * 12),
    "partial-adaptive": (
        SGD | {"learning_rate": "adaptive", "tol": 0.3, "n_iter_no_change": 1},
        ["partial_fit"] * 12,
    ),
    "partial-stalled": ({"tol": 10.0, "n_iter_no_change": 1}, ["partial_fit"] * 6),  # it goes on all the same
    "partial-unshuffled": ({"shuffle": False}, ["partial_fit"] * 6),
    "partial-after-fit": (SGD, ["fit", "partial_fit", "partial_fit", "fit", "partial_fit"]),
    "warm-adam": ({"warm_start": True}, ["fit"] * 3),
    "warm-adaptive": (
        SGD | {"warm_start": True, "learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 1},
        ["fit"] * 3,
    ),
    # Slow enough for the second fit to improve on the first; what happens otherwise is in test_continuing.py.
    "warm-early-stopping": (
        {"warm_start": True, "early_stopping": True, "validation_fraction": 0.3, "learning_rate_init": 0.0005},
        ["fit"] * 2,
    ),
    "warm-partial": (SGD | {"warm_start": True}, ["partial_fit", "fit", "partial_fit"]),
}


def continued(package, kind, X, y, parameters, methods, change=lambda model, i: None):
    """The estimator after its methods were called in turn on the data, partial_fit on another half of it each time.

    `change` may do something to the model between the calls.
    """
    name, own, _, _ = problem(kind)
    parameters = {"hidden_layer_sizes": (12, 7), "random_state": 3, "max_iter": 5, "batch_size": 40} | own | parameters
    model = getattr(package, name)(**parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i, method in enumerate(methods):
            half = slice(None) if method == "fit" or model.warm_start else slice(i % 2, None, 2)
            classes = {"classes": np.unique(y)} if method == "partial_fit" and name == "MLPClassifier" else {}
            if y.ndim > 1 and classes:  # the labels of multilabel targets are the numbers of their columns
                classes = {"classes": np.arange(y.shape[1])}
            getattr(model, method)(X[half], y[half], **classes)
            change(model, i)
    return model


def assert_same_record(ours, theirs):
    """The attributes that tell how training went agree, private ones that scikit-learn's tests read among them."""
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.t_ == theirs.t_
    assert ours._no_improvement_count == theirs._no_improvement_count
    assert len(ours.loss_curve_) == len(theirs.loss_curve_)
    if theirs.solver == "sgd":  # Adam's private rate is the corrected one in scikit-learn
        assert ours._optimizer.learning_rate == theirs._optimizer.learning_rate
    if theirs.best_loss_ is None:
        assert ours.best_loss_ is None
        np.testing.assert_allclose(ours.validation_scores_, theirs.validation_scores_, rtol=1e-8)
        assert ours.best_validation_score_ == pytest.approx(theirs.best_validation_score_, rel=1e-8)
    else:
        assert ours.best_loss_ == pytest.approx(theirs.best_loss_, rel=1e-8)
        assert ours.validation_scores_ is theirs.validation_scores_ is None


@pytest.mark.parametrize("kind", ["binary", "wine", "multilabel", "regression", "poisson outputs"])
@pytest.mark.parametrize("case", CONTINUED)
def test_same_continued_training(case, kind):
    X, y = problem(kind)[2:]
    X = standardised(X)
    ours, theirs = (continued(p, kind, X, y, *CONTINUED[case]) for p in (nnfast, sklearn.neural_network))
    assert_same_record(ours, theirs)
    worst = differences(arrays(ours, X), arrays(theirs, X))
    assert all(d <= 1e-8 for d in worst.values()), worst


def edit(model, i):
    model.coefs_[0][i % 3] = 0.1
    model.intercepts_[1] *= -1.0


def replace(model, i):
    model.coefs_ = [np.asfortranarray(0.9 * coef) for coef in model.coefs_]
    model.intercepts_[0] = np.full(12, 0.1)


def alter(model, i):
    model.set_params(alpha=0.1 * i, batch_size=20 + i, tol=0.01 * i, activation=("tanh", "relu")[i % 2])


def defer(model, i):
    """Change parameters that only a new optimizer would read."""
    model.set_params(learning_rate_init=0.5, momentum=0.1, beta_1=0.1, learning_rate="adaptive", solver="sgd")


@pytest.mark.parametrize("change", [edit, replace, alter, defer])
@pytest.mark.parametrize("case", ["partial-adam", "partial-nesterov", "partial-after-fit", "warm-adam"])
@pytest.mark.parametrize("kind", ["wine", "regression"])
def test_same_training_after_a_change(kind, case, change):
    X, y = problem(kind)[2:]
    X = standardised(X)
    ours, theirs = (continued(p, kind, X, y, *CONTINUED[case], change) for p in (nnfast, sklearn.neural_network))
    assert ours.t_ == theirs.t_
    worst = differences(arrays(ours, X), arrays(theirs, X))
    assert all(d <= 1e-8 for d in worst.values()), worst


# ---- weights of the rows --------------------------------------------------------------------------------------------

WEIGHTED = {
    "adam": {"learning_rate_init": 0.01},
    "sgd": SGD | {"batch_size": 30},
    "early-stopping": {"early_stopping": True, "learning_rate_init": 0.003, "n_iter_no_change": 20},
    "early-stopping-sgd": SGD | {"early_stopping": True, "tol": 1e-3, "n_iter_no_change": 2, "max_iter": 60},
    "float32": {"dtype": np.float32, "max_iter": 5},
}


def row_weights(n, rng):
    """Weights of many sizes, some of them 0."""
    return np.where(rng.uniform(size=n) < 0.2, 0.0, rng.gamma(0.7, size=n))


def weighted_fit(package, kind, X, y, weights, parameters, methods):
    name, own, _, _ = problem(kind)
    parameters = {"hidden_layer_sizes": (12, 7), "random_state": 3, "max_iter": 20} | own | parameters
    model = getattr(package, name)(**parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for method in methods:
            classes = {}
            if method == "partial_fit" and name == "MLPClassifier":
                classes = {"classes": np.unique(y) if y.ndim == 1 else np.arange(y.shape[1])}
            getattr(model, method)(X, y, sample_weight=weights, **classes)
    return model


@pytest.mark.parametrize(
    "kind", ["binary", "wine", "multilabel", "regression", "regression outputs", "poisson outputs"]
)
@pytest.mark.parametrize("methods", [["fit"], ["partial_fit"] * 5], ids=["fit", "partial_fit"])
@pytest.mark.parametrize("case", WEIGHTED)
def test_same_weighted_fit(case, methods, kind):
    parameters = WEIGHTED[case].copy()
    dtype = parameters.pop("dtype", np.float64)
    if "early_stopping" in parameters and methods != ["fit"]:
        return  # partial_fit has none
    X, y = problem(kind)[2:]
    X = standardised(X).astype(dtype)
    weights = row_weights(len(X), np.random.RandomState(2))
    ours, theirs, plain = (
        weighted_fit(package, kind, X, y, w, parameters, methods)
        for package, w in ((nnfast, weights), (sklearn.neural_network, weights), (nnfast, None))
    )
    assert ours.n_iter_ == theirs.n_iter_
    assert ours._no_improvement_count == theirs._no_improvement_count
    bound = 1e-8 if dtype == np.float64 else 1e-4
    worst = differences(arrays(ours, X), arrays(theirs, X))
    assert all(d <= bound for d in worst.values()), worst
    if "early_stopping" in parameters:
        np.testing.assert_allclose(ours.validation_scores_, theirs.validation_scores_, rtol=1e-8)
    assert relative_difference(ours.coefs_[0], plain.coefs_[0]) > 1e-3  # the weights do weigh
    assert ours.score(X, y, weights) == pytest.approx(theirs.score(X, y, weights), rel=1e-6)


# ---- sparse data ----------------------------------------------------------------------------------------------------


def sparse_digits():
    """The pixels of the digits, half of which are blank, over 16 in float64."""
    X, y = digits()
    return X / 16, y


def unsorted(X):
    """A CSR matrix whose rows are stored backwards, each value in two halves: as legal as any."""
    X = scipy.sparse.csr_array(X)
    rows = [np.repeat(np.arange(b, e)[::-1], 2) for b, e in itertools.pairwise(X.indptr)]
    order = np.concatenate(rows)
    result = scipy.sparse.csr_array((X.data[order] / 2, X.indices[order], 2 * X.indptr), X.shape)
    assert not result.has_canonical_format
    return result


def wide_indices(X):
    X = scipy.sparse.csr_array(X)
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


SPARSE = {
    "csr": scipy.sparse.csr_array,
    "csr matrix": scipy.sparse.csr_matrix,
    "csc": scipy.sparse.csc_array,
    "coo": scipy.sparse.coo_array,
    "unsorted": unsorted,
    "int64": wide_indices,
}


@pytest.mark.parametrize("layout", SPARSE)
@pytest.mark.parametrize(
    "parameters",
    [{}, SGD | {"batch_size": 7}, {"early_stopping": True}, {"warm_start": True}, {"shuffle": False}],
    ids=["adam", "sgd", "early-stopping", "warm", "unshuffled"],
)
@pytest.mark.parametrize("kind", ["digits", "multilabel", "regression"])
def test_same_fit_of_sparse_data(kind, parameters, layout):
    X, y = sparse_digits()
    if kind == "multilabel":
        y = problem("multilabel")[3]
    elif kind == "regression":
        y = standardised(y[:, None])[:, 0]
    sparse = SPARSE[layout](X)
    parameters = {"hidden_layer_sizes": (15, 6), "max_iter": 8} | parameters
    ours = fit(nnfast, kind, sparse, y, **parameters)
    theirs = fit(sklearn.neural_network, kind, scipy.sparse.csr_array(X), y, **parameters)
    dense = fit(nnfast, kind, X, y, **parameters)
    if parameters.get("warm_start"):
        for model in (ours, theirs, dense):
            data = {ours: sparse, theirs: scipy.sparse.csr_array(X), dense: X}[model]
            model.set_params(max_iter=1)
            with pytest.warns(ConvergenceWarning):
                model.fit(data, y)
            model.partial_fit(data, y)
    worst = differences(arrays(ours, sparse), arrays(theirs, X))
    assert all(d <= 1e-8 for d in worst.values()), worst
    # The blanks change nothing: adding a product with 0 is exact.
    worst = differences(arrays(ours, sparse), arrays(dense, X))
    assert all(d <= 1e-8 for d in worst.values()), worst
    np.testing.assert_array_equal(ours.predict(sparse), dense.predict(X))


# ---- L-BFGS ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("activation", FACTORS["activation"])
@pytest.mark.parametrize(
    "kind", ["binary", "iris", "wine", "digits", "multilabel", "regression", "poisson", "poisson outputs"]
)
def test_same_lbfgs(kind, activation, weighted, sparse):
    X, y = problem(kind)[2:]
    X = standardised(X)
    weights = row_weights(len(X), np.random.RandomState(2)) if weighted else None
    X = scipy.sparse.csr_array(X) if sparse else X
    parameters = {"solver": "lbfgs", "activation": activation, "hidden_layer_sizes": (12, 7), "alpha": 0.01}
    ours, theirs = (
        weighted_fit(package, kind, X, y, weights, parameters | {"max_iter": 20}, ["fit"])
        for package in (nnfast, sklearn.neural_network)
    )
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-8)
    for got, want in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        assert relative_difference(got, want) <= 1e-6
    assert ours.t_ == theirs.t_ == 0
