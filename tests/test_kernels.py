"""The kernels on every instruction set of this CPU, through the binding, against reference.py in float64.

First with small integers, where nothing is rounded and the result must be exact: that finds every wrong index. Then
with random numbers and the error that k roundings can make, computed for each element. tests/c/test_kernels.c has
the parts of the kernel table that Python cannot reach.
"""

from itertools import product

import numpy as np
import pytest

import reference
from conftest import ISAS
from nnfast import _core

DTYPES = ["float32", "float64"]
FORMATS = {"float32": "f", "float64": "d"}

# Round every tile height, vector length and panel width of every instruction set (4 to 64 columns); 96 rows go through
# a network together; 512 is the length of a chunk of k, 4096 that of a chain of samples.
HEIGHTS = [*range(14), 18, 24, 25, 95, 96, 97]
WIDTHS = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 47, 48, 49, 63, 64, 65, 129]
DEPTHS = [0, 1, 2, 7, 511, 512, 513, 1025]

GUARD = -777.0


def test_instruction_sets():
    """At least the portable kernels and the best that the CPU has were meant by the parameters of this file."""
    assert "scalar" in ISAS
    assert ISAS[0] == next(name for name, available in _core.isas().items() if available)


def integers(rng, *shape, dtype="float64"):
    """Small enough for sums of a thousand products to be exact in float32."""
    return rng.integers(-4, 5, shape).astype(dtype)


def guarded(shape, dtype, offset=0, gap=0):
    """A matrix with rows `gap` elements apart inside a larger array of guards: (matrix, counter of damage)."""
    m, n = shape
    memory = np.full(32 + offset + (m + 1) * (n + gap) + 32, GUARD, dtype)
    first = 16 + offset
    matrix = np.lib.stride_tricks.as_strided(
        memory[first:], (m, n), ((n + gap) * memory.itemsize, memory.itemsize), writeable=True
    )

    def damage():
        matrix[...] = GUARD
        return np.count_nonzero(memory != GUARD)

    return matrix, damage


def product_bound(A, B, dtype):
    """The most that a chain of k multiply-adds can be wrong, whether its products are rounded or not."""
    u = np.finfo(dtype).eps / 2
    k = A.shape[1]
    return (k + 2) * u * (np.abs(A.astype(np.float64)) @ np.abs(B.astype(np.float64)))


# ---- products --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_matmul_is_exact_on_integers(isa, dtype):
    rng = np.random.default_rng(1)
    A, B = integers(rng, 97, 1025, dtype=dtype), integers(rng, 1025, 129, dtype=dtype)
    cases = 0
    for m, n, k in product(HEIGHTS, WIDTHS, DEPTHS[:4]):
        a, b = A[:m, :k], B[:k, :n]
        C, damage = guarded((m, n), dtype, offset=(m + n) % 5, gap=k % 3)
        _core.matmul(a, b, C, 1)
        np.testing.assert_array_equal(C, a @ b)
        assert damage() == 0
        cases += 1
    for m, n, k in product([1, 6, 13, 97], [1, 16, 17, 65], DEPTHS[4:]):
        C = np.empty((m, n), dtype)
        _core.matmul(A[:m, :k], B[:k, :n], C, 2)
        np.testing.assert_array_equal(C, A[:m, :k] @ B[:k, :n])
        cases += 1
    assert cases > 1000


def views(rng, rows, columns, dtype):
    """Matrices (rows, columns) of small integers with all kinds of strides, first element anywhere."""
    wide = integers(rng, 3 * rows + 2, 3 * columns + 2, dtype=dtype)
    tall = integers(rng, 3 * columns + 2, 3 * rows + 2, dtype=dtype)
    return {
        "contiguous": wide[:rows, :columns].copy(),
        "distant rows": wide[1 : rows + 1, 1 : columns + 1],
        "every second row": wide[1 : 2 * rows : 2, :columns],
        "by columns": tall[:columns, :rows].copy().T,
        "distant columns": tall[1 : columns + 1, 2 : rows + 2].T,
        "both strides": wide[: 2 * rows : 2, 1 : 3 * columns : 3],
        "rows backwards": wide[:rows, :columns][::-1],
        "columns backwards": wide[:rows, :columns][:, ::-1],
        "all backwards": tall[: 2 * columns : 2, :rows].T[::-1, ::-1],
        "one row": np.broadcast_to(wide[0, :columns], (rows, columns)),
        "one column": np.broadcast_to(wide[:rows, :1], (rows, columns)),
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("m", "n", "k"), [(1, 1, 1), (1, 33, 5), (13, 1, 9), (7, 17, 6), (25, 65, 34), (5, 9, 520)])
def test_matmul_takes_any_strides(isa, dtype, m, n, k):
    rng = np.random.default_rng(2)
    for (of_a, A), (of_b, B) in product(views(rng, m, k, dtype).items(), views(rng, k, n, dtype).items()):
        C, damage = guarded((m, n), dtype, offset=1, gap=3)
        before = A.copy(), B.copy()
        _core.matmul(A, B, C, 1)
        np.testing.assert_array_equal(C, A @ B, err_msg=f"A: {of_a}; B: {of_b}")
        assert damage() == 0
        np.testing.assert_array_equal(A, before[0])
        np.testing.assert_array_equal(B, before[1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 3, 64, 513])
def test_matmul_error_is_within_the_bound(isa, dtype, k):
    rng = np.random.default_rng(3)
    for m, n in [(1, 1), (5, 7), (13, 33), (48, 100)]:
        A, B = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
        C = np.full((m, n), np.nan, dtype)  # what is there before must not matter
        _core.matmul(A, B, C, 1)
        exact = reference.matmul(A.astype(np.longdouble), B.astype(np.longdouble))
        assert (np.abs(C - exact) <= product_bound(A, B, dtype)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_few_rows_meet_a_large_matrix(isa, dtype):
    """Read in place, a few rows at a time, by products and by layers; more rows of A meet a packed one."""
    rng = np.random.default_rng(4)
    A, B = integers(rng, 33, 1103, dtype=dtype), integers(rng, 1103, 1001, dtype=dtype)
    assert B.nbytes > 4 << 20
    exact, bias = A @ B, integers(rng, 1001, dtype=dtype)
    for m, n_threads in product([1, 2, 8, 9, 31, 32, 33], [1, 2]):
        C = np.full((m, 1001), np.nan, dtype)
        assert _core.matmul(A[:m], B, C, n_threads)
        np.testing.assert_array_equal(C, exact[:m])
        assert _core.linear(A[:m], B, bias, "relu", C, n_threads)
        np.testing.assert_array_equal(C, np.maximum(exact[:m] + bias, 0))


# ---- elementwise -----------------------------------------------------------------------------------------------------

ELEMENTWISE = [name for name in _core.ACTIVATIONS if name not in ("softmax", "ordered")]
# Largest errors in ULP that docs/numerics.md promises, by (float32, float64); the others are exact or one rounding.
ULP = {
    "exp": (2.5, 4),
    "tanh": (2.5, 4),
    "logistic": (3, 4),
    "elu": (2.5, 4),
    "selu": (2.5, 4),
    "gelu": (6.5, 6.5),
    "silu": (4, 4),
    "mish": (4, 4),
    "softplus": (2.5, 4),
    "hard_sigmoid": (1.5, 1.5),
    "softsign": (1.5, 1.5),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_activations(isa, dtype, name):
    rng = np.random.default_rng(4)
    T = np.dtype(dtype).type
    for n in [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 1000]:
        x = (rng.standard_normal(n) * rng.choice([1e-3, 1, 30], n)).astype(dtype)
        x[: n // 5] = rng.choice([0.0, -0.0, 1e30, -1e30, np.inf, -np.inf, np.nan], n // 5)
        wide = x.astype(np.longdouble)
        with np.errstate(all="ignore"):
            exact = reference.ACTIVATIONS[name](x if name == "leaky_relu" else wide)
        row, damage = guarded((1, n), dtype, offset=1)
        out = row[0]
        _core.activate(name, x, out)
        same = (out == exact) | (np.isnan(out) & np.isnan(exact))
        with np.errstate(over="ignore"):
            unit = np.spacing(np.abs(exact).astype(dtype))
        with np.errstate(invalid="ignore"):
            within = np.abs(out - exact) <= ULP.get(name, (0, 0))[dtype == "float64"] * unit
        assert (same | within | (np.isinf(out) & (np.abs(exact) > np.finfo(dtype).max))).all()

        slope = np.empty_like(x)
        _core.activate_grad(name, x, slope)
        value = out.copy()
        assert damage() == 0
        with np.errstate(all="ignore"):
            expected = reference.slope(name, wide, value)
        # One product or sum, fused or not: at most one unit of the larger of its terms. Of those that are taken from z
        # it is a sum of the function, at most its ULP, and of a term like it; softplus takes it from one of its kind.
        units = 2 * max(ULP[name]) if name in reference.SLOPES_AT or name == "softplus" else 1
        np.testing.assert_allclose(slope, expected, rtol=0, atol=float(units * np.spacing(T(1))) if name in ULP else 0)
        shared = x.copy()
        _core.activate(name, shared, shared)
        np.testing.assert_array_equal(shared, value)


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax(isa, dtype):
    rng = np.random.default_rng(5)
    eps = np.finfo(dtype).eps
    for m, n in product([0, 1, 2, 7], [1, 2, 3, 7, 8, 9, 15, 16, 17, 33, 100]):
        x = (rng.standard_normal((m, n)) * 5).astype(dtype)
        out, damage = guarded((m, n), dtype, offset=n % 3)
        _core.softmax(x, out)
        exact = reference.softmax(x.astype(np.longdouble))
        # Rounding of x - max moves the exponent by at most eps/2 |x - max|; exp 4 ULP, n / 16 + 4 sums, one division.
        bound = eps * exact * (np.abs(x - x.max(axis=1, keepdims=True, initial=-np.inf)) + n / 16 + 10)
        assert (np.abs(out - exact) <= bound).all()
        assert (out >= 0).all() and damage() == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_far_from_zero(isa, dtype):
    out = np.empty((4, 3), dtype)
    largest = np.finfo(dtype).max
    x = np.array([[1000, 0, 1000], [-1000, -1000, -1000], [largest, 0, -largest], [0, -np.inf, 0]], dtype)
    _core.softmax(x, out)
    np.testing.assert_allclose(out, [[0.5, 0, 0.5], [1 / 3, 1 / 3, 1 / 3], [1, 0, 0], [0.5, 0, 0.5]], rtol=4e-7)
    for hidden in (np.nan, np.inf):
        for place in range(3):
            x = np.zeros((2, 3), dtype)
            x[0, place] = hidden
            _core.softmax(x, out[:2])
            assert np.isnan(out[0]).all(), "a row with NaN or +inf has no probabilities"
            np.testing.assert_allclose(out[1], 1 / 3)


# ---- layers and networks ---------------------------------------------------------------------------------------------

LIPSCHITZ_1 = {"identity", "logistic", "tanh", "relu", "leaky_relu", "elu", "softplus", "hard_sigmoid", "softsign"}
LIPSCHITZ_2 = {"selu", "gelu", "silu", "mish"}


def forward_with_bound(net, X, dtype):
    """Outputs in float64 and the most by which the engine's may differ, carried from layer to layer."""
    eps = float(np.finfo(dtype).eps)
    value, error = X.astype(np.float64), np.zeros(X.shape)
    for W, b, activation in zip(net.coefs, net.intercepts, net.activations, strict=True):
        W = W.astype(np.float64)
        k = len(W)
        error = error @ np.abs(W) + (k + 2) * eps / 2 * ((np.abs(value) + error) @ np.abs(W) + np.abs(b))
        value = reference.linear(value, W, b.astype(np.float64), activation)
        if activation == "softmax":  # dp = p (dz - sum p dz)
            error = value * np.expm1(2 * error.max(axis=1, keepdims=True)) + (value.shape[1] / 16 + 20) * eps * value
        elif activation == "ordered":  # each step is no steeper than 1; a sum of positive steps
            rounding = (value.shape[1] + 8) * eps * (2 * np.abs(value[:, :1]) + np.abs(value[:, -1:]) + 1)
            error = np.cumsum(error, axis=1) + rounding
        elif activation == "exp":
            error = value * np.expm1(error) + 4 * eps * value
        else:
            assert activation in LIPSCHITZ_1 | LIPSCHITZ_2
            error = (1 if activation in LIPSCHITZ_1 else 2) * error + 6 * eps * np.abs(value)
    return value, error


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", reference.LINKS)
@pytest.mark.parametrize("activation", sorted(LIPSCHITZ_1 | LIPSCHITZ_2))
def test_forward(isa, dtype, loss, activation):
    rng = np.random.default_rng(6)
    cases = 0
    for sizes in [(1, 1), (3, 2), (5, 17, 1), (9, 33, 16, 7), (530, 3), (4, 65, 3)]:
        net = reference.random_network(rng, sizes, dtype, activation=activation, loss=loss)
        for n in [0, 1, 5, 31, 32, 33, 97]:  # 32 rows and more: weights are packed for the call
            X = rng.standard_normal((n, 2 * sizes[0])).astype(dtype)[:, : sizes[0]]
            exact, bound = forward_with_bound(net, X, dtype)
            out, damage = guarded((n, sizes[-1]), dtype, offset=n % 4)
            _core.forward(X, net.coefs, net.intercepts, net.activations, out, 1 + n % 2)
            assert (np.abs(out - exact) <= bound).all()
            assert damage() == 0
            cases += n
    assert cases > 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (48, 16), (49, 17), (95, 65), (97, 129), (3, 300)])
def test_parameters_come_back_from_the_packed_form(isa, dtype, shape):
    rng = np.random.default_rng(7)
    net = reference.random_network(rng, (*shape, 4), dtype)
    engine = _core.Network(
        FORMATS[dtype],
        (*shape, 4),
        ["relu", "identity"],
        "squared_error",
        "adam",
        keep_gradients=True,
    )
    for part in (_core.PARAMETERS, _core.STATE_1, _core.STATE_2, _core.GRADIENTS):
        engine.load(part, net.coefs, net.intercepts)
        coefs, intercepts = [np.empty_like(c) for c in net.coefs], [np.empty_like(b) for b in net.intercepts]
        engine.store(part, coefs, intercepts)
        for got, put in zip(coefs + intercepts, net.coefs + net.intercepts, strict=True):
            np.testing.assert_array_equal(got, put)
