"""The documents tell the truth: what they name is there, and what they show runs."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from emulator.openai.options import Options
from tests.support.repository import ROOT, anchors, prose, tracked

INFRA = (ROOT / "infra/README.md", ROOT / "infra/modules/sideband/README.md")
DOCUMENTS = (ROOT / "README.md", *tracked("docs/*.md"))
MOST_LINES = 400

FOLDERS = {f"{folder}/" for path in tracked() for folder in path.relative_to(ROOT).parents} - {"./"}
PATHS = FOLDERS | {str(path.relative_to(ROOT)) for path in tracked()}
TOP = {folder for folder in FOLDERS if folder.count("/") == 1}
PLACEHOLDER = "NNNN-"  # of the number in a file's name
ENDINGS = (".py", ".tf", ".md", ".yaml", ".toml")


def short(path: Path) -> str:
    """Name a document in a test's id."""
    return str(path.relative_to(ROOT))


def is_here(path: str) -> bool:
    """Tell whether a path that is written in a document is one of the repository's.

    One that does not begin with a folder of the repository's root is short for a longer one, as `owner.py` is.
    """
    wanted = path if path.endswith(("/", *ENDINGS)) else f"{path}/"
    if any(path.startswith(folder) for folder in TOP):
        return wanted in PATHS
    return any(f"/{known}".endswith(f"/{wanted}") for known in PATHS)


def paths_in(document: Path) -> list[str]:
    """Find what a document names as files and folders, in backticks."""
    quoted = re.findall(r"`([\w.-][\w./-]*)(?:#[\w-]+)?`", prose(document))
    return [
        name
        for name in quoted
        if name.endswith(("/", *ENDINGS)) or name.startswith(tuple(TOP))
        if not name.startswith(PLACEHOLDER)
    ]


@pytest.mark.parametrize("document", DOCUMENTS, ids=short)
def test_documents_are_short(document: Path) -> None:
    """No document has more than 400 lines."""
    assert len(document.read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize("document", [*DOCUMENTS, *INFRA], ids=short)
def test_links_lead_somewhere(document: Path) -> None:
    """A link between documents leads to a file that is there, and to a heading in it."""
    wrong = []
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", prose(document)):
        linked = document.parent / target if target else document
        if not linked.exists() or (anchor and anchor not in anchors(linked)):
            wrong.append(f"{target}#{anchor}")
    assert wrong == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=short)
def test_named_paths_are_there(document: Path) -> None:
    """A file or folder that a document names in backticks is in the repository."""
    assert [path for path in paths_in(document) if not is_here(path)] == []


def test_paths_are_found() -> None:
    """The test of the test above: it reads paths in full, in short and with an anchor, and sees wrong ones."""
    assert set(paths_in(ROOT / "docs/architecture.md")) >= {
        "supervisor/claims/leases.py",
        "calls/owner.py",
        "notice.py",
    }
    assert "docs/reference/openai-realtime.md" in paths_in(ROOT / "docs/reference/openai-realtime.md")
    assert [is_here(path) for path in ("calls/owner.py", "supervisor/calls", "supervisor/owner.py")] == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("document", DOCUMENTS, ids=short)
def test_named_options_exist(document: Path) -> None:
    """An option of the stand-in that a document names is a field of `Options`."""
    lists = re.findall(r"\boptions? ((?:`\w+`(?:, | and )?)+)", prose(document))
    assert {name for names in lists for name in re.findall(r"\w+", names.replace(" and ", " "))} <= set(
        Options.model_fields
    )


def test_options_are_found() -> None:
    """The test of the test above: the reference names many of the stand-in's options."""
    assert len(re.findall(r"\boptions? `\w+`", prose(ROOT / "docs/reference/openai-realtime.md"))) > 10


def test_named_tests_are_there() -> None:
    """Each test that a document names is there; a name may be cut short with three dots."""
    tests = "\n".join(path.read_text() for path in tracked("tests/*.py"))
    modules = {path.stem for path in tracked("tests/*.py")}
    named = {name for document in DOCUMENTS for name in re.findall(r"`(test_\w+(?:\.\.\.)?)`", prose(document))}
    assert len(named) > 50
    assert {
        name
        for name in named - modules
        if f"def {name.removesuffix('...')}" + ("" if name.endswith("...") else "(") not in tests
    } == set()


def test_the_settings_page_is_current() -> None:
    """The page of settings says what the classes do; `make docs` writes it anew."""
    page = runpy.run_path(str(ROOT / "docs/settings.py"))["page"]
    assert (ROOT / "docs/settings.md").read_text() == page()


def test_the_agent_of_the_readme_runs(tmp_path: Path) -> None:
    """The agent in the README can be loaded as it stands there."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/__init__.py").write_text(code)
    subprocess.run(
        [
            sys.executable,
            "-c",
            "from supervisor.agents.router import load; assert len(load('shop:agent').agents['agent'].tools) == 2",
        ],
        cwd=tmp_path,  # a shop of the reader's own may be in ROOT
        env={"PYTHONPATH": str(ROOT)},
        check=True,
    )


async def test_the_tutorial_runs() -> None:
    """The code of the tutorial runs from top to bottom."""
    code = re.findall(r"```python\n(.*?)```", (ROOT / "docs/agents.md").read_text(), re.DOTALL)
    module = ModuleType("tutorial")
    sys.modules["tutorial"] = module  # where annotations are looked up
    for block in code:
        exec(compile(block, "docs/agents.md", "exec"), module.__dict__, module.__dict__)  # noqa: S102 - our own page
    names: dict[str, Any] = vars(module)
    await names["test_an_order_is_looked_up"]()
