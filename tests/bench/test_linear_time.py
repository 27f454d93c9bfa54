"""What others write is read in time that grows in proportion to its length, since they choose the length."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import function
import supervisor
from supervisor.agents.sip import caller
from tests.bench.growth import LINEAR, growth

PIECES = (
    *("a", "0", " ", "\u00a0", "=", "-", ".", "/", "a.", "@", "a@", "a@a.", "+", "+1", "06 ", "1234 ", "1 ("),
    *('"', "\\", '\\"', "<", "sip:", "sip:a@", "tel:+", "sk-", "sk-a", "Bearer ", "projects/", "v1,", "NL91 ABNA "),
)


def modules() -> Iterator[ModuleType]:
    """Import all modules of function and supervisor that start nothing."""
    for package in (function, supervisor):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith(("__main__", ".main")):
                yield importlib.import_module(found.name)


PATTERNS = {
    f"{module.__name__}.{name}": pattern
    for module in modules()
    for name, pattern in vars(module).items()
    if isinstance(pattern, re.Pattern)
}


def growth_of(pattern: re.Pattern[Any], piece: str) -> float:
    """Return how the time of a pattern grows with a text that repeats a piece."""

    def work(text: str) -> None:
        read: Any = text.encode() if isinstance(pattern.pattern, bytes) else text
        pattern.search(read)
        pattern.fullmatch(read)
        pattern.sub(lambda _: "", read)

    return growth(work, lambda length: (piece * length)[:length] + "\x00")


def test_the_patterns_are_found() -> None:
    """Wherever they stand: those for personal data, for SIP addresses and for call ids are among them."""
    assert {"_PERSONAL", "_URI", "CALL_ID"} <= {name.rpartition(".")[2] for name in PATTERNS}


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns_are_linear(name: str) -> None:
    """Every regular expression of ours takes time in proportion to what it reads."""
    for piece in PIECES:
        assert growth_of(PATTERNS[name], piece) <= LINEAR, repr(piece)


def test_quadratic_time_is_seen() -> None:
    """A pattern that reads a run of spaces once for each of them is found."""
    assert growth_of(re.compile(r"\s+$"), " ") > LINEAR


def test_headers_are_linear() -> None:
    """A SIP header that begins with spaces without end is read in time that fits its length."""
    assert (
        growth(lambda header: caller([("From", header)]), lambda length: "\u00a0" * length + "sip:a@b.test") <= LINEAR
    )


CUT_SHORT = 4.0
LOG_LONG_LINES = f"""
import structlog
from supervisor.telemetry import logs
from tests.bench.growth import times_as_long
logs.set_up("INFO", project="shop")
log = structlog.get_logger()
long, longer = "+31201234567 an@shop.test " * 400, "+31201234567 an@shop.test " * 6400
ratio = times_as_long(lambda text: log.error("x", error=text), long, longer, at_most={CUT_SHORT})
log.info("measured", ratio=ratio)
"""


def test_long_log_lines_are_cut() -> None:
    """A string of 160 kB in a log line costs hardly more than one of 10 kB, since its middle is never read."""
    done = subprocess.run(
        [sys.executable, "-c", LOG_LONG_LINES], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(done.stdout.splitlines()[-1])["ratio"] <= CUT_SHORT
