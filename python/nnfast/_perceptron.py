"""Perceptron: one neuron per class, trained sample by sample.

Python owns the epochs (stopping, validation, verbose output), the engine runs each one (`nnfast._core.Neuron`). With
the default `activation="step"` the semantics, the texts, the order of the random draws and the bits of the weights are
those of scikit-learn 1.9.1's `sklearn.linear_model.Perceptron`.
"""

from __future__ import annotations

import time
import warnings
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, NotRequired, Self

import numpy as np
from joblib import Parallel, delayed
from scipy.linalg import get_blas_funcs
from scipy.sparse import csr_array, issparse, sparray, spmatrix
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.multiclass import _check_partial_fit_first_call, unique_labels
from sklearn.utils.validation import check_is_fitted

from nnfast import _core, ops
from nnfast._checks import (
    check_data,
    check_parameters,
    check_rows,
    check_target,
    generator,
    is_same,
    labels_of,
    weights_of_classes,
)
from nnfast._kept import Kept, check_feature_names
from nnfast._outputs import check_classes
from nnfast._resuming import Attempt
from nnfast._rows import Array
from nnfast._sklearn import as_configured, check_sample_weight

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_SEED = np.iinfo(np.int32).max
MAX_FEATURES = np.iinfo(np.int32).max  # of the engine, which numbers columns so

# On sparse rows the intercept, which every sample moves, learns this much slower than the weights, which few move.
SPARSE_INTERCEPT_RATE = 0.01


class _Rule(NamedTuple):
    """What an activation means for training: its engine name, the targets of the two classes, the function itself."""

    name: str
    negative: float
    positive: float
    activate: Callable[[Any], Any] | None

    @property
    def midpoint(self) -> float:
        """Of the targets: what is above it is more like the positive class."""
        return (self.negative + self.positive) / 2

    def decide(self, z: Any) -> Any:
        """Decision values of weighted sums: positive for the positive class."""
        if self.activate is None:
            return z
        return self.activate(z) - self.midpoint


RULES = {
    "step": _Rule("step", -1.0, 1.0, None),
    "sigmoid": _Rule("logistic", 0.0, 1.0, ops.sigmoid),
    "logistic": _Rule("logistic", 0.0, 1.0, ops.sigmoid),
    "tanh": _Rule("tanh", -1.0, 1.0, ops.tanh),
    "relu": _Rule("relu", 0.0, 1.0, ops.relu),
    "leaky_relu": _Rule("leaky_relu", 0.0, 1.0, ops.leaky_relu),
}


def _scores(X: Any, coef: Any, intercept: Any, product: Callable[[Any, Any], Any]) -> Any:
    """Weighted sums (n_samples,), or (n_samples, n_classes) with several rows in coef."""
    scores = product(X, coef.T) + intercept
    return scores.reshape(-1) if scores.ndim > 1 and scores.shape[1] == 1 else scores


def _blas_product(X: Any, W: Any) -> Any:
    """As scikit-learn multiplies. Early stopping needs its very sums: a tie decides when to stop."""
    return safe_sparse_dot(X, W, dense_output=True)


def _product(X: Any, W: Any) -> Any:
    """Likewise, but a row of the result does not depend on the other rows, as it may in a BLAS."""
    if issparse(X) or issparse(W):
        return _blas_product(X, W)
    # Of a frame with pandas' own types scikit-learn 1.6 makes an array of objects.
    return ops.matmul(X.astype(np.float64) if X.dtype in (np.longdouble, object) else X, W)


def _check_csr(X: Any) -> None:
    """The engine follows the indices of a CSR matrix; scipy does not check that they stay inside it."""
    starts = X.indptr
    indices = X.indices[: starts[-1]]
    if starts[0] != 0 or np.any(starts[1:] < starts[:-1]) or starts[-1] > min(len(X.indices), len(X.data)):
        raise ValueError("The index pointer of the sparse matrix X is invalid.")
    if indices.size and (indices.min() < 0 or indices.max() >= X.shape[1]):
        raise ValueError("The sparse matrix X has column indices outside its shape.")


def _starting_weights(n_classes: int, X: Any, coef_init: Any, intercept_init: Any) -> tuple[Any, Any]:
    """Fresh weights and intercepts in X's dtype: those given, else zeros. One neuron for two classes."""
    n_features = X.shape[1]
    several = n_classes > 2
    shape = (n_classes, n_features) if several else (n_features,)
    coef = np.zeros(shape, dtype=X.dtype)
    if coef_init is not None:
        coef_init = np.asarray(coef_init, dtype=X.dtype)
        if (coef_init if several else coef_init.ravel()).shape != shape:
            name = "``coef_``" if several else "coef_init"
            raise ValueError(f"Provided {name} does not match dataset.{' ' if several else ''}")
        coef[:] = coef_init.reshape(shape)
    intercept = np.zeros(n_classes if several else 1, dtype=X.dtype)
    if intercept_init is not None:
        intercept_init = np.asarray(intercept_init, dtype=X.dtype)
        if intercept_init.shape != intercept.shape and (several or intercept_init.shape != ()):
            raise ValueError("Provided intercept_init does not match dataset.")
        intercept[:] = intercept_init
    return coef, intercept


class _Averages(NamedTuple):
    """Of several neurons: the weights that training goes on from, and the sums of the weights that count."""

    coef: Any  # (n_neurons, n_features) in X's dtype
    intercept: Any  # (n_neurons,)
    coef_sum: Any  # (n_neurons, n_features) float64
    intercept_sum: Any  # (n_neurons,) float64
    n_averaged: Any  # (n_neurons,) samples that count

    @classmethod
    def starting(cls, coef: Any, intercept: Any) -> Self:
        """No sample counts yet."""
        n_neurons = len(intercept)
        return cls(coef, intercept, np.zeros(coef.shape), np.zeros(n_neurons), np.zeros(n_neurons, np.intp))

    def going_on(self, coef: Any, intercept: Any) -> Self:
        """With other weights, and sums of their own to add to."""
        return self._replace(
            coef=coef,
            intercept=intercept,
            coef_sum=self.coef_sum.copy(),
            intercept_sum=self.intercept_sum.copy(),
            n_averaged=self.n_averaged.copy(),
        )

    def of(self, neuron: int) -> Self:
        """Views of one neuron's."""
        return type(self)(*(part[neuron : neuron + 1] for part in self))

    def means(self) -> tuple[Any, Any]:
        """coef_ and intercept_: the means, or a neuron's weights themselves while none of its samples counts."""
        begun = self.n_averaged > 0
        if not begun.any():
            return self.coef, self.intercept
        n = np.maximum(self.n_averaged, 1)
        coef = np.where(begun[:, None], self.coef_sum / n[:, None], self.coef)
        intercept = np.where(begun, self.intercept_sum / n, self.intercept)
        return coef.astype(self.coef.dtype), intercept.astype(self.coef.dtype)


class _Training:
    """The data and settings that the neurons of one fit share. Several threads may call `run`, each for its neuron."""

    def __init__(self, estimator: Perceptron, X: Any, sample_weight: Any, max_iter: int, t: float) -> None:
        self.estimator = estimator
        self.rule = RULES[estimator.activation]
        self.X = X
        self.sample_weight = sample_weight
        self.max_iter = max_iter
        self.n_unaveraged = max(0, int(estimator.average - t))
        self.verbose = int(estimator.verbose)
        self.tol = -np.inf if estimator.tol is None else estimator.tol
        self.l1_ratio = estimator.l1_ratio if estimator.penalty == "elasticnet" else float(estimator.penalty == "l1")
        if issparse(X):
            _check_csr(X)
            self.data = {"x": X.data, "indptr": X.indptr, "indices": X.indices}
        else:
            self.data = {"x": X}

    def split(self, y: Any) -> Any:
        """Boolean mask (n_samples,) of the validation samples, or None without early stopping."""
        estimator = self.estimator
        if not estimator.early_stopping:
            return None
        splitter = StratifiedShuffleSplit(test_size=estimator.validation_fraction, random_state=estimator.random_state)
        train, validation = next(splitter.split(np.zeros((len(y), 1)), y))
        if not np.any(self.sample_weight[validation] > 0):
            raise ValueError(
                "The sample weights for validation set are all zero, consider using a different random state."
            )
        if len(train) == 0 or len(validation) == 0:
            raise ValueError(
                f"Splitting {len(y)} samples into a train set and a validation set with validation_fraction="
                f"{estimator.validation_fraction!r} led to an empty set ({len(train)} and {len(validation)} samples). "
                "Please either change validation_fraction, increase number of samples, or disable early_stopping."
            )
        mask = np.zeros(len(y), dtype=np.bool_)
        mask[validation] = True
        return mask

    def run(
        self,
        coef: Any,
        intercept: float,
        positive: Any,
        class_weights: tuple[float, float],
        random_state: Any,
        held_out: Any = None,
        averages: _Averages | None = None,
    ) -> tuple[float, int]:
        """Train one neuron.

        Parameters
        ----------
        coef : ndarray of shape (n_features,)
            Weights in X's dtype; trained in place.
        intercept : float
        positive : ndarray of shape (n_samples,), bool
            The samples that the neuron is to fire at.
        class_weights : (float, float)
            Of the negative and of the positive samples.
        random_state : int, RandomState instance or None
        held_out : ndarray of shape (n_samples,), bool, or None
            Validation samples, when they are already chosen.
        averages : _Averages or None
            Sums of this neuron alone; added to in place.

        Returns
        -------
        intercept : float
        n_iter : int
            Epochs run.
        """
        estimator, rule = self.estimator, self.rule
        dtype = self.X.dtype
        random = generator(random_state)
        random.randint(1, MAX_SEED)  # scikit-learn draws it for its data set, and does not use it here
        if held_out is None:
            held_out = self.split(positive)
        seed = random.randint(MAX_SEED)

        track_norms = self.verbose > 0 or (estimator.penalty is not None and held_out is None)
        square_norm = l1_norm = 0.0
        if track_norms and coef.any():
            # Sums of the same BLAS as scikit-learn's: they enter the first objective.
            dot, asum = get_blas_funcs(("dot", "asum"), (coef,))
            square_norm, l1_norm = dot(coef, coef), asum(coef)
        fit_intercept = SPARSE_INTERCEPT_RATE if issparse(self.X) else 1.0
        sums: dict[str, Any] = {}
        if averages is not None:
            sums = {
                "weight_sum": averages.coef_sum[0],
                "intercept_sum": float(averages.intercept_sum[0]),
                "n_averaged": int(averages.n_averaged[0]),
                "n_unaveraged": self.n_unaveraged,
            }
        neuron = _core.Neuron(
            **self.data,
            target=np.where(positive, dtype.type(rule.positive), dtype.type(rule.negative)),
            sample_weight=self.sample_weight,
            held_out=held_out,
            order=np.arange(len(positive), dtype=np.intc),
            weights=coef,
            l1_applied=np.zeros_like(coef) if estimator.penalty in ("l1", "elasticnet") else None,
            activation=rule.name,
            penalty=estimator.penalty,
            alpha=estimator.alpha,
            l1_ratio=self.l1_ratio,
            eta0=estimator.eta0,
            intercept_rate=fit_intercept if estimator.fit_intercept else 0.0,
            weight_negative=class_weights[0],
            weight_positive=class_weights[1],
            seed=seed if estimator.shuffle else None,
            track_loss=self.verbose > 0 or held_out is None,
            track_norms=track_norms,
            intercept=intercept,
            square_norm=square_norm,
            l1_norm=l1_norm,
            **sums,
        )
        n_iter = self._run_epochs(neuron, coef, positive, held_out)
        neuron.rescale()
        if averages is not None:
            averages.intercept_sum[0] = neuron.intercept_sum
            averages.n_averaged[0] = neuron.n_averaged
        return neuron.intercept, n_iter

    def _run_epochs(self, neuron: _core.Neuron, coef: Any, positive: Any, held_out: Any) -> int:
        """Epochs until the score has not risen by tol for n_iter_no_change of them, or max_iter."""
        start = time.perf_counter()
        n_train = len(positive)
        if held_out is not None:
            n_train -= int(np.count_nonzero(held_out))
            validation = self.X[held_out], positive[held_out], self.sample_weight[held_out]
        limit = int(self.estimator.n_iter_no_change)
        best, stalled = -np.inf, 0
        for n_iter in range(1, self.max_iter + 1):
            if self.verbose > 0:
                print(f"-- Epoch {n_iter}")
            if not neuron.epoch():
                raise ValueError(
                    f"Floating-point under-/overflow occurred at epoch #{n_iter}. "
                    "Scaling input data with StandardScaler or MinMaxScaler might help."
                )
            if held_out is None:
                score = -neuron.objective_sum / n_train
            else:
                score = self._accuracy(neuron, coef, *validation)
            if self.verbose > 0:
                print(
                    f"Norm: {coef.dtype.type(np.sqrt(neuron.square_norm)):.2f}, NNZs: {np.count_nonzero(coef)}, "
                    f"Bias: {neuron.intercept:.6f}, T: {n_iter * n_train}, "
                    f"Avg. loss: {neuron.loss_sum / n_train:f}, Objective: {neuron.objective_sum / n_train:f}"
                    + ("" if held_out is None else f", Validation score: {score:f}")
                )
                print(f"Total training time: {time.perf_counter() - start:.2f} seconds.")
            stalled = stalled + 1 if self.tol > -np.inf and score < best + self.tol else 0
            best = max(best, score)
            if stalled >= limit:
                if self.verbose > 0:
                    print(f"Convergence after {n_iter} epochs took {time.perf_counter() - start:.2f} seconds")
                break
        return n_iter

    def _accuracy(self, neuron: _core.Neuron, coef: Any, X: Any, positive: Any, sample_weight: Any) -> float:
        """Weighted share of the validation samples on the right side."""
        if self.rule.name != "step":
            # For `step` the stored weights lack their scale, as in scikit-learn: that weakens the intercept's share of
            # a sum. A sigmoid needs the true sum.
            coef = coef * coef.dtype.type(neuron.scale)
        scores = _scores(X, coef.reshape(1, -1), np.atleast_1d(neuron.intercept), _blas_product)
        scores = self.rule.decide(scores)
        return float(np.average((scores > 0) == positive, weights=sample_weight))


class Perceptron(ClassifierMixin, Kept, BaseEstimator):
    """Linear perceptron classifier: a single neuron, or one for each class.

    The same parameters, attributes and messages as `sklearn.linear_model.Perceptron`, and the same weights for the same
    `random_state`, bit for bit. New are `activation` and `average`.

    Parameters
    ----------
    penalty : {'l2', 'l1', 'elasticnet'} or None, default=None
        The penalty on the weights.
    alpha : float, default=0.0001
        Strength of the penalty.
    l1_ratio : float, default=0.15
        Share of L1 in 'elasticnet', 0 to 1.
    fit_intercept : bool, default=True
        Whether the neuron has an intercept. With sparse X it learns at 0.01 `eta0`.
    max_iter : int, default=1000
        Most epochs of `fit`. `partial_fit` runs one.
    tol : float or None, default=1e-3
        Training stops when the mean objective, loss plus penalty (with `early_stopping`: the validation score), has not
        improved by `tol` for `n_iter_no_change` epochs in a row. None: run `max_iter` epochs.
    shuffle : bool, default=True
        Whether to visit the samples in a new random order in each epoch.
    verbose : int, default=0
        Above 0, each epoch prints its results.
    eta0 : float, default=1.0
        Learning rate.
    n_jobs : int or None, default=None
        Threads that train the classes of a multiclass problem side by side. None is 1, unless in a
        `joblib.parallel_backend` context; -1 is all processors. The results do not depend on it.
    random_state : int, RandomState instance or None, default=0
        Seed of the shuffling and of the validation split.
    early_stopping : bool, default=False
        Whether to set part of the data aside, stratified, and to stop when the accuracy on it stops improving.
    validation_fraction : float, default=0.1
        The part set aside by `early_stopping`, between 0 and 1.
    n_iter_no_change : int, default=5
        Epochs without improvement before training stops.
    class_weight : dict, 'balanced' or None, default=None
        Weight of each class: every update is multiplied by it. 'balanced' is ``n_samples / (n_classes * bincount(y))``.
    warm_start : bool, default=False
        Whether `fit` starts from the weights of the last one: those in `coef_` and `intercept_`, averages or not.
    activation : {'step', 'sigmoid', 'logistic', 'tanh', 'relu', 'leaky_relu'}, default='step'
        'step' is Rosenblatt's rule: a sample on the wrong side adds ``eta0 * y * x`` to the weights, y being -1 or 1.
        The others train the neuron by gradient descent, one update a sample (the delta rule), on the squared error
        ``(f(z) - t)**2 / 2`` of its output f(z), with targets t of 0 and 1 (tanh: -1 and 1); the decision value is f(z)
        minus the midpoint of the targets. 'logistic' is another name of 'sigmoid'. 'leaky_relu' has slope 0.01 below 0.
        The slope of 'relu' is 0 at 0, so that a neuron that starts at zero weights never learns: pass `coef_init`.
    average : bool or int, default=False
        Whether `coef_` and `intercept_` are the means of the weights and intercepts as each sample left them, changed
        or not: the averaged perceptron [1]_, which the last samples sway less. An int above 1 is the number of the
        first sample that counts; until then all is as without. Training itself does not depend on it, nor do `n_iter_`
        and the scores of `early_stopping`; `partial_fit` goes on with it and with the means, unless weights of other
        values have been assigned. As `average` of `sklearn.linear_model.SGDClassifier`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The class labels.
    coef_ : ndarray of shape (1, n_features) if binary, else (n_classes, n_features)
        Weights, in the dtype of X (float32 or float64).
    intercept_ : ndarray of shape (1,) if binary, else (n_classes,)
        Constants of the decision function. Binary: float64, but averages in the dtype of X, as in scikit-learn.
    n_features_in_ : int
        Number of features seen by `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, when X has names that are all strings.
    n_iter_ : int
        Epochs run; of several classes the most.
    t_ : float
        1 plus the number of samples visited: ``n_iter_ * n_samples + 1`` after `fit`.

    Notes
    -----
    A fit runs in the dtype of X when that is float32 or float64, else in float64. With `penalty` 'l2' or 'elasticnet'
    and `early_stopping`, the step rule scores the validation samples before the shrinkage by the penalty is applied to
    the weights, as scikit-learn does.

    References
    ----------
    .. [1] Freund, Y. and Schapire, R. E. "Large margin classification using the perceptron algorithm." Machine Learning
       37 (1999), 277-296. Of its ways to predict this is the one called "average".

    Examples
    --------
    >>> from nnfast import Perceptron
    >>> X = [[0, 0], [0, 1], [1, 0], [1, 1]]
    >>> neuron = Perceptron(tol=None, max_iter=20).fit(X, [0, 0, 0, 1])
    >>> neuron.predict(X)
    array([0, 0, 0, 1])

    The averaged perceptron, on words:

    >>> from sklearn.feature_extraction.text import CountVectorizer
    >>> texts = ["good fun", "a dull film", "a good film", "dull, not fun"]
    >>> words = CountVectorizer().fit(texts)
    >>> neuron = Perceptron(average=True).fit(words.transform(texts), [1, 0, 1, 0])
    >>> neuron.predict(words.transform(["good", "dull"]))
    array([1, 0])
    """

    # What scikit-learn's Perceptron has from its base class: fixed, and not parameters.
    loss = "perceptron"
    learning_rate = "constant"
    epsilon = 0.1
    power_t = 0.5

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "fit_intercept": ["boolean"],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "shuffle": ["boolean"],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "eta0": [Interval(Real, 0, None, closed="neither")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "penalty": [StrOptions({"l2", "l1", "elasticnet"}), None],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
        "activation": [StrOptions(set(RULES))],
        "average": [Interval(Integral, 0, None, closed="neither"), "boolean"],
    }

    coef_: Any
    intercept_: Any
    classes_: Any

    _kept: ClassVar[dict[str, Any]] = {
        "classes_": Array,
        "coef_": Array | sparray | spmatrix,
        "intercept_": Array,
        "n_features_in_": int,
        "feature_names_in_": NotRequired[Array],
        "n_iter_": int,
        "t_": float,
        "_averages": NotRequired[tuple[Array, Array, Array, Array, Array] | None],  # `_Averages`
    }

    def __init__(
        self,
        *,
        penalty: str | None = None,
        alpha: float = 0.0001,
        l1_ratio: float = 0.15,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float | None = 1e-3,
        shuffle: bool = True,
        verbose: int = 0,
        eta0: float = 1.0,
        n_jobs: int | None = None,
        random_state: Any = 0,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        class_weight: dict[Any, float] | str | None = None,
        warm_start: bool = False,
        activation: str = "step",
        average: bool | int = False,
    ) -> None:
        self.penalty = penalty
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.shuffle = shuffle
        self.verbose = verbose
        self.eta0 = eta0
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.activation = activation
        self.average = average

    def _validate_params(self) -> None:
        check_parameters(self)

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, coef_init: Any = None, intercept_init: Any = None, sample_weight: Any = None) -> Self:
        """Train the neurons.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            float32 and float64 are used as they are.
        y : array-like of shape (n_samples,)
            Class labels.
        coef_init : array-like of shape (n_classes, n_features), or (n_features,) if binary, default=None
            Weights to start from; zeros if None. Not modified.
        intercept_init : array-like of shape (n_classes,), or (1,) if binary, default=None
            Intercepts to start from; zeros if None.
        sample_weight : array-like of shape (n_samples,), default=None
            Multiplies the updates by each sample, together with `class_weight`.

        Returns
        -------
        self : Perceptron

        Raises
        ------
        ValueError
            For bad input, or when a weight overflows.
        """
        with Attempt(self):
            y = check_target(self, y)
            classes = np.unique(y)
            if self.warm_start and hasattr(self, "coef_"):
                coef_init = self.coef_ if coef_init is None else coef_init
                intercept_init = self.intercept_ if intercept_init is None else intercept_init
            self._train(X, y, sample_weight, self.max_iter, classes, (coef_init, intercept_init))

        if self.tol is not None and self.tol > -np.inf and self.n_iter_ == self.max_iter:
            warnings.warn(
                "Maximum number of iteration reached before convergence. "
                "Consider increasing max_iter to improve the fit.",
                ConvergenceWarning,
                stacklevel=2,
            )
        if self.activation == "relu" and not np.any(self.coef_) and not np.any(self.intercept_):
            warnings.warn(
                "A relu neuron that starts at zero weights never learns, because its slope there is 0. "
                "Pass other weights as coef_init.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train for one epoch, from the present weights.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            A part of the training data. The weights are converted to its dtype.
        y : array-like of shape (n_samples,)
            Class labels.
        classes : array-like of shape (n_classes,), default=None
            All labels that any call may bring. Needed in the first call.
        sample_weight : array-like of shape (n_samples,), default=None
            Multiplies the updates by each sample, together with `class_weight`.

        Returns
        -------
        self : Perceptron

        Raises
        ------
        ValueError
            For bad input, or when a weight overflows.
        """
        if not hasattr(self, "classes_"):
            if self.early_stopping:
                raise ValueError("early_stopping should be False with partial_fit")
            if self.class_weight == "balanced":
                raise ValueError(
                    "class_weight 'balanced' is not supported for partial_fit. In order to use 'balanced' weights, use "
                    "compute_class_weight('balanced', classes=classes, y=y). In place of y you can use a large enough "
                    "sample of the full training set target to properly estimate the class frequency distributions. "
                    "Pass the resulting weights as the class_weight parameter."
                )
        with Attempt(self):
            self._train(X, y, sample_weight, 1, classes)
        return self

    def _train(
        self, X: Any, y: Any, sample_weight: Any, max_iter: int, classes: Any, start: tuple[Any, Any] | None = None
    ) -> None:
        """Check the input, train every neuron, set the attributes. `start` is given by fit, None goes on from coef_."""
        fresh = start is not None
        reset = fresh or not hasattr(self, "classes_")
        X, y = check_data(self, X, y, dtype=(np.float64, np.float32), reset=reset, accept_large_sparse=False)
        X = X if issparse(X) else np.require(X, requirements="A")
        if fresh:
            classes = labels_of(classes)
        else:
            if reset or not (classes is None or is_same(classes, self.classes_)):
                _check_partial_fit_first_call(self, classes)
            classes = self.classes_
        class_weights = weights_of_classes(self.class_weight, classes, y)
        # All-zero weights get a more telling error from the validation split.
        sample_weight = check_sample_weight(sample_weight, X, dtype=X.dtype, allow_all_zero=self.early_stopping)
        kept = None
        if start is None and getattr(self, "coef_", None) is not None:
            kept = self._kept_averages()
            coef, intercept = self._present_weights(X, kept)
        else:
            coef, intercept = _starting_weights(len(classes), X, *(start or (None, None)))
        if len(classes) < 2:
            raise ValueError(f"The number of classes has to be greater than one; got {len(classes)} class")

        averages = None
        t = 1.0 if fresh else getattr(self, "t_", 1.0)
        if self.average:
            neurons = coef.reshape(len(intercept), -1), intercept
            # What counted before `average` was raised, to a sample that is yet to come, no longer does.
            if kept is None or self.average > t:
                averages = _Averages.starting(*neurons)
            else:
                averages = kept.going_on(*neurons)
        training = _Training(self, X, sample_weight, max_iter, t)
        if len(classes) == 2:
            value, n_iter = training.run(
                coef,
                float(intercept[0]),
                y == classes[1],
                (class_weights[0], class_weights[1]),
                self.random_state,
                averages=averages,
            )
            coef, intercept = coef.reshape(1, -1), np.array([value])
        else:
            # joblib's own Parallel: scikit-learn's changes the filters of warnings, which belong to all threads, and of
            # two estimators that are fitted at once one may meet the filters of the other.
            # The seeds are drawn here: threads that shared one generator would draw in any order.
            held_out = training.split(y)
            seeds = generator(self.random_state).randint(MAX_SEED, size=len(classes))
            results = Parallel(n_jobs=self.n_jobs, verbose=self.verbose, require="sharedmem")(
                delayed(training.run)(
                    coef[i],
                    float(intercept[i]),
                    y == classes[i],
                    (1.0, class_weights[i]),
                    seed,
                    held_out,
                    None if averages is None else averages.of(i),
                )
                for i, seed in enumerate(seeds)
            )
            intercept[:] = [value for value, _ in results]
            n_iter = max(n for _, n in results)

        self.classes_ = classes
        self.coef_ = coef
        self.intercept_ = intercept
        self.n_iter_ = n_iter
        self.t_ = t + n_iter * X.shape[0]
        self._averages = None
        if averages is not None:
            averages = averages._replace(intercept=intercept)
            self._averages = averages[:]
            self.coef_, self.intercept_ = averages.means()

    def _kept_averages(self) -> _Averages | None:
        """Those of the last call, unless `coef_` and `intercept_` are no longer what it made of them."""
        stored = getattr(self, "_averages", None)
        if not self.average or stored is None:
            return None
        kept = _Averages._make(stored)
        same = map(np.array_equal, kept.means(), (self.coef_, self.intercept_))
        return kept if all(same) else None

    def _present_weights(self, X: Any, kept: _Averages | None) -> tuple[Any, Any]:
        """Copies of the weights that training goes on from, in the form that it writes."""
        if issparse(self.coef_):
            raise ValueError("coef_ is sparse. Call densify before training goes on.")
        if X.shape[1] != self.coef_.shape[-1]:
            raise ValueError(f"Number of features {X.shape[1]} does not match previous data {self.coef_.shape[-1]}.")
        coef, intercept = (self.coef_, self.intercept_) if kept is None else (kept.coef, kept.intercept)
        if len(self.classes_) == 2:
            return np.array(coef, dtype=X.dtype, order="C").ravel(), intercept
        return np.array(coef, dtype=X.dtype, order="C"), np.array(intercept, dtype=X.dtype)

    def _to_state(self) -> dict[str, Any]:
        check_is_fitted(self)
        return super()._to_state()

    @classmethod
    def _parameters(cls) -> dict[str, Any]:
        return cls().get_params(deep=False)

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> Self:
        model = super()._from_state(state)
        model._validate_params()
        classes, coef, intercept = model.classes_, model.coef_, model.intercept_
        n_neurons = len(intercept)
        check_classes(classes, n_neurons, softmax=n_neurons > 1)
        if len(classes) < 2 or not np.array_equal(unique_labels(classes), classes):
            raise ValueError(f"classes_ should be two or more, ascending, each once, got {classes}")
        if coef.shape != (n_neurons, model.n_features_in_) or intercept.shape != (n_neurons,):
            raise ValueError(f"coef_ of shape {coef.shape} and intercept_ of shape {intercept.shape} do not fit")
        if model.n_features_in_ > MAX_FEATURES:  # a sparse coef_ of a few bytes may say so
            raise ValueError(f"a Perceptron has at most {MAX_FEATURES} features, got {model.n_features_in_}")
        if not all(weights.dtype in (np.float32, np.float64) for weights in (coef, intercept)):
            raise ValueError(f"weights should be float32 or float64, got {coef.dtype} and {intercept.dtype}")
        check_feature_names(model)
        stored = getattr(model, "_averages", None)
        if stored is not None:
            averages, weights = _Averages._make(stored), [coef.shape, intercept.shape]
            shapes = [part.shape for part in averages]
            dtypes = [averages.coef_sum.dtype, averages.intercept_sum.dtype, averages.n_averaged.dtype]
            if shapes != [*weights, *weights, intercept.shape] or dtypes != [np.float64, np.float64, np.intp]:
                raise ValueError(f"averages of the shapes {shapes} and types {dtypes} do not fit")
            if not all(part.dtype in (np.float32, np.float64) for part in averages[:2]):
                raise ValueError("the weights that were averaged should be float32 or float64")
        return model

    def decision_function(self, X: Any) -> Any:
        """Confidence scores.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        scores : ndarray of shape (n_samples,) if binary, else (n_samples, n_classes)
            With 'step' the weighted sum, else f(z) minus the midpoint of the targets. Binary: above 0 means
            ``classes_[1]``.
        """
        check_is_fitted(self)
        X = check_rows(self, X)
        return RULES[self.activation].decide(_scores(X, self.coef_, self.intercept_, _product))

    def predict(self, X: Any) -> Any:
        """Class labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        labels : ndarray of shape (n_samples,)
        """
        scores = self.decision_function(X)
        indices = (scores > 0).astype(np.intp) if scores.ndim == 1 else scores.argmax(axis=1)
        return np.take(self.classes_, indices, axis=0)

    def densify(self) -> Self:
        """Convert `coef_` back to an ndarray; needed before training goes on after `sparsify`.

        Returns
        -------
        self : Perceptron
        """
        check_is_fitted(self, msg="Estimator, %(name)s, must be fitted before densifying.")
        if issparse(self.coef_):
            self.coef_ = self.coef_.toarray()
        return self

    def sparsify(self) -> Self:
        """Convert `coef_` to a scipy.sparse CSR matrix, which is smaller when more than half of the weights are zero.

        Returns
        -------
        self : Perceptron
        """
        check_is_fitted(self, msg="Estimator, %(name)s, must be fitted before sparsifying.")
        self.coef_ = as_configured(csr_array(self.coef_))
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
