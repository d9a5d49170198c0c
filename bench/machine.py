"""What a result depends on beside the code: the processor, its threads, the versions, and a speed to compare with."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

from nnfast import _core, _threads, ops


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def product_gflops(dtype: str, n: int = 512, seconds: float = 0.5) -> float:
    """The best speed of an n x n matrix product on one thread, in GFLOP/s: a floor of the FMA peak of a core."""
    A, B = np.random.default_rng(0).standard_normal((2, n, n)).astype(dtype)
    out = np.empty((n, n), dtype)
    best = np.inf
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        ops.matmul(A, B, out=out, n_jobs=1)
        best = min(best, time.perf_counter() - start)
    return 2 * n**3 / best * 1e-9


def describe(packages: list[str]) -> dict[str, object]:
    """Versions (None: not installed), processor, instruction set, thread counts and the speed of a product."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "cpu": cpu_model(),
        "cpus": os.process_cpu_count() if hasattr(os, "process_cpu_count") else len(os.sched_getaffinity(0)),
        "load_before": os.getloadavg()[0],
        "isa": _core.active_isa(),
        "nnfast_threads": _threads.available(),
        "libraries": [
            {key: pool.get(key) for key in ("internal_api", "num_threads", "architecture", "version")}
            for pool in threadpool_info()
        ],
        "product_512_gflops_one_thread": {dtype: product_gflops(dtype) for dtype in ("float32", "float64")},
        "versions": versions,
    }
