"""The network object: layers as matrices on NumPy arrays, trained by the engine. The estimators are built on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from operator import index
from typing import Any, ClassVar, NotRequired, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from nnfast import _core
from nnfast._kept import Kept
from nnfast._layers import (
    INITS,
    Activation,
    canonical_activation,
    check_weights,
    draw_weights,
    has_argument,
    hidden_activations,
    hidden_dropout,
)
from nnfast._outputs import Plan, as_labels, as_values, check_classes, forward
from nnfast._own_loss import OwnLoss
from nnfast._random import seeded
from nnfast._rows import FORMATS, Array, Rows, SparseRows, aligned, as_row_weights, as_rows, dense_rows
from nnfast._threads import resolve_threads
from nnfast._training import Idle, Progress, Training

# The output activation that each loss brings with it: csrc/loss.def.
OUTPUT_ACTIVATIONS = {
    "squared_error": "identity",
    "log_loss": "softmax",
    "binary_log_loss": "logistic",
    "poisson": "exp",
    "absolute_error": "identity",
    "huber": "identity",
    "log_cosh": "identity",
    "gamma": "exp",
    "tweedie": "exp",
    "focal": "softmax",
    "binary_focal": "logistic",
    "quantile": "ordered",
}
# Powers of the Tweedie deviance at which it is that of a distribution with a loss of its own.
_TWEEDIE: dict[float, str] = {0: "squared_error", 1: "poisson", 2: "gamma"}
STOCHASTIC_SOLVERS = ("sgd", "adam", "adamw", "nadam", "rmsprop", "adagrad", "rprop")


def as_levels(quantile: float | Sequence[float]) -> tuple[float, ...]:
    """The levels of the quantile loss: one number, or several, ascending."""
    levels = tuple(float(q) for q in np.atleast_1d(np.asarray(quantile, np.float64)).ravel())
    if not levels or not all(low < high for low, high in pairwise((0.0, *levels, 1.0))):
        raise ValueError(f"quantile must be a number between 0 and 1, or several of them, ascending; got {quantile!r}")
    return levels


class MLP(Kept):
    """A multilayer perceptron: layers as matrices, a loss, and an optimizer.

    Layer l computes ``f(A @ coefs_[l] + intercepts_[l])`` for a matrix A with one sample a row. Everything runs in the
    C engine; NumPy is all it needs. The estimators of this package are built on it; use them to fit data with
    scikit-learn, and this class to see or steer the network itself.

    Parameters
    ----------
    layer_sizes : sequence of int
        Units of every layer, input and output included: ``(2, 8, 1)`` has 2 inputs, 8 hidden units and 1 output.
    activation : str, (str, float) or a sequence of these, default="relu"
        Of the hidden layers, all alike or one for each: "identity", "logistic" (or "sigmoid"), "tanh", "relu",
        "leaky_relu", "elu", "selu", "gelu" (exact), "silu", "mish", "softplus", "hard_sigmoid" or "softsign"; see
        `nnfast.ops`. ``("leaky_relu", 0.1)`` has slope 0.1 for negative input in place of 0.01, ``("elu", 0.5)`` the
        limit -0.5 in place of -1.
    loss : str or callable, default="squared_error"
        Of an output y against its target t, with d = y - t; summed over outputs, averaged over rows. It decides the
        output activation.

        - "squared_error", identity: ``d**2 / 2``.
        - "log_loss", softmax: ``-t log y``.
        - "binary_log_loss", logistic: ``-t log y - (1 - t) log(1 - y)``.
        - "poisson", exponential: ``t log(t / y) - t + y``, half the deviance; t >= 0.
        - "absolute_error", identity: ``|d|``.
        - "huber", identity: ``d**2 / 2`` up to ``|d| = huber_delta``, from there on linear.
        - "log_cosh", identity: ``log(cosh(d))``.
        - "gamma", exponential: ``t / y - log(t / y) - 1``, half the deviance; t > 0.
        - "tweedie", exponential: half the Tweedie deviance of ``tweedie_power``; t >= 0.
        - "focal", softmax: ``-t (1 - y)**g log y`` with g = ``focal_gamma`` (Lin et al. 2017).
        - "binary_focal", logistic: ``-t (1 - y)**g log y - (1 - t) y**g log(1 - y)``.
        - "quantile", "ordered": ``max(-q d, (1 - q) d)``, the pinball loss of the levels q in ``quantile``. The outputs
          of a target stand side by side, one for each level, each the one before plus ``log(1 + exp(z))``: they
          cannot cross. The target is repeated for each.
        - A function ``loss(Y, raw) -> (loss, gradient)`` of one's own, called once a batch; the outputs are ``raw``,
          identity. Y, raw and gradient have the shape (rows, n_out) and the network's dtype. The loss has the shape
          (rows,), of each row by itself, and then the gradient is that of each row's loss; or it is a number, the mean
          loss of the batch as a whole, and the gradient is its gradient. The latter takes no weights of rows. The first
          batch, in float64, is used to check the gradient against finite differences.
    solver : {"adam", "sgd", "adamw", "nadam", "rmsprop", "adagrad", "rprop"}, default="adam"
        Kingma and Ba (2015), or stochastic gradient descent with momentum. "adamw" is "adam" with another default of
        ``weight_decay`` (Loshchilov and Hutter 2019). "nadam" is Adam with Nesterov's momentum (Dozat 2016; the
        momentum grows as in PyTorch), "rmsprop" divides the gradient by the root of a running mean of its squares
        (Tieleman and Hinton 2012), "adagrad" by that of their sum (Duchi et al. 2011). "rprop" looks at signs only:
        each weight has a step of its own, which begins with the learning rate and grows by 1.2 as long as the sign
        stays, and halves when it changes (Riedmiller and Braun 1993, iRprop-); all rows must be one batch.
    alpha : float, default=0.0
        L2 penalty ``alpha / 2 * sum(W**2) / rows of the batch``, as scikit-learn weighs it. Intercepts are free.
    dtype : {"float32", "float64"}, default="float32"
    random_state : int, numpy.random.RandomState, numpy.random.Generator or None, default=None
        Draws the first weights.
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
        For "adam", "adamw" and "nadam"; epsilon also for "rmsprop" and "adagrad".
    output_groups : sequence of int, default=()
        For "log_loss": sizes of the groups of outputs that each have a softmax of their own, for several things to be
        told at once. Empty: one softmax over all outputs. "focal" likewise; "quantile" finds its own.
    start : (coefs, intercepts) or None, default=None
        The first weights, in place of those of ``init``.
    init : {"glorot", "he", "lecun", "orthogonal", "zeros"}, default="glorot"
        What first weights to draw. "glorot": weights and intercepts uniform in ``+-sqrt(6 / (n_in + n_out))``, of
        logistic layers with 2 in place of 6 (Glorot and Bengio 2010), in scikit-learn's order. The others have
        intercepts of 0: "he" is normal with variance ``2 / n_in`` (He et al. 2015), "lecun" with ``1 / n_in`` (LeCun et
        al. 1998), "orthogonal" a random orthogonal matrix, or that many rows or columns of one (Saxe et al. 2014),
        and "zeros" 0. Layers are drawn from the first to the last, each weight with one draw, in the order of rows.
    dropout : float or sequence of float, default=0.0
        Share of the units of the hidden layers, of all alike or of each, that are dropped in training, in [0, 1): set
        to 0 for a row, while the others are multiplied by ``1 / (1 - dropout)`` (Srivastava et al. 2014). Which ones
        depends on a number drawn from ``random_state`` after the weights, on the step at which an epoch begins, on the
        row's number in X, the layer and the unit. ``forward``, ``loss`` and ``gradients`` drop none.
    huber_delta : float, default=1.0
        Where "huber" turns from a square to a line; above 0.
    tweedie_power : float, default=1.5
        From 1, Poisson, to 2, gamma; or 0, the squared error with its identity. These three are those losses.
    focal_gamma : float, default=2.0
        How much less rows count for "focal" that are told well; 0 is the log loss.
    quantile : float or sequence of float, default=0.5
        Levels of "quantile", ascending, each between 0 and 1. Their number divides that of the outputs.
    weight_decay : float or None, default=None
        Before each step the weights are multiplied by ``1 - learning_rate * weight_decay``, whatever the batch size.
        Intercepts are free, and the loss has no part of it. None: 0.01 with "adamw", 0 otherwise.
    rho : float, default=0.99
        How much of the running mean of squares "rmsprop" keeps in a step, in [0, 1).
    l1 : float, default=0.0
        L1 penalty ``l1 * sum(abs(W)) / rows of the batch``. Intercepts are free. Each step ends by drawing the weights
        towards 0, so that those whose gradient is smaller stay 0: a proximal step (Duchi and Singer 2009), as long as
        the step would be with a gradient of that size from the first step on; "rprop" stops at 0.
    clip_value : float or None, default=None
        Elements of the gradient of the mean loss, with that of alpha, are kept in ``+-clip_value``.
    clip_norm : float or None, default=None
        When the Euclidean norm of the gradient, over all weights and intercepts, is larger, the gradient is scaled to
        it; after ``clip_value``. ``numpy.inf`` does nothing, but the estimators' ``history_`` then has the norm.

    Attributes
    ----------
    coefs_ : list of arrays (layer_sizes[l], layer_sizes[l + 1])
        Weight matrices. May be changed in place or replaced between calls.
    intercepts_ : list of arrays (layer_sizes[l + 1],)
    out_activation_ : str
    learning_rate : float or array (steps,)
        Used by the next steps; assign it to follow a schedule. An array has the rate of each step of the next epoch.
    n_steps_ : int
        Optimizer steps taken.
    classes_ : array (n_classes,), or a list of them
        The labels that `predict` gives; of several columns of several classes those of each. Only there where
        `nnfast.load` made the network of a classifier, or where it was assigned.

    Raises
    ------
    ValueError
        For an unknown name, a negative alpha, l1 or weight_decay, a layer of size 0, fewer than two layers, groups or
        levels that do not fit the outputs, or a parameter of the loss out of range.

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

    classes_: Array | list[Array]

    _kept: ClassVar[dict[str, Any]] = {
        "layer_sizes": tuple[int, ...],
        "_activation": Any,
        "loss_name": str,
        "solver": str,
        "alpha": float,
        "dtype": np.dtype,
        "n_jobs": int | None,
        "learning_rate": float | Array,
        "momentum": float,
        "nesterovs_momentum": bool,
        "beta_1": float,
        "beta_2": float,
        "epsilon": float,
        "output_groups": tuple[int, ...],
        "dropout": list[float],
        "huber_delta": float,
        "tweedie_power": float,
        "focal_gamma": float,
        "quantile": float | tuple[float, ...],
        "weight_decay": float | None,
        "rho": float,
        "l1": float,
        "clip_value": float | None,
        "clip_norm": float | None,
        "own_loss": OwnLoss | None,  # which no file can hold
        "coefs_": list[Array],
        "intercepts_": list[Array],
        "classes_": NotRequired[Array | list[Array]],
        "n_steps_": int,
        "_state": list[tuple[list[Array], list[Array]]],
        "_dropout_seed": int | None,
    }
    _derived = frozenset({"_hidden", "levels", "out_activation_", "_plan", "_idle"})

    def __init__(
        self,
        layer_sizes: Sequence[int],
        *,
        activation: Any = "relu",
        loss: str | Callable[[Array, Array], tuple[Any, Any]] = "squared_error",
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
        init: str = "glorot",
        dropout: Any = 0.0,
        huber_delta: float = 1.0,
        tweedie_power: float = 1.5,
        focal_gamma: float = 2.0,
        quantile: float | Sequence[float] = 0.5,
        weight_decay: float | None = None,
        rho: float = 0.99,
        l1: float = 0.0,
        clip_value: float | None = None,
        clip_norm: float | None = None,
    ) -> None:
        self.layer_sizes = tuple(index(size) for size in layer_sizes)
        if len(self.layer_sizes) < 2 or min(self.layer_sizes) < 1:
            raise ValueError(f"layer_sizes must hold at least two sizes, each at least 1, got {self.layer_sizes}")
        self.activation = activation
        self.own_loss = OwnLoss(loss) if callable(loss) else None
        if callable(loss):
            loss = "own"
        elif loss not in OUTPUT_ACTIVATIONS:
            raise ValueError(f"unknown loss {loss!r}; there are {', '.join(OUTPUT_ACTIVATIONS)}")
        if solver not in STOCHASTIC_SOLVERS:
            raise ValueError(f"unknown solver {solver!r}; there are {', '.join(STOCHASTIC_SOLVERS)}")
        if init not in INITS:
            raise ValueError(f"unknown init {init!r}; there are {', '.join(INITS)}")
        if alpha < 0:
            raise ValueError(f"alpha must not be negative, got {alpha}")
        if weight_decay is not None and not 0 <= weight_decay < np.inf:
            raise ValueError(f"weight_decay must be None or a finite number >= 0, got {weight_decay}")
        if not 0 <= l1 < np.inf:
            raise ValueError(f"l1 must be a finite number >= 0, got {l1}")
        for name, limit in (("clip_value", clip_value), ("clip_norm", clip_norm)):
            if limit is not None and not limit > 0:
                raise ValueError(f"{name} must be None or above 0, got {limit}")
        if not 0 <= rho < 1:
            raise ValueError(f"rho must be in [0, 1), got {rho}")
        self.dtype = np.dtype(dtype)
        if self.dtype not in FORMATS:
            raise ValueError(f"dtype must be float32 or float64, got {self.dtype}")
        self.huber_delta = float(huber_delta)
        self.tweedie_power = float(tweedie_power)
        self.focal_gamma = float(focal_gamma)
        self.levels = as_levels(quantile)
        self.quantile = self.levels if np.ndim(quantile) else self.levels[0]
        self._check_loss_parameters()
        if loss == "tweedie":
            loss = _TWEEDIE.get(self.tweedie_power, loss)
        self.output_groups = tuple(int(size) for size in output_groups)
        if self.output_groups and (
            loss not in ("log_loss", "focal")
            or min(self.output_groups) < 1
            or sum(self.output_groups) != self.layer_sizes[-1]
        ):
            raise ValueError(
                f"output_groups go with log_loss and focal, and must sum to the {self.layer_sizes[-1]} outputs, "
                f"got {self.output_groups} with {loss}"
            )
        if loss == "quantile":
            n_targets, rest = divmod(self.layer_sizes[-1], len(self.levels))
            if rest:
                raise ValueError(f"{len(self.levels)} levels do not divide {self.layer_sizes[-1]} outputs")
            self.output_groups = (len(self.levels),) * n_targets if n_targets > 1 else ()
        self.loss_name, self.solver = str(loss), str(solver)  # a NumPy string is none for the engine
        self.alpha = alpha
        self.n_jobs = n_jobs
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.weight_decay = weight_decay
        self.rho = rho
        self.l1 = l1
        self.clip_value = clip_value
        self.clip_norm = clip_norm
        self.learning_rate: float | NDArray[np.float64] = learning_rate_init
        self.out_activation_ = OUTPUT_ACTIVATIONS.get(loss, "identity")
        self.n_steps_ = 0
        self._state: list[tuple[list[Array], list[Array]]] = []
        self._plan = Plan()
        self._idle = Idle()
        if type(random_state) is int:
            rng = seeded(random_state)
        else:
            rng = random_state if hasattr(random_state, "uniform") else np.random.RandomState(random_state)
        if start is not None:
            self.coefs_, self.intercepts_ = ([np.asarray(w, self.dtype) for w in part] for part in start)
        else:
            # As in scikit-learn, the output layer is drawn as if the activation of the hidden ones were its own.
            output = self._hidden[-1:] or hidden_activations(activation or "identity", 1)
            drawn = draw_weights(rng, self.layer_sizes, self._hidden + output, self.dtype, init)
            self.coefs_, self.intercepts_ = drawn
        self._dropout_seed: int | None = None
        self.set_dropout(dropout, rng)

    def _to_state(self) -> dict[str, Any]:
        if self.own_loss is not None:
            raise TypeError(
                f"loss: a function, {self.own_loss.function!r}, cannot be written to a model file. "
                "MLP(layer_sizes, start=(coefs_, intercepts_)) predicts the same."
            )
        return super()._to_state()

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> Self:
        cls._check_state(state)
        check_weights(state["coefs_"], state["intercepts_"], state["layer_sizes"])
        renamed = {"activation": "_activation", "loss": "loss_name", "learning_rate_init": "learning_rate"}
        if state["loss_name"] == "quantile":
            renamed["output_groups"] = ""  # which it finds itself
        names = {name: renamed.get(name, name) for name in cls.__init__.__kwdefaults__ or ()}
        network = cls(
            state["layer_sizes"],
            start=(state["coefs_"], state["intercepts_"]),
            random_state=0,
            **{parameter: state[name] for parameter, name in names.items() if name in state},
        )
        if network.output_groups != state["output_groups"]:
            raise ValueError(f"output_groups should be {network.output_groups}, got {state['output_groups']}")
        for name in cls._kept.keys() - names.values():
            if name in state:
                setattr(network, name, state[name])
        resolve_threads(network.n_jobs)
        if len(network._state) not in (0, network._n_states()):
            raise ValueError(f"{network.solver} with {len(network._state)} moments of the gradient")
        for part in network._state:
            check_weights(*part, network.layer_sizes)
            if any(moment.dtype != network.dtype for moment in [*part[0], *part[1]]):
                raise ValueError(f"moments of the gradient should be {network.dtype}")
        if np.ndim(network.learning_rate) > 1 or np.asarray(network.learning_rate).dtype.kind not in "fiu":
            raise ValueError(f"learning_rate should be a number, or a vector of them, got {network.learning_rate!r}")
        if network.n_steps_ < 0 or not 0 <= (network._dropout_seed or 0) < 2**31:
            raise ValueError(f"{network.n_steps_} steps, and {network._dropout_seed} as a seed")
        if hasattr(network, "classes_"):
            check_classes(network.classes_, network.layer_sizes[-1], network.out_activation_ == "softmax")
        return network

    @property
    def activation(self) -> Any:
        """That of the hidden layers, or of each of them."""
        return self._activation

    @activation.setter
    def activation(self, activation: Any) -> None:
        self._hidden = hidden_activations(activation, len(self.layer_sizes) - 2)
        one_for_all = isinstance(activation, str) or has_argument(activation)
        self._activation = canonical_activation(activation) if one_for_all else tuple(self._hidden)

    def set_dropout(self, dropout: Any, rng: Any) -> None:
        """Drop this share of the hidden units from now on; see the class.

        Parameters
        ----------
        dropout : float or sequence of float
        rng : numpy.random.RandomState or numpy.random.Generator
            Asked for one number if no units have been dropped before.
        """
        self.dropout = hidden_dropout(dropout, len(self.layer_sizes) - 2)
        if any(self.dropout) and self._dropout_seed is None:
            draw = rng.integers if hasattr(rng, "integers") else rng.randint
            self._dropout_seed = int(draw(2**31 - 1))

    def _noise(self, step: int) -> int:
        """What says which units an epoch drops that begins with this step."""
        return 0 if self._dropout_seed is None else (self._dropout_seed << 32) + step

    def _check_loss_parameters(self) -> None:
        if not self.huber_delta > 0:
            raise ValueError(f"huber_delta must be above 0, got {self.huber_delta}")
        if self.tweedie_power != 0 and not 1 <= self.tweedie_power <= 2:
            raise ValueError(f"tweedie_power must be 0, or from 1 to 2, got {self.tweedie_power}")
        if not 0 <= self.focal_gamma < np.inf:
            raise ValueError(f"focal_gamma must be 0 or above, and finite, got {self.focal_gamma}")

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
        known = self.coefs_, self.intercepts_, self._activation, self.out_activation_, self.output_groups
        target = out
        if target is None and type(X) is np.ndarray and X.ndim == 2:
            target = np.empty((X.shape[0], self.layer_sizes[-1]), self.dtype)
        if target is not None:
            plan = self._plan
            if plan.forward(X, target, known):
                return target
            if plan.forward(X, target, known, n_threads=resolve_threads(self.n_jobs)):
                return target
        rows = as_rows(X, self.dtype)
        activations = self._activations()
        if getattr(X, "dtype", None) == self.coefs_[0].dtype == self.dtype:
            self._plan.bind(activations, known)
        return forward(rows, self.coefs_, self.intercepts_, activations, self.n_jobs, out, self.output_groups)

    def predict(self, X: Any) -> Array:
        """The labels that the outputs stand for, of a network with `classes_`; the outputs themselves of another.

        Parameters
        ----------
        X : array-like or sparse matrix (n, layer_sizes[0])

        Returns
        -------
        y : array (n,), or (n, n_targets), or of several levels (n, n_levels) or (n, n_targets, n_levels)
            What `predict` of the estimators gives, with the same bits: unlike `forward` it computes in the wider dtype
            of X and the weights.

        Raises
        ------
        ValueError
            When the shape of X or the number of classes does not fit.
        """
        rows = X if hasattr(X, "tocsr") else np.asarray(X)
        if rows.ndim != 2 or rows.shape[1] != self.layer_sizes[0]:
            raise ValueError(f"X must have shape (n, {self.layer_sizes[0]}), got {rows.shape}")
        activations = self._activations()
        outputs = forward(
            rows, self.coefs_, self.intercepts_, activations, self.n_jobs, output_groups=self.output_groups
        )
        if not hasattr(self, "classes_"):
            several = self.loss_name == "quantile" and np.ndim(self.quantile) > 0
            return as_values(outputs, len(self.levels) if several else None)
        softmax = self.out_activation_ == "softmax"
        check_classes(self.classes_, self.layer_sizes[-1], softmax)
        return as_labels(outputs, self.classes_, softmax)

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

        The engine's copy of the weights and of the optimizer's state is kept for the next call, which takes half of the
        time so where a batch is all; a copy of the network is without it.

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
            When shapes do not fit, a row number is out of range, or batch_size < 1; when ``learning_rate`` is an array
            of another number of steps.
        """
        rows, Y, weights = self._data(X, Y, weights)
        visits = None if order is None else aligned(np.ascontiguousarray(order, dtype=np.int64))
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        max_batch = min(batch_size, rows.shape[0] if visits is None else len(visits))
        with self.training(max_batch, isinstance(rows, SparseRows), again=True) as training:
            data, penalty, _ = training.epoch(rows, Y, batch_size, visits, weights)
        return data + penalty

    def training(self, max_batch: int, sparse: bool = False, again: bool = False) -> Training:
        """The network in training, as a context manager; see :class:`Training`."""
        return Training(self, max_batch, sparse, again)

    def _activations(self) -> list[Activation]:
        return [*self._hidden, self.out_activation_]

    def _engine_solver(self) -> str:
        if self.solver != "sgd":
            return "adam" if self.solver == "adamw" else self.solver
        if self.momentum == 0:
            return "sgd"
        return "nesterov" if self.nesterovs_momentum else "momentum"

    def _n_states(self) -> int:
        return _core.N_STATES[self._engine_solver()]

    def _engine_settings(self, sparse: bool) -> dict[str, Any]:
        """What the engine needs to know of the network, but for the arrays; to be compared, so nothing that may change.

        The bits depend neither on the number of threads nor on most rows of a batch, which comes on top.
        """
        return {
            "format": FORMATS[self.dtype],
            "sizes": self.layer_sizes,
            "activations": self._activations(),
            "loss": "squared_error" if self.own_loss else self.loss_name,  # the engine is not asked for it
            "solver": self._engine_solver(),
            "alpha": self.alpha,
            "l1": self.l1,
            "clip_value": self.clip_value or 0.0,
            "clip_norm": self.clip_norm or 0.0,
            "momentum": self.momentum,
            "beta_1": self.beta_1,
            "beta_2": self.rho if self.solver == "rmsprop" else self.beta_2,
            "epsilon": self.epsilon,
            "groups": self.output_groups,
            "dropout": tuple(self.dropout) if any(self.dropout) else (),
            "sparse": sparse,
            "n_threads": resolve_threads(self.n_jobs),
            "huber_delta": self.huber_delta,
            "tweedie_power": self.tweedie_power,
            "focal_gamma": self.focal_gamma,
            "levels": self.levels,
        }

    def _load(self, engine: _core.Network) -> None:
        """Give the engine the weights that stand in `coefs_` and `intercepts_`."""
        parts = (
            [aligned(np.ascontiguousarray(w, self.dtype)) for w in part] for part in (self.coefs_, self.intercepts_)
        )
        engine.load(_core.PARAMETERS, *parts)

    def _engine(self, max_batch: int, sparse: bool) -> _core.Network:
        """An engine that computes gradients, with the weights as they are."""
        engine = _core.Network(**self._engine_settings(sparse), max_batch=max_batch, keep_gradients=True)
        self._load(engine)
        return engine

    def _empty_parameters(self) -> tuple[list[Array], list[Array]]:
        sizes = self.layer_sizes
        coefs = [np.empty(shape, self.dtype) for shape in pairwise(sizes)]
        return coefs, [np.empty(n_out, self.dtype) for n_out in sizes[1:]]

    def _data(self, X: Any, Y: ArrayLike, weights: ArrayLike | None) -> tuple[Rows, Array, NDArray[np.float64] | None]:
        rows, Y = as_rows(X, self.dtype), dense_rows(Y, self.dtype)
        if rows.shape[0] != Y.shape[0]:
            raise ValueError(f"X has {rows.shape[0]} rows, Y has {Y.shape[0]}")
        return rows, Y, as_row_weights(weights)

    def _loss_and_engine(self, X: Any, Y: ArrayLike, weights: ArrayLike | None) -> tuple[float, _core.Network]:
        rows, Y, weights = self._data(X, Y, weights)
        n = rows.shape[0]
        engine = self._engine(max(1, n), sparse=isinstance(rows, SparseRows))
        data, penalty = self._gradients(engine, rows, Y, weights)
        return (data + penalty) / n, engine

    def _gradients(
        self, engine: _core.Network, X: Rows, Y: Array, weights: NDArray[np.float64] | None
    ) -> tuple[float, float]:
        """Sums over the rows of their losses and of the penalty; the gradients of their mean wait in the engine."""
        if self.own_loss is None:
            return engine.gradients(X, Y, weights)
        n = X.shape[0]
        raw = np.empty((n, self.layer_sizes[-1]), self.dtype)
        penalty = engine.step_forward(X, None, raw, learning=False) / (n if weights is None else weights.sum())
        mean, gradient = self.own_loss(Y, raw, weights)
        engine.progress = Progress()
        engine.step_backward(X, None, gradient, mean, penalty, weights=weights, learning=False)
        return engine.progress[:2]
