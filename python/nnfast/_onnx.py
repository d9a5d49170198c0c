"""`to_onnx`: a fitted model as an ONNX graph, and the converter by which skl2onnx puts that graph into a pipeline's.

ONNX Runtime has float64 kernels for few operators, so the graphs are made of those. onnx and skl2onnx are imported when
they are needed, not before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from nnfast._exported import Exported, describe
from nnfast._layers import Activation
from nnfast._rows import Array

# The first opset, and the version of the format that came with it, in which all operators below are as they are now.
_OPSET, _IR_VERSION = 14, 7


class _Graph:
    """A graph that grows node by node. A value is known by its name."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.onnx = _package("onnx")
        self.dtype = dtype
        self.element = self.onnx.helper.np_dtype_to_tensor_dtype(dtype)
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def __call__(self, operator: str, *inputs: str | float | Array, outputs: int = 1, **attributes: Any) -> Any:
        """The value that a node with this operator gives, or a list of several; numbers among its inputs are constants
        of the graph's dtype, arrays constants as they are."""
        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        name = f"{operator}_{len(self.nodes)}"
        results = [f"{name}_{i}" for i in range(outputs)]
        self.nodes.append(self.onnx.helper.make_node(operator, names, results, name, **attributes))
        return results[0] if outputs == 1 else results

    def constant(self, value: float | Array) -> str:
        array = value if isinstance(value, np.ndarray) else np.array(value, self.dtype)
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def rename(self, old: str, new: str) -> None:
        for node in self.nodes:
            for names in (node.input, node.output):
                names[:] = [new if name == old else name for name in names]


# ---- activations -----------------------------------------------------------------------------------------------------


def _elu(g: _Graph, x: str, a: float) -> str:
    return g("Add", g("Relu", x), g("Mul", g("Sub", g("Exp", g("Min", x, 0.0)), 1.0), a))


def _leaky_relu(g: _Graph, x: str, a: float) -> str:
    return g("Sub", g("Relu", x), g("Mul", g("Relu", g("Neg", x)), a))


def _gelu(g: _Graph, x: str) -> str:
    """With erf in float32: ONNX Runtime has no other."""
    erf = g("Erf", g("Cast", g("Mul", x, 0.5**0.5), to=g.onnx.TensorProto.FLOAT))
    return g("Mul", x, g("Add", g("Mul", g("Cast", erf, to=g.element), 0.5), 0.5))


def _softplus(g: _Graph, x: str) -> str:
    """log(1 + e^x) = max(x, 0) - log(1 / (1 + e^-|x|)), which cannot overflow."""
    return g("Sub", g("Relu", x), g("Log", g("Sigmoid", g("Abs", x))))


# The value of an activation, given that of its input, and its argument where it has one.
_ELEMENTWISE: dict[str, Callable[..., str]] = {
    "identity": lambda g, x: x,
    "logistic": lambda g, x: g("Sigmoid", x),
    "tanh": lambda g, x: g("Tanh", x),
    "relu": lambda g, x: g("Relu", x),
    "leaky_relu": _leaky_relu,
    "exp": lambda g, x: g("Exp", x),
    "elu": _elu,
    "selu": lambda g, x: g("Mul", _elu(g, x, 1.6732632423543772), 1.0507009873554805),
    "gelu": _gelu,
    "silu": lambda g, x: g("Mul", x, g("Sigmoid", x)),
    "mish": lambda g, x: g("Mul", x, g("Tanh", _softplus(g, x))),
    "softplus": _softplus,
    "hard_sigmoid": lambda g, x: g("Clip", g("Div", g("Add", x, 3.0), 6.0), 0.0, 1.0),
    "softsign": lambda g, x: g("Div", x, g("Add", g("Abs", x), 1.0)),
}


def _ordered(g: _Graph, z: str, n: int) -> str:
    if n == 1:
        return z
    first, rest = _split(g, z, [1, n - 1])
    return g("CumSum", g("Concat", first, _softplus(g, rest), axis=1), np.array(1))


# Those of outputs that hang together, given their number too.
_ROWWISE: dict[str, Callable[[_Graph, str, int], str]] = {
    "softmax": lambda g, z, n: g("Softmax", z, axis=1),
    "ordered": _ordered,
}


def _split(g: _Graph, x: str, sizes: Sequence[int]) -> list[str]:
    """Groups of columns."""
    return [x] if len(sizes) == 1 else g("Split", x, np.array(sizes), axis=1, outputs=len(sizes))


def _activate(g: _Graph, z: str, activation: Activation, groups: Sequence[int]) -> str:
    name, argument = (activation, ()) if isinstance(activation, str) else (activation[0], activation[1:])
    if name not in _ROWWISE:
        return _ELEMENTWISE[name](g, z, *argument)
    parts = [_ROWWISE[name](g, part, n) for part, n in zip(_split(g, z, groups), groups, strict=True)]
    return parts[0] if len(parts) == 1 else g("Concat", *parts, axis=1)


# ---- graphs ----------------------------------------------------------------------------------------------------------


def _outputs(g: _Graph, model: Exported, x: str) -> str:
    """The outputs of the network for the rows x, (n, n_outputs)."""
    for coef, intercept, activation in zip(model.coefs, model.intercepts, model.activations, strict=True):
        groups = model.groups if coef is model.coefs[-1] and model.groups else (len(intercept),)
        x = _activate(g, g("Gemm", x, coef, intercept), activation, groups)
    return g("Sub", x, model.midpoint) if model.midpoint else x


def _labels(classes: Sequence[Array]) -> list[Array]:
    """The classes of each column as int64 or text.

    Raises
    ------
    ValueError
        They are neither integers nor text.
    """
    labels = np.concatenate([known.astype(object) for known in classes])
    if not all(isinstance(label, str) for label in labels):
        for label in labels:
            if not _fits_int64(label):
                raise ValueError(f"ONNX has labels that are integers or text, not such as {label!r}.")
        labels = labels.astype(np.int64)
    return np.split(labels, np.cumsum([len(known) for known in classes])[:-1])


def _fits_int64(label: Any) -> bool:
    try:
        return bool(np.array([label], object).astype(np.int64)[0] == label)
    except (TypeError, ValueError, OverflowError):
        return False


def _chosen(g: _Graph, model: Exported, outputs: str) -> str:
    """The labels, (n,) or (n, columns)."""
    integer = g.onnx.TensorProto.INT64
    classes, widths = _labels(model.columns), model.widths
    # The columns of a multilabel y all have the same two classes, and can be told apart at once.
    if all(len(known) == 2 and width == 1 for known, width in zip(classes, widths, strict=True)):
        classes, widths = classes[:1], [len(widths)]
        numbers = [g("Cast", g("Greater", outputs, model.threshold), to=integer)]
    else:
        numbers = [g("ArgMax", part, axis=1, keepdims=1) for part in _split(g, outputs, widths)]
    if not model.several_columns:
        numbers = [g("Reshape", numbers[0], np.array([-1]))]
    labels = [g("Gather", known, number) for known, number in zip(classes, numbers, strict=True)]
    return labels[0] if len(labels) == 1 else g("Concat", *labels, axis=1)


def _build(model: Exported) -> Any:
    """The graph from `X` to `variable`, or to `label` and `probabilities` or `scores`."""
    onnx = _package("onnx")
    g, helper = _Graph(model.dtype), onnx.helper

    def tensor(*shape: int, element: int = g.element) -> Any:
        return helper.make_tensor_type_proto(element, ["n_samples", *shape])

    outputs = _outputs(g, model, "X")
    results: dict[str, tuple[str, Any]] = {}
    if not model.columns:
        if len(model.shape) > 1:
            outputs = g("Reshape", outputs, np.array([-1, *model.shape]))
        results["variable"] = outputs, tensor(*model.shape)
    else:
        is_text = _labels(model.columns)[0].dtype == object
        element = onnx.TensorProto.STRING if is_text else onnx.TensorProto.INT64
        columns = [len(model.columns)] if model.several_columns else []
        results["label"] = _chosen(g, model, outputs), tensor(*columns, element=element)
        if model.midpoint is not None:
            both = g("Concat", g("Neg", outputs), outputs, axis=1) if model.widths == [1] else outputs
            results["scores"] = both, tensor(len(model.columns[0]))
        elif model.both_classes:
            results["probabilities"] = g("Concat", g("Sub", 1.0, outputs), outputs, axis=1), tensor(2)
        elif model.groups:
            parts = _split(g, outputs, model.widths)
            several = helper.make_sequence_type_proto(helper.make_tensor_type_proto(g.element, ["n_samples", None]))
            results["probabilities"] = g("SequenceConstruct", *parts), several
        else:
            results["probabilities"] = outputs, tensor(model.sizes[-1])
    for name, (value, _) in results.items():
        g.rename(value, name)
    return helper.make_graph(
        g.nodes,
        model.title,
        [helper.make_value_info("X", tensor(model.sizes[0]))],
        [helper.make_value_info(name, kind) for name, (_, kind) in results.items()],
        g.initializers,
    )


def to_onnx(model: Any, path: str | PathLike[str] | None = None, *, dtype: DTypeLike | None = None) -> Any:
    """A fitted model as an ONNX model.

    Its input is ``X``, of shape (n_samples, n_features). Its outputs have the names that skl2onnx gives them:

    - ``label`` of a classifier, of shape (n_samples,), or (n_samples, n_outputs) with several columns of y or a
      multilabel y: integers (bool and whole floats too) or text.
    - ``probabilities`` of an MLPClassifier, what ``predict_proba`` gives: for several columns of several classes a
      sequence with an array for each column.
    - ``scores`` of a Perceptron, of shape (n_samples, n_classes): ``decision_function``, and before it, of two classes,
      its negative.
    - ``variable`` of an MLPRegressor or an MLP, the prediction; of one target its shape is (n_samples, 1). An MLP with
      ``classes_`` has the outputs of the classifier that it came from.

    Pipelines are skl2onnx's business: `register_skl2onnx`.

    Parameters
    ----------
    model : fitted MLPClassifier, MLPRegressor or Perceptron, or an MLP

    path : str or path-like, default=None
        The file to write; none when None.

    dtype : {'float32', 'float64'}, default=None
        Of the input, the weights and the numbers that come out. None: that of the weights.

    Returns
    -------
    onnx_model : onnx.ModelProto
        Of opset 14.

    Raises
    ------
    ImportError
        onnx is not installed.
    NotFittedError
        The model is not fitted.
    TypeError
        It is of another kind.
    ValueError
        ``dtype`` is another, a weight or the argument of an activation is not finite in it, the classes are neither
        integers nor text, or the ``classes_`` of an MLP do not fit its outputs.
    OSError
        The file cannot be written.

    Notes
    -----
    ONNX Runtime gives the model's numbers to about 1e-6 of the largest in float32 and 1e-13 in float64; with 'gelu' to
    1e-6 in both, because it has erf in float32 alone.

    Examples
    --------
    >>> import nnfast
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = nnfast.MLPClassifier((8,), max_iter=20, tol=0.1, random_state=0).fit(X, y)
    >>> [output.name for output in nnfast.to_onnx(model).graph.output]
    ['label', 'probabilities']
    """
    onnx = _package("onnx")
    onnx_model = onnx.helper.make_model(
        _build(describe(model, dtype)),
        opset_imports=[onnx.helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="nnfast",
        producer_version=version("nnfast"),
    )
    if path is not None:
        Path(path).write_bytes(onnx_model.SerializeToString())
    return onnx_model


# ---- in pipelines ----------------------------------------------------------------------------------------------------


def register_skl2onnx() -> None:
    """Make skl2onnx know MLPClassifier, MLPRegressor and Perceptron, alone and within pipelines.

    To be called once, before ``skl2onnx.to_onnx``. The results are those of `to_onnx`, where scores are called
    ``probabilities`` too. Classifiers have skl2onnx's options ``zipmap`` and ``output_class_labels``, but not with
    several columns of several classes.

    Raises
    ------
    ImportError
        skl2onnx is not installed.

    Examples
    --------
    >>> import skl2onnx
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> import nnfast
    >>> X, y = load_iris(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), nnfast.MLPClassifier((8,), max_iter=20, tol=0.1, random_state=0))
    >>> nnfast.register_skl2onnx()
    >>> onnx_model = skl2onnx.to_onnx(model.fit(X, y), X, options={"zipmap": False})
    >>> [output.name for output in onnx_model.graph.output]
    ['label', 'probabilities']
    """
    skl2onnx = _package("skl2onnx")
    from nnfast._classifier import MLPClassifier
    from nnfast._perceptron import Perceptron
    from nnfast._regressor import MLPRegressor

    # It asks every classifier for `nocl`, numbers in place of labels.
    options = {"zipmap": [True, False, "columns"], "output_class_labels": [False, True], "nocl": [False]}
    for kind in (MLPClassifier, Perceptron):
        name = f"nnfast{kind.__name__}"
        skl2onnx.update_registered_converter(kind, name, _declare_types, _convert, parser=_parse, options=options)
    skl2onnx.update_registered_converter(MLPRegressor, "nnfastMLPRegressor", _declare_types, _convert)


def _parse(scope: Any, model: Any, inputs: list[Any], custom_parsers: Any = None) -> list[Any]:
    """The results of a classifier for skl2onnx."""
    parsing = _package("skl2onnx._parse")
    if not isinstance(getattr(model, "classes_", None), list):
        return parsing._parse_sklearn_classifier(scope, model, inputs, custom_parsers)
    types = _package("skl2onnx.common.data_types")
    operator = scope.declare_local_operator(f"nnfast{type(model).__name__}", model)
    operator.inputs = inputs
    probabilities = types.SequenceType(types.guess_tensor_type(inputs[0].type))
    operator.outputs.append(scope.declare_local_variable("label", types.Int64TensorType()))
    operator.outputs.append(scope.declare_local_variable("probabilities", probabilities))
    return operator.outputs


def _graph_of(operator: Any) -> Any:
    """The graph of skl2onnx's operator: in float64 for inputs in float64, in float32 for all others."""
    types, onnx = _package("skl2onnx.common.data_types"), _package("onnx")
    double = types.guess_proto_type(operator.inputs[0].type) == onnx.TensorProto.DOUBLE
    return _build(describe(operator.raw_operator, "float64" if double else "float32"))


def _declare_types(operator: Any) -> None:
    """The types and shapes of the results for skl2onnx."""
    _package("skl2onnx.common.utils").check_input_and_output_numbers(operator, input_count_range=1)
    types, element = _package("skl2onnx.common.data_types"), _package("onnx").TensorProto
    kinds = {
        element.FLOAT: types.FloatTensorType,
        element.DOUBLE: types.DoubleTensorType,
        element.INT64: types.Int64TensorType,
        element.STRING: types.StringTensorType,
    }
    for variable, value in zip(operator.outputs, _graph_of(operator).output, strict=True):
        if value.type.HasField("tensor_type"):  # a sequence is already declared
            tensor = value.type.tensor_type
            sizes = [dimension.dim_value for dimension in tensor.shape.dim[1:]]
            variable.set_type(kinds[tensor.elem_type]([operator.inputs[0].get_first_dimension(), *sizes]))


def _convert(scope: Any, operator: Any, container: Any) -> None:
    """Put the graph of skl2onnx's operator into its container, with names of its own."""
    onnx = _package("onnx")
    opset = container.target_opset_any_domain("")
    if opset < _OPSET:
        raise ValueError(f"{type(operator.raw_operator).__name__} needs target_opset {_OPSET} or later, got {opset}.")
    graph = _graph_of(operator)
    given, element = operator.inputs[0], graph.input[0].type.tensor_type.elem_type
    names = {graph.input[0].name: given.full_name}
    if _package("skl2onnx.common.data_types").guess_proto_type(given.type) != element:
        names[graph.input[0].name] = cast = scope.get_unique_variable_name("X")
        container.add_node("Cast", given.full_name, cast, name=scope.get_unique_operator_name("Cast"), to=element)
    for variable, value in zip(operator.outputs, graph.output, strict=True):
        names[value.name] = variable.full_name
    for tensor in graph.initializer:
        names[tensor.name] = scope.get_unique_variable_name(tensor.name)
        values = onnx.numpy_helper.to_array(tensor).ravel()
        container.add_initializer(names[tensor.name], tensor.data_type, list(tensor.dims), values)
    for node in graph.node:
        names |= {name: scope.get_unique_variable_name(name) for name in node.output if name not in names}
        container.add_node(
            node.op_type,
            [names[name] for name in node.input],
            [names[name] for name in node.output],
            name=scope.get_unique_operator_name(node.op_type),
            **{attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute},
        )


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f"{name.partition('.')[0]} is needed to write ONNX: pip install nnfast[onnx]") from error
