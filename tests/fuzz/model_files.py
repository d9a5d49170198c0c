"""Bytes as model files: `check` is what must hold of any. As a program: Atheris looks for some of which it does not.

    python model_files.py FOLDER... [options of libFuzzer]
    python model_files.py --seeds FOLDER

The second writes the small models from which the stored corpus grew. New files come from old ones: a value, an array or
a part of the model in the place of another, with the SHA-256 that fits; now and then a byte changes, and it does not.
tests/test_files.py replays the corpus with `check` alone.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import random
import resource
import sys
import tempfile
import warnings

import numpy as np
from safetensors.numpy import load as arrays_of
from safetensors.numpy import save as serialized

instrumented: contextlib.AbstractContextManager = contextlib.nullcontext()
if __name__ == "__main__":
    import atheris

    instrumented = atheris.instrument_imports(include=["nnfast"])
with instrumented:
    import nnfast
    from nnfast import _base, _classifier, _files, _network, _perceptron, _regressor, _resuming  # noqa: F401

# What training from a stranger's state may say in Python's words.
REFUSALS = (ArithmeticError, TypeError, ValueError)


def check(data: bytes, folder: str) -> list[str]:
    """The classes of what these bytes are loaded as, alone and as a network; none where they are refused.

    AssertionError, or any exception but ModelFileError, where something is wrong with nnfast.
    """
    path, other = os.path.join(folder, "model"), os.path.join(folder, "other")
    with open(path, "wb") as file:
        file.write(data)
    loaded = []
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for network in (False, True):
            try:
                model = nnfast.load(path, network=network)
            except nnfast.ModelFileError:
                continue
            except ValueError as error:
                assert network and "a Perceptron, which has no network" in str(error), error
                continue
            loaded.append(type(model).__name__)
            nnfast.save(model, other)
            once = contents(other)
            again = nnfast.load(other)
            nnfast.save(again, other)
            assert_equal(once, contents(other))
            X = np.zeros((2, model.layer_sizes[0] if hasattr(model, "layer_sizes") else model.n_features_in_))
            y = model.predict(X)
            assert len(y) == 2
            assert_equal(bits(y), bits(again.predict(X)))
            if hasattr(model, "partial_fit"):
                with contextlib.suppress(*REFUSALS):
                    model.set_params(max_iter=2, max_time=1).partial_fit(X, y)
    return loaded


def bits(array):
    return array.tolist() if array.dtype == object else (array.dtype, array.shape, array.tobytes())


def contents(path):
    with open(path, "rb") as file:
        return parsed(file.read())


def assert_equal(one, other):
    assert one == other, f"{one!r:.1000}\n{other!r:.1000}"


# ---- files from files ------------------------------------------------------------------------------------------------


def parsed(data):
    """(metadata, arrays as (type, shape, bytes), the model as JSON has it) of the bytes of a file."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    metadata = header["__metadata__"]
    arrays = {name: bits(array) for name, array in arrays_of(data).items()}
    return {k: v for k, v in metadata.items() if k not in ("model", "sha256")}, arrays, json.loads(metadata["model"])


def forged(metadata, arrays, model):
    """The bytes of a file that says this, with the SHA-256 that fits it."""
    arrays = {name: np.frombuffer(raw, dtype).reshape(shape) for name, (dtype, shape, raw) in arrays.items()}
    text = json.dumps(model)
    return serialized(arrays, metadata | {"model": text, "sha256": _files._digest(text, arrays)})


sound: list[bytes] = []  # the last files that were loaded
MOST_SOUND = 300

VALUES = [
    None, True, False, -1, 0, 1, 2, 3, 625, 2**31, 2**63, 10**18, 10**400, 0.5, -0.0, 1e300, "", "a", "\0", "auto",
    "quantile", "softmax", "step", "swa", "float32", [], [[]], [1, 2], {}, {"float": "nan"}, {"float": "-inf"},
    {"tuple": []}, {"dict": []}, {"objects": [[2], ["a", "b"]]}, {"objects": [[10**15], []]}, {"objects": [[0, 9], []]},
    {"scalar": ["float32", 1e300]}, {"scalar": ["int64", 3]}, {"dtype": "float64"}, {"array": "nothing"},
    {"csr": ["csr_array", {"array": "a"}, {"array": "b"}, {"array": "c"}, [1, 10**15]]}, {"eval": "1"},
]  # fmt: skip
DTYPES = [np.dtype(name) for name in ("bool", "int8", "int64", "uint32", "float16", "float32", "float64")]


def places(node, place=()):
    """Where there is something in a value of JSON."""
    yield place
    if isinstance(node, (dict, list)):
        for key in node if isinstance(node, dict) else range(len(node)):
            yield from places(node[key], (*place, key))


def at(node, place):
    for key in place:
        node = node[key]
    return node


def other_value(rng, value, model, arrays):
    """Something to stand in the place of a value."""
    kind = rng.randrange(6)
    if kind == 0:
        return at(model, rng.choice(list(places(model))))
    if kind == 1 and arrays:
        return {rng.choice(["array", "text"]): rng.choice(list(arrays))}
    if kind == 2:
        return rng.choice([{"tuple": [value]}, [value], [value, value], {"dict": [[value, value]]}])
    if kind == 3 and isinstance(value, (int, float)):
        return rng.choice([value + 1, value - 1, -value, value * 2, float(value), int(value)])
    if kind == 3 and isinstance(value, list):
        return rng.choice([value[1:], value[:-1], value[::-1], value * 2])
    return rng.choice(VALUES)


def other_array(rng, array):
    dtype, shape, raw = array
    data = np.frombuffer(raw, dtype).reshape(shape).copy()
    kind = rng.randrange(7)
    if kind == 0:
        data = data.astype(rng.choice(DTYPES))
    elif kind == 1:
        data = data.reshape(rng.choice([(-1,), (-1, 1), (1, -1), (1, *shape), data.T.shape]))
    elif kind == 2:
        data = data[rng.randrange(len(data) + 1) :] if data.ndim else data.reshape(1)
    elif kind == 3 and data.ndim:
        data = np.concatenate([data, data], rng.randrange(data.ndim))
    elif kind == 4:
        data = np.zeros(rng.choice([(0,), (0, 3), (2**40, 0), (0, 2**40), ()]), dtype)
    elif data.size and dtype.kind in "fiu":
        odd = [np.nan, np.inf, 1e-320, -1, 0] if dtype.kind == "f" else [0, 1, np.iinfo(dtype).max, np.iinfo(dtype).min]
        data.flat[rng.randrange(data.size)] = rng.choice(odd)
    return bits(data)


def mutated(data: bytes, max_size: int, seed: int) -> bytes:
    """Another file, most often a whole one; of one that loads, for most do not, and nor do those that come of them."""
    rng = random.Random(seed)
    if sound and rng.random() < 0.7:
        data = rng.choice(sound)
    try:
        metadata, arrays, model = parsed(data)
        if rng.randrange(10) == 0:
            raise ValueError
        for _ in range(rng.choice([1, 1, 1, 2, 3, 5])):
            kind = rng.randrange(10)
            where = rng.choice(list(places(model)))
            if kind < 2 and arrays:
                name = rng.choice(list(arrays))
                arrays[name] = other_array(rng, arrays[name])
            elif kind == 2 and where:
                del at(model, where[:-1])[where[-1]]
            elif kind == 3:
                metadata[rng.choice(list(metadata))] = rng.choice(["", "0", "1", "2", "nnfast", "9" * 5000])
            elif where:
                value = other_value(rng, at(model, where), model, arrays)
                at(model, where[:-1])[where[-1]] = copy.deepcopy(value)
        made = forged(metadata, arrays, model)
        if len(made) <= max_size:
            return made
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError, OSError):
        pass  # not a whole file: then its bytes
    except Exception as error:  # safetensors'
        if type(error).__name__ != "SafetensorError":
            raise
    return atheris.Mutate(data, max_size)


# ---- seeds -----------------------------------------------------------------------------------------------------------


def seeds():
    """(name, model): small ones that together have every class and every kind of value that a file can hold."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((12, 2)).round(1), np.arange(12) % 3
    small = {"hidden_layer_sizes": (2,), "max_iter": 2, "random_state": 0, "batch_size": 6}
    classifier, regressor = nnfast.MLPClassifier, nnfast.MLPRegressor
    names = np.array(["a", "b", "c"])[y]
    sgd = {"solver": "sgd", "learning_rate": "adaptive", "averaging": "swa", "averaging_start": 0.1}
    curve = {"learning_rate": "step", "learning_rate_decay_epochs": 2, "dropout": [0.5], "averaging": "ema"}
    stopped = {"early_stopping": True, "validation_fraction": 0.4, "scoring": "accuracy"}
    weights = {"init": ([np.ones((2, 2)), np.ones((2, 1))], [np.zeros(2), np.zeros(1)]), "activation": [("elu", 0.5)]}
    quantile = {"loss": "quantile", "quantile": [0.1, 0.9], "precision": "float32", "solver": "lbfgs"}
    yield "classes", classifier(**small).fit(X, names)
    yield "binary", classifier(**small, **sgd, class_weight={0: 1.5, np.int64(1): 2}).fit(X, y > 0)
    named = classifier(**small, **stopped).fit(X, y)
    named.feature_names_in_ = np.array(["a", "b"], object)  # as of a frame
    yield "names", named
    yield "multilabel", classifier(**small, **curve).fit(X, np.column_stack([y > 0, y > 1]).astype(int))
    yield "columns", classifier(**small, loss="focal").fit(X, np.column_stack([y, y > 1]))
    yield "regression", regressor(**small, **weights).fit(X, X[:, 0])
    yield "quantile", regressor(**small, **quantile).fit(X, X[:, 0])
    generator = regressor(**small | {"random_state": np.random.RandomState(0)}, solver="nadam", l1=0.1, max_time=60)
    yield "generator", generator.fit(X, X)
    yield "plain", regressor(**small, learning_rate="invscaling", solver="sgd").fit(X, X[:, 0])
    yield "neuron", nnfast.Perceptron(max_iter=2, tol=None, average=True).fit(X, y)
    yield "sparse neuron", nnfast.Perceptron(max_iter=2, tol=None, penalty="l1").fit(X, y > 0).sparsify()
    network = nnfast.MLP((2, 3, 4), loss="log_loss", output_groups=(2, 2), dropout=0.2, random_state=0)
    network.train_epoch(X, np.eye(4)[y % 2] + np.eye(4)[2 + y % 2], 4)
    network.learning_rate = np.array([0.1, 0.2])
    yield "network", network


def write_seeds(folder: str) -> None:
    os.makedirs(folder, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, model in seeds():
            nnfast.save(model, os.path.join(folder, name))


def main() -> None:
    if sys.argv[1:2] == ["--seeds"]:
        write_seeds(sys.argv[2])
        return
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))  # more, for a file of kilobytes, is a MemoryError
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None  # saving waits for the disk, four times a file
    with tempfile.TemporaryDirectory(dir=memory) as folder:

        def one_input(data: bytes) -> None:
            if check(data, folder):
                sound.append(data)
                del sound[:-MOST_SOUND]

        atheris.Setup(sys.argv, one_input, custom_mutator=mutated)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
