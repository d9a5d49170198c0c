"""What MLPClassifier and MLPRegressor share: the parameter table, the input checks and the ways to train.

Python owns the epochs, the engine runs each one (`nnfast._network.Training.epoch`). The loop is `BaseMLP._train`; what
it decides with are two small parts, `_Patience` (when has training stopped improving) and `_ConstantRate` and its
descendants (the learning rate, and what a stall means for it), and what is held out from it (`nnfast._validation`).
With L-BFGS SciPy owns the iterations (`BaseMLP._minimise`).

The semantics, the texts and the order of the random draws are those of scikit-learn 1.9.1. This module and those that
use it are the ones that import scikit-learn; `nnfast/__init__.py` loads them when an estimator is first touched.
"""

from __future__ import annotations

import copy
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from numbers import Integral, Real
from operator import index
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, minimize
from sklearn.base import BaseEstimator, _fit_context, is_classifier
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring, get_scorer_names
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.fixes import _get_additional_lbfgs_options_dict
from sklearn.utils.optimize import _check_optimize_result
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from nnfast._network import (
    MLP,
    STOCHASTIC_SOLVERS,
    Array,
    Objective,
    Plan,
    SparseRows,
    Training,
    as_rows,
    both_classes,
    canonical_activation,
    dense_rows,
    forward,
    is_sound,
    reshuffle,
)
from nnfast._validation import Part, Sample, hold_out, mean_loss


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


class _Tasks:
    """What scikit-learn's callbacks are told: the fit is a task, and each of its epochs or iterations one within it.

    Without callbacks, all that is done is to take the fit's place among the tasks of a meta-estimator.
    """

    def __init__(self, estimator: BaseMLP, name: str, most: int, X: Any, y: Any, sample_weight: Any) -> None:
        self._estimator = estimator
        self._name = name
        self._told = hasattr(estimator, "_skl_callbacks")
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._facts = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self._fit = estimator._init_callback_context(max_subtasks=most)
        self._fit.call_on_fit_task_begin(**self._facts)
        self._task: Any = None

    def begin(self, weights: Callable[[], tuple[list[Array], list[Array]]]) -> None:
        """A task begins, unless it has already; `weights` gives (coefs, intercepts) to who wants to see them."""
        if self._told and self._task is None:
            self._task = self._fit.subcontext(task_name=self._name)
            self._task.call_on_fit_task_begin(**self._facts, reconstruction_attributes=_attributes(weights))

    def end(self, weights: Callable[[], tuple[list[Array], list[Array]]]) -> bool:
        """The task ends; whether a callback asks to stop."""
        if self._task is None:
            return False
        task, self._task = self._task, None
        return task.call_on_fit_task_end(**self._facts, reconstruction_attributes=_attributes(weights))

    def finish(self) -> None:
        """The fit ends; a task that began and came to nothing ends with it."""
        if self._task is not None:
            self._task.call_on_fit_task_end(estimator=self._estimator)
        self._fit.call_on_fit_task_end(**self._facts, reconstruction_attributes={})


def _attributes(weights: Callable[[], tuple[list[Array], list[Array]]]) -> Callable[[], dict[str, Any]]:
    return lambda: dict(zip(("coefs_", "intercepts_"), weights(), strict=True))


class BaseMLP(CallbackSupportMixin, BaseEstimator, ABC):
    """Base of the MLP estimators. Subclasses say what y means; everything about training is here."""

    _parameter_constraints: ClassVar[dict] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({"identity", "logistic", "sigmoid", "tanh", "relu", "leaky_relu"})],
        "solver": [StrOptions({"lbfgs", *STOCHASTIC_SOLVERS})],
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
        "scoring": [StrOptions({*get_scorer_names(), "loss"}), callable, None],
        "weight_decay": [Interval(Real, 0, None, closed="left"), None],
    }

    loss_curve_: list[float]
    best_loss_: Any  # float; None with early stopping
    validation_scores_: Any  # list of float; None without validation data
    best_validation_score_: Any  # float; None without validation data
    validation_loss_curve_: Any  # list of float; None without validation data
    _no_improvement_count: int

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
    def _network_loss(self) -> str:
        """The loss in the words of `nnfast.MLP`; it brings the output activation with it."""

    @abstractmethod
    def _validation_score(self, outputs: Array, Y: Array, weights: Array | None) -> float:
        """scikit-learn's score of these outputs, which are finite, for `scoring=None`."""

    def _output_groups(self) -> tuple[int, ...]:
        """Sizes of the groups of outputs that are a softmax each; none when they all are one, or none is."""
        return ()

    def _class_weights(self, y: Array, incremental: bool) -> Array | None:
        """How much each row counts for the sake of its class."""
        return None

    # ---- fit -----------------------------------------------------------------------------------------------------

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None):
        """Fit the model to data matrix X and target(s) y.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data. float32 is trained in float32; anything else in float64. Sparse data stays sparse.

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

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            A parameter is out of range, X or y is malformed, or training diverged to non-finite weights.
        """
        return self._fit(X, y, sample_weight, incremental=False, validation=(X_val, y_val, sample_weight_val))

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool, validation: tuple[Any, Any, Any] = (None,) * 3
    ) -> Self:
        hidden_layer_sizes = self._hidden_layer_sizes()
        if self.solver == "lbfgs" and self.weight_decay:
            raise ValueError(
                f"weight_decay={self.weight_decay} is part of a step of {', '.join(STOCHASTIC_SOLVERS)}; "
                "solver='lbfgs' takes none. Its penalty on the weights is alpha."
            )
        afresh = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        given = X, y, sample_weight
        X, y = self._check_data(X, y, reset=afresh)
        self._learn_target(y, incremental)
        Y = _columns(self._encode(y))
        weights = self._check_weights(sample_weight, X, y, incremental)
        held_out = self._check_validation(*validation, X.dtype, Y.shape[1])
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")

        # One generator for the whole fit; the draws are the weights, then the validation split, then the row orders.
        rng = check_random_state(self.random_state)
        layer_sizes = [X.shape[1], *hidden_layer_sizes, Y.shape[1]]
        if afresh:
            network = self._new_network(layer_sizes, X.dtype, random_state=rng)
        else:
            network = self._continued_network(layer_sizes, X.dtype, incremental)
        self.n_layers_ = len(network.coefs_) + 1
        self.n_outputs_ = Y.shape[1]
        self.out_activation_ = network.out_activation_
        self.coefs_, self.intercepts_ = network.coefs_, network.intercepts_
        self.n_iter_ = 0
        self._plan = Plan()
        stochastic = self.solver in STOCHASTIC_SOLVERS
        self._reset(afresh, stochastic, held_out is not None or self.early_stopping)

        tasks = None
        if not incremental:
            # L-BFGS may begin an iteration and not end it.
            name, most = ("epoch", self.max_iter) if stochastic else ("lbfgs-iter", self.max_iter + 1)
            tasks = _Tasks(self, name, most, *given)
        if stochastic:
            if not (incremental and hasattr(self, "_optimizer")):
                self._optimizer = self._schedule()
            self._network = network
            rows = None
            if self.early_stopping and held_out is None:
                # As in scikit-learn, only a single output is stratified: three or more classes have a column each.
                stratify = Y if is_classifier(self) and Y.shape[1] == 1 else None
                rows, held_out = hold_out(X, Y, weights, self.validation_fraction, rng, stratify)
            judges = None if held_out is None else _sample(network.dtype, *held_out)
            self._train(network, _sample(network.dtype, X, Y, weights), rows, judges, rng, tasks)
        else:
            self._minimise(network, _sample(network.dtype, X, Y, weights), tasks)

        if not all(np.isfinite(w).all() for w in self.coefs_ + self.intercepts_):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may"
                " contain large values and need to be preprocessed."
            )
        if tasks is not None:
            tasks.finish()
        return self

    def _check_data(self, X: Any, y: Any, reset: bool, dtype: Any = (np.float64, np.float32)) -> tuple[Any, Array]:
        """X as float32 or float64 in C order, or a CSR matrix of these; y one- or two-dimensional."""
        numeric = not is_classifier(self)
        X, y = validate_data(
            self, X, y, accept_sparse="csr", multi_output=True, y_numeric=numeric, dtype=dtype, order="C", reset=reset
        )
        return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _check_weights(self, sample_weight: Any, X: Any, y: Array, incremental: bool) -> Array | None:
        """The weight of each row, its class's included; None when all count alike."""
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X).astype(np.float64, copy=False)
        class_weights = self._class_weights(y, incremental)
        if class_weights is None:
            return sample_weight
        return _check_sample_weight(class_weights if sample_weight is None else sample_weight * class_weights, X)

    def _check_validation(self, X: Any, y: Any, weights: Any, dtype: Any, n_outputs: int) -> Part | None:
        """The validation data given to fit."""
        if X is None and y is None and weights is None:
            return None
        if X is None or y is None:
            raise ValueError("X_val and y_val must be given together, and sample_weight_val only with them.")
        X, y = self._check_data(X, y, reset=False, dtype=dtype)
        self._check_target(y, "y_val")
        Y = _columns(self._encode(y))
        if Y.shape[1] != n_outputs:
            raise ValueError(f"y_val stands for {Y.shape[1]} outputs, y for {n_outputs}.")
        return X, Y, None if weights is None else _check_sample_weight(weights, X).astype(np.float64, copy=False)

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
            output_groups=self._output_groups(),
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
            weight_decay=self.weight_decay,
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
            network.weight_decay = self.weight_decay
            network.n_jobs = self.n_jobs
            return network
        common = np.result_type(*weights)
        return self._new_network(
            sizes, common if common in (np.float32, np.float64) else dtype, start=(self.coefs_, self.intercepts_)
        )

    def _reset(self, afresh: bool, stochastic: bool, validated: bool) -> None:
        """Set what records the course of training to what it is before the first epoch.

        It goes on from where it is, unless the fit starts afresh. L-BFGS has no record.
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
        for name, start in record.items():
            if not stochastic:
                self.__dict__.pop(name, None)
            elif afresh or getattr(self, name, None) is None:
                setattr(self, name, start)
        if not stochastic:
            for name in ("_optimizer", "_network"):
                self.__dict__.pop(name, None)

    def _schedule(self) -> _ConstantRate:
        if self.solver == "sgd" and self.learning_rate == "invscaling":
            return _InverseScalingRate(self.learning_rate_init, self.power_t)
        if self.solver == "sgd" and self.learning_rate == "adaptive":
            return _AdaptiveRate(self.learning_rate_init)
        return _ConstantRate(self.learning_rate_init)

    def _batch_rows(self, n_rows: int) -> int:
        if self.batch_size == "auto":
            return min(200, n_rows)
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
        tasks: _Tasks | None,
    ) -> None:
        """Run epochs until training stops improving, max_iter is reached, a callback asks to stop, or Ctrl-C.

        Learns from these rows of the sample, or from all. Leaves the weights of the last step in `coefs_` and
        `intercepts_`, or the best ones with early stopping. Without tasks, in partial_fit, one epoch is all.
        """
        n_rows = len(sample.Y) if rows is None else len(rows)
        batch_size = self._batch_rows(n_rows)
        order = np.arange(n_rows, dtype=np.int64) if rows is None and self.shuffle else rows
        scorer = None if self.scoring in (None, "loss") else check_scoring(self, self.scoring)
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
            with network.training(batch_size, sparse=isinstance(sample.rows, SparseRows)) as training:
                try:
                    while self.n_iter_ < self.max_iter:
                        if tasks is not None:
                            tasks.begin(training.snapshot)
                        if order is not None and self.shuffle:
                            reshuffle(order, rng)
                        network.learning_rate = schedule.learning_rate
                        data, penalty = training.epoch(sample.rows, sample.Y, batch_size, order, sample.weights)
                        self._record_epoch(data / n_averaged + penalty, n_rows)

                        if held_out is not None:
                            score = self._record_validation(training, held_out, scorer)
                        if self.early_stopping:
                            if patience.update(score):
                                self.coefs_, self.intercepts_ = training.snapshot()
                        else:
                            patience.update(-self.loss_)
                            self.best_loss_ = -patience.best
                        self._no_improvement_count = patience.count

                        schedule.epoch_ended(self.t_)
                        stop = tasks is None or tasks.end(training.snapshot)
                        if patience.exhausted:
                            stalled, action = schedule.stalled()
                            if self.verbose:
                                print(patience.message, action)
                            if stalled:
                                break
                            self._no_improvement_count = patience.count = 0
                        if stop:
                            break
                    else:
                        warnings.warn(
                            f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) "
                            "reached and the optimization hasn't converged yet.",
                            ConvergenceWarning,
                            stacklevel=2,
                        )
                finally:
                    # Before the visit ends: so the old weights are gone when the optimizer's state is copied.
                    training.settle((self.coefs_, self.intercepts_) if self.early_stopping else None)
                    self.coefs_, self.intercepts_ = network.coefs_, network.intercepts_
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=2)

    def _record_epoch(self, loss: float, n_rows: int) -> None:
        self.n_iter_ += 1
        self.t_ += n_rows
        self.loss_ = loss
        self.loss_curve_.append(loss)
        if self.verbose:
            print(f"Iteration {self.n_iter_}, loss = {loss:.8f}")

    def _record_validation(self, training: Training, held_out: Sample, scorer: Callable | None) -> float:
        """The score of the weights as they are now on the rows held out, in the records too."""
        outputs = training.forward(held_out.rows)
        loss = mean_loss(training.network.loss_name, outputs, held_out.Y, held_out.weights)
        if self.scoring == "loss":
            score = -loss
        elif not np.isfinite(outputs).all():
            score = np.nan
        elif scorer is None:
            score = self._validation_score(outputs, held_out.Y, held_out.weights)
        else:
            weights = {} if held_out.weights is None else {"sample_weight": held_out.weights}
            model = copy.copy(self)
            model.coefs_, model.intercepts_ = training.snapshot()
            model._plan = Plan()
            model.__dict__.pop("feature_names_in_", None)  # the names of the columns are checked and gone
            score = float(scorer(model, held_out.X, self._decode(held_out.Y), **weights))
        self.validation_loss_curve_.append(loss)
        self.validation_scores_.append(score)
        if score > self.best_validation_score_:
            self.best_validation_score_ = score
        if self.verbose:
            print(f"Validation score: {score:f}")
        return score

    # ---- L-BFGS --------------------------------------------------------------------------------------------------

    def _minimise(self, network: MLP, sample: Sample, tasks: _Tasks | None) -> None:
        """Let SciPy's L-BFGS-B find the weights; Ctrl-C leaves those of the last iteration."""
        objective = Objective(network, sample.rows, sample.Y, sample.weights)
        theta, stopped = objective.start, False

        def weights() -> tuple[list[Array], list[Array]]:
            return objective.unpack(theta)

        def evaluate(point: Array) -> tuple[float, Array]:
            if tasks is not None:
                tasks.begin(weights)
            return objective(point)

        def iteration_ended(intermediate_result: OptimizeResult) -> None:
            nonlocal theta, stopped
            theta = intermediate_result.x.copy()
            self.loss_ = float(intermediate_result.fun)
            self.n_iter_ += 1
            if tasks is not None and tasks.end(weights):
                stopped = True
                raise StopIteration

        options = {"maxfun": self.max_fun, "maxiter": self.max_iter, "gtol": self.tol}
        options |= _get_additional_lbfgs_options_dict("iprint", 1 if self.verbose >= 1 else -1)
        try:
            result = minimize(evaluate, theta, method="L-BFGS-B", jac=True, options=options, callback=iteration_ended)
            theta = result.x
            self.loss_ = float(result.fun)
            if not stopped:
                self.n_iter_ = _check_optimize_result("lbfgs", result, self.max_iter)
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=2)
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
            if plan.forward(X, out, self.coefs_, self.intercepts_, self.activation, self.out_activation_, True, both):
                return out
        check_is_fitted(self, "coefs_")
        # What validate_data would find. Of 1,000 rows with 20 columns its checks take 200 microseconds, twice the rest.
        sound = plan is not None and X.shape[0] > 0 and X.shape[1] == state.get("n_features_in_", X.shape[1])
        if not (sound and is_sound(X)):
            X = validate_data(self, X, accept_sparse="csr", reset=False)
        hidden = canonical_activation(self.activation)
        activations = [hidden] * (self.n_layers_ - 2) + [self.out_activation_]
        groups = self._output_groups()
        if plan is not None and not groups and X.dtype == self.coefs_[0].dtype:
            plan.bind(self.coefs_, self.intercepts_, activations, self.activation, self.out_activation_)
        outputs = forward(X, self.coefs_, self.intercepts_, activations, self.n_jobs, output_groups=groups)
        return both_classes(outputs) if both else outputs

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
        return tags


def _columns(Y: Array) -> Array:
    return Y.reshape(-1, 1) if Y.ndim == 1 else Y


def _sample(dtype: np.dtype, X: Any, Y: Array, weights: Array | None) -> Sample:
    return Sample(X, as_rows(X, dtype), dense_rows(Y, dtype), weights)
