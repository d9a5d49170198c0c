"""The examples and the benchmarks run as a user runs them, and come to the right end. No time decides anything here."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import nnfast
from nnfast import _core

ROOT = Path(__file__).parents[1]


def run(*arguments, cwd=ROOT, **environment):
    """Run Python; its output. One BLAS thread, because other tests may keep the processors busy."""
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"} | environment
    command = [sys.executable, "-W", "error", *map(str, arguments)]
    process = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, encoding="utf-8")
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def load(path):
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---- digits ----------------------------------------------------------------------------------------------------------


def test_digits(tmp_path):
    output = run(ROOT / "examples" / "digits.py", "--rounds", 1, cwd=tmp_path)
    row = r"^(scikit-learn|nnfast) \S+ +([\d.]+)% ± ([\d.]+)% +[\d.]+ s +[\d.]+×$"
    (first, *theirs), (second, *ours) = re.findall(row, output, re.MULTILINE)
    assert (first, second) == ("scikit-learn", "nnfast")
    assert ours == theirs
    assert float(ours[0]) > 92
    (difference,) = re.findall(r"which is (\S+) of the largest weight", output)
    assert float(difference) <= 1e-8


def test_digits_notices_other_weights(monkeypatch, capsys):
    digits = load(ROOT / "examples" / "digits.py")
    brief = partial(nnfast.MLPClassifier, max_iter=2)
    monkeypatch.setattr(digits, "CLASSIFIERS", {"one": brief, "other": partial(brief, alpha=1e-2)})
    monkeypatch.setattr(sys, "argv", ["digits.py", "--rounds", "1"])
    assert digits.main() == 1
    assert "did not learn the same" in capsys.readouterr().out


# ---- overfitting -----------------------------------------------------------------------------------------------------


def test_overfitting(tmp_path):
    output = run(ROOT / "examples" / "overfitting.py", "--seeds", 2, cwd=tmp_path)
    assert re.findall(r"(\d) of 2$", output, re.MULTILINE) == ["2"] * 5


def test_dropout_weight_decay_cosine_and_averages_help_a_network_that_overfits():
    """In every draw; and by more than three standard errors of what they gain. Accuracy rises with each."""
    found = load(ROOT / "examples" / "overfitting.py").outcomes(5)
    plain = found.pop("as it is")
    assert len(found) == 5
    for remedy, values in found.items():
        gain = plain[:, 1] - values[:, 1]
        assert (gain > 0).all(), remedy
        assert gain.mean() > 3 * gain.std(ddof=1) / np.sqrt(len(gain)), remedy
        assert values[:, 2].mean() > plain[:, 2].mean(), remedy
        assert (values[:, 0] >= plain[:, 0]).all(), remedy


# ---- from neuron to network ------------------------------------------------------------------------------------------


def test_from_neuron_to_network(tmp_path):
    image = pytest.importorskip("matplotlib.image", reason="the picture needs matplotlib")
    output = run(ROOT / "examples" / "from_neuron_to_network.py", tmp_path / "pictures", cwd=tmp_path)
    assert output.endswith("All nine steps did what they say.\n")
    assert [path.name for path in tmp_path.rglob("*.png")] == ["activations.png"]
    pixels = image.imread(tmp_path / "pictures" / "activations.png")[:, :, :3].reshape(-1, 3)
    for line_colour in ("1f77b4", "ff7f0e"):  # functions, slopes
        drawn = np.abs(pixels - np.frombuffer(bytes.fromhex(line_colour), np.uint8) / 255).max(axis=1) < 0.01
        assert np.count_nonzero(drawn) > 1000


def test_from_neuron_to_network_without_matplotlib(tmp_path):
    (tmp_path / "matplotlib.py").write_text("raise ImportError")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    output = run(ROOT / "examples" / "from_neuron_to_network.py", cwd=tmp_path, PYTHONPATH=path)
    assert "pip install matplotlib" in output
    assert output.endswith("All nine steps did what they say.\n")
    assert not list(tmp_path.rglob("*.png"))


# ---- bench -----------------------------------------------------------------------------------------------------------

ABI = sys.implementation.cache_tag + getattr(sys, "abiflags", "")
needs_native = pytest.mark.skipif(
    not (ROOT / "build" / ABI / "bench-native" / "libnnfast_bench.so").exists(),
    reason="what measures the FMA peak is not built: make bench-native",
)


@needs_native
@pytest.mark.parametrize("systems", [["nnfast", "scikit-learn"], ["nnfast", "nnfast.MLP", "scikit-learn"]], ids=len)
def test_bench_train(tmp_path, systems):
    file, options = tmp_path / "results.json", ["--by-batch"] if "nnfast.MLP" in systems else []
    output = run("-m", "bench.train", "--sizes", "8-16-1:32", "--steps", 4, "--repeats", 1, "--json", file, *options)
    results = json.loads(file.read_text())
    assert results["machine"]["versions"]["nnfast"] == nnfast.__version__
    assert [row["dtype"] for row in results["rows"]] == ["float32", "float64"]
    for row in results["rows"]:
        assert row["valid"]
        assert set(systems) <= row["times"].keys() == row["evidence"]["loss"].keys()
        for times in row["times"].values():
            assert len(times["samples"]) == 5  # six epochs, the first of which is not counted
            assert 0 < times["best"] <= times["low"] <= times["median"] <= times["high"]
    assert output.count("\n8-16-1:32 ") == 2


@needs_native
def test_bench_predict(tmp_path):
    file = tmp_path / "results.json"
    output = run("-m", "bench.predict", "--rows", 1, 3, "--repeats", 1, "--json", file)
    rows = json.loads(file.read_text())["rows"]
    assert len(rows) == 6
    for row in rows:
        assert row["valid"]
        assert {"nnfast", "nnfast forward", "scikit-learn"} <= row["times"].keys()
    assert output.count(" 3 rows ") == 3


@needs_native
def test_bench_kernels(tmp_path):
    """What is timed does what it should: each optimizer's error, in u, is a few roundings."""
    file = tmp_path / "results.json"
    run("-m", "bench.kernels", "--quick", "--part", "update", "--isa", _core.active_isa(), "--json", file)
    rows = [row for row in json.loads(file.read_text())["rows"] if row["system"] == _core.active_isa()]
    assert {row["task"].split(",")[0] for row in rows} == set(_core.SOLVERS)
    assert all(row["error"] < 8 for row in rows)


def test_bench_versions(tmp_path):
    """A copy of this nnfast comes to the same numbers, one with another default to others: there are two in turns."""
    options = ("--sizes", "8-16-1:32", "784-100-10:200", "--dtype", "float64", "--threads", 1, "--seconds", 0.1)
    for default, numbers in ("0.9", "same"), ("0.8", "other"):
        package = shutil.copytree(Path(nnfast.__file__).parent, tmp_path / numbers / "nnfast")
        file = package / "_network.py"
        source = file.read_text()
        assert source.count("beta_1: float = 0.9,") == 1
        file.write_text(source.replace("beta_1: float = 0.9,", f"beta_1: float = {default},"))
        output = run("-m", "bench.versions", tmp_path / numbers, *options)
        rows = re.findall(r"^(\S+) float64 .* (same|other)$", output, re.MULTILINE)
        assert rows == [("8-16-1:32", numbers), ("784-100-10:200", numbers)]
        output = run("-m", "bench.versions", tmp_path / numbers, "--sizes", "30-5-1:7", *options[3:], "--stored", 4)
        assert re.findall(r"^(\S+) float64 .* (same|other)$", output, re.MULTILINE) == [("30-5-1:7", numbers)]


def test_a_row_is_void_when_losses_differ(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    from bench import measure, train

    def wrong(*task):
        result = right(*task)
        coefs, intercepts = result.weights
        return result._replace(weights=([1.01 * coef for coef in coefs], intercepts))

    right = partial(train.run_sklearn, train.run_estimator)
    monkeypatch.setattr(measure, "REST", 0)
    problem = train.PROBLEMS[0]._replace(steps=4)
    row = train.measure(problem, "float32", {"nnfast": wrong, "scikit-learn": right}, repeats=1, peak=1)
    assert not row["valid"]
    assert "void" in measure.line(row, ["nnfast", "scikit-learn"])
