"""Fitted models from scikit-learn's estimators and back: `from_sklearn` and `to_sklearn`.

The only module that imports scikit-learn's networks and its perceptron. What both have by the same name is copied;
named here is what only one of the two has.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import sklearn.linear_model
import sklearn.neural_network
from sklearn.neural_network._base import ACTIVATIONS
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import InvalidParameterError, validate_parameter_constraints
from sklearn.utils.validation import check_is_fitted

from nnfast._base import HISTORY
from nnfast._classifier import MLPClassifier
from nnfast._layers import hidden_activations
from nnfast._network import MLP
from nnfast._perceptron import Perceptron
from nnfast._regressor import MLPRegressor
from nnfast._schedules import AdaptiveRate, ConstantRate, InverseScalingRate

_THEIRS: dict[type, type] = {
    MLPClassifier: sklearn.neural_network.MLPClassifier,
    MLPRegressor: sklearn.neural_network.MLPRegressor,
    Perceptron: sklearn.linear_model.Perceptron,
}
_OURS = {theirs: ours for ours, theirs in _THEIRS.items()}


def to_sklearn(model: Any) -> Any:
    """A scikit-learn estimator that predicts as this one does.

    It has the weights, the fitted attributes and the state of the optimizer: ``partial_fit`` and ``warm_start`` go on
    from there, to rounding as they would here. Nothing is shared between the two.

    Parameters
    ----------
    model : MLPClassifier, MLPRegressor or Perceptron
        Fitted.

    Returns
    -------
    model : sklearn.neural_network.MLPClassifier, sklearn.neural_network.MLPRegressor or \
            sklearn.linear_model.Perceptron

    Raises
    ------
    ValueError
        When scikit-learn has nothing that predicts so: activations such as 'gelu', different ones in the layers,
        classes in several columns, a list of quantiles, a neuron that is no step.
    TypeError
        When it is none of these estimators.
    NotFittedError
        When it is not fitted.

    Warns
    -----
    UserWarning
        When the model was trained in a way that scikit-learn does not have, such as with dropout. Predictions are the
        same; training that goes on there goes on without.

    Examples
    --------
    >>> import nnfast
    >>> X, y = [[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]], [0, 0, 1, 1]
    >>> model = nnfast.MLPClassifier(solver="lbfgs", random_state=0).fit(X, y)
    >>> theirs = nnfast.to_sklearn(model)
    >>> type(theirs).__module__.split(".")[0], theirs.predict(X)
    ('sklearn', array([0, 0, 1, 1]))
    """
    if type(model) not in _THEIRS:
        raise TypeError(f"to_sklearn takes MLPClassifier, MLPRegressor or Perceptron of nnfast, got {type(model)}")
    check_is_fitted(model)
    theirs = _THEIRS[type(model)]()
    lost = _give_parameters(model, theirs)
    if lost:
        these = ", ".join(f"{name}={value!r}" for name, value in sorted(lost.items()))
        warnings.warn(f"scikit-learn has no {these}: training that goes on there goes on without.", stacklevel=2)
    own = {"history_", "validation_loss_curve_", "_optimizer", "_average", "_network", "_unfinished", "_averages"}
    _copy_attributes(model, theirs, (type(model)._kept.keys() | {"_label_binarizer"}) - own)
    if type(model) is not Perceptron:
        theirs._random_state = check_random_state(theirs.random_state)
        if theirs.out_activation_ == "ordered":  # of one level, which stays as it is
            theirs.out_activation_ = "identity"
        theirs._best_coefs, theirs._best_intercepts = copy.deepcopy((model.coefs_, model.intercepts_))
        if hasattr(model, "_optimizer") and model._network.solver in ("sgd", "adam", "adamw"):
            theirs._optimizer = _their_optimizer(model._network, model._optimizer)
    return theirs


def from_sklearn(model: Any) -> Any:
    """The estimator of nnfast that predicts as this one of scikit-learn does.

    It has the parameters, the weights, the fitted attributes and the state of the optimizer: ``partial_fit`` and
    ``warm_start`` go on from there, to rounding as they would there. Nothing is shared between the two.

    Parameters
    ----------
    model : sklearn.neural_network.MLPClassifier, sklearn.neural_network.MLPRegressor or \
            sklearn.linear_model.Perceptron
        Fitted.

    Returns
    -------
    model : MLPClassifier, MLPRegressor or Perceptron
        ``history_`` has the losses and scores of the epochs, and NaN for what scikit-learn does not record.

    Raises
    ------
    TypeError
        When it is none of these estimators.
    ValueError
        When its attributes do not fit each other.
    NotFittedError
        When it is not fitted.

    Examples
    --------
    >>> import nnfast
    >>> from sklearn.linear_model import Perceptron
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 0, 0, 1]
    >>> nnfast.from_sklearn(Perceptron(tol=None, max_iter=20).fit(X, y)).predict(X)
    array([0, 0, 0, 1])
    """
    if type(model) not in _OURS:
        raise TypeError(
            "from_sklearn takes MLPClassifier, MLPRegressor or Perceptron of scikit-learn, fitted and by itself, "
            f"got {type(model)}"
        )
    check_is_fitted(model)
    ours = _OURS[type(model)](**copy.deepcopy(model.get_params(deep=False)))
    _copy_attributes(model, ours, ours._kept.keys() - {"_optimizer"})
    if not isinstance(ours, Perceptron):
        n_epochs = len(getattr(model, "loss_curve_", ()))
        ours.history_ = {name: [math.nan] * n_epochs for name in HISTORY}
        if hasattr(model, "_optimizer"):
            ours.history_["loss"] = [*model.loss_curve_]
            ours.validation_loss_curve_ = None
            if model.validation_scores_ is not None:
                ours.validation_loss_curve_ = [math.nan] * n_epochs
                ours.history_["validation_score"] = [*model.validation_scores_]
            ours._restore_target()
            ours._average, ours._network = None, ours._as_network()
            ours._optimizer = _take_optimizer(model._optimizer, ours._network)
            ours._optimizer.epochs = n_epochs
    return ours._from_state(ours._to_state())


def _copy_attributes(source: Any, target: Any, names: Iterable[str]) -> None:
    for name in names:
        if name in vars(source):
            setattr(target, name, copy.deepcopy(vars(source)[name]))


# ---- parameters ------------------------------------------------------------------------------------------------------


def _give_parameters(model: Any, theirs: Any) -> dict[str, Any]:
    """Set scikit-learn's parameters; gives those that it has no counterpart of. ValueError where predictions need one.

    A value that scikit-learn does not know becomes its default.
    """
    lost = {}
    given, defaults = model.get_params(deep=False), type(model)().get_params(deep=False)
    counterparts = _counterparts(model)
    constraints, name_of_class = type(theirs)._parameter_constraints, type(theirs).__name__
    for name in theirs.get_params(deep=False):
        value = counterparts.get(name, given[name])
        try:
            validate_parameter_constraints(constraints, {name: value}, name_of_class)
            setattr(theirs, name, copy.deepcopy(value))
        except InvalidParameterError:
            lost[name] = value
    for name in given.keys() - theirs.get_params(deep=False).keys() - {"n_jobs"}:
        if np.any(given[name] != defaults[name]):
            lost[name] = given[name]
    if "loss" in lost and model.out_activation_ == "exp":
        theirs.loss = "poisson"  # the other one with such outputs
    return lost


def _counterparts(model: Any) -> dict[str, Any]:
    """Parameters that scikit-learn has in other words; ValueError where it cannot predict so."""
    if isinstance(model, Perceptron):
        if model.activation != "step":
            raise ValueError(f"scikit-learn's Perceptron is a step, it has no activation={model.activation!r}")
        return {}
    each = set(hidden_activations(model.activation, model.n_layers_ - 2)) or {"relu"}
    if len(each) > 1 or not each <= ACTIVATIONS.keys():
        raise ValueError(
            "scikit-learn's networks have one activation for all layers, 'identity', 'logistic', 'tanh' or 'relu'; "
            f"this one has {model.activation!r}"
        )
    if model.out_activation_ not in ACTIVATIONS and np.ndim(model.quantile) > 0:
        raise ValueError("scikit-learn's MLPRegressor has no levels of a distribution: loss='quantile'")
    if isinstance(getattr(model, "classes_", None), list):
        raise ValueError(f"scikit-learn's MLPClassifier takes one column of classes, this one has {model.classes_}")
    return {"activation": each.pop()}


# ---- the state of the optimizer --------------------------------------------------------------------------------------


def _their_optimizer(network: MLP, schedule: ConstantRate) -> Any:
    """scikit-learn's optimizer in the state that the network's is in. Both keep the same moments and velocities."""
    moments = [copy.deepcopy(coefs + intercepts) for coefs, intercepts in network._state]
    weights = network.coefs_ + network.intercepts_
    if network.solver == "sgd":
        kinds = {InverseScalingRate: "invscaling", AdaptiveRate: "adaptive"}
        optimizer = SGDOptimizer(weights, schedule.initial, kinds.get(type(schedule), "constant"))
        optimizer.momentum, optimizer.nesterov = network.momentum, network.nesterovs_momentum
        optimizer.power_t = getattr(schedule, "power", optimizer.power_t)
        optimizer.learning_rate = schedule.learning_rate
        if moments:
            (optimizer.velocities,) = moments
        return optimizer
    optimizer = AdamOptimizer(weights, schedule.initial, network.beta_1, network.beta_2, network.epsilon)
    if moments:
        optimizer.t = network.n_steps_
        optimizer.ms, optimizer.vs = moments
        optimizer.learning_rate *= float(np.sqrt(1 - network.beta_2**optimizer.t) / (1 - network.beta_1**optimizer.t))
    return optimizer


def _take_optimizer(optimizer: Any, network: MLP) -> ConstantRate:
    """Bring the network's optimizer into the state of scikit-learn's; gives the schedule that goes with it."""
    initial = optimizer.learning_rate_init
    if isinstance(optimizer, SGDOptimizer):
        network.solver, network.momentum, network.nesterovs_momentum = "sgd", optimizer.momentum, optimizer.nesterov
        moments = [optimizer.velocities]
        if optimizer.lr_schedule == "invscaling":
            schedule: ConstantRate = InverseScalingRate(initial, optimizer.power_t)
        else:
            schedule = AdaptiveRate(initial) if optimizer.lr_schedule == "adaptive" else ConstantRate(initial)
        schedule.learning_rate = float(optimizer.learning_rate)
    else:
        network.solver, network.n_steps_ = "adam", optimizer.t
        network.beta_1, network.beta_2, network.epsilon = optimizer.beta_1, optimizer.beta_2, optimizer.epsilon
        moments = [optimizer.ms, optimizer.vs]
        schedule = ConstantRate(initial)
    n_layers = len(network.coefs_)
    parts = [[np.array(array, network.dtype) for array in part] for part in moments[: network._n_states()]]
    network._state = [(part[:n_layers], part[n_layers:]) for part in parts]
    vars(network).pop("classes_", None)  # they are the estimator's
    return schedule
