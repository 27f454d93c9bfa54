"""What is written from the module's variables and outputs is current, and complete."""

from pathlib import Path

import hcl2
import pytest

from infra.scripts import generate
from tests.infra import terraform


@pytest.mark.parametrize("path", generate.files(), ids=lambda path: path.name)
def test_it_is_current(path: Path) -> None:
    """`make docs` writes it anew."""
    assert path.read_text() == generate.files()[path]


def test_the_root_passes_all_on() -> None:
    """Each variable of the module is one of the root's, and given to the module."""
    (call,) = hcl2.loads((terraform.INFRA / "main.tf").read_text())["module"]
    set_here = {"source", "__is_block__", *generate.SET_BY_ROOT}
    passed_on = {
        name: terraform.references(value) for name, value in call['"sideband"'].items() if name not in set_here
    }
    names = set(generate.parsed("variables.tf", "variable")) - generate.SET_BY_ROOT
    assert passed_on == {name: f"var.{name}" for name in names}


@pytest.mark.parametrize(("file", "kind"), [("variables.tf", "variable"), ("outputs.tf", "output")])
def test_each_is_described_in_order(file: str, kind: str) -> None:
    """Each has a sentence, so that a reader of a plan knows what it asks for."""
    blocks = generate.parsed(file, kind)
    assert list(blocks) == sorted(blocks)
    assert all(block["description"].strip('"').endswith(".") for block in blocks.values())
