# cython: language_level=3, cdivision=True, embedsignature=True
# cython: freethreading_compatible=True, autotestdict=False, auto_pickle=False
"""The binding to the C engine: check the arrays, release the GIL, one C call, raise on its status. No arithmetic here.
Two parts are different, and keep the GIL for what is small: the array operations answer whether they could use their
arrays, and `Plan`, a prediction with known weights, checks only what is left to check.

Arrays come in by the buffer protocol, whatever made them. Every function says which dtype, shape and layout it takes;
the callers in this package convert before. nnfast.h documents what the C functions do.
"""

cimport cython
from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_IsContiguous, PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.pycapsule cimport PyCapsule_GetPointer
from cpython.ref cimport PyObject
from libc.string cimport memset

# Python's own, without the reference counts and exceptions that Cython adds.
cdef extern from *:
    PyObject *PyList_GetItem(object items, Py_ssize_t index) noexcept
    Py_ssize_t PyList_Size(object items) noexcept
    int _try_buffer "PyObject_GetBuffer"(object array, Py_buffer *buffer, int flags) noexcept
    void PyErr_Clear()
    unsigned long PyThread_get_thread_ident() noexcept nogil

# ---- status ----------------------------------------------------------------------------------------------------------


cdef int _check(nnf_status status) except -1:
    if status == NNF_OK:
        return 0
    message = nnf_status_message(status).decode()
    if status == NNF_NO_MEMORY or status == NNF_TOO_LARGE:
        raise MemoryError(message)
    raise ValueError(message)


cdef unsigned long _main_thread


cdef int _poll() except -1 nogil:
    """Lets Ctrl-C through. The engine asks from the thread that called it; only the main thread has signals. Another
    one must not ask for the GIL here: an interpreter that ends would end it, and with it the memory of its team.
    """
    if PyThread_get_thread_ident() == _main_thread:
        with gil:
            PyErr_CheckSignals()
    return 0


def _note_main_thread():
    """Which thread is the main one: after a fork, the one that forked."""
    global _main_thread
    _main_thread = _threading.main_thread().ident


# ---- arrays ----------------------------------------------------------------------------------------------------------


cdef class _View:
    """A buffer held while this object lives."""

    cdef Py_buffer buffer
    cdef bint held

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.buffer)


cdef _View _view(object array, str name, str dtype, int ndim, bint writable=False):
    """The buffer of an array of this number of dimensions and dtype: "f", "d" floats; "i", "q" int32, int64; "?"."""
    cdef _View view = _View.__new__(_View)
    PyObject_GetBuffer(array, &view.buffer, PyBUF_FORMAT | PyBUF_STRIDES | (PyBUF_WRITABLE if writable else 0))
    view.held = True
    format = view.buffer.format.decode()
    integer = dtype in "iq" and format in "ilq"  # how long an "l" is depends on the platform
    if format != dtype and not (integer and view.buffer.itemsize == (4 if dtype == "i" else 8)):
        raise ValueError(f"{name} has elements of format {format!r}, expected {dtype!r}")
    if view.buffer.ndim != ndim:
        raise ValueError(f"{name} has {view.buffer.ndim} dimensions, expected {ndim}")
    return view


cdef nnf_index _row_distance(_View view, str name) except -1:
    """The row distance of a matrix whose rows are contiguous."""
    cdef Py_buffer *b = &view.buffer
    if b.shape[1] > 1 and b.strides[1] != b.itemsize:
        raise ValueError(f"{name} must have contiguous rows")
    if b.shape[0] <= 1:
        return b.shape[1]
    if b.strides[0] < b.shape[1] * b.itemsize or b.strides[0] % b.itemsize != 0:
        raise ValueError(f"{name} must have its rows in order, without overlap")
    return b.strides[0] // b.itemsize


cdef int _require_contiguous(_View view, str name) except -1:
    cdef nnf_index expected = view.buffer.itemsize
    for axis in range(view.buffer.ndim - 1, -1, -1):
        if view.buffer.shape[axis] > 1 and view.buffer.strides[axis] != expected:
            raise ValueError(f"{name} must be C-contiguous")
        expected *= view.buffer.shape[axis]
    return 0


cdef int _require_shape(_View view, str name, nnf_index rows, nnf_index columns=-1) except -1:
    """shape == (rows,) or (rows, columns)."""
    cdef nnf_index *shape = view.buffer.shape
    if shape[0] != rows or (columns >= 0 and shape[1] != columns):
        expected = f"({rows},)" if columns < 0 else f"({rows}, {columns})"
        raise ValueError(f"{name} has shape {tuple(shape[i] for i in range(view.buffer.ndim))}, expected {expected}")
    return 0


cdef str _format_of(object array):
    """"f" or "d", from the array's own dtype."""
    format = memoryview(array).format
    if format not in ("f", "d"):
        raise ValueError(f"expected an array of float32 or float64, got format {format!r}")
    return format


cdef nnf_dtype _dtype(str format):
    return NNF_FLOAT32 if format == "f" else NNF_FLOAT64


# ---- tables ----------------------------------------------------------------------------------------------------------


cdef tuple _names(const char *(*name)(int) noexcept nogil):
    names = []
    while name(len(names)) != NULL:
        names.append(name(len(names)).decode())
    return tuple(names)


ACTIVATIONS = _names(nnf_activation_name)
# The activations that have an argument, and its default.
ARGUMENTS = {
    name: nnf_activation_argument(i)
    for i, name in enumerate(ACTIVATIONS) if nnf_activation_argument(i) == nnf_activation_argument(i)
}
LOSSES = _names(nnf_loss_name)
SOLVERS = _names(nnf_solver_name)
# How many of STATE_1 and STATE_2 each has.
N_STATES = {name: nnf_solver_states(i) for i, name in enumerate(SOLVERS)}
PARAMETERS = NNF_PARAMETERS
STATE_1 = NNF_STATE_1
STATE_2 = NNF_STATE_2
GRADIENTS = NNF_GRADIENTS


cdef int _row(tuple names, str name, str what) except -1:
    """The row of a name in its table."""
    try:
        return names.index(name)
    except ValueError:
        raise ValueError(f"unknown {what} {name!r}; there are {', '.join(names)}") from None


cdef int _activation(object given, double *argument) except -1:
    """The row of an activation, given as its name or as (name, argument)."""
    cdef int row
    if isinstance(given, tuple):
        given, argument[0] = given
        row = _row(ACTIVATIONS, given, "activation")
        if given not in ARGUMENTS:
            raise ValueError(f"{given} takes no argument")
    else:
        row = _row(ACTIVATIONS, given, "activation")
        argument[0] = nnf_activation_argument(row)
    return row


# ---- instruction sets, threads, memory -------------------------------------------------------------------------------


def isas():
    """The instruction sets of this build, best first: {name: available on this CPU}."""
    return {nnf_isa_name(i).decode(): bool(nnf_isa_available(i)) for i in range(nnf_isa_count())}


def active_isa():
    """Name of the instruction set in use."""
    return nnf_isa_active().decode()


def select_isa(str name not None):
    """Use this instruction set from now on. Networks that exist keep theirs. ValueError when it cannot be had."""
    _check_isa(nnf_isa_select(name.encode()), name)


cdef int _check_isa(nnf_status status, str name) except -1:
    if status != NNF_OK:
        available = ", ".join(isa for isa, there in isas().items() if there)
        raise ValueError(f"{nnf_status_message(status).decode()}: {name!r}; this machine has {available}")
    return 0


def compiler():
    """The compiler that built the engine, and its version."""
    return nnf_compiler().decode()


def threads_backend():
    """Whose threads work: "openmp", or "native", threads of our own."""
    return nnf_threads_backend().decode()


def processors():
    """CPUs that the process may run on; with native threads, those that the calling thread may run on."""
    return nnf_processors()


def max_threads():
    """Threads that a call may use now, within the CPUs of the process. OpenMP may give fewer, and gives a fork one."""
    return nnf_max_threads()


def fail_allocation(nnf_index countdown):
    """For tests: the engine's allocation number ``countdown`` from now (0: the next) fails; negative: none."""
    nnf_fail_allocation(countdown)


# ---- array operations ------------------------------------------------------------------------------------------------

# They answer whether it is done. False: nothing is, the engine cannot use these arrays as they lie; the caller may have
# tried it with what it was given, since to ask beforehand takes longer than a small product. The rest raises, such as
# an activation that is not there.

# What the calling thread does at once, with the GIL: multiply-adds, and 32 for each activation, which may be an
# exponential. One row of 784-100-10 is 84,000 and takes 5 us with AVX-512, 30 with the scalar kernels.
cdef nnf_index _SMALL_WORK = 100_000


@cython.final
cdef class _Views:
    """The buffers of one call, up to four, held while this object lives: a _View for each takes 0.07 microseconds more
    for every one."""

    cdef Py_buffer buffers[4]
    cdef int held

    def __dealloc__(self):
        for i in range(self.held):
            PyBuffer_Release(&self.buffers[i])

    cdef Py_buffer *take(self, object array, bint writable=False) noexcept:
        """The buffer of an object; NULL when it has none, or none that can be written."""
        cdef Py_buffer *buffer = &self.buffers[self.held]
        if _try_buffer(array, buffer, PyBUF_FORMAT | PyBUF_STRIDES | (PyBUF_WRITABLE if writable else 0)) != 0:
            PyErr_Clear()
            return NULL
        self.held += 1
        return buffer


cdef nnf_dtype _dtype_of(Py_buffer *b):
    """The dtype of its elements, if it is one of the engine's."""
    return NNF_FLOAT32 if b.format[0] == c"f" else NNF_FLOAT64


cdef bint _has_floats(Py_buffer *b, nnf_dtype dtype):
    """Whether its elements are of this dtype, and aligned."""
    cdef char expected = c"f" if dtype == NNF_FLOAT32 else c"d"
    return b.format[0] == expected and b.format[1] == 0 and <size_t>b.buf % <size_t>b.itemsize == 0


cdef struct _Matrix:
    void *data
    nnf_index rows, columns
    nnf_index rs, cs  # distances in elements, of neighbours in a column and in a row


cdef bint _as_matrix(Py_buffer *b, nnf_dtype dtype, bint column, _Matrix *matrix):
    """The matrix in a buffer, if there is one of whole elements; a vector is a column, or a row."""
    cdef int axis
    if (b.ndim != 1 and b.ndim != 2) or not _has_floats(b, dtype):
        return False
    for axis in range(b.ndim):
        if b.shape[axis] > 1 and b.strides[axis] % b.itemsize != 0:
            return False
    cdef nnf_index n = b.shape[b.ndim - 1], step = b.strides[b.ndim - 1] // b.itemsize
    matrix.data = b.buf
    if b.ndim == 2:
        matrix.rows, matrix.columns, matrix.rs, matrix.cs = b.shape[0], n, b.strides[0] // b.itemsize, step
    elif column:
        matrix.rows, matrix.columns, matrix.rs, matrix.cs = n, 1, step, 1
    else:
        matrix.rows, matrix.columns, matrix.rs, matrix.cs = 1, n, n, step
    return True


cdef bint _as_rows(Py_buffer *b, nnf_dtype dtype, bint column, _Matrix *matrix):
    """Likewise, if its rows are contiguous, in order and without overlap."""
    if not _as_matrix(b, dtype, column, matrix):
        return False
    if matrix.rows <= 1 or matrix.columns == 0:
        matrix.rs = matrix.columns
    return matrix.rs >= matrix.columns and (matrix.columns <= 1 or matrix.cs == 1)


def matmul(A, B, out, int n_threads):
    """out = A B: A (m, k) or (k,), B (k, n) or (k,), any strides; out (m, n), (m,) or (n,) with contiguous rows; one
    dtype."""
    cdef _Views views = _Views.__new__(_Views)
    cdef Py_buffer *left = views.take(A)
    cdef Py_buffer *right = views.take(B)
    cdef Py_buffer *product = views.take(out, True)
    cdef _Matrix a, b, c
    cdef nnf_status status
    if left == NULL or right == NULL or product == NULL or product.ndim != left.ndim + right.ndim - 2:
        return False
    cdef nnf_dtype dtype = _dtype_of(product)
    if not (
        _as_matrix(left, dtype, False, &a) and _as_matrix(right, dtype, True, &b)
        and _as_rows(product, dtype, left.ndim == 2, &c)
    ):
        return False
    if a.columns != b.rows or c.rows != a.rows or c.columns != b.columns:
        return False
    if <double>c.rows * c.columns * b.rows <= _SMALL_WORK:
        status = nnf_matmul(dtype, c.rows, c.columns, b.rows, c.data, c.rs, a.data, a.rs, a.cs, b.data, b.rs, b.cs, 1)
    else:
        with nogil:
            status = nnf_matmul(dtype, c.rows, c.columns, b.rows, c.data, c.rs, a.data, a.rs, a.cs, b.data, b.rs, b.cs,
                                n_threads)
    _check(status)
    return True


def linear(X, W, b, activation not None, out, int n_threads):
    """out (n, n_out) = f(X W + b): X (n, n_in) with contiguous rows; W (n_in, n_out), b (n_out,) contiguous; one dtype,
    at least one input and one output. f as `activate` takes it, or "softmax", "ordered"."""
    cdef _Views views = _Views.__new__(_Views)
    cdef Py_buffer *inputs = views.take(X)
    cdef Py_buffer *weights = views.take(W)
    cdef Py_buffer *intercepts = views.take(b)
    cdef Py_buffer *outputs = views.take(out, True)
    cdef _Matrix x, w, bias, y
    cdef nnf_index sizes[2]
    cdef int function
    cdef double argument
    cdef const void *params[2]
    cdef nnf_config config
    cdef nnf_rows rows
    cdef nnf_status status
    function = _activation(activation, &argument)
    if inputs == NULL or weights == NULL or intercepts == NULL or outputs == NULL:
        return False
    if inputs.ndim != 2 or weights.ndim != 2 or intercepts.ndim != 1 or outputs.ndim != 2:
        return False
    cdef nnf_dtype dtype = _dtype_of(outputs)
    if not (
        _as_rows(inputs, dtype, False, &x) and _as_rows(weights, dtype, False, &w)
        and _as_rows(intercepts, dtype, False, &bias) and _as_rows(outputs, dtype, False, &y)
    ):
        return False
    if x.columns != w.rows or bias.columns != w.columns or y.rows != x.rows or y.columns != w.columns:
        return False
    if w.rs != w.columns or y.rs != y.columns:
        return False
    sizes[0], sizes[1] = w.rows, w.columns
    params[0], params[1] = w.data, bias.data
    memset(&config, 0, sizeof(config))
    config.dtype = dtype
    config.n_layers = 1
    config.sizes = sizes
    config.activations = &function
    config.arguments = &argument
    config.n_threads = n_threads
    memset(&rows, 0, sizeof(rows))
    rows.n = x.rows
    rows.values = x.data
    rows.ld = x.rs
    if <double>y.rows * (w.rows + 32) * w.columns <= _SMALL_WORK:
        status = nnf_forward(&config, params, &rows, False, y.data, NULL)
    else:
        with nogil:
            status = nnf_forward(&config, params, &rows, False, y.data, _poll)
    _check(status)
    return True


cdef bint _are_alike(Py_buffer *x, Py_buffer *out):
    """Whether both have the same shape and dtype and are contiguous, and are one memory or have none in common."""
    cdef int axis
    if x == NULL or out == NULL or x.ndim != out.ndim:
        return False
    cdef nnf_dtype dtype = _dtype_of(out)
    if not _has_floats(x, dtype) or not _has_floats(out, dtype):
        return False
    for axis in range(x.ndim):
        if x.shape[axis] != out.shape[axis]:
            return False
    if not PyBuffer_IsContiguous(x, c"C") or not PyBuffer_IsContiguous(out, c"C"):
        return False
    cdef char *source = <char *>x.buf
    cdef char *target = <char *>out.buf
    return source == target or source + x.len <= target or target + out.len <= source


cdef bint _elementwise(activation, x, out, bint slope) except -1:
    cdef _Views views = _Views.__new__(_Views)
    cdef Py_buffer *source = views.take(x)
    cdef Py_buffer *target = views.take(out, True)
    cdef nnf_status (*kernel)(nnf_dtype, nnf_activation, double, nnf_index, void *, const void *) noexcept nogil
    cdef double argument
    cdef nnf_activation function = <nnf_activation>_activation(activation, &argument)
    cdef nnf_status status
    if function >= NNF_N_ACTIVATIONS:
        raise ValueError(f"{activation} is no elementwise activation")
    if not _are_alike(source, target):
        return False
    cdef nnf_dtype dtype = _dtype_of(target)
    cdef nnf_index n = target.len // target.itemsize
    kernel = nnf_activate_grad if slope else nnf_activate
    if n <= _SMALL_WORK // 32:
        status = kernel(dtype, function, argument, n, target.buf, source.buf)
    else:
        with nogil:
            status = kernel(dtype, function, argument, n, target.buf, source.buf)
    _check(status)
    return True


def activate(activation not None, x, out):
    """out = f(x): contiguous, of one dtype and shape; out may be x. f is a name, or (name, argument)."""
    return _elementwise(activation, x, out, False)


def activate_grad(activation not None, x, out):
    """out = f'(x), likewise."""
    return _elementwise(activation, x, out, True)


def softmax(x, out):
    """The last axis of x, of one element or more, to probabilities; arrays as `activate` takes them."""
    cdef _Views views = _Views.__new__(_Views)
    cdef Py_buffer *source = views.take(x)
    cdef Py_buffer *target = views.take(out, True)
    cdef nnf_status status
    if not _are_alike(source, target) or source.ndim == 0:
        return False
    cdef nnf_dtype dtype = _dtype_of(target)
    cdef nnf_index n = source.shape[source.ndim - 1], size = target.len // target.itemsize
    if n == 0:
        return False
    if size <= _SMALL_WORK // 32:
        status = nnf_softmax(dtype, size // n, n, target.buf, source.buf)
    else:
        with nogil:
            status = nnf_softmax(dtype, size // n, n, target.buf, source.buf)
    _check(status)
    return True


# ---- networks --------------------------------------------------------------------------------------------------------


cdef class _Rows:
    """The nnf_rows of inputs X and what they point to.

    X is a matrix (n, n_in) with contiguous rows, or the arrays (values, indices, indptr) of a sparse one: the network's
    dtype, int32, int64; contiguous, the indices of a row ascending.
    """

    cdef nnf_rows rows
    cdef list views

    def __cinit__(self, X, str format, nnf_index n_in):
        cdef _View x, indices, indptr
        if isinstance(X, tuple):
            x = _view(X[0], "values", format, 1)
            indices = _view(X[1], "indices", "i", 1)
            indptr = _view(X[2], "indptr", "q", 1)
            self.views = [x, indices, indptr]
            for view, name in zip(self.views, ("values", "indices", "indptr")):
                _require_contiguous(view, name)
            if indptr.buffer.shape[0] < 1 or x.buffer.shape[0] != indices.buffer.shape[0]:
                raise ValueError("a sparse matrix needs an index for each value, and at least one element of indptr")
            self.rows.n = indptr.buffer.shape[0] - 1
            self.rows.n_stored = x.buffer.shape[0]
            self.rows.indices = <const int32_t *>indices.buffer.buf
            self.rows.indptr = <const nnf_index *>indptr.buffer.buf
        else:
            x = _view(X, "X", format, 2)
            self.views = [x]
            self.rows.n = x.buffer.shape[0]
            self.rows.ld = _row_distance(x, "X")
            _require_shape(x, "X", self.rows.n, n_in)
        self.rows.values = x.buffer.buf


cdef class _Data:
    """The nnf_data of rows X, targets Y (n, n_out) with contiguous rows, or None for those of a loss that the engine
    does not know, and weights (n,) of float64 or None."""

    cdef nnf_data data
    cdef list views

    def __cinit__(self, X, Y, weights, str format, nnf_index n_in, nnf_index n_out):
        cdef _Rows rows = _Rows(X, format, n_in)
        cdef _View y, w
        self.views = [rows]
        self.data.X = rows.rows
        self.data.ldy = n_out
        if Y is not None:
            y = _view(Y, "Y", format, 2)
            self.views.append(y)
            _require_shape(y, "Y", rows.rows.n, n_out)
            self.data.Y = y.buffer.buf
            self.data.ldy = _row_distance(y, "Y")
        if weights is not None:
            w = _view(weights, "weights", "d", 1)
            self.views.append(w)
            _require_shape(w, "weights", rows.rows.n)
            _require_contiguous(w, "weights")
            self.data.weights = <const double *>w.buffer.buf


cdef class _Epoch:
    """The nnf_epoch over these data, in batches of 1 row or more, and what it points to.

    order (n,) int64 or None: the rows to visit. The noise says which units are dropped.
    """

    cdef nnf_epoch epoch
    cdef double step[4]  # rate, gradient rate, reach and decay of an epoch of one step
    cdef list views

    def __cinit__(self, _Data data, order, nnf_index batch_size, uint64_t noise):
        cdef _View o
        self.views = [data]
        self.epoch.data = data.data
        self.epoch.n = data.data.X.n
        if order is not None:
            o = _view(order, "order", "q", 1)
            _require_contiguous(o, "order")
            self.views.append(o)
            self.epoch.order = <const nnf_index *>o.buffer.buf
            self.epoch.n = o.buffer.shape[0]
        if batch_size < 1:
            raise ValueError("batch_size must be at least 1")
        self.epoch.batch = batch_size
        self.epoch.rates = &self.step[0]
        self.epoch.gradient_rates = &self.step[1]
        self.epoch.reaches = &self.step[2]
        self.epoch.decays = &self.step[3]
        self.epoch.noise = noise
        self.epoch.poll = _poll

    cdef const double *of_batches(self, array, str name) except NULL:
        """The elements of an array (batches,) of float64."""
        cdef _View view = _view(array, name, "d", 1)
        _require_shape(view, name, self.epoch.n // self.epoch.batch + (self.epoch.n % self.epoch.batch != 0))
        _require_contiguous(view, name)
        self.views.append(view)
        return <const double *>view.buffer.buf


cdef class _Description:
    """The nnf_config of a network and the arrays it points to."""

    cdef nnf_config config
    cdef nnf_index *sizes
    cdef nnf_index *groups
    cdef double *levels
    cdef int *activations
    cdef double *arguments
    cdef void **pointers  # 2 n_layers: room for the parameters of one call
    cdef list names  # 2 n_layers: of those
    cdef str format

    def __cinit__(self, str format, sizes, activations, groups, int n_threads):
        cdef int n_layers = len(sizes) - 1
        if n_layers < 1 or len(activations) != n_layers:
            raise ValueError("a network needs one activation a layer, and at least one layer")
        if format not in ("f", "d"):
            raise ValueError(f"unknown element format {format!r}")
        self.format = format
        self.names = [f"{part}[{l}]" for part in ("coefs", "intercepts") for l in range(n_layers)]
        self.sizes = <nnf_index *>PyMem_Calloc(n_layers + 1, sizeof(nnf_index))
        self.activations = <int *>PyMem_Calloc(n_layers, sizeof(int))
        self.arguments = <double *>PyMem_Calloc(n_layers, sizeof(double))
        self.pointers = <void **>PyMem_Calloc(2 * n_layers, sizeof(void *))
        self.groups = <nnf_index *>PyMem_Calloc(len(groups), sizeof(nnf_index))
        if self.sizes == NULL or self.activations == NULL or self.arguments == NULL:
            raise MemoryError
        if self.pointers == NULL or self.groups == NULL:
            raise MemoryError
        for l in range(n_layers + 1):
            self.sizes[l] = sizes[l]
        for l in range(n_layers):
            self.activations[l] = _activation(activations[l], &self.arguments[l])
        for g in range(len(groups)):
            self.groups[g] = groups[g]
        self.config.n_groups = len(groups)
        self.config.groups = self.groups
        self.config.dtype = _dtype(format)
        self.config.n_layers = n_layers
        self.config.sizes = self.sizes
        self.config.activations = self.activations
        self.config.arguments = self.arguments
        self.config.n_threads = n_threads

    def __dealloc__(self):
        PyMem_Free(self.sizes)
        PyMem_Free(self.activations)
        PyMem_Free(self.arguments)
        PyMem_Free(self.pointers)
        PyMem_Free(self.groups)
        PyMem_Free(self.levels)

    cdef int set_levels(self, levels) except -1:
        """The levels of the quantile loss."""
        self.levels = <double *>PyMem_Calloc(len(levels), sizeof(double))
        if self.levels == NULL:
            raise MemoryError
        for k in range(len(levels)):
            self.levels[k] = levels[k]
        self.config.loss_args.n_levels = len(levels)
        self.config.loss_args.levels = self.levels
        return 0

    cdef list views(self, coefs, intercepts, bint writable):
        """Checks the parameter arrays and points `pointers` at them; valid while the returned views live."""
        cdef int n_layers = self.config.n_layers
        cdef _View view
        if len(coefs) != n_layers or len(intercepts) != n_layers:
            raise ValueError(f"expected {n_layers} weight matrices and as many intercept vectors")
        views = []
        for l in range(n_layers):
            name = self.names[l]
            view = _view(coefs[l], name, self.format, 2, writable)
            _require_shape(view, name, self.sizes[l], self.sizes[l + 1])
            _require_contiguous(view, name)
            self.pointers[l] = view.buffer.buf
            views.append(view)
        for l in range(n_layers):
            name = self.names[n_layers + l]
            view = _view(intercepts[l], name, self.format, 1, writable)
            _require_shape(view, name, self.sizes[l + 1])
            _require_contiguous(view, name)
            self.pointers[n_layers + l] = view.buffer.buf
            views.append(view)
        return views

    cdef _View flat(self, vector, str name, bint writable):
        """Likewise for all parameters in one vector: the matrices, then the intercepts."""
        cdef int n_layers = self.config.n_layers, part
        cdef _View view = _view(vector, name, self.format, 1, writable)
        cdef nnf_index l, n = 0
        cdef char *base = <char *>view.buffer.buf
        _require_contiguous(view, name)
        for part in range(2):
            for l in range(n_layers):
                self.pointers[part * n_layers + l] = base + n * view.buffer.itemsize
                n += self.sizes[l + 1] * (self.sizes[l] if part == 0 else 1)
        _require_shape(view, name, n)
        return view


def forward(X, coefs, intercepts, activations, out, int n_threads, groups=()):
    """out (n, n_out), contiguous, = the outputs for X (see _Rows); weights as they lie; one dtype."""
    cdef str format = _format_of(out)
    cdef _View y = _view(out, "out", format, 2, True)
    sizes = [array.shape[0] for array in coefs]
    sizes.append(coefs[len(coefs) - 1].shape[1])
    cdef _Description description = _Description(format, sizes, activations, groups, n_threads)
    cdef list held = description.views(coefs, intercepts, False)
    cdef _Rows x = _Rows(X, format, description.sizes[0])
    cdef nnf_status status
    _require_shape(y, "out", x.rows.n, description.sizes[description.config.n_layers])
    _require_contiguous(y, "out")
    with nogil:
        status = nnf_forward(&description.config, <const void *const *>description.pointers, &x.rows, False,
                             y.buffer.buf, _poll)
    _check(status)


cdef class _Bound:
    """A network given by plain arrays: its description, its arrays and, held, their buffers. Never changes."""

    cdef _Description description
    cdef list coefs, intercepts, held
    cdef object hidden, output, groups
    cdef nnf_index work  # of a row: multiply-adds, and 32 for each unit, whose activation may be an exponential

    def __cinit__(self, list coefs, list intercepts, list activations, hidden, output, tuple groups):
        sizes = [array.shape[0] for array in coefs]
        sizes.append(coefs[len(coefs) - 1].shape[1])
        if min(sizes) < 1:
            raise ValueError("a layer is empty")
        self.description = _Description(_format_of(coefs[0]), sizes, activations, groups, 1)
        self.coefs = list(coefs)
        self.intercepts = list(intercepts)
        self.held = self.description.views(self.coefs, self.intercepts, False)
        self.hidden = list(hidden) if isinstance(hidden, list) else hidden  # one that is changed is to be noticed
        self.output = output
        self.groups = groups
        for l in range(len(coefs)):
            self.work += (self.description.sizes[l] + 32) * self.description.sizes[l + 1]

    cdef bint is_of(self, tuple known) except -1:
        """Whether these are lists of the same arrays, not just equal ones, and the same activations and groups."""
        coefs, intercepts, hidden, output, groups = known
        if type(hidden) is not type(self.hidden):  # an array would not compare to one truth
            return False
        return (
            hidden == self.hidden and output == self.output and groups == self.groups
            and _same_items(coefs, self.coefs) and _same_items(intercepts, self.intercepts)
        )

    cdef bint run(self, Py_buffer *X, Py_buffer *out, int n_threads, bint finite, bint both) except -1:
        """Plan.forward's work, and what it returns."""
        cdef nnf_config config = self.description.config
        cdef const void *const *params = <const void *const *>self.description.pointers
        cdef nnf_index n_out = config.sizes[config.n_layers]
        cdef _Matrix x, y
        cdef nnf_rows rows
        cdef nnf_status status
        if X.ndim != 2 or out.ndim != 2 or (both and n_out != 1):
            return False
        if not _as_rows(X, config.dtype, False, &x) or not _as_rows(out, config.dtype, False, &y):
            return False
        if x.columns != config.sizes[0] or y.columns != (2 if both else n_out) or y.rs != y.columns:
            return False
        if y.rows != x.rows or x.rows == 0:
            return False
        rows.n = x.rows
        rows.values = x.data
        rows.ld = x.rs
        rows.indptr = NULL
        if rows.n <= _SMALL_WORK // self.work:
            status = nnf_forward(&config, params, &rows, finite, y.data, NULL)
            if both:
                nnf_both_classes(config.dtype, rows.n, y.data)
        elif n_threads == 0:
            return False
        else:
            config.n_threads = n_threads
            with nogil:
                status = nnf_forward(&config, params, &rows, finite, y.data, _poll)
                if both:
                    nnf_both_classes(config.dtype, rows.n, y.data)
        if status == NNF_NOT_FINITE:
            return False
        _check(status)
        return True


cdef bint _same_items(found, list known):
    """Compares pointers alone: an item may be gone by the time, where another thread changes the list."""
    cdef nnf_index i, n = PyList_Size(known)
    cdef PyObject *item
    if type(found) is not list or PyList_Size(found) != n:
        return False
    with cython.critical_section(found):  # without a GIL the list itself may move meanwhile
        for i in range(n):
            item = PyList_GetItem(found, i)
            if item == NULL:
                PyErr_Clear()
            if item != PyList_GetItem(known, i):
                return False
    return True


@cython.final
cdef class Plan:
    """Forward passes without the usual checks, which take as long as 100 rows: remembers the arrays of a network that
    have passed them.

    Holds those arrays, and finds them the same by identity: what is written into them counts, another array in the
    place of one is noticed. Not noticed is what NumPy warns of, a new shape or size given to an array itself. A copy,
    also a pickled one, knows nothing.
    """

    cdef _Bound bound

    def __reduce__(self):
        return Plan, ()

    def bind(self, activations, tuple known not None):
        """Remember a network, if its arrays can be read as they lie. `known` is what `forward` will be told of it:
        coefs, intercepts; of its activations `hidden`, a string, tuple or list, and `output`; and the sizes of its
        groups of outputs, a tuple."""
        cdef _Bound bound = None
        coefs, intercepts, hidden, output, groups = known
        if not isinstance(hidden, (str, tuple, list)):
            return
        try:
            bound = _Bound(coefs, intercepts, activations, hidden, output, groups)
        except (AttributeError, BufferError, IndexError, TypeError, ValueError):
            pass  # the long way says what is wrong, or copes
        with cython.critical_section(self):
            self.bound = bound

    @cython.binding(False)  # Cython's own kind of function makes two tuples more, a tenth of a microsecond a call
    def forward(self, X, out, tuple known not None, bint finite=False, bint both=False, int n_threads=0):
        """out (n, n_out), contiguous, = the outputs for X (n, n_in), or with `both` (n, 2): 1 - p and p of one output.

        Work of some microseconds is done at once, with the GIL; more, and without it, where a number of threads is
        given: to find out how many there may be takes as long as a row. False when it is not done: more work, other
        arrays than remembered, X or out not plain matrices of the network's dtype, or with `finite` something in X
        that is not; out then holds anything.
        """
        cdef _Bound bound
        with cython.critical_section(self):
            bound = self.bound
        if bound is None or not bound.is_of(known):
            return False
        cdef _Views views = _Views.__new__(_Views)
        cdef Py_buffer *x = views.take(X)
        cdef Py_buffer *y = views.take(out, True)
        return x != NULL and y != NULL and bound.run(x, y, n_threads, finite, both)


def all_finite(X):
    """Whether no element of X (n, n_in), rows contiguous, is NaN or infinite."""
    cdef str format = _format_of(X)
    cdef _View x = _view(X, "X", format, 2)
    cdef nnf_index i, n = x.buffer.shape[0], n_in = x.buffer.shape[1], step = x.buffer.itemsize * _row_distance(x, "X")
    cdef nnf_dtype dtype = _dtype(format)
    cdef bint finite = True
    with nogil:
        for i in range(n):
            if not nnf_all_finite(dtype, n_in, <char *>x.buffer.buf + i * step):
                finite = False
                break
    return finite


def both_classes(out):
    """out (n, 2), contiguous, with probabilities in its first n elements: rows (1 - p, p)."""
    cdef str format = _format_of(out)
    cdef _View y = _view(out, "out", format, 2, True)
    cdef nnf_index n = y.buffer.shape[0]
    cdef nnf_dtype dtype = _dtype(format)
    _require_shape(y, "out", n, 2)
    _require_contiguous(y, "out")
    with nogil:
        nnf_both_classes(dtype, n, y.buffer.buf)


@cython.final
cdef class _Turn:
    """Taken by the thread that uses what no two may. Another is refused, not made to wait: it may be a signal handler
    of this very thread."""

    cdef bint taken

    def __enter__(self):
        cdef bint taken
        with cython.critical_section(self):
            taken = self.taken
            self.taken = True
        if taken:
            raise RuntimeError("it is in use, by another thread or by a call that this one has come into")

    def __exit__(self, *error):
        with cython.critical_section(self):
            self.taken = False


@cython.final
cdef class Network:
    """A network in training: packed parameters and optimizer state in the engine. One thread at a time may use it; a
    second gets a RuntimeError."""

    cdef nnf_network *network
    cdef _Turn turn
    cdef _Description description
    cdef _Data held
    cdef double *dropout
    cdef nnf_progress reached  # by the last epoch
    cdef readonly nnf_index steps  # taken since this network was made

    def __cinit__(self, str format, sizes, activations, str loss, str solver, *, double alpha=0.0, double l1=0.0,
                  double clip_value=0.0, double clip_norm=0.0, double momentum=0.9, double beta_1=0.9,
                  double beta_2=0.999, double epsilon=1e-8, groups=(), dropout=(), nnf_index max_batch=1,
                  bint sparse=False, bint keep_gradients=False, int n_threads=1,
                  double huber_delta=1.0, double tweedie_power=1.5, double focal_gamma=2.0, levels=(0.5,)):
        self.turn = _Turn()
        self.description = _Description(format, sizes, activations, groups, n_threads)
        cdef nnf_config *config = &self.description.config
        config.loss = _row(LOSSES, loss, "loss")
        config.solver = _row(SOLVERS, solver, "solver")
        config.alpha = alpha
        config.l1 = l1
        config.clip_value = clip_value
        config.clip_norm = clip_norm
        config.momentum = momentum
        config.beta_1 = beta_1
        config.beta_2 = beta_2
        config.epsilon = epsilon
        if len(dropout) > 0:  # a rate for each layer but the last
            if len(dropout) != config.n_layers - 1:
                raise ValueError(f"expected {config.n_layers - 1} rates of dropout")
            self.dropout = <double *>PyMem_Calloc(config.n_layers, sizeof(double))
            if self.dropout == NULL:
                raise MemoryError
            for l in range(config.n_layers - 1):
                self.dropout[l] = dropout[l]
            config.dropout = self.dropout
        config.max_batch = max_batch
        config.sparse = sparse
        config.keep_gradients = keep_gradients
        config.loss_args.huber_delta = huber_delta
        config.loss_args.tweedie_power = tweedie_power
        config.loss_args.focal_gamma = focal_gamma
        self.description.set_levels(levels)
        _check(nnf_network_create(config, &self.network))

    def __dealloc__(self):
        nnf_network_free(self.network)
        PyMem_Free(self.dropout)

    @property
    def max_batch(self):
        """Most rows of a step."""
        return self.description.config.max_batch

    def load(self, int part, coefs, intercepts):
        """Copies arrays into the network: PARAMETERS, STATE_1 or STATE_2."""
        cdef nnf_status status
        with self.turn:
            held = self.description.views(coefs, intercepts, False)
            with nogil:
                status = nnf_network_load(self.network, <nnf_part>part, <const void *const *>self.description.pointers)
            _check(status)

    def store(self, int part, coefs, intercepts):
        """Copies PARAMETERS, STATE_1, STATE_2 or GRADIENTS out of the network into the arrays."""
        cdef nnf_status status
        with self.turn:
            held = self.description.views(coefs, intercepts, True)
            with nogil:
                status = nnf_network_store(self.network, <nnf_part>part, self.description.pointers)
            _check(status)

    def close(self):
        """Training has ended: lets go of what only steps need. What is left to do is `store`, or `forward`."""
        with self.turn:
            nnf_network_close(self.network)

    def forward(self, X, out):
        """out (n, n_out), contiguous, = the outputs for X (see _Rows)."""
        cdef str format = self.description.format
        cdef _Rows x = _Rows(X, format, self.description.sizes[0])
        cdef _View y = _view(out, "out", format, 2, True)
        cdef nnf_status status
        _require_shape(y, "out", x.rows.n, self.description.sizes[self.description.config.n_layers])
        _require_contiguous(y, "out")
        with self.turn, nogil:
            status = nnf_network_forward(self.network, &x.rows, y.buffer.buf, _poll)
        _check(status)

    cdef _Data _data(self, X, Y, weights):
        cdef _Description d = self.description
        return _Data(X, Y, weights, d.format, d.sizes[0], d.sizes[d.config.n_layers])

    def train_epoch(self, X, Y, order, nnf_index batch_size, rates, weights=None, uint64_t noise=0, decays=None,
                    gradient_rates=None, reaches=None, begun=None):
        """One pass over rows X with Y and weights (see _Data) in this order (see _Epoch). rates, gradient_rates,
        reaches, decays (batches,) float64, the last three or None: see nnf_epoch. `begun` is the `progress` of an epoch
        that was interrupted, to go on with the same arguments.

        Returns (data, penalty, steps): sums over the rows of their losses, and the number of steps done. After an
        exception from a signal handler the parameters are those of the last finished step.
        """
        cdef _Epoch epoch
        cdef nnf_status status
        data, penalty, norms, rows, steps = (0, 0, 0, 0, 0) if begun is None else begun
        epoch = _Epoch(self._data(X, Y, weights), order, batch_size, noise)
        epoch.epoch.rates = epoch.of_batches(rates, "rates")
        epoch.epoch.gradient_rates = NULL
        epoch.epoch.reaches = NULL
        epoch.epoch.decays = NULL
        if gradient_rates is not None:
            epoch.epoch.gradient_rates = epoch.of_batches(gradient_rates, "gradient_rates")
        if reaches is not None:
            epoch.epoch.reaches = epoch.of_batches(reaches, "reaches")
        if decays is not None:
            epoch.epoch.decays = epoch.of_batches(decays, "decays")
        with self.turn:
            self.reached = nnf_progress(data, penalty, norms, rows, steps)
            try:
                with nogil:
                    status = nnf_network_train_epoch(self.network, &epoch.epoch, &self.reached)
            finally:
                self.steps += self.reached.steps - steps
            _check(status)
            return self.reached.data, self.reached.penalty, self.reached.steps

    @property
    def progress(self):
        """(data, penalty, norms, rows, steps) of the last epoch, also when it was interrupted: see nnf_progress."""
        cdef nnf_progress *reached = &self.reached
        return reached.data, reached.penalty, reached.norms, reached.rows, reached.steps

    @progress.setter
    def progress(self, value):
        data, penalty, norms, rows, steps = value
        self.reached = nnf_progress(data, penalty, norms, rows, steps)

    def step_forward(self, X, order, raw, bint learning=True, uint64_t noise=0):
        """A step with a loss that the engine does not know begins: raw (n, n_out), contiguous, = the outputs before
        their activation, for the rows X[order], or all. Returns the penalty, to be divided by what the rows weigh."""
        cdef _Epoch batch = self._batch(X, order, None, noise)
        cdef _View r = self._raw(raw, "raw", batch.epoch.n, True)
        cdef double penalty
        cdef nnf_status status
        with self.turn, nogil:
            status = nnf_network_step_forward(self.network, &batch.epoch, learning, r.buffer.buf, &penalty)
        _check(status)
        return penalty

    def step_backward(self, X, order, gradient, double loss, double penalty, double rate=0.0, weights=None,
                      bint learning=True, uint64_t noise=0, double decay=0.0, double gradient_rate=0.0,
                      double reach=0.0):
        """The step ends: gradient (n, n_out), contiguous, is that of each row's loss for `raw`. With learning the
        weights take the step, else the gradients wait for store(GRADIENTS, ...). `progress` goes on by the batch, whose
        mean loss and penalty are given.
        """
        cdef _Epoch batch = self._batch(X, order, weights, noise)
        cdef _View g = self._raw(gradient, "gradient", batch.epoch.n, False)
        cdef nnf_progress reached = self.reached
        cdef double n = batch.epoch.n
        cdef nnf_status status
        batch.step[0], batch.step[1], batch.step[2], batch.step[3] = rate, gradient_rate, reach, decay
        with self.turn:
            with nogil:
                status = nnf_network_step_backward(self.network, &batch.epoch, learning, g.buffer.buf, &reached)
            _check(status)
            if reached.steps > self.reached.steps:
                reached.data += n * loss
                reached.penalty += n * penalty
                self.steps += learning
            self.reached = reached

    cdef _Epoch _batch(self, X, order, weights, uint64_t noise):
        """An epoch of one step, without targets."""
        cdef _Data data = self._data(X, None, weights)
        return _Epoch(data, order, max(1, data.data.X.n if order is None else len(order)), noise)

    cdef _View _raw(self, array, str name, nnf_index n, bint writable):
        cdef _View view = _view(array, name, self.description.format, 2, writable)
        _require_shape(view, name, n, self.description.sizes[self.description.config.n_layers])
        _require_contiguous(view, name)
        return view

    def gradients(self, X, Y, weights=None):
        """(data, penalty): sums over the rows. The gradients of their mean wait for store(GRADIENTS, ...)."""
        cdef _Data data = self._data(X, Y, weights)
        cdef nnf_progress loss
        cdef nnf_status status
        with self.turn, nogil:
            status = nnf_network_gradients(self.network, &data.data, _poll, &loss)
        _check(status)
        return loss.data, loss.penalty

    def hold(self, X, Y, weights=None):
        """The data that `value` means from now on; held."""
        self.held = self._data(X, Y, weights)

    def value(self, theta, gradient):
        """As load(PARAMETERS), gradients and store(GRADIENTS) with all parameters in one vector, contiguous."""
        cdef _Data data = self.held
        cdef nnf_progress loss
        cdef nnf_status status
        if data is None:
            raise ValueError("no data are held yet")
        with self.turn:
            point = self.description.flat(theta, "theta", False)
            _check(nnf_network_load(self.network, NNF_PARAMETERS, <const void *const *>self.description.pointers))
            with nogil:
                status = nnf_network_gradients(self.network, &data.data, _poll, &loss)
            _check(status)
            slope = self.description.flat(gradient, "gradient", True)
            _check(nnf_network_store(self.network, NNF_GRADIENTS, self.description.pointers))
        return loss.data, loss.penalty


# ---- order of the rows -----------------------------------------------------------------------------------------------


def shuffle(order, bit_generator):
    """Permutes order (n,), contiguous int64, as NumPy's RandomState over this bit generator would: the same draws."""
    cdef _View o = _view(order, "order", "q", 1, True)
    cdef nnf_index n = o.buffer.shape[0]
    _require_contiguous(o, "order")
    capsule = bit_generator.capsule
    cdef const nnf_bit_source *source = <const nnf_bit_source *>PyCapsule_GetPointer(capsule, "BitGenerator")
    with bit_generator.lock, nogil:
        nnf_shuffle(n, <nnf_index *>o.buffer.buf, source)


# ---- perceptron ------------------------------------------------------------------------------------------------------


cdef dict _PENALTIES = {
    None: NNF_NO_PENALTY, "l1": NNF_L1, "l2": NNF_L2, "elasticnet": NNF_ELASTIC_NET
}


@cython.final
cdef class Neuron:
    """One neuron in training, sample by sample. It holds its arrays; `weights` and `order` are trained in place.

    x (n_samples, n_features), or with indptr and indices the values of a CSR matrix; target, sample_weight
    (n_samples,); weights, l1_applied (n_features,): one dtype. order, indptr, indices: int32. held_out (n_samples,):
    bool. All contiguous. The indices of a CSR matrix are not checked here. Without a seed the samples are not shuffled.

    With weight_sum (n_features,), float64, every epoch adds up the weights and intercepts as each sample left them, but
    those of the first n_unaveraged samples, to weight_sum, intercept_sum and their number n_averaged.
    """

    cdef nnf_perceptron neuron
    cdef _Turn turn
    cdef list views

    def __cinit__(self, *, x, target, sample_weight, order, weights, str activation, double intercept=0.0,
                  indptr=None, indices=None, held_out=None, seed=None, double eta0=1.0, double intercept_rate=1.0,
                  double weight_negative=1.0, double weight_positive=1.0, penalty=None, double alpha=0.0,
                  double l1_ratio=0.0, l1_applied=None, bint track_loss=True, bint track_norms=False,
                  double square_norm=0.0, double l1_norm=0.0, weight_sum=None, double intercept_sum=0.0,
                  nnf_index n_unaveraged=0, nnf_index n_averaged=0):
        cdef nnf_perceptron *neuron = &self.neuron
        cdef str format = _format_of(weights)
        self.turn = _Turn()
        self.views = []
        neuron.dtype = _dtype(format)
        neuron.n_samples = target.shape[0]
        neuron.n_features = weights.shape[0]
        neuron.weights = self._hold(weights, "weights", format, neuron.n_features, True)
        neuron.target = self._hold(target, "target", format, neuron.n_samples)
        neuron.sample_weight = self._hold(sample_weight, "sample_weight", format, neuron.n_samples)
        neuron.order = <int *>self._hold(order, "order", "i", neuron.n_samples, True)
        if indptr is None:
            neuron.x = self._hold(x, "x", format, neuron.n_samples, False, neuron.n_features)
        else:
            neuron.x = self._hold(x, "x", format, x.shape[0])
            neuron.indptr = <const int *>self._hold(indptr, "indptr", "i", neuron.n_samples + 1)
            neuron.indices = <const int *>self._hold(indices, "indices", "i", indices.shape[0])
        if held_out is not None:
            neuron.held_out = <const unsigned char *>self._hold(held_out, "held_out", "?", neuron.n_samples)
        if l1_applied is not None:
            neuron.l1_applied = self._hold(l1_applied, "l1_applied", format, neuron.n_features, True)
        if weight_sum is not None:
            neuron.weight_sum = <double *>self._hold(weight_sum, "weight_sum", "d", neuron.n_features, True)

        neuron.activation = _row(ACTIVATIONS[:NNF_N_ACTIVATIONS], activation, "activation")
        neuron.penalty = _PENALTIES[penalty]
        neuron.alpha = alpha
        neuron.l1_ratio = l1_ratio
        neuron.eta0 = eta0
        neuron.intercept_rate = intercept_rate
        neuron.weight_negative = weight_negative
        neuron.weight_positive = weight_positive
        neuron.shuffle = seed is not None
        neuron.seed = 0 if seed is None else seed
        neuron.track_loss = track_loss
        neuron.track_norms = track_norms
        neuron.intercept = intercept
        neuron.scale = 1.0
        neuron.square_norm = square_norm
        neuron.l1_norm = l1_norm
        neuron.intercept_sum = intercept_sum
        neuron.n_unaveraged = n_unaveraged
        neuron.n_averaged = n_averaged

    cdef void *_hold(self, array, str name, str dtype, nnf_index rows, bint writable=False,
                     nnf_index columns=-1) except? NULL:
        """The elements of an array of this shape, (rows,) or (rows, columns)."""
        cdef _View view = _view(array, name, dtype, 1 if columns < 0 else 2, writable)
        _require_shape(view, name, rows, columns)
        _require_contiguous(view, name)
        self.views.append(view)
        return view.buffer.buf

    def epoch(self):
        """Learn from every sample once. Returns False when a weight, the intercept or a sum is no longer finite."""
        cdef nnf_status status
        with self.turn, nogil:
            status = nnf_perceptron_epoch(&self.neuron, _poll)
        _check(status)
        return self.neuron.finite != 0

    def rescale(self):
        """Bring `weights` to scale 1."""
        with self.turn:
            nnf_perceptron_rescale(&self.neuron)

    @property
    def intercept(self):
        return self.neuron.intercept

    @property
    def intercept_sum(self):
        return self.neuron.intercept_sum

    @property
    def n_averaged(self):
        return self.neuron.n_averaged

    @property
    def scale(self):
        """What `weights` are to be multiplied by: the L2 penalty so far."""
        return self.neuron.scale

    @property
    def square_norm(self):
        """Squared L2 norm of scale * weights, as scikit-learn counts it; kept with track_norms."""
        return self.neuron.square_norm

    @property
    def loss_sum(self):
        """Sum of the losses over the last epoch; kept with track_loss."""
        return self.neuron.loss_sum

    @property
    def objective_sum(self):
        """Sum of loss + penalty over the last epoch; kept with track_loss."""
        return self.neuron.objective_sum


# A wrong NNFAST_ISA is found at import. What it says is shown in the message: the environment is dispatch.c's business.
import os as _os
import threading as _threading

_note_main_thread()
if hasattr(_os, "register_at_fork"):
    _os.register_at_fork(after_in_child=_note_main_thread)
nnf_max_threads()  # from here on OpenMP's team notices forks
_check_isa(nnf_isa_init(), _os.environ.get("NNFAST_ISA", ""))
del _os
