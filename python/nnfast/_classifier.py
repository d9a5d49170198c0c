"""MLPClassifier: what y means to a network that tells classes apart. Training itself is in `nnfast._base`."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels
from sklearn.utils.validation import validate_data

from nnfast._base import BaseMLP


class MLPClassifier(ClassifierMixin, BaseMLP):
    """Multi-layer perceptron classifier.

    A drop-in for :class:`sklearn.neural_network.MLPClassifier`: the same parameters, attributes, messages and, with the
    same ``random_state``, the same weights up to rounding. It minimises the log-loss by stochastic gradient descent or
    Adam, and takes binary, multiclass and multilabel targets.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=(100,)
        The number of neurons in each hidden layer. An int means one hidden layer; ``()`` means none, a linear model.

    activation : {'identity', 'logistic', 'sigmoid', 'tanh', 'relu', 'leaky_relu'}, default='relu'
        Activation function of the hidden layers.

        - 'identity' returns f(x) = x.
        - 'logistic', also called 'sigmoid', returns f(x) = 1 / (1 + exp(-x)).
        - 'tanh' returns f(x) = tanh(x).
        - 'relu' returns f(x) = max(0, x).
        - 'leaky_relu' returns f(x) = x for x > 0 and 0.01 x otherwise. Not in scikit-learn.

    solver : {'lbfgs', 'sgd', 'adam'}, default='adam'
        How the weights are found.

        - 'sgd' is stochastic gradient descent, with momentum.
        - 'adam' is the method of Kingma and Ba [1]_, with bias correction.
        - 'lbfgs' is accepted but not supported yet: ``fit`` raises NotImplementedError.

    alpha : float, default=0.0001
        Strength of the L2 penalty on the weights (not on the intercepts): ``alpha / 2 * sum of squares``, divided by
        the number of rows of a batch.

    batch_size : int or 'auto', default='auto'
        Rows of a mini-batch. 'auto' means ``min(200, n_samples)``. The last batch of an epoch is shorter when the rows
        do not divide evenly.

    learning_rate : {'constant', 'invscaling', 'adaptive'}, default='constant'
        How the learning rate changes from epoch to epoch. Only used when ``solver='sgd'``.

        - 'constant' keeps ``learning_rate_init``.
        - 'invscaling' divides ``learning_rate_init`` by ``(t_ + 1) ** power_t`` after every epoch.
        - 'adaptive' keeps ``learning_rate_init`` while training improves, and divides the rate by 5 each time it has
          not improved by ``tol`` for ``n_iter_no_change`` epochs; training stops once the rate is 1e-6 or less.

    learning_rate_init : float, default=0.001
        The learning rate to begin with.

    power_t : float, default=0.5
        The exponent of ``learning_rate='invscaling'``. Only used when ``solver='sgd'``.

    max_iter : int, default=200
        The largest number of epochs (passes over the data).

    shuffle : bool, default=True
        Whether to visit the rows in a new random order in every epoch.

    random_state : int, RandomState instance or None, default=None
        Source of the starting weights, the validation split of early stopping and the row orders. The same int gives
        the same weights at every fit, and those that scikit-learn finds with it.

    tol : float, default=1e-4
        Training has stalled when its loss (with ``early_stopping``: the validation score) has not improved by at least
        ``tol`` for ``n_iter_no_change`` consecutive epochs. It then stops, unless ``learning_rate='adaptive'``.

    verbose : bool or int, default=False
        Whether to print the loss of every epoch.

    warm_start : bool, default=False
        Whether ``fit`` continues from the weights that are there: ``loss_curve_`` and ``t_`` go on, ``n_iter_`` and
        the optimizer start again.

    momentum : float, default=0.9
        Share of the last step that is added to the next, between 0 and 1. Only used when ``solver='sgd'``.

    nesterovs_momentum : bool, default=True
        Whether to use Nesterov's momentum. Only used when ``solver='sgd'``.

    early_stopping : bool, default=False
        Whether to set ``validation_fraction`` of the rows aside, to stop when the score on them stalls, and to keep the
        weights that scored best. The split is
        stratified for two classes.

    validation_fraction : float, default=0.1
        The share of the rows set aside by ``early_stopping``, in [0, 1).

    beta_1 : float, default=0.9
        Decay of Adam's running mean of gradients, in [0, 1).

    beta_2 : float, default=0.999
        Decay of Adam's running mean of squared gradients, in [0, 1).

    epsilon : float, default=1e-8
        Added to the denominator of Adam's step for numerical stability.

    n_iter_no_change : int or inf, default=10
        How many epochs in a row may pass without an improvement of ``tol``.

    max_fun : int, default=15000
        The largest number of loss evaluations of ``solver='lbfgs'``.

    n_jobs : int or None, default=None
        Upper bound on the threads. None chooses by the size of the network and the batch, within the CPUs that the
        process may use; negative numbers count back from all of them, -1 being all. The results do not depend on it.
        Not in scikit-learn.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The class labels; for multilabel targets, the numbers of the columns.

    loss_ : float
        The loss of the last epoch: the mean over its rows, the L2 penalty included, each batch with the weights before
        its update.

    best_loss_ : float or None
        The smallest loss of an epoch; None with ``early_stopping``.

    loss_curve_ : list of float, length n_iter_
        The loss of each epoch.

    validation_scores_ : list of float or None
        The accuracy on the validation rows after each epoch; None without ``early_stopping``.

    best_validation_score_ : float or None
        The best of ``validation_scores_``; None without ``early_stopping``.

    t_ : int
        The number of rows seen in training: ``n_iter_`` times the rows that were trained on.

    coefs_ : list of ndarray, length n_layers_ - 1
        ``coefs_[i]`` has shape (neurons of layer i, neurons of layer i + 1) and the dtype of the training data. May be
        edited in place or replaced: the next predict uses what is there.

    intercepts_ : list of ndarray, length n_layers_ - 1
        ``intercepts_[i]`` has shape (neurons of layer i + 1,).

    n_features_in_ : int
        Number of features seen in fit.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features seen in fit, when X had names that are all strings.

    n_iter_ : int
        The number of epochs run.

    n_layers_ : int
        Number of layers, the input and the output included.

    n_outputs_ : int
        Number of output neurons.

    out_activation_ : str
        The activation of the output layer: 'softmax' for three or more classes, else 'logistic'.

    See Also
    --------
    MLPRegressor : Multi-layer perceptron regressor.
    nnfast.MLP : The network itself, on NumPy arrays.

    Notes
    -----
    The same data, parameters and ``random_state`` give the weights of scikit-learn 1.9.1 up to rounding. What differs
    from :class:`sklearn.neural_network.MLPClassifier`:

    - ``activation='leaky_relu'`` and ``n_jobs`` are new.
    - float32 data is trained in float32 throughout.
    - The results do not depend, to the last bit, on the number of threads, nor a row's prediction on its neighbours.
    - ``sample_weight``, sparse X and ``solver='lbfgs'`` are not supported yet and raise NotImplementedError.

    References
    ----------
    .. [1] Kingma, D. P. and Ba, J. "Adam: A method for stochastic optimization." arXiv:1412.6980 (2014).

    Examples
    --------
    >>> from nnfast import MLPClassifier
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> X, y = load_iris(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    >>> clf = MLPClassifier(max_iter=500, tol=1e-3, random_state=0).fit(X_train, y_train)
    >>> clf.predict(X_test[:5])
    array([0, 0, 0, 0, 1])
    >>> clf.predict_proba(X_test[:1]).round(2)
    array([[0.98, 0.02, 0.  ]])
    >>> clf.score(X_test, y_test)
    1.0
    """

    # What the network minimises. A constant here; a parameter of MLPRegressor.
    loss = "log_loss"

    def __init__(
        self,
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
        n_jobs=None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.n_jobs = n_jobs

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        dtypes = (np.float64, np.float32)
        X, y = validate_data(self, X, y, multi_output=True, dtype=dtypes, order="C", reset=reset)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if hasattr(self, "classes_") and (self.warm_start or incremental):
            self._check_classes(y)
        else:
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        return X, self._label_binarizer.transform(y).astype(bool)

    def _check_classes(self, y: np.ndarray) -> None:
        """Raise ValueError unless a fit that goes on from the last one can take the classes of y."""
        classes = unique_labels(y)
        if self.warm_start:
            if set(classes) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                    f"Previously got {self.classes_}, `y` has {classes}"
                )
        elif len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
            )

    def _network_loss(self) -> str:
        return "log_loss" if self._label_binarizer.y_type_ == "multiclass" else "binary_log_loss"

    def _validation_score(self, outputs: np.ndarray, y: np.ndarray) -> float:
        if len(self.classes_) == 1:  # whatever the output, there is only one thing to say
            return 1.0
        if self.out_activation_ == "softmax":
            right = outputs.argmax(axis=1) == y.argmax(axis=1)
        else:
            right = ((outputs > 0.5) == y).all(axis=1)
        return float(right.mean())

    def predict(self, X):
        """Predict the class of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The input data.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_classes)
            The predicted classes; for multilabel targets, an array of 0 and 1 with one column a label.
        """
        outputs = self._outputs(X)
        return self._label_binarizer.inverse_transform(outputs.ravel() if self.n_outputs_ == 1 else outputs)

    def predict_proba(self, X):
        """Estimate the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The input data.

        Returns
        -------
        y_prob : ndarray of shape (n_samples, n_classes)
            The probabilities, in the order of ``classes_``. Of multilabel targets each column has its own: the rows do
            not sum to 1.
        """
        y_prob = self._outputs(X)
        return np.hstack([1 - y_prob, y_prob]) if self.n_outputs_ == 1 else y_prob

    def predict_log_proba(self, X):
        """Estimate the logarithm of the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The input data.

        Returns
        -------
        log_y_prob : ndarray of shape (n_samples, n_classes)
            ``log(predict_proba(X))``.
        """
        y_prob = self.predict_proba(X)
        return np.log(y_prob, out=y_prob)

    @available_if(lambda self: self._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None, classes=None):
        """Train for one epoch on the given data, from where the last call ended.

        The optimizer's state, ``t_`` and ``loss_curve_`` continue; an int ``random_state`` gives the same order of the
        rows at every call. ``early_stopping=True`` is not supported.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The input data.

        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The target values. Need not hold all of ``classes``.

        sample_weight : None
            Not supported yet.

        classes : array-like of shape (n_classes,), default=None
            The classes of all calls together. Needed in the first call, unless ``fit`` came before it.

        Returns
        -------
        self : object
            The estimator, trained further.
        """
        if _check_partial_fit_first_call(self, classes):
            multilabel = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if multilabel else classes)
        return self._fit(X, y, sample_weight, incremental=True)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
