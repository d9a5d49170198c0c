"""scikit-learn's own tests of its perceptrons, as they are installed, run on nnfast's.

Only the line that imports the estimators is another. Each file becomes a class here, so that every test is reported by
its name, and one that is left out is reported as skipped, with the reason.
"""

from __future__ import annotations

import ast
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

import nnfast

SKLEARN = Path(find_spec("sklearn").submodule_search_locations[0])


class Suite:
    """A test file of scikit-learn's with its estimators imported from nnfast.

    `left_out` has the tests that cannot run, and why. Only those may be there that call private functions.
    """

    def __init__(self, path: str, package: str, estimators: tuple[str, ...], left_out: dict[str, str]) -> None:
        self.path = SKLEARN / path
        self.package = package
        self.estimators = estimators
        self.left_out = left_out
        self.source = self.path.read_text(encoding="utf-8")
        # Read from the text, so that a test which the module or pytest lost is missed.
        self.tests = {
            node.name: node
            for node in ast.parse(self.source).body
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        }

    def module(self) -> ModuleType:
        """The module that the file makes; its lines have their numbers, so that a traceback shows them."""
        theirs = f"from {self.package} import {', '.join(self.estimators)}\n"
        assert self.source.count(theirs) == 1, f"{self.path} imports its estimators in another way"
        module = ModuleType(self.path.stem)
        source = self.source.replace(theirs, theirs.replace(self.package, "nnfast"))
        exec(compile(source, self.path, "exec"), vars(module))
        return module

    def test_class(self, name: str) -> type:
        """The tests as a class for pytest to collect."""
        tests = {name: test for name, test in vars(self.module()).items() if name.startswith("test_")}
        for left_out, reason in self.left_out.items():
            tests[left_out] = pytest.mark.skip(reason=f"{left_out} is left out: {reason}")(tests[left_out])
        return type(name, (), {name: staticmethod(test) for name, test in tests.items()})


SUITES = {
    "TestMLP": Suite(
        "neural_network/tests/test_mlp.py",
        "sklearn.neural_network",
        ("MLPClassifier", "MLPRegressor"),
        {"test_gradient": "it calls the private _loss_grad_lbfgs; test_network.py compares gradients with differences"},
    ),
    "TestPerceptron": Suite("linear_model/tests/test_perceptron.py", "sklearn.linear_model", ("Perceptron",), {}),
}

globals().update({name: suite.test_class(name) for name, suite in SUITES.items()})


@pytest.fixture
def global_random_seed():
    """A fixture of scikit-learn's; 42 is the seed of its ordinary runs."""
    return 42


@pytest.mark.parametrize("name", SUITES)
def test_every_test_is_collected(name, request):
    (collected,) = (node for node in request.node.parent.collect() if node.name == name)
    assert {item.originalname for item in collected.collect()} == set(SUITES[name].tests)
    assert set(SUITES[name].tests) > set(SUITES[name].left_out)


@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)
def test_the_estimators_are_swapped(suite):
    module = suite.module()
    for name in suite.estimators:
        assert getattr(module, name) is getattr(nnfast, name)
        theirs = getattr(import_module(suite.package), name)
        assert not any(thing is theirs for thing in vars(module).values())


@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)
def test_only_tests_that_call_private_functions_are_left_out(suite):
    for name in suite.left_out:
        called = [node.func for node in ast.walk(suite.tests[name]) if isinstance(node, ast.Call)]
        assert any(isinstance(function, ast.Attribute) and function.attr.startswith("_") for function in called)
