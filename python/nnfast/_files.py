"""Model files: `save` and `load`. A file is in the safetensors format, with what is no array as JSON in its metadata.

docs/files.md says what is in it. This module knows values: numbers, texts, lists, arrays and their kin, and objects of
the classes in `_CLASSES`. Which attributes an object has is said by its class (`nnfast._kept`). Nothing of what a file
says is run, and nothing of it is believed: every value is checked before an object has it.

scikit-learn is imported only where an estimator is loaded.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import secrets
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnfast import _safetensors
from nnfast._kept import Kept, check_random_state_dict
from nnfast._safetensors import Arrays

FORMAT = "nnfast"
FORMAT_VERSION = 1

# The classes whose objects can be in a file, and where they are.
ESTIMATORS = {
    "MLPClassifier": "nnfast._classifier",
    "MLPRegressor": "nnfast._regressor",
    "Perceptron": "nnfast._perceptron",
}
_CLASSES = {
    **ESTIMATORS,
    "MLP": "nnfast._network",
    "Unfinished": "nnfast._resuming",
    "Average": "nnfast._averaging",
    "ConstantRate": "nnfast._schedules",
    "InverseScalingRate": "nnfast._schedules",
    "AdaptiveRate": "nnfast._schedules",
    "CurveRate": "nnfast._schedules",
}


class ModelFileError(ValueError):
    """A file that should hold a model is cut, damaged, of a newer format, or not a model file at all."""


def save(model: Any, path: str | bytes | os.PathLike[Any]) -> None:
    """Write a fitted model to a file.

    The file has the parameters, the fitted attributes and the state of the optimizer: what `load` gives back goes on
    training with the same bits. It is written beside the place where it goes, and moved there when it is whole.

    Parameters
    ----------
    model : MLPClassifier, MLPRegressor, Perceptron or MLP
        An estimator must be fitted.
    path : str, bytes or path-like
        Where to write; a file that is there is replaced, and keeps its permissions. ``.safetensors`` is the usual
        ending.

    Raises
    ------
    TypeError
        When it is no such model (`from_sklearn` makes one of scikit-learn's), or holds something that is not a value,
        such as a function given as ``learning_rate`` or as ``loss``. Of an estimator that was trained with a loss of
        one's own, ``set_params`` with the name of a loss that has the same outputs leaves all that predicts.
    ValueError
        When its attributes do not fit each other, or the file has no place for one of them.
    NotFittedError
        When it is an estimator that is not fitted.
    OSError
        When the file cannot be written.

    Examples
    --------
    >>> import os, tempfile
    >>> import nnfast
    >>> X, y = [[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]], ["even", "even", "odd", "odd"]
    >>> model = nnfast.MLPClassifier(solver="lbfgs", random_state=0).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.safetensors")
    ...     nnfast.save(model, path)
    ...     again = nnfast.load(path)
    ...     network = nnfast.load(path, network=True)
    >>> again.predict(X)
    array(['even', 'even', 'odd', 'odd'], dtype='<U4')
    >>> network.predict(X)
    array(['even', 'even', 'odd', 'odd'], dtype='<U4')
    """
    name = type(model).__name__
    if _CLASSES.get(name) != type(model).__module__ or name not in ("MLP", *ESTIMATORS):
        raise TypeError(f"save takes {', '.join(ESTIMATORS)} or MLP of nnfast, got {type(model)}")
    from importlib.metadata import version  # 20 ms that `load` need not pay

    writer = _Writer()
    content = writer.value(model, name)
    if hasattr(model, "_as_network"):
        content["network"] = writer.value(model._as_network(), "network")
    text = json.dumps(content, allow_nan=False)
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "nnfast_version": version("nnfast"),
        "model": text,
        "sha256": _digest(text, writer.arrays),
    }
    _write(Path(os.fsdecode(path)), _safetensors.serialized(writer.arrays, metadata))


def load(path: str | bytes | os.PathLike[Any], *, network: bool = False) -> Any:
    """Read a model from a file that `save` wrote.

    Nothing that the file says is run, and everything is checked: use it on files of unknown origin as on your own.

    Parameters
    ----------
    path : str, bytes or path-like
    network : bool, default=False
        Whether to give the network of an estimator in place of the estimator: an `MLP` whose ``predict`` gives what the
        estimator's does, and ``forward`` the outputs. It needs no scikit-learn, which is then not imported.

    Returns
    -------
    model : MLPClassifier, MLPRegressor, Perceptron or MLP

    Raises
    ------
    ModelFileError
        Whatever is wrong with the file. It is a ValueError.
    ValueError
        When the network of a Perceptron is asked for, which is none.
    OSError
        When there is no such file, or it cannot be read.

    Examples
    --------
    >>> import os, tempfile
    >>> import nnfast
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "network.safetensors")
    ...     nnfast.save(nnfast.MLP((2, 3, 1), random_state=0), path)
    ...     nnfast.load(path)
    MLP(2-3-1, relu, identity output, squared_error, float32)
    """
    file = ModelFile(path)
    if network and file.class_name == "Perceptron":
        raise ValueError(f"{file.path} holds a Perceptron, which has no network: load it as it is")
    return file.network() if network else file.model()


def _write(path: Path, data: bytes) -> None:
    """Write a file beside the path; when it is whole and on the disk, move it there. A link stays one, and so do the
    permissions of a file that is there."""
    path = path.resolve()
    if path.exists() and not path.is_file():
        raise FileExistsError(errno.EEXIST, "what is there is no file", str(path))
    beside = path.with_name(f".nnfast.{secrets.token_hex(8)}")
    try:
        with open(beside, "xb") as file:
            if path.exists():
                shutil.copymode(path, beside)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _digest(text: str, arrays: Arrays) -> str:
    """Of all that is in a file: the text, and the arrays with their names, types and shapes."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


# ---- values as JSON --------------------------------------------------------------------------------------------------
#
# None, bool, int, str, finite floats and lists are themselves. Anything else is an object with one member, whose name
# says what it is: {"tuple": [1, 2]}, {"float": "nan"}, {"array": "coefs_.0"}, ...


class _Writer:
    """Turns values into what JSON can hold, and collects the arrays."""

    def __init__(self) -> None:
        self.arrays: Arrays = {}
        self._known: dict[int, tuple[Any, str]] = {}  # id of an array: the array, which keeps the id its own, its name

    def value(self, value: Any, place: str) -> Any:
        """What stands for a value; `place` says where it is, in errors and as the name of an array."""
        if isinstance(value, str):
            return str(value)  # of NumPy's too, which are equal to it in every way
        if isinstance(value, np.generic):
            return {"scalar": [self._dtype(value.dtype, place), self.value(value.item(), place)]}
        if value is None or isinstance(value, (bool, int)):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else {"float": str(value)}
        if type(value) is list:  # what is of a class of its own would come back as another thing
            return [self.value(one, f"{place}.{i}") for i, one in enumerate(value)]
        if type(value) is tuple:
            return {"tuple": self.value(list(value), place)}
        if type(value) is dict:
            return {"dict": [[self.value(key, place), self.value(one, f"{place}.{key}")] for key, one in value.items()]}
        if isinstance(value, np.dtype):
            return {"dtype": self._dtype(value, place)}
        if isinstance(value, np.ndarray):
            return self._array(value, place)
        if type(value) is np.random.RandomState:
            return self._random_state(value, place)
        if getattr(value, "format", "") == "csr" and hasattr(value, "indptr"):
            parts = [
                self._array(part, f"{place}.{i}") for i, part in enumerate((value.data, value.indices, value.indptr))
            ]
            return {"csr": [type(value).__name__, *parts, list(value.shape)]}
        if isinstance(value, Kept) and _CLASSES.get(type(value).__name__) == type(value).__module__:
            return self._object(value, place)
        what = f"a function, {value!r}," if callable(value) else f"{value!r:.200} of type {type(value).__name__}"
        raise TypeError(f"{place}: {what} cannot be written to a model file, which holds nothing but values")

    def _object(self, thing: Kept, place: str) -> Any:
        state = thing._to_state()
        type(thing)._from_state(state)  # what could not be loaded is not written
        place = "" if place in ESTIMATORS or place == "MLP" else f"{place}."
        return {
            "class": type(thing).__name__,
            "attributes": {name: self.value(value, place + name) for name, value in state.items()},
        }

    def _dtype(self, dtype: np.dtype, place: str) -> str:
        if dtype.kind not in "biuf" or dtype.itemsize > 8:
            raise TypeError(f"{place}: {dtype} cannot be written to a model file")
        return dtype.name

    def _array(self, array: NDArray[Any], place: str) -> Any:
        if array.dtype == object:
            return {"objects": [list(array.shape), self.value(array.ravel().tolist(), place)]}
        if array.dtype.kind == "U":  # as the numbers of its characters
            characters = (
                np.array(array, array.dtype.newbyteorder("="), order="C").reshape(*array.shape, 1).view(np.uint32)
            )
            return {"text": self._store(characters, array, place)}
        self._dtype(array.dtype, place)
        return {"array": self._store(np.asarray(array, array.dtype.newbyteorder("="), order="C"), array, place)}

    def _store(self, stored: NDArray[Any], array: NDArray[Any], place: str) -> str:
        """The name of an array in the file. One that is in several places is written once, and is one when loaded."""
        if id(array) not in self._known:
            while place in self.arrays:  # of a dict with the keys 1 and "1"
                place += "_"
            self._known[id(array)] = array, place
            self.arrays[place] = stored
        return self._known[id(array)][1]

    def _random_state(self, rng: np.random.RandomState, place: str) -> Any:
        state = rng.get_state(legacy=False)
        if state["bit_generator"] != "MT19937":
            raise TypeError(f"{place}: a RandomState with {state['bit_generator']} cannot be written to a model file")
        key = self._array(state["state"]["key"], place)
        return {"random_state": [key, state["state"]["pos"], state["has_gauss"], self.value(state["gauss"], place)]}


class ModelFile:
    """What is in a file. Reading it raises ModelFileError for whatever is wrong with it.

    Parameters
    ----------
    path : str, bytes or path-like
    """

    def __init__(self, path: str | bytes | os.PathLike[Any]) -> None:
        self.path = os.fsdecode(path)
        self.metadata, self.arrays, self._content = self._guarded(self._read)
        self.class_name: str = self._content["class"]

    def model(self) -> Any:
        """The model itself."""
        return self._guarded(lambda: self._value(self._content))

    def network(self) -> Any:
        """The MLP that predicts as the model does."""
        return self._guarded(
            lambda: self._value(self._content if self.class_name == "MLP" else self._content["network"])
        )

    def _guarded(self, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except (OSError, MemoryError):
            raise
        except Exception as error:  # whichever a file that is not what it should be has led to
            what = error if isinstance(error, ValueError) else f"{type(error).__name__}, {error}"
            raise ModelFileError(f"{self.path} is not a model file that can be read: {what}") from error

    def _read(self) -> tuple[dict[str, str], Arrays, dict[str, Any]]:
        metadata, arrays = _safetensors.read(self.path)
        if metadata.get("format") != FORMAT:
            raise ValueError("it is a safetensors file that nnfast.save has not written")
        found = int(metadata["format_version"])
        if found > FORMAT_VERSION:
            raise ValueError(
                f"it has version {found} of the format, written by nnfast {metadata.get('nnfast_version')}; "
                f"this nnfast reads up to version {FORMAT_VERSION}"
            )
        longest = max((length for array in arrays.values() for length in array.shape), default=0)
        if longest > os.path.getsize(self.path):  # rows of nothing; each would become an object in some list
            raise ValueError(f"an array has {longest} rows or columns, more than the file has bytes")
        if metadata["sha256"] != _digest(metadata["model"], arrays):
            raise ValueError("its contents are not those that were written: the SHA-256 does not fit")
        content = json.loads(metadata["model"])
        if content["class"] not in ("MLP", *ESTIMATORS):
            raise ValueError(f"it holds {content['class']!r:.100}, which is no model")
        if "network" in content and content["network"]["class"] != "MLP":
            raise ValueError("its network is none")
        return metadata, arrays, content

    def _value(self, json_value: Any) -> Any:
        """The value that a value of JSON stands for."""
        if isinstance(json_value, list):
            return [self._value(one) for one in json_value]
        if not isinstance(json_value, dict):
            return json_value
        if "class" in json_value:
            name = json_value["class"]
            cls = getattr(import_module(_CLASSES[name]), name)
            return cls._from_state({name: self._value(one) for name, one in json_value["attributes"].items()})
        ((kind, content),) = json_value.items()
        return getattr(self, _READERS[kind])(content)

    def _float(self, content: Any) -> float:
        return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[content]

    def _tuple(self, content: Any) -> tuple[Any, ...]:
        return tuple(map(self._value, content))

    def _dict(self, content: Any) -> dict[Any, Any]:
        return {self._value(key): self._value(one) for key, one in content}

    def _dtype(self, content: Any) -> np.dtype:
        if content not in ("bool", *(f"{kind}{bits}" for kind in ("int", "uint", "float") for bits in (8, 16, 32, 64))):
            raise ValueError(f"unknown type {content!r}")
        return np.dtype(content)

    def _scalar(self, content: Any) -> Any:
        dtype, value = content
        return self._dtype(dtype).type(self._value(value))

    def _array(self, content: Any) -> NDArray[Any]:
        return self.arrays[content]

    def _text(self, content: Any) -> NDArray[Any]:
        characters = self.arrays[content]
        if characters.dtype != np.uint32 or characters.shape[-1] < 1 or (characters > 0x10FFFF).any():
            raise ValueError(f"{content} is no array of characters")
        return characters.view(f"U{characters.shape[-1]}").reshape(characters.shape[:-1])

    def _objects(self, content: Any) -> NDArray[Any]:
        shape, values = content
        array = np.empty(len(values), object)
        for i, one in enumerate(values):
            array[i] = self._value(one)
        return array.reshape(shape)

    def _random_state(self, content: Any) -> np.random.RandomState:
        key, position, has_gauss, gauss = map(self._value, content)
        state = {
            "bit_generator": "MT19937",
            "state": {"key": key, "pos": position},
            "has_gauss": has_gauss,
            "gauss": gauss,
        }
        check_random_state_dict(state)
        rng = np.random.RandomState(0)
        rng.set_state(state)
        return rng

    def _csr(self, content: Any) -> Any:
        from scipy import sparse  # which a Perceptron imports anyway

        name, *parts, shape = content
        cls = {"csr_array": sparse.csr_array, "csr_matrix": sparse.csr_matrix}[name]
        matrix = cls(tuple(map(self._value, parts)), shape=tuple(shape))
        matrix.check_format(full_check=True)
        return matrix


_READERS = {
    "float": "_float",
    "tuple": "_tuple",
    "dict": "_dict",
    "dtype": "_dtype",
    "scalar": "_scalar",
    "array": "_array",
    "text": "_text",
    "objects": "_objects",
    "random_state": "_random_state",
    "csr": "_csr",
}
