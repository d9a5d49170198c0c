"""Several Python threads that fit and predict at once."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from sklearn.base import clone

from nnfast import ops
from processes import DIGITS, MODELS, bits, digits


def test_threads_that_fit_and_predict_at_once():
    """All the same bits as alone. Warnings, whose filters belong to all threads, are left to the main thread."""
    expected = {name: clone(model).fit(*digits(name)) for name, model in MODELS.items()}
    predictions = {name: model.predict(digits(name)[0]) for name, model in expected.items()}
    products = ops.matmul(DIGITS.data.T, DIGITS.data)

    def work(name):
        model = clone(MODELS[name])
        model.fit(*digits(name))
        shared = expected[name].predict(digits(name)[0])  # an estimator that all threads use
        return bits(model), shared, ops.matmul(DIGITS.data.T, DIGITS.data)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    try:
        with ThreadPoolExecutor(6) as pool:
            results = [(name, pool.submit(work, name)) for _ in range(3) for name in MODELS]
            for name, result in results:
                found, predicted, product = result.result()
                assert found == bits(expected[name]), name
                np.testing.assert_array_equal(predicted, predictions[name], err_msg=name)
                np.testing.assert_array_equal(product, products)
    finally:
        sys.setswitchinterval(interval)
