"""The layers of a network: what the hidden ones apply, and how many of their units they drop; the first weights of all,
and the check of those that come from elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from nnfast import _core
from nnfast._rows import FORMATS, Array

# An activation in the engine's words: its name, or (name, argument).
Activation: TypeAlias = str | tuple[str, float]

_SYNONYMS = {"sigmoid": "logistic"}
# exp would need a loss of its own to go with; step has no slope to learn by.
HIDDEN_ACTIVATIONS = tuple(name for name in _core.ACTIVATIONS if name not in ("step", "exp", "softmax", "ordered"))


def hidden_activations(activation: Any, n_hidden: int) -> list[Activation]:
    """What each of the hidden layers applies, in the engine's words.

    Parameters
    ----------
    activation : a name, or (name, argument), for all hidden layers; or a sequence with one of these for each
    n_hidden : int
    """
    if isinstance(activation, str) or has_argument(activation):
        return [canonical_activation(activation)] * n_hidden
    each = [canonical_activation(one) for one in activation]
    if len(each) != n_hidden:
        raise ValueError(f"activation stands for {len(each)} hidden layers, there are {n_hidden}: {activation!r}")
    return each


def has_argument(activation: Any) -> bool:
    """Whether this is one activation, (name, argument)."""
    pair = isinstance(activation, (tuple, list)) and len(activation) == 2
    return pair and isinstance(activation[0], str) and isinstance(activation[1], Real)


def canonical_activation(activation: Any) -> Activation:
    """A name, or (name, argument), in the engine's words; ValueError for what no hidden layer can apply."""
    name, argument = activation if has_argument(activation) else (activation, None)
    name = str(_SYNONYMS.get(name, name))  # a NumPy string is none for the engine
    if name not in HIDDEN_ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}; there are {', '.join(HIDDEN_ACTIVATIONS)}, sigmoid")
    if argument is None:
        return name
    if name not in _core.ARGUMENTS or not 0 <= argument < np.inf:
        these = ", ".join(_core.ARGUMENTS)
        raise ValueError(f"{these} take a number >= 0 as their argument, got {activation!r}")
    return name, float(argument)


def hidden_dropout(dropout: Any, n_hidden: int) -> list[float]:
    """The share of each hidden layer's units that training drops, from one for all or a sequence."""
    rates = [float(rate) for rate in dropout] if np.ndim(dropout) else [float(dropout)] * n_hidden
    if len(rates) != n_hidden:
        raise ValueError(f"dropout stands for {len(rates)} hidden layers, there are {n_hidden}: {dropout!r}")
    if not all(0 <= rate < 1 for rate in rates):
        raise ValueError(f"dropout must be in [0, 1), got {dropout!r}")
    return rates


def _glorot(rng: Any, n_in: int, n_out: int, activation: Activation) -> tuple[Array, Array]:
    """Uniform in +-sqrt(6 / (n_in + n_out)), intercepts too (Glorot and Bengio 2010), as scikit-learn draws them.

    2 in place of 6 for the logistic function, whose slope at 0 is 1/4.
    """
    bound = np.sqrt((2.0 if activation == "logistic" else 6.0) / (n_in + n_out))
    return rng.uniform(-bound, bound, (n_in, n_out)), rng.uniform(-bound, bound, n_out)


def _he(rng: Any, n_in: int, n_out: int, activation: Activation) -> tuple[Array, Array]:
    """Normal with variance 2 / n_in, which keeps the size of what passes through relu (He et al. 2015, eq. 10)."""
    return rng.standard_normal((n_in, n_out)) * np.sqrt(2.0 / n_in), np.zeros(n_out)


def _lecun(rng: Any, n_in: int, n_out: int, activation: Activation) -> tuple[Array, Array]:
    """Normal with variance 1 / n_in (LeCun et al. 1998, eq. 16)."""
    return rng.standard_normal((n_in, n_out)) / np.sqrt(n_in), np.zeros(n_out)


def _orthogonal(rng: Any, n_in: int, n_out: int, activation: Activation) -> tuple[Array, Array]:
    """Rows or columns, whichever are fewer, orthogonal and of length 1 (Saxe et al. 2014).

    Q of the QR decomposition of a normal matrix, with the signs for which R has a positive diagonal: so every
    orthogonal matrix is as likely as any other.
    """
    normal = rng.standard_normal((n_in, n_out))
    q, r = np.linalg.qr(normal if n_in >= n_out else normal.T)
    q *= np.copysign(1.0, r.diagonal())
    return q if n_in >= n_out else q.T, np.zeros(n_out)


def _zeros(rng: Any, n_in: int, n_out: int, activation: Activation) -> tuple[Array, Array]:
    return np.zeros((n_in, n_out)), np.zeros(n_out)


INITS = {"glorot": _glorot, "he": _he, "lecun": _lecun, "orthogonal": _orthogonal, "zeros": _zeros}


def draw_weights(
    rng: Any, layer_sizes: Sequence[int], activations: Sequence[Activation], dtype: DTypeLike, init: str = "glorot"
) -> tuple[list[Array], list[Array]]:
    """The first weights by one of `INITS`: layer by layer, first the matrix, then the intercepts; drawn in float64.

    `activations` has one for each layer.
    """
    coefs, intercepts = [], []
    for (n_in, n_out), activation in zip(pairwise(layer_sizes), activations, strict=True):
        coef, intercept = INITS[init](rng, n_in, n_out, activation)
        coefs.append(np.ascontiguousarray(coef, dtype))
        intercepts.append(np.ascontiguousarray(intercept, dtype))
    return coefs, intercepts


def check_weights(coefs: Sequence[Array], intercepts: Sequence[Array], layer_sizes: Sequence[int]) -> None:
    """ValueError unless these are arrays of float32 or float64 in the shapes of such layers."""
    shapes = [*pairwise(layer_sizes), *((size,) for size in layer_sizes[1:])]
    found = [w.shape for w in [*coefs, *intercepts]]
    if len(coefs) != len(intercepts) or found != shapes:
        raise ValueError(f"the weights should have the shapes {shapes}, got {found}")
    if not all(w.dtype in FORMATS for w in [*coefs, *intercepts]):
        raise ValueError(f"the weights should be float32 or float64, got {[*map(str, {w.dtype for w in coefs})]}")
