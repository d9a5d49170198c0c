"""The network object: layers as matrices on NumPy arrays, trained by the engine. The estimators are built on it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from operator import index
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeAlias

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
STOCHASTIC_SOLVERS = ("sgd", "adam", "adamw")
HIDDEN_ACTIVATIONS = ("identity", "logistic", "tanh", "relu", "leaky_relu")
_SYNONYMS = {"sigmoid": "logistic"}
_FORMATS = {np.dtype(np.float32): "f", np.dtype(np.float64): "d"}


def canonical_activation(name: str) -> str:
    """The engine's name of a hidden activation; "sigmoid" is "logistic"."""
    name = str(_SYNONYMS.get(name, name))  # a NumPy string is none for the engine
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


def reshuffle(order: NDArray[np.int64], rng: np.random.RandomState) -> None:
    """Put the rows in the order of the next epoch: a permutation of the last one, drawn as scikit-learn draws it.

    A class of somebody's own that descends from RandomState may shuffle in its own way.
    """
    if type(rng) is np.random.RandomState:
        _core.shuffle(order, rng._bit_generator)
    else:
        rng.shuffle(order)


def aligned(array: Array) -> Array:
    """The array, with its elements where the CPU expects them: a field of packed records is not."""
    return array if array.flags.aligned else array.copy()


class SparseRows(NamedTuple):
    """A sparse matrix in compressed rows (CSR) as the engine reads it: indices ascending in a row, none twice."""

    values: Array  # (stored,)
    indices: NDArray[np.int32]  # (stored,)
    indptr: NDArray[np.int64]  # (n + 1,)
    shape: tuple[int, int]


Rows: TypeAlias = Array | SparseRows


def as_rows(array: Any, dtype: DTypeLike) -> Rows:
    """Inputs as the engine reads them; often no copy.

    Parameters
    ----------
    array : array-like (n,) or (n, n_in), or any matrix or array of scipy.sparse (n, n_in), or SparseRows
    dtype : float32 or float64

    Returns
    -------
    rows : array (n, n_in) with contiguous rows in order, or SparseRows
    """
    if isinstance(array, SparseRows):
        return array._replace(values=np.asarray(array.values, dtype))
    return _sparse_rows(array, dtype) if hasattr(array, "tocsr") else dense_rows(array, dtype)


def _sparse_rows(matrix: Any, dtype: DTypeLike) -> SparseRows:
    csr = matrix.tocsr()
    if csr.ndim != 2 or csr.shape[1] > np.iinfo(np.int32).max:
        raise ValueError(f"expected a sparse matrix of at most 2**31 - 1 columns, got shape {csr.shape}")
    if not csr.has_canonical_format:
        csr = csr.copy()
        csr.sum_duplicates()
    values = aligned(np.ascontiguousarray(csr.data[: csr.indptr[-1]], dtype))
    indices = aligned(np.ascontiguousarray(csr.indices[: len(values)], np.int32))
    return SparseRows(values, indices, np.ascontiguousarray(csr.indptr, np.int64), csr.shape)


def dense_rows(array: ArrayLike, dtype: DTypeLike) -> Array:
    """The array as a matrix of this dtype with contiguous rows in order; a vector becomes a column."""
    result = aligned(np.asarray(array, dtype=dtype))
    if result.ndim == 1:
        result = result.reshape(-1, 1)
    if result.ndim != 2:
        raise ValueError(f"expected a matrix, got {result.ndim} dimensions")
    item = result.itemsize
    if result.strides[1] != item or result.strides[0] < result.shape[1] * item or result.strides[0] % item:
        result = np.ascontiguousarray(result)
    return result


def _row_weights(weights: ArrayLike | None) -> NDArray[np.float64] | None:
    """Weights of rows as the engine reads them."""
    if weights is None:
        return None
    result = aligned(np.ascontiguousarray(weights, np.float64))
    if result.sum() == 0:
        raise ValueError("the weights of the rows sum to 0")
    return result


def forward(
    X: Any,
    coefs: Sequence[Array],
    intercepts: Sequence[Array],
    activations: Sequence[str],
    n_jobs: int | None = None,
    out: Array | None = None,
    output_groups: Sequence[int] = (),
) -> Array:
    """Outputs (n, n_out) of a network given by plain arrays, in the wider of X's and the weights' dtype.

    X (n, n_in) is an array, a sparse matrix, or rows from `as_rows`.
    """
    values = X.values if isinstance(X, SparseRows) else X
    dtype = np.result_type(values.dtype, *coefs, *intercepts, np.float32)
    if dtype not in _FORMATS:
        dtype = np.dtype(np.float64)  # long double
    if out is None:
        out = np.empty((X.shape[0], coefs[-1].shape[1]), dtype)
    _core.forward(
        as_rows(X, dtype),
        [aligned(np.ascontiguousarray(c, dtype)) for c in coefs],
        [aligned(np.ascontiguousarray(b, dtype)) for b in intercepts],
        activations,
        out,
        resolve_threads(n_jobs),
        output_groups,
    )
    return out


# What makes small calls short (nnfast._core). Whoever calls `forward` again and again with the same arrays keeps one.
Plan = _core.Plan


def is_sound(X: Array) -> bool:
    """Whether X is a matrix of finite float32 or float64 that the engine can read as it lies."""
    if X.dtype not in _FORMATS or X.ndim != 2 or not X.flags.aligned:
        return False
    return X.strides[1] == X.itemsize and X.strides[0] >= X.shape[1] * X.itemsize and _core.all_finite(X)


def both_classes(outputs: Array) -> Array:
    """The rows (1 - p, p), shape (n, 2), of the outputs p, shape (n, 1), of a network that tells two classes."""
    rows = np.empty((len(outputs), 2), outputs.dtype)
    rows.ravel()[: len(outputs)] = outputs.ravel()
    _core.both_classes(rows)
    return rows


def _rest(beta: float, t: NDArray[np.int64]) -> Any:
    """1 - beta**t for ascending t. Powers take 50 ns each; where none of them can be told from 0, the 1 is enough."""
    return 1.0 if beta ** float(t[0]) < 2.0**-54 else 1 - beta**t


class Training:
    """A network while it is trained: its weights are packed in the engine from ``__enter__`` to ``__exit__``.

    Parameters
    ----------
    network : MLP
        Its weights, optimizer state and step count are read on entry and replaced on exit.
    max_batch : int
        Most rows of one step.
    sparse : bool, default=False
        Whether X may be sparse.
    """

    def __init__(self, network: MLP, max_batch: int, sparse: bool = False) -> None:
        self.network = network
        self.max_batch = max_batch
        self.sparse = sparse
        self._settled = False

    def __enter__(self) -> Self:
        network = self.network
        network._plan = Plan()  # which would hold on to the old weights
        self._engine = network._engine(self.max_batch, sparse=self.sparse)
        for part, state in zip((_core.STATE_1, _core.STATE_2), network._state, strict=False):
            self._engine.load(part, *state)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        network = self.network
        if not self._settled:
            self.settle()
        network._state = [self.snapshot(part) for part in (_core.STATE_1, _core.STATE_2)[: network._n_states()]]

    def settle(self, weights: tuple[list[Array], list[Array]] | None = None) -> None:
        """Give the network the (coefs, intercepts) that it leaves with: these, or those of now.

        At the end of the visit it is done of itself; before, to let go of the old ones.
        """
        self.network.coefs_, self.network.intercepts_ = self.snapshot() if weights is None else weights
        self._settled = True

    def epoch(
        self,
        X: Rows,
        Y: Array,
        batch_size: int,
        order: NDArray[np.int64] | None = None,
        weights: NDArray[np.float64] | None = None,
    ) -> tuple[float, float]:
        """One pass in mini-batches.

        Parameters
        ----------
        X : array (n_rows, n_in) or SparseRows
            Of the network's dtype, as `as_rows` gives it.
        Y : array (n_rows, n_out)
            Targets, likewise.
        batch_size : int
            Rows a step, at most ``max_batch``; the last step takes what is left.
        order : array (n,) of int64, optional
            The rows to visit, in this order; all of them as they come when None.
        weights : array (n_rows,) of float64, optional
            How much each row counts. A batch divides by the sum of its weights in place of its number of rows; one
            whose sum is 0 is skipped.

        Returns
        -------
        (data, penalty) : floats
            Means over the batches, by their number of rows, of the loss, summed over outputs, and of the L2 penalty,
            each with the parameters before the step of the batch.
        """
        network = self.network
        n = X.shape[0] if order is None else order.shape[0]
        rates = network._rates(-(-n // batch_size))
        try:
            data, penalty, _ = self._engine.train_epoch(X, Y, order, batch_size, rates, weights, decay=network._decay())
        finally:
            network.n_steps_ += self._engine.steps
        return data / n, penalty / n

    def forward(self, X: Rows) -> Array:
        """Outputs (n, n_out) with the weights as they are now, for rows X as in `epoch`."""
        out = np.empty((X.shape[0], self.network.layer_sizes[-1]), self.network.dtype)
        self._engine.forward(X, out)
        return out

    def snapshot(self, part: int = _core.PARAMETERS) -> tuple[list[Array], list[Array]]:
        """Copies of the weight matrices and intercepts as they are now (or of another part of the same shapes)."""
        coefs, intercepts = self.network._empty_parameters()
        self._engine.store(part, coefs, intercepts)
        return coefs, intercepts


class Objective:
    """Loss and gradient of a network over all rows as a function of its parameters: what L-BFGS and its kin minimise.

    The parameters stand in one float64 vector, first all weight matrices, then all intercepts. Computed in the
    network's dtype.

    Parameters
    ----------
    network : MLP
        Its parameters are the start; they are not changed.
    X : array (n, n_in) or SparseRows
    Y : array (n, n_out)
    weights : array-like (n,), optional
        How much each row counts; they must not sum to 0.
    """

    def __init__(self, network: MLP, X: Rows, Y: Array, weights: ArrayLike | None = None) -> None:
        self.network = network
        self.start = np.concatenate([p.ravel() for p in network.coefs_ + network.intercepts_]).astype(np.float64)
        self._n_rows = X.shape[0]
        self._engine = network._engine(self._n_rows, sparse=isinstance(X, SparseRows), keep_gradients=True)
        self._engine.hold(X, Y, _row_weights(weights))

    def __call__(self, theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """The mean loss, summed over outputs, with the penalty; and its gradient, shaped like theta."""
        gradient = np.empty(theta.size, self.network.dtype)
        data, penalty = self._engine.value(theta.astype(self.network.dtype, copy=False), gradient)
        return (data + penalty) / self._n_rows, gradient.astype(np.float64, copy=False)

    def unpack(self, theta: NDArray[np.float64]) -> tuple[list[Array], list[Array]]:
        """The (coefs, intercepts) that theta stands for, in the network's dtype; copies."""
        flat, parts, begin = theta.astype(self.network.dtype), self.network._empty_parameters(), 0
        for part in (*parts[0], *parts[1]):
            part.reshape(-1)[:] = flat[begin : begin + part.size]
            begin += part.size
        return parts


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
    solver : {"adam", "sgd", "adamw"}, default="adam"
        Kingma and Ba (2015), or stochastic gradient descent with momentum. "adamw" is "adam" with another default of
        ``weight_decay`` (Loshchilov and Hutter 2019).
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
        For "adam" and "adamw".
    output_groups : sequence of int, default=()
        For "log_loss": sizes of the groups of outputs that each have a softmax of their own, for several things to be
        told at once. Empty: one softmax over all outputs.
    start : (coefs, intercepts) or None, default=None
        The first weights, in place of random ones.
    weight_decay : float or None, default=None
        Before each step the weights are multiplied by ``1 - learning_rate * weight_decay``, whatever the batch size.
        Intercepts are free, and the loss has no part of it. None: 0.01 with "adamw", 0 otherwise.

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
        For an unknown name, a negative alpha or weight_decay, a layer of size 0, fewer than two layers, or groups that
        do not fit the outputs.

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
        output_groups: Sequence[int] = (),
        start: tuple[Sequence[ArrayLike], Sequence[ArrayLike]] | None = None,
        weight_decay: float | None = None,
    ) -> None:
        self.layer_sizes = tuple(index(size) for size in layer_sizes)
        if len(self.layer_sizes) < 2 or min(self.layer_sizes) < 1:
            raise ValueError(f"layer_sizes must hold at least two sizes, each at least 1, got {self.layer_sizes}")
        self.activation = canonical_activation(activation)
        if loss not in OUTPUT_ACTIVATIONS:
            raise ValueError(f"unknown loss {loss!r}; there are {', '.join(OUTPUT_ACTIVATIONS)}")
        if solver not in STOCHASTIC_SOLVERS:
            raise ValueError(f"unknown solver {solver!r}; there are {', '.join(STOCHASTIC_SOLVERS)}")
        if alpha < 0:
            raise ValueError(f"alpha must not be negative, got {alpha}")
        if weight_decay is not None and not 0 <= weight_decay < np.inf:
            raise ValueError(f"weight_decay must be None or a finite number >= 0, got {weight_decay}")
        self.dtype = np.dtype(dtype)
        if self.dtype not in _FORMATS:
            raise ValueError(f"dtype must be float32 or float64, got {self.dtype}")
        self.output_groups = tuple(int(size) for size in output_groups)
        if self.output_groups and (
            loss != "log_loss" or min(self.output_groups) < 1 or sum(self.output_groups) != self.layer_sizes[-1]
        ):
            raise ValueError(
                f"output_groups go with log_loss and must sum to the {self.layer_sizes[-1]} outputs, "
                f"got {self.output_groups} with {loss}"
            )
        self.loss_name = loss
        self.solver = solver
        self.alpha = alpha
        self.n_jobs = n_jobs
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.weight_decay = weight_decay
        self.learning_rate = learning_rate_init
        self.out_activation_ = OUTPUT_ACTIVATIONS[loss]
        self.n_steps_ = 0
        self._state: list[tuple[list[Array], list[Array]]] = []
        self._plan = Plan()
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
        X : array-like or sparse matrix (n, layer_sizes[0])
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
        target = out
        if target is None and type(X) is np.ndarray and X.ndim == 2:
            target = np.empty((X.shape[0], self.layer_sizes[-1]), self.dtype)
        if target is not None and self._plan.forward(
            X, target, self.coefs_, self.intercepts_, self.activation, self.out_activation_
        ):
            return target
        rows = as_rows(X, self.dtype)
        activations = self._activations()
        if not self.output_groups and getattr(X, "dtype", None) == self.coefs_[0].dtype == self.dtype:
            self._plan.bind(self.coefs_, self.intercepts_, activations, self.activation, self.out_activation_)
        return forward(rows, self.coefs_, self.intercepts_, activations, self.n_jobs, out, self.output_groups)

    def loss(self, X: Any, Y: ArrayLike, weights: ArrayLike | None = None) -> float:
        """Mean loss over the rows, penalty included.

        Parameters
        ----------
        X : array-like or sparse matrix (n, n_in)
        Y : array-like (n, n_out) or (n,)
        weights : array-like (n,), optional
            How much each row counts; all alike when None. The loss is divided by their sum, which must not be 0.

        Returns
        -------
        loss : float
        """
        return self._loss_and_engine(X, Y, weights)[0]

    def gradients(self, X: Any, Y: ArrayLike, weights: ArrayLike | None = None) -> tuple[list[Array], list[Array]]:
        """Gradients of ``loss(X, Y, weights)`` by backpropagation.

        Parameters
        ----------
        X : array-like or sparse matrix (n, n_in)
        Y : array-like (n, n_out) or (n,)
        weights : array-like (n,), optional

        Returns
        -------
        (coef_gradients, intercept_gradients) : lists of arrays
            In the shapes of ``coefs_`` and ``intercepts_``.
        """
        _, engine = self._loss_and_engine(X, Y, weights)
        gradients = self._empty_parameters()
        engine.store(_core.GRADIENTS, *gradients)
        return gradients

    def train_epoch(
        self,
        X: Any,
        Y: ArrayLike,
        batch_size: int,
        order: Sequence[int] | NDArray[np.integer[Any]] | None = None,
        weights: ArrayLike | None = None,
    ) -> float:
        """One pass over the data in mini-batches, updating the weights after each.

        Parameters
        ----------
        X : array-like or sparse matrix (n, n_in)
        Y : array-like (n, n_out) or (n,)
            Targets: values, or 0/1 indicators of classes.
        batch_size : int
            Rows a step; the last step takes what is left.
        order : sequence of int, optional
            The rows to visit, in this order, such as ``rng.permutation(n)``; all as they come when None.
        weights : array-like (n,), optional
            How much each row counts; all alike when None. A batch divides by the sum of its weights; one whose sum is
            0 is skipped.

        Returns
        -------
        loss : float
            Mean over the rows, each with the parameters before the step of its batch.

        Raises
        ------
        ValueError
            When shapes do not fit, a row number is out of range, or batch_size < 1.
        """
        rows, Y, weights = self._data(X, Y, weights)
        visits = None if order is None else aligned(np.ascontiguousarray(order, dtype=np.int64))
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        max_batch = min(batch_size, rows.shape[0] if visits is None else len(visits))
        with self.training(max_batch, isinstance(rows, SparseRows)) as training:
            data, penalty = training.epoch(rows, Y, batch_size, visits, weights)
        return data + penalty

    def training(self, max_batch: int, sparse: bool = False) -> Training:
        """The network in training, as a context manager; see :class:`Training`."""
        return Training(self, max_batch, sparse)

    def _activations(self) -> list[str]:
        return [self.activation] * (len(self.layer_sizes) - 2) + [self.out_activation_]

    def _engine_solver(self) -> str:
        if self.solver != "sgd":
            return "adam"
        if self.momentum == 0:
            return "sgd"
        return "nesterov" if self.nesterovs_momentum else "momentum"

    def _n_states(self) -> int:
        return {"sgd": 0, "momentum": 1, "nesterov": 1, "adam": 2}[self._engine_solver()]

    def _engine(self, max_batch: int, sparse: bool = False, keep_gradients: bool = False) -> _core.Network:
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
            groups=self.output_groups,
            max_batch=max_batch,
            sparse=sparse,
            keep_gradients=keep_gradients,
            n_threads=resolve_threads(self.n_jobs),
        )
        coefs = [aligned(np.ascontiguousarray(c, self.dtype)) for c in self.coefs_]
        engine.load(_core.PARAMETERS, coefs, [aligned(np.ascontiguousarray(b, self.dtype)) for b in self.intercepts_])
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
        return np.full(n_steps, self.learning_rate * np.sqrt(_rest(self.beta_2, t)) / _rest(self.beta_1, t))

    def _decay(self) -> float:
        """The part of each weight that a step takes off at the present learning rate."""
        if self.weight_decay is None:
            return self.learning_rate * (0.01 if self.solver == "adamw" else 0.0)  # 0.01: PyTorch's default
        return self.learning_rate * self.weight_decay

    def _data(self, X: Any, Y: ArrayLike, weights: ArrayLike | None) -> tuple[Rows, Array, NDArray[np.float64] | None]:
        rows, Y = as_rows(X, self.dtype), dense_rows(Y, self.dtype)
        if rows.shape[0] != Y.shape[0]:
            raise ValueError(f"X has {rows.shape[0]} rows, Y has {Y.shape[0]}")
        return rows, Y, _row_weights(weights)

    def _loss_and_engine(self, X: Any, Y: ArrayLike, weights: ArrayLike | None) -> tuple[float, _core.Network]:
        rows, Y, weights = self._data(X, Y, weights)
        n = rows.shape[0]
        engine = self._engine(max(1, n), sparse=isinstance(rows, SparseRows), keep_gradients=True)
        data, penalty = engine.gradients(rows, Y, weights)
        return (data + penalty) / n, engine
