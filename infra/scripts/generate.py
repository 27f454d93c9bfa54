"""Writes what follows from the module's variables and outputs: `python infra/scripts/generate.py`, or `make docs`.

These are the root's own `variables.tf` and `outputs.tf`, and the tables of `infra/README.md`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hcl2

INFRA = Path(__file__).resolve().parents[1]
MODULE = INFRA / "modules/sideband"
README = INFRA / "README.md"

SET_BY_ROOT = {"source_code"}  # a clone's code is where the clone is


def files() -> dict[Path, str]:
    """Return each generated file's text."""
    return {
        INFRA / "variables.tf": root_variables(),
        INFRA / "outputs.tf": root_outputs(),
        README: readme(),
    }


def root_variables() -> str:
    """Return the module's variables for the root, which leaves their validation to the module."""
    head = "# Written by `make docs` from modules/sideband/variables.tf, which validates them."
    blocks = [_without_validation(text) for name, text in _blocks("variables.tf") if name not in SET_BY_ROOT]
    return "\n\n".join([head, *blocks]) + "\n"


def root_outputs() -> str:
    """Return the module's outputs for the root, which passes them on."""
    head = "# Written by `make docs` from modules/sideband/outputs.tf."
    blocks = [
        re.sub(r"(?m)^(  value\s+= ).*$", rf"\1module.sideband.{name}", text) for name, text in _blocks("outputs.tf")
    ]
    return "\n\n".join([head, *blocks]) + "\n"


def readme() -> str:
    """Return README.md with its tables made anew, each between its two comments."""
    text = README.read_text()
    for name, table in (("variables", _variables_table()), ("outputs", _outputs_table())):
        begin, end = f"<!-- {name}: written by `make docs` -->\n", f"\n<!-- end of {name} -->"
        before, rest = text.split(begin)
        _, after = rest.split(end)
        text = before + begin + table + end + after
    return text


def parsed(file: str, kind: str) -> dict[str, dict[str, Any]]:
    """Return a file's blocks of a kind, by name, in their order."""
    document = hcl2.loads((MODULE / file).read_text())
    return {_bare(name): body for block in document[kind] for name, body in block.items()}


def _blocks(file: str) -> Iterator[tuple[str, str]]:
    """Yield the names and texts of a file's top-level blocks."""
    for match in re.finditer(r'(?ms)^\w+ "(\w+)" \{\n.*?^\}', (MODULE / file).read_text()):
        yield match[1], match[0]


def _without_validation(block: str) -> str:
    return re.sub(r"(?ms)^  validation \{\n.*?^  \}\n", "", block)


def _variables_table() -> str:
    rows = [
        f"| `{name}` | `{_bare(block['type'])}` | {_default(block)} | {_sentence(block)} |"
        for name, block in parsed("variables.tf", "variable").items()
    ]
    return "\n".join(["| variable | type | default | what it is |", "|---|---|---|---|", *rows])


def _outputs_table() -> str:
    rows = [f"| `{name}` | {_sentence(block)} |" for name, block in parsed("outputs.tf", "output").items()]
    return "\n".join(["| output | what it is |", "|---|---|", *rows])


def _default(variable: dict[str, Any]) -> str:
    if "default" not in variable:
        return "required"
    default = variable["default"]
    return "`null`" if default is None else f"`{default}`"


def _sentence(block: dict[str, Any]) -> str:
    return _bare(block["description"]).replace("*", r"\*")


def _bare(text: str) -> str:
    """Return an expression as it is written, without its quotes and `${}`."""
    return re.sub(r"^\$\{(.*)\}$", r"\1", text.strip('"'))


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text)
