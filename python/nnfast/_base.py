"""What MLPClassifier and MLPRegressor share: the parameter table, the input checks and the loop over epochs.

Python owns the epochs, the engine runs each one (`nnfast._network.Training.epoch`). The loop is `BaseMLP._train`; what
it decides with are three small parts: `_Patience` (when has training stopped improving), `_ConstantRate` and its
descendants (the learning rate, and what a stall means for it) and `_Rows` (what to train on and what to validate on).

The semantics, the texts and the order of the random draws are those of scikit-learn 1.9.1. This module and its two
users are the ones that import scikit-learn; `nnfast/__init__.py` loads them when an estimator is first touched.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from numbers import Integral, Real
from operator import index
from typing import Any, ClassVar, NamedTuple

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, _fit_context, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from nnfast._network import MLP, Training, as_rows, canonical_activation, forward

STOCHASTIC_SOLVERS = ("sgd", "adam")


def not_yet(what: str) -> NotImplementedError:
    """The error for a part of scikit-learn's interface that nnfast does not have yet."""
    return NotImplementedError(f"{what} is not supported yet: it comes with a later release of nnfast.")


class SparseNotSupportedError(NotImplementedError, TypeError):
    """Sparse X: not there yet; also the TypeError that scikit-learn raises where only dense data is taken."""


def refuse_sparse(X: Any) -> None:
    if issparse(X):
        raise SparseNotSupportedError(
            "Sparse X is not supported yet: it comes with a later release of nnfast. "
            "Dense data is required; use X.toarray() to convert it."
        )


class _Patience:
    """Counts the epochs in a row whose score rose by less than `tol` over the best so far.

    A score is anything that should rise: the validation score, or minus the training loss. A NaN neither counts as a
    stall nor becomes the best.
    """

    def __init__(self, subject: str, tol: float, limit: float, best: float, count: int) -> None:
        self.subject = subject
        self.tol = tol
        self.limit = limit
        self.best = best
        self.count = count

    def update(self, score: float) -> bool:
        """Take in the score of an epoch; True when it is the best so far, by however little."""
        self.count = self.count + 1 if score < self.best + self.tol else 0
        if score > self.best:
            self.best = score
            return True
        return False

    @property
    def exhausted(self) -> bool:
        return self.count > self.limit

    @property
    def message(self) -> str:
        return f"{self.subject} did not improve more than tol={self.tol:f} for {self.limit} consecutive epochs."


class _ConstantRate:
    """A learning rate that stays as it is: Adam's base rate, and SGD's with learning_rate='constant'."""

    def __init__(self, initial: float) -> None:
        self.initial = float(initial)
        self.learning_rate = self.initial

    def epoch_ended(self, samples_seen: int) -> None:
        """Set the rate of the next epoch."""

    def stalled(self) -> tuple[bool, str]:
        """Training has stopped improving: whether to stop, and how to say what was done about it."""
        return True, "Stopping."


class _InverseScalingRate(_ConstantRate):
    """The initial rate divided by (samples seen + 1) ** power."""

    def __init__(self, initial: float, power: float) -> None:
        super().__init__(initial)
        self.power = power

    def epoch_ended(self, samples_seen: int) -> None:
        self.learning_rate = self.initial / (samples_seen + 1) ** self.power


class _AdaptiveRate(_ConstantRate):
    """A rate that falls to a fifth at every stall; training stops when it is 1e-6 or less."""

    def stalled(self) -> tuple[bool, str]:
        if self.learning_rate <= 1e-6:
            return True, "Learning rate too small. Stopping."
        self.learning_rate /= 5.0
        return False, f"Setting learning rate to {self.learning_rate:f}"


class _Rows(NamedTuple):
    """What a fit trains on and, with early stopping, the (X, y) it validates on."""

    X: np.ndarray  # (n, n_features), C order
    Y: np.ndarray  # (n, n_outputs), X's dtype
    validation: tuple[np.ndarray, np.ndarray] | None  # y as `_validate_input` gave it, two-dimensional


def _reshuffled(order: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """The row order of the next epoch: a fresh permutation applied to the last order, as sklearn.utils.shuffle does.

    The same draws from `rng`, without that function's checks.
    """
    permutation = np.arange(len(order))
    rng.shuffle(permutation)
    return order[permutation]


class BaseMLP(BaseEstimator, ABC):
    """Base of the MLP estimators. Subclasses say what y means; everything about training is here."""

    _parameter_constraints: ClassVar[dict] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({"identity", "logistic", "sigmoid", "tanh", "relu", "leaky_relu"})],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Interval(Integral, None, -1, closed="right"), Interval(Integral, 1, None, closed="left"), None],
    }

    loss_curve_: list[float]
    best_loss_: Any  # float; None with early stopping
    validation_scores_: Any  # list of float; None without early stopping
    best_validation_score_: Any  # float; None without early stopping
    _no_improvement_count: int

    # ---- what a subclass adds ------------------------------------------------------------------------------------

    @abstractmethod
    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        """X as float32 or float64 in C order; y checked and, for a classifier, binarised.

        `incremental` is True in partial_fit; `reset` when n_features_in_ and the feature names are to be learnt.
        """

    @abstractmethod
    def _network_loss(self) -> str:
        """The loss in the words of `nnfast.MLP`; it brings the output activation with it."""

    @abstractmethod
    def _validation_score(self, outputs: np.ndarray, y: np.ndarray) -> float:
        """What early stopping wants to see rise, for the network's outputs on the validation rows.

        The number that scikit-learn's metric gives, without its checks: they take a millisecond, which is many epochs
        of a small network.
        """

    # ---- fit -----------------------------------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit the model to data matrix X and target(s) y.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The input data. float32 is trained in float32; anything else in float64.

        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The target values (class labels in classification, real numbers in regression).

        sample_weight : None
            Not supported yet.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            A parameter is out of range, X or y is malformed, or training diverged to non-finite weights.
        NotImplementedError
            ``sample_weight`` is given, X is sparse or ``solver='lbfgs'``.
        """
        return self._fit(X, y, sample_weight, incremental=False)

    def _fit(self, X, y, sample_weight, incremental):
        self._refuse_unsupported(X, sample_weight)
        hidden_layer_sizes = self._hidden_layer_sizes()
        afresh = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        X, y = self._validate_input(X, y, incremental, reset=afresh)
        if y.ndim == 1:
            y = y.reshape(-1, 1)
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")

        # One generator for the whole fit; the draws are the weights, then the validation split, then the row orders.
        rng = check_random_state(self.random_state)
        layer_sizes = [X.shape[1], *hidden_layer_sizes, y.shape[1]]
        if afresh:
            network = self._new_network(layer_sizes, X.dtype, random_state=rng)
        else:
            network = self._continued_network(layer_sizes, X.dtype, incremental)
        if not (incremental and hasattr(self, "_optimizer")):
            self._optimizer = self._schedule()
        self._network = network
        self._reset(network, afresh)
        self._train(network, self._split(as_rows(X, network.dtype), y, rng), rng, incremental)

        if not all(np.isfinite(w).all() for w in self.coefs_ + self.intercepts_):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may"
                " contain large values and need to be preprocessed."
            )
        return self

    def _refuse_unsupported(self, X: Any, sample_weight: Any) -> None:
        if self.solver not in STOCHASTIC_SOLVERS:
            raise not_yet(f"solver={self.solver!r}")
        if sample_weight is not None:
            raise not_yet("sample_weight")
        refuse_sparse(X)

    def _hidden_layer_sizes(self) -> list[int]:
        sizes = self.hidden_layer_sizes
        sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
        if np.any(np.array(sizes) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        return [index(size) for size in sizes]

    def _new_network(self, layer_sizes: list[int], dtype: np.dtype, **start: Any) -> MLP:
        """A network with the estimator's parameters; `start` says where its weights come from."""
        return MLP(
            layer_sizes,
            activation=self.activation,
            loss=self._network_loss(),
            solver=self.solver,
            alpha=self.alpha,
            dtype=dtype,
            n_jobs=self.n_jobs,
            learning_rate_init=self.learning_rate_init,
            momentum=self.momentum,
            nesterovs_momentum=self.nesterovs_momentum,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
            **start,
        )

    def _continued_network(self, layer_sizes: list[int], dtype: np.dtype, incremental: bool) -> MLP:
        """The network to train on, with the weights that stand in `coefs_` and `intercepts_`.

        They are the user's to edit or replace, their dtype and hidden layers included. partial_fit keeps the optimizer,
        with the parameters that it was made with, fit makes a new one; so does scikit-learn.
        """
        weights = [*self.coefs_, *self.intercepts_]
        sizes = [*(len(coef) for coef in self.coefs_), len(self.intercepts_[-1])]
        if (len(sizes), sizes[0], sizes[-1]) != (len(layer_sizes), layer_sizes[0], layer_sizes[-1]):
            raise ValueError(
                f"The weights in coefs_ and intercepts_ are those of layers of sizes {sizes}; X, y and "
                f"hidden_layer_sizes ask for {layer_sizes}. Only a new fit with warm_start=False can change them so."
            )
        network = getattr(self, "_network", None)
        if incremental and network is not None:
            network.coefs_, network.intercepts_ = self.coefs_, self.intercepts_
            network.activation = canonical_activation(self.activation)
            network.alpha = self.alpha
            network.n_jobs = self.n_jobs
            return network
        common = np.result_type(*weights)
        return self._new_network(
            sizes, common if common in (np.float32, np.float64) else dtype, start=(self.coefs_, self.intercepts_)
        )

    def _reset(self, network: MLP, afresh: bool) -> None:
        """Set the fitted attributes to what they are before the first epoch.

        What records the course of training goes on from where it is, unless the fit starts afresh.
        """
        self.n_layers_ = len(network.coefs_) + 1
        self.n_outputs_ = len(network.intercepts_[-1])
        self.out_activation_ = network.out_activation_
        self.coefs_ = network.coefs_
        self.intercepts_ = network.intercepts_
        self.n_iter_ = 0
        record = {
            "t_": 0,
            "loss_curve_": [],
            "best_loss_": None if self.early_stopping else np.inf,
            "validation_scores_": [] if self.early_stopping else None,
            "best_validation_score_": -np.inf if self.early_stopping else None,
            "_no_improvement_count": 0,
        }
        for name, start in record.items():
            if afresh or getattr(self, name, None) is None:
                setattr(self, name, start)

    def _schedule(self) -> _ConstantRate:
        if self.solver == "sgd" and self.learning_rate == "invscaling":
            return _InverseScalingRate(self.learning_rate_init, self.power_t)
        if self.solver == "sgd" and self.learning_rate == "adaptive":
            return _AdaptiveRate(self.learning_rate_init)
        return _ConstantRate(self.learning_rate_init)

    def _split(self, X: np.ndarray, y: np.ndarray, rng: np.random.RandomState) -> _Rows:
        """Set rows aside for validation when early stopping asks for it."""
        validation = None
        if self.early_stopping:
            # Only a single output is stratified, as in scikit-learn: with three or more classes y has one column each.
            stratify = y if is_classifier(self) and y.shape[1] == 1 else None
            X, X_val, y, y_val = train_test_split(
                X, y, random_state=rng, test_size=self.validation_fraction, stratify=stratify
            )
            if X_val.shape[0] < 2:
                raise ValueError(
                    "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
                )
            validation = X_val, y_val
        return _Rows(X, np.ascontiguousarray(y, dtype=X.dtype), validation)

    def _batch_rows(self, n_rows: int) -> int:
        if self.batch_size == "auto":
            return min(200, n_rows)
        if self.batch_size > n_rows:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=2
            )
        return min(int(self.batch_size), n_rows)

    def _train(self, network: MLP, rows: _Rows, rng: np.random.RandomState, incremental: bool) -> None:
        """Run epochs until training stops improving, max_iter is reached or Ctrl-C; in partial_fit, run one.

        Leaves the weights of the last step in `coefs_` and `intercepts_`, or the best ones with early stopping.
        """
        n_rows = len(rows.X)
        batch_size = self._batch_rows(n_rows)
        order = np.arange(n_rows) if self.shuffle else None
        schedule = self._optimizer
        patience = _Patience(
            "Validation score" if self.early_stopping else "Training loss",
            self.tol,
            self.n_iter_no_change,
            self.best_validation_score_ if self.early_stopping else -self.best_loss_,
            self._no_improvement_count,
        )
        # scikit-learn reports the squared error as a mean over the outputs, though its gradient is that of the sum.
        n_averaged = self.n_outputs_ if self.loss == "squared_error" else 1

        try:
            with network.training(batch_size) as training:
                while self.n_iter_ < self.max_iter:
                    if order is not None:
                        order = _reshuffled(order, rng)
                    network.learning_rate = schedule.learning_rate
                    data_loss, penalty = training.epoch(rows.X, rows.Y, batch_size, order)
                    self._record_epoch(data_loss / n_averaged + penalty, n_rows)

                    if rows.validation is None:
                        patience.update(-self.loss_)
                        self.best_loss_ = -patience.best
                    else:
                        if patience.update(self._record_validation(training, *rows.validation)):
                            self.coefs_, self.intercepts_ = training.snapshot()
                        self.best_validation_score_ = patience.best
                    self._no_improvement_count = patience.count

                    schedule.epoch_ended(self.t_)
                    if patience.exhausted:
                        stop, action = schedule.stalled()
                        if self.verbose:
                            print(patience.message, action)
                        if stop:
                            break
                        self._no_improvement_count = patience.count = 0
                    if incremental:
                        break
                else:
                    warnings.warn(
                        f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) "
                        "reached and the optimization hasn't converged yet.",
                        ConvergenceWarning,
                        stacklevel=2,
                    )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=2)
        finally:
            if self.early_stopping:
                network.coefs_, network.intercepts_ = self.coefs_, self.intercepts_
            else:
                self.coefs_, self.intercepts_ = network.coefs_, network.intercepts_

    def _record_epoch(self, loss: float, n_rows: int) -> None:
        self.n_iter_ += 1
        self.t_ += n_rows
        self.loss_ = loss
        self.loss_curve_.append(loss)
        if self.verbose:
            print(f"Iteration {self.n_iter_}, loss = {loss:.8f}")

    def _record_validation(self, training: Training, X: np.ndarray, y: np.ndarray) -> float:
        score = self._validation_score(training.forward(X), y)
        self.validation_scores_.append(score)
        if self.verbose:
            print(f"Validation score: {score:f}")
        return score

    # ---- predict -------------------------------------------------------------------------------------------------

    def _outputs(self, X: Any) -> np.ndarray:
        """The outputs of the fitted network for X, shape (n_samples, n_outputs_).

        The weights are read from `coefs_` and `intercepts_` at every call, so what a user writes there counts.
        """
        check_is_fitted(self, "coefs_")
        refuse_sparse(X)
        X = validate_data(self, X, reset=False)
        hidden = canonical_activation(self.activation)
        activations = [hidden] * (self.n_layers_ - 2) + [self.out_activation_]
        return forward(X, self.coefs_, self.intercepts_, activations, self.n_jobs)

    # ---- partial_fit ---------------------------------------------------------------------------------------------

    def _check_solver(self) -> bool:
        """Whether partial_fit exists: it needs a solver that takes steps."""
        if self.solver not in STOCHASTIC_SOLVERS:
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic."
            )
        return True
