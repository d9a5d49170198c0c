"""The command line: ``python -m nnfast info FILE`` and ``python -m nnfast convert IN OUT``, for model files, and
``python -m nnfast versions``.

A file of pickle or joblib is not read: that would run what is in it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

import nnfast
from nnfast._files import ModelFile

# What `convert` writes, by the ending of the file: the function of nnfast that does.
WRITERS = {".safetensors": "save", ".onnx": "to_onnx", ".c": "to_c"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say, those of the process if there are none here; gives the exit status.

    Examples
    --------
    >>> from nnfast.__main__ import main
    >>> main(["info", "nothing.safetensors"])
    1
    """
    parser = argparse.ArgumentParser("python -m nnfast", description="Model files of nnfast, and what it runs on.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    info = commands.add_parser("info", help="say what a model file holds")
    info.add_argument("file", help="a file that nnfast.save wrote")
    convert = commands.add_parser("convert", help="write a model in another format")
    convert.add_argument("source", metavar="in", help="a file that nnfast.save wrote")
    convert.add_argument("target", metavar="out", help=f"where to write; its ending is {', '.join(WRITERS)}")
    commands.add_parser("versions", help="say what nnfast runs on here")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "versions":
            nnfast.show_versions()
        elif chosen.command == "info":
            for name, value in _facts(ModelFile(chosen.file)):
                print(f"{name + ':':13}{_printable(value)}")
        else:
            _convert(chosen.source, chosen.target)
    except (ArithmeticError, ImportError, MemoryError, OSError, TypeError, ValueError) as error:
        print(f"{parser.prog}: {_printable(str(error))}", file=sys.stderr)
        return 1
    return 0


def _convert(source: str, target: str) -> None:
    ending = Path(target).suffix.lower()
    if ending not in WRITERS:
        raise ValueError(f"{target}: its ending should be one of {', '.join(WRITERS)}")
    getattr(nnfast, WRITERS[ending])(nnfast.load(source), target)


def _facts(file: ModelFile) -> Iterator[tuple[str, str]]:
    """What there is to say of a model file, as (name, text)."""
    model = file.model()
    yield "model", " ".join(repr(model).split())
    yield "file", f"format {file.metadata['format_version']}, written by nnfast {file.metadata.get('nnfast_version')}"
    if isinstance(model, nnfast.Perceptron):
        n_neurons, n_features = model.coef_.shape
        yield "neurons", f"{n_neurons} with {n_features} inputs, {model.activation}"
        weights, classes = [model.coef_, model.intercept_], model.classes_
    else:
        network = model if isinstance(model, nnfast.MLP) else model._as_network()
        yield "layers", "-".join(map(str, network.layer_sizes))
        yield "activations", ", ".join(map(_in_words, network._activations()))
        yield "loss", network.loss_name
        weights, classes = [*network.coefs_, *network.intercepts_], getattr(network, "classes_", None)
    yield "weights", f"{sum(prod(w.shape) for w in weights):,} of {np.result_type(*(w.dtype for w in weights))}"
    if classes is not None:
        for labels in classes if isinstance(classes, list) else [classes]:
            yield "classes", _some(labels)
    if hasattr(model, "feature_names_in_"):
        yield "features", _some(model.feature_names_in_)
    if isinstance(model, nnfast.MLP):
        yield "training", f"{model.n_steps_:,} steps of {model.solver}"
    else:
        yield "training", f"{model.n_iter_:,} epochs or iterations in the last fit{_result(model)}"


def _printable(text: str) -> str:
    """The text, in one line and without what a terminal would take for a command."""
    return text if text.isprintable() else ascii(text)


def _in_words(activation: Any) -> str:
    return activation if isinstance(activation, str) else f"{activation[0]} ({activation[1]:g})"


def _some(labels: Any) -> str:
    """The first labels, and how many there are."""
    shown = ", ".join(map(repr, labels[:8].tolist()))
    return f"{len(labels)}: {shown}{', ...' if len(labels) > 8 else ''}"


def _result(model: Any) -> str:
    loss, score = getattr(model, "loss_", None), getattr(model, "best_validation_score_", None)
    return "".join(
        f", {what} {value:.6g}" for what, value in (("loss", loss), ("best score", score)) if value is not None
    )


if __name__ == "__main__":
    sys.exit(main())
