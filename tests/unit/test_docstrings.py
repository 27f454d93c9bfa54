"""What is public says what it does, in few words; and its examples run."""

from __future__ import annotations

import ast
import doctest
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.repository import ROOT, tracked

PACKAGES = ("sideband", "supervisor", "function", "emulator")
MODULES = [path for path in tracked(*(f"{package}/*.py" for package in PACKAGES)) if "template" not in path.parts]
MOST_WORDS = 14
EXAMPLES = [path for path in MODULES if ">>> " in path.read_text()]

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def short(path: Path) -> str:
    """Name a module in a test's id."""
    return str(path.relative_to(ROOT))


def public(node: Documented, name: str = "") -> Iterator[tuple[str, str | None]]:
    """Give the public names of a module with their docstrings; the first is the module's own."""
    yield name, ast.get_docstring(node)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return
    for inner in node.body:
        if isinstance(inner, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not is_private(inner):
            yield from public(inner, f"{name}.{inner.name}")


def is_private(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Tell whether a definition has no docstring of its own: a private one, an overload, a setter, a magic method."""
    decorators = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
    return node.name.startswith("_") or bool(decorators & {"overload", "setter"})


@pytest.mark.parametrize("path", MODULES, ids=short)
def test_public_names_are_documented(path: Path) -> None:
    """Every module, public class, function, method and property has a docstring with a first line of few words."""
    documented = dict(public(ast.parse(path.read_text())))
    assert [name for name, text in documented.items() if not text] == []
    first_lines = {name: text.splitlines()[0] for name, text in documented.items() if text}
    assert {name: line for name, line in first_lines.items() if len(line.split()) > MOST_WORDS} == {}


def test_public_names_are_found() -> None:
    """The test of the test above: classes, their methods and their properties, and nothing that is private."""
    source = '''
"""M."""
def f(): "F"
def _f(): "private"
class C:
    @property
    def p(self): "P"
    @p.setter
    def p(self, value): ...
    async def m(self):
        def inner(): ...
    def __repr__(self): ...
'''
    expected = {"": "M.", ".f": "F", ".C": None, ".C.p": "P", ".C.m": None}
    assert dict(public(ast.parse(source))) == expected


@pytest.mark.parametrize("path", EXAMPLES, ids=short)
def test_examples_run(path: Path) -> None:
    """The examples in a module's docstrings run, and give what they say."""
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    results = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert results.attempted > 0
    assert results.failed == 0
