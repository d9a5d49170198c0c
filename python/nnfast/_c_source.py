"""`to_c`: a fitted model as C source. What it computes, in which order, is what the engine computes (docs/numerics.md);
exp, log, tanh and erf are those of the C library."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from importlib.metadata import version
from itertools import pairwise
from os import PathLike
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from nnfast._exported import Exported, describe
from nnfast._layers import Activation
from nnfast._rows import Array

# In the texts below $T is float or double, $f the end of its literals and of the names of its functions, $name the
# prefix of all names.

# y[j] from its weighted sum x; a is the activation's argument.
_ELEMENTWISE = {
    "logistic": "const $T e = exp$f(-fabs$f(x));\ny[j] = (x < 0.0$f ? e : 1.0$f) / (1.0$f + e);",
    "tanh": "y[j] = tanh$f(x);",
    "relu": "y[j] = x <= 0.0$f ? 0.0$f : x;",
    "leaky_relu": "y[j] = x <= 0.0$f ? x * a : x;",
    "exp": "y[j] = exp$f(x);",
    "elu": "y[j] = x < 0.0$f ? a * expm1$f(x) : x;",
    "selu": "y[j] = x < 0.0$f ? 1.75809934084737686$f * expm1$f(x) : 1.05070098735548049$f * x;",
    "gelu": "y[j] = 0.5$f * x * erfc$f(-0.707106781186547524$f * x);",
    "silu": "const $T e = exp$f(-fabs$f(x));\ny[j] = (x < 0.0$f ? x * e : x) / (1.0$f + e);",
    "mish": "y[j] = x * tanh$f((x < 0.0$f ? 0.0$f : x) + log1p$f(exp$f(-fabs$f(x))));",
    "softplus": "y[j] = (x < 0.0$f ? 0.0$f : x) + log1p$f(exp$f(-fabs$f(x)));",
    "hard_sigmoid": "const $T s = (x + 3.0$f) / 6.0$f;\ny[j] = s < 0.0$f ? 0.0$f : 1.0$f < s ? 1.0$f : s;",
    "softsign": "y[j] = x / (1.0$f + fabs$f(x));",
}

_ACTIVATION = """\
static void ${name}_$activation(int n, $T *y$argument)
{
    for (int j = 0; j < n; j++) {
        const $T x = y[j];
$statements
    }
}
"""

# Those of outputs that hang together.
_ROWWISE = {
    "softmax": """\
static void ${name}_softmax(int n, $T *y)
{
    $T largest = y[0], sum = 0.0$f;
    for (int j = 1; j < n; j++)
        largest = largest < y[j] ? y[j] : largest;
    for (int j = 0; j < n; j++) {
        y[j] = exp$f(y[j] - largest);
        sum += y[j];
    }
    for (int j = 0; j < n; j++)
        y[j] /= sum;
}
""",
    # A level is the one before and something that is never negative.
    "ordered": """\
static void ${name}_ordered(int n, $T *y)
{
    for (int j = 1; j < n; j++)
        y[j] = y[j - 1] + ((y[j] < 0.0$f ? 0.0$f : y[j]) + log1p$f(exp$f(-fabs$f(y[j]))));
}
""",
}

_HEAD = """\
/*
$about
 */

#include <math.h>

/*
 * The fused multiply-add a * b + c, with which the sums are nnfast's to the last bit. On a processor that has none it
 * is slow: there, compile with -D'${NAME}_FMA(a, b, c)=((a) * (b) + (c))'; last bits differ then.
 */
#ifndef ${NAME}_FMA
#define ${NAME}_FMA(a, b, c) fma$f(a, b, c)
#endif
"""

_DENSE = """\
/* y = b + x W. An element is one chain of multiply-adds, in order of the inputs. */
static void ${name}_dense(int n_in, int n_out, const $T *restrict w, const $T *restrict b, const $T *restrict x,
    $T *restrict y)
{
    for (int j = 0; j < n_out; j++)
        y[j] = b[j];
    for (int i = 0; i < n_in; i++, w += n_out)
        for (int j = 0; j < n_out; j++)
            y[j] = ${NAME}_FMA(x[i], w[j], y[j]);
}
"""

_LARGEST = """\
/* The index of the largest of y, the first of those that are equal. */
static int ${name}_largest(int n, const $T *y)
{
    int best = 0;
    for (int j = 1; j < n; j++)
        best = y[best] < y[j] ? j : best;
    return best;
}
"""


def to_c(
    model: Any, path: str | PathLike[str] | None = None, *, name: str = "nnfast", dtype: DTypeLike = "float32"
) -> str:
    """A fitted model as one file of C99 that needs ``<math.h>`` and nothing else.

    It allocates nothing and has no state, so that a microcontroller can run it, and a service in any number of threads.
    The head of the file says what goes in, what comes out, and which number stands for which class. Each function
    takes the features of one row, ``const float *x``:

    - ``int nnfast_predict(x)`` of a classifier is the index of the class in ``classes_``; with several columns of y,
      or a multilabel y, ``void nnfast_predict(x, int *classes)`` gives one for each.
    - ``void nnfast_predict_proba(x, float *probabilities)`` of an MLPClassifier; of several columns, one after the
      other.
    - ``void nnfast_decision_function(x, float *scores)`` of a Perceptron.
    - ``void nnfast_predict(x, float *y)`` of an MLPRegressor; of an MLP, what ``forward`` gives. An MLP with
      ``classes_`` is written as the classifier that it came from.

    Parameters
    ----------
    model : fitted MLPClassifier, MLPRegressor or Perceptron, or an MLP
        What prepares its features, such as the scaler of a pipeline, is no part of the file.

    path : str or path-like, default=None
        The file to write; none when None.

    name : str, default='nnfast'
        What all names in the file begin with. Files with different ones can be linked together.

    dtype : {'float32', 'float64'}, default='float32'
        What to compute in, ``float`` or ``double``. The weights are rounded to it.

    Returns
    -------
    source : str
        The text of the file.

    Raises
    ------
    NotFittedError
        The model is not fitted.
    TypeError
        It is of another kind.
    ValueError
        ``name`` cannot begin a name in C, ``dtype`` is another, a weight or the argument of an activation is not finite
        in it, or the ``classes_`` of an MLP do not fit its outputs.
    OSError
        The file cannot be written.

    Notes
    -----
    Where X and the weights are of ``dtype``, the weighted sums have the bits of the model's own on CPUs with a fused
    multiply-add, and so has everything made of 'identity', 'relu', 'leaky_relu', 'hard_sigmoid' and 'softsign'. Other
    activations call the C library, and may differ from the model's in last digits. (The intercept of a Perceptron of
    two classes is float64, also of X in float32.)

    Examples
    --------
    >>> import nnfast
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = nnfast.MLPClassifier((8,), max_iter=20, tol=0.1, random_state=0).fit(X, y)
    >>> source = nnfast.to_c(model, name="iris")
    >>> [line for line in source.splitlines() if line.startswith("int")]
    ['int iris_predict(const float *x);', 'int iris_predict(const float *x)']
    """
    if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
        raise ValueError(f"name must consist of letters, digits and underscores, the first no digit; got {name!r}.")
    source = _Source(describe(model, dtype), name).text()
    if path is not None:
        Path(path).write_text(source, encoding="ascii")
    return source


class _Function(NamedTuple):
    signature: str
    body: list[str]
    comment: str = ""  # none: it is for the file alone

    @property
    def prototype(self) -> str:
        return f"/* {self.comment} */\n{self.signature};\n"

    @property
    def definition(self) -> str:
        static = "" if self.comment else "static "
        return "\n".join([static + self.signature, "{", *(f"    {line}" for line in self.body), "}", ""])


class _Source:
    """The file, from its parts: each method gives some."""

    def __init__(self, model: Exported, name: str) -> None:
        self.model = model
        self.name = name
        self.T, self.f = ("float", "f") if model.dtype == np.float32 else ("double", "")
        self.n_in, self.n_out = model.sizes[0], model.sizes[-1]

    def text(self) -> str:
        functions = self.functions()
        return "\n".join(
            [
                self.fill(_HEAD, about=self.about()),
                *(function.prototype for function in functions if function.comment),
                *self.weights(),
                *self.helpers(),
                *(function.definition for function in functions),
            ]
        )

    def fill(self, text: str, **words: str) -> str:
        return Template(text).substitute(words, T=self.T, f=self.f, name=self.name, NAME=self.name.upper())

    def literal(self, number: float) -> str:
        """The number as it is: hexadecimal digits need no rounding."""
        return re.sub(r"\.?0*p", "p", float(number).hex()) + self.f

    # ---- what it says --------------------------------------------------------------------------------------------

    def about(self) -> str:
        """The lines of the comment at the head."""
        model = self.model
        layers = ", ".join(f"{n} {_name(one)}" for n, one in zip(model.sizes[1:], model.activations, strict=True))
        stack = (sum(self.buffers()) + self.n_out) * model.dtype.itemsize
        paragraphs = [
            f"{model.title} of {self.n_in} features, with layers of {layers} units; by nnfast {version('nnfast')}.",
            "C99 without dependencies. Compile this file, and declare the functions below where they are called. "
            f"Nothing is allocated and nothing kept from call to call; arrays take {stack} bytes of the stack.",
        ]
        if len(model.feature_names):
            paragraphs.append(f"The features of a row: {_enumerated(model.feature_names)}.")
        for i, classes in enumerate(model.columns):
            whose = f" of column {i}" if model.several_columns else ""
            paragraphs.append(f"The classes{whose}: {_enumerated(classes)}.")
        lines = [textwrap.wrap(text, 117, break_long_words=False, break_on_hyphens=False) for text in paragraphs]
        return "\n *\n".join("\n".join(f" * {line}" for line in paragraph) for paragraph in lines)

    # ---- what it computes with -----------------------------------------------------------------------------------

    def weights(self) -> Iterable[str]:
        shapes = pairwise(self.model.sizes)
        for i, (coef, intercept, (n_in, n_out)) in enumerate(
            zip(self.model.coefs, self.model.intercepts, shapes, strict=True), 1
        ):
            yield self.array(f"w{i}[{n_in} * {n_out}]", coef)  # a row for each input
            yield self.array(f"b{i}[{n_out}]", intercept)

    def array(self, name: str, values: Array) -> str:
        literals = [self.literal(value) for value in values.ravel().tolist()]
        per_line = 6 if self.f else 4  # 19 characters each, or 26
        lines = [", ".join(literals[i : i + per_line]) for i in range(0, len(literals), per_line)]
        return "\n".join(
            [f"static const {self.T} {self.name}_{name} = {{", *(f"    {line}," for line in lines), "};", ""]
        )

    def helpers(self) -> Iterable[str]:
        yield self.fill(_DENSE)
        with_argument = {_name(one) for one in self.model.activations if not isinstance(one, str)}
        for name in dict.fromkeys(map(_name, self.model.activations)):
            if name in _ROWWISE:
                yield self.fill(_ROWWISE[name])
            elif name != "identity":
                argument = f", {self.T} a" if name in with_argument else ""
                statements = textwrap.indent(self.fill(_ELEMENTWISE[name]), " " * 8)
                yield self.fill(_ACTIVATION, activation=name, argument=argument, statements=statements)
        if any(not self.tells_two(i) for i in range(len(self.model.columns))):
            yield self.fill(_LARGEST)

    # ---- the functions for one row -------------------------------------------------------------------------------

    def functions(self) -> list[_Function]:
        """Each after the ones that it calls."""
        model = self.model
        if not model.columns:
            shape = " x ".join(map(str, model.shape))
            return [self.forward("predict", "y", f"y ({shape}): the prediction for the row x ({self.n_in}).")]
        if model.midpoint is not None:
            meaning = "above 0 it is the second class" if self.n_out == 1 else "the largest has the class"
            comment = f"scores ({self.n_out}) of the row x ({self.n_in}): {meaning}."
            forward = self.forward("decision_function", "scores", comment)
            return [forward, self.predict("decision_function")]
        if model.both_classes:
            forward = self.forward("forward", "y")
            return [forward, self.both_probabilities(), self.predict("forward")]
        whose = "the classes of each column, one column after the other" if model.several_columns else "the classes"
        comment = f"probabilities ({self.n_out}): those of {whose}, for the row x ({self.n_in})."
        forward = self.forward("predict_proba", "probabilities", comment)
        return [forward, self.predict("predict_proba")]

    def signature(self, function: str, result: str = "", returns: str = "void") -> str:
        return f"{returns} {self.name}_{function}(const {self.T} *x{result and f', {result}'})"

    def buffers(self) -> list[int]:
        """Sizes of the arrays that the hidden layers use in turn."""
        hidden = self.model.sizes[1:-1]
        return [max(some) for some in (hidden[0::2], hidden[1::2]) if some]

    def forward(self, function: str, result: str, comment: str = "") -> _Function:
        model = self.model
        body = [f"{self.T} {array}[{size}];" for array, size in zip("ab", self.buffers(), strict=False)]
        if model.midpoint is not None:
            body.append(f"static const {self.T} zero[{self.n_out}] = {{0}};")
        source = "x"
        for i, (n_in, n_out) in enumerate(pairwise(model.sizes), 1):
            last = i == len(model.coefs)
            target = result if last else "ba"[i % 2]
            # A perceptron's sum begins at 0, and ends with the intercept.
            start = f"{self.name}_b{i}" if model.midpoint is None else "zero"
            body.append(f"{self.name}_dense({n_in}, {n_out}, {self.name}_w{i}, {start}, {source}, {target});")
            if model.midpoint is not None:
                body += self.each(f"{target}[j] += {self.name}_b{i}[j];")
            body += self.activate(model.activations[i - 1], target, (last and model.groups) or (n_out,))
            source = target
        if model.midpoint:
            body += self.each(f"{result}[j] -= {model.midpoint}{self.f};")
        return _Function(self.signature(function, f"{self.T} *{result}"), body, comment)

    def each(self, statement: str) -> list[str]:
        """The statement, for every output j."""
        return [f"for (int j = 0; j < {self.n_out}; j++)", f"    {statement}"]

    def activate(self, activation: Activation, array: str, groups: tuple[int, ...]) -> Iterable[str]:
        name = _name(activation)
        argument = "" if isinstance(activation, str) else f", {self.literal(self.model.dtype.type(activation[1]))}"
        first = 0
        for size in groups if name != "identity" else ():
            yield f"{self.name}_{name}({size}, {_from(array, first)}{argument});"
            first += size

    def both_probabilities(self) -> _Function:
        body = [
            f"{self.name}_forward(x, probabilities + 1);",
            f"probabilities[0] = 1.0{self.f} - probabilities[1];",
        ]
        comment = f"probabilities (2) of the classes, for the row x ({self.n_in})."
        return _Function(self.signature("predict_proba", f"{self.T} *probabilities"), body, comment)

    def predict(self, forward: str) -> _Function:
        model = self.model
        body = [f"{self.T} y[{self.n_out}];", f"{self.name}_{forward}(x, y);"]
        if not model.several_columns:
            body.append(f"return {self.decision(0, 0)};")
            return _Function(
                self.signature("predict", returns="int"), body, f"The number of the class of the row x ({self.n_in})."
            )
        first = 0
        for i, width in enumerate(model.widths):
            body.append(f"classes[{i}] = {self.decision(i, first)};")
            first += width
        comment = (
            f"classes ({len(model.columns)}): the number of the class of each column, for the row x ({self.n_in})."
        )
        return _Function(self.signature("predict", "int *classes"), body, comment)

    def tells_two(self, column: int) -> bool:
        """Whether the column has one output for two classes."""
        return self.model.widths[column] == 1 and len(self.model.columns[column]) == 2

    def decision(self, column: int, first: int) -> str:
        """The index of the column's class; its outputs begin with the `first`."""
        if self.tells_two(column):
            return f"y[{first}] > {self.model.threshold}{self.f}"
        return f"{self.name}_largest({self.model.widths[column]}, {_from('y', first)})"


def _name(activation: Activation) -> str:
    return activation if isinstance(activation, str) else activation[0]


def _from(array: str, first: int) -> str:
    return f"{array} + {first}" if first else array


def _enumerated(labels: Iterable[Any]) -> str:
    """Labels with their indices, in ASCII and with nothing that begins or ends a comment."""
    values = (label.item() if isinstance(label, np.generic) else label for label in labels)
    text = ", ".join(f"{i}: {value!a}" for i, value in enumerate(values))
    return text.replace("*/", "* /").replace("/*", "/ *")
