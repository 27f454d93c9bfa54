"""The house stays in order: sizes, names, and citations that lead somewhere."""

from __future__ import annotations

import io
import re
import subprocess
import tokenize
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOST_LINES = 400

# What things were called before, by the names that now say what they are.
OLD_FILES = {
    "beside": "tasks",
    "bulkhead": "concurrency",
    "deciding": "policy, seats",
    "floor": "responses",
    "holder": "owner",
    "house": "services",
    "insist": "retry",
    "intake": "request_limits",
    "line": "call_control",
    "lint": "session",
    "local": "system",
    "outcome": "outcomes",
    "rotating": "rotating_secrets",
    "rules": "policies",
    "running": "attached",
    "taking": "signalling",
    "toolcalls": "tool_calls",
    "toolrunner": "tool_runner",
    "topic_watch": "notice_watch",
    "transfers": "transfer_targets",
    "usercode": "user_code",
}
OLD_NAMES = {
    *("Approve", "Beside", "Bulkhead", "CallOver", "Expired", "Floor", "HandOver", "Heard", "HeldLine", "Holder"),
    *("House", "Line", "Pressed", "Recorder", "Recording", "RuledLine", "Running", "Said", "Saying", "Told", "_Wish"),
    *("_untouched", "beside", "holder", "holders", "house", "insist", "left_at", "recorder", "uncertain", "usercode"),
}


@cache
def tracked(*patterns: str) -> list[Path]:
    """The files of the repository that git knows, and that are there."""
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split() if (ROOT / name).exists()]


def names_in(path: Path) -> set[str]:
    """The identifiers of a Python file."""
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    return {token.string for token in tokens if token.type == tokenize.NAME}


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.+?) *$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_files_are_short() -> None:
    """No file of code has more than 400 lines."""
    lengths = {path: len(path.read_text().splitlines()) for path in tracked("*.py", "*.tf", "*.hcl")}
    assert {path.relative_to(ROOT): lines for path, lines in lengths.items() if lines > MOST_LINES} == {}


def test_no_old_file_names() -> None:
    """No file has the name of before the rooms."""
    mirrored = tracked("tests/unit/*.py")
    old = [path for path in tracked("*.py") if path.stem in OLD_FILES]
    old += [path for path in mirrored if path.stem.removeprefix("test_") in OLD_FILES]
    assert [path for path in old if path != Path(__file__)] == []


def test_no_old_names() -> None:
    """No identifier has the name of before the rooms."""
    found = {path.relative_to(ROOT): names_in(path) & OLD_NAMES for path in tracked("*.py")}
    assert {path: names for path, names in found.items() if names} == {}


CITATION = re.compile(r"(?<![\w./-])(?:docs/)?((?:[\w-]+/)*[\w-]+\.md)(?:#([\w-]+))?")
SHELVES = ("docs", "docs/reference", "docs/decisions", ".")  # where a document that is cited by its name stands
NOT_CITED = {"README.md", "CHANGELOG.md"}  # names of files, rather than documents to read


@pytest.mark.parametrize("folder", ["sideband", "function", "supervisor", "emulator", "examples", "infra", "tests"])
def test_citations_resolve(folder: str) -> None:
    """What code cites is a document here, and a heading in it."""
    missing = []
    for path in tracked(f"{folder}/*.py", f"{folder}/*.tf", f"{folder}/*.yaml"):
        for name, anchor in CITATION.findall(path.read_text()):
            shelves = (path.parent, *(ROOT / shelf for shelf in SHELVES))
            found = [shelf / name for shelf in shelves if (shelf / name).exists()]
            if name not in NOT_CITED and not (found and (not anchor or anchor in anchors(found[0]))):
                missing.append(f"{path.relative_to(ROOT)}: {name}#{anchor}")
    assert missing == []


def test_options_cite_the_reference() -> None:
    """Each heading that an option of the stand-in names is in the reference."""
    options = (ROOT / "emulator/openai/options.py").read_text()
    cited = set(re.findall(r"\(#([\w-]+)", options))
    assert len(cited) > 10
    assert cited <= anchors(ROOT / "docs/reference/openai-realtime.md")


def test_nothing_outside_is_cited() -> None:
    """No document is cited that is not in the repository, such as a bare "reference 3.4"."""
    bare = re.compile(r"\b[Rr]eference,? \d|\b[Rr]eference,? section|\b[Dd]esign, I\d|OpenAI reference")
    cited = {path.relative_to(ROOT): bare.findall(path.read_text()) for path in tracked("*.py", "*.tf", "docs/*.md")}
    assert {path: found for path, found in cited.items() if found and path.name != "test_house.py"} == {}
