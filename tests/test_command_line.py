"""python -m nnfast: what it prints, what it writes, and how it fails."""

from __future__ import annotations

import subprocess
import sys

import joblib
import numpy as np
import pytest
import sklearn.neural_network
from sklearn.datasets import load_digits, load_wine

import nnfast
from estimators import fitted
from nnfast.__main__ import WRITERS, main


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "model.safetensors")


def lines(capsys, *arguments):
    """What is printed, as {name: text}."""
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found = {}
    for line in out.splitlines():
        name, _, text = line.partition(":")
        found.setdefault(name, []).append(text.strip())
    return {name: texts[0] if len(texts) == 1 else texts for name, texts in found.items()}


def test_info_of_a_classifier(path, capsys):
    frame, y = load_wine(return_X_y=True, as_frame=True)
    labels = np.array(["red", "white", "ros\N{LATIN SMALL LETTER E WITH ACUTE}"])[y]
    model = nnfast.MLPClassifier((6, 4), ["tanh", ("elu", 0.5)], max_iter=3, early_stopping=True, random_state=0)
    nnfast.save(model.fit(frame, labels), path)
    assert lines(capsys, "info", path) == {
        "model": "MLPClassifier(activation=['tanh', ('elu', 0.5)], early_stopping=True, "
        "hidden_layer_sizes=(6, 4), max_iter=3, random_state=0)",
        "file": f"format 1, written by nnfast {nnfast.__version__}",
        "layers": "13-6-4-3",
        "activations": "tanh, elu (0.5), softmax",
        "loss": "log_loss",
        "weights": f"{13 * 6 + 6 * 4 + 4 * 3 + 6 + 4 + 3} of float64",
        "classes": "3: 'red', 'rosé', 'white'",
        "features": "13: 'alcohol', 'malic_acid', 'ash', 'alcalinity_of_ash', 'magnesium', 'total_phenols', "
        "'flavanoids', 'nonflavanoid_phenols', ...",
        "training": f"3 epochs or iterations in the last fit, loss {model.loss_:.6g}, "
        f"best score {model.best_validation_score_:.6g}",
    }


def test_info_of_others(path, capsys):
    X, y = load_digits(n_class=3, return_X_y=True)
    model = nnfast.MLPClassifier((), solver="lbfgs", max_iter=2).fit(X, np.column_stack([y, y > 1]))
    nnfast.save(model, path)
    found = lines(capsys, "info", path)
    assert found["classes"] == ["3: 0, 1, 2", "2: 0, 1"]
    assert found["training"] == f"2 epochs or iterations in the last fit, loss {model.loss_:.6g}"
    nnfast.save(nnfast.Perceptron().fit(X, y).sparsify(), path)
    found = lines(capsys, "info", path)
    assert (found["neurons"], found["classes"]) == ("3 with 64 inputs, step", "3: 0, 1, 2")
    assert found["weights"] == f"{3 * 64 + 3} of float64"  # those that are zero too
    nnfast.save(nnfast.MLP((2, 3, 1), loss="huber"), path)
    found = lines(capsys, "info", path)
    assert (found["model"], found["weights"]) == ("MLP(2-3-1, relu, identity output, huber, float32)", "13 of float32")
    assert found["training"] == "0 steps of adam"
    assert "classes" not in found


def test_a_label_does_not_reach_the_terminal_as_a_command(path, capsys):
    X, y = load_wine(return_X_y=True)
    nnfast.save(nnfast.Perceptron().fit(X, np.array(["\x1b[2J", "a", "b"])[y]), path)
    assert lines(capsys, "info", path)["classes"] == r"3: '\x1b[2J', 'a', 'b'"


@pytest.mark.parametrize("ending", [*WRITERS, ".SAFETENSORS"])
def test_convert(path, tmp_path, ending):
    nnfast.save(fitted("binary")[0], path)
    target = tmp_path / f"other{ending}"
    assert main(["convert", path, str(target)]) == 0
    assert target.stat().st_size > 1000
    if ending == ".safetensors":
        before, after = (nnfast.load(file) for file in (path, target))
        np.testing.assert_array_equal(before.coefs_[0], after.coefs_[0])


@pytest.mark.parametrize("name", ["model.pkl", "model", ".onnx", "model.safetensors.bak"])
def test_an_ending_that_says_nothing(path, tmp_path, capsys, name):
    nnfast.save(nnfast.MLP((2, 1)), path)
    target = tmp_path / name
    assert main(["convert", path, str(target)]) == 1
    assert capsys.readouterr() == (
        "",
        f"python -m nnfast: {target}: its ending should be one of {', '.join(WRITERS)}\n",
    )
    assert not target.exists()


def test_what_is_wrong_is_said_in_a_line(path, tmp_path, capsys):
    X, y = load_wine(return_X_y=True)
    pickled = str(tmp_path / "model.joblib")
    joblib.dump(sklearn.neural_network.MLPClassifier((3,), max_iter=2).fit(X, y), pickled)
    for arguments, text in (
        (["info", path], "No such file"),
        (["info", pickled], "is not a model file that can be read"),
        (["convert", pickled, path], "is not a model file that can be read"),
        (["convert", path, path], "No such file"),
    ):
        assert main(arguments) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("python -m nnfast: ") and text in err and err.count("\n") == 1


def test_as_a_program(path):
    def run(*arguments):
        return subprocess.run([sys.executable, "-m", "nnfast", *arguments], capture_output=True, text=True)

    nnfast.save(nnfast.MLP((2, 1), random_state=0), path)
    done = run("info", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("model:       MLP(2-1,")
    done = run("info", path + "x")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    done = run("versions")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"nnfast:             {nnfast.__version__}\n")
    done = run("guess")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: python -m nnfast")
