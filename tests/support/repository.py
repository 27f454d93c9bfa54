"""The files of this repository, for tests about the repository itself."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


@cache
def tracked(*patterns: str) -> list[Path]:
    """List the files that git knows, and that are there."""
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


def prose(document: Path) -> str:
    """Read a document without its blocks of code."""
    return _CODE.sub("", document.read_text())


def anchors(document: Path) -> set[str]:
    """Name the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.+?) *$", prose(document), re.MULTILINE)
    shown = (re.sub(r"\[(.+?)\]\(.*?\)", r"\1", heading) for heading in headings)
    names = [re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in shown]
    seen: Counter[str] = Counter()
    found = set()
    for name in names:
        found.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return found
