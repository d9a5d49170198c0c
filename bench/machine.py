"""What a result depends on beside the code: the processor, its threads, the versions, and its peak speed."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench import native
from threadpoolctl import threadpool_info

from nnfast import _core, _threads


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def n_cpus() -> int:
    """Those that this process may use."""
    return os.process_cpu_count() if hasattr(os, "process_cpu_count") else len(os.sched_getaffinity(0))


def fma_peaks(isa: str, n_threads: int) -> dict[str, dict[str, float]]:
    """GFLOP/s of fused multiply-adds: the best of a few tries, a rest before each, for a neighbour may have a core."""
    counts = {"one_thread": 1, "all_threads": n_threads}
    peaks = {dtype: dict.fromkeys(counts, 0.0) for dtype in ("float32", "float64")}
    for _ in range(4):
        time.sleep(0.3)
        for dtype, of in peaks.items():
            for name, n in counts.items():
                of[name] = max(of[name], native.peak_gflops(isa, dtype, n))
    return peaks


def describe(packages: list[str]) -> dict[str, Any]:
    """Versions (None: not installed), processor, instruction set, thread counts and the peak of fused multiply-adds."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    isa, n_threads = _core.active_isa(), _threads.available()
    return {
        "cpu": cpu_model(),
        "cpus": n_cpus(),
        "load_before": os.getloadavg()[0],
        "isa": isa,
        "nnfast_threads": n_threads,
        "libraries": [
            {key: pool.get(key) for key in ("internal_api", "num_threads", "architecture", "version")}
            for pool in threadpool_info()
        ],
        "fma_peak_gflops": fma_peaks(isa, n_threads),
        "versions": versions,
    }


def summary(machine: dict[str, Any]) -> str:
    """What stands above a table."""
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items() if number)
    peaks = ", ".join(f"{dtype} {gflops['all_threads']:.0f}" for dtype, gflops in machine["fma_peak_gflops"].items())
    return (
        f"{machine['cpu']}, {machine['isa']}, {machine['nnfast_threads']} threads, load {machine['load_before']:.1f}\n"
        f"{versions}\n"
        f"Peak of fused multiply-adds, all threads, GFLOP/s: {peaks}"
    )
