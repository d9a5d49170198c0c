"""What the writers of other formats (`nnfast._c_source`, `nnfast._onnx`) need to know of a fitted model.

scikit-learn is imported for an estimator, not for a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from nnfast import _core
from nnfast._layers import Activation
from nnfast._network import MLP
from nnfast._outputs import check_classes, forward
from nnfast._rows import Array


class Exported(NamedTuple):
    """A network, and what its outputs say.

    A target of classes has one or more columns. A column has one output, which stands for the second of two classes
    when it is above the threshold, or one output for each of its classes, of which the largest wins.
    """

    title: str
    coefs: list[Array]
    intercepts: list[Array]
    activations: list[Activation]  # of every layer; with its argument, where it has one
    groups: tuple[int, ...]  # sizes of the groups of outputs that the last activation takes together
    feature_names: Sequence[str] = ()  # none when they are not known
    shape: tuple[int, ...] = ()  # of the prediction for a row, where it is numbers
    columns: Sequence[Array] = ()  # the classes of each column; none where the prediction is numbers
    several_columns: bool = False  # whether a label is a row with one class for each column
    threshold: float = 0.5
    midpoint: float | None = None  # what a perceptron takes off its outputs, which are scores; else: probabilities

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.coefs[0].dtype

    @property
    def sizes(self) -> list[int]:
        """Units of every layer, the input included."""
        return [len(self.coefs[0]), *(len(intercept) for intercept in self.intercepts)]

    @property
    def widths(self) -> list[int]:
        """Outputs of each column of classes."""
        one_each = len(self.columns) == self.sizes[-1]
        return [1 if one_each else len(classes) for classes in self.columns]

    @property
    def both_classes(self) -> bool:
        """Whether the one output p stands for the probabilities (1 - p, p)."""
        return self.midpoint is None and not self.several_columns and self.widths == [1]


def describe(model: Any, dtype: DTypeLike | None = None) -> Exported:
    """A fitted model of this package, with weights of this dtype; None: that of its weight matrices.

    Raises
    ------
    TypeError
        It is no model of this package.
    NotFittedError
        It has no weights yet.
    ValueError
        The weights, which users may edit, do not fit together or not the classes; a weight or the argument of an
        activation is not finite in this dtype; or it is neither float32 nor float64.
    """
    exported, n_in, n_out = _describe(model)
    network = exported.coefs, exported.intercepts, exported.activations
    outputs = forward(np.zeros((1, n_in), np.float32), *network, n_jobs=1, output_groups=exported.groups)
    if outputs.shape[1] != n_out:
        raise ValueError(f"The weights of the {exported.title} give {outputs.shape[1]} outputs, not {n_out}.")
    own = min(np.result_type(*exported.coefs, np.float32), np.dtype(np.float64))
    target = own if dtype is None else np.dtype(dtype)
    if target not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64, got {target}.")
    with np.errstate(over="ignore"):
        coefs = [np.ascontiguousarray(coef, target) for coef in exported.coefs]
        intercepts = [np.ascontiguousarray(intercept, target) for intercept in exported.intercepts]
    if not all(np.isfinite(w).all() for w in coefs + intercepts):
        raise ValueError(f"The weights of the {exported.title} are not all finite in {target}.")
    activations = [_with_argument(activation) for activation in exported.activations]
    largest = float(np.finfo(target).max)
    for activation in activations:
        if not isinstance(activation, str) and activation[1] > largest:
            raise ValueError(f"The argument of the activation {activation} is not finite in {target}.")
    return exported._replace(coefs=coefs, intercepts=intercepts, activations=activations)


def _with_argument(activation: Activation) -> Activation:
    default = _core.ARGUMENTS.get(activation) if isinstance(activation, str) else None
    return activation if default is None else (str(activation), default)


def _describe(model: Any) -> tuple[Exported, int, int]:
    """The model as it is, and the numbers of inputs and outputs that it should have."""
    if isinstance(model, MLP):
        n_in, n_out = model.layer_sizes[0], model.layer_sizes[-1]
        activations = model._activations()
        exported = Exported(
            "MLP", model.coefs_, model.intercepts_, activations, tuple(model.output_groups), shape=(n_out,)
        )
        if hasattr(model, "classes_"):
            softmax = model.out_activation_ == "softmax"
            check_classes(model.classes_, n_out, softmax)
            exported = _with_classes(exported, model.classes_, n_out, softmax)
        return exported, n_in, n_out

    from sklearn.utils.validation import check_is_fitted

    from nnfast._base import BaseMLP
    from nnfast._perceptron import Perceptron

    if not isinstance(model, (BaseMLP, Perceptron)):
        raise TypeError(
            f"Expected a fitted MLPClassifier, MLPRegressor, Perceptron or MLP of nnfast, got {type(model).__name__}."
        )
    check_is_fitted(model)
    return _describe_perceptron(model) if isinstance(model, Perceptron) else _describe_mlp(model)


def _describe_mlp(model: Any) -> tuple[Exported, int, int]:
    n_out = model.n_outputs_
    exported = Exported(
        type(model).__name__,
        model.coefs_,
        model.intercepts_,
        model._activations(),
        model._output_groups(),
        getattr(model, "feature_names_in_", ()),
    )
    if hasattr(model, "classes_"):
        exported = _with_classes(exported, model.classes_, n_out, model.out_activation_ == "softmax")
    else:
        exported = exported._replace(shape=model._decode(np.zeros((1, n_out))).shape[1:] or (1,))
    return exported, model.n_features_in_, n_out


def _with_classes(exported: Exported, classes: Array | list[Array], n_out: int, softmax: bool) -> Exported:
    """The columns of classes that `as_labels` tells."""
    if isinstance(classes, list):
        return exported._replace(columns=classes, several_columns=True)
    if n_out > 1 and not softmax:
        return exported._replace(columns=[np.array([0, 1])] * n_out, several_columns=True)
    return exported._replace(columns=[classes])


def _describe_perceptron(model: Any) -> tuple[Exported, int, int]:
    from nnfast._perceptron import RULES

    rule = RULES[model.activation]
    coef = model.coef_ if isinstance(model.coef_, np.ndarray) else model.coef_.toarray()
    exported = Exported(
        type(model).__name__,
        [coef.T],
        [model.intercept_],
        ["identity" if rule.activate is None else rule.name],
        (),
        getattr(model, "feature_names_in_", ()),
        columns=[model.classes_],
        threshold=0.0,
        midpoint=rule.midpoint,
    )
    return exported, model.n_features_in_, 1 if len(model.classes_) == 2 else len(model.classes_)
