"""The checks of X and y that are left out for plain arrays (nnfast._checks): everything is as after scikit-learn's."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_random_state, compute_class_weight
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import validate_data

from nnfast import MLPClassifier, MLPRegressor, Perceptron, _checks

X = np.random.default_rng(0).standard_normal((6, 4))
PACKED = np.zeros(6, [("", "b"), ("x", "f8", 4)])["x"]  # elements at odd addresses
CSR = sparse.csr_matrix(X * (X > 0))


def with_one(value, X=X):
    changed = X.copy()
    if sparse.issparse(X):
        changed.data[-1] = value
    else:
        changed[-1, -1] = value
    return changed


def with_long_indptr(X):
    changed = X.copy()
    changed.indptr = X.indptr.astype(np.int64)
    return changed


MATRICES = {
    "float64": X,
    "float32": X.astype(np.float32),
    "one row": X[:1],
    "every other row": X[::2],
    "some columns": np.hstack([X, X])[:, 2:6],
    "Fortran": np.asfortranarray(X),
    "backwards": X[::-1],
    "mirrored": X[:, ::-1],
    "big-endian": X.astype(">f8"),
    "unaligned": PACKED,
    "integers": X.astype(int),
    "half": X.astype(np.float16),
    "complex": X.astype(complex),
    "objects": X.astype(object),
    "strings": X.astype(str),
    "list": X.tolist(),
    "frame": pd.DataFrame(X, columns=list("abcd")),
    "frame without names": pd.DataFrame(X),
    "frame of odd names": pd.DataFrame(X, columns=["dtype", "shape", "ndim", "flags"]),
    "np.matrix": X.view(np.matrix),
    "masked": np.ma.array(X),
    "NaN": with_one(np.nan),
    "infinite": with_one(np.inf),
    "no rows": X[:0],
    "no columns": X[:, :0],
    "fewer columns": X[:, :3],
    "vector": X[0],
    "three axes": X[None],
    "CSR": CSR,
    "CSR array": sparse.csr_array(CSR),
    "CSR of float32": CSR.astype(np.float32),
    "CSR of integers": CSR.astype(int),
    "CSR with NaN": with_one(np.nan, CSR),
    "CSR with long indices": sparse.csr_matrix((CSR.data, CSR.indices.astype(np.int64), CSR.indptr.astype(np.int64))),
    "CSR with long indptr": with_long_indptr(CSR),
    "CSR of no rows": CSR[:0],
    "CSC": CSR.tocsc(),
    "COO": CSR.tocoo(),
}
CODES = np.array([0, 1, 2, 0, 1, 2])
TARGETS = {
    "int64": CODES,
    "uint8": CODES.astype(np.uint8),
    "big-endian": CODES.astype(">i4"),
    "bool": CODES > 0,
    "floats": CODES / 1,
    "halves": CODES / 2,
    "float32": CODES.astype(np.float32),
    "NaN": np.where(CODES == 2, np.nan, 0),
    "infinite": np.where(CODES == 2, np.inf, 0),
    "strings": np.array(list("abcabc"), "<U5"),
    "objects": np.array(list("abcabc"), object),
    "mixed": np.array([0, "a"] * 3, object),
    "complex": CODES * 1j,
    "negative": -CODES,
    "one label": CODES * 0,
    "a label a row": np.arange(6),
    "column": CODES[:, None],
    "columns": np.column_stack([CODES, CODES]),
    "indicator": np.eye(6, dtype=int),
    "sparse": sparse.csr_matrix(np.eye(6, dtype=int)),
    "series": pd.Series(CODES),
    "list": CODES.tolist(),
    "reversed": CODES[::-1],
    "short": CODES[:5],
    "empty": CODES[:0],
    "scalar": np.array(1),
    "none": None,
}
# What the estimators ask for.
DTYPES = {"either": (np.float64, np.float32), "float32": (np.dtype("float32"),)}
KINDS = {
    "classifier": {"multi_output": True, "y_numeric": False},
    "regressor": {"multi_output": True, "y_numeric": True},
    "perceptron": {"accept_large_sparse": False},
}
KNOWN = {
    "new": {},
    "fitted": {"n_features_in_": 4},
    "fitted with names": {"n_features_in_": 4, "feature_names_in_": np.array(list("abcd"), object)},
}


def outcome(call, *arguments, **others):
    """What a call returns, raises and warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = call(*arguments, **others)
        except Exception as error:
            result = type(error), str(error)
    return result, [str(w.message) for w in caught]


def estimator(known):
    made = MLPClassifier()
    vars(made).update(known)
    return made


def assert_same(found, expected):
    """The same type, dtype and elements in the same order in memory, or contiguous."""
    assert type(found) is type(expected)
    if isinstance(found, tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif sparse.issparse(found):
        for name in ("data", "indices", "indptr"):
            assert_same(getattr(found, name), getattr(expected, name))
        assert found.shape == expected.shape
    elif isinstance(found, np.ndarray):
        assert found.dtype == expected.dtype
        assert found.strides == expected.strides or (found.ndim == 1 and found.flags.c_contiguous)
        np.testing.assert_array_equal(found, expected)
    else:
        assert found == expected


def compare(known, ours, theirs):
    one, other = estimator(known), estimator(known)
    found, expected = outcome(ours, one), outcome(theirs, other)
    assert found[1] == expected[1]
    assert_same(found[0], expected[0])
    assert vars(one).keys() == vars(other).keys()
    for name in ("n_features_in_", "feature_names_in_"):
        np.testing.assert_array_equal(getattr(one, name, None), getattr(other, name, None))


@pytest.mark.parametrize("finite", [True, False])
@pytest.mark.parametrize("known", KNOWN)
@pytest.mark.parametrize("matrix", MATRICES)
def test_rows(matrix, known, finite):
    X = MATRICES[matrix]
    with config_context(assume_finite=not finite):
        compare(
            KNOWN[known],
            lambda model: _checks.check_rows(model, X),
            lambda model: validate_data(model, X, accept_sparse="csr", reset=False),
        )


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("known", KNOWN)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_data(dtype, kind, known, reset):
    """Every X with a usual y, every y with a usual X."""
    pairs = [(X, CODES[: np.shape(X)[0]] if np.ndim(X) else CODES) for X in MATRICES.values()]
    pairs += [(usual, y) for usual in (X, X.astype(np.float32), CSR) for y in TARGETS.values()]
    for rows, y in pairs:
        how = {"dtype": DTYPES[dtype], "reset": reset, **KINDS[kind]}
        compare(
            KNOWN[known],
            lambda model, rows=rows, y=y, how=how: _checks.check_data(model, rows, y, **how),
            lambda model, rows=rows, y=y, how=how: validate_data(model, rows, y, accept_sparse="csr", order="C", **how),
        )


@pytest.mark.parametrize("target", TARGETS)
def test_targets(target):
    y = TARGETS[target]
    assert_same(outcome(_checks.check_target, Perceptron(), y), outcome(lambda y: validate_data(Perceptron(), y=y), y))


@pytest.mark.parametrize("target", [name for name in TARGETS if name != "none"])
def test_labels(target):
    y = TARGETS[target]
    found, expected = outcome(_checks.labels_of, y), outcome(unique_labels, y)
    assert_same(found, expected)
    found, expected = outcome(_checks.label_binarizer, y), outcome(LabelBinarizer().fit, y)
    assert found[1] == expected[1]
    if isinstance(expected[0], LabelBinarizer):
        assert vars(found[0]).keys() == vars(expected[0]).keys()
        for name, value in vars(expected[0]).items():
            assert_same(vars(found[0])[name], value)
        assert_same(found[0].transform(y), expected[0].transform(y))
    else:
        assert_same(found[0], expected[0])


VALUES = [None, True, 1, 1.0, np.float64(1), 0, -0.0, -1, 2**70, np.nan, np.inf, "adam", "auto", np.str_("auto")]
VALUES += ["no", (5,), (0.5, "x"), [5], [], {}, np.ones(2), len, np.random.RandomState(0), object()]


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor, Perceptron])
def test_parameters(kind):
    """Twice, since what has passed is remembered."""
    for name in kind().get_params():
        for value in VALUES + VALUES:
            model = kind().set_params(**{name: value})
            found = outcome(_checks.check_parameters, model)
            assert found == outcome(BaseEstimator._validate_params, model), (name, value)


def test_parameters_that_have_passed_are_not_checked_again(monkeypatch):
    _checks.check_parameters(MLPClassifier(alpha=0.125))
    asked = []
    monkeypatch.setattr(_checks, "validate_parameter_constraints", lambda _, values, name: asked.append(values))
    _checks.check_parameters(MLPClassifier(alpha=0.125))
    assert asked == [{"hidden_layer_sizes": (100,)}]  # not of a type that is remembered
    _checks.check_parameters(MLPClassifier(alpha=np.float64(0.125)))
    assert {"alpha": 0.125} in asked


def test_a_parameter_of_a_subclass():
    class Named(MLPClassifier):
        def __init__(self, name=None, alpha=0.1):
            super().__init__(alpha=alpha)
            self.name = name

    _checks.check_parameters(Named(name={}))
    with pytest.raises(InvalidParameterError, match="of Named must be a float"):
        _checks.check_parameters(Named(alpha=-1.0))


CLASSES = {
    "int64": np.arange(3),
    "fewer": np.arange(2),
    "more": np.arange(-2, 9),
    "uint8": np.arange(3, dtype=np.uint8),
    "bool": np.array([False, True]),
    "strings": np.array(["a", "b", "c"]),
}


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("target", ["int64", "uint8", "bool", "floats", "strings", "negative", "one label"])
def test_classes(target, classes):
    """Weights of the classes; and whether labels and classes are known, if only where that can be told at once."""
    y, classes = TARGETS[target], CLASSES[classes]
    for weight in (None, "balanced", {0: 2.0}):
        expected = outcome(compute_class_weight, weight, classes=classes, y=y)
        assert_same(outcome(_checks.weights_of_classes, weight, classes, y), expected)
    among = not set(y.tolist()) - set(classes.tolist())
    assert _checks.are_among(y, classes) == (among and y.dtype == classes.dtype and y.dtype.kind in "biu")
    labels = np.unique(y)
    same = labels.dtype == classes.dtype and labels.tolist() == classes.tolist()
    assert _checks.is_same(labels, classes) == same
    assert not _checks.is_same([[0], [1, 2]], classes)


SEEDS = [0, 2**32 - 1, np.int64(7), np.uint8(7), True, None, np.random, np.random.RandomState(5)]


@pytest.mark.parametrize("seed", SEEDS)
def test_generators(seed):
    ours, theirs = _checks.generator(seed), check_random_state(seed)
    assert type(ours) is np.random.RandomState
    assert (ours is theirs) == (type(seed) not in (int, bool, np.int64, np.uint8))
    np.testing.assert_equal(ours.get_state(legacy=False), theirs.get_state(legacy=False))


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, "one", np.random.default_rng(0)])
def test_no_generators(seed):
    found, expected = outcome(_checks.generator, seed), outcome(check_random_state, seed)
    assert found == expected
    assert found[0][0] is ValueError


def test_plain_arrays_are_not_checked_twice(monkeypatch):
    """Else all of the above would say nothing."""
    asked = []
    monkeypatch.setattr(_checks, "validate_data", lambda *_, **how: asked.append(how) or (None, None))
    monkeypatch.setattr(_checks, "unique_labels", lambda y: pytest.fail("asked for the labels"))
    monkeypatch.setattr(_checks.LabelBinarizer, "fit", lambda *_: pytest.fail("fitted"))
    for rows in (X, X.astype(np.float32), X[:1], sparse.csr_array(CSR), CSR):
        assert _checks.check_rows(estimator(KNOWN["fitted"]), rows) is rows
        for y in (CODES, CODES > 0, CODES / 2):
            _checks.check_data(estimator({}), rows, y[: rows.shape[0]], dtype=DTYPES["either"], reset=True)
    assert asked == [{"skip_check_array": True, "reset": True}] * 15
    np.testing.assert_array_equal(_checks.check_target(None, CODES[::2]), CODES[::2])
    np.testing.assert_array_equal(_checks.labels_of(CODES), [0, 1, 2])
    assert _checks.label_binarizer(CODES).y_type_ == "multiclass"
