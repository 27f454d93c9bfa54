"""Every regular expression of ours takes time in proportion to what it reads, since others write what it reads."""

import importlib
import pkgutil
import re
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import function
import supervisor

PIECES = (
    *("a", "0", " ", "\u00a0", "=", "-", ".", "/", "a.", "@", "a@", "a@a.", "+", "+1", "06 ", "1234 ", "1 ("),
    *('"', "\\", '\\"', "<", "sip:", "sip:a@", "tel:+", "sk-", "sk-a", "Bearer ", "projects/", "v1,", "NL91 ABNA "),
)
LENGTHS = (500, 2_000, 8_000, 32_000)
MOST_SECONDS = 1.0  # at 32,000 characters in proportion takes milliseconds, and quadratic seconds


def modules() -> Iterator[ModuleType]:
    for package in (function, supervisor):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith(("__main__", ".main")):  # these start something
                yield importlib.import_module(found.name)


PATTERNS = {
    f"{module.__name__}.{name}": pattern
    for module in modules()
    for name, pattern in vars(module).items()
    if isinstance(pattern, re.Pattern)
}


def test_the_patterns_are_found() -> None:
    assert {
        "supervisor.telemetry.redaction._PERSONAL",
        "supervisor.agents.sip._URI",
        "function.notice.CALL_ID",
    } <= set(PATTERNS)


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_is_linear_in_what_it_reads(name: str) -> None:
    pattern: re.Pattern[Any] = PATTERNS[name]
    for piece in PIECES:
        for length in LENGTHS:
            text: Any = (piece * length)[:length] + "\x00"
            if isinstance(pattern.pattern, bytes):
                text = text.encode()
            began = time.process_time()
            pattern.search(text)
            pattern.fullmatch(text)
            pattern.sub(lambda _: "", text)
            assert time.process_time() - began < MOST_SECONDS, f"{piece!r}, {length} characters"
