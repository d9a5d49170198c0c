"""Model files: what comes back is what was saved and goes on as that; what is wrong with a file is one clear error."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import stat
import subprocess
import sys
import textwrap
import tracemalloc
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import sklearn.neural_network
from scipy.sparse import csr_array, issparse
from sklearn.datasets import load_digits, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import LabelBinarizer

import nnfast
from estimators import estimator, output, problem
from nnfast import MLP, MLPClassifier, MLPRegressor, ModelFileError, Perceptron, _files, load, save
from nnfast._classifier import _ColumnsBinarizer
from nnfast._kept import Kept

# Files are read and forged by the format's own package.
save_file = pytest.importorskip("safetensors.numpy", reason="safetensors has no wheel for this Python").save_file
safe_open = pytest.importorskip("safetensors").safe_open
check = pytest.importorskip("fuzz.model_files").check  # which imports it


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def through_a_file(model, path):
    save(model, path)
    return load(path)


def assert_same(one, other, place="model"):
    """Equal to the last bit, and of the same types, all the way down."""
    assert type(one) is type(other), place
    if isinstance(one, (Kept, LabelBinarizer, _ColumnsBinarizer)):
        # Plans and engines are not kept, and Average gets its network when training goes on.
        omitted = ("_plan", "_idle", "network")
        mine, others = ({n: v for n, v in vars(x).items() if n not in omitted} for x in (one, other))
        assert_same(mine, others, f"{place} {type(one).__name__}")
    elif isinstance(one, dict):
        assert list(one) == list(other) or one.keys() == other.keys(), place
        for key in one:
            assert_same(one[key], other[key], f"{place}.{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), place
        for i, (mine, others) in enumerate(zip(one, other, strict=True)):
            assert_same(mine, others, f"{place}.{i}")
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype, place
        np.testing.assert_array_equal(one, other, err_msg=place)
    elif isinstance(one, np.random.RandomState):
        assert_same(one.get_state(), other.get_state(), place)
    elif issparse(one):
        assert_same([one.shape, one.toarray()], [other.shape, other.toarray()], place)
    else:
        assert one == other or (one != one and other != other), place


# ---- round trips -----------------------------------------------------------------------------------------------------

# Every kind of state that training leaves behind. All of these take steps, so that they go on.
SETTINGS = {
    "adam": {},
    "adamw": {"solver": "adamw", "weight_decay": 0.3, "n_iter_no_change": np.inf},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False, "learning_rate": "adaptive", "tol": 1.0},
    "plain": {"solver": "sgd", "momentum": 0.0, "learning_rate": "invscaling", "warmup": 0.5},
    "curve": {"learning_rate": "one_cycle", "activation": ["tanh", ("elu", 0.5)], "hidden_layer_sizes": (6, 5)},
    "decay": {"learning_rate": "step", "learning_rate_decay_epochs": 2, "warmup": 1},
    "swa": {"averaging": "swa", "averaging_start": 0.2, "dropout": [0.3], "precision": "float32"},
    "ema": {"averaging": "ema", "averaging_start": 0.2, "init": "he", "random_state": np.random.RandomState(5)},
    "no hidden layers": {"hidden_layer_sizes": (), "init": "zeros", "random_state": None, "max_time": 60},
}


@pytest.mark.parametrize("target", ["binary", "multiclass", "multilabel", "regression", "outputs", "poisson"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_partial_fit_goes_on_with_the_same_bits(path, target, setting):
    _, X, y = problem(target)
    model = estimator(target, shuffle=setting != "no hidden layers", **SETTINGS[setting]).fit(X, y)
    model.partial_fit(X, y)
    other = through_a_file(model, path)
    assert_same(model, other)
    np.testing.assert_array_equal(output(model, X), output(other, X))
    for _ in range(2):
        model.partial_fit(X, y)
        other.partial_fit(X, y)
    model.history_.pop("seconds"), other.history_.pop("seconds")
    assert_same(model, other)


@pytest.mark.parametrize("options", [{}, {"early_stopping": True, "validation_fraction": 0.2}, {"solver": "lbfgs"}])
@pytest.mark.parametrize("target", ["binary", "multilabel", "outputs"])
def test_warm_start_goes_on_with_the_same_bits(path, target, options):
    _, X, y = problem(target)
    model = estimator(target, warm_start=True, **options).fit(X, y)
    other = through_a_file(model, path)
    assert_same(model, other)
    for one in (model, other):
        one.fit(X, y)
        one.history_.pop("seconds")
    assert_same(model, other)


@pytest.mark.parametrize(
    "labels",
    [
        np.array([7, 2, 5]),
        np.array([7, 2, 5], np.uint8),
        np.array([-1, 1, -1], ">i2"),
        np.array([2.0, 3.0, 1.0]),
        np.array([True, False, True]),
        np.array(["zwölf", "a", "\N{GREEK SMALL LETTER ALPHA}" * 20]),
        np.array(["b", "a", "b"], "<U30"),
        np.array(["c", "a", "b"], object),
        np.array(["only", "only", "only"]),
    ],
    ids=str,
)
def test_labels(path, labels):
    X, y = load_wine(return_X_y=True)
    model = MLPClassifier((3,), max_iter=2, random_state=0).fit(X, labels[y])
    other = through_a_file(model, path)
    if labels.dtype != ">i2":  # which comes back in this machine's order of bytes
        assert_same(model, other)
    expected = model.predict(X)
    np.testing.assert_array_equal(other.predict(X), expected)
    weighted = MLPClassifier((3,), max_iter=2, class_weight={label: 2 for label in np.unique(labels)}, random_state=0)
    assert through_a_file(weighted.fit(X, labels[y]), path).class_weight == weighted.class_weight
    save(model, path)
    predicted = load(path, network=True).predict(X)
    np.testing.assert_array_equal(predicted, expected)
    assert predicted.dtype == expected.dtype.newbyteorder("=")


PARAMETERS = {
    "class_weight": {0: 1.5, np.int64(1): np.float32(2), 2: 1},
    "init": ([np.ones((13, 3)), np.ones((3, 3))], [np.zeros(3), np.full(3, 0.1)]),
    "hidden_layer_sizes": np.array([3]),
    "batch_size": np.int32(50),
    "activation": (("leaky_relu", np.float64(0.1)),),
    "scoring": "f1_macro",
    "dropout": (0.25,),
    "n_iter_no_change": np.inf,
    "verbose": np.bool_(False),
}


def test_parameters_keep_their_types(path):
    X, y = load_wine(return_X_y=True)
    model = MLPClassifier(**PARAMETERS, max_iter=2, random_state=0).fit(X, y, X_val=X, y_val=y)
    other = through_a_file(model, path)
    assert_same(model, other)
    assert_same(model.get_params(), other.get_params())


def test_columns_of_classes(path):
    X, y = load_wine(return_X_y=True)
    y = np.column_stack([y, X[:, 0] > 13])
    model = MLPClassifier((3,), max_iter=2, random_state=0).fit(X, y)
    other = through_a_file(model, path)
    assert_same(model, other)
    np.testing.assert_array_equal(load(path, network=True).predict(X), model.predict(X))
    assert_same(model.partial_fit(X, y).coefs_, other.partial_fit(X, y).coefs_)


def test_names_of_features_and_set_output(path):
    frame, y = load_wine(return_X_y=True, as_frame=True)
    model = MLPClassifier((3,), max_iter=2, random_state=0).set_output(transform="pandas").fit(frame, y)
    other = through_a_file(model, path)
    assert_same(model, other)
    assert list(other.feature_names_in_) == list(frame)
    assert other.transform(frame).equals(model.transform(frame))


@pytest.mark.parametrize("n_class", [2, 4])
@pytest.mark.parametrize(
    "options",
    [{}, {"activation": "sigmoid"}, {"penalty": "l1", "early_stopping": True}, {"average": True}, {"average": 10**6}],
)
def test_perceptron(path, n_class, options):
    X, y = load_digits(n_class=n_class, return_X_y=True)
    model = Perceptron(max_iter=5, tol=None, **options).fit(X, y)
    other = through_a_file(model, path)
    assert_same(model, other)
    assert_same(through_a_file(model.sparsify(), path), model)
    np.testing.assert_array_equal(load(path).predict(X), model.predict(X))
    model.densify()
    assert_same(model.partial_fit(X, y), other.partial_fit(X, y))
    with pytest.raises(ValueError, match="a Perceptron, which has no network"):
        load(path, network=True)


@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_network(path, solver, dtype):
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((50, 4)), np.eye(5)[rng.integers(0, 2, 50)] + np.eye(5)[rng.integers(2, 5, 50)]
    network = MLP(
        (4, 6, 5), loss="focal", solver=solver, dtype=dtype, dropout=0.2, output_groups=(2, 3), random_state=0
    )
    for _ in range(3):
        network.train_epoch(X, Y, 8)
    network.learning_rate = np.linspace(0.01, 0.02, 7)
    other = through_a_file(network, path)
    assert_same(network, other)
    assert_same(load(path, network=True), network)
    assert network.train_epoch(X, Y, 8) == other.train_epoch(X, Y, 8)
    assert_same(network, other)


def test_an_array_in_two_places_is_written_once(path):
    _, X, y = problem("multiclass")
    model = through_a_file(estimator("multiclass").fit(X, y), path)
    assert model.coefs_[0] is model._network.coefs_[0]
    # Weights, and both of Adam's moments.
    assert (
        sum(array.size for array in contents(path)[1].values()) == 3 * (13 * 8 + 8 + 8 * 3 + 3) + 3 + 624
    )  # of a random generator


# ---- networks of estimators ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("target", ["binary", "multiclass", "multilabel", "regression", "outputs", "poisson"])
def test_the_network_predicts_what_the_estimator_does(path, target, dtype):
    _, X, y = problem(target)
    model = estimator(target).fit(X.astype(dtype), y)
    save(model, path)
    network = load(path, network=True)
    assert type(network) is MLP
    for rows in (X, X.astype(np.float32), X.round().astype(int), X.tolist(), csr_array(X)):
        np.testing.assert_array_equal(network.predict(rows), model.predict(rows))
    outputs = model.predict_proba(X.astype(dtype)) if "classes_" in vars(model) else model.predict(X.astype(dtype))
    if target == "binary":
        outputs = outputs[:, 1]
    np.testing.assert_array_equal(network.forward(X.astype(dtype)), outputs.reshape(len(X), -1))


@pytest.mark.parametrize("quantile", [0.3, [0.3], [0.1, 0.5, 0.9]])
@pytest.mark.parametrize("target", ["regression", "outputs"])
def test_levels_of_a_network(path, target, quantile):
    _, X, y = problem(target)
    model = estimator(target, loss="quantile", quantile=quantile).fit(X, y)
    save(model, path)
    np.testing.assert_array_equal(load(path, network=True).predict(X), model.predict(X))


def test_a_network_needs_numpy_alone(path):
    _, X, y = problem("binary")
    model = estimator("binary").fit(X, y)
    save(model, path)
    np.save(path.with_suffix(".npy"), X)
    code = f"""
    import sys
    import numpy as np
    import nnfast
    network = nnfast.load({str(path)!r}, network=True)
    print(*network.predict(np.load({str(path.with_suffix(".npy"))!r})))
    assert not {{"sklearn", "scipy", "pandas", "joblib", "torch", "safetensors"}} & set(sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.split() == model.predict(X).tolist()


def test_labels_of_one_s_own():
    network = MLP((2, 3), loss="log_loss", random_state=0)
    X = np.eye(2, dtype=np.float32)
    np.testing.assert_array_equal(network.predict(X), network.forward(X))
    network.classes_ = np.array(["c", "b", "a"])
    assert network.predict(X).tolist() == [["c", "b", "a"][k] for k in network.forward(X).argmax(axis=1)]
    for wrong in (np.array(["a", "b"]), ["a", "b", "c"], np.eye(3)):
        network.classes_ = wrong
        with pytest.raises(ValueError, match=r"classes_ should be|cannot tell"):
            network.predict(X)
    with pytest.raises(ValueError, match=r"X must have shape \(n, 2\)"):
        network.predict(np.eye(3))


# ---- what cannot be saved --------------------------------------------------------------------------------------------


def test_what_is_no_model(path):
    X, y = load_wine(return_X_y=True)
    theirs = sklearn.neural_network.MLPClassifier((3,), max_iter=2).fit(X, y)

    class Mine(MLPClassifier):
        pass

    for model in (theirs, Mine((3,), max_iter=2).fit(X, y), MLPClassifier, None, "model"):
        with pytest.raises(TypeError, match="save takes MLPClassifier, MLPRegressor, Perceptron or MLP of nnfast"):
            save(model, path)
    for model in (MLPClassifier(), MLPRegressor(), Perceptron()):
        with pytest.raises(NotFittedError):
            save(model, path)
    assert not path.exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", lambda t: 1 - t / 2),
        ("scoring", lambda model, X, y: 0.0),
        ("random_state", np.random.RandomState(np.random.PCG64(0))),
        ("class_weight", defaultdict(lambda: 1.0, {0: 2.0, 1: 1.0, 2: 1.0})),
        ("init", ([np.ones((13, 3), np.longdouble), np.ones((3, 3))], [np.ones(3), np.ones(3)])),
    ],
)
def test_parameters_that_are_no_values(path, name, value):
    X, y = load_wine(return_X_y=True)
    model = MLPClassifier((3,), max_iter=2, **{name: value}).fit(X, y, X_val=X, y_val=y)
    with pytest.raises(TypeError, match=rf"{name}.* cannot be written to a model file"):
        save(model, path)
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize("part", [lambda m: m, lambda m: m._network, lambda m: m._optimizer, lambda m: m._average])
def test_an_attribute_that_a_file_has_no_place_for(path, part):
    _, X, y = problem("regression")
    model = estimator("regression", averaging="swa").fit(X, y)
    part(model).surplus = 1
    with pytest.raises(ValueError, match="no place for surplus"):
        save(model, path)


def test_a_model_that_does_not_fit_itself(path):
    _, X, y = problem("multiclass")
    model = estimator("multiclass").fit(X, y)
    for name, value in (("coefs_", model.coefs_[::-1]), ("n_layers_", 4), ("activation", ["relu", "tanh"])):
        before = getattr(model, name)
        setattr(model, name, value)
        with pytest.raises(ValueError):
            save(model, path)
        setattr(model, name, before)
    assert_same(through_a_file(model, path), model)


# ---- damaged files ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A model and its file."""
    _, X, y = problem("binary")
    rng = np.random.RandomState(0)
    model = estimator("binary", hidden_layer_sizes=(3,), averaging="swa", learning_rate="step", random_state=rng)
    path = tmp_path_factory.mktemp("files") / "model.safetensors"
    save(model.fit(X, y), path)
    return model, path


def loads_equal_or_fails(data, path, model):
    """Whether these bytes are a file of an equal model; they are one or an error."""
    path.write_bytes(data)
    for network in (False, True):
        try:
            other = load(path, network=network)
        except ModelFileError as error:
            assert str(path) in str(error)
            return False
        if not network:
            assert_same(model, other)
    return True


def test_a_cut_file(saved, path):
    model, whole = saved
    data = whole.read_bytes()
    assert loads_equal_or_fails(data, path, model)
    header = 8 + int.from_bytes(data[:8], "little")
    for length in {*range(20), *range(20, len(data), 97), header - 1, header, header + 1, len(data) - 1}:
        assert not loads_equal_or_fails(data[:length], path, model), length
    assert not loads_equal_or_fails(data + b"\0", path, model)


def test_changed_bytes(saved, path):
    model, whole = saved
    data = whole.read_bytes()
    rng = np.random.default_rng(0)
    header = 8 + int.from_bytes(data[:8], "little")
    places = [*range(16), *rng.integers(16, header, 150), *rng.integers(header, len(data), 50)]
    equal = 0
    for place in places:
        changed = bytearray(data)
        changed[place] ^= 1 << rng.integers(8)
        equal += loads_equal_or_fails(bytes(changed), path, model)
    assert equal < len(places) / 10  # a blank, or a letter of what nobody reads


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 100, 10_000])
def test_random_bytes(saved, path, size):
    assert not loads_equal_or_fails(np.random.default_rng(size).bytes(size), path, saved[0])


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing")
    with pytest.raises(OSError):
        load(tmp_path)


# ---- hostile files ---------------------------------------------------------------------------------------------------


def contents(path):
    """(metadata, arrays, the model as JSON has it) of a file."""
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
        arrays = {name: file.get_tensor(name) for name in file.keys()}
    return metadata, arrays, json.loads(metadata["model"])


def forge(path, metadata, arrays, model):
    """A file that says this, with the SHA-256 that fits it."""
    text = model if isinstance(model, str) else json.dumps(model)
    digest = hashlib.sha256(text.encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode() + array.tobytes())
    save_file(arrays, path, metadata | {"model": text, "sha256": digest.hexdigest()})


def leaves(node, place=()):
    """Where there is something in a value of JSON."""
    yield place
    if isinstance(node, (dict, list)):
        for key in node if isinstance(node, dict) else range(len(node)):
            yield from leaves(node[key], (*place, key))


def put(node, place, value):
    if not place:
        return value
    inner = node
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return node


VALUES = [
    None, True, -1, 0, 3, 10**18, 10**400, 0.5, "", "MLP", "relu", "softmax", [], [[]], [1, 2], {}, {"class": "MLP"},
    {"float": "nan"}, {"float": "1"}, {"array": "coefs_.0"}, {"array": "nothing"}, {"text": "classes_"}, {"tuple": 5},
    {"text": "coefs_.0"}, {"dict": [[[], 1]]}, {"dtype": "object"}, {"scalar": ["float32", 1e300]}, {"eval": "1"},
    {"objects": [[2], ["a"]]}, {"objects": [[10**15], []]}, {"class": "ConstantRate", "attributes": {}},
    {"class": "os.system", "attributes": {"command": "true"}}, {"csr": ["csr_array", 1, 2, 3, [9, 9]]},
]  # fmt: skip


def holds(path, X, y):
    """Whether a file is refused, or is that of a model that predicts and trains, or says in Python's words why not."""
    for network in (False, True):
        try:
            model = load(path, network=network)
        except ModelFileError:
            continue
        assert type(model) is (MLP if network else MLPClassifier)
        assert len(model.predict(X)) == len(X)
        if not network:
            try:
                model.set_params(max_iter=2, max_time=1).partial_fit(X, y)
            except (ArithmeticError, TypeError, ValueError):
                pass  # such as for other classes
    return True


def test_one_value_in_the_place_of_another(saved, path):
    _, X, y = problem("binary")
    metadata, arrays, model = contents(saved[1])
    places = list(leaves(model))
    rng = np.random.default_rng(0)
    cases = [(places[i], VALUES[j]) for i in range(len(places)) for j in rng.integers(0, len(VALUES), 2)]
    with np.errstate(all="ignore"):
        for place, value in cases:
            forge(path, metadata, arrays, put(json.loads(json.dumps(model)), place, value))
            assert holds(path, X, y), (place, value)


def test_a_part_that_is_missing(saved, path):
    _, X, y = problem("binary")
    metadata, arrays, model = contents(saved[1])
    for place in leaves(model):
        if place:
            changed = json.loads(json.dumps(model))
            inner = changed
            for key in place[:-1]:
                inner = inner[key]
            del inner[place[-1]]
            forge(path, metadata, arrays, changed)
            assert holds(path, X, y), place


def other_arrays(array):
    """An array in other shapes and types."""
    yield array.astype(np.float16)
    yield array.astype(np.int64)
    yield array.astype(bool)
    yield array.reshape(-1, 1)
    yield array.ravel()[:0]
    yield np.repeat(array, 2, axis=0)
    yield (array + 1) * 3


def test_other_arrays(saved, path):
    _, X, y = problem("binary")
    metadata, arrays, model = contents(saved[1])
    with np.errstate(all="ignore"):
        for name, array in arrays.items():
            for other in other_arrays(array):
                forge(path, metadata, arrays | {name: other}, model)
                assert holds(path, X, y), (name, other.dtype, other.shape)
            forge(path, metadata, {n: a for n, a in arrays.items() if n != name}, model)
            with pytest.raises(ModelFileError):
                load(path)


def test_nothing_is_run_opened_or_imported(saved, path, tmp_path):
    """As Python itself sees it: of all that it reports, the one file is opened, to be read."""
    metadata, arrays, model = contents(saved[1])
    values = [
        {"class": "os.system", "attributes": {"command": "true"}},
        {"eval": "1"},
        {"import": "this"},
        {"a": "__class__"},
    ]
    places = [None, *values]
    for k, value in enumerate(places):
        changed = model if value is None else put(json.loads(json.dumps(model)), ("attributes", "random_state"), value)
        forge(tmp_path / str(k), metadata, arrays, changed)
    code = f"""
    import sys
    import nnfast
    files = [{str(tmp_path)!r} + "/" + str(k) for k in range({len(places)})]
    nnfast.load(files[0]), nnfast.load(files[0], network=True)  # whatever that imports is there then
    seen = []
    sys.addaudithook(lambda event, arguments: seen.append((event, *arguments[:2])))
    for file in files:
        try:
            nnfast.load(file), nnfast.load(file, network=True)
        except nnfast.ModelFileError:
            pass
    print({{event[0] for event in seen}} - {{"builtins.id", "object.__getattr__", "sys._getframe"}})
    print({{event[1:] for event in seen if event[0] == "open"}})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.stderr == ""
    events, opened = map(ast.literal_eval, done.stdout.splitlines())
    assert events == {"open"}
    assert {Path(file).name for file, _ in opened} == {str(k) for k in range(len(places))}
    assert {mode for _, mode in opened} <= {"r", "rb"}


def test_a_text_that_makes_many_objects(saved, path):
    """SECURITY.md says how much memory the header's JSON takes at most."""
    metadata, arrays, _ = contents(saved[1])
    for item in ("[]", "{}", "0.1", '"ab"', '{"tuple":[]}', '{"float":"nan"}', '{"scalar":["int8",1]}'):
        text = '{"class":"MLP","attributes":{"a":[' + ",".join([item] * 100_000) + "]}}"
        forge(path, metadata, arrays, text)
        tracemalloc.start()
        with pytest.raises(ModelFileError):
            load(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 60 * path.stat().st_size, item


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"format": "pt"}, "nnfast.save has not written"),
        ({"format_version": "2"}, "version 2 of the format, written by nnfast .*; this nnfast reads up to version 1"),
        ({"format_version": "one"}, "invalid literal"),
        ({"format_version": "9" * 5000}, "digits"),
        ({"model": "{"}, "delimiter|Expecting"),
        ({"model": "[" * 100_000}, "RecursionError"),
        ({"model": '{"class": "MLP", "attributes": ' + '{"tuple": [' * 5000 + "]}" * 5000 + "}"}, "RecursionError"),
        ({"model": "NaN"}, "subscriptable"),
        ({"model": '{"class": "Pipeline", "attributes": {}}'}, "'Pipeline', which is no model"),
        ({"model": '{"class": ["MLP"], "attributes": {}}'}, "which is no model"),
        ({"model": '{"class": "MLP"}'}, "attributes"),
        ({"model": '{"class": "MLP", "attributes": {}}'}, "MLP without layer_sizes"),
        ({"model": '{"class": "MLP", "attributes": {"a": ' + "1" * 5000 + "}}"}, "digits"),
    ],
)
def test_what_is_said_about_it(saved, path, changes, text):
    metadata, arrays, model = contents(saved[1])
    forge(path, metadata | {k: v for k, v in changes.items() if k != "model"}, arrays, changes.get("model", model))
    with pytest.raises(ModelFileError, match=text) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_a_changed_weight_is_noticed(saved, path):
    metadata, arrays, _ = contents(saved[1])
    arrays["coefs_.0"][0, 0] += 1
    save_file(arrays, path, metadata)
    with pytest.raises(ModelFileError, match="SHA-256"):
        load(path)


def test_a_generator_with_an_index_of_its_own(saved, path):
    metadata, arrays, model = contents(saved[1])
    for position in (-1, 625, 10**9):  # NumPy would read there
        model["attributes"]["random_state"]["random_state"][1] = position
        forge(path, metadata, arrays, model)
        with pytest.raises(ModelFileError, match="random number generator"):
            load(path)


@pytest.mark.parametrize("shape", [(2**40, 0), (0, 2**40), (10**6, 0)])
def test_a_small_file_that_claims_many_rows_of_nothing(saved, path, shape):
    """Each of which would become an object, where the array is read as a list."""
    metadata, arrays, model = contents(saved[1])
    for value in ({"array": "rows"}, {"tuple": {"array": "rows"}}):
        model["attributes"]["hidden_layer_sizes"] = value
        forge(path, metadata, arrays | {"rows": np.empty(shape)}, model)
        with pytest.raises(ModelFileError, match="more than the file has bytes"):
            load(path)


def test_a_small_file_that_claims_a_wide_matrix(path):
    """Predicting would ask for memory that no machine has."""
    X, y = load_digits(n_class=2, return_X_y=True)
    save(Perceptron(penalty="l1", max_iter=5, tol=None).fit(X, y).sparsify(), path)
    metadata, arrays, model = contents(path)
    for width, fits in ((2**31 - 1, True), (2**31, False), (10**12, False)):
        model["attributes"]["n_features_in_"] = model["attributes"]["coef_"]["csr"][-1][1] = width
        forge(path, metadata, arrays, model)
        if fits:
            assert load(path).coef_.shape == (1, width)
        else:
            with pytest.raises(ModelFileError, match="at most 2147483647 features"):
                load(path)


def test_a_file_of_an_older_nnfast_has_fewer_parameters(saved, path):
    metadata, arrays, model = contents(saved[1])
    del model["attributes"]["label_smoothing"]
    forge(path, metadata, arrays, model)
    assert_same(load(path), saved[0])


# Files that tests/fuzz/model_files.py found, each of which took another way through the checks.
CORPUS = sorted((Path(__file__).parent / "fuzz" / "corpus" / "model_files").iterdir())


def test_the_corpus_is_refused_or_holds(tmp_path):
    loaded = [check(file.read_bytes(), tmp_path) for file in CORPUS]
    assert {name for names in loaded for name in names} == {*_files.ESTIMATORS, "MLP"}
    assert [] in loaded


# ---- writing ---------------------------------------------------------------------------------------------------------


def test_a_file_is_replaced_or_left_alone(path, monkeypatch):
    _, X, y = problem("regression")
    model = estimator("regression").fit(X, y)
    save(model, path)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *paths: (_ for _ in ()).throw(OSError("no")))
        with pytest.raises(OSError, match="no"):
            save(model.partial_fit(X, y), path)
    assert os.listdir(path.parent) == [path.name]
    assert path.read_bytes() == before
    save(model, str(path))
    assert os.listdir(path.parent) == [path.name]
    assert_same(load(str(path)), model)


def test_a_full_disk_and_a_folder_that_is_not_there(path):
    with pytest.raises(OSError):
        save(MLP((2, 1)), path.parent / "nowhere" / "model")
    pytest.importorskip("resource", reason="a limit on files, in place of a full disk, is POSIX's")
    code = f"""
    import os, resource
    import nnfast
    nnfast.save(nnfast.MLP((2, 1), random_state=0), {str(path)!r})
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
    try:
        nnfast.save(nnfast.MLP((2, 1000), random_state=0), {str(path)!r})
    except OSError:
        print(*os.listdir({str(path.parent)!r}), nnfast.load({str(path)!r}).layer_sizes)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"{path.name} (2, 1)\n", "")


def test_the_permissions_are_those_of_other_files(path):
    save(MLP((2, 1)), path)
    path.with_name("other").touch()
    assert path.stat().st_mode == path.with_name("other").stat().st_mode


def test_every_class_of_a_file_is_there():
    for name, module in _files._CLASSES.items():
        thing = getattr(sys.modules.get(module) or __import__(module, fromlist=[name]), name)
        assert issubclass(thing, Kept)
    assert set(_files.ESTIMATORS) <= set(nnfast.__all__)


@pytest.mark.parametrize("target", ["binary", "multiclass", "regression", "outputs"])
def test_a_loss_of_ones_own_is_not_kept(path, target):
    """What predicts is, once the loss has a name."""

    def loss(y, raw):
        return 0.5 * ((raw - y) ** 2).sum(axis=1), raw - y

    _, X, y = problem(target)
    model = estimator(target, loss=loss, early_stopping=True).fit(X, y)
    for one in (model, model._network):
        with pytest.raises(TypeError, match=r"loss: a function, .* cannot be written to a model file"):
            save(one, path)
    name = "log_loss" if hasattr(model, "classes_") else "squared_error"
    other = through_a_file(model.set_params(loss=name), path)
    np.testing.assert_array_equal(other.predict(X), model.predict(X))
    np.testing.assert_array_equal(load(path, network=True).predict(X), model.predict(X))
    with pytest.raises(ValueError, match="There is no fit to resume"):
        other.fit(X, y, resume=True)
    other.set_params(early_stopping=False).partial_fit(X, y)


# ---- places and forms of a stranger's -------------------------------------------------------------------------------


def test_text_in_the_other_byte_order(path):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 3)), np.array([["a", "x"], ["b", "y"], ["c", "x"]])[rng.integers(0, 3, 60)]
    model = MLPClassifier((3,), max_iter=3).fit(X, y.astype(">U1"))
    np.testing.assert_array_equal(through_a_file(model, path).predict(X), model.predict(X))


@pytest.mark.skipif(os.name != "posix", reason="permissions, links and pipes of POSIX")
def test_what_lies_at_the_place(tmp_path):
    """Permissions stay; a link is followed; what is no file is left alone."""
    model, private = MLP((2, 3, 1), random_state=0), tmp_path / "private"
    save(model, private)
    private.chmod(0o600)
    save(model, private)
    assert private.stat().st_mode & 0o777 == 0o600

    link = tmp_path / "link"
    link.symlink_to(private)
    before = private.stat().st_ino
    save(model, link)
    assert link.is_symlink() and private.stat().st_ino != before
    np.testing.assert_array_equal(load(link).coefs_[0], model.coefs_[0])

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for place in (pipe, tmp_path, ""):
        with pytest.raises(OSError, match="what is there is no file"):
            save(model, place)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link", "pipe", "private"]


def test_paths_of_bytes(tmp_path):
    model, path = MLP((2, 3, 1), random_state=0), os.fsencode(tmp_path / "model")
    save(model, path)
    np.testing.assert_array_equal(load(path).coefs_[0], model.coefs_[0])
