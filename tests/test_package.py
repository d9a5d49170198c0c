"""What a user gets from an installed nnfast: its files, its metadata, a quick import, and NNFAST_ISA."""

import importlib.metadata
import importlib.util
import os
import platform
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

import nnfast
from nnfast import _core
from nnfast._versions import PACKAGES

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def run(code, **environment):
    """Run code in a fresh interpreter: (exit status, what it printed, its errors)."""
    env = {name: value for name, value in os.environ.items() if name != "NNFAST_ISA"} | environment
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def test_version():
    assert nnfast.__version__ == importlib.metadata.version("nnfast") == PROJECT["version"]
    assert f"## [{nnfast.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_runtime_dependencies():
    names = {requirement.split(">")[0] for requirement in PROJECT["dependencies"]}
    assert names == {"numpy", "scipy", "scikit-learn", "joblib", "threadpoolctl"}


def test_public_names():
    assert set(nnfast.__all__) <= set(dir(nnfast))
    for name in nnfast.__all__:
        assert getattr(nnfast, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'MLPClasifier'"):
        _ = nnfast.MLPClasifier


def test_files():
    installed = {str(path) for path in importlib.metadata.files("nnfast") or []}
    if any("_editable" in name for name in installed):
        installed |= {f"nnfast/{path.name}" for path in (ROOT / "python" / "nnfast").iterdir()} - {"nnfast/_core.pyx"}
    assert {"nnfast/__init__.py", "nnfast/_core.pyi", "nnfast/py.typed"} <= installed
    assert any(name.endswith("licenses/LICENSE") for name in installed)
    assert not any(name.endswith((".pyx", ".c", ".h")) for name in installed)


@pytest.mark.skipif(FREE_THREADED, reason="a free-threaded Python has no stable ABI; its wheel is for one version")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows names a stable-ABI extension .pyd")
def test_stable_abi():
    assert Path(_core.__file__).name == "_core.abi3.so"


def test_import_is_light():
    status, out, err = run("import sys, nnfast; print(*sorted({n.split('.')[0] for n in sys.modules}))")
    assert status == 0, err
    loaded = set(out.split())
    assert {"nnfast", "numpy"} <= loaded
    assert loaded.isdisjoint({"sklearn", "scipy", "joblib", "matplotlib", "safetensors"})


def test_mlp_needs_no_scikit_learn():
    code = """
import sys, numpy as np, nnfast
net = nnfast.MLP((4, 3, 2), random_state=0)
assert net.forward(np.ones((5, 4), np.float32)).shape == (5, 2)
assert nnfast.ops.relu(np.array([-1.0, 2.0])).tolist() == [0.0, 2.0]
print("sklearn" in sys.modules)
"""
    assert run(code) == (0, "False", "")


def test_an_estimator_imports_scikit_learn_but_not_its_networks():
    code = """
import sys, nnfast
nnfast.MLPClassifier, nnfast.MLPRegressor, nnfast.Perceptron
print("sklearn" in sys.modules, "sklearn.neural_network" in sys.modules)
"""
    assert run(code) == (0, "True False", "")


# ---- NNFAST_ISA -----------------------------------------------------------------------------------------------------

ACTIVE = "from nnfast import _core; print(_core.active_isa())"


def test_isa_default_is_the_best():
    isas = _core.isas()
    assert "scalar" in isas
    assert run(ACTIVE) == (0, next(name for name, available in isas.items() if available), "")


@pytest.mark.parametrize("name", [name for name, available in _core.isas().items() if available])
def test_isa_forced(name):
    assert run(ACTIVE, NNFAST_ISA=name) == (0, name, "")


def test_isa_empty_is_unset():
    assert run(ACTIVE, NNFAST_ISA="") == run(ACTIVE)


def test_isa_unknown_is_an_error():
    status, out, err = run("import nnfast", NNFAST_ISA="avx3000")
    assert (status, out) == (1, "")
    assert "avx3000" in err.splitlines()[-1]
    assert all(name in err.splitlines()[-1] for name, available in _core.isas().items() if available)


def test_isa_of_another_cpu_is_an_error():
    missing = [name for name, available in _core.isas().items() if not available]
    for name in missing:  # none on a CPU that runs all of them: then the unknown name above is the only wrong one
        status, _, err = run("import nnfast", NNFAST_ISA=name)
        assert status == 1
        assert name in err.splitlines()[-1]


# ---- show_versions ---------------------------------------------------------------------------------------------------


def versions(**environment):
    """What show_versions prints in a fresh process, by name."""
    status, out, err = run("import nnfast; nnfast.show_versions()", **environment)
    assert (status, err) == (0, "")
    return dict(map(str.strip, line.split(":", 1)) for line in out.splitlines())


def test_versions_of_packages():
    found = versions()
    assert found["nnfast"] == nnfast.__version__
    assert found["Python"].startswith(platform.python_version())
    options = PROJECT["optional-dependencies"]
    named = {re.match(r"[\w-]+", each)[0] for each in PROJECT["dependencies"] + options["plot"] + options["onnx"]}
    assert named <= set(PACKAGES)
    for package in PACKAGES:
        there = importlib.util.find_spec({"scikit-learn": "sklearn"}.get(package, package))
        assert found[package] == (importlib.metadata.version(package) if there else "not installed")


def test_versions_of_the_engine():
    found = versions()
    isas = _core.isas()
    words = [name if there else f"{name} (not on this CPU)" for name, there in isas.items()]
    assert found["instruction sets"] == ", ".join(words)
    assert found["in use"] == f"{next(name for name, there in isas.items() if there)}, the best of this CPU"
    assert versions(NNFAST_ISA="scalar")["in use"] == "scalar, NNFAST_ISA=scalar"
    assert re.match(r"(gcc|clang) \d+\.\d+", found["compiled by"])
    assert found["threads"] == _core.threads_backend()
    assert found["GIL"] == ("off" if FREE_THREADED else "on")


def test_versions_import_nothing():
    status, out, err = run("import sys, nnfast; nnfast.show_versions(); print(*sys.modules)")
    assert (status, err) == (0, "")
    assert set(out.splitlines()[-1].split()).isdisjoint({"sklearn", "scipy", "joblib", "matplotlib", "pandas"})


def test_versions_say_where_the_number_of_threads_comes_from():
    assert versions(OMP_NUM_THREADS="1")["threads at most"].startswith("1 (")
    assert "OMP_NUM_THREADS 1," in versions(OMP_NUM_THREADS="1")["threads at most"]
    code = "import nnfast, threadpoolctl; threadpoolctl.threadpool_limits(1); nnfast.show_versions()"
    limited = re.search("threads at most: *(.*)", run(code)[1])[1]
    assert limited.startswith("1 (") and limited.endswith("limit of threadpoolctl 1)")
    assert f"CPUs of the process {_core.processors()}, of the machine {os.cpu_count()}, " in limited
