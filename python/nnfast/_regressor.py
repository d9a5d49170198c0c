"""MLPRegressor: what y means to a network that predicts numbers. Training itself is in `nnfast._base`."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.metaestimators import available_if

from nnfast._base import BaseMLP
from nnfast._network import as_levels
from nnfast._outputs import as_values
from nnfast._rows import Array
from nnfast._validation import d2_pinball, r2


class MLPRegressor(RegressorMixin, BaseMLP):
    """Multi-layer perceptron regressor.

    A drop-in for :class:`sklearn.neural_network.MLPRegressor`: the same parameters, attributes, messages and, with the
    same ``random_state``, the same weights up to rounding. It minimises the squared error, or another loss, by
    stochastic gradient descent, Adam or L-BFGS, for one or several outputs.

    Parameters
    ----------
    loss : {'squared_error', 'poisson', 'absolute_error', 'huber', 'log_cosh', 'gamma', 'tweedie', 'quantile'} or \
            callable, default='squared_error'
        What to minimise, where d is the prediction less y. All but the first two are not in scikit-learn.

        - 'squared_error': half its square, ``d**2 / 2``.
        - 'poisson': half the Poisson deviance; predicts an exponential and wants ``y >= 0``.
        - 'absolute_error': ``|d|``, which predicts a median.
        - 'huber': ``d**2 / 2`` up to ``|d| = huber_delta``, from there on linear, for data with outliers [10]_.
        - 'log_cosh': ``log(cosh(d))``, much the same with no corner.
        - 'gamma': half the gamma deviance; predicts an exponential and wants ``y > 0``.
        - 'tweedie': half the Tweedie deviance of ``tweedie_power``; predicts an exponential and wants ``y >= 0``.
        - 'quantile': the pinball loss of the levels in ``quantile`` [11]_. Those of one target never cross.
        - A function ``loss(y, raw) -> (loss, gradient)`` of one's own, called once for each batch with y and the
          predictions ``raw``, both of shape (n, n_outputs). The loss has the shape (n,), and the gradient is that of
          each row's loss; or it is one number for the batch, with its gradient, and then there are no sample weights.
          The first batch is used to compare it with finite differences: ValueError when they do not agree.

    hidden_layer_sizes : int or array-like of int, default=(100,)
        The number of neurons in each hidden layer. An int means one hidden layer; ``()`` means none, a linear model.

    activation : str, (str, float) or a sequence of these, default='relu'
        Activation function of the hidden layers: one for all of them, or a list with one for each. A pair such as
        ``('leaky_relu', 0.1)`` gives 'leaky_relu' or 'elu' another argument. Only the first four are scikit-learn's.

        - 'identity' returns f(x) = x.
        - 'logistic', also called 'sigmoid', returns f(x) = 1 / (1 + exp(-x)).
        - 'tanh' returns f(x) = tanh(x).
        - 'relu' returns f(x) = max(0, x).
        - 'leaky_relu' returns f(x) = x for x > 0 and 0.01 x otherwise.
        - 'elu' returns f(x) = x for x > 0 and exp(x) - 1 otherwise; ``('elu', a)`` a times that.
        - 'selu' returns 1.0507 elu(x) with a = 1.6733.
        - 'gelu' returns f(x) = x P(Z < x) for a standard normal Z, exactly.
        - 'silu' returns f(x) = x / (1 + exp(-x)).
        - 'mish' returns f(x) = x tanh(log(1 + exp(x))).
        - 'softplus' returns f(x) = log(1 + exp(x)).
        - 'hard_sigmoid' returns f(x) = x / 6 + 1/2, between 0 and 1.
        - 'softsign' returns f(x) = x / (1 + abs(x)).

    solver : {'lbfgs', 'sgd', 'adam', 'adamw', 'nadam', 'rmsprop', 'adagrad', 'rprop'}, default='adam'
        How the weights are found.

        - 'sgd' is stochastic gradient descent, with momentum.
        - 'adam' is the method of Kingma and Ba [1]_, with bias correction.
        - 'adamw' is 'adam' with another default of ``weight_decay``. Neither it nor the next four are in scikit-learn.
        - 'nadam' is 'adam' with Nesterov's momentum (Dozat 2016), which grows as in PyTorch.
        - 'rmsprop' divides the gradient by the root of a running mean of its squares (Tieleman and Hinton 2012).
        - 'adagrad' divides it by the root of the sum of its squares (Duchi, Hazan and Singer 2011).
        - 'rprop' looks at the signs of the gradient (Riedmiller and Braun 1993, as iRprop-): each weight has a step of
          its own, which begins with the learning rate, grows by 1.2 while its sign stays and halves when it changes.
          All rows are one batch.
        - 'lbfgs' is L-BFGS-B of SciPy, a quasi-Newton method on all rows at once. Good for small data. It has no
          ``partial_fit``, and neither early stopping nor validation.

    alpha : float, default=0.0001
        Strength of the L2 penalty on the weights (not on the intercepts): ``alpha / 2 * sum of squares``, divided by
        the number of rows of a batch.

    batch_size : int or 'auto', default='auto'
        Rows of a mini-batch. 'auto' means ``min(200, n_samples)``, or all with ``solver='rprop'``. The last batch
        of an epoch is shorter when the rows do not divide evenly.

    learning_rate : {'constant', 'invscaling', 'adaptive', 'cosine', 'one_cycle', 'exponential', 'step'} or callable, \
            default='constant'
        How the learning rate changes. 'invscaling' and 'adaptive' change it after an epoch, and only with
        ``solver='sgd'``; with others they are 'constant'. The rest, which scikit-learn does not have, hold for all
        solvers but 'lbfgs' and give every step a rate of its own.

        - 'constant' keeps ``learning_rate_init``.
        - 'invscaling' divides ``learning_rate_init`` by ``(t_ + 1) ** power_t`` after every epoch.
        - 'adaptive' keeps ``learning_rate_init`` while training improves, and divides the rate by 5 each time it has
          not improved by ``tol`` for ``n_iter_no_change`` epochs; training stops once the rate is 1e-6 or less.
        - 'cosine' falls from ``learning_rate_init`` to 0 at the end of ``max_iter`` epochs: with t of these done, as a
          fraction, the rate is ``learning_rate_init * (1 + cos(pi * t)) / 2`` [2]_.
        - 'one_cycle' rises from 1/25 of ``learning_rate_init`` to all of it in the first 30 % of ``max_iter`` epochs,
          then falls to 1/250,000 of it, both by half a cosine [3]_. The momentum stays as it is.
        - 'exponential' is ``learning_rate_init * learning_rate_decay ** (epochs / learning_rate_decay_epochs)``, epochs
          being those done and the fraction of the one that runs.
        - 'step' is the same with ``//`` in place of ``/``.
        - A callable gets t, the fraction of ``max_iter`` epochs that is done before the step, ``0 <= t <= 1``, and
          returns what to multiply ``learning_rate_init`` by: a finite number of at least 0.

        Training may stop before ``max_iter``, when it stalls. ``partial_fit`` goes on counting epochs from call to
        call; from the ``max_iter``-th on t is 1.

    learning_rate_init : float, default=0.001
        The learning rate to begin with; with 'one_cycle' the largest.

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
        Whether to print the loss of every epoch; with a number k above 1, which scikit-learn takes for True, of the
        first and of every k-th.

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
        Decay of Adam's and NAdam's running mean of gradients, in [0, 1).

    beta_2 : float, default=0.999
        Decay of Adam's and NAdam's running mean of squared gradients, in [0, 1).

    epsilon : float, default=1e-8
        Added to the denominator of the steps of Adam, NAdam, RMSprop and Adagrad for numerical stability.

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

    dropout : float or array-like of float, default=0.0
        Share of the units of the hidden layers, of all alike or of each, that are set to 0 for a row in training, in
        [0, 1); the others are multiplied by ``1 / (1 - dropout)`` [9]_. Other ones in every epoch; none when
        predicting and validating. The losses of training are those with units dropped. Not in scikit-learn.

    learning_rate_decay : float, default=0.1
        What ``learning_rate='exponential'`` and 'step' multiply the rate by every ``learning_rate_decay_epochs``
        epochs, in (0, 1]. Not in scikit-learn.

    learning_rate_decay_epochs : int, default=30
        See ``learning_rate_decay``. Not in scikit-learn.

    warmup : int or float, default=0
        The number of epochs (int), or their share of ``max_iter`` (float in [0, 1)), in which the learning rate rises
        to where its schedule begins: the k-th of n steps of warm-up takes k / n of the rate. A schedule that changes
        with every step begins after it and still ends with ``max_iter``. Less than ``max_iter``. Not used by
        ``solver='lbfgs'``. Not in scikit-learn.

    init : {'glorot', 'he', 'lecun', 'orthogonal', 'zeros'} or (coefs, intercepts), default='glorot'
        The weights to begin with. Not in scikit-learn, except the default.

        - 'glorot' draws weights and intercepts uniformly from ``+-sqrt(6 / (n_in + n_out))``, for the logistic
          activation with 2 in place of 6 [4]_.
        - 'he' draws weights from a normal distribution of variance ``2 / n_in``, made for relu [5]_.
        - 'lecun' does with variance ``1 / n_in`` [6]_.
        - 'orthogonal' draws a random orthogonal matrix, or that many of its rows or columns [7]_.
        - 'zeros' is for models without hidden layers: in others the hidden units of a layer would stay alike.
        - Two sequences of arrays, in the shapes of ``coefs_`` and ``intercepts_``, are copied; nothing is drawn.

        The intercepts are 0, but for 'glorot' and one's own. Layers are drawn from the first to the last, each weight
        with one draw, in the order of rows.

    max_time : float or None, default=None
        Seconds after which training stops, with a ConvergenceWarning: at the end of the epoch, or of the iteration of
        L-BFGS, in which they have passed. None: no limit. Not in scikit-learn.

    precision : {'auto', 'float32', 'float64'}, default='auto'
        What training computes in. 'auto' is scikit-learn's rule: float32 for X of float32, else float64; models that
        go on stay with what they were. The others convert X, dense or sparse, unless it is that already.
        ``partial_fit`` stays with that of its first call. ``predict`` takes either and computes in the wider of X's and
        the weights'. Not in scikit-learn.

    averaging : {'ema', 'swa'} or None, default=None
        Whether ``coefs_`` and ``intercepts_`` are averages of the weights at the ends of epochs. Training itself goes
        on with the weights themselves, in ``partial_fit`` from call to call. The averages are what is scored and kept
        by early stopping, and what callbacks see. Until the first epoch that counts all is as without. ``loss_`` is
        that of the weights themselves. Not used by ``solver='lbfgs'``. Not in scikit-learn.

        - 'swa' is their mean, stochastic weight averaging [8]_.
        - 'ema' is their exponential moving average, which begins with those of the first epoch that counts.

    averaging_start : float, default=0.75
        The share of ``max_iter`` epochs that passes before the first one that counts, in [0, 1). Not in scikit-learn.

    averaging_decay : float, default=0.9
        How much of ``averaging='ema'`` an epoch keeps, in [0, 1); its weights get the rest. Not in scikit-learn.

    huber_delta : float, default=1.0
        Where ``loss='huber'`` turns from a square to a line; above 0. Not in scikit-learn.

    tweedie_power : float, default=1.5
        The power of ``loss='tweedie'``: 1 is the Poisson deviance, 2 the gamma deviance (``y > 0``), between them are
        amounts of which many are 0, and 0 is the squared error, with its identity. Not in scikit-learn.

    quantile : float or array-like of float, default=0.5
        The level of ``loss='quantile'``, between 0 and 1; or several, ascending, which one network learns together. Not
        in scikit-learn.

    weight_decay : float or None, default=None
        Decay of the weights (not of the intercepts) that is no part of the loss [12]_: before each step they are
        multiplied by ``1 - learning rate * weight_decay``, whatever the batch size. None means 0.01 with
        ``solver='adamw'``, as in PyTorch, and 0 otherwise; ``alpha`` acts besides. ``solver='lbfgs'`` takes no other
        than 0. Not in scikit-learn.

    rho : float, default=0.99
        How much of its running mean of squares ``solver='rmsprop'`` keeps in a step, in [0, 1). Not in scikit-learn.

    l1 : float, default=0.0
        Strength of the L1 penalty on the weights (not on the intercepts): ``l1 * sum of absolute values``, divided by
        the number of rows of a batch. Each step ends by drawing the weights towards 0, where those stay whose gradient
        is smaller than that of the penalty: some become exactly 0 [13]_. Not with ``solver='lbfgs'``. Not in
        scikit-learn.

    clip_value : float or None, default=None
        Elements of the gradient of the mean loss, that of ``alpha`` included, are kept within ``+-clip_value``. Not
        with ``solver='lbfgs'``. Not in scikit-learn.

    clip_norm : float or None, default=None
        The largest Euclidean norm of the gradient, taken over all weights and intercepts: a larger gradient is scaled
        to it, after ``clip_value``. inf does nothing, but ``history_`` then has the norm. Not with ``solver='lbfgs'``,
        except inf. Not in scikit-learn.

    Attributes
    ----------
    loss_ : float
        The loss of the last epoch: the mean over its rows, the L2 penalty included, each batch with the weights before
        its update. The squared error is a mean over the outputs, all others are sums. With L-BFGS that of the
        final weights, both summed over the outputs, as the gradient is.

    best_loss_ : float or None
        The smallest loss of an epoch; None with ``early_stopping``. Not set by L-BFGS, as little as the curves, the
        scores and the best of them; ``history_`` is.

    loss_curve_ : list of float
        The loss of each epoch, those of fits that went before with ``warm_start`` or ``partial_fit`` included.

    validation_scores_ : list of float or None
        R2, or what ``scoring`` says, on the validation rows after each epoch; None without any.

    best_validation_score_ : float or None
        The best of ``validation_scores_``; None without validation rows.

    validation_loss_curve_ : list of float or None
        The loss on the validation rows after each epoch, without the penalty. Not in scikit-learn.

    history_ : dict of str to list of float
        The course of training, a number for each epoch, or for each iteration of L-BFGS: 'loss', 'validation_loss',
        'validation_score' (NaN without validation rows), 'learning_rate' (that of the last step), 'gradient_norm'
        (the mean over the steps, before it is scaled, and NaN unless ``clip_norm`` is given; with L-BFGS that of the
        last point) and 'seconds' (since the end of the last epoch). Goes on with ``warm_start`` and ``partial_fit``;
        ``pandas.DataFrame(history_)`` is a table of it. Not in scikit-learn.

    t_ : int
        The number of rows seen in training: the rows that were trained on, once for each epoch. 0 for L-BFGS.

    coefs_ : list of ndarray, length n_layers_ - 1
        ``coefs_[i]`` has shape (neurons of layer i, neurons of layer i + 1) and the dtype of the training data, or
        that of ``precision``. May be edited in place or replaced: the next predict uses what is there.

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
        The activation of the output layer: 'identity'; 'exp' for the deviances; 'ordered' for ``loss='quantile'``, with
        which a level is the one before plus log(1 + exp(z)).

    See Also
    --------
    MLPClassifier : Multi-layer perceptron classifier.
    nnfast.MLP : The network itself, on NumPy arrays.

    Notes
    -----
    The same data, parameters and ``random_state`` give the weights of scikit-learn 1.9.1 up to rounding. What differs
    from :class:`sklearn.neural_network.MLPRegressor`:

    - Most losses, activations from 'leaky_relu' on, one for each layer, ``n_jobs``, ``scoring``, validation data of
      one's own and callbacks are new.
    - New are also the schedules from 'cosine' on, ``warmup``, ``init``, ``max_time``, ``precision``,
      ``averaging`` and ``history_``; ``verbose=k`` prints every k-th epoch.
    - float32 data is trained in float32 throughout: y is cast to X's dtype.
    - ``loss='poisson'`` raises ValueError for a negative y, and there is no ``partial_fit`` with L-BFGS.
    - The results do not depend, to the last bit, on the number of threads, nor a row's prediction on its neighbours.
    - After a warm-started fit with early stopping that scores no better, the best weights stay.
    - A mini-batch whose weights sum to 0 is passed over.

    References
    ----------
    .. [1] Kingma, D. P. and Ba, J. "Adam: A method for stochastic optimization." arXiv:1412.6980 (2014).
    .. [2] Loshchilov, I. and Hutter, F. "SGDR: Stochastic gradient descent with warm restarts."
       arXiv:1608.03983 (2017).

    .. [3] Smith, L. N. "A disciplined approach to neural network hyper-parameters: Part 1." arXiv:1803.09820 (2018).

    .. [4] Glorot, X. and Bengio, Y. "Understanding the difficulty of training deep feedforward neural networks."
       AISTATS (2010).

    .. [5] He, K. et al. "Delving deep into rectifiers." arXiv:1502.01852 (2015).

    .. [6] LeCun, Y. et al. "Efficient BackProp." Neural Networks: Tricks of the Trade (1998).

    .. [7] Saxe, A. M., McClelland, J. L. and Ganguli, S. "Exact solutions to the nonlinear dynamics of learning in deep
       linear neural networks." arXiv:1312.6120 (2014).

    .. [8] Izmailov, P. et al. "Averaging weights leads to wider optima and better generalization." arXiv:1803.05407
       (2018).

    .. [9] Srivastava, N. et al. "Dropout: A simple way to prevent neural networks from overfitting." Journal of Machine
       Learning Research 15 (2014).

    .. [10] Huber, P. J. "Robust estimation of a location parameter." Annals of Mathematical Statistics 35 (1964).

    .. [11] Koenker, R. and Bassett, G. "Regression quantiles." Econometrica 46 (1978).

    .. [12] Loshchilov, I. and Hutter, F. "Decoupled weight decay regularization." ICLR (2019).

    .. [13] Duchi, J. and Singer, Y. "Efficient online and batch learning using forward backward splitting." Journal of
       Machine Learning Research 10 (2009).

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

    The median and a range of 80%, from one network:

    >>> band = MLPRegressor("quantile", quantile=[0.1, 0.5, 0.9], random_state=1, max_iter=2000, tol=0.1)
    >>> band.fit(X_train, y_train).predict(X_test).shape
    (50, 3)
    """

    _parameter_constraints: ClassVar[dict] = {
        **BaseMLP._parameter_constraints,
        "loss": [
            StrOptions(
                {"squared_error", "absolute_error", "huber", "log_cosh", "poisson", "gamma", "tweedie", "quantile"}
            ),
            callable,
        ],
        "huber_delta": [Interval(Real, 0, None, closed="neither")],
        "tweedie_power": [Options(Real, {0}), Interval(Real, 1, 2, closed="both")],
        "quantile": [Interval(Real, 0, 1, closed="neither"), "array-like"],
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
        dropout=0.0,
        learning_rate_decay=0.1,
        learning_rate_decay_epochs=30,
        warmup=0,
        init="glorot",
        max_time=None,
        precision="auto",
        averaging=None,
        averaging_start=0.75,
        averaging_decay=0.9,
        huber_delta=1.0,
        tweedie_power=1.5,
        quantile=0.5,
        weight_decay=None,
        rho=0.99,
        l1=0.0,
        clip_value=None,
        clip_norm=None,
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
        self.dropout = dropout
        self.learning_rate_decay = learning_rate_decay
        self.learning_rate_decay_epochs = learning_rate_decay_epochs
        self.warmup = warmup
        self.init = init
        self.max_time = max_time
        self.precision = precision
        self.averaging = averaging
        self.averaging_start = averaging_start
        self.averaging_decay = averaging_decay
        self.huber_delta = huber_delta
        self.tweedie_power = tweedie_power
        self.quantile = quantile
        self.weight_decay = weight_decay
        self.rho = rho
        self.l1 = l1
        self.clip_value = clip_value
        self.clip_norm = clip_norm

    def _learn_target(self, y: Array, incremental: bool) -> None:
        self._check_target(y, "y")

    def _check_target(self, y: Array, name: str) -> None:
        powers = {"poisson": 1, "gamma": 2, "tweedie": self.tweedie_power}
        power = powers.get(self.loss, 0) if isinstance(self.loss, str) else 0
        if power >= 1 and (y < 0).any():
            raise ValueError(f"Some values of {name} are negative; loss='{self.loss}' needs values of 0 and above.")
        if power == 2 and (y == 0).any():
            raise ValueError(f"Some values of {name} are 0; loss='{self.loss}' needs values above 0.")

    def _levels(self) -> tuple[float, ...]:
        return as_levels(self.quantile) if self.loss == "quantile" else (0.5,)

    def _output_groups(self) -> tuple[int, ...]:
        if self.loss != "quantile":
            return ()
        n_levels = len(self._levels())
        return (n_levels,) * (self.n_outputs_ // n_levels) if self.n_outputs_ > n_levels else ()

    def _encode(self, y: Array) -> Array:
        n_levels = len(self._levels())
        return y if n_levels == 1 else np.repeat(y.reshape(len(y), -1), n_levels, axis=1)

    def _decode(self, outputs: Array) -> Array:
        several = self.loss == "quantile" and np.ndim(self.quantile) > 0
        return as_values(outputs, len(self._levels()) if several else None)

    def _true_target(self, Y: Array) -> Array:
        return as_values(Y[:, :: len(self._levels())], None)

    def _network_loss(self) -> Any:
        return self.loss

    def _loss_parameters(self) -> dict[str, Any]:
        return {"huber_delta": self.huber_delta, "tweedie_power": self.tweedie_power, "quantile": self.quantile}

    def _validation_score(self, outputs: Array, Y: Array, weights: Array | None) -> float:
        if self.loss == "quantile":
            return d2_pinball(outputs, Y, self._levels(), weights)
        return r2(outputs, Y, weights)

    def predict(self, X):
        """Predict the target of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_targets)
            The predicted values, in the wider dtype of X and of the weights. With a list of levels in ``quantile`` the
            shape is (n_samples, n_levels) for one target, else (n_samples, n_targets, n_levels); along a row of levels
            the values never fall.
        """
        return self._decode(self._outputs(X))

    def score(self, X, y, sample_weight=None):
        """The coefficient of determination R2; with ``loss='quantile'`` the D2 pinball score.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data.

        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            The true values.

        sample_weight : array-like of shape (n_samples,), default=None
            How much each row counts.

        Returns
        -------
        score : float
            At best 1; 0 of a constant prediction. :func:`sklearn.metrics.r2_score`, or the mean over the levels of
            :func:`sklearn.metrics.d2_pinball_score`.
        """
        if self.loss != "quantile":
            return super().score(X, y, sample_weight)
        outputs = self._outputs(X)
        Y = np.repeat(np.asarray(y).reshape(len(outputs), -1), len(self._levels()), axis=1)
        return d2_pinball(outputs, Y, self._levels(), sample_weight)

    @available_if(lambda self: self._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """Train for one epoch on the given data, from where the last call ended.

        The optimizer's state, ``t_`` and ``loss_curve_`` continue; an int ``random_state`` gives the same order of the
        rows at every call. ``early_stopping=True`` is not supported.

        The engine's copy of the weights and of that state is kept for the next call, which takes half of the time so; a
        copy of the estimator, or one that is fitted anew, is without it.

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
