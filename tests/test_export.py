"""Models in other formats say what the model says: C source, compiled and called; ONNX in ONNX Runtime.

float32 models, unless a test says otherwise: it is what C computes in by default.
"""

import ctypes
import functools
import os
import subprocess
import sys
import tempfile

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import nnfast
from estimators import estimator, problem
from nnfast import MLP, MLPClassifier, MLPRegressor, Perceptron, to_c, to_onnx
from nnfast._exported import describe
from nnfast._layers import HIDDEN_ACTIVATIONS
from nnfast._network import OUTPUT_ACTIVATIONS
from nnfast._outputs import forward

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
skl2onnx = pytest.importorskip("skl2onnx")

# ---- models ----------------------------------------------------------------------------------------------------------


def fit(target, dtype="float32", change=lambda X, y: y, **parameters):
    """A fitted estimator, and the X it was fitted to."""
    _, X, y = problem(target)
    X = X.astype(dtype)
    return estimator(target, **parameters).fit(X, change(X, y)), X


def perceptron(target, **parameters):
    _, X, y = problem(target)
    X = X.astype(np.float32)
    return Perceptron(max_iter=5, tol=None, random_state=0, **parameters).fit(X, y), X


def network(**parameters):
    X = np.random.default_rng(0).standard_normal((50, 6), np.float32)
    return MLP((6, 9, 7, 3), random_state=0, **parameters), X


def columns(X, y):
    """Three classes and four."""
    return np.column_stack([y, y + (X[:, 0] > 0)])


LEVELS = {"loss": "quantile", "quantile": [0.1, 0.5, 0.8]}
MODELS = {
    "binary": functools.partial(fit, "binary"),
    "multiclass": functools.partial(fit, "multiclass", activation=["tanh", ("elu", 0.5)], hidden_layer_sizes=(8, 5)),
    "multilabel": functools.partial(fit, "multilabel"),
    "columns": functools.partial(fit, "multiclass", change=columns),
    "labels of text": functools.partial(fit, "multiclass", change=lambda X, y: np.array(["é", "*/", "/*"])[y]),
    "one class": functools.partial(fit, "binary", change=lambda X, y: y[:1].repeat(len(y))),
    "no hidden layer": functools.partial(fit, "multiclass", hidden_layer_sizes=()),
    "regression": functools.partial(fit, "regression", hidden_layer_sizes=(9, 4, 6)),
    "outputs": functools.partial(fit, "outputs"),
    "poisson": functools.partial(fit, "poisson"),
    "median": functools.partial(fit, "regression", loss="quantile"),
    "levels": functools.partial(fit, "regression", **LEVELS),
    "levels of outputs": functools.partial(fit, "outputs", **LEVELS),
    "perceptron": functools.partial(perceptron, "binary"),
    "perceptron of classes": functools.partial(perceptron, "multiclass"),
    "perceptron tanh": functools.partial(perceptron, "binary", activation="tanh", eta0=0.1),
    "perceptron sigmoid": functools.partial(perceptron, "multiclass", activation="sigmoid", eta0=0.1),
}
# And a network with each output activation.
for loss in {link: loss for loss, link in OUTPUT_ACTIVATIONS.items()}.values():
    MODELS[f"network {loss}"] = functools.partial(network, loss=loss, activation="logistic")


@functools.cache
def made(name):
    return MODELS[name]()


def outputs_of(model, X):
    """The numbers behind the prediction, (n_samples, n_outputs)."""
    for method in ("predict_proba", "decision_function", "predict", "forward"):
        if hasattr(model, method):
            outputs = getattr(model, method)(X)
            return np.hstack(outputs) if isinstance(outputs, list) else outputs.reshape(len(X), -1)
    raise AssertionError


def error_bound(model, X, u):
    """How far outputs computed with the unit roundoff u may be from the exact ones, (n_samples, n_outputs).

    A chain of k multiply-adds errs by up to k u times the sum of the sizes of its terms (Higham 2002, section 3.1). No
    activation is steeper than 1.76, selu; those of the engine and of C libraries err by less than 8 u of 1 or of their
    value, whichever is larger. e^z errs by the share e^d - 1 of it when z does by d, a softmax by e^2d - 1.
    """
    exported = describe(model, "float64")
    A, d = X.astype(np.float64), np.zeros(X.shape)
    for W, b, activation in zip(exported.coefs, exported.intercepts, exported.activations, strict=True):
        d = d @ abs(W) + (len(W) + 2) * u * ((abs(A) + d) @ abs(W) + abs(b))
        groups = exported.groups if W is exported.coefs[-1] else ()
        A = forward(A, [W], [b], [activation], output_groups=groups)
        if activation == "exp":
            d = A * np.expm1(d) + 8 * u * A
        elif activation == "softmax":
            d = A * np.expm1(2 * d.max(axis=1, keepdims=True)) + (A.shape[1] + 8) * u
        elif activation == "ordered":
            d = np.cumsum(d + 8 * u * np.maximum(1, abs(A)), axis=1)
        else:
            d = 1.76 * d + 8 * u * np.maximum(1, abs(A))
    return np.hstack([d, d]) if exported.both_classes else d


def network_of(name):
    """The network that a file of the model has, and the model."""
    model, _ = made(name)
    with tempfile.TemporaryDirectory() as folder:
        nnfast.save(model, f"{folder}/model")
        return nnfast.load(f"{folder}/model", network=True), model


CLASSIFIERS = ["binary", "multiclass", "multilabel", "columns", "labels of text", "one class", "no hidden layer"]

# ---- C ---------------------------------------------------------------------------------------------------------------

WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wmissing-prototypes", "-Wdouble-promotion", "-pedantic", "-Werror"]


def built(folder, sources, *flags):
    """C files, {name: text}, in one file with machine code."""
    if sys.platform == "win32":
        pytest.skip("compiled as POSIX systems do it; a DLL would have to export its functions")
    for name, text in sources.items():
        (folder / f"{name}.c").write_text(text)
    command = [os.environ.get("CC", "cc"), "-std=c99", "-O1", *WARNINGS, *flags, "-o", "out"]
    subprocess.run([*command, *(f"{name}.c" for name in sources), "-lm"], cwd=folder, check=True)
    return folder / "out"


def compiled(folder, sources, *flags):
    """The same as a library."""
    return ctypes.CDLL(str(built(folder, sources, "-shared", "-fPIC", *flags)))


def calls(function, X, n_out, dtype):
    """What a function writes for each row of X."""
    out = np.full((len(X), n_out), -1, dtype)
    for x, y in zip(np.ascontiguousarray(X), out, strict=True):
        function(ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data))
    return out


def c_outputs(library, name, model, X):
    for method in ("predict_proba", "decision_function", "predict"):
        if hasattr(library, f"{name}_{method}") and (method != "predict" or not hasattr(model, "classes_")):
            return calls(getattr(library, f"{name}_{method}"), X, outputs_of(model, X[:1]).shape[1], X.dtype)
    raise AssertionError


def c_labels(library, name, model, X):
    predict = getattr(library, f"{name}_predict")
    if isinstance(model.classes_, list):
        numbers = calls(predict, X, len(model.classes_), np.int32)
        return np.column_stack([known[column] for known, column in zip(model.classes_, numbers.T, strict=True)])
    if model.predict(X[:1]).ndim == 2:
        return calls(predict, X, model.n_outputs_, np.int32)
    return model.classes_[[predict(ctypes.c_void_p(x.ctypes.data)) for x in np.ascontiguousarray(X)]]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Every model, in one library: names keep them apart."""
    sources = {name.replace(" ", "_"): to_c(made(name)[0], name=name.replace(" ", "_")) for name in MODELS}
    return compiled(tmp_path_factory.mktemp("models"), sources)


@pytest.mark.parametrize("name", MODELS)
def test_c_says_what_the_model_says(library, name):
    model, X = made(name)
    outputs = outputs_of(model, X)
    bound = error_bound(model, X, 2.0**-24)
    assert bound.max() < 1e-3 * abs(outputs).max()
    assert (abs(c_outputs(library, name.replace(" ", "_"), model, X) - outputs) <= 2 * bound).all()
    if hasattr(model, "classes_"):
        np.testing.assert_array_equal(c_labels(library, name.replace(" ", "_"), model, X), model.predict(X))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_c_of_the_network_of_a_classifier(name):
    """Is that of the classifier: `predict` gives labels in both."""
    network, model = network_of(name)
    head, _, code = to_c(network).partition("*/")
    expected_head, _, expected_code = to_c(model).partition("*/")
    assert " ".join(head.split()) == " ".join(expected_head.split()).replace("MLPClassifier", "MLP")
    assert code == expected_code


EXACT = ["identity", "relu", ("leaky_relu", 0.1), "hard_sigmoid", "softsign"]
# A multiply-add as the portable kernels do it, whose CPUs have none.
SEPARATE = "-DNNFAST_FMA(a, b, c)=((a) * (b) + (c))"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_c_has_the_bits_of_the_model(isa, dtype, tmp_path):
    """Where no function of the C library comes in."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50, 20)).astype(dtype)
    model = MLP((20, 30, 17, 17, 9, 9, 5), activation=EXACT, dtype=dtype, random_state=0)
    flags = [SEPARATE] if isa == "scalar" else []
    library = compiled(tmp_path, {"network": to_c(model, dtype=dtype)}, *flags)
    np.testing.assert_array_equal(c_outputs(library, "nnfast", model, X), model.forward(X))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_c_has_the_bits_of_a_perceptron(isa, n_classes, tmp_path):
    """Small integers have many ties, between classes and with 0."""
    X = np.random.default_rng(0).integers(-2, 3, (200, 3)).astype(np.float32)
    model = Perceptron(max_iter=3, tol=None).fit(X, np.arange(200) % n_classes)
    library = compiled(tmp_path, {"perceptron": to_c(model)}, *([SEPARATE] if isa == "scalar" else []))
    scores = outputs_of(model, X)
    assert (np.diff(np.sort(np.hstack([scores, np.zeros((200, 1))]), axis=1)) == 0).any()
    np.testing.assert_array_equal(c_outputs(library, "nnfast", model, X), scores)
    np.testing.assert_array_equal(c_labels(library, "nnfast", model, X), model.predict(X))


ACTIVATIONS = [*HIDDEN_ACTIVATIONS, ("leaky_relu", 0.3), ("elu", 0.4)]


def of_each_activation(dtype):
    """A network with each activation, and inputs that spread its sums widely."""
    models = {}
    for number, activation in enumerate(ACTIVATIONS):
        models[f"n{number}"] = MLP((4, 40, 2), activation=activation, dtype=dtype, random_state=number)
    return models, np.random.default_rng(0).standard_normal((60, 4)).astype(dtype) * 10


@pytest.mark.parametrize(("dtype", "u"), [("float32", 2.0**-24), ("float64", 2.0**-53)])
def test_every_activation_in_c(dtype, u, tmp_path):
    models, X = of_each_activation(dtype)
    library = compiled(tmp_path, {name: to_c(model, name=name, dtype=dtype) for name, model in models.items()})
    for name, model in models.items():
        difference = abs(c_outputs(library, name, model, X) - model.forward(X))
        assert (difference <= 2 * error_bound(model, X, u)).all(), model


def test_c_needs_nothing_but_functions_of_math_h(tmp_path):
    """Nothing to write to, either: all data is constant."""
    code = built(tmp_path, {"model": to_c(made("multiclass")[0])}, "-c", "-fno-PIC")
    listing = subprocess.run(["nm", code], check=True, capture_output=True, text=True).stdout
    symbols = {tuple(line.split()[-2:]) for line in listing.splitlines()}
    assert {name for kind, name in symbols if kind == "T"} == {"nnfast_predict", "nnfast_predict_proba"}
    assert {name for kind, name in symbols if kind == "U"} == {"expf", "expm1f", "fmaf", "tanhf"}
    assert {kind for kind, _ in symbols} == {"T", "t", "r", "U"}


def test_the_head_of_a_c_file():
    _, X, y = problem("multiclass")
    frame = pd.DataFrame(X[:, :2], columns=["length", "height\n*/ int x;"])
    model = MLPClassifier((3,), max_iter=1, n_iter_no_change=np.inf).fit(frame, np.array(["small", "é", "/*"])[y])
    head, _, rest = to_c(model).partition("*/")
    assert "MLPClassifier of 2 features, with layers of 3 relu, 3 softmax units" in head
    assert "0: 'length', 1: 'height\\n* / int x;'" in head
    assert "0: '/ *', 1: 'small', 2: '\\xe9'" in head
    assert "/*" not in head[2:] and rest.lstrip().startswith("#include <math.h>")


def test_a_c_file_is_written(tmp_path):
    model, _ = made("levels of outputs")
    source = to_c(model, tmp_path / "model.c", name="levels")
    assert (tmp_path / "model.c").read_text() == source
    assert "y (3 x 3)" in source and "void levels_predict(const float *x, float *y);" in source
    with pytest.raises(OSError, match="No such file"):
        to_c(model, tmp_path / "missing" / "model.c")


# ---- ONNX ------------------------------------------------------------------------------------------------------------


def session(onnx_model):
    onnx.checker.check_model(onnx_model, full_check=True)
    return onnxruntime.InferenceSession(onnx_model.SerializeToString())


def run(onnx_model, X):
    """The outputs by name."""
    runtime = session(onnx_model)
    (given,) = runtime.get_inputs()
    names = [output.name for output in runtime.get_outputs()]
    return dict(zip(names, runtime.run(None, {given.name: X}), strict=True))


def assert_says(results, model, X, tolerance):
    """What an ONNX model gave is what the model says; numbers to within a share of the largest."""
    results = dict(results)
    if hasattr(model, "classes_"):
        label, expected = results.pop("label"), model.predict(X)
        assert label.shape == expected.shape
        np.testing.assert_array_equal(label, expected)
    (numbers,) = results.values()
    outputs = outputs_of(model, X)
    if isinstance(numbers, list):
        assert [part.shape for part in numbers] == [part.shape for part in model.predict_proba(X)]
        numbers = np.hstack(numbers)
    if numbers.shape[1] == 2 * outputs.shape[1]:  # of two classes a perceptron has one score
        np.testing.assert_array_equal(numbers[:, 0], -numbers[:, 1])
        numbers = numbers[:, 1:]
    if not hasattr(model, "classes_"):
        predict = model.forward if isinstance(model, MLP) else model.predict
        assert numbers.shape[1:] == (predict(X).shape[1:] or (1,))
    assert numbers.dtype == X.dtype
    assert abs(numbers.reshape(outputs.shape) - outputs).max() <= tolerance * max(1, abs(outputs).max())


@pytest.mark.parametrize("name", MODELS)
def test_onnx_says_what_the_model_says(name):
    model, X = made(name)
    assert_says(run(to_onnx(model), X), model, X, 1e-6)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_onnx_of_the_network_of_a_classifier(name):
    network, model = network_of(name)
    assert_says(run(to_onnx(network), made(name)[1]), model, made(name)[1], 1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_onnx_in_float64(name):
    model, X = made(name)
    X = X.astype(np.float64)
    if isinstance(model, MLP):
        model = MLP(model.layer_sizes, loss=model.loss_name, activation=model.activation, dtype="float64")
    assert_says(run(to_onnx(model, dtype="float64"), X), model, X, 1e-13)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-13)])
def test_every_activation_in_onnx(dtype, tolerance):
    models, X = of_each_activation(dtype)
    for model in models.values():
        # ONNX Runtime has erf in float32 alone.
        assert_says(run(to_onnx(model), X), model, X, 1e-6 if model.activation == "gelu" else tolerance)


LABELS = {  # the classes, and what stands for them in ONNX
    "bool": (np.array([False, True]), np.array([0, 1])),
    "small integers": (np.array([7, 200], np.uint8), np.array([7, 200])),
    "whole floats": (np.array([-1.0, 2.0, 5.0]), np.array([-1, 2, 5])),
    "objects": (np.array(["a", "é", ""], object), np.array(["", "a", "é"], object)),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_in_onnx(name):
    classes, expected = LABELS[name]
    X = np.random.default_rng(0).standard_normal((40, 2), np.float32)
    y = classes[np.arange(40) % len(classes)]
    model = MLPClassifier((3,), max_iter=1, n_iter_no_change=np.inf, random_state=0).fit(X, y)
    label = run(to_onnx(model), X)["label"]
    assert label.dtype == expected.dtype
    np.testing.assert_array_equal(label, expected[np.searchsorted(model.classes_, model.predict(X))])


def test_labels_that_onnx_does_not_have():
    X = np.random.default_rng(0).standard_normal((40, 2))
    model = Perceptron().fit(X, np.arange(40) % 2)
    for classes, wrong in (([0.5, 1.0], r"0\.5"), (np.array([1, 2**63], np.uint64), str(2**63)), ([-1.0, 1e19], "1e")):
        model.classes_ = np.array(classes)
        with pytest.raises(ValueError, match=f"labels that are integers or text, not such as {wrong}"):
            to_onnx(model)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_levels_far_apart(dtype, tmp_path):
    """e^z of what is added to a level overflows."""
    model = MLP((2, 6), loss="quantile", quantile=[0.1, 0.5, 0.9], dtype=dtype, random_state=0)
    model.intercepts_[0][:] = [0, 2000, -2000, -2000, 2000, 2000]
    X = np.ones((1, 2), dtype)
    expected = model.forward(X)
    assert np.isfinite(expected).all() and expected.max() > 1999
    library = compiled(tmp_path, {"levels": to_c(model, dtype=dtype)})
    bound = error_bound(model, X, np.finfo(dtype).eps / 2)
    assert (abs(c_outputs(library, "nnfast", model, X) - expected) <= 2 * bound).all()
    assert (abs(run(to_onnx(model), X)["variable"] - expected) <= 2 * bound).all()


def test_an_onnx_file_is_written(tmp_path):
    model, _ = made("multiclass")
    onnx_model = to_onnx(model, tmp_path / "model.onnx")
    assert onnx.load(tmp_path / "model.onnx") == onnx_model
    assert (onnx_model.producer_name, onnx_model.producer_version) == ("nnfast", nnfast.__version__)
    runtime = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    assert [(x.name, x.type, x.shape) for x in runtime.get_inputs()] == [("X", "tensor(float)", ["n_samples", 13])]
    assert [(x.name, x.type, x.shape) for x in runtime.get_outputs()] == [
        ("label", "tensor(int64)", ["n_samples"]),
        ("probabilities", "tensor(float)", ["n_samples", 3]),
    ]
    with pytest.raises(OSError, match="No such file"):
        to_onnx(model, tmp_path / "missing" / "model.onnx")


def test_without_onnx(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"^onnx is needed to write ONNX: pip install nnfast\[onnx\]$"):
        to_onnx(made("binary")[0])


def test_onnx_is_not_imported_before_it_is_needed():
    program = "import sys, nnfast; nnfast.to_onnx; assert 'onnx' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


# ---- skl2onnx --------------------------------------------------------------------------------------------------------


NO_MAPS = {"zipmap": False}


@pytest.fixture(scope="module")
def registered():
    nnfast.register_skl2onnx()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [name for name in MODELS if not name.startswith("network")])
def test_skl2onnx_converts_a_pipeline(registered, name, dtype):
    model, X = made(name)
    X = X.astype(dtype)
    pipeline = make_pipeline(StandardScaler(), model)
    pipeline[0].fit(X)
    results = run(skl2onnx.to_onnx(pipeline, X, options=NO_MAPS if hasattr(model, "classes_") else None), X)
    assert_says(results, model, pipeline[0].transform(X), 1e-6 if dtype == "float32" else 1e-13)


def test_skl2onnx_maps_classes_to_probabilities(registered):
    """By default; the other options too."""
    model, X = made("labels of text")
    results = run(skl2onnx.to_onnx(model, X), X)
    np.testing.assert_array_equal(results["output_label"], model.predict(X))
    maps = pd.DataFrame(results["output_probability"])[list(model.classes_)]
    np.testing.assert_allclose(maps, model.predict_proba(X), rtol=0, atol=1e-6)
    results = run(skl2onnx.to_onnx(model, X, options={"zipmap": "columns"}), X)
    np.testing.assert_allclose(np.column_stack(list(results.values())[1:]), model.predict_proba(X), rtol=0, atol=1e-6)
    results = run(skl2onnx.to_onnx(model, X, options=NO_MAPS | {"output_class_labels": True}), X)
    np.testing.assert_array_equal(results["class_labels"], model.classes_)


def test_skl2onnx_converts_two_models_of_one_kind(registered):
    """Their names do not meet; features that are integers are taken too."""
    _, X, y = problem("binary")
    X = np.round(X).astype(np.int64)
    models = [(str(seed), MLPClassifier((4,), max_iter=2, tol=1, random_state=seed)) for seed in range(2)]
    vote = VotingClassifier(models, voting="soft", flatten_transform=False).fit(X, y)
    results = run(skl2onnx.to_onnx(vote, X, options=NO_MAPS), X)
    np.testing.assert_array_equal(results["label"], vote.predict(X))
    np.testing.assert_allclose(results["probabilities"], vote.predict_proba(X), rtol=0, atol=1e-6)


def test_what_skl2onnx_cannot_convert(registered):
    """Old opsets; a frame, whose columns it takes for as many inputs."""
    model, X = made("binary")
    with pytest.raises(RuntimeError, match=r"at most 1 input\(s\) is\(are\) supported but we got 30"):
        skl2onnx.to_onnx(model, pd.DataFrame(X, columns=[f"x{i}" for i in range(30)]))
    with pytest.raises(ValueError, match="MLPClassifier needs target_opset 14 or later, got 12"):
        skl2onnx.to_onnx(model, X, target_opset=12)
    assert_says(run(skl2onnx.to_onnx(model, X, target_opset=14, options=NO_MAPS), X), model, X, 1e-6)


def test_without_skl2onnx(monkeypatch):
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ImportError, match=r"^skl2onnx is needed to write ONNX: pip install nnfast\[onnx\]$"):
        nnfast.register_skl2onnx()


# ---- wrong input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "3d", "a-b", "a b", "é", "a;"])
def test_names_that_c_cannot_have(name):
    with pytest.raises(ValueError, match="name must consist of letters"):
        to_c(made("binary")[0], name=name)


@pytest.mark.parametrize("write", [to_c, to_onnx])
def test_what_cannot_be_written(write):
    for unfitted in (MLPClassifier(), MLPRegressor(), Perceptron()):
        with pytest.raises(NotFittedError):
            write(unfitted)
    with pytest.raises(TypeError, match=r"MLP of nnfast, got LinearRegression\.$"):
        write(LinearRegression())
    with pytest.raises(ValueError, match="dtype must be float32 or float64, got int32"):
        write(made("binary")[0], dtype="int32")


@pytest.mark.parametrize("write", [to_c, to_onnx])
def test_an_argument_too_large_for_float32(write):
    model = MLP((2, 3, 1), activation=("elu", 1e39), dtype="float64")
    write(model, dtype="float64")
    with pytest.raises(ValueError, match=r"argument of the activation \('elu', 1e\+39\) is not finite in float32"):
        write(model, dtype="float32")


@pytest.mark.parametrize("write", [to_c, to_onnx])
def test_classes_that_do_not_fit(write):
    network, _ = network_of("multiclass")
    network.classes_ = network.classes_[1:]
    with pytest.raises(ValueError, match="3 outputs, softmax, cannot tell"):
        write(network)


@pytest.mark.parametrize("write", [to_c, to_onnx])
def test_edited_weights(write):
    """They are the user's to edit: what is there is written, unless it cannot be."""
    model, _ = fit("regression", dtype="float64")
    model.intercepts_[-1][:] = 1e39
    write(model, dtype="float64")
    with pytest.raises(ValueError, match="MLPRegressor are not all finite in float32"):
        write(model, dtype="float32")
    model.intercepts_[-1] = np.zeros(2)
    with pytest.raises(ValueError, match="shape"):
        write(model)
    model.coefs_[-1] = np.zeros((8, 2))
    with pytest.raises(ValueError, match="MLPRegressor give 2 outputs, not 1"):
        write(model)
    model.coefs_[0] = model.coefs_[0][1:]
    with pytest.raises(ValueError, match="shape"):
        write(model)
