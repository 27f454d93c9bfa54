"""`sideband new`: a repository for an agent of one's own."""

from __future__ import annotations

import keyword
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from sideband.cli.common import fail

TEMPLATE = Path(__file__).resolve().parents[1] / "template"
_OWN_NAME = re.compile(r"\bshop\b")  # the template's; as a word of its own it means nothing else there
_SOURCE = re.compile(r'(source +=) "git::.*"')
_NAME = re.compile(r"[a-z]([a-z0-9_]*[a-z0-9])?")  # packages and the extras of wheels may not end in _


def new(
    folder: Annotated[Path, typer.Argument(metavar="NAME", help="The agent's name, or a path that ends in it.")],
    module_source: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Where main.tf finds Sideband's Terraform module.")
    ] = None,
) -> None:
    """Write a small repository for an agent of your own.

    An agent with two tools, its rehearsal as a test, a Makefile, a Dockerfile,
    Terraform, CI and a README.

    Example: sideband new shop
    """
    name = folder.resolve().name
    if problem := _problem(folder, name):
        fail(problem)
    files = _template(name)
    if module_source:
        files["main.tf"] = _SOURCE.sub(lambda found: f'{found[1]} "{module_source}"', files["main.tf"])
    try:
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
    except OSError as error:
        fail(error)
    typer.echo(f"{folder} has an agent and all that belongs to it; README.md says what.")
    typer.echo(f"Next: cd {folder} && make test")


def _template(name: str) -> dict[str, str]:
    """Read the template under another name: texts by path."""
    paths = {source: source.relative_to(TEMPLATE).as_posix() for source in TEMPLATE.rglob("*") if source.is_file()}
    return {
        _OWN_NAME.sub(name, path): _OWN_NAME.sub(name, source.read_text())
        for source, path in paths.items()
        if "cache" not in path  # Python and linters leave caches in a checkout
    }


def _problem(folder: Path, name: str) -> str | None:
    """Say why a repository can't be written here; None if it can."""
    if folder.exists():
        return f"{folder} exists already; nothing was written."
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        return f"{name!r} can't be imported: use small letters, digits and underscores, such as my_shop."
    if name in {"tests", *sys.stdlib_module_names} or find_spec(name):
        return f"{name!r} is the name of another package: choose one of your own."
    return None
