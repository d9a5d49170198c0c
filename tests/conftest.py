"""Settings for all tests."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from threadpoolctl import threadpool_limits

from nnfast import _core

ISAS = [name for name, available in _core.isas().items() if available]

# Files that import what not every Python has a wheel for (groups `test-data` and `test-files` of pyproject.toml).
NEEDS = {
    "test_displays.py": {"matplotlib", "pandas"},
    "test_docs.py": {"matplotlib", "onnx", "sklearn.callback"},
    "test_export.py": {"onnx", "onnxruntime", "pandas", "skl2onnx"},
    "test_interoperation.py": {"matplotlib", "pandas", "polars"},
    "test_ops.py": {"hypothesis"},
}
LEFT_OUT = {file: missing for file, names in NEEDS.items() if (missing := {n for n in names if not find_spec(n)})}
collect_ignore = list(LEFT_OUT)


# Files, fixtures and tests with what belongs to the process (signal handlers, a failing allocator, forks, warnings,
# pictures, doctest, NumPy's global generator, counts of references), with a file for all, or with threads of their own.
# In a run of every test in several threads at once (make test-parallel) such a test stays in one.
OF_THE_PROCESS = {
    "test_concurrency.py", "test_docs.py", "test_faults.py", "test_interruptions.py", "test_processes.py",
    "test_sklearn_suite.py", "test_threads.py", "isa", "path", "pyplot", "recwarn",
    "test_an_epoch", "test_cut_short_in_the_midst_of_an_epoch", "test_running_out_of_memory_is_a_memory_error",
    "test_same_draws",
}  # fmt: skip


def pytest_collection_modifyitems(config, items):
    if config.pluginmanager.hasplugin("run-parallel"):
        for item in items:
            if not OF_THE_PROCESS.isdisjoint([item.path.name, item.originalname, *item.fixturenames]):
                item.add_marker("thread_unsafe")


def pytest_terminal_summary(terminalreporter):
    for file, missing in LEFT_OUT.items():
        terminalreporter.write_line(f"LEFT OUT {file}: it needs {', '.join(sorted(missing))}")


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
