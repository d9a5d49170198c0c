"""What nnfast runs on here: for a report of a fault, and for who wants to know which instructions and threads work."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from nnfast import _core, _threads

# What nnfast needs, or makes use of where it is there. Their versions are looked up; nothing is imported.
PACKAGES = (
    *("numpy", "scipy", "scikit-learn", "threadpoolctl", "joblib"),
    *("matplotlib", "onnx", "skl2onnx", "onnxruntime", "pandas", "polars", "rich"),
)


def show_versions() -> None:
    """Print what nnfast runs on: its engine, instruction sets and threads, the machine, Python, and other packages.

    Examples
    --------
    >>> import nnfast
    >>> nnfast.show_versions()  # doctest: +ELLIPSIS
    nnfast:             ...
    compiled by:        ...
    instruction sets:   ...
    in use:             ...
    threads:            ...
    """
    for name, value in facts().items():
        print(f"{name + ':':20}{value}")


def facts() -> dict[str, str]:
    """What there is to say, by name."""
    isas = _core.isas()
    forced = os.environ.get("NNFAST_ISA")
    return {
        "nnfast": _version("nnfast"),
        "compiled by": _core.compiler(),
        "instruction sets": ", ".join(name if there else f"{name} (not on this CPU)" for name, there in isas.items()),
        "in use": f"{_core.active_isa()}, {f'NNFAST_ISA={forced}' if forced else 'the best of this CPU'}",
        "threads": _core.threads_backend(),
        "threads at most": _limits(),
        "Python": " ".join(sys.version.split()),
        "GIL": "on" if getattr(sys, "_is_gil_enabled", lambda: True)() else "off",
        "executable": sys.executable,
        "platform": platform.platform(),
        "C library": " ".join(platform.libc_ver()).strip() or "unknown",
        **{package: _version(package) for package in PACKAGES},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _limits() -> str:
    """How many threads a call may use now, and each limit that there is."""
    quota = _threads.cpu_quota()
    limits = [
        f"CPUs of the process {_core.processors()}, of the machine {os.cpu_count()}",
        f"CPU quota {quota or 'none'}",
        *(f"{name} {os.environ[name]}" for name in ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT") if name in os.environ),
        f"limit of threadpoolctl {_threads.limit.get()}",
    ]
    return f"{_threads.available()} ({', '.join(limits)})"
