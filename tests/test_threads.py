"""How many threads a call uses, who may limit them, and that the GIL is free meanwhile.

What a fork does to threads is in test_processes.py.

The size of a team is counted, not believed: threads are kept until a smaller team runs, so the operating system's list
of them grows by the largest team so far, less the calling thread. That, and a limit in the environment, needs a fresh
process each time.
"""

import ctypes
import math
import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import nnfast
from nnfast import _core, _threads

CPUS = _threads.CPUS

openmp_only = pytest.mark.skipif(_threads.NATIVE, reason="this build's threads are not OpenMP's")
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc"),
    pytest.mark.skipif(_threads.available() < max(2, CPUS), reason="one CPU, or OpenMP was told to use fewer"),
]


@pytest.fixture(autouse=True)
def _restored():
    yield
    assert _threads.available() == CPUS


# ---- what runs in a fresh process ------------------------------------------------------------------------------------

# A smaller team after the largest would end some of its threads. The copies out have one for every 62,500 weights.
UNITS = 256 * math.ceil(math.sqrt(CPUS))

COMMON = f"""
import hashlib, os, sys, threading
import numpy as np
import nnfast
from nnfast import _core, _threads
from threadpoolctl import threadpool_info, threadpool_limits

UNITS = {UNITS}

def os_threads():
    return len(os.listdir("/proc/self/task"))

at_start = os_threads()

def team():
    "The largest team in this process so far."
    return os_threads() - at_start + 1

def train(**parameters):
    "Bits of a network after two steps of at least 350 MFLOP each, enough for 175 threads."
    rng = np.random.RandomState(0)
    net = nnfast.MLP((64, UNITS, UNITS, 8), solver="adam", random_state=0, **parameters)
    net.train_epoch(rng.random_sample((400, 64)), rng.random_sample((400, 8)), 200)
    return hashlib.sha256(b"".join(a.tobytes() for a in net.coefs_ + net.intercepts_)).hexdigest()
"""


def run(code, *, first="", **environment):
    """What code prints in a fresh process, in words. One that hangs is stopped after minutes, and fails."""
    limits = ("OMP_", "GOMP_", "KMP_", "LOKY_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(limits)} | environment
    env["OPENBLAS_NUM_THREADS"] = "1"  # its threads come and go, and would confuse the count
    program = [sys.executable, "-c", first + COMMON + code]
    done = subprocess.run(program, capture_output=True, text=True, env=env, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture(scope="module")
def expected():
    """The bits of train() on one thread."""
    team, bits = run("bits = train(n_jobs=1); print(team(), bits)")
    assert team == "1"
    return bits


# ---- the size of a team ----------------------------------------------------------------------------------------------


def test_all_cpus_and_no_more(expected):
    assert run("bits = train(); print(team(), _threads.available(), bits)") == [str(CPUS), str(CPUS), expected]


@pytest.mark.parametrize(("n_jobs", "size"), [(1, 1), (2, 2), (1000, CPUS), (-1, CPUS), (-2, CPUS - 1), (-1000, 1)])
def test_n_jobs(expected, n_jobs, size):
    assert run(f"bits = train(n_jobs={n_jobs}); print(team(), bits)") == [str(max(1, size)), expected]


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
@pytest.mark.parametrize("call", ["adam", "lbfgs", "predict"])
@pytest.mark.parametrize(("n_jobs", "size"), [(1, 1), (None, CPUS)])
def test_n_jobs_of_the_estimators(name, call, n_jobs, size):
    code = f"""
import warnings
warnings.simplefilter("ignore")  # one epoch is not enough
nnfast.{name}
import scipy.optimize
at_start = os_threads()
X = np.random.RandomState(0).random_sample((800, 64))
y = X[:, 0] > 0.5
model = nnfast.{name}(hidden_layer_sizes=(UNITS, UNITS), batch_size=800, max_iter=1)
if {call!r} == "predict":
    model.set_params(n_jobs=1).fit(X, y)
    assert team() == 1
    model.set_params(n_jobs={n_jobs}).predict(np.tile(X, (4, 1)))
else:
    model.set_params(n_jobs={n_jobs}, solver={call!r}).fit(X, y)
print(team())
"""
    assert run(code) == [str(size)]


def test_a_small_network_runs_on_one_thread():
    code = """
rng = np.random.default_rng(0)
X = rng.standard_normal((1000000, 8))
nnfast.MLP((8, 16, 1), random_state=0).train_epoch(X, X[:, :1], 32)
nnfast.ops.matmul(np.ones((20, 20)), np.ones((20, 20)))
print(team())
"""
    assert run(code) == ["1"]


def test_more_threads_are_tried_in_a_fit_that_lasts():
    "With 0.26 MFLOP a step: too little to begin with more than one, as a short fit shows."
    code = """
net = nnfast.MLP((20, 64, 1), random_state=0, n_jobs=2)
X, Y = np.ones((640000, 20)), np.ones((640000, 1))
net.train_epoch(X[:640], Y[:640], 32)
print(team())
net.train_epoch(X, Y, 32)
print(team())
"""
    assert run(code) == ["1", "2"]


def test_every_estimator_documents_n_jobs():
    for name in ("MLP", "MLPClassifier", "MLPRegressor", "Perceptron"):
        assert "n_jobs : int or None, default=None" in getattr(nnfast, name).__doc__, name


def test_show_versions_says_the_number_in_force(capsys):
    for size in (CPUS, 1):
        with threadpool_limits(size):
            nnfast.show_versions()
        assert re.search(f"threads at most: *{size} ", capsys.readouterr().out)


# ---- OpenMP's settings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "size"),
    [
        ("OMP_NUM_THREADS", "1", 1),
        ("OMP_NUM_THREADS", "64", CPUS),
        ("OMP_NUM_THREADS", " 1, 2", 1),
        ("OMP_NUM_THREADS", "many", CPUS),
        ("OMP_THREAD_LIMIT", "1", 1),
        # Then OpenMP ties the calling thread to one CPU, which is not the number of CPUs of the process.
        ("OMP_PROC_BIND", "true", CPUS),
    ],
)
def test_openmp_settings(expected, name, value, size):
    code = "bits = train(); print(team(), _threads.available(), bits)"
    assert run(code, **{name: value}) == [str(size), str(size), expected]


@openmp_only
@pytest.mark.parametrize("setting", ["OMP_MAX_ACTIVE_LEVELS", "OMP_THREAD_LIMIT"])
def test_fewer_threads_than_asked_for(expected, setting):
    """The engine asks for all CPUs, OpenMP gives one thread."""
    code = """
rng = np.random.RandomState(0)
A, B = rng.random_sample((2, 400, 400))
one, many = np.empty((2, 400, 400))
_core.matmul(A, B, one, 1)
_core.matmul(A, B, many, 8)
print(team(), (one == many).all(), train())
"""
    assert run(code, **{setting: "0" if setting == "OMP_MAX_ACTIVE_LEVELS" else "1"}) == ["1", "True", expected]


@pytest.fixture(scope="module")
def openmp():
    """The OpenMP that nnfast uses; scikit-learn may have brought another one into this process."""
    (path,) = run('print(*(pool["filepath"] for pool in threadpool_info() if pool["user_api"] == "openmp"))')
    return path


@openmp_only
def test_inside_a_parallel_region_a_call_has_one_thread(expected, openmp):
    """The region is another library's, in the OpenMP that nnfast uses."""
    if not hasattr(ctypes.CDLL(openmp), "GOMP_parallel"):
        pytest.skip("this OpenMP has no entry that ctypes could call")
    code = f"""
import ctypes
found = []
work = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: found.append((_threads.available(), train())))
ctypes.CDLL({openmp!r}).GOMP_parallel(work, None, 2, 0)
print(team(), *found[0], *found[1])
"""
    assert run(code) == ["2", "1", expected, "1", expected]


# ---- CPU affinity ----------------------------------------------------------------------------------------------------

ONE_CPU = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"


def test_affinity_before_the_start(expected):
    code = "bits = train(); print(team(), _threads.available(), _threads.limit.get(), bits)"
    assert run(code, first=ONE_CPU) == ["1", "1", "1", expected]


def test_affinity_changed_later(expected):
    assert run(ONE_CPU + "bits = train(); print(team(), _threads.available(), bits)") == ["1", "1", expected]


# ---- the quota of a control group ------------------------------------------------------------------------------------

V2 = "31 23 0:28 {top} /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "32 31 0:29 {top} /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct"
OTHERS = """\
23 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
24 23 0:5 / /no\\040source rw - tmpfs  rw
33 31 0:30 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
"""


def tree(root, group, mount, quotas):
    """A root directory with what Linux shows of control groups below /proc and /sys."""
    files = {"proc/self/cgroup": group, "proc/self/mountinfo": OTHERS + mount}
    for folder, text in quotas.items():
        if mount.startswith("31"):
            files[f"sys/fs/cgroup/{folder}/cpu.max"] = text
        else:
            for name, value in zip(("quota", "period"), text.split(), strict=True):
                files[f"sys/fs/cgroup/cpu,cpuacct/{folder}/cpu.cfs_{name}_us"] = value
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return str(root)


QUOTAS = {
    "at the mount": ("/", {"": "200000 100000"}, 2),
    "of the group": ("/a/b", {"a/b": "300000 100000"}, 3),
    "rounded up": ("/a", {"a": "100001 100000"}, 2),
    "less than one": ("/a", {"a": "1000 100000"}, 1),
    "of an ancestor": ("/a/b/c", {"a": "150000 50000", "a/b": "none", "a/b/c": "800000 100000"}, 3),
    "the least of all": ("/a/b", {"": "500000 100000", "a": "400000 100000", "a/b": "250000 100000"}, 3),
    "none anywhere": ("/a", {"": "none", "a": "none"}, None),
    "of another group": ("/a", {"b": "100000 100000", "ab": "100000 100000"}, None),
    "no files": ("/a", {}, None),
    "not understood": ("/a", {"a": "much often"}, None),
}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("name", QUOTAS)
def test_quota(tmp_path, name, version):
    path, quotas, cpus = QUOTAS[name]
    none = "max 100000" if version == 2 else "-1 100000"
    quotas = {folder: none if text == "none" else text for folder, text in quotas.items()}
    group = f"5:cpuset:/z\n0::{path}" if version == 2 else f"5:cpuset:/z\n4:cpu,cpuacct:{path}\n0::/z"
    mount = (V2 if version == 2 else V1).format(top="/")
    assert _threads.cpu_quota(tree(tmp_path, group, mount, quotas)) == cpus


@pytest.mark.parametrize(("mount", "group"), [(V1, "4:cpu,cpuacct:/docker/x{}"), (V2, "0::/docker/x{}")])
def test_quota_in_a_container_that_sees_a_part_of_the_tree(tmp_path, mount, group):
    mount, quotas = mount.format(top="/docker/x"), {"": "200000 100000", "docker/x": "100000 100000"}
    assert _threads.cpu_quota(tree(tmp_path / "container", group.format(""), mount, quotas)) == 2
    quotas["in"] = "100000 100000"
    assert _threads.cpu_quota(tree(tmp_path / "below", group.format("/in"), mount, quotas)) == 1


def test_no_control_groups(tmp_path):
    assert _threads.cpu_quota(str(tmp_path)) is None


@pytest.fixture
def one_cpu_group():
    """A real control group with a quota of half a CPU, where one may be made."""
    mounts = [Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup/cpu,cpuacct"), Path("/sys/fs/cgroup")]
    for mount in mounts:
        group = mount / f"nnfast-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / "cpu.max").exists():
            (group / "cpu.max").write_text("50000 100000")
        elif (group / "cpu.cfs_quota_us").exists():
            (group / "cpu.cfs_quota_us").write_text("50000")
        else:
            group.rmdir()
            continue
        yield group
        group.rmdir()
        return
    pytest.skip("no right to make a control group with a CPU quota")


def test_a_real_quota(one_cpu_group, expected):
    join = f"from pathlib import Path; import os\nPath({str(one_cpu_group)!r}, 'cgroup.procs').write_text('0')\n"
    code = """
with threadpool_limits(64, user_api="nnfast"):
    bits = train()
print(len(os.sched_getaffinity(0)), _threads.available(), _threads.limit.get(), team(), bits)
"""
    assert run(code, first=join) == [str(_core.processors()), "1", "1", "1", expected]


# ---- threadpoolctl ---------------------------------------------------------------------------------------------------


def ours():
    """What threadpoolctl says of nnfast."""
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "nnfast"]
    assert len(pools) == 1
    return pools[0]


def test_threadpool_info():
    pool = ours()
    assert pool["filepath"] == os.path.realpath(_core.__file__)
    assert (pool["internal_api"], pool["version"]) == ("nnfast", nnfast.__version__)
    assert pool["num_threads"] == CPUS


@pytest.mark.parametrize(
    ("limits", "api", "inside"),
    [
        (1, None, 1),
        (1, "nnfast", 1),
        (1, "openmp", CPUS if _threads.NATIVE else 1),
        (1, "blas", CPUS),
        ({"nnfast": 1}, None, 1),
        (2, None, 2),
        (1000, None, CPUS),
        (0, "nnfast", 1),
        (None, None, CPUS),
    ],
)
def test_threadpool_limits(limits, api, inside):
    before = threadpool_info()
    with threadpool_limits(limits, user_api=api):
        assert _threads.available() == inside
        assert _threads.resolve_threads(1000) == inside
        assert _threads.resolve_threads(-1) == inside
        assert _threads.resolve_threads(1) == 1
        assert ours()["num_threads"] == (CPUS if api in ("openmp", "blas") else inside)
    assert threadpool_info() == before


def test_a_limit_of_nnfast_is_no_limit_of_openmp():
    import sklearn.neural_network  # noqa: F401  # a user of OpenMP, should nnfast be none

    with threadpool_limits(1, user_api="nnfast"):
        assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp"} == {CPUS}
        assert ours()["num_threads"] == 1


def test_threads_under_a_limit(expected):
    code = """
with threadpool_limits(1, user_api="nnfast"):
    inside = train(); print(team(), inside)
after = train(); print(team(), after)
"""
    assert run(code) == ["1", expected, str(CPUS), expected]


@openmp_only
def test_nested_limits_restore_what_was_there():
    with threadpool_limits(1, user_api="openmp"):
        with threadpool_limits(1):
            assert _threads.available() == 1
        assert _threads.available() == 1
        assert ours()["num_threads"] == CPUS


@openmp_only
def test_imported_under_a_limit(openmp):
    """The limit of that moment is not taken for the number of CPUs."""
    first = f"""
import ctypes
from threadpoolctl import threadpool_info, threadpool_limits
ctypes.CDLL({openmp!r})
limiter = threadpool_limits(1)
"""
    code = "print(_threads.available()); limiter.unregister(); print(_threads.available())"
    assert run(code, first=first) == ["1", str(CPUS)]


def test_a_limit_of_the_main_thread_holds_everywhere():
    with ThreadPoolExecutor(1) as pool:
        with threadpool_limits(1, user_api="nnfast"):
            assert pool.submit(_threads.available).result() == 1

            def limit_and_restore():
                with threadpool_limits(1):
                    pass

            pool.submit(limit_and_restore).result()
        assert pool.submit(_threads.available).result() == CPUS


def test_a_limit_of_another_thread_is_its_own():
    """Two threads whose limits overlap in time, neither inside the other: each has its own, and nothing is left."""
    first_in, second_in, first_out = threading.Event(), threading.Event(), threading.Event()

    def first():
        with threadpool_limits(1, user_api="nnfast"):
            first_in.set()
            second_in.wait()
            inside = _threads.available()
        first_out.set()
        return inside, _threads.available()

    def second():
        first_in.wait()
        with threadpool_limits(1, user_api="nnfast"):
            second_in.set()
            first_out.wait()
            inside = _threads.available()
        return inside, _threads.available()

    with ThreadPoolExecutor(2) as pool:
        results = [pool.submit(first), pool.submit(second)]
        first_in.wait()
        assert _threads.available() == CPUS
        assert [r.result() for r in results] == [(1, CPUS), (1, CPUS)]


def test_a_wider_limit_of_a_thread_does_not_lift_the_main_threads():
    with threadpool_limits(1, user_api="nnfast"), ThreadPoolExecutor(1) as pool:

        def widened():
            with threadpool_limits(2):
                return _threads.available()

        assert pool.submit(widened).result() == 1


# ---- joblib ----------------------------------------------------------------------------------------------------------

LOKY = """
from joblib import Parallel, delayed, parallel_config
def job():
    before = os_threads()
    return os.getpid(), os.environ["OMP_NUM_THREADS"], _threads.available(), train(), os_threads() - before + 1
with parallel_config(backend="loky", n_jobs=2, inner_max_num_threads={inner}):
    print(os.getpid(), *Parallel()([delayed(job)()])[0])  # one job: a worker's second would find a team there
"""


@pytest.mark.parametrize("inner", [1, 2, None])
def test_loky_workers(expected, inner):
    """joblib tells its processes by OMP_NUM_THREADS; by default they share the CPUs."""
    parent, worker, told, *found = run(LOKY.format(inner=inner))
    assert parent != worker
    assert int(told) == inner if inner else int(told) < CPUS
    size = str(min(CPUS, int(told)))
    assert found == [size, expected, size]


@pytest.mark.parametrize("limit", [1, CPUS])
def test_joblib_threads(expected, limit):
    """joblib has no inner limit for threads; the main thread's by threadpoolctl holds in them."""
    code = f"""
from joblib import Parallel, delayed
with threadpool_limits({limit}, user_api="nnfast"):
    jobs = Parallel(n_jobs=2, backend="threading")(delayed(lambda: (_threads.available(), train()))() for _ in range(4))
for job in jobs:
    print(*job)
"""
    assert run(code) == [str(limit), expected] * 4


# ---- the GIL ---------------------------------------------------------------------------------------------------------

SIDE_BY_SIDE = """
import signal

class Stop(Exception):
    pass

begun, inside, entered = False, threading.Event(), 0

def on_signal(signum, frame):
    "Runs in the main thread: after `begun` only when the engine lets signals through, from within the call."
    global entered
    assert begun
    entered += 1
    inside.set()
    if entered == 2:
        raise Stop

def other():
    "Waits until the main thread is in the engine, fits a network there too, and stops the main thread's call."
    global bits
    while not begun:
        pass
    os.kill(os.getpid(), signal.SIGUSR1)
    inside.wait()
    bits = train(n_jobs=1)
    os.kill(os.getpid(), signal.SIGUSR1)

signal.signal(signal.SIGUSR1, on_signal)
n = 1_000_000
X, out = np.ones((n, 1), np.float32), np.empty((n, 1), np.float32)
W = [np.zeros(shape, np.float32) for shape in ((1, 3000), (3000, 3000), (3000, 1))]
b = [np.zeros(len(w[0]), np.float32) for w in W]
rates = np.zeros(n)
engine = _core.Network("f", [1, 3000, 3000, 1], ["relu", "relu", "identity"], "squared_error", "sgd")
engine.load(_core.PARAMETERS, W, b)
plan = _core.Plan()
known = W, b, "relu", "identity", ()
plan.bind(["relu", "relu", "identity"], known)
thread = threading.Thread(target=other)
thread.start()
try:
    begun = True
    {call}
except Stop:
    thread.join()
    print(entered, bits)
"""


@pytest.mark.parametrize(
    "call",
    [
        "engine.train_epoch(X, out, None, 1, rates)",
        "engine.forward(X, out)",
        '_core.forward(X, W, b, ["relu", "relu", "identity"], out, 1)',
        "plan.forward(X, out, known, n_threads=1)",
    ],
)
def test_two_threads_are_in_the_engine_at_once(expected, call):
    """One call takes 10 TFLOP or more, minutes; a whole fit begins and ends in another thread while it runs."""
    assert run(SIDE_BY_SIDE.format(call=call)) == ["2", expected]
