"""The network object: layers as matrices, trained by the engine. NumPy only; the estimators are built on it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from nnfast import _core
from nnfast._threads import resolve_threads

Array = NDArray[Any]

# The output activation of each loss: its canonical link, for which the error of the output layer is output - target.
OUTPUT_ACTIVATIONS = {
    "squared_error": "identity",
    "log_loss": "softmax",
    "binary_log_loss": "logistic",
    "poisson": "exp",
}
HIDDEN_ACTIVATIONS = ("identity", "logistic", "tanh", "relu", "leaky_relu")
_SYNONYMS = {"sigmoid": "logistic"}
_FORMATS = {np.dtype(np.float32): "f", np.dtype(np.float64): "d"}


def canonical_activation(name: str) -> str:
    """The engine's name of a hidden activation; "sigmoid" is "logistic"."""
    name = _SYNONYMS.get(name, name)
    if name not in HIDDEN_ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}; there are {', '.join(HIDDEN_ACTIVATIONS)}, sigmoid")
    return name


def draw_weights(
    rng: Any, layer_sizes: Sequence[int], activation: str, dtype: DTypeLike
) -> tuple[list[Array], list[Array]]:
    """Random weights after Glorot and Bengio (2010), in the order in which scikit-learn draws them.

    Layer by layer, first the matrix, then the intercepts, uniform in +-sqrt(6 / (n_in + n_out)); 2 in place of 6 for
    the logistic function, whose slope at 0 is 1/4.
    """
    factor = 2.0 if activation == "logistic" else 6.0
    coefs, intercepts = [], []
    for n_in, n_out in pairwise(layer_sizes):
        bound = np.sqrt(factor / (n_in + n_out))
        coefs.append(rng.uniform(-bound, bound, (n_in, n_out)).astype(dtype, copy=False))
        intercepts.append(rng.uniform(-bound, bound, n_out).astype(dtype, copy=False))
    return coefs, intercepts


def as_rows(array: ArrayLike, dtype: DTypeLike) -> Array:
    """The array as a matrix of this dtype with contiguous rows in order, as the engine reads it; often no copy."""
    result = np.asarray(array, dtype=dtype)
    if result.ndim == 1:
        result = result.reshape(-1, 1)
    if result.ndim != 2:
        raise ValueError(f"expected a matrix, got {result.ndim} dimensions")
    item = result.itemsize
    if result.strides[1] != item or result.strides[0] < result.shape[1] * item or result.strides[0] % item:
        result = np.ascontiguousarray(result)
    return result


def forward(
    X: Array,
    coefs: Sequence[Array],
    intercepts: Sequence[Array],
    activations: Sequence[str],
    n_jobs: int | None = None,
    out: Array | None = None,
) -> Array:
    """Outputs (n, n_out) of a network given by plain arrays, in the wider of X's and the weights' dtype."""
    dtype = np.result_type(X, *coefs, *intercepts, np.float32)
    if dtype not in _FORMATS:
        dtype = np.dtype(np.float64)  # long double
    if out is None:
        out = np.empty((X.shape[0], coefs[-1].shape[1]), dtype)
    _core.forward(
        as_rows(X, dtype),
        [np.ascontiguousarray(c, dtype) for c in coefs],
        [np.ascontiguousarray(b, dtype) for b in intercepts],
        activations,
        out,
        resolve_threads(n_jobs),
    )
    return out


class Training:
    """A network while it is trained: its weights are packed in the engine from ``__enter__`` to ``__exit__``.

    Parameters
    ----------
    network : MLP
        Its weights, optimizer state and step count are read on entry and replaced on exit.
    max_batch : int
        Most rows of one step.
    """

    def __init__(self, network: MLP, max_batch: int) -> None:
        self.network = network
        self.max_batch = max_batch

    def __enter__(self) -> Self:
        network = self.network
        self._engine = network._engine(self.max_batch, keep_gradients=False)
        for part, state in zip((_core.STATE_1, _core.STATE_2), network._state, strict=False):
            self._engine.load(part, *state)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        network = self.network
        network.coefs_, network.intercepts_ = self.snapshot()
        network._state = [self.snapshot(part) for part in (_core.STATE_1, _core.STATE_2)[: network._n_states()]]

    def epoch(self, X: Array, Y: Array, batch_size: int, order: NDArray[np.int64] | None = None) -> tuple[float, float]:
        """One pass in mini-batches.

        Parameters
        ----------
        X : array (n_rows, n_in)
            Of the network's dtype, rows contiguous.
        Y : array (n_rows, n_out)
            Targets, likewise.
        batch_size : int
            Rows a step, at most ``max_batch``; the last step takes what is left.
        order : array (n,) of int64, optional
            The rows to visit, in this order; all of them as they come when None.

        Returns
        -------
        (data, penalty) : floats
            Means over the rows of the loss, summed over outputs, and of the L2 penalty, each with the weights before
            the step of its batch.
        """
        network = self.network
        n = X.shape[0] if order is None else order.shape[0]
        rates = network._rates(-(-n // batch_size))
        data, penalty, steps = self._engine.train_epoch(X, Y, order, batch_size, rates)
        network.n_steps_ += steps
        return data / n, penalty / n

    def forward(self, X: Array) -> Array:
        """Outputs (n, n_out) with the weights as they are now. X (n, n_in) of the network's dtype, rows contiguous."""
        out = np.empty((X.shape[0], self.network.layer_sizes[-1]), self.network.dtype)
        self._engine.forward(X, out)
        return out

    def snapshot(self, part: int = _core.PARAMETERS) -> tuple[list[Array], list[Array]]:
        """Copies of the weight matrices and intercepts as they are now (or of another part of the same shapes)."""
        coefs, intercepts = self.network._empty_parameters()
        self._engine.store(part, coefs, intercepts)
        return coefs, intercepts


class MLP:
    """A multilayer perceptron: layers as matrices, a loss, and an optimizer.

    Layer l computes ``f(A @ coefs_[l] + intercepts_[l])`` for a matrix A with one sample a row. Everything runs in the
    C engine; NumPy is all it needs. The estimators of this package are built on it; use them to fit data with
    scikit-learn, and this class to see or steer the network itself.

    Parameters
    ----------
    layer_sizes : sequence of int
        Units of every layer, input and output included: ``(2, 8, 1)`` has 2 inputs, 8 hidden units and 1 output.
    activation : {"identity", "logistic", "sigmoid", "tanh", "relu", "leaky_relu"}, default="relu"
        Of the hidden layers. "sigmoid" and "logistic" are the same; leaky_relu has slope 0.01 for negative input.
    loss : {"squared_error", "log_loss", "binary_log_loss", "poisson"}, default="squared_error"
        Summed over outputs, averaged over rows: ``1/2 (y - t)**2``; ``-t log y`` over softmax outputs; ``-t log y -
        (1 - t) log(1 - y)`` over logistic outputs; ``t log(t / y) - t + y`` over exponential outputs. It decides the
        output activation, so that the error passed back is ``y - t``.
    solver : {"adam", "sgd"}, default="adam"
        Kingma and Ba (2015), or stochastic gradient descent with momentum.
    alpha : float, default=0.0
        L2 penalty ``alpha / 2 * sum(W**2) / rows of the batch``, as scikit-learn weighs it. Intercepts are free.
    dtype : {"float32", "float64"}, default="float32"
    random_state : int, numpy.random.RandomState, numpy.random.Generator or None, default=None
        Draws the first weights (Glorot and Bengio 2010), in scikit-learn's order.
    n_jobs : int or None, default=None
        At most so many threads; None: as many as the work of a step pays for and the process may use. The results do
        not depend on it.
    learning_rate_init : float, default=0.001
        The first value of ``learning_rate``.
    momentum : float, default=0.9
        For "sgd".
    nesterovs_momentum : bool, default=True
        For "sgd" with momentum > 0.
    beta_1, beta_2, epsilon : float, default=0.9, 0.999, 1e-8
        For "adam".
    start : (coefs, intercepts) or None, default=None
        The first weights, in place of random ones.

    Attributes
    ----------
    coefs_ : list of arrays (layer_sizes[l], layer_sizes[l + 1])
        Weight matrices. May be changed in place or replaced between calls.
    intercepts_ : list of arrays (layer_sizes[l + 1],)
    out_activation_ : str
    learning_rate : float
        Used by the next steps; assign it to follow a schedule.
    n_steps_ : int
        Optimizer steps taken.

    Raises
    ------
    ValueError
        For an unknown name, a layer of size 0, or fewer than two layers.

    Examples
    --------
    XOR, which no single neuron can learn:

    >>> import numpy as np
    >>> from nnfast import MLP
    >>> X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float32)
    >>> Y = np.array([[0], [1], [1], [0]], dtype=np.float32)
    >>> network = MLP((2, 8, 1), activation="tanh", loss="binary_log_loss", learning_rate_init=0.05, random_state=0)
    >>> for _ in range(300):
    ...     loss = network.train_epoch(X, Y, batch_size=4)
    >>> np.round(network.forward(X)).ravel()
    array([0., 1., 1., 0.], dtype=float32)
    """

    def __init__(
        self,
        layer_sizes: Sequence[int],
        *,
        activation: str = "relu",
        loss: str = "squared_error",
        solver: str = "adam",
        alpha: float = 0.0,
        dtype: DTypeLike = "float32",
        random_state: Any = None,
        n_jobs: int | None = None,
        learning_rate_init: float = 0.001,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        start: tuple[Sequence[ArrayLike], Sequence[ArrayLike]] | None = None,
    ) -> None:
        self.layer_sizes = tuple(int(size) for size in layer_sizes)
        if len(self.layer_sizes) < 2 or min(self.layer_sizes) < 1:
            raise ValueError(f"layer_sizes must hold at least two sizes, each at least 1, got {self.layer_sizes}")
        self.activation = canonical_activation(activation)
        if loss not in OUTPUT_ACTIVATIONS:
            raise ValueError(f"unknown loss {loss!r}; there are {', '.join(OUTPUT_ACTIVATIONS)}")
        if solver not in ("adam", "sgd"):
            raise ValueError(f"unknown solver {solver!r}; there are adam, sgd")
        if alpha < 0:
            raise ValueError(f"alpha must not be negative, got {alpha}")
        self.dtype = np.dtype(dtype)
        if self.dtype not in _FORMATS:
            raise ValueError(f"dtype must be float32 or float64, got {self.dtype}")
        self.loss_name = loss
        self.solver = solver
        self.alpha = alpha
        self.n_jobs = n_jobs
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.learning_rate = learning_rate_init
        self.out_activation_ = OUTPUT_ACTIVATIONS[loss]
        self.n_steps_ = 0
        self._state: list[tuple[list[Array], list[Array]]] = []
        if start is not None:
            self.coefs_, self.intercepts_ = ([np.asarray(w, self.dtype) for w in part] for part in start)
        else:
            rng = random_state if hasattr(random_state, "uniform") else np.random.RandomState(random_state)
            self.coefs_, self.intercepts_ = draw_weights(rng, self.layer_sizes, self.activation, self.dtype)

    def __repr__(self) -> str:
        sizes = "-".join(map(str, self.layer_sizes))
        return f"MLP({sizes}, {self.activation}, {self.out_activation_} output, {self.loss_name}, {self.dtype})"

    def forward(self, X: ArrayLike, out: Array | None = None) -> Array:
        """Outputs of the network.

        Parameters
        ----------
        X : array-like (n, layer_sizes[0])
        out : array (n, layer_sizes[-1]) of the network's dtype, C-contiguous, optional
            Takes the result.

        Returns
        -------
        out : array (n, layer_sizes[-1])
            Row i depends on row i of X alone, bit for bit.

        Raises
        ------
        ValueError
            When a shape or the dtype of ``out`` does not fit.
        """
        return forward(as_rows(X, self.dtype), self.coefs_, self.intercepts_, self._activations(), self.n_jobs, out)

    def loss(self, X: ArrayLike, Y: ArrayLike) -> float:
        """Mean loss over the rows, penalty included. X (n, n_in), Y (n, n_out) or (n,)."""
        return self._loss_and_engine(X, Y)[0]

    def gradients(self, X: ArrayLike, Y: ArrayLike) -> tuple[list[Array], list[Array]]:
        """Gradients of ``loss(X, Y)`` by backpropagation.

        Parameters
        ----------
        X : array-like (n, n_in)
        Y : array-like (n, n_out) or (n,)

        Returns
        -------
        (coef_gradients, intercept_gradients) : lists of arrays
            In the shapes of ``coefs_`` and ``intercepts_``.
        """
        _, engine = self._loss_and_engine(X, Y)
        gradients = self._empty_parameters()
        engine.store(_core.GRADIENTS, *gradients)
        return gradients

    def train_epoch(
        self, X: ArrayLike, Y: ArrayLike, batch_size: int, order: Sequence[int] | NDArray[np.integer[Any]] | None = None
    ) -> float:
        """One pass over the data in mini-batches, updating the weights after each.

        Parameters
        ----------
        X : array-like (n, n_in)
        Y : array-like (n, n_out) or (n,)
            Targets: values, or 0/1 indicators of classes.
        batch_size : int
            Rows a step; the last step takes what is left.
        order : sequence of int, optional
            The rows to visit, in this order, such as ``rng.permutation(n)``; all as they come when None.

        Returns
        -------
        loss : float
            Mean over the rows, each with the weights before the step of its batch.

        Raises
        ------
        ValueError
            When shapes do not fit, a row number is out of range, or batch_size < 1.
        """
        X, Y = self._data(X, Y)
        rows = None if order is None else np.ascontiguousarray(order, dtype=np.int64)
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        with self.training(min(batch_size, len(X) if rows is None else len(rows))) as training:
            data, penalty = training.epoch(X, Y, batch_size, rows)
        return data + penalty

    def training(self, max_batch: int) -> Training:
        """The network in training, as a context manager; see :class:`Training`."""
        return Training(self, max_batch)

    def _activations(self) -> list[str]:
        return [self.activation] * (len(self.layer_sizes) - 2) + [self.out_activation_]

    def _engine_solver(self) -> str:
        if self.solver == "adam":
            return "adam"
        if self.momentum == 0:
            return "sgd"
        return "nesterov" if self.nesterovs_momentum else "momentum"

    def _n_states(self) -> int:
        return {"sgd": 0, "momentum": 1, "nesterov": 1, "adam": 2}[self._engine_solver()]

    def _engine(self, max_batch: int, keep_gradients: bool) -> _core.Network:
        engine = _core.Network(
            _FORMATS[self.dtype],
            self.layer_sizes,
            self._activations(),
            self.loss_name,
            self._engine_solver(),
            alpha=self.alpha,
            momentum=self.momentum,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
            max_batch=max_batch,
            keep_gradients=keep_gradients,
            n_threads=resolve_threads(self.n_jobs),
        )
        coefs = [np.ascontiguousarray(c, self.dtype) for c in self.coefs_]
        engine.load(_core.PARAMETERS, coefs, [np.ascontiguousarray(b, self.dtype) for b in self.intercepts_])
        return engine

    def _empty_parameters(self) -> tuple[list[Array], list[Array]]:
        sizes = self.layer_sizes
        coefs = [np.empty(shape, self.dtype) for shape in pairwise(sizes)]
        return coefs, [np.empty(n_out, self.dtype) for n_out in sizes[1:]]

    def _rates(self, n_steps: int) -> NDArray[np.float64]:
        """The learning rate of each of the next steps; Adam's with both its bias corrections."""
        if self.solver == "sgd":
            return np.full(n_steps, self.learning_rate, np.float64)
        t = np.arange(self.n_steps_ + 1, self.n_steps_ + n_steps + 1)
        return self.learning_rate * np.sqrt(1 - self.beta_2**t) / (1 - self.beta_1**t)

    def _data(self, X: ArrayLike, Y: ArrayLike) -> tuple[Array, Array]:
        X, Y = as_rows(X, self.dtype), as_rows(Y, self.dtype)
        if X.shape[0] != Y.shape[0]:
            raise ValueError(f"X has {X.shape[0]} rows, Y has {Y.shape[0]}")
        return X, Y

    def _loss_and_engine(self, X: ArrayLike, Y: ArrayLike) -> tuple[float, _core.Network]:
        X, Y = self._data(X, Y)
        engine = self._engine(max(1, X.shape[0]), keep_gradients=True)
        data, penalty = engine.gradients(X, Y)
        return (data + penalty) / X.shape[0], engine
