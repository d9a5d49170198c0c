"""nnfast.ops as its users meet it: NumPy's conventions on dtypes, shapes, strides and ``out=``, NaN and infinity, and
results whose bits depend on none of them.

Small integers, which nothing rounds, show that the right elements were taken; then random numbers, with the error that
the roundings can make, computed for each element. The kernels at every tile edge: test_kernels.py.
"""

import inspect
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import reference
from nnfast import _core, ops

DTYPES = ["float32", "float64"]
ELEMENTWISE = [name for name in _core.ACTIVATIONS if name not in ("softmax", "ordered")]
FUNCTIONS = {name: getattr(ops, name) for base in ELEMENTWISE for name in (base, base + "_grad")}
# Most errors in ULP, in float32 and float64 (docs/numerics.md); of the others, one rounding.
ULP = {"exp": 4, "tanh": 4, "logistic": 4, "elu": 4, "selu": 4, "gelu": 6.5, "silu": 4, "mish": 4, "softplus": 4,
       "hard_sigmoid": 1.5, "softsign": 1.5}  # fmt: skip

# Shapes and strides are chosen by hypothesis, the same ones in every run and on every instruction set, which is a
# fixture that stays as it is for all examples.
many_examples = settings(
    max_examples=300,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def test_every_function_of_ops_is_tested_here():
    others = {"matmul", "linear", "softmax", "sigmoid", "sigmoid_grad"}
    assert set(ops.__all__) == set(FUNCTIONS) | others
    assert ops.sigmoid is ops.logistic and ops.sigmoid_grad is ops.logistic_grad


# ---- arrays of all kinds ---------------------------------------------------------------------------------------------


def integers(rng, shape, dtype="float64"):
    """Small enough for sums of a thousand products to be exact in float32."""
    return rng.integers(-4, 5, shape).astype(dtype)


def unaligned(array):
    """The same array one byte off the places where a CPU likes its elements."""
    memory = np.zeros(array.nbytes + 1, np.uint8)
    result = memory[1:].view(array.dtype).reshape(array.shape)
    result[...] = array
    assert array.size == 0 or not result.flags.aligned
    return result


def field(array):
    """The same array as one field of packed records: strides that are no whole number of elements."""
    records = np.zeros(array.shape, [("before", np.uint8), ("value", array.dtype)])
    records["value"] = array
    return records["value"]


def stretched(array, steps):
    """The same array with its elements `steps` apart along each axis, backwards where negative; NaN in the gaps."""
    wide = np.full([n * abs(step) for n, step in zip(array.shape, steps, strict=True)], np.nan, array.dtype)
    result = wide[(..., *(slice(None, None, step) for step in steps))]
    assert result.shape == array.shape
    result[...] = array
    return result


def frozen(array):
    result = array.copy()
    result.flags.writeable = False
    return result


def layouts(array):
    """The same array in other places: views that NumPy users make without noticing."""
    backwards = tuple(range(array.ndim))[::-1]
    return {
        "contiguous": array.copy(),
        "by columns": array.copy(order="F"),
        "transposed": array.transpose(backwards).copy().transpose(backwards),
        "every second": stretched(array, [2] * array.ndim),
        "backwards": stretched(array, [-1] * array.ndim),
        "every third, backwards": stretched(array, [-3] * array.ndim),
        "read-only": frozen(array),
        "other byte order": array.astype(array.dtype.newbyteorder()),
        "unaligned": unaligned(array),
        "field": field(array),
    }


def assert_same_bits(got, expected, message=""):
    assert got.dtype == expected.dtype and got.shape == expected.shape, message
    assert np.ascontiguousarray(got).tobytes() == np.ascontiguousarray(expected).tobytes(), message


def numbers(rng, shape, dtype):
    """Of many sizes, so that every function shows its bends and its ends."""
    return np.asarray(rng.standard_normal(shape) * rng.choice([1e-4, 1.0, 30.0], shape), dtype)


# ---- dtypes ----------------------------------------------------------------------------------------------------------

REAL = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", ">f4", ">f8", ">i2"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_elementwise_dtypes(name):
    function = FUNCTIONS[name]
    for dtype in REAL:
        x = np.array([0, 1, 3, 1], dtype)
        wanted = np.result_type(np.dtype(dtype).newbyteorder("="), np.float32)
        got = function(x)
        assert got.dtype == wanted and got.dtype.isnative
        assert_same_bits(got, function(x.astype(wanted)))
    assert_same_bits(function([0, 1, 3]), function(np.array([0.0, 1.0, 3.0])))
    assert_same_bits(function([0.5, -1]), function(np.array([0.5, -1.0])))


def test_dtypes_of_two_and_three_operands():
    """Each operand becomes float32 or float64 for itself, then the wider of them counts, as everywhere in NumPy."""
    rng = np.random.default_rng(1)
    A, B, c = rng.integers(0, 2, (3, 4)), rng.integers(0, 2, (4, 2)), rng.integers(0, 2, 2)
    expected = A @ B
    for a, b in product(REAL, REAL):
        wanted = np.result_type(np.result_type(a, np.float32), np.result_type(b, np.float32))
        got = ops.matmul(A.astype(a), B.astype(b))
        assert got.dtype == wanted and got.dtype.isnative, (a, b)
        np.testing.assert_array_equal(got, expected)
        assert ops.linear(A.astype(a), B.astype(b)).dtype == wanted
        for bias in ("?", "f4", "f8"):
            got = ops.linear(A.astype(a), B.astype(b), c.astype(bias))
            assert got.dtype == np.result_type(wanted, np.result_type(bias, np.float32))
            np.testing.assert_array_equal(got, expected + c)
    for x in (A.astype("f4"), A.astype("f2"), A.tolist()):
        assert ops.softmax(x).dtype == (np.float64 if isinstance(x, list) else np.float32)


def test_nothing_is_lost_on_the_way():
    """The narrower operand is widened; the wider is not narrowed."""
    tiny = 2.0**-40
    assert ops.matmul(np.float32([[1]]), [[1 + tiny]])[0, 0] == 1 + tiny
    assert ops.linear(np.float32([[1]]), np.float32([[1]]), [tiny])[0, 0] == 1 + tiny
    assert ops.identity(np.array([2**52 + 1])) == 2**52 + 1


NO_NUMBERS = {
    "text": ["a"],
    "digits": ["1.5"],
    "bytes": [b"1"],
    "complex": [1j],
    "none": [None],
    "objects": [{}],
    "dates": np.array(["2020-01-01"], "M8[D]"),
    "records": np.zeros(1, [("x", "f8")]),
    "long double": np.ones(1, np.longdouble),
}


@pytest.mark.parametrize("case", NO_NUMBERS)
def test_what_is_no_number_is_refused(case):
    x = np.asarray(NO_NUMBERS[case])
    if x.dtype == np.float64:
        pytest.skip("long double is double here")
    good, row, column = np.ones((1, 1)), x.reshape(1, -1), x.reshape(-1, 1)
    calls = [lambda f=f: f(x) for f in (*FUNCTIONS.values(), ops.softmax)]
    calls += [lambda: ops.matmul(row, good), lambda: ops.matmul(good, column), lambda: ops.linear(row, good)]
    calls += [lambda: ops.linear(good, column), lambda: ops.linear(good, good, x)]
    for call in calls:
        with pytest.raises(TypeError, match=r"float32|promoted"):
            call()


def test_a_ragged_list_is_refused():
    for function in (*FUNCTIONS.values(), ops.softmax):
        with pytest.raises(ValueError, match="inhomogeneous"):
            function([[1.0], [1.0, 2.0]])


# ---- elementwise: values ---------------------------------------------------------------------------------------------


def slope(name, x, y):
    """f'(x) from the reference, in the precision of x; y is f(x)."""
    return reference.slope(name, x, y.astype(x.dtype))


def assert_close(name, x, got, got_slope):
    """f(x) and f'(x) within their promised errors of the reference in long double."""
    dtype = got.dtype
    with np.errstate(over="ignore", under="ignore"):
        exact = reference.ACTIVATIONS[name](x if name == "leaky_relu" else x.astype(np.longdouble))
        unit = np.spacing(np.abs(exact).astype(dtype))
    overflow = np.abs(exact) > np.finfo(dtype).max
    with np.errstate(invalid="ignore"):
        right = np.abs(got - exact) <= ULP.get(name, 0) * unit
    assert (right | (overflow & (got == exact.astype(dtype)))).all(), name
    # From the function's own value, whose error it inherits: one product and one sum of numbers up to 1. exp is its own
    # slope.
    if name in reference.SLOPES_AT or name == "softplus":
        units, x = 2 * ULP[name], x.astype(np.longdouble)  # a sum of two such functions
    else:
        units = 1 if name in ULP and name != "exp" else 0
    np.testing.assert_allclose(got_slope, slope(name, x, got), rtol=0, atol=units * float(np.finfo(dtype).eps))


@st.composite
def shapes_with_steps(draw, min_dims=0, max_side=6):
    """A shape, and for each axis the distance and direction of its elements."""
    shape = draw(hnp.array_shapes(min_dims=min_dims, max_dims=4, min_side=0, max_side=max_side))
    return shape, draw(st.tuples(*[st.sampled_from([1, 2, 3, -1, -2])] * len(shape)))


@many_examples
@given(name=st.sampled_from(ELEMENTWISE), dtype=st.sampled_from(DTYPES), layout=shapes_with_steps())
@example(
    name="tanh", dtype="float32", layout=((7, 203), (2, -1))
)  # longer than a vector, and than the chunks of slopes
@example(name="exp", dtype="float64", layout=((1000,), (1,)))
def test_elementwise_on_any_shape_and_strides(isa, name, dtype, layout):
    """Values, and the bits of every element are those it has alone."""
    shape, steps = layout
    values = numbers(np.random.default_rng(5), shape, dtype)
    x = stretched(values, steps)
    got, got_slope = FUNCTIONS[name](x), FUNCTIONS[name + "_grad"](x)
    for result in (got, got_slope):
        assert result.shape == shape and result.dtype == dtype
        assert shape or isinstance(result, np.generic)
    assert_close(name, values, np.asarray(got), np.asarray(got_slope))
    for index in list(np.ndindex(shape))[::7]:
        alone = values[index]
        assert_same_bits(FUNCTIONS[name](alone), np.asarray(got)[index])
        assert_same_bits(FUNCTIONS[name + "_grad"](alone), np.asarray(got_slope)[index])
    assert_same_bits(x, values)


# By hand: f(x) and f'(x) at -inf, -0.0, 0.0, inf and NaN. A NaN is a NaN, also to a step.
NAN = np.nan
AT_THE_ENDS = {
    "identity": ([-np.inf, -0.0, 0.0, np.inf, NAN], [1, 1, 1, 1, 1]),
    "logistic": ([0, 0.5, 0.5, 1, NAN], [0, 0.25, 0.25, 0, NAN]),
    "tanh": ([-1, -0.0, 0.0, 1, NAN], [0, 1, 1, 0, NAN]),
    "relu": ([0, 0, 0, np.inf, NAN], [0, 0, 0, 1, 1]),
    "leaky_relu": ([-np.inf, -0.0, 0.0, np.inf, NAN], [0.01, 0.01, 0.01, 1, 1]),
    "step": ([0, 0, 0, 1, NAN], [0, 0, 0, 0, 0]),
    "exp": ([0, 1, 1, np.inf, NAN], [0, 1, 1, np.inf, NAN]),
    "elu": ([-1, -0.0, 0.0, np.inf, NAN], [0, 1, 1, 1, 1]),
    "selu": ([-1.7580993408473769, -0.0, 0.0, np.inf, NAN], [0, *[1.7580993408473769] * 2, *[1.0507009873554805] * 2]),
    "gelu": ([-0.0, -0.0, 0.0, np.inf, NAN], [0, 0.5, 0.5, 1, NAN]),
    "silu": ([-0.0, -0.0, 0.0, np.inf, NAN], [0, 0.5, 0.5, 1, NAN]),
    "mish": ([-0.0, -0.0, 0.0, np.inf, NAN], [0, 0.6, 0.6, 1, NAN]),
    "softplus": ([0, np.log(2), np.log(2), np.inf, NAN], [0, 0.5, 0.5, 1, NAN]),
    "hard_sigmoid": ([0, 0.5, 0.5, 1, NAN], [0, 1 / 6, 1 / 6, 0, 0]),
    "softsign": ([-1, -0.0, 0.0, 1, NAN], [0, 1, 1, 0, NAN]),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_at_the_ends_of_the_line(isa, name, dtype):
    value, gradient = np.array(AT_THE_ENDS[name], dtype)
    for copies in (1, 2, 5, 30):  # in a tail, in a vector, and over several
        x = np.tile(np.array([-np.inf, -0.0, 0.0, np.inf, NAN], dtype), copies)
        np.testing.assert_array_equal(FUNCTIONS[name](x), np.tile(value, copies))
        np.testing.assert_array_equal(FUNCTIONS[name + "_grad"](x), np.tile(gradient, copies))
        assert np.isnan(ops.softmax(np.stack([x, x]))).all()
    for i, x in enumerate(np.array([-np.inf, -0.0, 0.0, np.inf, NAN], dtype)):
        np.testing.assert_array_equal(FUNCTIONS[name](x), value[i])


@pytest.mark.parametrize("dtype", DTYPES)
def test_overflow_is_infinity_and_no_warning(isa, dtype):
    largest = np.finfo(dtype).max
    x = np.array([largest, -largest, 1000, -1000], dtype)
    np.testing.assert_array_equal(ops.exp(x), [np.inf, 0, np.inf, 0])
    np.testing.assert_array_equal(ops.logistic(x), [1, 0, 1, 0])
    np.testing.assert_array_equal(ops.tanh(x), [1, -1, 1, -1])
    np.testing.assert_array_equal(ops.matmul(x[:2], x[:2]), np.inf)
    np.testing.assert_array_equal(ops.linear(x[:, np.newaxis], [x[:1]]), [[np.inf], [-np.inf], [np.inf], [-np.inf]])


# ---- out= ------------------------------------------------------------------------------------------------------------

X = np.random.default_rng(2).standard_normal((6, 5))
W, BIAS = np.random.default_rng(3).standard_normal((5, 4)), np.arange(4.0)
STACK = np.random.default_rng(4).standard_normal((2, 6, 5))
# Calls with out=, of every function, and what they calculate with.
CALLS = {
    **{name: (f, (X,)) for name, f in FUNCTIONS.items()},
    "matmul": (ops.matmul, (X, W)),
    "matmul, stacked": (ops.matmul, (STACK, W)),
    "matmul, row": (ops.matmul, (X[0], W)),
    "matmul, column": (ops.matmul, (X, W[:, 0])),
    "matmul, inner": (ops.matmul, (X[0], W[:, 0])),
    "linear": (ops.linear, (X, W, BIAS, "tanh")),
    "linear, softmax": (ops.linear, (X, W, None, "softmax")),
    "softmax": (ops.softmax, (X,)),
    "softmax, axis 0": (ops.softmax, (X, 0)),
}


@pytest.fixture(params=CALLS)
def call(request):
    """(function(*operands, out=...), its result without out=)."""
    function, operands = CALLS[request.param]
    operands = [frozen(a) if isinstance(a, np.ndarray) else a for a in operands]
    return lambda out: function(*operands, out=out), np.asarray(function(*operands))


def test_out_takes_the_result_whatever_its_memory(call):
    function, expected = call
    for name, out in layouts(np.full(expected.shape, np.nan)).items():
        if name == "read-only":
            continue
        assert function(out) is out, name
        assert_same_bits(out.astype("f8"), expected, name)


def test_nothing_beside_out_is_written(call):
    function, expected = call
    for step in (1, 2, -2):
        memory = np.full([3 * n + 4 for n in expected.shape], -777.0)
        distance = abs(step)
        out = memory[(..., *(slice(2, 2 + distance * n, distance) for n in expected.shape))]
        if step < 0:
            out = out[(..., *[slice(None, None, -1)] * out.ndim)]
        function(out)
        assert_same_bits(out, expected)
        out[...] = -777.0
        assert (memory == -777.0).all()


def test_out_of_another_dtype(call):
    """Computed in the dtype of the operands, then cast, as ufuncs do; never from floats to integers."""
    function, expected = call
    single = np.full(expected.shape, np.nan, np.float32)
    assert function(single) is single
    assert_same_bits(single, expected.astype(np.float32))
    for dtype in ("i8", "?"):
        out = np.ones(expected.shape, dtype)
        with pytest.raises(TypeError, match="Cannot cast"):
            function(out)
        assert (out == 1).all()


def test_a_float32_result_in_a_float64_out():
    x = X.astype(np.float32)
    out = np.empty(x.shape)
    assert_same_bits(ops.exp(x, out=out), ops.exp(x).astype(np.float64))
    assert (out != ops.exp(X)).any()


def test_out_of_another_shape(call):
    function, expected = call
    shapes = {(*expected.shape, 1), (1, *expected.shape), (3, 3, 3)}
    shapes |= {(*expected.shape[:-1], n) for n in (0, 1, 7)} if expected.ndim else {(1,), (0,)}
    shapes |= {expected.shape[::-1], (expected.size,)} - {expected.shape}
    for shape in shapes:
        for dtype in DTYPES:
            out = np.full(shape, 7.0, dtype)
            with pytest.raises(ValueError, match="shape"):
                function(out)
            assert (out == 7).all()


def test_out_that_cannot_be_written(call):
    function, expected = call
    for out in (np.zeros(expected.shape), np.zeros(expected.shape, np.float32), np.zeros(expected.shape).T):
        if out.shape != expected.shape:
            continue
        out.flags.writeable = False
        with pytest.raises(ValueError, match="read-only"):
            function(out)
        assert (out == 0).all()


def test_out_that_is_no_array(call):
    for out in ([0.0], (0.0,), 0.0, "out", b"0123456789012345", memoryview(bytearray(16)), memoryview(np.ones((6, 4)))):
        with pytest.raises(TypeError, match="out"):
            call[0](out)


def test_plain_arrays_are_used_as_they_are(monkeypatch):
    """To convert them would take longer than to multiply small ones; what must be converted, the other tests have."""

    def convert(array):
        raise AssertionError("a plain array was converted")

    results = {name: function(*operands) for name, (function, operands) in CALLS.items()}
    monkeypatch.setattr(ops, "_floats", convert)
    plain = set(CALLS) - {"matmul, stacked", "matmul, inner", "softmax, axis 0"}
    for name in plain:
        function, operands = CALLS[name]
        assert_same_bits(function(*operands), results[name], name)
        out = np.empty_like(results[name])
        assert function(*operands, out=out) is out
        assert_same_bits(out, results[name], name)
    for name, a in layouts(X).items():
        if name in ("other byte order", "unaligned", "field"):
            with pytest.raises(AssertionError, match="converted"):
                ops.matmul(a, W)
        else:
            assert_same_bits(ops.matmul(a, W), results["matmul"], name)
    wide = np.empty((6, 9))
    assert_same_bits(ops.matmul(X, W, out=wide[:, 3:7]), results["matmul"])


@pytest.mark.parametrize("name", [*FUNCTIONS, "softmax"])
def test_out_may_be_the_operand(name):
    function = getattr(ops, name)
    for dtype in DTYPES:
        values = numbers(np.random.default_rng(5), (9, 70), dtype)
        expected = function(values)
        for layout, x in layouts(values).items():
            if layout != "read-only":
                assert function(x, out=x) is x, layout
                assert_same_bits(x.astype(dtype), expected, layout)


@pytest.mark.parametrize("name", [*FUNCTIONS, "softmax"])
def test_out_may_overlap_the_operand(name):
    """As since NumPy 1.13: the result is what it would be if they did not."""
    function = getattr(ops, name)
    values = numbers(np.random.default_rng(6), 300, "float64")
    pairs = [
        (slice(0, 299), slice(1, 300)),
        (slice(1, 300), slice(0, 299)),
        (slice(0, 150), slice(75, 225)),
        (slice(None), slice(None, None, -1)),
        (slice(None, None, -1), slice(None)),
        (slice(0, 300, 2), slice(0, 150)),
        (slice(0, 150), slice(0, 300, 2)),
    ]
    for source, target in pairs:
        memory = values.copy()
        expected = function(values[source])
        function(memory[source], out=memory[target])
        np.testing.assert_array_equal(memory[target], expected, err_msg=f"{source} into {target}")


def test_operands_stay_as_they_are():
    """CALLS computes with read-only arrays; here they are writable, and nobody writes."""
    for function, operands in CALLS.values():
        operands = [a.copy() if isinstance(a, np.ndarray) else a for a in operands]
        before = [a.copy() if isinstance(a, np.ndarray) else a for a in operands]
        result = function(*operands)
        for operand, kept in zip(operands, before, strict=True):
            if isinstance(operand, np.ndarray):
                assert_same_bits(operand, kept)
                assert not np.shares_memory(result, operand)


# ---- matmul ----------------------------------------------------------------------------------------------------------


@many_examples
@given(
    shapes=hnp.mutually_broadcastable_shapes(signature=np.matmul.signature, max_dims=2, min_side=0, max_side=5),
    dtype=st.sampled_from(DTYPES),
    data=st.data(),
)
def test_matmul_is_numpys(isa, shapes, dtype, data):
    """Vectors, matrices and stacks of them that broadcast, empty ones too, with any strides. Integers: no rounding."""
    rng = np.random.default_rng(7)
    A, B = (np.asarray(integers(rng, shape, dtype)) for shape in shapes.input_shapes)
    steps = st.sampled_from([1, 2, -1, -3])
    a = stretched(A, data.draw(st.tuples(*[steps] * A.ndim)))
    b = stretched(B, data.draw(st.tuples(*[steps] * B.ndim)))
    expected = np.matmul(A, B)
    got = ops.matmul(a, b)
    assert got.shape == expected.shape == shapes.result_shape and got.dtype == dtype
    assert expected.shape or isinstance(got, np.generic)
    np.testing.assert_array_equal(got, expected)
    out = np.full(expected.shape, np.nan, dtype)
    assert ops.matmul(a, b, out=out) is out
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_matmul_bits_do_not_depend_on_the_layout(isa, dtype):
    rng = np.random.default_rng(7)
    A, B = rng.standard_normal((2, 13, 70)).astype(dtype), rng.standard_normal((2, 70, 35)).astype(dtype)
    expected = ops.matmul(A.copy(), B.copy())
    for (name_a, a), (name_b, b) in product(layouts(A).items(), layouts(B).items()):
        assert_same_bits(ops.matmul(a, b), expected, f"A {name_a}, B {name_b}")
    for n_jobs in (1, 2, 16, -1):
        assert_same_bits(ops.matmul(A, B, n_jobs=n_jobs), expected)
    for s, i in product(range(2), range(13)):
        assert_same_bits(ops.matmul(A[s, i], B[s]), expected[s, i])
        assert_same_bits(ops.matmul(A[s, i:], B[s]), expected[s, i:])
        assert_same_bits(ops.matmul(A[s, i], B[s, :, 3]), expected[s, i, 3])


@pytest.mark.parametrize("dtype", DTYPES)
def test_matmul_against_the_reference(isa, dtype):
    rng = np.random.default_rng(8)
    for m, k, n in [(1, 1, 1), (3, 40, 2), (30, 7, 33), (5, 600, 9)]:
        A, B = numbers(rng, (m, k), dtype), numbers(rng, (k, n), dtype)
        A64, B64 = A.astype(np.longdouble), B.astype(np.longdouble)
        bound = (k + 2) * np.finfo(dtype).eps / 2 * reference.matmul(np.abs(A64), np.abs(B64))
        for got in (ops.matmul(A, B), ops.matmul(B.T, A.T).T):
            assert (np.abs(got - reference.matmul(A64, B64)) <= bound).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_and_infinity_pass_through_a_product(isa, dtype):
    rng = np.random.default_rng(9)
    for hidden in (np.nan, np.inf, -np.inf):
        for m, k, n in [(1, 1, 1), (7, 9, 17), (40, 3, 5)]:
            A, B = integers(rng, (m, k), dtype), integers(rng, (k, n), dtype)
            A[m // 2, k // 2] = hidden
            with np.errstate(invalid="ignore"):
                expected = np.matmul(A, B)  # a product with 0 is NaN, the other rows are as if nothing were
            assert not np.isfinite(expected[m // 2]).any() and np.isfinite(np.delete(expected, m // 2, axis=0)).all()
            np.testing.assert_array_equal(ops.matmul(A, B), expected)
            np.testing.assert_array_equal(ops.matmul(B.T, A.T), expected.T)


@pytest.mark.parametrize(
    ("a", "b"),
    [((), (3,)), ((3,), ()), ((), ()), ((3,), (4,)), ((2, 3), (2, 3)), ((2, 3), (4,)), ((4,), (2, 3)),
     ((2, 5, 3), (3, 3, 2)), ((0, 3), (0, 3)), ((1, 3), (1, 3))],
)  # fmt: skip
def test_matmul_refuses_what_numpy_refuses(a, b):
    with pytest.raises(ValueError):
        np.matmul(np.ones(a), np.ones(b))
    with pytest.raises(ValueError, match=r"matmul|broadcast"):
        ops.matmul(np.ones(a), np.ones(b))


# ---- linear ----------------------------------------------------------------------------------------------------------


def assert_layer_close(got, X, W, b, activation):
    """Between the activations of the sum minus and plus what its roundings can add up to.

    Most rise with it. Where one has its least value in between, that is less than error**2 below.
    """
    eps = np.finfo(got.dtype).eps
    X, W, b = (a.astype(np.longdouble) for a in (X, W, b))
    z = reference.matmul(X, W) + b
    error = (len(W) + 2) * eps / 2 * (reference.matmul(np.abs(X), np.abs(W)) + np.abs(b))
    if activation == "softmax":
        exact = reference.softmax(z)
        # Every p changes by exp of at most twice the largest error; 4 ULP of exp, and the sum.
        allowed = exact * (np.expm1(2 * error.max(axis=-1, keepdims=True)) + (10 + z.shape[1] / 16) * eps)
        low, high = exact - allowed, exact + allowed
    else:
        f = reference.ACTIVATIONS[activation]
        near = np.stack([f(z - error), f(z), f(z + error)])
        low, high = near.min(axis=0), near.max(axis=0)
        low, high = low - 6 * eps * np.abs(low) - error**2, high + 6 * eps * np.abs(high)
        if activation == "ordered":  # a sum along the row, of one number of any sign and then of positive ones
            rounding = (z.shape[1] + 8) * eps * (2 * np.abs(high[:, :1]) + np.abs(high[:, -1:]) + 1)
            low, high = low - rounding, high + rounding
    assert ((low <= got) & (got <= high)).all(), activation


LAYER_ACTIVATIONS = list(_core.ACTIVATIONS)


@many_examples
@given(
    activation=st.sampled_from(LAYER_ACTIVATIONS),
    dtype=st.sampled_from(DTYPES),
    sizes=st.tuples(st.integers(0, 40), st.integers(1, 12), st.integers(1, 20)),
    steps=st.tuples(*[st.sampled_from([1, 2, -1, -2])] * 5),
    with_bias=st.booleans(),
)
@example(activation="tanh", dtype="float32", sizes=(70, 600, 70), steps=(1, 1, 1, 1, 1), with_bias=True)
def test_linear_against_the_reference(isa, activation, dtype, sizes, steps, with_bias):
    """Fewer than 32 rows and more: the weights are read in place, or packed first."""
    n, n_in, n_out = sizes
    rng = np.random.default_rng(sizes)
    X, W, b = (rng.standard_normal(shape).astype(dtype) for shape in ((n, n_in), (n_in, n_out), n_out))
    x, w, bias = stretched(X, steps[:2]), stretched(W, steps[2:4]), stretched(b, steps[4:])
    got = ops.linear(x, w, bias if with_bias else None, activation)
    assert got.shape == (n, n_out) and got.dtype == dtype
    if not with_bias:
        b = np.zeros(n_out, dtype)
        assert_same_bits(got, ops.linear(X, W, b, activation))
    assert_layer_close(got, X, W, b, activation)
    for i in range(0, n, 7):
        assert_same_bits(ops.linear(X[i : i + 1], W, b, activation)[0], got[i])


@pytest.mark.parametrize("dtype", DTYPES)
def test_linear_bits_do_not_depend_on_the_layout(isa, dtype):
    rng = np.random.default_rng(10)
    X, W, b = (rng.standard_normal(shape).astype(dtype) for shape in ((40, 33), (33, 18), 18))
    for n in (5, 40):
        expected = ops.linear(X[:n].copy(), W, b, "tanh")
        for (name_x, x), (name_w, w) in product(layouts(X[:n]).items(), layouts(W).items()):
            assert_same_bits(ops.linear(x, w, b, "tanh"), expected, f"X {name_x}, W {name_w}")
        for name, bias in layouts(b).items():
            assert_same_bits(ops.linear(X[:n], W, bias, "tanh"), expected, name)
        for n_jobs in (1, 2, 16, -1):
            assert_same_bits(ops.linear(X[:n], W, b, "tanh", n_jobs=n_jobs), expected)


def test_linear_is_a_product_and_an_activation():
    """Without a bias the chains of both start from zero: the same bits."""
    for dtype, activation in product(DTYPES, ELEMENTWISE):
        x, w = X.astype(dtype), W.astype(dtype)
        assert_same_bits(ops.linear(x, w, activation=activation), FUNCTIONS[activation](ops.matmul(x, w)))
    assert_same_bits(ops.linear(X, W, activation="softmax"), ops.softmax(ops.matmul(X, W)))
    assert_same_bits(ops.linear(X, W, BIAS, "sigmoid"), ops.linear(X, W, BIAS, "logistic"))
    assert_same_bits(ops.linear(X, W, BIAS), ops.linear(X, W, BIAS, "identity"))
    assert_same_bits(ops.linear(X, W), ops.linear(X, W, np.zeros(4)))


def test_the_bias_goes_to_every_row():
    rng = np.random.default_rng(11)
    X, W, b = (integers(rng, shape) for shape in ((50, 6), (6, 19), 19))
    np.testing.assert_array_equal(ops.linear(X, W, b), X @ W + b)
    np.testing.assert_array_equal(ops.linear(X, W, b.tolist()), X @ W + b)
    np.testing.assert_array_equal(ops.linear(X.tolist(), W.tolist(), b.astype(int)), X @ W + b)
    np.testing.assert_array_equal(ops.linear(X, W, np.broadcast_to(3.0, 19)), X @ W + 3)


@pytest.mark.parametrize(("n", "n_in", "n_out"), [(0, 3, 2), (4, 0, 2), (0, 0, 2), (4, 3, 0), (0, 3, 0), (4, 0, 0)])
def test_layers_of_nothing(n, n_in, n_out):
    """As NumPy has it: an empty sum is zero, so that the bias remains."""
    X, W, b = np.ones((n, n_in)), np.ones((n_in, n_out)), np.arange(n_out) - 0.5
    for activation in LAYER_ACTIVATIONS if n_out > 0 else ELEMENTWISE:  # nothing has no probabilities
        got = ops.linear(X, W, b, activation)
        assert got.shape == (n, n_out)
        assert_layer_close(got, X, W, b, activation)
    with pytest.raises(ValueError, match="unknown activation"):
        ops.linear(X, W, b, "swish")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", LAYER_ACTIVATIONS)
def test_nan_passes_through_a_layer(isa, activation, dtype):
    rng = np.random.default_rng(12)
    for n in (6, 40):
        X, W, b = (rng.standard_normal(shape).astype(dtype) for shape in ((n, 5), (5, 20), 20))
        clean = ops.linear(X, W, b, activation)
        spoiled = X.copy()
        spoiled[3, 1] = np.nan
        got = ops.linear(spoiled, W, b, activation)
        assert np.isnan(got[3]).all()
        assert_same_bits(np.delete(got, 3, axis=0), np.delete(clean, 3, axis=0))
        spoiled = b.copy()
        spoiled[7] = np.nan
        got = ops.linear(X, W, spoiled, activation)
        if activation == "softmax":
            assert np.isnan(got).all()
        else:
            reached = slice(7, 20) if activation == "ordered" else 7
            assert np.isnan(got[:, reached]).all()
            assert_same_bits(np.delete(got, reached, axis=1), np.delete(clean, reached, axis=1))


@pytest.mark.parametrize(
    ("x", "w", "b", "message"),
    [
        ((5,), (5, 4), None, "must be matrices, got 1 and 2"),
        ((6, 5), (5,), None, "must be matrices, got 2 and 1"),
        ((2, 6, 5), (5, 4), None, "must be matrices, got 3 and 2"),
        ((6, 5), (), None, "must be matrices, got 2 and 0"),
        ((6, 5), (4, 5), None, "X has 5 columns, W has 4 rows"),
        ((6, 0), (4, 5), None, "X has 0 columns, W has 4 rows"),
        ((6, 5), (5, 4), (5,), r"b has shape \(5,\), expected \(4,\)"),
        ((6, 5), (5, 4), (1, 4), r"b has shape \(1, 4\), expected \(4,\)"),
        ((6, 5), (5, 4), (), r"b has shape \(\), expected \(4,\)"),
        ((6, 5), (5, 4), (0,), r"b has shape \(0,\), expected \(4,\)"),
        ((6, 5), (5, 1), (6,), r"b has shape \(6,\), expected \(1,\)"),
    ],
)
def test_layers_that_do_not_fit(x, w, b, message):
    with pytest.raises(ValueError, match=message):
        ops.linear(np.ones(x), np.ones(w), None if b is None else np.ones(b))


@pytest.mark.parametrize(
    "activation",
    ["swish", "", "ReLU", "relu_grad", b"relu", None, 3, ["relu"], ("relu", 1.0), ("elu",), ("elu", -1.0)],
    ids=repr,
)
def test_unknown_activations(activation):
    with pytest.raises(
        (ValueError, TypeError), match=r"activation|[Ee]xpected str|unhashable|no argument|unpack|inconsistent"
    ):
        ops.linear(X, W, BIAS, activation)


def test_a_number_of_jobs_that_means_nothing():
    for call in (lambda n: ops.matmul(X, W, n_jobs=n), lambda n: ops.linear(X, W, n_jobs=n)):
        with pytest.raises(ValueError, match="n_jobs == 0 has no meaning"):
            call(0)
        with pytest.raises(TypeError):
            call("two")
        assert_same_bits(call(10**30), call(-(10**30)))


# ---- softmax ---------------------------------------------------------------------------------------------------------


@many_examples
@given(dtype=st.sampled_from(DTYPES), layout=shapes_with_steps(min_dims=1, max_side=7), data=st.data())
def test_softmax_along_any_axis(isa, dtype, layout, data):
    shape, steps = layout
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    values = (5 * np.random.default_rng(13).standard_normal(shape)).astype(dtype)
    x = stretched(values, steps)
    if shape[axis] == 0:
        with pytest.raises(ValueError, match="at least one element"):
            ops.softmax(x, axis)
        return
    got = ops.softmax(x, axis)
    assert got.shape == shape and got.dtype == dtype
    wide = np.moveaxis(values, axis, -1).astype(np.longdouble)
    if wide.size:
        exact = reference.softmax(wide)
        # The rounding of x - max moves the exponent by at most half a unit of it; exp 4 ULP, the sum, one division.
        bound = np.finfo(dtype).eps * exact * (np.abs(wide - wide.max(axis=-1, keepdims=True)) + 10)
        assert (np.abs(np.moveaxis(got, axis, -1) - exact) <= bound).all()
    # Each row has the bits it has alone.
    rows = np.moveaxis(values, axis, -1).reshape(-1, shape[axis])
    for row, result in list(zip(rows, np.moveaxis(got, axis, -1).reshape(rows.shape), strict=True))[:10]:
        assert_same_bits(ops.softmax(row), result)
    assert_same_bits(x, values)


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_bits_do_not_depend_on_the_layout(isa, dtype):
    values = numbers(np.random.default_rng(13), (3, 6, 20), dtype)
    for axis in (0, 1, 2):
        expected = ops.softmax(np.moveaxis(values, axis, -1).copy())
        for name, x in layouts(values).items():
            assert_same_bits(np.moveaxis(ops.softmax(x, axis), axis, -1), expected, f"{name}, axis {axis}")
            out = np.empty_like(x)
            assert ops.softmax(x, axis, out=out) is out
            assert_same_bits(np.moveaxis(out.astype(dtype), axis, -1), expected, f"{name}, axis {axis}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_of_infinities(isa, dtype):
    inf = np.inf
    x = np.array([[0, -inf, 0], [-inf, 7, -inf], [-inf, -inf, -inf], [inf, 0, 0], [inf, inf, 0], [0, np.nan, 0]], dtype)
    got = ops.softmax(x)
    np.testing.assert_array_equal(got[:2], [[0.5, 0, 0.5], [0, 1, 0]])
    assert np.isnan(got[2:]).all()  # -inf - -inf, inf - inf, and NaN have no exponential
    np.testing.assert_array_equal(ops.softmax(np.array([[0.0, 0.0], [1.0, np.nan]]), axis=1)[0], [0.5, 0.5])


def test_softmax_needs_elements():
    for x in (1.0, np.float32(1), [], np.ones((3, 0)), np.ones((0, 0))):
        with pytest.raises(ValueError, match="at least one element"):
            ops.softmax(x)
    assert ops.softmax(np.ones((0, 3))).shape == (0, 3)
    assert ops.softmax(np.ones((3, 0)), axis=0).shape == (3, 0)


@pytest.mark.parametrize("axis", [2, -3, 100])
def test_softmax_along_an_axis_that_is_not_there(axis):
    with pytest.raises(np.exceptions.AxisError, match=f"axis {axis} is out of bounds"):
        ops.softmax(X, axis)
    for wrong in (None, 0.5, "0"):
        with pytest.raises(TypeError):
            ops.softmax(X, wrong)


# ---- bits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_elementwise_bits_do_not_depend_on_the_layout(isa, dtype):
    values = numbers(np.random.default_rng(14), (11, 67), dtype)
    for name, function in FUNCTIONS.items():
        expected = function(values)
        for start, stop in pairwise([0, 1, 2, 5, 12, 29, 67]):
            assert_same_bits(function(values[:, start:stop]), expected[:, start:stop], name)
        for layout, x in layouts(values).items():
            assert_same_bits(function(x), expected, f"{name}, {layout}")


def test_signatures_are_alike():
    for name, function in FUNCTIONS.items():
        argument = {"leaky_relu": ["negative_slope"], "elu": ["alpha"]}.get(name.removesuffix("_grad"), [])
        assert list(inspect.signature(function).parameters) == ["x", "out", *argument], name
        assert function(X, np.empty_like(X)) is not X
