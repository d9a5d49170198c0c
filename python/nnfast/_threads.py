"""How many threads a call may use: the least of what its n_jobs, OpenMP's settings, the CPUs of the process, their
quota and threadpoolctl allow.

The engine's own limit, OpenMP's or the CPUs, is asked at every call, which takes a microsecond. The quota, and the
settings when the engine's threads are not OpenMP's, are read once, on import.
"""

from __future__ import annotations

import math
import os
import threading

import threadpoolctl

from nnfast import _core


def resolve_threads(n_jobs: int | None) -> int:
    """All threads that a call may use now, at most ``n_jobs``; -1 is all, -2 all but one, as in joblib."""
    most = available()
    if n_jobs is None:
        return most
    if n_jobs == 0:
        raise ValueError("n_jobs == 0 has no meaning")
    return min(n_jobs, most) if n_jobs > 0 else max(1, most + 1 + n_jobs)


def available() -> int:
    """Threads that a call of this thread may use now."""
    return min(_core.max_threads(), limit.get())


# ---- the quota of a container ----------------------------------------------------------------------------------------


def cpu_quota(root: str = "") -> int | None:
    """CPUs that Linux control groups grant the process, rounded up; None without a quota.

    A process is bound by the least quota of its group and the groups above. Both versions of control groups are read,
    wherever /proc/self/mountinfo says that they are mounted; a container may see only a part of the tree. ``root``
    stands before every path.
    """
    try:
        groups = _read(f"{root}/proc/self/cgroup").splitlines()
        mounts = _read(f"{root}/proc/self/mountinfo").splitlines()
    except OSError:
        return None  # not Linux
    paths: dict[str, str] = {}  # of the group, by controller; version 2 has one tree for all, under the empty name
    for line in groups:
        _, controllers, path = line.split(":", 2)
        paths |= dict.fromkeys(controllers.split(","), path)
    least = math.inf
    for line in mounts:
        place, _, system = line.partition(" - ")
        top, folder = place.split()[3:5]
        kind, _, options = system.split(" ")  # the source may be empty
        if kind == "cgroup2":
            controller, files = "", ["cpu.max"]
        elif kind == "cgroup" and "cpu" in options.split(","):
            controller, files = "cpu", ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
        else:
            continue
        for name in ["", *os.path.relpath(paths.get(controller, top), top).split("/")]:
            folder = f"{folder}/{name}"
            least = min(least, _granted(root + folder, files))
    return math.ceil(least) if least < math.inf else None


def _granted(group: str, files: list[str]) -> float:
    """CPUs granted to a group: its quota, in microseconds a period, by the period."""
    try:
        quota, period = " ".join(_read(f"{group}/{name}") for name in files).split()
        cpus = int(quota) / int(period)
    except (OSError, ValueError):
        return math.inf  # no such file, as in the topmost group, or "max"
    return cpus if cpus > 0 else math.inf  # version 1 says -1 where it means none


def _read(path: str) -> str:
    with open(path, errors="replace") as file:  # the name of another mount may be any bytes
        return file.read()


# ---- OpenMP's settings -----------------------------------------------------------------------------------------------


def openmp_setting(name: str) -> int:
    """What an environment variable of OpenMP grants; all CPUs where it is not set or not a number from 1.

    OpenMP reads them itself. Native threads heed them too: by them joblib tells its processes, and many a container
    its programs, how many threads to use. A list is for nested regions; its first number counts.
    """
    value = os.environ.get(name, "").partition(",")[0].strip()
    return int(value) if value.isdecimal() and int(value) > 0 else _core.processors()


# ---- threadpoolctl ---------------------------------------------------------------------------------------------------

NATIVE = _core.threads_backend() == "native"
CPUS = min(_core.processors(), cpu_quota() or _core.processors())
if NATIVE:
    CPUS = min(CPUS, openmp_setting("OMP_THREAD_LIMIT"))


class _Limit(threading.local):
    """The most threads of a call.

    A limit is its thread's own, so that limits set side by side cannot undo each other; only the main thread's is
    everybody's. Setting what `get` returned before restores, whatever is done between.
    """

    own = CPUS
    shared = min(CPUS, openmp_setting("OMP_NUM_THREADS")) if NATIVE else CPUS

    def get(self) -> int:
        return min(self.own, _Limit.shared)

    def set(self, threads: int) -> None:
        threads = max(1, min(threads, CPUS))
        if threading.current_thread() is threading.main_thread():
            _Limit.shared = threads
        else:
            self.own = threads if threads < _Limit.shared else CPUS


limit = _Limit()


class Controller(threadpoolctl.LibController):
    """What threadpoolctl.threadpool_info shows of nnfast and threadpoolctl.threadpool_limits sets."""

    user_api = "nnfast"
    internal_api = "nnfast"
    filename_prefixes = ("_core.",)  # other packages have one too; the symbol is nnfast's alone
    check_symbols = ("nnf_max_threads",)

    def get_num_threads(self) -> int:
        return limit.get()

    def set_num_threads(self, num_threads: int) -> None:
        limit.set(num_threads)

    def get_version(self) -> str:
        import nnfast

        return nnfast.__version__


threadpoolctl.register(Controller)
