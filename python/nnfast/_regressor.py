"""MLPRegressor: what y means to a network that predicts numbers. Training itself is in `nnfast._base`."""

from __future__ import annotations

from typing import ClassVar

from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if

from nnfast._base import BaseMLP
from nnfast._network import Array
from nnfast._validation import r2


class MLPRegressor(RegressorMixin, BaseMLP):
    """Multi-layer perceptron regressor.

    A drop-in for :class:`sklearn.neural_network.MLPRegressor`: the same parameters, attributes, messages and, with the
    same ``random_state``, the same weights up to rounding. It minimises the squared error or the Poisson deviance by
    stochastic gradient descent, Adam or L-BFGS, for one or several outputs.

    Parameters
    ----------
    loss : {'squared_error', 'poisson'}, default='squared_error'
        What to minimise: half the squared error, or half the Poisson deviance. 'poisson' predicts the exponential of
        the network's last layer and wants ``y >= 0``.

    hidden_layer_sizes : int or array-like of int, default=(100,)
        The number of neurons in each hidden layer. An int means one hidden layer; ``()`` means none, a linear model.

    activation : {'identity', 'logistic', 'sigmoid', 'tanh', 'relu', 'leaky_relu'}, default='relu'
        Activation function of the hidden layers.

        - 'identity' returns f(x) = x.
        - 'logistic', also called 'sigmoid', returns f(x) = 1 / (1 + exp(-x)).
        - 'tanh' returns f(x) = tanh(x).
        - 'relu' returns f(x) = max(0, x).
        - 'leaky_relu' returns f(x) = x for x > 0 and 0.01 x otherwise. Not in scikit-learn.

    solver : {'lbfgs', 'sgd', 'adam', 'adamw'}, default='adam'
        How the weights are found.

        - 'sgd' is stochastic gradient descent, with momentum.
        - 'adam' is the method of Kingma and Ba [1]_, with bias correction.
        - 'adamw' is 'adam' with another default of ``weight_decay``. Not in scikit-learn.
        - 'lbfgs' is L-BFGS-B of SciPy, a quasi-Newton method on all rows at once. Good for small data. It has no
          ``partial_fit``, and neither early stopping nor validation.

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
        The largest number of epochs (passes over the data), or of iterations of L-BFGS.

    shuffle : bool, default=True
        Whether to visit the rows in a new random order in every epoch.

    random_state : int, RandomState instance or None, default=None
        Source of the starting weights, the validation split of early stopping and the row orders. The same int gives
        the same weights at every fit, and those that scikit-learn finds with it.

    tol : float, default=1e-4
        Training has stalled when its loss (with ``early_stopping``: the validation score) has not improved by at least
        ``tol`` for ``n_iter_no_change`` consecutive epochs. It then stops, unless ``learning_rate='adaptive'``.
        L-BFGS stops where no slope is larger.

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
        weights that scored best. ``fit(..., X_val=, y_val=)`` takes validation data of one's own in its place.

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
        Upper bound on the threads. None chooses by the size of the network and the batch, within what the CPUs of the
        process, their quota, OpenMP's settings and threadpoolctl allow; negative numbers count back from all that is
        allowed, -1 being all. The results do not depend on it. Not in scikit-learn.

    scoring : str, callable or None, default=None
        What is taken on the validation rows after each epoch, and what early stopping wants to see rise: R2 when None,
        a name from :func:`sklearn.metrics.get_scorer_names`, a callable ``scorer(estimator, X, y)``, or 'loss' for
        minus the loss. Where rows have weights they are passed on as ``sample_weight=``. Not in scikit-learn.

    weight_decay : float or None, default=None
        Decay of the weights (not of the intercepts) that is no part of the loss [2]_: before each step they are
        multiplied by ``1 - learning rate * weight_decay``, whatever the batch size. None means 0.01 with
        ``solver='adamw'``, as in PyTorch, and 0 otherwise; ``alpha`` acts besides. ``solver='lbfgs'`` takes no other
        than 0. Not in scikit-learn.

    Attributes
    ----------
    loss_ : float
        The loss of the last epoch: the mean over its rows, the L2 penalty included, each batch with the weights before
        its update. The squared error is a mean over the outputs, the Poisson deviance a sum. With L-BFGS that of the
        final weights, both summed over the outputs, as the gradient is.

    best_loss_ : float or None
        The smallest loss of an epoch; None with ``early_stopping``. Not set by L-BFGS, as little as the curves, the
        scores and the best of them.

    loss_curve_ : list of float
        The loss of each epoch, those of fits that went before with ``warm_start`` or ``partial_fit`` included.

    validation_scores_ : list of float or None
        R2, or what ``scoring`` says, on the validation rows after each epoch; None without any.

    best_validation_score_ : float or None
        The best of ``validation_scores_``; None without validation rows.

    validation_loss_curve_ : list of float or None
        The loss on the validation rows after each epoch, without the penalty. Not in scikit-learn.

    t_ : int
        The number of rows seen in training: the rows that were trained on, once for each epoch. 0 for L-BFGS.

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
        The number of epochs, or of iterations of L-BFGS, that the last fit ran.

    n_layers_ : int
        Number of layers, the input and the output included.

    n_outputs_ : int
        Number of output neurons.

    out_activation_ : str
        The activation of the output layer: 'identity', or 'exp' for ``loss='poisson'``.

    See Also
    --------
    MLPClassifier : Multi-layer perceptron classifier.
    nnfast.MLP : The network itself, on NumPy arrays.

    Notes
    -----
    The same data, parameters and ``random_state`` give the weights of scikit-learn 1.9.1 up to rounding. What differs
    from :class:`sklearn.neural_network.MLPRegressor`:

    - ``activation='leaky_relu'``, ``n_jobs``, ``scoring``, validation data of one's own and callbacks are new.
    - float32 data is trained in float32 throughout: y is cast to X's dtype.
    - ``loss='poisson'`` raises ValueError for a negative y, and there is no ``partial_fit`` with L-BFGS.
    - The results do not depend, to the last bit, on the number of threads, nor a row's prediction on its neighbours.
    - After a warm-started fit with early stopping that scores no better, the best weights stay.
    - A mini-batch whose weights sum to 0 is passed over.

    References
    ----------
    .. [1] Kingma, D. P. and Ba, J. "Adam: A method for stochastic optimization." arXiv:1412.6980 (2014).
    .. [2] Loshchilov, I. and Hutter, F. "Decoupled weight decay regularization." ICLR (2019).

    Examples
    --------
    >>> from nnfast import MLPRegressor
    >>> from sklearn.datasets import make_regression
    >>> from sklearn.model_selection import train_test_split
    >>> X, y = make_regression(n_samples=200, n_features=20, random_state=1)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=1)
    >>> regr = MLPRegressor(random_state=1, max_iter=2000, tol=0.1).fit(X_train, y_train)
    >>> regr.predict(X_test[:2]).round()
    array([  29., -291.])
    >>> round(regr.score(X_test, y_test), 2)
    0.98
    """

    _parameter_constraints: ClassVar[dict] = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson"})],
    }

    def __init__(
        self,
        loss="squared_error",
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
        scoring=None,
        weight_decay=None,
    ):
        self.loss = loss
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
        self.scoring = scoring
        self.weight_decay = weight_decay

    def _learn_target(self, y: Array, incremental: bool) -> None:
        self._check_target(y, "y")

    def _check_target(self, y: Array, name: str) -> None:
        if self.loss == "poisson" and (y < 0).any():
            raise ValueError(f"Some values of {name} are negative; loss='poisson' needs values of 0 and above.")

    def _encode(self, y: Array) -> Array:
        return y

    def _decode(self, outputs: Array) -> Array:
        return outputs.ravel() if outputs.shape[1] == 1 else outputs

    def _network_loss(self) -> str:
        return self.loss

    def _validation_score(self, outputs: Array, Y: Array, weights: Array | None) -> float:
        return r2(outputs, Y, weights)

    def predict(self, X):
        """Predict the target of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            The predicted values, in the wider dtype of X and of the weights.
        """
        return self._decode(self._outputs(X))

    @available_if(lambda self: self._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """Train for one epoch on the given data, from where the last call ended.

        The optimizer's state, ``t_`` and ``loss_curve_`` continue; an int ``random_state`` gives the same order of the
        rows at every call. ``early_stopping=True`` is not supported.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data.

        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The target values.

        sample_weight : array-like of shape (n_samples,), default=None
            How much each row counts; all alike when None.

        Returns
        -------
        self : object
            The estimator, trained further.
        """
        return self._fit(X, y, sample_weight, incremental=True)
