"""The examples in the documentation run: docstrings and docs/guide.md as doctests, README.md's code as it stands."""

import doctest
import importlib
import pkgutil
import re
import warnings
from pathlib import Path

import pytest

import nnfast

matplotlib = pytest.importorskip("matplotlib")
plt = pytest.importorskip("matplotlib.pyplot")

ROOT = Path(__file__).parents[1]
MODULES = ["nnfast", *(f"nnfast.{module.name}" for module in pkgutil.iter_modules(nnfast.__path__))]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    result = doctest.testmod(importlib.import_module(name), optionflags=options)
    assert result.failed == 0


def test_public_things_have_an_example():
    finder = doctest.DocTestFinder(recurse=False)
    no_examples = ("__version__", "ops", "ModelFileError")
    things = {name: getattr(nnfast, name) for name in nnfast.__all__ if name not in no_examples}
    functions = {name: f for name, f in vars(nnfast.ops).items() if callable(f) and name in nnfast.ops.__all__}
    assert len(functions) > 5
    for name, thing in {**things, **functions}.items():
        assert any(test.examples for test in finder.find(thing, name)), f"{name} has no example"


def test_guide(tmp_path, monkeypatch):
    """Its examples, one after the other; the fences of Markdown are no part of what they print."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(warnings, "filters", list(warnings.filters))
    matplotlib.use("Agg")
    text = re.sub(r"^```.*$", "", (ROOT / "docs" / "guide.md").read_text(), flags=re.MULTILINE)
    guide = doctest.DocTestParser().get_doctest(text, {}, "guide.md", "guide.md", 0)
    assert len(guide.examples) > 80
    assert doctest.DocTestRunner().run(guide).failed == 0
    plt.close("all")


def test_readme():
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
