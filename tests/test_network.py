"""MLP, the network object: its gradients, its training against reference.py, and its life between calls."""

import copy
import pickle
from itertools import chain, combinations, pairwise, product

import numpy as np
import pytest
import scipy.sparse

import reference
from nnfast import MLP, _core, _steps, ops
from nnfast._layers import HIDDEN_ACTIVATIONS
from nnfast._rows import as_rows
from nnfast._steps import AHEAD, SETTINGS, KnownRates, step_rates
from nnfast._training import Objective

ACTIVATIONS = list(HIDDEN_ACTIVATIONS)
LOSSES = list(reference.LINKS)
DTYPES = ["float32", "float64"]
# The engine's solver, and how MLP is told to use it.
SOLVERS = {
    "sgd": {"solver": "sgd", "momentum": 0.0},
    "momentum": {"solver": "sgd", "momentum": 0.8, "nesterovs_momentum": False},
    "nesterov": {"solver": "sgd", "momentum": 0.8, "nesterovs_momentum": True},
    "adam": {"solver": "adam", "beta_1": 0.8, "beta_2": 0.97, "epsilon": 1e-4},
    "adamw": {"solver": "adamw", "beta_1": 0.8, "beta_2": 0.97, "epsilon": 1e-4, "weight_decay": 0.02},
    "nesterov with decay": {"solver": "sgd", "momentum": 0.8, "weight_decay": 0.02},
    "nadam": {"solver": "nadam", "beta_1": 0.8, "beta_2": 0.97, "epsilon": 1e-4},
    "rmsprop": {"solver": "rmsprop", "rho": 0.9, "epsilon": 1e-4},
    "adagrad": {"solver": "adagrad", "epsilon": 1e-4},
    "rprop": {"solver": "rprop"},
}
# What changes a step, with solvers of each kind.
LIMITS = {
    "l1, sgd": {"solver": "sgd", "momentum": 0.0, "l1": 0.5},
    "l1, momentum": {"solver": "sgd", "momentum": 0.8, "nesterovs_momentum": False, "l1": 0.5},
    "l1, nesterov": {"solver": "sgd", "momentum": 0.8, "l1": 0.5},
    "l1, adam": {"solver": "adam", "epsilon": 1e-2, "l1": 0.3},
    "l1, nadam": {"solver": "nadam", "epsilon": 1e-2, "l1": 0.3},
    "l1, rmsprop": {"solver": "rmsprop", "epsilon": 1e-2, "l1": 0.3},
    "l1, adagrad": {"solver": "adagrad", "epsilon": 1e-2, "l1": 0.3},
    "l1, rprop": {"solver": "rprop", "l1": 0.5},
    "clip_value": {"solver": "sgd", "momentum": 0.8, "clip_value": 0.02},
    "clip_norm": {"solver": "sgd", "momentum": 0.8, "clip_norm": 0.1},
    "both": {"solver": "adam", "epsilon": 1e-3, "clip_value": 0.05, "clip_norm": 0.1, "weight_decay": 0.02},
    "all": {"solver": "nadam", "epsilon": 1e-2, "clip_value": 0.05, "clip_norm": 0.1, "l1": 0.2, "weight_decay": 0.02},
}


def as_reference(network, dtype=None):
    """The same network in reference.py, in a wider dtype if wished."""
    decays = step_rates(network, 0, 1).decays if np.ndim(network.learning_rate) == 0 else None
    return reference.Network(
        [W.astype(dtype or W.dtype) for W in network.coefs_],
        [b.astype(dtype or b.dtype) for b in network.intercepts_],
        activation=network.activation,
        loss=network.loss_name,
        solver=network._engine_solver(),
        alpha=network.alpha,
        momentum=network.momentum,
        beta_1=network.beta_1,
        beta_2=network.rho if network.solver == "rmsprop" else network.beta_2,
        epsilon=network.epsilon,
        l1=network.l1,
        clip_value=network.clip_value or 0.0,
        clip_norm=network.clip_norm or 0.0,
        decay=0.0 if decays is None else decays.item(),
        clip=float(np.finfo(network.dtype).eps),
        huber_delta=network.huber_delta,
        tweedie_power=network.tweedie_power,
        focal_gamma=network.focal_gamma,
    )


def problem(sizes, n, dtype="float64", seed=0, **options):
    """A network and data for it."""
    rng = np.random.default_rng(seed)
    network = MLP(sizes, dtype=dtype, random_state=seed, **{"quantile": reference.levels(sizes[-1])} | options)
    X = rng.standard_normal((n, sizes[0])).astype(dtype)
    return network, X, reference.random_targets(rng, network.loss_name, n, sizes[-1], dtype)


def bits(network):
    return [a.tobytes() for a in network.coefs_ + network.intercepts_]


# ---- gradients -------------------------------------------------------------------------------------------------------


def central_difference(f, x, i, h):
    """(f(x + h) - f(x - h)) / 2h along element i, with the step that was really taken."""
    kept = x.flat[i]
    x.flat[i] = kept + h
    up, above = f(), x.flat[i]
    x.flat[i] = kept - h
    down, below = f(), x.flat[i]
    x.flat[i] = kept
    return (up - down) / (above - below)


@pytest.mark.parametrize("sizes", [(3, 2), (3, 4, 2), (2, 5, 4, 3)])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_are_slopes_of_the_loss(activation, loss, sizes):
    network, X, Y = problem(
        sizes, 7, activation=activation, loss=loss, alpha=0.3, seed=8 if activation == "selu" else 3
    )
    h = 2.0**-13
    if activation in ("relu", "leaky_relu", "selu"):
        # No unit may pass its kink while a parameter moves by 2 h: z moves by less than 2 h (|inputs| + 1) |weights|.
        values = reference.layer_values(as_reference(network), X)
        margin = min((np.abs(reference.matmul(a, W) + b).min() for a, W, b in zip(
            values, network.coefs_[:-1], network.intercepts_[:-1], strict=False)), default=np.inf)  # fmt: skip
        assert margin > 100 * h or margin == np.inf
    rounding = 64 * np.finfo(float).eps * (1 + abs(network.loss(X, Y))) / h

    found = network.gradients(X, Y)
    checked = 0
    for parameters, gradients in zip((network.coefs_, network.intercepts_), found, strict=True):
        for x, g in zip(parameters, gradients, strict=True):
            assert g.shape == x.shape and g.dtype == x.dtype
            for i in range(x.size):
                near = central_difference(lambda: network.loss(X, Y), x, i, h)
                far = central_difference(lambda: network.loss(X, Y), x, i, 2 * h)
                # The error of a central difference grows with h^2: far - near is three times that of near.
                best, doubt = near - (far - near) / 3, abs(far - near)
                assert abs(g.flat[i] - best) <= doubt + rounding, (i, g.flat[i], best)
                assert doubt < 1e-5, "the differences say nothing"
                checked += 1
    assert checked == sum(m * n + n for m, n in pairwise(sizes))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_loss_and_gradients_match_the_formulas(activation, loss, dtype):
    network, X, Y = problem((6, 37, 19, 4), 50, dtype, activation=activation, loss=loss, alpha=0.2)
    wide = as_reference(network, np.longdouble)
    expected = reference.gradients(wide, X.astype(np.longdouble), Y.astype(np.longdouble))
    # Chains of 50 at most, through three layers there and two back, on numbers of size 1: some hundred roundings.
    tolerance = 200 * float(np.finfo(dtype).eps)
    coefs, intercepts = network.gradients(X, Y)
    for g, e in zip(coefs + intercepts, expected, strict=True):
        assert np.abs(g - e).max() <= tolerance * (1 + np.abs(e).max())
    value = reference.mean_loss(wide, X.astype(np.longdouble), Y.astype(np.longdouble))
    assert abs(network.loss(X, Y) - value) <= tolerance * (1 + value)


def test_one_step_by_hand():
    """Two inputs, one unit f = tanh, one output, squared error; plain gradient descent with rate 0.1.

    x = (1, 2), W1 = (0.5, -0.25), b1 = 0: z = 0.5 - 0.5 = 0, f = 0, f' = 1. W2 = 3, b2 = 1: output 1, target 3:
    delta -2. dW2 = f delta = 0, db2 = -2; delta of the unit = W2 f' delta = -6; dW1 = (-6, -12), db1 = -6.
    Loss 1/2 (-2)^2 = 2.
    """
    network = MLP((2, 1, 1), activation="tanh", solver="sgd", momentum=0, learning_rate_init=0.1, dtype="float64")
    network.coefs_ = [np.array([[0.5], [-0.25]]), np.array([[3.0]])]
    network.intercepts_ = [np.array([0.0]), np.array([1.0])]
    X, Y = [[1.0, 2.0]], [[3.0]]
    np.testing.assert_array_equal(network.forward(X), [[1.0]])
    (d1, d2), (e1, e2) = network.gradients(X, Y)
    assert d1.ravel().tolist() == [-6, -12] and d2.item() == 0 and e1.item() == -6 and e2.item() == -2
    assert network.train_epoch(X, Y, batch_size=1) == 2
    np.testing.assert_allclose(network.coefs_[0].ravel(), [1.1, 0.95], rtol=1e-15)
    np.testing.assert_allclose(
        [network.coefs_[1].item(), *np.concatenate(network.intercepts_)], [3, 0.6, 1.2], rtol=1e-15
    )


# ---- training --------------------------------------------------------------------------------------------------------


def run_reference(network, X, Y, batch_size, orders, noise=None):
    """The epochs of reference.py: (parameters, losses). With noise, weights move by some ULP before every step."""
    net = as_reference(network)
    t, losses = 0, []
    for order in orders:
        total = 0.0
        for rows in reference.batches(len(order), batch_size):
            t += 1
            rate = network.learning_rate
            if net.solver == "adam":
                rate = reference.adam_rate(rate, t, network.beta_1, network.beta_2)
            if net.solver == "nadam":
                rate = reference.nadam_rates(rate, t, network.beta_1, network.beta_2)
            reach = reference.reach_of_step(
                net.solver, network.learning_rate, t, network.momentum, network.beta_1, network.beta_2
            )
            if noise is not None:
                for w in net.coefs + net.intercepts:
                    w *= 1 + 64 * np.finfo(w.dtype).eps * noise.choice([-1, 1], w.shape)
            total += sum(reference.epoch(net, X, Y, len(order[rows]), [rate], order[rows], [reach]))
        losses.append(total / len(order))
    return net.coefs + net.intercepts, losses


def settings_in_pairs():
    """Triples (solver, loss, activation) in which each two of different kinds meet, 240 of 1560."""
    for (i, solver), (j, loss) in product(enumerate(SOLVERS), enumerate(LOSSES)):
        for k in (i + j, i + j + len(ACTIVATIONS) // 2):
            yield solver, loss, ACTIVATIONS[k % len(ACTIVATIONS)]


@pytest.mark.parametrize(("solver", "loss", "activation"), settings_in_pairs())
def test_train_epoch_matches_the_formulas(solver, loss, activation):
    network = assert_epochs_match(activation, loss, SOLVERS[solver])
    assert network.n_steps_ == (3 if solver == "rprop" else 9)


def test_settings_meet_in_pairs():
    for (i, one), (j, other) in combinations(enumerate([SOLVERS, LOSSES, ACTIVATIONS]), 2):
        assert {(triple[i], triple[j]) for triple in settings_in_pairs()} == set(product(one, other))


@pytest.mark.parametrize("case", LIMITS)
def test_train_epoch_with_l1_and_limits_matches_the_formulas(case):
    network = assert_epochs_match("tanh", "squared_error", LIMITS[case])
    zeros = sum((W == 0).sum() for W in network.coefs_)
    assert zeros > 0 if "l1" in LIMITS[case] else zeros == 0


def assert_epochs_match(activation, loss, parameters):
    """Three epochs of steps of 8, 8 and 4 rows. Allowed: twice what 64 ULP of noise before every step make of it."""
    batch_size = 20 if parameters["solver"] == "rprop" else 8
    network, X, Y = problem(
        (5, 20, 7, 3), 30, activation=activation, loss=loss, alpha=0.1, learning_rate_init=0.02, **parameters
    )
    rng = np.random.default_rng(4)
    orders = [rng.permutation(30)[:20] for _ in range(3)]
    expected, losses = run_reference(network, X, Y, batch_size, orders)
    trials = [run_reference(network, X, Y, batch_size, orders, rng) for _ in range(6)]
    before = bits(network)
    got = [network.train_epoch(X, Y, batch_size, order) for order in orders]
    assert bits(network) != before
    for i, (w, e) in enumerate(zip(network.coefs_ + network.intercepts_, expected, strict=True)):
        allowed = 2 * max(np.abs(trial[0][i] - e).max() for trial in trials)
        assert 0 < allowed < 1e-9 * max(1, np.abs(e).max()), "the noise says nothing"
        assert np.abs(w - e).max() <= allowed
    allowed = 2 * max(np.abs(np.subtract(trial[1], losses)).max() for trial in trials)
    assert np.abs(np.subtract(got, losses)).max() <= allowed < 1e-9
    return network


@pytest.mark.parametrize("solver", SOLVERS)
def test_training_makes_the_loss_smaller(solver):
    """XOR with float32: something that only a network that learns can pass."""
    X, Y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    network = MLP(
        (2, 8, 1), activation="tanh", loss="binary_log_loss", random_state=1, learning_rate_init=0.1, **SOLVERS[solver]
    )
    losses = [network.train_epoch(X, Y, batch_size=4 if solver == "rprop" else 2) for _ in range(500)]
    assert losses[-1] < 0.1 * losses[0]
    np.testing.assert_array_equal(network.forward(X).ravel() > 0.5, [False, True, True, False])


def test_order_is_the_rows_to_visit():
    network, X, Y = problem((4, 6, 2), 20)
    order = np.array([3, 3, 19, 0, 7, 7, 7])
    same = copy.deepcopy(network)
    network.train_epoch(X, Y, 3, order)
    same.train_epoch(X[order], Y[order], 3)
    assert bits(network) == bits(same)
    listed = problem((4, 6, 2), 20)[0]
    listed.train_epoch(X, Y, 3, order.tolist())
    assert bits(listed) == bits(same)
    assert network.n_steps_ == 3


@pytest.mark.parametrize("batch_size", [1, 3, 12])
@pytest.mark.parametrize("solver", ["sgd", "adam", "adamw"])
def test_weight_decay_is_per_step_whatever_the_batch(solver, batch_size):
    """Without input the weights have no gradient: what moves them is the decay, once a step, with the rate of then."""
    network = MLP((3, 2), solver=solver, weight_decay=0.5, dtype="float64", random_state=0, learning_rate_init=0.1)
    expected = network.coefs_[0].copy()
    for rate in (0.1, 0.02):
        network.learning_rate = rate
        network.train_epoch(np.zeros((12, 3)), np.ones((12, 2)), batch_size)
        for _ in range(12 // batch_size):
            expected *= 1 - rate * 0.5
    np.testing.assert_array_equal(network.coefs_[0], expected)
    free = MLP((3, 2), solver=solver, weight_decay=0.0, dtype="float64", random_state=0, learning_rate_init=0.1)
    for rate in (0.1, 0.02):
        free.learning_rate = rate
        free.train_epoch(np.zeros((12, 3)), np.ones((12, 2)), batch_size)
    np.testing.assert_array_equal(network.intercepts_[0], free.intercepts_[0])


def test_learning_rate_is_read_at_every_call():
    network, X, Y = problem((4, 6, 2), 20, **SOLVERS["sgd"])
    network.learning_rate = 0.0
    before = bits(network)
    network.train_epoch(X, Y, 5)
    assert bits(network) == before
    network.learning_rate = 0.5
    gradients = network.gradients(X, Y)[0]
    expected = [W - 0.5 * g for W, g in zip(network.coefs_, gradients, strict=True)]
    network.train_epoch(X, Y, 20)
    for W, e in zip(network.coefs_, expected, strict=True):
        np.testing.assert_allclose(W, e, rtol=1e-14, atol=1e-15)


# ---- between calls ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_optimizer_remembers(solver):
    """Epochs in one visit to the engine, in calls of their own, and continued by copies: the same bits."""
    network, X, Y = problem((4, 20, 2), 30, "float32", activation="tanh", **SOLVERS[solver])
    batch_size = 30 if solver == "rprop" else 8
    together, stranger = copy.deepcopy(network), copy.deepcopy(network)
    with together.training(batch_size) as training:
        for _ in range(4):
            training.epoch(X, Y, batch_size)
    network.train_epoch(X, Y, batch_size)
    network.train_epoch(X, Y, batch_size)
    heirs = [copy.deepcopy(network), pickle.loads(pickle.dumps(network)), copy.copy(network)]
    forgetful = copy.deepcopy(network)
    forgetful._state = []
    for one in [network, *heirs, forgetful]:
        one.train_epoch(X, Y, batch_size)
        one.train_epoch(X, Y, batch_size)
    for one in [together, *heirs]:
        assert bits(one) == bits(network)
        assert one.n_steps_ == network.n_steps_ == (4 if solver == "rprop" else 16)
    assert bits(forgetful) != bits(network) or solver == "sgd"
    assert bits(stranger) == bits(problem((4, 20, 2), 30, "float32", activation="tanh", **SOLVERS[solver])[0])


def test_weights_are_the_users():
    """coefs_ and intercepts_ may be changed in place or replaced; the next call honours it."""
    network, X, Y = problem((4, 6, 2), 20, "float32")
    network.coefs_[0][1, :] = 0
    network.intercepts_[1] = np.array([1, 2])  # integers, on purpose
    network.coefs_[1] = np.asfortranarray(network.coefs_[1])
    exact = reference.forward(as_reference(network, np.float64), X.astype(np.float64))
    np.testing.assert_allclose(network.forward(X), exact, atol=1e-5)
    moved = X.copy()
    moved[:, 1] += 100
    np.testing.assert_array_equal(network.forward(moved), network.forward(X))

    expected = reference.gradients(as_reference(network, np.float64), X.astype(float), Y.astype(float))
    for g, e in zip(chain.from_iterable(network.gradients(X, Y)), expected, strict=True):
        np.testing.assert_allclose(g, e, atol=1e-5)
    held = network.coefs_
    network.train_epoch(X, Y, 20)
    assert all(W.dtype == np.float32 and W.flags.c_contiguous for W in network.coefs_ + network.intercepts_)
    assert held[0][1].any() == 0, "training writes into new arrays"


def test_forward_and_gradients_change_nothing():
    network, X, Y = problem((4, 6, 2), 20)
    before, state, attributes = bits(network), network._state, set(vars(network))
    network.forward(X)
    network.loss(X, Y)
    network.gradients(X, Y)
    assert bits(network) == before and network._state is state and network.n_steps_ == 0
    assert set(vars(network)) == attributes


def test_inside_training():
    network, X, Y = problem((4, 6, 2), 20)
    with network.training(10) as training:
        start = training.snapshot()
        np.testing.assert_array_equal(training.forward(X), network.forward(X))
        data, penalty, norm = training.epoch(X, Y, 10)
        assert np.isnan(norm)
        assert penalty == 0 and data > 0
        coefs, intercepts = training.snapshot()
        assert (coefs[0] != start[0][0]).any()
        outputs = training.forward(X)
    for a, b in zip(coefs + intercepts, network.coefs_ + network.intercepts_, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(network.forward(X), outputs)


def test_forward_into_out():
    network, X, _ = problem((4, 6, 2), 20, "float32")
    out = np.full((20, 2), np.nan, np.float32)
    assert network.forward(X, out=out) is out
    np.testing.assert_array_equal(out, network.forward(X))
    assert network.forward(X[:0]).shape == (0, 2)
    assert network.forward(X.tolist()).dtype == np.float32
    assert network.forward(X.astype(np.float64)).dtype == np.float32
    np.testing.assert_array_equal(network.forward(np.asfortranarray(X)), out)
    np.testing.assert_array_equal(network.forward(X[::-1])[::-1], out)
    for wrong in [
        np.empty((20, 2)),
        np.empty((20, 3), np.float32),
        np.empty((19, 2), np.float32),
        np.empty(40, np.float32),
        np.empty((2, 20), np.float32).T,
    ]:
        with pytest.raises(ValueError):
            network.forward(X, out=wrong)


# ---- an activation for each layer ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_each_layer_has_its_own_activation(dtype):
    """The network is a chain of layers, and its gradients are the chain rule through them, each by hand."""
    rng = np.random.default_rng(7)
    hidden = ["gelu", ("leaky_relu", 0.3), "tanh", ("elu", 0.5), "mish"]
    network = MLP((4, 9, 33, 5, 6, 70, 2), activation=hidden, dtype=dtype, random_state=1)
    X, Y = rng.standard_normal((40, 4)).astype(dtype), rng.standard_normal((40, 2)).astype(dtype)
    values, slopes = [X.astype(np.longdouble)], []
    for W, b, activation in zip(network.coefs_, network.intercepts_, [*hidden, "identity"], strict=True):
        z = reference.matmul(values[-1], W.astype(np.longdouble)) + b
        name, argument = activation if isinstance(activation, tuple) else (activation, None)
        f = reference.ACTIVATIONS["elu" if name == "leaky_relu" else name]
        value = np.where(z > 0, z, argument * z) if name == "leaky_relu" else f(z, argument) if argument else f(z)
        h = np.longdouble(2) ** -20
        values.append(value)
        around = [np.where(p > 0, p, argument * p) if name == "leaky_relu" else f(p, argument) if argument else f(p)
                  for p in (z + h, z - h)]  # fmt: skip
        slopes.append((around[0] - around[1]) / (2 * h))
    tolerance = 200 * float(np.finfo(dtype).eps)  # five layers of chains of 70 at most
    np.testing.assert_allclose(network.forward(X), values[-1].astype(float), rtol=0, atol=tolerance)

    delta = (values[-1] - Y) / len(X)
    coefs, intercepts = network.gradients(X, Y)
    for layer in reversed(range(6)):
        expected = reference.matmul(values[layer].T, delta)
        # A central difference with h = 2^-20 errs by h^2, but near a kink by all: those would be off by a tenth.
        assert np.abs(coefs[layer] - expected).max() <= tolerance * (1 + np.abs(expected).max()) + 1e-9
        assert np.abs(intercepts[layer] - delta.sum(axis=0)).max() <= tolerance + 1e-9
        if layer > 0:
            delta = reference.matmul(delta, network.coefs_[layer].astype(np.longdouble).T) * slopes[layer - 1]


def test_forms_of_the_same_activation():
    X = np.random.default_rng(0).standard_normal((9, 4))
    same = [
        ["relu", ["relu", "relu"], ("relu", "relu"), np.array(["relu", "relu"])],
        [("elu", 1.0), "elu", [("elu", 1), "elu"], ["elu", ["elu", 1.0]]],
        ["sigmoid", ["logistic", "sigmoid"]],
    ]
    for forms in same:
        networks = [MLP((4, 5, 6, 1), activation=form, random_state=0) for form in forms]
        for network in networks:
            assert bits(network) == bits(networks[0])
            np.testing.assert_array_equal(network.forward(X), networks[0].forward(X))
    network = MLP((4, 5, 6, 1), activation=["relu", "tanh"], random_state=0)
    assert network.activation == ("relu", "tanh")
    before = network.forward(X)
    network.activation = ["tanh", "relu"]
    assert not np.array_equal(network.forward(X), before)
    assert not np.array_equal(MLP((4, 5, 6, 1), activation=("elu", 2.0), random_state=0).forward(X),
                              MLP((4, 5, 6, 1), activation=("elu", 1.0), random_state=0).forward(X))  # fmt: skip


@pytest.mark.parametrize("activation", ["gelu", "silu", "mish"])
def test_kept_slopes_do_not_depend_on_threads(activation):
    """Rows to each thread, and with a small batch columns to each."""
    rng = np.random.default_rng(2)
    X, Y = rng.standard_normal((600, 300)).astype(np.float32), rng.standard_normal((600, 3)).astype(np.float32)
    for batch_size in (600, 20):
        runs = []
        for n_jobs in (1, 2):
            network = MLP((300, 400, 200, 3), activation=activation, random_state=0, n_jobs=n_jobs)
            losses = [network.train_epoch(X, Y, batch_size) for _ in range(3)]
            runs.append((bits(network), losses))
        assert runs[0] == runs[1]


# ---- construction ----------------------------------------------------------------------------------------------------


def test_first_weights_are_glorots():
    for activation, factor in [("relu", 6), ("tanh", 6), ("leaky_relu", 6), ("logistic", 2), ("sigmoid", 2)]:
        network = MLP((300, 200, 10), activation=activation, random_state=0, dtype="float64")
        rng = np.random.RandomState(0)
        for W, b in zip(network.coefs_, network.intercepts_, strict=True):
            bound = np.sqrt(factor / sum(W.shape))
            np.testing.assert_array_equal(W, rng.uniform(-bound, bound, W.shape))
            np.testing.assert_array_equal(b, rng.uniform(-bound, bound, b.shape))
    again = MLP((3, 2), random_state=np.random.RandomState(5))
    assert bits(again) == bits(MLP((3, 2), random_state=5)) != bits(MLP((3, 2), random_state=6))
    assert bits(MLP((3, 2), random_state=np.random.default_rng(5))) != bits(again)


def test_repr_says_what_it_is():
    network = MLP((4, 8, 3), activation="sigmoid", loss="log_loss")
    assert repr(network) == "MLP(4-8-3, logistic, softmax output, log_loss, float32)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer_sizes": (3,)}, "at least two sizes"),
        ({"layer_sizes": ()}, "at least two sizes"),
        ({"layer_sizes": (3, 0, 1)}, "each at least 1"),
        ({"layer_sizes": (3, -1)}, "each at least 1"),
        ({"activation": "swish"}, "unknown activation 'swish'"),
        ({"activation": ("relu", 0.1)}, "leaky_relu, elu take a number >= 0"),
        ({"activation": ("elu", -0.1)}, "leaky_relu, elu take a number >= 0"),
        ({"activation": ["relu", "tanh"]}, "stands for 2 hidden layers, there are 0"),
        ({"activation": "softmax"}, "unknown activation"),
        ({"loss": "hinge"}, "unknown loss 'hinge'"),
        ({"solver": "lbfgs"}, "unknown solver 'lbfgs'"),
        ({"alpha": -1.0}, "alpha must not be negative"),
        ({"weight_decay": -1e-9}, "weight_decay must be None or a finite number >= 0"),
        ({"weight_decay": np.nan}, "weight_decay must be"),
        ({"weight_decay": np.inf}, "weight_decay must be"),
        ({"dtype": "float16"}, "dtype must be float32 or float64"),
        ({"dtype": "int64"}, "dtype must be float32 or float64"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        MLP(**{"layer_sizes": (3, 1), **arguments})


def test_bad_data():
    network, X, Y = problem((4, 6, 2), 20)
    before = bits(network)
    bad = [
        lambda: network.forward(X[:, :3]),
        lambda: network.forward(X[np.newaxis]),
        lambda: network.loss(X[:, :3], Y),
        lambda: network.loss(X, Y[:, :1]),
        lambda: network.gradients(X, Y[:-1]),
        lambda: network.gradients(X[:0], Y[:0]),
        lambda: network.train_epoch(X, Y[:-1], 5),
        lambda: network.train_epoch(X, Y.ravel(), 5),
        lambda: network.train_epoch(X, Y, 0),
        lambda: network.train_epoch(X, Y, -3),
        lambda: network.train_epoch(X, Y, 5, [0, 20]),
        lambda: network.train_epoch(X, Y, 5, [0, -1]),
        lambda: network.train_epoch(X, Y, 5, []),
        lambda: network.train_epoch(X, Y, 5, [[0, 1]]),
        lambda: network.train_epoch(X[:0], Y[:0], 5),
        lambda: network.forward([["a"] * 4]),
    ]
    for call in bad:
        with pytest.raises(ValueError):
            call()
    for parameters in (network.coefs_, network.intercepts_):
        kept = parameters[0]
        parameters[0] = kept[1:]
        for call in [lambda: network.forward(X), lambda: network.loss(X, Y), lambda: network.train_epoch(X, Y, 5)]:
            with pytest.raises(ValueError, match="has shape"):
                call()
        parameters[0] = kept
    assert bits(network) == before
    network.train_epoch(X, Y, 5)
    assert np.isfinite(network.loss(X, Y))


def test_one_dimensional_targets_are_a_column():
    network, X, Y = problem((4, 6, 1), 20)
    assert network.loss(X, Y.ravel()) == network.loss(X, Y)
    vector = MLP((1, 3, 1), random_state=0)
    np.testing.assert_array_equal(vector.forward([1, 2, 3]), vector.forward([[1], [2], [3]]))


def test_more_rows_than_a_batch_may_have():
    engine = _core.Network("d", [2, 1], ["identity"], "squared_error", "sgd", max_batch=3)
    X, Y = np.zeros((4, 2)), np.zeros((4, 1))
    with pytest.raises(ValueError):
        engine.train_epoch(X, Y, None, 4, np.zeros(1))
    assert engine.train_epoch(X, Y, None, 3, np.zeros(2))[2] == 2


def test_starts_from_given_weights():
    first = MLP((3, 4, 2), dtype="float64", random_state=0)
    same = MLP((3, 4, 2), dtype="float64", start=(first.coefs_, [b.tolist() for b in first.intercepts_]))
    X, Y = np.random.RandomState(1).normal(size=(10, 3)), np.ones((10, 2))
    assert same.train_epoch(X, Y, 4) == first.train_epoch(X, Y, 4)
    with pytest.raises(ValueError):
        MLP((3, 4, 2), start=(first.coefs_[::-1], first.intercepts_)).forward(X)


# ---- weights of rows, sparse rows, groups of outputs -----------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
def test_a_weight_counts_like_so_many_rows(loss):
    """To rounding: chains of some 60 rows, whose terms are added in another order."""
    network, X, Y = problem((5, 9, 3), 30, activation="tanh", loss=loss, alpha=0.2)
    weights = np.arange(30) % 4
    X_all, Y_all = X.repeat(weights, axis=0), Y.repeat(weights, axis=0)
    assert network.loss(X, Y, weights) == pytest.approx(network.loss(X_all, Y_all), rel=1e-13)
    got, expected = network.gradients(X, Y, weights), network.gradients(X_all, Y_all)
    for g, e in zip(chain(*got), chain(*expected), strict=True):
        np.testing.assert_allclose(g, e, rtol=1e-12, atol=1e-14)
    other = copy.deepcopy(network)
    losses = network.train_epoch(X, Y, 30, weights=weights), other.train_epoch(X_all, Y_all, len(X_all))
    assert losses[0] == pytest.approx(losses[1], rel=1e-13)
    for w, e in zip(network.coefs_ + network.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        np.testing.assert_allclose(w, e, rtol=1e-9, atol=1e-11)


def test_weights_of_one_change_no_bit_and_their_scale_only_the_last():
    network, X, Y = problem((5, 9, 3), 30, "float32", alpha=0.1)
    ones, doubles = copy.deepcopy(network), copy.deepcopy(network)
    loss = network.train_epoch(X, Y, 8)
    assert ones.train_epoch(X, Y, 8, weights=np.ones(30)) == loss
    assert bits(ones) == bits(network)
    doubles.alpha = 0.2  # the penalty is divided by the sum of the weights too
    assert doubles.train_epoch(X, Y, 8, weights=np.full(30, 2)) == loss
    assert bits(doubles) == bits(network)


def test_a_batch_without_weight_is_no_step():
    network, X, Y = problem((5, 9, 3), 30)
    other = copy.deepcopy(network)
    weights = np.ones(30)
    weights[10:20] = 0
    network.train_epoch(X, Y, 10, weights=weights)
    other.train_epoch(X, Y, 10, order=[*range(10), *range(20, 30)])
    assert network.n_steps_ == 2
    assert bits(network) == bits(other)
    for call in (network.loss, network.gradients, lambda *data: network.train_epoch(*data[:2], 10, None, data[2])):
        with pytest.raises(ValueError, match="sum to 0"):
            call(X, Y, np.zeros(30))
        with pytest.raises(ValueError, match="weights has shape"):
            call(X, Y, np.ones(29))


def sparse_problem(n, n_in, dtype, **options):
    """A problem whose X is mostly 0, with empty rows and columns; X dense and as CSR."""
    network, X, Y = problem((n_in, 35, 20, 3), n, dtype, **options)
    X[np.random.default_rng(1).random(X.shape) < 0.8] = 0
    X[3] = X[:, 5] = 0
    return network, X, Y, scipy.sparse.csr_array(X)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "n_in", "batch"), [(40, 7, 13), (40, 1100, 40), (4500, 60, 4300)])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_sparse_rows_give_the_bits_of_dense_ones(n, n_in, batch, dtype, n_jobs):
    """Also where few rows a thread split the columns, where W is cut into strips (at 1,008 rows or fewer), and where a
    batch is longer than one chain of samples."""
    network, X, Y, csr = sparse_problem(n, n_in, dtype, alpha=0.1, n_jobs=n_jobs)
    other = copy.deepcopy(network)
    weights, order = np.random.default_rng(2).random(n), np.random.default_rng(3).permutation(n)
    assert network.loss(csr, Y, weights) == network.loss(X, Y, weights)
    for s, d in zip(chain(*network.gradients(csr, Y)), chain(*network.gradients(X, Y)), strict=True):
        np.testing.assert_array_equal(s, d)
    for _ in range(2):
        assert network.train_epoch(csr, Y, batch, order, weights) == other.train_epoch(X, Y, batch, order, weights)
    assert bits(network) == bits(other)
    for rows in (slice(None), slice(0, 5)):  # weights packed for the call, and read where they lie
        np.testing.assert_array_equal(network.forward(csr[rows]), network.forward(X[rows]))


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "unsorted", "duplicates", "int64", "unaligned"])
def test_any_sparse_matrix_will_do(form):
    network, X, Y, csr = sparse_problem(30, 9, "float64")
    matrix = {"csr": scipy.sparse.csr_matrix, "csc": scipy.sparse.csc_array, "coo": scipy.sparse.coo_array,
              "lil": scipy.sparse.lil_matrix}.get(form, scipy.sparse.csr_array)(csr)  # fmt: skip
    if form == "unsorted":
        for begin, end in pairwise(matrix.indptr):
            for array in (matrix.indices, matrix.data):
                array[begin:end] = array[begin:end][::-1].copy()
        matrix.has_sorted_indices = matrix.has_canonical_format = False
    elif form == "duplicates":
        entries = csr.tocoo()
        halves, row, col = (np.concatenate([a, a]) for a in (entries.data / 2, entries.row, entries.col))
        matrix = scipy.sparse.coo_array((halves, (row, col)), csr.shape)
    elif form == "int64":
        matrix.indices, matrix.indptr = matrix.indices.astype(np.int64), matrix.indptr.astype(np.int64)
    elif form == "unaligned":
        matrix.data = np.frombuffer(b" " + matrix.data.tobytes(), offset=1)
        assert not matrix.data.flags.aligned
    before = matrix.copy()
    np.testing.assert_array_equal(network.forward(matrix), network.forward(X))
    assert network.loss(matrix, Y) == network.loss(X, Y)
    assert (matrix != before).nnz == 0 and matrix.nnz == before.nnz, "the caller's matrix is not changed"


@pytest.mark.parametrize(
    ("indices", "indptr"),
    [
        ([0, 9], [0, 1, 2]),
        ([0, -1], [0, 1, 2]),
        ([2, 1], [0, 2, 2]),
        ([1, 1], [0, 2, 2]),
        ([0, 1], [0, 1, 3]),
        ([0, 1], [-1, 1, 2]),
        ([0, 1], [1, 0, 2]),
        ([0], [0, 1, 1]),
        ([0, 1], []),
    ],
)
def test_rows_that_are_no_sparse_matrix(indices, indptr):
    """What the engine itself says, of arrays that scipy would never make."""
    arrays = np.ones(2), np.array(indices, np.int32), np.array(indptr, np.int64)
    engine = _core.Network("d", [4, 1], ["identity"], "squared_error", "sgd", max_batch=2, sparse=True)
    out, Y = np.zeros((2, 1)), np.zeros((2, 1))
    for call in (
        lambda: engine.forward(arrays, out),
        lambda: engine.train_epoch(arrays, Y, None, 2, np.zeros(1)),
        lambda: engine.gradients(arrays, Y),
        lambda: _core.forward(arrays, [np.ones((4, 1))], [np.ones(1)], ["identity"], out, 1),
    ):
        with pytest.raises(ValueError):
            call()
    good = np.ones(2), np.array([0, 3], np.int32), np.array([0, 1, 2])
    assert engine.train_epoch(good, Y, None, 2, np.zeros(1))[2] == 1
    dense_only = _core.Network("d", [4, 1], ["identity"], "squared_error", "sgd", max_batch=2)
    with pytest.raises(ValueError):
        dense_only.train_epoch(good, Y, None, 2, np.zeros(1))


def test_groups_of_outputs_are_softmaxes_side_by_side():
    groups = (3, 2, 1)
    network, X, _ = problem((5, 8, 6), 20, loss="log_loss", output_groups=groups, alpha=0.1)
    Y = np.concatenate([np.eye(n)[np.arange(20) % n] for n in groups], axis=1)
    linear = MLP((5, 8, 6), dtype="float64", start=(network.coefs_, network.intercepts_))
    z, got, ends = linear.forward(X), network.forward(X), np.cumsum(groups)
    for begin, end in zip(ends - groups, ends, strict=True):
        np.testing.assert_array_equal(got[:, begin:end], ops.softmax(z[:, begin:end]))
    p = np.clip(got, np.finfo(float).eps, 1 - np.finfo(float).eps)
    penalty = 0.05 * sum((W**2).sum() for W in network.coefs_) / 20
    assert network.loss(X, Y) == pytest.approx(-(Y * np.log(p)).sum() / 20 + penalty, rel=1e-14)
    slope = central_difference(lambda: network.loss(X, Y), network.coefs_[0], 7, 2.0**-12)
    assert network.gradients(X, Y)[0][0].flat[7] == pytest.approx(slope, rel=1e-5)
    with network.training(20) as training:
        np.testing.assert_array_equal(training.forward(X), got)
    for wrong, loss in [((3, 2), "log_loss"), ((6, 0), "log_loss"), ((3, 3), "binary_log_loss")]:
        with pytest.raises(ValueError, match="output_groups"):
            MLP((5, 6), loss=loss, output_groups=wrong)


# ---- the objective ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_objective_is_loss_and_gradients_of_a_vector(dtype):
    network, X, Y, csr = sparse_problem(30, 9, dtype, alpha=0.3)
    weights = np.random.default_rng(2).random(30)
    objective = Objective(network, as_rows(csr, dtype), Y, weights)
    assert objective.start.dtype == np.float64
    for part, expected in zip(objective.unpack(objective.start), (network.coefs_, network.intercepts_), strict=True):
        for p, e in zip(part, expected, strict=True):
            assert p.dtype == e.dtype
            np.testing.assert_array_equal(p, e)
    elsewhere = objective.start + 0.25
    objective(elsewhere)
    loss, gradient = objective(objective.start)
    assert loss == network.loss(X, Y, weights)
    assert gradient.dtype == np.float64
    np.testing.assert_array_equal(
        gradient, np.concatenate([g.ravel() for g in chain(*network.gradients(X, Y, weights))])
    )
    with pytest.raises(ValueError, match="sum to 0"):
        Objective(network, X, Y, np.zeros(30))


@pytest.mark.parametrize("n_out", [1, 2, 3, 4])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_few_outputs_have_the_bits_of_many(isa, dtype, solver, n_out):
    """Networks of up to four outputs keep W transposed. Outputs whose weights, targets and so errors are 0 turn one
    into a network of six, which does not, and change nothing."""
    rng = np.random.default_rng(n_out)
    hidden = 5 * 48 + 3  # more than one block of rows, and no whole one
    X = rng.standard_normal((31, 5)).astype(dtype)
    Y = np.zeros((31, 6), dtype)
    Y[:, :n_out] = rng.standard_normal((31, n_out))
    options = {"activation": "tanh", "dtype": dtype, "solver": solver, "alpha": 0.1}
    few = MLP((5, hidden, n_out), random_state=0, **options)
    W, b = np.zeros((hidden, 6), dtype), np.zeros(6, dtype)
    W[:, :n_out], b[:n_out] = few.coefs_[1], few.intercepts_[1]
    many = MLP((5, hidden, 6), start=([few.coefs_[0], W], [few.intercepts_[0], b]), **options)

    for a, c in zip(few.gradients(X, Y[:, :n_out]), many.gradients(X, Y), strict=True):
        np.testing.assert_array_equal(a[0], c[0])
        np.testing.assert_array_equal(a[1], c[1][..., :n_out])
    for _ in range(2):
        assert few.train_epoch(X, Y[:, :n_out], 12) == pytest.approx(many.train_epoch(X, Y, 12), rel=1e-12)
    for a, c in ((few.coefs_, many.coefs_), (few.intercepts_, many.intercepts_)):
        np.testing.assert_array_equal(a[0], c[0])
        np.testing.assert_array_equal(a[1], c[1][..., :n_out])
    np.testing.assert_array_equal(few.forward(X), many.forward(X)[:, :n_out])
    np.testing.assert_array_equal(few.forward(np.tile(X, (3, 1))), many.forward(np.tile(X, (3, 1)))[:, :n_out])


def test_adams_rates_are_those_of_the_formula_to_the_bit():
    """Also where a power is left out because 1 swallows it: from 356 steps on for 0.9, from 37,412 on for 0.999."""
    for betas in ((0.9, 0.999), (0.0, 0.5), (0.999, 0.9)):
        network = MLP((1, 1), beta_1=betas[0], beta_2=betas[1], learning_rate_init=0.003)
        for n_steps in (0, 1, 50, 340, 354, 355, 356, 400, 37_000, 37_400, 37_420, 10**6):
            t = np.arange(n_steps + 1, n_steps + 31)
            expected = 0.003 * np.sqrt(1 - betas[1] ** t) / (1 - betas[0] ** t)
            rates = step_rates(network, n_steps, 30).rates
            np.testing.assert_array_equal(rates, expected)
            assert rates.dtype == np.float64 and rates.flags.c_contiguous


@pytest.mark.parametrize("width", [9, 2048])
def test_rows_that_collide_in_the_cache_are_copied_and_change_no_bit(width):
    """Rows of 1024 floats are 4096 bytes apart: for a wide layer (32 panels, of at most 64 columns) the engine copies
    those of a batch. In a wider matrix they are not."""
    rng = np.random.default_rng(0)
    wide = np.zeros((50, 1040), np.float32)
    wide[:, :1024] = rng.standard_normal((50, 1024))
    apart, close = wide[:, :1024], np.ascontiguousarray(wide[:, :1024])
    Y = rng.standard_normal((50, 2)).astype(np.float32)
    networks = [MLP((1024, width, 2), random_state=0) for _ in range(2)]
    order = rng.permutation(50)
    for X, network in zip((apart, close), networks, strict=True):
        network.train_epoch(X, Y, 20, order)
    for a, b in zip(
        networks[0].coefs_ + networks[0].intercepts_, networks[1].coefs_ + networks[1].intercepts_, strict=True
    ):
        np.testing.assert_array_equal(a, b)


# ---- steps at the edges ----------------------------------------------------------------------------------------------


def one_weight(weight, dtype="float64", **parameters):
    """A network without hidden layer whose loss has a gradient of 1 for its weight, wherever it is."""

    def slope_of_one(Y, raw):
        return raw[:, 0], np.ones_like(raw)

    start = [np.full((1, 1), weight)], [np.zeros(1)]
    return MLP((1, 1), loss=slope_of_one, start=start, dtype=dtype, **parameters)


@pytest.mark.parametrize(
    "parameters",
    [
        {"solver": "sgd", "momentum": 0.0},
        {"solver": "sgd", "momentum": 0.9},
        {"solver": "sgd", "momentum": 0.9, "nesterovs_momentum": False},
        {"solver": "sgd", "momentum": 1.0},
        *({"solver": solver} for solver in ("adam", "nadam", "rmsprop", "adagrad")),
    ],
)
def test_a_lasting_gradient_and_l1_are_in_balance_from_the_first_step_on(parameters):
    """Of a gradient of 1, a penalty of 0.2 leaves 0.8 of the way, with every solver that steps in proportion; NAdam
    uses the next gradient too, which the running mean does not have yet."""
    ways = []
    for l1 in (0.0, 0.2):
        network = one_weight(-1.0, learning_rate_init=1e-3, l1=l1, **parameters)
        ways.append([network.coefs_[0].item()])
        for _ in range(40):
            network.train_epoch(np.ones((1, 1)), np.ones((1, 1)), 1)
            ways[-1].append(network.coefs_[0].item())
    plain, penalised = np.diff(ways)
    np.testing.assert_allclose(penalised, 0.8 * plain, rtol=1e-9)


def test_momentum_of_1_and_limits():
    """What is never forgotten has no reach, which is not asked for without l1."""
    X, Y = np.arange(20.0).reshape(10, 2) / 20, np.arange(10.0)
    plain, limited = (MLP((2, 3, 1), solver="sgd", momentum=1.0, random_state=0, clip_value=c) for c in (None, 1e9))
    for network in (plain, limited):
        for _ in range(3):
            network.train_epoch(X, Y, 5)
    assert bits(plain) == bits(limited)


@pytest.mark.parametrize(
    "parameters", [{"clip_value": 1.0}, {"clip_norm": 1.0}, {"solver": "rprop"}, {"clip_value": 1.0, "solver": "sgd"}]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_limit_hides_an_infinite_gradient(dtype, parameters):
    network = MLP((1, 1), activation="identity", dtype=dtype, random_state=0, **parameters)
    huge = np.full((1, 1), np.finfo(dtype).max / 2)
    with np.errstate(all="ignore"):
        network.train_epoch(huge, -huge, 1)
    assert np.isnan(network.coefs_[0]).all()


def test_a_norm_that_overflows_is_seen():
    """The squares of a float32 gradient of 1e20 are infinite, and so is what would have to be divided by."""
    for dtype, expected in (("float64", 0.9), ("float32", np.nan)):
        network = one_weight(1.0, dtype, solver="sgd", momentum=0.0, learning_rate_init=0.1, clip_norm=1.0)
        network.train_epoch(np.full((1, 1), 1e20), np.ones((1, 1)), 1)
        np.testing.assert_allclose(network.coefs_[0].item(), expected, rtol=1e-12)


def test_the_rates_of_nadam_cost_the_same_at_every_step():
    """No array as long as the steps so far: of 10**15 steps it would fill the memory."""
    for beta_1 in (0.0, 0.9):
        rates = step_rates(MLP((1, 1), solver="nadam", beta_1=beta_1), 10**15, 3)
        assert rates.gradient_rates is not None
        assert np.isfinite([*rates.rates, *rates.gradient_rates]).all()


@pytest.mark.parametrize(
    "settings",
    [
        {"solver": "adam"},
        {"solver": "adam", "beta_1": 0.0},
        {"solver": "adamw", "weight_decay": 0.1, "l1": 0.01},
        {"solver": "nadam", "beta_1": 0.5},
        {"solver": "sgd", "momentum": 0.9, "l1": 0.01},
        {"solver": "sgd", "momentum": 0.0},
        {"solver": "rmsprop", "weight_decay": 0.01},
    ],
)
@pytest.mark.parametrize("n_steps", [1, 3, AHEAD // 4, AHEAD])
def test_known_rates_are_those_of_each_epoch(settings, n_steps):
    """To the bit: through what is known, beyond it, back, far ahead, and after every change of the network."""
    network, known = MLP((1, 1), **settings), KnownRates()

    def check(first):
        for found, expected in zip(known.of(network, first, n_steps), step_rates(network, first, n_steps), strict=True):
            assert (found is None) == (expected is None)
            if expected is not None:
                assert found.flags.c_contiguous
                np.testing.assert_array_equal(found, expected, strict=True)

    for epoch in range(2 * AHEAD // n_steps + 2):
        check(7 + epoch * n_steps)
    for first in (0, 5, 50_000, 10**9, 10**9 + AHEAD - n_steps, 10**9 + AHEAD - n_steps + 1):
        check(first)
    changes = [("learning_rate", 0.5), ("beta_1", 0.25), ("beta_2", 0.5), ("momentum", 0.25), ("l1", 0.5)]
    for name, value in [*changes, ("nesterovs_momentum", False), ("weight_decay", 0.5), ("learning_rate", np.nan)]:
        setattr(network, name, value)
        check(1)
    network.learning_rate = np.linspace(1, 2, n_steps)
    check(2)


@pytest.mark.parametrize("solver", ["adam", "adamw", "nadam", "sgd", "rmsprop", "adagrad"])
@pytest.mark.parametrize("others", [{}, {"weight_decay": 0.1, "l1": 0.1}])
def test_all_that_rates_depend_on_is_compared(solver, others):
    network, read = MLP((1, 1), solver=solver, **others), set()

    class Watched:
        def __getattr__(self, name):
            read.add(name)
            return getattr(network, name)

    step_rates(Watched(), 0, 3)
    assert {"learning_rate", "solver"} <= read <= set(SETTINGS)


def test_known_rates_after_an_exception(monkeypatch):
    """Such as Ctrl-C in the midst of working them out: what was known still belongs to its own steps."""
    network, known = MLP((1, 1)), KnownRates()
    known.of(network, 0, 3)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(_steps, "step_rates", interrupt)
        known.of(network, 3, 3)
    for first in (3, 0, 6):
        np.testing.assert_array_equal(known.of(network, first, 3).rates, step_rates(network, first, 3).rates)


def interrupt(*_):
    raise KeyboardInterrupt


def test_known_rates_are_worked_out_seldom(monkeypatch):
    asked = []
    monkeypatch.setattr(_steps, "step_rates", lambda *how: asked.append(how) or step_rates(*how))
    network, known = MLP((1, 1)), KnownRates()
    for epoch in range(1 + AHEAD // 3):
        known.of(network, 3 * epoch, 3)
    assert asked == [(network, 0, 3), (network, 3, AHEAD)]
