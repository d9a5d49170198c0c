"""What of an object a model file keeps: the attributes that its class names in `_kept`, each of the type given there.

`nnfast.save` writes them and `nnfast.load` (both in `nnfast._files`) checks them before an object has them. A class
whose attributes must also fit each other says so in its `_from_state`.
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from types import UnionType
from typing import Any, ClassVar, NotRequired, Self, get_args, get_origin

import numpy as np


class Kept:
    """An object that model files can hold.

    ``_kept`` has the type of each attribute; of one that is not always there, ``NotRequired[...]``. Those in
    ``_derived`` follow from the others. An attribute that is in neither is an error on writing: nothing gets lost.
    """

    _kept: ClassVar[dict[str, Any]] = {}
    _derived: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def _parameters(cls) -> dict[str, Any]:
        """Attributes that the class checks itself, with what they are where a file is older than they."""
        return {}

    def _to_state(self) -> dict[str, Any]:
        """The attributes that a file keeps; ValueError when there are others."""
        state = {name: value for name, value in vars(self).items() if name not in self._derived}
        self._check_state(state)
        return state

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> Self:
        """The object with these attributes; an Exception of some kind unless they make sense."""
        cls._check_state(state)
        thing = cls.__new__(cls)
        vars(thing).update(cls._parameters() | state)
        return thing

    @classmethod
    def _check_state(cls, state: Mapping[str, Any]) -> None:
        """ValueError unless these are the attributes, each of its type."""
        unknown = state.keys() - cls._kept.keys() - cls._parameters().keys()
        if unknown:
            raise ValueError(f"a model file has no place for {', '.join(sorted(unknown))} of {cls.__name__}")
        for name, kind in cls._kept.items():
            if get_origin(kind) is NotRequired:
                if name not in state:
                    continue
                (kind,) = get_args(kind)
            if name not in state:
                raise ValueError(f"{cls.__name__} without {name}")
            if not _conforms(state[name], kind):
                raise ValueError(f"{name} of {cls.__name__} should be of type {kind}, got {state[name]!r:.200}")


def _conforms(value: Any, kind: Any) -> bool:
    """Whether a value is of a type, as mypy would see it, except that a number may be NumPy's."""
    if kind is Any:
        return True
    if isinstance(kind, UnionType):
        return any(_conforms(value, one) for one in get_args(kind))
    if kind is None:
        return value is None
    if kind in (int, float):
        number = Integral if kind is int else Real
        return isinstance(value, number) and not isinstance(value, (bool, np.bool_))
    if kind is bool:
        return isinstance(value, (bool, np.bool_))
    origin, parts = get_origin(kind), get_args(kind)
    if hasattr(origin, "__value__"):  # a generic `type` alias, as NumPy's NDArray is on later Pythons
        return _conforms(value, origin.__value__)
    if not isinstance(value, origin or kind):
        return False
    if origin is dict:
        return all(_conforms(k, parts[0]) and _conforms(v, parts[1]) for k, v in value.items())
    if origin is list or (origin is tuple and parts[-1] is ...):
        return all(_conforms(one, parts[0]) for one in value)
    if origin is tuple:
        return len(value) == len(parts) and all(map(_conforms, value, parts))
    return True


def check_feature_names(model: Any) -> None:
    """ValueError unless the names of the features, if there are any, are as many texts as there are features."""
    names = vars(model).get("feature_names_in_")
    if names is not None and not (names.shape == (model.n_features_in_,) and _conforms(names.tolist(), list[str])):
        raise ValueError(f"feature_names_in_ should be {model.n_features_in_} texts")


def check_random_state_dict(state: dict[str, Any]) -> None:
    """ValueError unless this is the state of a `numpy.random.RandomState`, which believes the position, an index."""
    inner = state.get("state")
    key = inner.get("key") if isinstance(inner, dict) else None
    if not (
        state.keys() == {"bit_generator", "state", "has_gauss", "gauss"}
        and state["bit_generator"] == "MT19937"
        and isinstance(key, np.ndarray)
        and (key.shape, key.dtype) == ((624,), np.uint32)
        and inner is not None
        and inner.keys() == {"key", "pos"}
        and _conforms(inner["pos"], int)
        and inner["pos"] in range(625)
        and state["has_gauss"] in (0, 1)
        and _conforms(state["gauss"], float)
    ):
        raise ValueError("it is no state of a random number generator")
