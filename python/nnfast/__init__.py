"""Fast perceptrons and multilayer perceptrons for CPUs.

``MLPClassifier``, ``MLPRegressor`` and ``Perceptron`` are scikit-learn estimators with scikit-learn's parameters and
numbers; ``MLP`` is the network itself, on NumPy arrays; ``nnfast.ops`` holds the array functions they are made of.

scikit-learn is imported when an estimator or a display is first touched, not before (PEP 562).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nnfast import ops
from nnfast._network import MLP

if TYPE_CHECKING:
    from nnfast._c_source import to_c
    from nnfast._classifier import MLPClassifier
    from nnfast._displays import ActivationDisplay, LossCurveDisplay, NetworkDisplay, WeightsDisplay
    from nnfast._exchange import from_sklearn, to_sklearn
    from nnfast._files import ModelFileError, load, save
    from nnfast._onnx import register_skl2onnx, to_onnx
    from nnfast._perceptron import Perceptron
    from nnfast._regressor import MLPRegressor
    from nnfast._versions import show_versions

__all__ = [
    "MLP",
    "ActivationDisplay",
    "LossCurveDisplay",
    "MLPClassifier",
    "MLPRegressor",
    "ModelFileError",
    "NetworkDisplay",
    "Perceptron",
    "WeightsDisplay",
    "__version__",
    "from_sklearn",
    "load",
    "ops",
    "register_skl2onnx",
    "save",
    "show_versions",
    "to_c",
    "to_onnx",
    "to_sklearn",
]

_LAZY = {
    "ActivationDisplay": "nnfast._displays",
    "LossCurveDisplay": "nnfast._displays",
    "MLPClassifier": "nnfast._classifier",
    "MLPRegressor": "nnfast._regressor",
    "ModelFileError": "nnfast._files",
    "NetworkDisplay": "nnfast._displays",
    "Perceptron": "nnfast._perceptron",
    "WeightsDisplay": "nnfast._displays",
    "from_sklearn": "nnfast._exchange",
    "load": "nnfast._files",
    "register_skl2onnx": "nnfast._onnx",
    "save": "nnfast._files",
    "show_versions": "nnfast._versions",
    "to_c": "nnfast._c_source",
    "to_onnx": "nnfast._onnx",
    "to_sklearn": "nnfast._exchange",
}


def __getattr__(name: str) -> Any:
    value: Any
    if name in _LAZY:
        value = getattr(import_module(_LAZY[name]), name)
    elif name == "__version__":
        from importlib.metadata import version  # 10 ms that a plain import need not pay

        value = version("nnfast")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
