"""The array functions that networks are made of, on the engine's kernels: matrix products, activations, softmax.

Everything follows NumPy: ``out=`` takes the result, float32 and float64 stay what they are, other real numbers are
converted to the smaller of the two that holds them (``np.result_type(x, np.float32)``), and a shape that does not fit
is a ValueError.
"""

from __future__ import annotations

from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnfast import _core
from nnfast._threads import resolve_threads

Array = NDArray[Any]

__all__ = [
    "elu",
    "elu_grad",
    "exp",
    "exp_grad",
    "gelu",
    "gelu_grad",
    "hard_sigmoid",
    "hard_sigmoid_grad",
    "identity",
    "identity_grad",
    "leaky_relu",
    "leaky_relu_grad",
    "linear",
    "logistic",
    "logistic_grad",
    "matmul",
    "mish",
    "mish_grad",
    "relu",
    "relu_grad",
    "selu",
    "selu_grad",
    "sigmoid",
    "sigmoid_grad",
    "silu",
    "silu_grad",
    "softmax",
    "softplus",
    "softplus_grad",
    "softsign",
    "softsign_grad",
    "step",
    "step_grad",
    "tanh",
    "tanh_grad",
]


_DTYPES = {np.dtype(np.float32), np.dtype(np.float64)}


def _floats(array: ArrayLike) -> Array:
    """The array in float32 or float64, as NumPy would convert it to the smaller that holds it."""
    result = np.asarray(array)
    if result.dtype in _DTYPES and result.flags.aligned:
        return result
    dtype = np.result_type(result.dtype, np.float32)
    if dtype not in (np.float32, np.float64):
        raise TypeError(f"nnfast works in float32 and float64, not in {result.dtype}")
    result = result.astype(dtype, copy=False)
    return result if result.flags.aligned else result.copy()


def _is_plain(array: Any, out: Any) -> TypeGuard[Array]:
    """Whether the engine may be tried with an operand and ``out`` as they are. Of users' arrays it can use most, and to
    convert what needs no conversion takes 3 to 20 us, as long as a product of two 64 x 64 matrices."""
    return type(array) is np.ndarray and (out is None or isinstance(out, np.ndarray))


def _require(done: bool) -> None:
    """What was converted the engine can use. Not so where float64 need not be aligned, as on 32-bit x86."""
    if not done:
        raise ValueError("an array is not aligned; copy it")


def _is_direct(out: Array | None, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bool:
    """Whether the engine can write its result of this dtype and shape straight into ``out``."""
    if out is None:
        return False
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be an array, not {type(out).__name__}")
    return out.dtype == dtype and out.shape == shape and out.flags.c_contiguous and out.flags.behaved


def _deliver(result: Array, out: Array | None) -> Any:
    """The result as NumPy gives it: into ``out`` when there is one, a scalar for a scalar."""
    if out is None:
        return result if result.ndim else result[()]
    if out.shape != result.shape:
        raise ValueError(f"out has shape {out.shape}, the result {result.shape}")
    np.copyto(out, result, casting="same_kind")
    return out


def _elementwise(kernel: Any, activation: str | tuple[str, float], x: ArrayLike, out: Array | None) -> Any:
    """out = kernel(activation, x) for any shape; straight into ``out`` when its memory is as the engine writes it."""
    if _is_plain(x, out) and x.ndim:
        result = np.empty_like(x) if out is None else out
        if kernel(activation, x, result):
            return result
    x = np.ascontiguousarray(floats := _floats(x)).reshape(-1)
    # An ``out`` that shares only a part of x would change what is still to be read.
    direct = _is_direct(out, x.dtype, floats.shape) and (out is floats or not np.may_share_memory(out, x))
    result = out.reshape(-1) if direct and out is not None else np.empty_like(x)
    _require(kernel(activation, x, result))
    return out if direct else _deliver(result.reshape(floats.shape), out)


# Multiply-adds below which the engine takes one thread, however many it may (csrc/pace.c).
_ONE_THREAD = 1_000_000


def _threads(work: int, n_jobs: int | None) -> int:
    """Threads for a product of so many multiply-adds. To ask how many there may be takes as long as 30,000 of them."""
    return 1 if n_jobs is None and work < _ONE_THREAD else resolve_threads(n_jobs)


def matmul(A: ArrayLike, B: ArrayLike, out: Array | None = None, *, n_jobs: int | None = None) -> Any:
    """Matrix product, as ``np.matmul``.

    Each element is one chain of fused multiply-adds in order of the inner dimension. Its bits therefore depend on its
    row of A and its column of B alone: not on the number of threads, nor on the other rows.

    Parameters
    ----------
    A : array-like (..., m, k) or (k,)
    B : array-like (..., k, n) or (k,)
        Leading dimensions broadcast; a vector is taken as a row on the left and a column on the right. Any strides: a
        transposed view costs no copy.
    out : array, optional
        Takes the result; must not overlap A or B.
    n_jobs : int or None, default=None
        At most so many threads.

    Returns
    -------
    array (..., m, n), without the dimension that a vector lacks

    Raises
    ------
    ValueError
        When the inner dimensions differ or ``out`` has another shape.

    Examples
    --------
    >>> from nnfast import ops
    >>> ops.matmul([[1.0, 2.0], [3.0, 4.0]], [1.0, 10.0])
    array([21., 43.])
    """
    if _is_plain(A, out) and type(B) is np.ndarray and 1 <= A.ndim <= 2 and 1 <= B.ndim <= 2:
        result = np.empty(A.shape[:-1] + B.shape[1:], A.dtype) if out is None else out
        if _core.matmul(A, B, result, _threads(A.size * B.shape[-1], n_jobs)):
            return result
    A, B = _floats(A), _floats(B)
    dtype = A.dtype
    if dtype != B.dtype:
        dtype = np.result_type(A, B)
        A, B = A.astype(dtype, copy=False), B.astype(dtype, copy=False)
    if A.ndim == 0 or B.ndim == 0:
        raise ValueError("matmul: a scalar is no matrix")
    row, column = A.ndim == 1, B.ndim == 1
    A = A[np.newaxis] if row else A
    B = B[:, np.newaxis] if column else B
    if A.shape[-1] != B.shape[-2]:
        raise ValueError(f"matmul: A has {A.shape[-1]} columns, B has {B.shape[-2]} rows")
    leading: tuple[int, ...] = ()
    if A.ndim > 2 or B.ndim > 2:
        leading = np.broadcast_shapes(A.shape[:-2], B.shape[:-2])
        A, B = np.broadcast_to(A, leading + A.shape[-2:]), np.broadcast_to(B, leading + B.shape[-2:])
    result = np.empty((*leading, A.shape[-2], B.shape[-1]), dtype)
    shape = list(result.shape)
    if column:
        del shape[-1]
    if row:
        del shape[len(leading)]
    direct = _is_direct(out, dtype, tuple(shape))
    if direct and out is not None:
        result = out.reshape(result.shape)
    threads = _threads(A.shape[-2] * A.shape[-1] * B.shape[-1], n_jobs)
    for index in np.ndindex(leading) if leading else [()]:
        _require(_core.matmul(A[index], B[index], result[index], threads))
    return out if direct else _deliver(result.reshape(shape), out)


def linear(
    X: ArrayLike,
    W: ArrayLike,
    b: ArrayLike | None = None,
    activation: str | tuple[str, float] = "identity",
    out: Array | None = None,
    *,
    n_jobs: int | None = None,
) -> Array:
    """One dense layer: ``activation(X @ W + b)``.

    Parameters
    ----------
    X : array-like (n, n_in)
        One sample a row.
    W : array-like (n_in, n_out)
    b : array-like (n_out,), optional
        Intercepts; none when None.
    activation : str or (str, float), default="identity"
        An elementwise function of this module by its name, such as "sigmoid" or "step", with its argument as
        ``("leaky_relu", 0.1)`` or ``("elu", 0.5)``; "softmax"; or "ordered", whose columns never fall: ``p_0 = z_0, p_k
        = p_(k-1) + log(1 + exp(z_k))``.
    out : array (n, n_out), optional
        Takes the result; must not overlap X or W.
    n_jobs : int or None, default=None
        At most so many threads.

    Returns
    -------
    array (n, n_out)

    Raises
    ------
    ValueError
        For an unknown activation or shapes that do not fit.

    Examples
    --------
    A neuron with two inputs that fires when both do:

    >>> from nnfast import ops
    >>> ops.linear([[0.0, 1.0], [1.0, 1.0]], [[1.0], [1.0]], [-1.5], activation="step")
    array([[0.],
           [1.]])
    """
    activation = "logistic" if activation == "sigmoid" else activation
    if _is_plain(X, out) and _is_plain(W, out) and X.ndim == W.ndim == 2 and X.size and W.size:
        result = np.empty((X.shape[0], W.shape[1]), X.dtype) if out is None else out
        bias = np.zeros(W.shape[1], W.dtype) if b is None else b
        if _core.linear(X, W, bias, activation, result, _threads(X.size * W.shape[1], n_jobs)):
            return result
    X, W = _floats(X), _floats(W)
    if X.ndim != 2 or W.ndim != 2:
        raise ValueError(f"linear: X and W must be matrices, got {X.ndim} and {W.ndim} dimensions")
    if X.shape[1] != W.shape[0]:
        raise ValueError(f"linear: X has {X.shape[1]} columns, W has {W.shape[0]} rows")
    bias = np.zeros(W.shape[1], W.dtype) if b is None else _floats(b)
    if bias.shape != (W.shape[1],):
        raise ValueError(f"linear: b has shape {bias.shape}, expected {(W.shape[1],)}")
    dtype = np.result_type(X, W, bias)
    if X.shape[1] == 0:  # the engine has no empty layers; a sum of nothing is the term 0 * 0
        X, W = np.zeros((X.shape[0], 1), dtype), np.zeros((1, W.shape[1]), dtype)
    name = activation[0] if isinstance(activation, tuple) else activation
    if W.shape[1] == 0 and name in _core.ACTIVATIONS and name != "softmax":
        return _deliver(np.empty((X.shape[0], 0), dtype), out)
    direct = _is_direct(out, dtype, (X.shape[0], W.shape[1]))
    result = out if direct and out is not None else np.empty((X.shape[0], W.shape[1]), dtype)
    X, W, bias = (np.ascontiguousarray(array, dtype) for array in (X, W, bias))
    _require(_core.linear(X, W, bias, activation, result, resolve_threads(n_jobs)))
    return result if direct else _deliver(result, out)


def softmax(x: ArrayLike, axis: int = -1, out: Array | None = None) -> Array:
    """Probabilities along an axis: ``exp(x - max) / sum(exp(x - max))``.

    Parameters
    ----------
    x : array-like, at least one dimension
    axis : int, default=-1
    out : array of the shape of x, optional
        Takes the result; may be x.

    Returns
    -------
    array of the shape of x
        A row that holds NaN or +inf becomes NaN.

    Examples
    --------
    >>> from nnfast import ops
    >>> ops.softmax([[0.0, 0.0], [1000.0, 0.0]])
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    if _is_plain(x, out) and type(axis) is int and x.ndim and axis in (-1, x.ndim - 1):
        result = np.empty_like(x) if out is None else out
        if _core.softmax(x, result):
            return result
    x = _floats(x)
    rows = np.moveaxis(x, axis, -1) if x.ndim else x
    if rows.ndim == 0 or rows.shape[-1] == 0:
        raise ValueError("softmax needs an axis with at least one element")
    _is_direct(out, x.dtype, x.shape)
    result = np.ascontiguousarray(rows).reshape(-1, rows.shape[-1])
    if result.base is not None and np.shares_memory(result, x):
        result = result.copy()
    _require(_core.softmax(result, result))
    return _deliver(np.moveaxis(result.reshape(rows.shape), -1, axis), out)


def identity(x: ArrayLike, out: Array | None = None) -> Any:
    """``x`` itself.

    Parameters
    ----------
    x : array-like of any shape
    out : array of the shape of x, optional
        Takes the result; may be x.

    Examples
    --------
    >>> from nnfast import ops
    >>> ops.identity([-2.0, 0.5])
    array([-2. ,  0.5])
    """
    return _elementwise(_core.activate, "identity", x, out)


def identity_grad(x: ArrayLike, out: Array | None = None) -> Any:
    """Slope of the identity: 1.

    Parameters
    ----------
    x : array-like of any shape
    out : array of the shape of x, optional
        Takes the result; may be x.

    Examples
    --------
    >>> from nnfast import ops
    >>> ops.identity_grad([-2.0, 0.5])
    array([1., 1.])
    """
    return _elementwise(_core.activate_grad, "identity", x, out)


def logistic(x: ArrayLike, out: Array | None = None) -> Any:
    """The logistic function ``1 / (1 + exp(-x))``, between 0 and 1.

    Parameters
    ----------
    x : array-like of any shape
    out : array of the shape of x, optional
        Takes the result; may be x.

    Examples
    --------
    >>> from nnfast import ops
    >>> ops.logistic([0.0, 1.0])
    array([0.5       , 0.73105858])
    """
    return _elementwise(_core.activate, "logistic", x, out)


def logistic_grad(x: ArrayLike, out: Array | None = None) -> Any:
    """Slope of the logistic function: ``y (1 - y)`` with ``y = logistic(x)``; at most 1/4.

    Parameters
    ----------
    x : array-like of any shape
    out : array of the shape of x, optional
        Takes the result; may be x.

    Examples
    --------
    >>> from nnfast import ops
    >>> ops.logistic_grad([0.0, 1.0])
    array([0.25      , 0.19661193])
    """
    return _elementwise(_core.activate_grad, "logistic", x, out)


def tanh(x: ArrayLike, out: Array | None = None) -> Any:
    """The hyperbolic tangent, between -1 and 1.

    Parameters
    ----------
    x : array-like of any shape
    out : array of the shape of x, optional
        Takes the result; may be x.

    Examples
    --------
    >>> from nnfast import ops
    >>> ops.tanh([0.0, 1.0])
    array([0.        , 0.76159416])
    """
    return _elementwise(_core.activate, "tanh", x, out)


def tanh_grad(x: ArrayLike, out: Array | None = None) -> Any:
    """Slope of the hyperbolic tangent: ``1 - tanh(x)**2``.

    Parameters
    ----------
    x : array-like of any shape
    out : array of the shape of x, optional
        Takes the result; may be x.

    Examples
    --------
    >>> from nnfast import ops
    >>> ops.tanh_grad([0.0, 1.0])
    array([1.        , 0.41997434])
    """
    return _elementwise(_core.activate_grad, "tanh", x, out)


def relu(x: ArrayLike, out: Array | None = None) -> Any:
    """The rectified linear unit: x where it is positive, else 0.

    Parameters
    ----------
    x : array-like of any shape
    out : array of the shape of x, optional
        Takes the result; may be x.

    Examples
    --------
    >>> from nnfast import ops
    >>> ops.relu([-2.0, 0.5])
    array([0. , 0.5])
    """
    return _elementwise(_core.activate, "relu", x, out)


def relu_grad(x: ArrayLike, out: Array | None = None) -> Any:
    """Slope of the rectified linear unit: 1 where its value is positive, else 0.

    Parameters
    ----------
    x : array-like of any shape
    out : array of the shape of x, optional
        Takes the result; may be x.

    Examples
    --------
    >>> from nnfast import ops
    >>> ops.relu_grad([-2.0, 0.5])
    array([0., 1.])
    """
    return _elementwise(_core.activate_grad, "relu", x, out)


def leaky_relu(x: ArrayLike, out: Array | None = None, *, negative_slope: float = 0.01) -> Any:
    """The leaky rectified linear unit: x where it is positive, else ``negative_slope * x``.

    Parameters
    ----------
    x : array-like of any shape
    out : array of the shape of x, optional
        Takes the result; may be x.
    negative_slope : float, default=0.01
        At least 0.

    Examples
    --------
    >>> from nnfast import ops
    >>> ops.leaky_relu([-2.0, 0.5])
    array([-0.02,  0.5 ])
    """
    return _elementwise(_core.activate, ("leaky_relu", negative_slope), x, out)


def leaky_relu_grad(x: ArrayLike, out: Array | None = None, *, negative_slope: float = 0.01) -> Any:
    """Slope of the leaky rectified linear unit: 1 where x is positive, else ``negative_slope``.

    Parameters
    ----------
    x : array-like of any shape
    out : array of the shape of x, optional
        Takes the result; may be x.
    negative_slope : float, default=0.01
        At least 0.

    Examples
    --------
    >>> from nnfast import ops
    >>> ops.leaky_relu_grad([-2.0, 0.5])
    array([0.01, 1.  ])
    """
    return _elementwise(_core.activate_grad, ("leaky_relu", negative_slope), x, out)


def elu(x: ArrayLike, out: Array | None = None, *, alpha: float = 1.0) -> Any:
    """The exponential linear unit of Clevert et al. (2016): x where it is positive, else ``alpha * (exp(x) - 1)``.

    Parameters
    ----------
    x : array-like of any shape
    out : array of the shape of x, optional
        Takes the result; may be x.
    alpha : float, default=1.0
        At least 0.

    Examples
    --------
    >>> from nnfast import ops
    >>> ops.elu([-2.0, 0.5])
    array([-0.86466472,  0.5       ])
    """
    return _elementwise(_core.activate, ("elu", alpha), x, out)


def elu_grad(x: ArrayLike, out: Array | None = None, *, alpha: float = 1.0) -> Any:
    """Slope of the exponential linear unit: 1 where x is positive, else ``alpha * exp(x)``.

    Parameters
    ----------
    x : array-like of any shape
    out : array of the shape of x, optional
        Takes the result; may be x.
    alpha : float, default=1.0
        At least 0.

    Examples
    --------
    >>> from nnfast import ops
    >>> ops.elu_grad([-2.0, 0.5])
    array([0.13533528, 1.        ])
    """
    return _elementwise(_core.activate_grad, ("elu", alpha), x, out)


def selu(x: ArrayLike, out: Array | None = None) -> Any:
    """The self-normalising unit of Klambauer et al. (2017): ``1.0507 * elu(x, alpha=1.6733)``.

    Parameters
    ----------
    x : array-like of any shape
    out : array of the shape of x, optional
        Takes the result; may be x.

    Examples
    --------
    >>> from nnfast import ops
    >>> ops.selu([-2.0, 0.5])
    array([-1.52016647,  0.52535049])
    """
    return _elementwise(_core.activate, "selu", x, out)


def selu_grad(x: ArrayLike, out: Array | None = None) -> Any:
    """Slope of the self-normalising unit.

    Parameters
    ----------
    x : array-like of any shape
    out : array of the shape of x, optional
        Takes the result; may be x.

    Examples
    --------
    >>> from nnfast import ops
    >>> ops.selu_grad([-2.0, 0.5])
    array([0.23793287, 1.05070099])
    """
    return _elementwise(_core.activate_grad, "selu", x, out)


def gelu(x: ArrayLike, out: Array | None = None) -> Any:
    """The Gaussian error linear unit of Hendrycks and Gimpel (2016), exactly: x times the share of N(0, 1) below x.

    Parameters
    ----------
    x : array-like of any shape
    out : array of the shape of x, optional
        Takes the result; may be x.

    Examples
    --------
    >>> from nnfast import ops
    >>> ops.gelu([-2.0, 0.5])
    array([-0.04550026,  0.34573123])
    """
    return _elementwise(_core.activate, "gelu", x, out)


def gelu_grad(x: ArrayLike, out: Array | None = None) -> Any:
    """Slope of the Gaussian error linear unit: the share of N(0, 1) below x, and x times its density there.

    Parameters
    ----------
    x : array-like of any shape
    out : array of the shape of x, optional
        Takes the result; may be x.

    Examples
    --------
    >>> from nnfast import ops
    >>> ops.gelu_grad([-2.0, 0.5])
    array([-0.0852318 ,  0.86749512])
    """
    return _elementwise(_core.activate_grad, "gelu", x, out)


def silu(x: ArrayLike, out: Array | None = None) -> Any:
    """The sigmoid linear unit of Elfwing et al. (2018), also called swish: ``x / (1 + exp(-x))``.

    Parameters
    ----------
    x : array-like of any shape
    out : array of the shape of x, optional
        Takes the result; may be x.

    Examples
    --------
    >>> from nnfast import ops
    >>> ops.silu([-2.0, 0.5])
    array([-0.23840584,  0.31122967])
    """
    return _elementwise(_core.activate, "silu", x, out)


def silu_grad(x: ArrayLike, out: Array | None = None) -> Any:
    """Slope of the sigmoid linear unit: ``p + x * p * (1 - p)`` with ``p = logistic(x)``.

    Parameters
    ----------
    x : array-like of any shape
    out : array of the shape of x, optional
        Takes the result; may be x.

    Examples
    --------
    >>> from nnfast import ops
    >>> ops.silu_grad([-2.0, 0.5])
    array([-0.09078425,  0.73996119])
    """
    return _elementwise(_core.activate_grad, "silu", x, out)


def mish(x: ArrayLike, out: Array | None = None) -> Any:
    """Mish, of Misra (2019): ``x * tanh(softplus(x))``.

    Parameters
    ----------
    x : array-like of any shape
    out : array of the shape of x, optional
        Takes the result; may be x.

    Examples
    --------
    >>> from nnfast import ops
    >>> ops.mish([-2.0, 0.5])
    array([-0.25250148,  0.37524521])
    """
    return _elementwise(_core.activate, "mish", x, out)


def mish_grad(x: ArrayLike, out: Array | None = None) -> Any:
    """Slope of mish.

    Parameters
    ----------
    x : array-like of any shape
    out : array of the shape of x, optional
        Takes the result; may be x.

    Examples
    --------
    >>> from nnfast import ops
    >>> ops.mish_grad([-2.0, 0.5])
    array([-0.10835509,  0.88642438])
    """
    return _elementwise(_core.activate_grad, "mish", x, out)


def softplus(x: ArrayLike, out: Array | None = None) -> Any:
    """A smooth rectified linear unit: ``log(1 + exp(x))``.

    Parameters
    ----------
    x : array-like of any shape
    out : array of the shape of x, optional
        Takes the result; may be x.

    Examples
    --------
    >>> from nnfast import ops
    >>> ops.softplus([-2.0, 0.5])
    array([0.12692801, 0.97407698])
    """
    return _elementwise(_core.activate, "softplus", x, out)


def softplus_grad(x: ArrayLike, out: Array | None = None) -> Any:
    """Slope of the softplus: ``1 / (1 + exp(-x))``.

    Parameters
    ----------
    x : array-like of any shape
    out : array of the shape of x, optional
        Takes the result; may be x.

    Examples
    --------
    >>> from nnfast import ops
    >>> ops.softplus_grad([-2.0, 0.5])
    array([0.11920292, 0.62245933])
    """
    return _elementwise(_core.activate_grad, "softplus", x, out)


def hard_sigmoid(x: ArrayLike, out: Array | None = None) -> Any:
    """A sigmoid of three straight lines: ``x / 6 + 1/2``, between 0 and 1; as in PyTorch and Keras.

    Parameters
    ----------
    x : array-like of any shape
    out : array of the shape of x, optional
        Takes the result; may be x.

    Examples
    --------
    >>> from nnfast import ops
    >>> ops.hard_sigmoid([-2.0, 0.5])
    array([0.16666667, 0.58333333])
    """
    return _elementwise(_core.activate, "hard_sigmoid", x, out)


def hard_sigmoid_grad(x: ArrayLike, out: Array | None = None) -> Any:
    """Slope of the hard sigmoid: 1/6 between -3 and 3, else 0.

    Parameters
    ----------
    x : array-like of any shape
    out : array of the shape of x, optional
        Takes the result; may be x.

    Examples
    --------
    >>> from nnfast import ops
    >>> ops.hard_sigmoid_grad([-2.0, 0.5])
    array([0.16666667, 0.16666667])
    """
    return _elementwise(_core.activate_grad, "hard_sigmoid", x, out)


def softsign(x: ArrayLike, out: Array | None = None) -> Any:
    """A sigmoid of slow tails: ``x / (1 + |x|)``.

    Parameters
    ----------
    x : array-like of any shape
    out : array of the shape of x, optional
        Takes the result; may be x.

    Examples
    --------
    >>> from nnfast import ops
    >>> ops.softsign([-2.0, 0.5])
    array([-0.66666667,  0.33333333])
    """
    return _elementwise(_core.activate, "softsign", x, out)


def softsign_grad(x: ArrayLike, out: Array | None = None) -> Any:
    """Slope of the softsign: ``1 / (1 + |x|)**2``.

    Parameters
    ----------
    x : array-like of any shape
    out : array of the shape of x, optional
        Takes the result; may be x.

    Examples
    --------
    >>> from nnfast import ops
    >>> ops.softsign_grad([-2.0, 0.5])
    array([0.11111111, 0.44444444])
    """
    return _elementwise(_core.activate_grad, "softsign", x, out)


def step(x: ArrayLike, out: Array | None = None) -> Any:
    """The threshold of Rosenblatt's perceptron: 1 where x is positive, else 0.

    Parameters
    ----------
    x : array-like of any shape
    out : array of the shape of x, optional
        Takes the result; may be x.

    Examples
    --------
    >>> from nnfast import ops
    >>> ops.step([-2.0, 0.0, 0.5])
    array([0., 0., 1.])
    """
    return _elementwise(_core.activate, "step", x, out)


def step_grad(x: ArrayLike, out: Array | None = None) -> Any:
    """Slope of the step: 0, which is why gradient descent cannot train with it.

    Parameters
    ----------
    x : array-like of any shape
    out : array of the shape of x, optional
        Takes the result; may be x.

    Examples
    --------
    >>> from nnfast import ops
    >>> ops.step_grad([-2.0, 0.0, 0.5])
    array([0., 0., 0.])
    """
    return _elementwise(_core.activate_grad, "step", x, out)


def exp(x: ArrayLike, out: Array | None = None) -> Any:
    """The exponential function.

    Parameters
    ----------
    x : array-like of any shape
    out : array of the shape of x, optional
        Takes the result; may be x.

    Examples
    --------
    >>> from nnfast import ops
    >>> ops.exp([0.0, 1.0])
    array([1.        , 2.71828183])
    """
    return _elementwise(_core.activate, "exp", x, out)


def exp_grad(x: ArrayLike, out: Array | None = None) -> Any:
    """Slope of the exponential function: itself.

    Parameters
    ----------
    x : array-like of any shape
    out : array of the shape of x, optional
        Takes the result; may be x.

    Examples
    --------
    >>> from nnfast import ops
    >>> ops.exp_grad([0.0, 1.0])
    array([1.        , 2.71828183])
    """
    return _elementwise(_core.activate_grad, "exp", x, out)


sigmoid = logistic
sigmoid_grad = logistic_grad
