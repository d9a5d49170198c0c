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

import numpy as np

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
}


def linear(X, W, b, activation="identity"):
    """One dense layer."""
    return ACTIVATIONS[activation](matmul(X, W) + b)


# The output activation of each loss is its canonical link: then the delta dL/dz of the output layer is P - Y.
LINKS = {"squared_error": "identity", "log_loss": "softmax", "binary_log_loss": "logistic", "poisson": "exp"}


def xlogy(x, y):
    """x log(y), and 0 where x is 0."""
    return np.where(x == 0, 0, x * np.log(np.where(x == 0, 1, y)))


def row_losses(loss, P, Y, eps):
    """The loss of each row, summed over the outputs P (n, n_out) against the targets Y. Probabilities are clipped to
    [eps, 1 - eps], where eps belongs to the dtype that is being described."""
    p = np.clip(P, eps, 1 - eps)
    terms = {
        "squared_error": lambda: (P - Y) ** 2 / 2,
        "log_loss": lambda: -xlogy(Y, p),
        "binary_log_loss": lambda: -xlogy(Y, p) - xlogy(1 - Y, 1 - p),
        "poisson": lambda: xlogy(Y, Y / P) - Y + P,
    }[loss]()
    return terms.sum(axis=1)


@dataclass
class Network:
    """A network in training: W_l (n_l, n_l+1), b_l (n_l+1), and what the optimizer remembers of each of them."""

    coefs: list
    intercepts: list
    activation: str = "relu"
    loss: str = "squared_error"
    solver: str = "sgd"  # sgd, momentum, nesterov, adam
    alpha: float = 0.0
    momentum: float = 0.9
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    decay: float = 0.0  # part of each weight taken off before a step
    clip: float = 2.0**-52  # of probabilities, in the loss
    state_1: list = field(default_factory=list)  # per parameter, coefs then intercepts: velocity, or Adam's m
    state_2: list = field(default_factory=list)  # Adam's v

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
    """Targets (n, n_out) that the loss is made for; for poisson some are 0."""
    if loss == "squared_error":
        Y = rng.standard_normal((n, n_out))
    elif loss == "log_loss":
        Y = np.eye(n_out)[rng.integers(0, n_out, n)]
    elif loss == "binary_log_loss":
        Y = rng.integers(0, 2, (n, n_out))
    else:
        Y = rng.poisson(1.5, (n, n_out))
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
    """L2 penalty on the weights, to be divided by the rows of the batch. Intercepts are free."""
    return net.alpha / 2 * sum((W * W).sum() for W in net.coefs)


def mean_loss(net, X, Y):
    """What training makes small: the mean loss of the rows and the penalty."""
    return (row_losses(net.loss, forward(net, X), Y, net.clip).sum() + penalty(net)) / len(X)


def gradients(net, X, Y):
    """Of mean_loss, by backpropagation: for the coefs, then for the intercepts."""
    n, values = len(X), layer_values(net, X)
    delta = values[-1] - Y
    d_coefs, d_intercepts = [], []
    for layer in reversed(range(len(net.coefs))):
        W = net.coefs[layer]
        d_coefs.insert(0, (matmul(values[layer].T, delta) + net.alpha * W) / n)
        d_intercepts.insert(0, delta.sum(axis=0) / n)
        if layer > 0:
            delta = matmul(delta, W.T) * SLOPES[net.activation](values[layer])
    return d_coefs + d_intercepts


def adam_rate(rate, t, beta_1, beta_2):
    """The learning rate of step t = 1, 2, ... with both bias corrections."""
    return rate * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)


def step(net, X, Y, rate):
    """One step of the optimizer on a batch; changes the network. For Adam, rate is adam_rate(...)."""
    parameters = net.coefs + net.intercepts
    for i, (w, g) in enumerate(zip(parameters, gradients(net, X, Y), strict=True)):
        if net.solver == "sgd":
            change = -rate * g
        elif net.solver == "adam":
            net.state_1[i] = net.beta_1 * net.state_1[i] + (1 - net.beta_1) * g
            net.state_2[i] = net.beta_2 * net.state_2[i] + (1 - net.beta_2) * g**2
            change = -rate * net.state_1[i] / (np.sqrt(net.state_2[i]) + net.epsilon)
        else:
            net.state_1[i] = net.momentum * net.state_1[i] - rate * g
            change = net.state_1[i]
            if net.solver == "nesterov":
                change = net.momentum * net.state_1[i] - rate * g
        if i < len(net.coefs):
            w *= 1 - net.decay
        w += change


def batches(n, batch_size):
    """Slices of the visiting order; the last one may be shorter."""
    return [slice(first, min(first + batch_size, n)) for first in range(0, n, batch_size)]


def epoch(net, X, Y, batch_size, rates, order=None):
    """One pass in mini-batches. Returns the sums over the rows of the data loss and of the penalty, each with the
    weights before the step of its batch."""
    order = np.arange(len(X)) if order is None else np.asarray(order)
    data_sum = penalty_sum = 0.0
    for rows, rate in zip(batches(len(order), batch_size), rates, strict=True):
        x, y = X[order[rows]], Y[order[rows]]
        data_sum += row_losses(net.loss, forward(net, x), y, net.clip).sum()
        penalty_sum += penalty(net)
        step(net, x, y, rate)
    return data_sum, penalty_sum


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


def penalty_to_the_bit(fma, net):
    """Squares in chains down 48 rows of a column; then every row of such blocks into 16 lanes, in float64."""
    total = 0.0
    for W in net.coefs:
        lanes = np.zeros(SUM_LANES)
        for first in range(0, len(W), BLOCK_ROWS):
            squares = np.zeros(W.shape[1], W.dtype)
            for row in W[first : first + BLOCK_ROWS]:
                squares = fma(row, row, squares)
            for j, square in enumerate(squares.astype(np.float64)):
                lanes[j % SUM_LANES] += square
        total += lane_sums(lanes)
    return 0.5 * net.alpha * total


def flush(moments):
    """Moments below the smallest normal number become 0."""
    return np.where(np.abs(moments) < np.finfo(moments.dtype).tiny, moments.dtype.type(0), moments)


def update_to_the_bit(fma, net, i, w, g, rate):
    """The new value of parameter i. Constants are rounded to the dtype first."""
    T = w.dtype.type
    rate, momentum = T(rate), T(net.momentum)
    if i < len(net.coefs):
        w = T(1 - net.decay) * w
    if net.solver == "sgd":
        return fma(-rate, g, w)
    if net.solver == "adam":
        m = flush(fma(T(net.beta_1), net.state_1[i], T(1 - net.beta_1) * g))
        v = flush(fma(T(net.beta_2), net.state_2[i], T(1 - net.beta_2) * (g * g)))
        net.state_1[i], net.state_2[i] = m, v
        return w - (rate * m) / (np.sqrt(v) + T(net.epsilon))
    velocity = net.state_1[i] = flush(fma(-rate, g, momentum * net.state_1[i]))
    return w + (fma(-rate, g, momentum * velocity) if net.solver == "nesterov" else velocity)


def slope_to_the_bit(fma, activation, y):
    """Each operation rounded: numpy's own arithmetic."""
    return SLOPES[activation](y)


def softmax_to_the_bit(exp, x):
    """exp is the engine's own: its last bit is not prescribed."""
    e = exp(x - x.max(axis=-1, keepdims=True))
    return e / lane_sums(e)[..., np.newaxis]


def epoch_to_the_bit(fma, activate, net, X, Y, batch_size, rates, order=None, only_gradients=False):
    """`epoch`, rounded as the engine rounds. activate(name, x) is the engine's elementwise function.

    Returns the sums of data loss (None unless it is the squared error, whose terms hold no logarithm) and penalty.
    With only_gradients nothing is updated, and the gradients of the last batch come third.
    """
    order = np.arange(len(X)) if order is None else np.asarray(order)
    dtype = X.dtype
    data_sum = penalty_sum = 0.0
    found = []
    for rows, rate in zip(batches(len(order), batch_size), rates, strict=True):
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
            continue
        for i, g in enumerate(found):
            parameters, layer = (net.coefs, i) if i < n_layers else (net.intercepts, i - n_layers)
            parameters[layer] = update_to_the_bit(fma, net, i, parameters[layer], g, rate)
    return data_sum if net.loss == "squared_error" else None, penalty_sum, found
