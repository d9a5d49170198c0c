"""How much memory the process takes: the most that a fit has at once, and what fits and predictions leave behind."""

import os

import pytest

from processes import counts_with_glibc, in_a_process, real_memory

# ---- at once ---------------------------------------------------------------------------------------------------------

peaks = pytest.mark.skipif(
    not os.path.exists("/proc/self/clear_refs"), reason="the peak is measured as Linux counts it"
)


def peak_of(call):
    """How many bytes a call takes at most beyond what is in use. Writing 5 to clear_refs sets the peak (VmHWM) back to
    what is in use (VmRSS)."""

    def in_use(name):
        with open("/proc/self/status") as file:
            (line,) = [line for line in file if line.startswith(name)]
        return 1024 * int(line.split()[1])

    before = in_use("VmRSS")
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    call()
    return in_use("VmHWM") - before


def fits_a_text_matrix():
    """A density of 0.1 %; as a dense matrix it would take 40 GB."""
    import sys

    import numpy as np
    import scipy.sparse

    from nnfast import MLPClassifier
    from test_memory import peak_of

    def fit(n, d):
        X = scipy.sparse.random(n, d, density=0.001, format="csr", random_state=np.random.default_rng(0))
        y = np.arange(n) % 2
        model = MLPClassifier((20,), max_iter=1, solver=sys.argv[1], early_stopping=sys.argv[2] == "True", n_jobs=2)
        peak = peak_of(lambda: model.fit(X, y).predict(X))
        size = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
        return peak + size, size + sum(w.nbytes for w in model.coefs_)

    fit(100, 50)  # what is loaded and allocated once
    print(*fit(100_000, 50_000))


@peaks
@real_memory
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_memory_of_a_text_matrix(solver, early_stopping):
    """At most three times the matrix and the model, both of them included."""
    used, needed = map(int, in_a_process(fits_a_text_matrix, solver, str(early_stopping)))
    assert needed < used < 3 * needed


def fits_a_wide_network():
    """What a fit takes with its data, and the weights."""
    import sys

    import numpy as np

    from nnfast import MLPRegressor
    from test_memory import peak_of

    def fit(n_features, units):
        X = np.random.default_rng(0).standard_normal((512, n_features), dtype=np.float32)
        y = X[:, :4].copy()
        model = MLPRegressor(
            hidden_layer_sizes=(units, units),
            max_iter=3,
            batch_size=128,
            solver=sys.argv[1],
            early_stopping=sys.argv[2] == "True",
            random_state=0,
            tol=0,
        )
        peak = peak_of(lambda: model.fit(X, y))
        return peak + X.nbytes + y.nbytes, sum(w.nbytes for w in model.coefs_), X.nbytes + y.nbytes

    fit(10, 50)  # what is loaded and allocated once
    print(*fit(1000, 2000))


@peaks
@real_memory
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize(("solver", "states"), [("sgd", 1), ("adam", 2)])
def test_memory_of_a_wide_network(solver, states, early_stopping):
    """The weights as they are, in the engine and transposed there, and the best ones; the optimizer's state; the data;
    one batch's activations and deltas. A third more is for the state, which at the end is there twice, for a moment.
    Less than half would be a peak that was not seen."""
    used, weights, data = map(int, in_a_process(fits_a_wide_network, solver, str(early_stopping)))
    batch = 2 * 128 * (2000 + 2000 + 4) * 4
    needed = data + (3 + early_stopping + states) * weights + batch
    assert needed / 2 < used < 1.3 * needed


# ---- afterwards ------------------------------------------------------------------------------------------------------


def fits_and_predicts():
    """What 1,000 fits and 100,000 predictions leave behind, in bytes: by malloc's account, and by the system's."""
    import gc
    import mmap
    import warnings

    import numpy as np

    from nnfast import MLP, MLPClassifier, MLPRegressor, Perceptron
    from processes import bytes_in_use

    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 8)), np.arange(60) % 3
    models = [
        MLPClassifier((9,), max_iter=2),
        MLPClassifier((9,), max_iter=2, early_stopping=True, averaging="ema", averaging_start=0, dropout=0.1),
        MLPRegressor(hidden_layer_sizes=(9,), max_iter=2, solver="lbfgs"),
        Perceptron(max_iter=2, n_jobs=1),
    ]
    small = MLP((8, 9, 1), random_state=0)
    network = MLP((8, 200, 200, 1), random_state=0)  # worth several threads for all rows
    big = np.tile(X, (20, 1))

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * mmap.PAGESIZE

    def work(fits, predictions):
        for _ in range(fits // len(models)):
            for model in models:
                model.fit(X, y)
            models[0].partial_fit(X, y)
            small.train_epoch(X, y / 2, 20)
        for _ in range(predictions // 1000):
            network.forward(big)
            for model in models[:2]:
                model.predict(X)
                for row in X:
                    for _ in range(8):
                        model.predict(row[np.newaxis])

    work(100, 5000)  # caches fill, threads start
    gc.collect()
    before = bytes_in_use(), resident()
    work(1000, 100_000)
    gc.collect()
    print(bytes_in_use() - before[0], resident() - before[1])


@counts_with_glibc
def test_many_fits_and_predictions_do_not_grow_the_process():
    """One pointer lost by a fit or by a hundred predictions would make 8 KB; an array of weights 70 KB and more. Pages
    come and go: a process whose malloc has lost nothing may have some hundred KB more. What malloc keeps at hand for
    its thread counts as in use, up to 11 KB in 3,000 fits: here it keeps nothing."""
    lost, grown = map(int, in_a_process(fits_and_predicts, GLIBC_TUNABLES="glibc.malloc.tcache_count=0"))
    assert lost < 8e3
    assert grown < 4e6
