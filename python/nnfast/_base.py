"""What MLPClassifier and MLPRegressor share: the parameter table, the input checks and the ways to train.

Python owns the epochs, the engine runs each one (`nnfast._training.Training.epoch`). The loop is `BaseMLP._train`; what
it decides with are `_Patience` (when has training stopped improving), a schedule (the learning rates, and what a stall
means for them: `nnfast._schedules`), what is held out from it (`nnfast._validation`) and what callbacks say
(`nnfast._callbacks`). With L-BFGS SciPy owns the iterations (`BaseMLP._minimise`).

The semantics, the texts and the order of the random draws are those of scikit-learn 1.9.1. This module and those that
use it are the ones that import scikit-learn; `nnfast/__init__.py` loads them when an estimator is first touched.
"""

from __future__ import annotations

import copy
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise
from numbers import Integral, Real
from operator import index
from time import perf_counter
from typing import Any, ClassVar, NotRequired, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, minimize
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring, get_scorer_names
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import Interval, InvalidParameterError, Options, RealNotInt, StrOptions
from sklearn.utils.fixes import parse_version, sp_version
from sklearn.utils.optimize import _check_optimize_result
from sklearn.utils.validation import check_is_fitted

from nnfast._averaging import Average, average_for
from nnfast._callbacks import Tasks
from nnfast._checks import check_data, check_parameters, check_rows, generator
from nnfast._hidden import HiddenLayers
from nnfast._kept import Kept, check_feature_names
from nnfast._layers import HIDDEN_ACTIVATIONS, INITS, Activation, check_weights, hidden_activations, hidden_dropout
from nnfast._network import MLP, STOCHASTIC_SOLVERS
from nnfast._outputs import Plan, both_classes, forward
from nnfast._random import reshuffle
from nnfast._resuming import Attempt, Mark, Unfinished
from nnfast._rows import Array, SparseRows, are_finite, as_rows, dense_rows
from nnfast._schedules import NAMES, ConstantRate, schedule_for
from nnfast._sklearn import CallbackSupportMixin, check_sample_weight, with_callbacks
from nnfast._threads import resolve_threads
from nnfast._training import Objective, Progress, Training
from nnfast._validation import Part, Sample, hold_out, mean_loss

HISTORY = ("loss", "validation_loss", "validation_score", "learning_rate", "gradient_norm", "seconds")


# Attributes that belong to the course of training by steps.
TRAINING = (
    *("_optimizer", "_average", "_network", "_unfinished", "_no_improvement_count"),
    *("loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_", "validation_loss_curve_"),
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


class BaseMLP(CallbackSupportMixin, HiddenLayers, TransformerMixin, Kept, BaseEstimator, ABC):
    """Base of the MLP estimators. Subclasses say what y means; everything about training is here."""

    _parameter_constraints: ClassVar[dict] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({*HIDDEN_ACTIVATIONS, "sigmoid"}), "array-like"],
        "solver": [StrOptions({"lbfgs", *STOCHASTIC_SOLVERS})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions(NAMES), callable],
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
        "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
        "scoring": [StrOptions({*get_scorer_names(), "loss"}), callable, None],
        "learning_rate_decay": [Interval(Real, 0, 1, closed="right")],
        "learning_rate_decay_epochs": [Interval(Integral, 1, None, closed="left")],
        "warmup": [Interval(Integral, 0, None, closed="left"), Interval(RealNotInt, 0, 1, closed="left")],
        "init": [StrOptions(set(INITS)), tuple, list],
        "max_time": [Interval(Real, 0, None, closed="neither"), None],
        "precision": [StrOptions({"auto", "float32", "float64"})],
        "averaging": [StrOptions({"ema", "swa"}), None],
        "averaging_start": [Interval(Real, 0, 1, closed="left")],
        "averaging_decay": [Interval(Real, 0, 1, closed="left")],
        "weight_decay": [Interval(Real, 0, None, closed="left"), None],
        "rho": [Interval(Real, 0, 1, closed="left")],
        "l1": [Interval(Real, 0, None, closed="left")],
        "clip_value": [Interval(Real, 0, None, closed="neither"), Options(Real, {np.inf}), None],
        "clip_norm": [Interval(Real, 0, None, closed="neither"), Options(Real, {np.inf}), None],
    }

    loss_curve_: list[float]
    best_loss_: Any  # float; None with early stopping
    validation_scores_: Any  # list of float; None without validation data
    best_validation_score_: Any  # float; None without validation data
    validation_loss_curve_: Any  # list of float; None without validation data
    history_: dict[str, list[float]]
    _no_improvement_count: int
    _unfinished: Unfinished | None  # None: converged

    _kept: ClassVar[dict[str, Any]] = {
        "coefs_": list[Array],
        "intercepts_": list[Array],
        "n_features_in_": int,
        "feature_names_in_": NotRequired[Array],
        "n_layers_": int,
        "n_outputs_": int,
        "out_activation_": str,
        "n_iter_": int,
        "t_": int,
        "loss_": NotRequired[float],
        "history_": dict[str, list[float]],
        # Not after L-BFGS.
        "loss_curve_": NotRequired[list[float]],
        "best_loss_": NotRequired[float | None],
        "validation_scores_": NotRequired[list[float] | None],
        "best_validation_score_": NotRequired[float | None],
        "validation_loss_curve_": NotRequired[list[float] | None],
        "_no_improvement_count": NotRequired[int],
        "_optimizer": NotRequired[ConstantRate],
        "_average": NotRequired[Average | None],
        "_network": NotRequired[MLP],
        "_unfinished": NotRequired[Unfinished | None],  # not after partial_fit either
        # After set_output.
        "_sklearn_output_config": NotRequired[dict[str, str]],
    }
    _derived = frozenset({"_plan"})

    # ---- what a subclass adds ------------------------------------------------------------------------------------

    @abstractmethod
    def _learn_target(self, y: Array, incremental: bool) -> None:
        """Take in what y says about the outputs, or raise ValueError; `incremental` is True in partial_fit."""

    @abstractmethod
    def _check_target(self, y: Array, name: str) -> None:
        """Raise ValueError unless y, of this name, is such that the network as it is can be judged by it."""

    @abstractmethod
    def _encode(self, y: Array) -> Array:
        """What the outputs should be for y, shape (n,) or (n, n_outputs)."""

    @abstractmethod
    def _decode(self, outputs: Array) -> Array:
        """The prediction that outputs of the network, or their ideal, stand for: the inverse of `_encode`."""

    @abstractmethod
    def _network_loss(self) -> Any:
        """The loss in the words of `nnfast.MLP`; it brings the output activation with it."""

    @abstractmethod
    def _validation_score(self, outputs: Array, Y: Array, weights: Array | None) -> float:
        """scikit-learn's score of these outputs, which are finite, for `scoring=None`."""

    def _loss_parameters(self) -> dict[str, Any]:
        """What `nnfast.MLP` needs to know of the loss besides."""
        return {}

    def _training_target(self, Y: Array) -> Array:
        """What the outputs are trained towards, where that is not quite Y."""
        return Y

    def _true_target(self, Y: Array) -> Array:
        """The y that `_encode` made Y of."""
        return self._decode(Y)

    def _activated(self, raw: Array) -> Array:
        """The outputs, where the network gives those before their activation."""
        return raw

    def _output_groups(self) -> tuple[int, ...]:
        """Sizes of the groups of outputs that the output activation takes together; none when there is but one."""
        return ()

    def _class_weights(self, y: Array, incremental: bool) -> Array | None:
        """How much each row counts for the sake of its class."""
        return None

    def _restore_target(self) -> None:
        """Set what `_learn_target` would besides the attributes that a model file keeps; ValueError for bad ones."""

    # ---- fit -----------------------------------------------------------------------------------------------------

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None, resume=False):
        """Fit the model to data matrix X and target(s) y.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data. float32 is trained in float32; anything else in float64; ``precision`` may say otherwise.
            Sparse data stays sparse.

        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The target values (class labels in classification, real numbers in regression).

        sample_weight : array-like of shape (n_samples,), default=None
            How much each row counts; all alike when None. A batch divides by the sum of its weights; one whose sum is 0
            is passed over.

        X_val : {array-like, sparse matrix} of shape (n_validation_samples, n_features), default=None
            Validation data of one's own. After each epoch the model is scored on it. With ``early_stopping=True`` it
            decides when to stop and which weights to keep, in place of rows set aside from X. Not used by
            ``solver='lbfgs'``. Not in scikit-learn.

        y_val : array-like of shape (n_validation_samples,) or (n_validation_samples, n_outputs), default=None
            The target values of ``X_val``.

        sample_weight_val : array-like of shape (n_validation_samples,), default=None
            How much each row of ``X_val`` counts.

        resume : bool, default=False
            Whether to go on with the last fit, on the same data, where Ctrl-C, ``max_time``, ``max_iter`` or a callback
            ended it, also in the midst of an epoch; pickled or saved in between or not, the weights become, bit for
            bit, those of a fit that was never interrupted. The optimizer and the schedule are those that the fit began
            with; ``max_iter`` may be raised. A fit that has converged stays as it is, and one that has not begun
            begins. Not with ``solver='lbfgs'``. Not in scikit-learn.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            A parameter is out of range, X or y is malformed, training diverged to non-finite weights, or there is
            no fit to resume.
        """
        validation = X_val, y_val, sample_weight_val
        if resume and hasattr(self, "coefs_"):
            return self._resume(X, y, sample_weight, validation)
        return self._fit(X, y, sample_weight, incremental=False, validation=validation)

    def _resume(self, X: Any, y: Any, sample_weight: Any, validation: tuple[Any, Any, Any]) -> Self:
        if self.solver not in STOCHASTIC_SOLVERS or not hasattr(self, "_unfinished"):
            raise ValueError(
                "There is no fit to resume: the weights are from partial_fit, or from solver='lbfgs', whose memory of "
                "the last steps is lost. fit with warm_start=True begins with these weights."
            )
        if self._unfinished is None:
            return self
        began = self._unfinished.early_stopping, self._unfinished.validated
        if began != (bool(self.early_stopping), validation[0] is not None):
            raise ValueError(
                "The fit to resume began with early_stopping={} and {} X_val. It takes the same.".format(
                    began[0], "an" if began[1] else "no"
                )
            )
        return self._fit(X, y, sample_weight, incremental=False, validation=validation, resumed=self._unfinished)

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        incremental: bool,
        validation: tuple[Any, Any, Any] = (None,) * 3,
        resumed: Unfinished | None = None,
    ) -> Self:
        known = vars(self)
        with Attempt(self, known.get("_network"), known.get("_average")) as attempt:
            self._learn(X, y, sample_weight, incremental, validation, resumed, attempt)
        return self

    def _learn(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        incremental: bool,
        validation: tuple[Any, Any, Any],
        resumed: Unfinished | None,
        attempt: Attempt,
    ) -> None:
        hidden_layer_sizes = self._hidden_layer_sizes()
        stochastic = self.solver in STOCHASTIC_SOLVERS
        schedule = schedule_for(self)
        drops = self._check_hidden(len(hidden_layer_sizes))
        if drops and not stochastic:
            raise ValueError(f"dropout needs a stochastic solver: {self.solver} wants the same loss at every call.")
        for name in () if stochastic else ("weight_decay", "l1", "clip_value", "clip_norm"):
            if getattr(self, name) not in (None, 0, np.inf):
                raise ValueError(
                    f"{name}={getattr(self, name)} is part of a step of {', '.join(STOCHASTIC_SOLVERS)}; "
                    "solver='lbfgs' takes none. Its penalty on the weights is alpha."
                )
        going_on = incremental or resumed is not None
        afresh = not hasattr(self, "coefs_") or not (self.warm_start or going_on)
        given = X, y, sample_weight
        dtype = (np.float64, np.float32) if self.precision == "auto" else (np.dtype(self.precision),)
        X, y = self._check_data(X, y, reset=afresh, dtype=dtype)
        self._learn_target(y, going_on)
        Y = _columns(self._encode(y))
        if resumed is not None and resumed.n_rows != len(Y):
            raise ValueError(f"The fit to resume was to {resumed.n_rows} rows, X has {len(Y)}. It takes the same data.")
        if self.solver == "rprop" and self.batch_size != "auto" and self.batch_size < len(Y):
            raise ValueError(
                f"solver='rprop' takes all rows as one batch: batch_size should be 'auto', got {self.batch_size}."
            )
        weights = self._check_weights(sample_weight, X, y, incremental)
        held_out = self._check_validation(*validation, X.dtype, Y.shape[1])
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")

        # One generator for the whole fit; the draws are the weights, unless they are given, then the validation split,
        # then the row orders.
        rng = generator(self.random_state) if resumed is None else resumed.rng()
        layer_sizes = [X.shape[1], *hidden_layer_sizes, Y.shape[1]]
        if afresh:
            first = {"init": self.init} if isinstance(self.init, str) else {"start": _arrays(self.init, layer_sizes)}
            network = self._new_network(layer_sizes, X.dtype, random_state=rng, **first)
        else:
            network = self._continued_network(layer_sizes, X.dtype, going_on, rng)
        self.n_layers_ = len(network.coefs_) + 1
        self.n_outputs_ = Y.shape[1]
        self.out_activation_ = self._output_activation(network)
        self._plan = Plan()
        if resumed is None:
            self.coefs_, self.intercepts_ = network.coefs_, network.intercepts_
            self.n_iter_ = 0
            self._reset(afresh, stochastic, held_out is not None or self.early_stopping)
        elif resumed.weights is not None:
            network.coefs_, network.intercepts_ = resumed.weights

        tasks = None
        if not incremental:
            # L-BFGS may begin an iteration and not end it.
            name, most = ("epoch", self.max_iter) if stochastic else ("lbfgs-iter", self.max_iter + 1)
            tasks = Tasks(self, name, most, *given)
        if stochastic:
            if not (going_on and hasattr(self, "_optimizer")):
                self._optimizer, self._average = schedule, average_for(self)
            self._network = network
            if incremental:
                self.__dict__.pop("_unfinished", None)
            else:
                self._unfinished = resumed or Unfinished(
                    rng, len(Y), bool(self.early_stopping), validation[0] is not None
                )
            rows = None
            if self.early_stopping and held_out is None:
                # As in scikit-learn, only a single output is stratified: three or more classes have a column each.
                stratify = Y if isinstance(self, ClassifierMixin) and Y.shape[1] == 1 else None
                rows, held_out = hold_out(X, Y, weights, self.validation_fraction, rng, stratify)
            judges = None if held_out is None else _sample(network.dtype, *held_out)
            learned = _sample(network.dtype, X, self._training_target(Y), weights)
            self._train(network, learned, rows, judges, rng, tasks, resumed, attempt)
        else:
            self._minimise(network, _sample(network.dtype, X, self._training_target(Y), weights), tasks, attempt)

        if not are_finite(self.coefs_ + self.intercepts_):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may"
                " contain large values and need to be preprocessed."
            )
        if tasks is not None:
            tasks.finish()

    def _validate_params(self) -> None:
        check_parameters(self)

    def _check_data(self, X: Any, y: Any, reset: bool, dtype: Any) -> tuple[Any, Array]:
        """X and y, as `check_data` gives them; a column of y is a vector."""
        numeric = not isinstance(self, ClassifierMixin)
        X, y = check_data(self, X, y, dtype=dtype, reset=reset, multi_output=True, y_numeric=numeric)
        return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _check_weights(self, sample_weight: Any, X: Any, y: Array, incremental: bool) -> Array | None:
        """The weight of each row, its class's included; None when all count alike."""
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, X).astype(np.float64, copy=False)
        class_weights = self._class_weights(y, incremental)
        if class_weights is None:
            return sample_weight
        return check_sample_weight(class_weights if sample_weight is None else sample_weight * class_weights, X)

    def _check_validation(self, X: Any, y: Any, weights: Any, dtype: Any, n_outputs: int) -> Part | None:
        """The validation data given to fit."""
        if X is None and y is None and weights is None:
            return None
        if X is None or y is None:
            raise ValueError("X_val and y_val must be given together, and sample_weight_val only with them.")
        X, y = self._check_data(X, y, reset=False, dtype=(dtype,))
        self._check_target(y, "y_val")
        Y = _columns(self._encode(y))
        if Y.shape[1] != n_outputs:
            raise ValueError(f"y_val stands for {Y.shape[1]} outputs, y for {n_outputs}.")
        return X, Y, None if weights is None else check_sample_weight(weights, X).astype(np.float64, copy=False)

    def _hidden_layer_sizes(self) -> list[int]:
        sizes = self.hidden_layer_sizes
        sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
        whole = all(type(size) is int and size > 0 for size in sizes)
        if not whole and np.any(np.array(sizes) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        return [index(size) for size in sizes]

    def _check_hidden(self, n_hidden: int) -> bool:
        """Raise InvalidParameterError unless the parameters of hidden layers fit so many; whether any drops units."""
        name = type(self).__name__
        try:
            hidden_activations(self.activation, n_hidden)
        except (TypeError, ValueError) as error:
            raise InvalidParameterError(
                f"The 'activation' parameter of {name} must be a str among "
                f"{{{', '.join(HIDDEN_ACTIVATIONS)}, sigmoid}}, a pair of 'leaky_relu' or 'elu' and a number >= 0, "
                f"or a list with one of these for each hidden layer: {error}"
            ) from None
        try:
            return any(hidden_dropout(self.dropout, n_hidden))
        except (TypeError, ValueError) as error:
            raise InvalidParameterError(
                f"The 'dropout' parameter of {name} must be a float in the range [0.0, 1.0), or a list "
                f"with one for each hidden layer: {error}"
            ) from None

    def _new_network(self, layer_sizes: list[int], dtype: np.dtype, **start: Any) -> MLP:
        """A network with the estimator's parameters; `start` says where its weights come from."""
        return MLP(
            layer_sizes,
            activation=self.activation,
            loss=self._network_loss(),
            solver=self.solver if self.solver in STOCHASTIC_SOLVERS else "sgd",  # L-BFGS needs none
            alpha=self.alpha,
            dtype=dtype,
            n_jobs=self.n_jobs,
            learning_rate_init=self.learning_rate_init,
            momentum=self.momentum,
            nesterovs_momentum=self.nesterovs_momentum,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
            dropout=self.dropout,
            **self._loss_parameters(),
            weight_decay=self.weight_decay,
            rho=self.rho,
            l1=self.l1,
            clip_value=self.clip_value,
            clip_norm=self.clip_norm,
            **start,
        )

    def _output_activation(self, network: MLP) -> str:
        """What is applied to the outputs to predict."""
        return network.out_activation_

    def _continued_network(
        self, layer_sizes: list[int], dtype: np.dtype, going_on: bool, rng: np.random.RandomState
    ) -> MLP:
        """The network to train on, with the weights that stand in `coefs_` and `intercepts_`.

        They are the user's to edit or replace, their hidden layers included, and their dtype unless `precision` names
        one. partial_fit keeps the optimizer, with the parameters that it was made with, and so does a fit that is
        resumed; else fit makes a new one. So does scikit-learn.
        """
        weights = [*self.coefs_, *self.intercepts_]
        sizes = [*(len(coef) for coef in self.coefs_), len(self.intercepts_[-1])]
        if (len(sizes), sizes[0], sizes[-1]) != (len(layer_sizes), layer_sizes[0], layer_sizes[-1]):
            raise ValueError(
                f"The weights in coefs_ and intercepts_ are those of layers of sizes {sizes}; X, y and "
                f"hidden_layer_sizes ask for {layer_sizes}. Only a new fit with warm_start=False can change them so."
            )
        network = getattr(self, "_network", None)
        if going_on and network is not None:
            network.coefs_, network.intercepts_ = self.coefs_, self.intercepts_
            network.activation = self.activation
            for name in ("alpha", "weight_decay", "l1", "clip_value", "clip_norm", "n_jobs"):
                setattr(network, name, getattr(self, name))
            network.set_dropout(self.dropout, rng)
            return network
        common = np.result_type(*weights)
        if self.precision == "auto" and common in (np.float32, np.float64):
            dtype = common
        return self._new_network(sizes, dtype, start=(self.coefs_, self.intercepts_), random_state=rng)

    def _reset(self, afresh: bool, stochastic: bool, validated: bool) -> None:
        """Set what records the course of training to what it is before the first epoch.

        It goes on from where it is, unless the fit starts afresh. Of L-BFGS there is `history_` alone.
        """
        record: dict[str, Any] = {
            "loss_curve_": [],
            "best_loss_": None if self.early_stopping else np.inf,
            "validation_scores_": [] if validated else None,
            "validation_loss_curve_": [] if validated else None,
            "best_validation_score_": -np.inf if validated else None,
            "_no_improvement_count": 0,
        }
        if afresh or not hasattr(self, "t_"):
            self.t_ = 0
        if afresh or not hasattr(self, "history_"):
            self.history_ = {name: [] for name in HISTORY}
        if not stochastic:
            for name in TRAINING:
                self.__dict__.pop(name, None)
            return
        for name, start in record.items():
            if afresh or getattr(self, name, None) is None:
                setattr(self, name, start)

    # ---- model files ---------------------------------------------------------------------------------------------

    def _as_network(self) -> MLP:
        """The fitted network by itself, which predicts the same; ValueError unless weights and parameters fit."""
        sizes = [self.n_features_in_, *(len(intercept) for intercept in self.intercepts_)]
        check_weights(self.coefs_, self.intercepts_, sizes)
        dtype = np.result_type(*self.coefs_, *self.intercepts_)
        model = copy.copy(self)
        if callable(self.loss):
            model.loss = type(self)().loss  # with which it predicts the same
        network = model._new_network(sizes, dtype, start=(self.coefs_, self.intercepts_), random_state=0)
        if (len(sizes), sizes[-1], network.out_activation_) != (self.n_layers_, self.n_outputs_, self.out_activation_):
            raise ValueError(
                f"{self.n_layers_} layers with {self.n_outputs_} {self.out_activation_} outputs, as the model has them "
                f"since its fit, are not those of {network}, which its parameters and weights ask for"
            )
        if hasattr(self, "classes_"):
            network.classes_ = self.classes_
        return network

    def _to_state(self) -> dict[str, Any]:
        check_is_fitted(self)
        if callable(self.loss):
            raise TypeError(
                f"loss: a function, {self.loss!r}, cannot be written to a model file. After "
                f"set_params(loss={type(self)().loss!r}) the file has all that predicts, without the optimizer."
            )
        state = super()._to_state()
        if "_network" in state and state["_network"].own_loss is not None:
            for name in TRAINING:
                state.pop(name, None)
        return state

    @classmethod
    def _parameters(cls) -> dict[str, Any]:
        return cls().get_params(deep=False)

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> Self:
        model = super()._from_state(state)
        model._validate_params()
        if model.n_layers_ != len(model.intercepts_) + 1:
            raise ValueError(f"{model.n_layers_} layers, and {len(model.intercepts_)} vectors of intercepts")
        model._restore_target()
        model._hidden_layer_sizes()
        model._check_hidden(model.n_layers_ - 2)
        model._as_network()
        unfinished = state.get("_unfinished")
        if unfinished is not None:
            coefs, intercepts = unfinished.weights or (model.coefs_, model.intercepts_)
            check_weights(coefs, intercepts, [*(len(coef) for coef in model.coefs_), model.n_outputs_])
            if not 0 <= model.n_iter_ <= len(state.get("loss_curve_", ())):  # so many orders are drawn again
                raise ValueError(f"{model.n_iter_} epochs, of which the record has fewer")
        training = [name in state for name in ("_optimizer", "_average", "_network", "loss_curve_")]
        if any(training) != all(training) or state["history_"].keys() != set(HISTORY):
            raise ValueError("the record of training is not whole")
        check_feature_names(model)
        model._plan = Plan()
        return model

    def _batch_rows(self, n_rows: int) -> int:
        if self.batch_size == "auto":
            return n_rows if self.solver == "rprop" else min(200, n_rows)
        if self.batch_size > n_rows:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=2
            )
        return min(int(self.batch_size), n_rows)

    def _train(
        self,
        network: MLP,
        sample: Sample,
        rows: NDArray[np.int64] | None,
        held_out: Sample | None,
        rng: np.random.RandomState,
        tasks: Tasks | None,
        resumed: Unfinished | None,
        attempt: Attempt,
    ) -> None:
        """Run epochs until training stops improving, a limit is reached, a callback asks to stop, or Ctrl-C.

        Learns from these rows of the sample, or from all. Leaves the weights of the last step, or their average, in
        `coefs_` and `intercepts_`, or the best ones with early stopping. Without tasks, in partial_fit, one epoch is
        all.
        """
        n_rows = len(sample.Y) if rows is None else len(rows)
        batch_size = self._batch_rows(n_rows)
        n_steps = -(-n_rows // batch_size)
        order = np.arange(n_rows, dtype=np.int64) if rows is None and self.shuffle else rows
        scorer = None if self.scoring in (None, "loss") else check_scoring(self, self.scoring)
        schedule, average = self._optimizer, self._average
        patience = _Patience(
            "Validation score" if self.early_stopping else "Training loss",
            self.tol,
            self.n_iter_no_change,
            self.best_validation_score_ if self.early_stopping else -self.best_loss_,
            self._no_improvement_count,
        )
        # scikit-learn reports the squared error as a mean over the outputs, though its gradient is that of the sum.
        n_averaged = self.n_outputs_ if network.loss_name == "squared_error" else 1
        validation_loss = score = np.nan
        time = perf_counter()
        deadline = self._deadline(time)
        fresh = Progress()
        progress: Progress | None = None  # of an epoch under way
        if average is not None:
            average.resume(network, afresh=resumed is None)
        if resumed is not None:
            progress = None if resumed.progress is None else Progress._make(resumed.progress)
            if progress is not None and progress.rows % batch_size != 0 and progress.rows != n_rows:
                raise ValueError(f"batch_size={self.batch_size} in the midst of an epoch that began with another.")
            for _ in range(self.n_iter_ + (progress is not None)):
                if order is not None and self.shuffle:
                    reshuffle(order, rng)

        mark = Mark(self, schedule, average)  # of what an epoch under way may have changed in part
        converged = interrupted = False
        with network.training(batch_size, isinstance(sample.rows, SparseRows), again=tasks is None) as training:
            judged: Training | Average = training if average is None or not average.begun else average
            attempt.begin()
            try:
                while self.n_iter_ < self.max_iter:
                    if tasks is not None:
                        tasks.begin(judged.snapshot)
                    if progress is None and order is not None and self.shuffle:
                        reshuffle(order, rng)
                    network.learning_rate = rates = schedule.rates(n_steps)
                    training.progress = begun = fresh if progress is None else progress
                    mark.set()
                    losses = training.epoch(sample.rows, sample.Y, batch_size, order, sample.weights, begun)
                    data, penalty, norm = losses
                    self._record_epoch(data / n_averaged + penalty, n_rows)

                    if average is not None:
                        average.epoch_ended(training.snapshot)
                        judged = average if average.begun else training

                    if held_out is not None:
                        validation_loss, score = self._record_validation(judged, held_out, scorer)
                    if self.early_stopping:
                        if patience.update(score):
                            self.coefs_, self.intercepts_ = judged.snapshot()
                    else:
                        patience.update(-self.loss_)
                        self.best_loss_ = -patience.best
                    self._no_improvement_count = patience.count

                    rate = rates if isinstance(rates, float) else float(rates[-1])
                    time = self._remember(time, self.loss_, validation_loss, score, rate, norm)
                    schedule.epoch_ended(self.t_)
                    action = None
                    if patience.exhausted:
                        converged, action = schedule.stalled()
                        if not converged:
                            self._no_improvement_count = patience.count = 0
                    progress = None
                    mark.clear()  # the epoch is in the records, in full
                    self._tell(held_out is not None)
                    stop = tasks is None or tasks.end(judged.snapshot)
                    if action is not None and self.verbose:
                        print(patience.message, action)
                    if converged or stop:
                        break
                    if time >= deadline:
                        _warn_of_the_end("Stochastic Optimizer", f"time ({self.max_time} seconds)")
                        break
                else:
                    _warn_of_the_end("Stochastic Optimizer", f"iterations ({self.max_iter})")
            except KeyboardInterrupt:
                interrupted = True
            finally:
                if mark.restore():
                    progress = training.progress
                    judged = training if average is None or not average.begun else average
                if tasks is not None:
                    self._leave_off(training, progress, converged)
                # Before the visit ends: so the old weights are gone when the optimizer's state is copied.
                training.settle((self.coefs_, self.intercepts_) if self.early_stopping else judged.snapshot())
                self.coefs_, self.intercepts_ = network.coefs_, network.intercepts_
        if interrupted:
            warnings.warn("Training interrupted by user.", stacklevel=2)

    def _leave_off(self, training: Training, progress: Progress | None, converged: bool) -> None:
        """Keep what it takes to go on, unless there is no more to do."""
        if converged or self._unfinished is None:
            self._unfinished = None
            return
        averaged = self._average is not None and self._average.begun
        self._unfinished.progress = None if progress is None else progress[:]
        self._unfinished.weights = training.snapshot() if averaged or self.early_stopping else None

    def _record_epoch(self, loss: float, n_rows: int) -> None:
        self.n_iter_ += 1
        self.t_ += n_rows
        self.loss_ = loss
        self.loss_curve_.append(loss)

    def _tell(self, judged: bool) -> None:
        """Print the epoch that has just been recorded, if it is one that `verbose` prints."""
        n = len(self.loss_curve_)
        if not self.verbose or (n > 1 and n % int(self.verbose) != 0):
            return
        print(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")
        if judged:
            print(f"Validation score: {self.history_['validation_score'][-1]:f}")

    def _remember(self, since: float, *values: float) -> float:
        """A line in `history_`, of what began at the time `since`: all values but the last. Gives the time now."""
        now = perf_counter()
        for name, value in zip(HISTORY, (*values, now - since), strict=True):
            self.history_[name].append(value)
        return now

    def _deadline(self, begin: float) -> float:
        return begin + (np.inf if self.max_time is None else self.max_time)

    def _record_validation(
        self, judged: Training | Average, held_out: Sample, scorer: Callable | None
    ) -> tuple[float, float]:
        """The loss and score of the weights as they are now on the rows held out, in the records too."""
        outputs = judged.forward(held_out.rows)
        loss = mean_loss(judged.network, outputs, held_out.Y, held_out.weights)
        if self.out_activation_ != judged.network.out_activation_:
            outputs = self._activated(outputs)
        if self.scoring == "loss":
            score = -loss
        elif not np.isfinite(outputs).all():
            score = np.nan
        elif scorer is None:
            score = self._validation_score(outputs, held_out.Y, held_out.weights)
        else:
            weights = {} if held_out.weights is None else {"sample_weight": held_out.weights}
            model = copy.copy(self)
            model.coefs_, model.intercepts_ = judged.snapshot()
            model._plan = Plan()
            model.__dict__.pop("feature_names_in_", None)  # the names of the columns are checked and gone
            score = float(scorer(model, held_out.X, self._true_target(held_out.Y), **weights))
        self.validation_loss_curve_.append(loss)
        self.validation_scores_.append(score)
        if score > self.best_validation_score_:
            self.best_validation_score_ = score
        return loss, score

    # ---- L-BFGS --------------------------------------------------------------------------------------------------

    def _minimise(self, network: MLP, sample: Sample, tasks: Tasks | None, attempt: Attempt) -> None:
        """Let SciPy's L-BFGS-B find the weights; what cuts it short leaves those of the last iteration."""
        objective = Objective(network, sample.rows, sample.Y, sample.weights)
        attempt.begin()
        theta, stopped = objective.start, False
        evaluated, gradient = b"", theta  # the point evaluated last, and the gradient there
        time = perf_counter()
        deadline = self._deadline(time)

        def weights() -> tuple[list[Array], list[Array]]:
            return objective.unpack(theta)

        def evaluate(point: Array) -> float:
            nonlocal evaluated, gradient
            if tasks is not None:
                tasks.begin(weights)
            loss, gradient = objective(point)
            evaluated = point.tobytes()
            return loss

        def slope(point: Array) -> Array:
            """SciPy asks for it where it has just asked for the loss. With jac=True it would compare the points by
            NumPy, twice: 7 of 60 microseconds for 4-10-3 and 150 rows."""
            if point.tobytes() != evaluated:
                evaluate(point)
            return gradient

        def iteration_ended(intermediate_result: OptimizeResult) -> None:
            nonlocal theta, stopped, time
            theta = intermediate_result.x.copy()
            self.loss_ = float(intermediate_result.fun)
            self.n_iter_ += 1
            time = self._remember(time, self.loss_, np.nan, np.nan, np.nan, math.sqrt(gradient.dot(gradient)))
            stopped = tasks is not None and tasks.end(weights)
            if not stopped and time >= deadline:
                _warn_of_the_end("lbfgs", f"time ({self.max_time} seconds)")
                stopped = True
            if stopped:
                raise StopIteration

        options = {"maxfun": self.max_fun, "maxiter": self.max_iter, "gtol": self.tol}
        if sp_version < parse_version("1.15"):  # later ones warn of it, and print nothing
            options["iprint"] = 1 if self.verbose >= 1 else -1
        try:
            result = minimize(evaluate, theta, method="L-BFGS-B", jac=slope, options=options, callback=iteration_ended)
            theta = result.x
            self.loss_ = float(result.fun)
            if not stopped:
                self.n_iter_ = _check_optimize_result("lbfgs", result, self.max_iter)
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=2)
        finally:
            self.coefs_, self.intercepts_ = weights()

    # ---- predict -------------------------------------------------------------------------------------------------

    def _outputs(self, X: Any, both: bool = False) -> np.ndarray:
        """The outputs of the fitted network for X, shape (n_samples, n_outputs_); or with `both` of a network with one
        output p the rows (1 - p, p).

        The weights are read from `coefs_` and `intercepts_` at every call, so what a user writes there counts.
        """
        state = self.__dict__
        plan = None
        if type(X) is np.ndarray and X.ndim == 2 and "feature_names_in_" not in state:
            plan = state.get("_plan")
        if plan is not None:
            out = np.empty((X.shape[0], 2 if both else self.n_outputs_), X.dtype)
            ungrouped = self.coefs_, self.intercepts_, self.activation, self.out_activation_, ()
            if plan.forward(X, out, ungrouped, True, both):
                return out
            known = *ungrouped[:4], self._output_groups()  # to ask for them before would take a seventh of a row
            if plan.forward(X, out, known, True, both, resolve_threads(self.n_jobs)):
                return out
        check_is_fitted(self, "coefs_")
        X = check_rows(self, X)
        activations, groups = self._activations(), self._output_groups()
        if plan is not None and X.dtype == self.coefs_[0].dtype:
            plan.bind(activations, (*ungrouped[:4], groups))
        outputs = forward(X, self.coefs_, self.intercepts_, activations, self.n_jobs, output_groups=groups)
        return both_classes(outputs) if both else outputs

    def _activations(self) -> list[Activation]:
        """What each layer of the fitted network applies, in the engine's words."""
        return [*hidden_activations(self.activation, self.n_layers_ - 2), self.out_activation_]

    # ---- partial_fit ---------------------------------------------------------------------------------------------

    def _check_solver(self) -> bool:
        """Whether partial_fit exists: it needs a solver that takes steps."""
        if self.solver not in STOCHASTIC_SOLVERS:
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic."
            )
        return True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _warn_of_the_end(solver: str, limit: str) -> None:
    warnings.warn(
        f"{solver}: Maximum {limit} reached and the optimization hasn't converged yet.",
        ConvergenceWarning,
        stacklevel=3,
    )


def _columns(Y: Array) -> Array:
    return Y.reshape(-1, 1) if Y.ndim == 1 else Y


def _sample(dtype: np.dtype, X: Any, Y: Array, weights: Array | None) -> Sample:
    return Sample(X, as_rows(X, dtype), dense_rows(Y, dtype), weights)


def _arrays(init: Sequence[Any], layer_sizes: list[int]) -> tuple[list[Array], list[Array]]:
    """Copies of the (coefs, intercepts) that the user wants training to start from; ValueError unless they fit."""
    shapes = list(pairwise(layer_sizes)), [(size,) for size in layer_sizes[1:]]
    try:
        coefs, intercepts = ([np.array(array, np.float64) for array in part] for part in init)
    except (TypeError, ValueError) as error:
        raise ValueError(f"init must be a name or arrays of numbers, (coefs, intercepts): {error}") from None
    found = [w.shape for w in coefs], [w.shape for w in intercepts]
    if found != shapes:
        raise ValueError(f"The arrays of init must have the shapes {shapes}, got {found}.")
    if not all(np.isfinite(w).all() for w in coefs + intercepts):
        raise ValueError("The arrays of init must be finite.")
    return coefs, intercepts
