"""MLPClassifier: what y means to a network that tells classes apart. Training itself is in `nnfast._base`."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target

from nnfast import ops
from nnfast._base import BaseMLP
from nnfast._checks import are_among, is_same, label_binarizer, labels_of
from nnfast._network import MLP
from nnfast._outputs import as_labels, check_classes
from nnfast._rows import Array


class MLPClassifier(ClassifierMixin, BaseMLP):
    """Multi-layer perceptron classifier.

    A drop-in for :class:`sklearn.neural_network.MLPClassifier`: the same parameters, attributes, messages and, with the
    same ``random_state``, the same weights up to rounding. It minimises the log-loss, or the focal loss, by
    stochastic gradient descent, Adam or L-BFGS, and takes binary, multiclass, multilabel and multi-output targets.

    Parameters
    ----------
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
        weights that scored best. The split is stratified for two classes. ``fit(..., X_val=, y_val=)`` takes validation
        data of one's own in its place.

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
        What is taken on the validation rows after each epoch, and what early stopping wants to see rise: the accuracy
        when None, a name from :func:`sklearn.metrics.get_scorer_names`, a callable ``scorer(estimator, X, y)``, or
        'loss' for minus the loss. Where rows have weights they are passed on as ``sample_weight=``. Not in
        scikit-learn.

    class_weight : dict, list of dicts, 'balanced' or None, default=None
        How much each class counts: ``{class: weight}``, 1 for a class that is not there; of several columns a list with
        a dict for each. 'balanced' means ``n_samples / (n_classes * count of the class)``. The weights multiply
        ``sample_weight``, also of the rows that early stopping sets aside, not of ``X_val``. ``partial_fit`` takes no
        'balanced'. Not in scikit-learn.

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

    loss : {'log_loss', 'focal'} or callable, default='log_loss'
        What to minimise. Not in scikit-learn.

        - 'log_loss': minus the logarithm of the probability p of the row's class.
        - 'focal': ``(1 - p) ** focal_gamma`` times that [10]_.
        - A function ``loss(y, raw) -> (loss, gradient)`` of one's own, called once for each batch. ``raw``, of shape
          (n, n_outputs), is what the softmax or the logistic function makes probabilities of; y is what these should
          be, 0 or 1, of the same shape, and one column when there are two classes. The loss has the shape (n,), and the
          gradient, for ``raw``, is that of each row's loss; or it is one number for the batch, with its gradient, and
          then there are no sample weights. The first batch is used to compare it with finite differences: ValueError
          when they do not agree.

    focal_gamma : float, default=2.0
        The exponent of ``loss='focal'``, 0 or above; with 0 it is the log-loss. Not in scikit-learn.

    label_smoothing : float, default=0.0
        The share of the target, in [0, 1], that is spread over all classes: of K classes that of a row is trained
        towards ``1 - label_smoothing + label_smoothing / K``, the others towards ``label_smoothing / K`` [11]_; K is 2
        for each column of multilabel targets. The validation loss is against the classes as they are. Not in
        scikit-learn.

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
    classes_ : ndarray of shape (n_classes,), or a list of them
        The class labels; for multilabel targets, the numbers of the columns; for several columns of several classes a
        list with the labels of each.

    loss_ : float
        The loss of the last epoch: the mean over its rows, the L2 penalty included, each batch with the weights before
        its update. Labels and columns are summed over. With L-BFGS that of the final weights.

    best_loss_ : float or None
        The smallest loss of an epoch; None with ``early_stopping``. Not set by L-BFGS, as little as the curves, the
        scores and the best of them; ``history_`` is.

    loss_curve_ : list of float
        The loss of each epoch, those of fits that went before with ``warm_start`` or ``partial_fit`` included.

    validation_scores_ : list of float or None
        The accuracy, or what ``scoring`` says, on the validation rows after each epoch; None without any.

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
        The activation of the output layer: 'softmax' for three or more classes, else 'logistic'. For several columns
        of several classes each column has a softmax of its own.

    See Also
    --------
    MLPRegressor : Multi-layer perceptron regressor.
    nnfast.MLP : The network itself, on NumPy arrays.

    Notes
    -----
    The same data, parameters and ``random_state`` give the weights of scikit-learn 1.9.1 up to rounding. What differs
    from :class:`sklearn.neural_network.MLPClassifier`:

    - Activations from 'leaky_relu' on, one for each layer, ``n_jobs``, ``scoring``, ``class_weight``, validation data
      of one's own, callbacks and several columns of several classes are new.
    - New are also the schedules from 'cosine' on, ``warmup``, ``init``, ``max_time``, ``precision``,
      ``averaging`` and ``history_``; ``verbose=k`` prints every k-th epoch.
    - float32 data is trained in float32 throughout.
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

    .. [10] Lin, T.-Y. et al. "Focal loss for dense object detection." arXiv:1708.02002 (2017).

    .. [11] Szegedy, C. et al. "Rethinking the Inception architecture for computer vision." arXiv:1512.00567 (2015).

    .. [12] Loshchilov, I. and Hutter, F. "Decoupled weight decay regularization." ICLR (2019).

    .. [13] Duchi, J. and Singer, Y. "Efficient online and batch learning using forward backward splitting." Journal of
       Machine Learning Research 10 (2009).

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

    _parameter_constraints: ClassVar[dict] = {
        **BaseMLP._parameter_constraints,
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
        "loss": [StrOptions({"log_loss", "focal"}), callable],
        "focal_gamma": [Interval(Real, 0, None, closed="left")],
        "label_smoothing": [Interval(Real, 0, 1, closed="both")],
    }

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
        scoring=None,
        class_weight=None,
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
        loss="log_loss",
        focal_gamma=2.0,
        label_smoothing=0.0,
        weight_decay=None,
        rho=0.99,
        l1=0.0,
        clip_value=None,
        clip_norm=None,
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
        self.scoring = scoring
        self.class_weight = class_weight
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
        self.loss = loss
        self.focal_gamma = focal_gamma
        self.label_smoothing = label_smoothing
        self.weight_decay = weight_decay
        self.rho = rho
        self.l1 = l1
        self.clip_value = clip_value
        self.clip_norm = clip_norm

    _kept: ClassVar[dict[str, Any]] = {**BaseMLP._kept, "classes_": Array | list[Array]}
    _derived = BaseMLP._derived | {"_label_binarizer"}

    def _learn_target(self, y: Array, incremental: bool) -> None:
        if hasattr(self, "classes_") and self.warm_start:
            for known, found in self._classes_of(y, "y"):
                if set(found) != set(known):
                    raise ValueError(
                        "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                        f"Previously got {known}, `y` has {found}"
                    )
        elif hasattr(self, "classes_") and incremental:
            self._check_target(y, "y")
        else:
            several = y.ndim > 1 and type_of_target(y) == "multiclass-multioutput"
            self._label_binarizer = _ColumnsBinarizer().fit(y) if several else label_binarizer(y)
            self.classes_ = self._label_binarizer.classes_

    def _restore_target(self) -> None:
        softmax = self.out_activation_ == "softmax"
        check_classes(self.classes_, self.n_outputs_, softmax)
        if isinstance(self.classes_, list):
            self._label_binarizer = _ColumnsBinarizer().fit_classes(self.classes_)
            ascending = all(map(np.array_equal, self.classes_, self._label_binarizer.classes_))
        elif self.n_outputs_ > 1 and not softmax:
            self._label_binarizer = LabelBinarizer().fit(np.eye(self.n_outputs_, dtype=int))
            ascending = True  # whatever the columns are called
        else:
            self._label_binarizer = LabelBinarizer().fit(self.classes_)
            ascending = np.array_equal(self.classes_, self._label_binarizer.classes_)
        if not ascending:
            raise ValueError(f"classes_ should be ascending, each label once, got {self.classes_}")

    def _check_target(self, y: Array, name: str) -> None:
        if not isinstance(self.classes_, list) and are_among(y, self.classes_):
            return
        for known, found in self._classes_of(y, name):
            if len(np.setdiff1d(found, known, assume_unique=True)):
                raise ValueError(
                    f"`{name}` has classes not in `self.classes_`. `self.classes_` has {known}. '{name}' has {found}."
                )

    def _classes_of(self, y: Array, name: str) -> list[tuple[Array, Array]]:
        """The (known, found) classes of y; of each of its columns when they have classes of their own."""
        if not isinstance(self.classes_, list):
            return [(self.classes_, labels_of(y))]
        if y.ndim != 2 or y.shape[1] != len(self.classes_):
            raise ValueError(f"`{name}` must have {len(self.classes_)} columns, as in the first fit; got {y.shape}.")
        return [(known, np.unique(column)) for known, column in zip(self.classes_, y.T, strict=True)]

    def _encode(self, y: Array) -> Array:
        # As LabelBinarizer has it, which takes a sparse matrix and integers of 64 bits for the purpose; and which says
        # what is wrong with labels of another kind.
        kind = self._label_binarizer.y_type_ if y.ndim == 1 else None
        if kind == "binary" and len(self.classes_) == 2:
            return y == self.classes_[1]
        if kind == "multiclass":
            indicator = np.zeros((len(y), len(self.classes_)), bool)
            indicator[np.arange(len(y)), np.searchsorted(self.classes_, y)] = True
            return indicator
        return self._label_binarizer.transform(y).astype(bool)

    def _decode(self, outputs: Array) -> Array:
        return as_labels(outputs, self.classes_, self.out_activation_ == "softmax")

    def _network_loss(self) -> Any:
        return self.loss if callable(self.loss) or self._tells_one_class() else f"binary_{self.loss}"

    def _tells_one_class(self) -> bool:
        """Whether the outputs of a row, or of each column of y, are the probabilities of one thing."""
        return self._label_binarizer.y_type_.startswith("multiclass")

    def _loss_parameters(self) -> dict[str, Any]:
        return {"focal_gamma": self.focal_gamma, "output_groups": () if callable(self.loss) else self._output_groups()}

    def _output_activation(self, network: MLP) -> str:
        if network.own_loss is None:
            return network.out_activation_
        return "softmax" if self._tells_one_class() else "logistic"

    def _activated(self, raw: Array) -> Array:
        if self.out_activation_ == "logistic":
            return ops.sigmoid(raw)
        groups = np.cumsum(self._output_groups())[:-1]
        return np.hstack([ops.softmax(np.ascontiguousarray(group)) for group in np.split(raw, groups, axis=1)])

    def _training_target(self, Y: Array) -> Array:
        if self.label_smoothing == 0:
            return Y
        if self._tells_one_class():
            sizes = self._output_groups() or (Y.shape[1],)
            n_classes = np.repeat(sizes, sizes)
        else:
            n_classes = np.full(Y.shape[1], 2)
        return Y * (1 - self.label_smoothing) + self.label_smoothing / n_classes

    def _class_weights(self, y: Array, incremental: bool) -> Array | None:
        if self.class_weight is None:
            return None
        if y.ndim > 1:
            return compute_sample_weight(self.class_weight, y)
        return compute_class_weight(self.class_weight, classes=self.classes_, y=y)[np.searchsorted(self.classes_, y)]

    def _output_groups(self) -> tuple[int, ...]:
        return tuple(map(len, self.classes_)) if isinstance(self.classes_, list) else ()

    def _validation_score(self, outputs: Array, Y: Array, weights: Array | None) -> float:
        if len(self.classes_) == 1:  # whatever the output, there is only one thing to say
            return 1.0
        if isinstance(self.classes_, list):
            right = (self._decode(outputs) == self._decode(Y)).all(axis=1)
        elif self.out_activation_ == "softmax":
            right = outputs.argmax(axis=1) == Y.argmax(axis=1)
        else:
            right = ((outputs > 0.5) == Y).all(axis=1)
        return float(np.average(right, weights=weights))

    # ---- predict -------------------------------------------------------------------------------------------------

    def predict(self, X):
        """Predict the classes of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            The predicted classes, one column for each of y; for multilabel targets, 0 and 1.
        """
        return self._decode(self._outputs(X))

    def predict_proba(self, X):
        """Estimate the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data.

        Returns
        -------
        y_prob : ndarray of shape (n_samples, n_classes), or a list of them
            The probabilities, in the order of ``classes_``. Of multilabel targets each column has its own: the rows do
            not sum to 1. For several columns of several classes a list with an array for each column of y.
        """
        if getattr(self, "n_outputs_", 0) == 1:
            return self._outputs(X, both=True)
        y_prob = self._outputs(X)
        if isinstance(self.classes_, list):
            return np.split(y_prob, np.cumsum(self._output_groups())[:-1], axis=1)
        return y_prob

    def predict_log_proba(self, X):
        """Estimate the logarithm of the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data.

        Returns
        -------
        log_y_prob : ndarray of shape (n_samples, n_classes), or a list of them
            ``log(predict_proba(X))``.
        """
        y_prob = self.predict_proba(X)
        return [np.log(p) for p in y_prob] if isinstance(y_prob, list) else np.log(y_prob, out=y_prob)

    def score(self, X, y, sample_weight=None):
        """The accuracy: the share of the rows all of whose classes are predicted.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data.

        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The true classes.

        sample_weight : array-like of shape (n_samples,), default=None
            How much each row counts.

        Returns
        -------
        score : float
            Between 0 and 1.
        """
        if not isinstance(getattr(self, "classes_", None), list):
            return super().score(X, y, sample_weight)
        y_pred, y = self.predict(X), np.asarray(y)
        if y.shape != y_pred.shape:
            raise ValueError(f"y must have shape {y_pred.shape}, got {y.shape}.")
        return float(np.average((y_pred == y).all(axis=1), weights=sample_weight))

    # ---- partial_fit ---------------------------------------------------------------------------------------------

    @available_if(lambda self: self._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None, classes=None):
        """Train for one epoch on the given data, from where the last call ended.

        The optimizer's state, ``t_`` and ``loss_curve_`` continue; an int ``random_state`` gives the same order of the
        rows at every call. ``early_stopping=True`` and ``class_weight='balanced'`` are not supported.

        The engine's copy of the weights and of that state is kept for the next call, which takes half of the time so; a
        copy of the estimator, or one that is fitted anew, is without it.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data.

        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The target values. Need not hold all of ``classes``.

        sample_weight : array-like of shape (n_samples,), default=None
            How much each row counts; all alike when None.

        classes : array-like of shape (n_classes,), or a list of them, default=None
            The classes of all calls together; for several columns of several classes a list with those of each column.
            Needed in the first call, unless ``fit`` came before it.

        Returns
        -------
        self : object
            The estimator, trained further.
        """
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight='{self.class_weight}' is not supported by partial_fit, which sees a part of the data. "
                "Give a dict: sklearn.utils.class_weight.compute_class_weight finds its values."
            )
        self._learn_classes(classes, y)
        return self._fit(X, y, sample_weight, incremental=True)

    def _learn_classes(self, classes: Any, y: Any) -> None:
        """Take in the `classes` of the first partial_fit, or check that later ones are the same."""
        known = getattr(self, "classes_", None)
        if isinstance(known, np.ndarray) and (classes is None or is_same(classes, known)):
            return
        columns = isinstance(classes, (list, tuple)) and len(classes) > 0 and all(np.ndim(c) == 1 for c in classes)
        if isinstance(known, list) or (known is None and columns):
            binarizer = _ColumnsBinarizer()
            if known is None:
                self._label_binarizer = binarizer.fit_classes(classes)
                self.classes_ = self._label_binarizer.classes_
            elif classes is not None:
                given = binarizer.fit_classes(classes).classes_ if columns else []
                if len(given) != len(known) or not all(map(np.array_equal, given, known)):
                    raise ValueError(f"`classes={classes!r}` is not the same as in the first fit, was: {known!r}")
        elif _check_partial_fit_first_call(self, classes):
            multilabel = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if multilabel else classes)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.target_tags.multi_output = True
        return tags


class _ColumnsBinarizer:
    """What LabelBinarizer is for one column of classes, for several: an indicator of each class of each column."""

    y_type_ = "multiclass-multioutput"

    def fit(self, y: Array) -> _ColumnsBinarizer:
        return self.fit_classes(y.T)

    def fit_classes(self, columns: Iterable[ArrayLike]) -> _ColumnsBinarizer:
        self.classes_ = [np.unique(column) for column in columns]
        return self

    def transform(self, y: Array) -> Array:
        """An array (n, number of all classes) of bool."""
        return np.hstack([column[:, None] == known for column, known in zip(y.T, self.classes_, strict=True)])
