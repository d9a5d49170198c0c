"""Settings for all tests."""

from __future__ import annotations

import pytest
from threadpoolctl import threadpool_limits

from nnfast import _core

ISAS = [name for name, available in _core.isas().items() if available]


@pytest.fixture(autouse=True, scope="session")
def _one_blas_thread():
    """Keep NumPy's BLAS, which only the references use, on one thread: their small products get slower with two.

    nnfast's own threads are not a BLAS and stay as they are.
    """
    with threadpool_limits(limits=1, user_api="blas"):
        yield


@pytest.fixture(params=ISAS)
def isa(request):
    """Runs a test once on every instruction set of this CPU; its value is the name."""
    before = _core.active_isa()
    _core.select_isa(request.param)
    assert _core.active_isa() == request.param
    yield request.param
    _core.select_isa(before)
