"""What the C engine computes, in plain NumPy. Slow, naive and short: read it as the specification.

Part 1 holds the formulas, in the dtype of the arrays that go in; tests pass float64 or longer and allow for rounding.
Part 2 holds the arithmetic to the bit: in which order the engine rounds. Tests allow no difference there.

Matrices have one sample a row. csrc/nnfast.h and csrc/kernels.h name the C functions; scikit-learn 1.9.1 is the source
of the losses, the penalty and the optimizers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import mpmath
import numpy as np
from scipy.special import ndtr

# ---- Part 1: formulas ------------------------------------------------------------------------------------------------


def matmul(A, B):
    """C[i, j] = sum over p of A[i, p] B[p, j], p in order."""
    C = np.zeros((A.shape[0], B.shape[1]), np.result_type(A, B))
    for p in range(A.shape[1]):
        C = C + A[:, p, np.newaxis] * B[p]
    return C


def softmax(x):
    """Rows to probabilities. The shift by the maximum changes nothing but the range of the exponentials."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def logistic(x):
    """1 / (1 + e^-x), with no exponential that overflows."""
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def ordered(z):
    """p_0 = z_0, p_k = p_(k-1) + log(1 + e^z_k): rows that never fall."""
    return np.cumsum(np.concatenate([z[:, :1], np.logaddexp(0, z[:, 1:])], axis=1), axis=1)


def softplus(x):
    """log(1 + e^x)."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def normal_share(x):
    """The share of a standard normal distribution below x; of long doubles to all their digits."""
    if x.dtype != np.longdouble:
        return ndtr(x)
    dtype, x = x.dtype, np.clip(x, -130, 130)  # beyond it a long double can hold no difference
    rests = x - x.astype(np.float64)
    with mpmath.workdps(40):
        shares = [
            mpmath.ncdf(mpmath.mpf(float(v)) + float(rest)) for v, rest in zip(x.ravel(), rests.ravel(), strict=True)
        ]
        digits = [np.longdouble(mpmath.nstr(share, 25)) for share in shares]
    return np.array(digits, np.longdouble).astype(dtype).reshape(x.shape)


# Klambauer et al. 2017.
SELU_SCALE = np.longdouble("1.0507009873554804934193349852946")
SELU_ALPHA = np.longdouble("1.6732632423543772848170429916717")

# The comparisons are written so that NaN passes through all but the step's slope.
ACTIVATIONS: dict[str, Callable] = {
    "identity": lambda x: x,
    "logistic": logistic,
    "tanh": np.tanh,
    "relu": lambda x: np.where(x <= 0, 0, x),
    "leaky_relu": lambda x: np.where(x <= 0, x.dtype.type(0.01) * x, x),
    "step": lambda x: np.where(x <= 0, 0, np.where(x > 0, 1, x)),
    "exp": np.exp,
    "softmax": softmax,
    "ordered": ordered,
    "elu": lambda x, alpha=1.0: np.where(x < 0, x.dtype.type(alpha) * np.expm1(np.minimum(x, 0)), x),
    "selu": lambda x: x.dtype.type(SELU_SCALE) * np.where(x < 0, SELU_ALPHA * np.expm1(np.minimum(x, 0)), x),
    "gelu": lambda x: np.where(x == -np.inf, 0, x * normal_share(x)),
    "silu": lambda x: np.where(x == -np.inf, 0, x * logistic(x)),
    "mish": lambda x: np.where(x == -np.inf, 0, x * np.tanh(softplus(x))),
    "softplus": lambda x: softplus(x),
    "hard_sigmoid": lambda x: np.clip((x + 3) / 6, 0, 1),
    "softsign": lambda x: np.where(np.isinf(x), np.sign(x), x / (1 + np.abs(x))),
}

# The slope f'(z), from the value y = f(z). At the kink, z = 0, that of the negative side, as in scikit-learn.
SLOPES: dict[str, Callable] = {
    "identity": np.ones_like,
    "logistic": lambda y: y * (1 - y),
    "tanh": lambda y: 1 - y * y,
    "relu": lambda y: np.where(y == 0, 0, 1).astype(y.dtype),
    "leaky_relu": lambda y: np.where(y <= 0, 0.01, 1).astype(y.dtype),
    "step": np.zeros_like,
    "exp": lambda y: y,
    "elu": lambda y, alpha=1.0: np.where(y <= 0, y + y.dtype.type(alpha), 1).astype(y.dtype),
    "selu": lambda y: np.where(y <= 0, y + y.dtype.type(SELU_SCALE * SELU_ALPHA), y.dtype.type(SELU_SCALE)),
    "softplus": lambda y: -np.expm1(-y),
    "hard_sigmoid": lambda y: np.where((y > 0) & (y < 1), y.dtype.type(1 / np.longdouble(6)), 0).astype(y.dtype),
    "softsign": lambda y: (1 - np.abs(y)) ** 2,
}

# And from z, where several z have that value.
SLOPES_AT: dict[str, Callable] = {
    "gelu": lambda z: normal_share(z) + bounded(z) * np.exp(-(bounded(z) ** 2) / 2) / np.sqrt(2 * np.pi),
    "silu": lambda z: logistic(z) + bounded(z) * logistic(z) * logistic(-z),
    "mish": lambda z: (
        np.tanh(softplus(z)) + bounded(z) * logistic(z) * (1 / np.cosh(np.minimum(softplus(z), 1000))) ** 2
    ),
}


def bounded(z):
    """z, where the factor beside it is 0 anyway made small enough that it stays so."""
    return np.clip(z, -1000, 1000)


def slope(activation, z, y):
    """f'(z), where y = f(z)."""
    return SLOPES_AT[activation](z) if activation in SLOPES_AT else SLOPES[activation](y)


def linear(X, W, b, activation="identity"):
    """One dense layer."""
    return ACTIVATIONS[activation](matmul(X, W) + b)


# The output activation of each loss. With these four it is the canonical link: dL/dz of the output layer is P - Y.
CANONICAL = {"squared_error": "identity", "log_loss": "softmax", "binary_log_loss": "logistic", "poisson": "exp"}
LINKS = CANONICAL | {
    "absolute_error": "identity",
    "huber": "identity",
    "log_cosh": "identity",
    "gamma": "exp",
    "tweedie": "exp",
    "focal": "softmax",
    "binary_focal": "logistic",
    "quantile": "ordered",
}


def xlogy(x, y):
    """x log(y), and 0 where x is 0."""
    return np.where(x == 0, 0, x * np.log(np.where(x == 0, 1, y)))


def levels(n):
    """Levels of the quantile loss for n outputs, unevenly spread."""
    return (np.arange(1, n + 1) / (n + 1)) ** 1.5


def row_losses(net, P, Y):
    """The loss of each row, summed over the outputs P (n, n_out) against the targets Y. Probabilities are clipped to
    [eps, 1 - eps], where eps belongs to the dtype that is being described."""
    p, d = np.clip(P, net.clip, 1 - net.clip), P - Y
    a, b, q = 1 - net.tweedie_power, 2 - net.tweedie_power, levels(P.shape[1])
    rest = 1 - p
    terms = {
        "squared_error": lambda: d**2 / 2,
        "log_loss": lambda: -xlogy(Y, p),
        "binary_log_loss": lambda: -xlogy(Y, p) - xlogy(1 - Y, rest),
        "poisson": lambda: xlogy(Y, Y / P) - Y + P,
        "absolute_error": lambda: abs(d),
        "huber": lambda: np.where(
            abs(d) <= net.huber_delta, d**2 / 2, net.huber_delta * (abs(d) - net.huber_delta / 2)
        ),
        "log_cosh": lambda: np.logaddexp(d, -d) - np.log(np.asarray(2, d.dtype)),
        "gamma": lambda: Y / P - np.log(Y / P) - 1,
        "tweedie": lambda: Y**b / (a * b) - Y * P**a / a + P**b / b,
        "focal": lambda: -(rest**net.focal_gamma) * xlogy(Y, p),
        "binary_focal": lambda: -(rest**net.focal_gamma) * xlogy(Y, p) - p**net.focal_gamma * xlogy(1 - Y, rest),
        "quantile": lambda: np.where(d > 0, (1 - q) * d, -q * d),
    }[net.loss]()
    return terms.sum(axis=1)


def output_gradient(net, Z, P, Y):
    """dL/dz of the output layer, where P = f(Z), by the chain rule through the Jacobian of f."""
    g, d, rest, q = net.focal_gamma, P - Y, 1 - P, levels(P.shape[1])
    if net.loss in CANONICAL:
        return d
    slope = {
        "absolute_error": lambda: np.sign(d),
        "huber": lambda: np.clip(d, -net.huber_delta, net.huber_delta),
        "log_cosh": lambda: np.tanh(d),
        "gamma": lambda: (1 - Y / P) / P,
        "tweedie": lambda: (P - Y) * P**-net.tweedie_power,
        "focal": lambda: Y * (g * rest ** (g - 1) * np.log(P) - rest**g / P),
        "binary_focal": lambda: (
            Y * (g * rest ** (g - 1) * np.log(P) - rest**g / P)
            - (1 - Y) * (g * P ** (g - 1) * np.log(rest) - P**g / rest)
        ),
        "quantile": lambda: np.where(d > 0, 1 - q, np.where(d < 0, -q, 0)),
    }[net.loss]()  # dL/dp
    if LINKS[net.loss] == "softmax":
        return P * (slope - (P * slope).sum(axis=1, keepdims=True))
    if LINKS[net.loss] == "ordered":
        later = np.cumsum(slope[:, ::-1], axis=1)[:, ::-1]
        return np.concatenate([later[:, :1], later[:, 1:] * logistic(Z[:, 1:])], axis=1)
    return slope * SLOPES[LINKS[net.loss]](P)


@dataclass
class Network:
    """A network in training: W_l (n_l, n_l+1), b_l (n_l+1), and what the optimizer remembers of each of them."""

    coefs: list
    intercepts: list
    activation: str = "relu"
    loss: str = "squared_error"
    solver: str = "sgd"  # one of csrc/solver.def
    alpha: float = 0.0
    l1: float = 0.0
    clip_value: float = 0.0  # 0: none
    clip_norm: float = 0.0
    momentum: float = 0.9
    beta_1: float = 0.9
    beta_2: float = 0.999  # also rmsprop's
    epsilon: float = 1e-8
    decay: float = 0.0  # part of each weight taken off before a step
    clip: float = 2.0**-52  # of probabilities, in the loss
    huber_delta: float = 1.0
    tweedie_power: float = 1.5
    focal_gamma: float = 2.0
    # Of each parameter, coefs then intercepts: what its solver remembers, Adam m and v.
    state_1: list = field(default_factory=list)
    state_2: list = field(default_factory=list)

    def __post_init__(self):
        if not self.state_1:
            self.state_1 = [np.zeros_like(p) for p in self.coefs + self.intercepts]
            self.state_2 = [np.zeros_like(p) for p in self.coefs + self.intercepts]

    @property
    def activations(self):
        return [self.activation] * (len(self.coefs) - 1) + [LINKS[self.loss]]

    def copy(self):
        """A network of its own."""
        lists = ("coefs", "intercepts", "state_1", "state_2")
        return replace(self, **{name: [a.copy() for a in getattr(self, name)] for name in lists})


def random_network(rng, sizes: Sequence[int], dtype="float64", **options) -> Network:
    """Weights of a size that keeps the units in their interesting range."""
    coefs = [(rng.standard_normal(shape) / np.sqrt(shape[0])).astype(dtype) for shape in pairwise(sizes)]
    intercepts = [(0.3 * rng.standard_normal(n)).astype(dtype) for n in sizes[1:]]
    return Network(coefs, intercepts, clip=float(np.finfo(dtype).eps), **options)


def random_targets(rng, loss, n, n_out, dtype="float64"):
    """Targets (n, n_out) that the loss is made for; of counts and amounts some are 0."""
    link = LINKS[loss]
    if loss == "quantile":
        Y = np.repeat(rng.standard_normal((n, 1)), n_out, axis=1)
    elif link == "identity":
        Y = rng.standard_normal((n, n_out))
    elif link == "softmax":
        Y = np.eye(n_out)[rng.integers(0, n_out, n)]
    elif link == "logistic":
        Y = rng.integers(0, 2, (n, n_out))
    else:
        Y = rng.gamma(2.0, size=(n, n_out)) if loss == "gamma" else rng.poisson(1.5, (n, n_out))
    return np.ascontiguousarray(Y, dtype)


def layer_values(net, X):
    """[X, f(z_1), f(z_2), ..., P]: the input and the output of every layer."""
    values = [X]
    for W, b, activation in zip(net.coefs, net.intercepts, net.activations, strict=True):
        values.append(linear(values[-1], W, b, activation))
    return values


def forward(net, X):
    return layer_values(net, X)[-1]


def penalty(net):
    """L2 and L1 penalty on the weights, to be divided by the rows of the batch. Intercepts are free."""
    return sum(net.alpha / 2 * (W * W).sum() + net.l1 * np.abs(W).sum() for W in net.coefs)


def mean_loss(net, X, Y):
    """What training makes small: the mean loss of the rows and the penalty."""
    return (row_losses(net, forward(net, X), Y).sum() + penalty(net)) / len(X)


def gradients(net, X, Y):
    """Of mean_loss, by backpropagation: for the coefs, then for the intercepts."""
    n, values = len(X), layer_values(net, X)
    Z = linear(values[-2], net.coefs[-1], net.intercepts[-1])
    delta = output_gradient(net, Z, values[-1], Y)
    d_coefs, d_intercepts = [], []
    for layer in reversed(range(len(net.coefs))):
        W = net.coefs[layer]
        d_coefs.insert(0, (matmul(values[layer].T, delta) + net.alpha * W + net.l1 * np.sign(W)) / n)
        d_intercepts.insert(0, delta.sum(axis=0) / n)
        if layer > 0:
            z = matmul(values[layer - 1], net.coefs[layer - 1]) + net.intercepts[layer - 1]
            delta = matmul(delta, W.T) * slope(net.activation, z, values[layer])
    return d_coefs + d_intercepts


def adam_rate(rate, t, beta_1, beta_2):
    """The learning rate of step t = 1, 2, ... with both bias corrections."""
    return rate * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)


def nadam_rates(rate, t, beta_1, beta_2):
    """Those of the running mean and of the gradient itself in step t = 1, 2, ..., with the bias corrections."""
    mu = [beta_1 * (1 - 0.5 * 0.96 ** (0.004 * k)) for k in range(1, t + 2)]  # mu_1 .. mu_(t + 1)
    rate = rate * np.sqrt(1 - beta_2**t)
    return rate * mu[t] / (1 - np.prod(mu)), rate * (1 - mu[t - 1]) / (1 - np.prod(mu[:t]))


def shrink(w, by):
    """Towards 0 by this much, and not beyond."""
    return np.sign(w) * np.maximum(np.abs(w) - by, 0)


def step_gradients(net, X, Y):
    """What an optimizer is given: without the L1 penalty, and within the limits; and the norm before it is limited."""
    found = gradients(replace(net, l1=0.0), X, Y)
    if net.clip_value:
        found = [np.clip(g, -net.clip_value, net.clip_value) for g in found]
    norm = np.sqrt(sum((g**2).sum() for g in found))
    factor = min(1.0, net.clip_norm / norm) if net.clip_norm else 1.0
    return [factor * g for g in found], norm


def reach_of_step(solver, rate, t, momentum, beta_1, beta_2):
    """How far step t = 1, 2, ... moves a weight whose gradient has been 1 all the time, if nothing is divided by. The
    optimizer itself, run on that gradient."""
    if solver in ("momentum", "nesterov"):
        velocity = 0.0
        for _ in range(t):
            velocity = momentum * velocity + rate
        return momentum * velocity + rate if solver == "nesterov" else velocity
    if solver in ("adam", "nadam"):
        mean = 0.0
        for _ in range(t):
            mean = beta_1 * mean + (1 - beta_1)
        if solver == "adam":
            return adam_rate(rate, t, beta_1, beta_2) * mean
        of_mean, of_gradient = nadam_rates(rate, t, beta_1, beta_2)
        return of_mean * mean + of_gradient
    return rate


def step(net, X, Y, rate, reach=0.0):
    """One step of the optimizer on a batch; changes the network. For Adam, rate is adam_rate(...), for NAdam
    nadam_rates(...); the reach, for the L1 penalty, is reach_of_step(...)."""
    parameters = net.coefs + net.intercepts
    for i, (w, g) in enumerate(zip(parameters, step_gradients(net, X, Y)[0], strict=True)):
        is_weight = i < len(net.coefs)
        l1 = net.l1 / len(X) if is_weight else 0.0
        w *= 1 - (net.decay if is_weight else 0.0)
        change, size = step_of(net, i, w, g, rate, l1)
        old = w.copy()
        w += change
        if net.solver != "rprop":
            w[:] = shrink(w, reach / size * l1)
        if net.solver == "rprop" and l1:
            w[old * w < 0] = 0


def step_of(net, i, w, g, rate, l1):
    """What is added to parameter i, and the size that the solver divides by; changes the network's states."""
    m, v = net.state_1[i], net.state_2[i]
    if net.solver == "sgd":
        return -rate * g, 1.0
    if net.solver in ("adam", "nadam"):
        rate, of_gradient = rate if net.solver == "nadam" else (rate, 0.0)
        m = net.state_1[i] = net.beta_1 * m + (1 - net.beta_1) * g
        v = net.state_2[i] = net.beta_2 * v + (1 - net.beta_2) * g**2
        size = np.sqrt(v) + net.epsilon
        return -(rate * m + of_gradient * g) / size, size
    if net.solver in ("rmsprop", "adagrad"):
        m = net.state_1[i] = m + g**2 if net.solver == "adagrad" else net.beta_2 * m + (1 - net.beta_2) * g**2
        size = np.sqrt(m) + net.epsilon
        return -rate * g / size, size
    if net.solver == "rprop":
        g = np.where(w == 0, shrink(g, l1), g + l1 * np.sign(w))
        factor = np.select([np.sign(g) * m > 0, np.sign(g) * m < 0], [1.2, 0.5], 1.0)
        v = net.state_2[i] = np.clip(np.where(v == 0, 1, v) * factor, 1e-4, 5e3)
        m = net.state_1[i] = np.where(factor < 1, 0, np.sign(g))
        return -rate * v * m, 1.0
    m = net.state_1[i] = net.momentum * m - rate * g
    return net.momentum * m - rate * g if net.solver == "nesterov" else m, 1.0


def batches(n, batch_size):
    """Slices of the visiting order; the last one may be shorter."""
    return [slice(first, min(first + batch_size, n)) for first in range(0, n, batch_size)]


def epoch(net, X, Y, batch_size, rates, order=None, reaches=None):
    """One pass in mini-batches. Returns the sums over the rows of the data loss and of the penalty, each with the
    weights before the step of its batch."""
    order = np.arange(len(X)) if order is None else np.asarray(order)
    data_sum = penalty_sum = 0.0
    reaches = [0.0] * len(rates) if reaches is None else reaches
    for rows, rate, reach in zip(batches(len(order), batch_size), rates, reaches, strict=True):
        x, y = X[order[rows]], Y[order[rows]]
        data_sum += row_losses(net, forward(net, x), y).sum()
        penalty_sum += penalty(net)
        step(net, x, y, rate, reach)
    return data_sum, penalty_sum


def perceptron(X, target, step, n_epochs=1, eta0=1.0, l1=0.0, l2=0.0, sparse=False):
    """One neuron, sample by sample in the order of the rows, from zero: w (n, n_features) and b (n,) after each sample.

    step(z, t) is the step along x for eta0 = 1. l1 and l2 are the shares of alpha. The L1 penalty is the cumulative one
    of Tsuruoka et al. 2009: weights make up for what they owe, and stop at 0. With sparse rows those wait whose feature
    is 0, and the intercept learns 100 times slower.
    """
    w, b, owed, paid = np.zeros(X.shape[1]), 0.0, 0.0, np.zeros(X.shape[1])
    weights, intercepts = [], []
    for _ in range(n_epochs):
        for x, t in zip(X, target, strict=True):
            change = eta0 * step(x @ w + b, t)
            w = w * max(0.0, 1 - eta0 * l2) + change * x
            b += change * (0.01 if sparse else 1)
            owed += eta0 * l1
            rest = np.maximum(np.abs(w) - (owed + np.sign(w) * paid), 0)
            shrunk = np.where(sparse & (x == 0), w, np.sign(w) * rest)
            paid += shrunk - w
            w = shrunk
            weights.append(w)
            intercepts.append(b)
    return np.array(weights), np.array(intercepts)


# ---- Part 2: to the bit ----------------------------------------------------------------------------------------------

SUM_LANES = 16  # NNF_SUM_LANES of kernels.h
BLOCK_ROWS = 48  # NNF_BLOCK_ROWS
CHAIN_ROWS = 4096  # NNF_CHAIN_ROWS


def _two_sum(a, b):
    """a + b rounded, and what rounding lost (Knuth); exact unless it overflows."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def _two_product(a, b):
    """a b rounded, and what rounding lost (Dekker, with Veltkamp's splitting); exact for moderate exponents."""
    split = a.dtype.type(2 ** ((np.finfo(a.dtype).nmant + 2) // 2) + 1)

    def halves(x):
        t = split * x
        high = t - (t - x)
        return high, x - high

    (ah, al), (bh, bl) = halves(a), halves(b)
    p = a * b
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


def _add_to_odd(a, b):
    """a + b rounded to odd: when it is not exact, to the neighbour whose last bit is 1."""
    s, lost = _two_sum(a, b)
    bits = s.view(f"i{s.itemsize}")
    other = np.nextafter(s, np.where(lost > 0, np.inf, -np.inf).astype(s.dtype))
    return np.where((lost != 0) & (bits % 2 == 0), other, s)


def fused(a, b, c):
    """a b + c rounded once, for arrays of float32 or float64 (Boldo and Melquiond 2008, "Emulation of FMA and correctly
    rounded sums"). Exact for moderate exponents: no overflow, and no part that is subnormal."""
    a, b, c = (np.asarray(x) for x in np.broadcast_arrays(a, b, c))
    product, low_product = _two_product(a, b)
    high, middle = _two_sum(c, low_product)
    top, below = _two_sum(product, high)
    return top + _add_to_odd(below, middle)


def separate(a, b, c):
    """a b rounded, then + c rounded: what the scalar kernels do in place of an FMA."""
    return a * b + c


def multiply_add(isa):
    """The multiply-add of an instruction set."""
    return separate if isa == "scalar" else fused


def chain(fma, A, B, start):
    """A B + start; every element is one chain of multiply-adds in order of p."""
    C = np.broadcast_to(start, (A.shape[0], B.shape[1])).astype(A.dtype)
    for p in range(A.shape[1]):
        C = fma(A[:, p, np.newaxis], B[p][np.newaxis, :], C)
    return C


def column_sums(x):
    """Sums over the rows, one chain a column."""
    total = np.zeros(x.shape[1], x.dtype)
    for row in x:
        total = total + row
    return total


def lane_sums(x):
    """Sums along the last axis: element j goes to lane j % 16; then 8 + 8, 4 + 4, 2 + 2, 1 + 1."""
    lanes = np.zeros((*x.shape[:-1], SUM_LANES), x.dtype)
    for j in range(x.shape[-1]):
        lanes[..., j % SUM_LANES] += x[..., j]
    half = SUM_LANES // 2
    while half > 0:
        lanes[..., :half] += lanes[..., half : 2 * half]
        half //= 2
    return lanes[..., 0]


def in_chains(sums, n_rows, dtype):
    """sums(rows) over 4096 samples at a time, merged in order in float64. One chain is left as it is."""
    if n_rows <= CHAIN_ROWS:
        return sums(slice(0, n_rows))
    merged = 0.0
    for rows in batches(n_rows, CHAIN_ROWS):
        merged = merged + sums(rows).astype(np.float64)
    return merged.astype(dtype)


def block_sums(W, add):
    """add(sum, row) in chains down 48 rows of a column: an array (blocks, n)."""
    sums = []
    for first in range(0, len(W), BLOCK_ROWS):
        chain = np.zeros(W.shape[1], W.dtype)
        for row in W[first : first + BLOCK_ROWS]:
            chain = add(chain, row)
        sums.append(chain)
    return np.array(sums)


def sum_of_rows(x):
    """Every row of x into 16 lanes, in float64."""
    lanes = np.zeros(SUM_LANES)
    for row in x.astype(np.float64):
        for j, value in enumerate(row):
            lanes[j % SUM_LANES] += value
    return float(lane_sums(lanes))


def penalty_to_the_bit(fma, net):
    squares = sum(sum_of_rows(block_sums(W, lambda chain, w: fma(w, w, chain))) for W in net.coefs)
    sizes = sum(sum_of_rows(block_sums(W, lambda chain, w: chain + np.abs(w))) for W in net.coefs)
    return 0.5 * net.alpha * squares + net.l1 * sizes


def flush(moments):
    """Moments below the smallest normal number become 0."""
    return np.where(np.abs(moments) < np.finfo(moments.dtype).tiny, moments.dtype.type(0), moments)


def update_to_the_bit(fma, net, i, w, g, rate, reach, n):
    """The new value of parameter i after a batch of n rows. Constants are rounded to the dtype first. For NAdam `rate`
    is that of the running mean and that of the gradient."""
    T = w.dtype.type
    l1 = T(net.l1 / n if i < len(net.coefs) else 0.0)
    if i < len(net.coefs):
        w = T(1 - net.decay) * w
    w, size = step_to_the_bit(fma, net, i, w, g, rate, l1)
    by = T(0) if net.solver == "rprop" else (T(reach) if size is None else T(reach) / size) * l1
    return np.where(np.abs(w) < by, T(0), w - np.copysign(by, w))


def step_to_the_bit(fma, net, i, w, g, rate, l1):
    """What a step makes of w, and the size that it divides by, if any."""
    T = w.dtype.type
    m, v = net.state_1[i], net.state_2[i]
    rate, of_gradient = (T(one) for one in (rate if net.solver == "nadam" else (rate, 0.0)))
    epsilon = T(net.epsilon)
    if net.solver == "sgd":
        return fma(-rate, g, w), None
    if net.solver in ("adam", "nadam"):
        m = net.state_1[i] = flush(fma(T(net.beta_1), m, T(1 - net.beta_1) * g))
        v = net.state_2[i] = flush(fma(T(net.beta_2), v, T(1 - net.beta_2) * (g * g)))
        size = np.sqrt(v) + epsilon
        if net.solver == "adam":
            return w - (rate * m) / size, size
        return w - fma(rate, m, of_gradient * g) / size, size
    if net.solver in ("rmsprop", "adagrad"):
        squares = fma(g, g, m) if net.solver == "adagrad" else fma(T(net.beta_2), m, T(1 - net.beta_2) * (g * g))
        m = net.state_1[i] = flush(squares)
        size = np.sqrt(m) + epsilon
        return w - (rate * g) / size, size
    if net.solver == "rprop":
        towards_0 = np.where(np.abs(g) < l1, T(0), g - np.copysign(l1, g))
        sign = np.sign(np.where(w == 0, towards_0, g + np.copysign(l1, w)))
        v = np.where(v == 0, T(1), v)
        shorter, longer = np.maximum(v * T(0.5), T(1e-4)), np.minimum(v * T(1.2), T(5e3))
        v = net.state_2[i] = np.select([sign * m > 0, sign * m < 0], [longer, shorter], v)
        m = net.state_1[i] = np.where(sign * m < 0, T(0), sign)
        stepped = fma(-(rate * v), m, w)
        return np.where(np.sign(stepped) * np.sign(w) * l1 < 0, T(0), stepped), None
    momentum = T(net.momentum)
    velocity = net.state_1[i] = flush(fma(-rate, g, momentum * m))
    w = w + (fma(-rate, g, momentum * velocity) if net.solver == "nesterov" else velocity)
    return w, None


def limited_to_the_bit(fma, net, found):
    """The gradients within clip_value and clip_norm, and their norm before the latter."""
    T = found[0].dtype.type
    if net.clip_value:
        limit = T(net.clip_value)
        found = [np.where(np.abs(g) > limit, np.copysign(limit, g), g) for g in found]
    if not net.clip_norm:
        return found, 0.0
    n_layers = len(net.coefs)
    total = 0.0
    for layer in range(n_layers):
        total += sum_of_rows(block_sums(found[layer], lambda chain, g: fma(g, g, chain)))
        total += sum_of_rows(block_sums(found[n_layers + layer][np.newaxis], lambda chain, g: fma(g, g, chain)))
    norm = float(np.sqrt(total))
    factor = T(net.clip_norm / norm if norm > net.clip_norm else 1)
    return [g * factor for g in found], norm


def slope_to_the_bit(fma, activation, y):
    """Each operation rounded: numpy's own arithmetic."""
    return SLOPES[activation](y)


def softmax_to_the_bit(exp, x):
    """exp is the engine's own: its last bit is not prescribed."""
    e = exp(x - x.max(axis=-1, keepdims=True))
    return e / lane_sums(e)[..., np.newaxis]


def epoch_to_the_bit(fma, activate, net, X, Y, batch_size, rates, order=None, only_gradients=False, reaches=None):
    """`epoch`, rounded as the engine rounds. activate(name, x) is the engine's elementwise function.

    Returns the sums of data loss (None unless it is the squared error, whose terms hold no logarithm) and penalty.
    With only_gradients nothing is updated, and the gradients of the last batch come third.
    """
    order = np.arange(len(X)) if order is None else np.asarray(order)
    dtype = X.dtype
    data_sum = penalty_sum = norm_sum = 0.0
    found = []
    reaches = [0.0] * len(rates) if reaches is None else reaches
    for rows, rate, reach in zip(batches(len(order), batch_size), rates, reaches, strict=True):
        x, y = X[order[rows]], Y[order[rows]]
        n = len(x)
        values = [x]
        for W, b in zip(net.coefs[:-1], net.intercepts[:-1], strict=True):
            values.append(activate(net.activation, chain(fma, values[-1], W, b)))
        z = chain(fma, values[-1], net.coefs[-1], net.intercepts[-1])
        if net.loss == "log_loss":
            P = softmax_to_the_bit(lambda x: activate("exp", x), z)
        else:
            P = activate(LINKS[net.loss], z)
        delta = P - y

        penalty_sum += penalty_to_the_bit(fma, net)
        if net.loss == "squared_error":
            batch_loss = 0.0
            for row in lane_sums(dtype.type(0.5) * (delta * delta)):
                batch_loss += float(row)
            data_sum += batch_loss

        deltas = [delta]
        for layer in reversed(range(1, len(net.coefs))):
            dx = chain(fma, deltas[0], net.coefs[layer].T, dtype.type(0))
            if net.activation != "identity":
                dx = dx * slope_to_the_bit(fma, net.activation, values[layer])
            deltas.insert(0, dx)

        n_layers = len(net.coefs)
        found = []
        for i in range(2 * n_layers):
            layer = i % n_layers
            value, delta = values[layer], deltas[layer]
            if i < n_layers:
                w, alpha = net.coefs[layer], net.alpha
                dw = in_chains(lambda s: chain(fma, value[s].T, delta[s], dtype.type(0)), n, dtype)  # noqa: B023
            else:
                w, alpha = net.intercepts[layer], 0.0
                dw = in_chains(lambda s: column_sums(delta[s]), n, dtype)  # noqa: B023
            found.append(fma(dtype.type(alpha), w, dw) * dtype.type(1 / n))
        if only_gradients:
            found[:n_layers] = [
                fma(np.sign(W), dtype.type(net.l1 / n), g) for W, g in zip(net.coefs, found, strict=False)
            ]
            continue
        found, norm = limited_to_the_bit(fma, net, found)
        norm_sum += norm
        for i, g in enumerate(found):
            parameters, layer = (net.coefs, i) if i < n_layers else (net.intercepts, i - n_layers)
            parameters[layer] = update_to_the_bit(fma, net, i, parameters[layer], g, rate, reach, n)
    return data_sum if net.loss == "squared_error" else None, penalty_sum, found, norm_sum
