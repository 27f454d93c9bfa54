"""What is declared of the log's events is what the code logs, and the page about them says the same."""

import ast
import runpy
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from supervisor.telemetry.events import CONTEXT_FIELDS, EVENTS, Level, LogEvent, names_counted_by

ROOT = Path(__file__).resolve().parents[4]
LEVELS: dict[str, Level] = {"info": "INFO", "warning": "WARNING", "error": "ERROR", "exception": "ERROR"}
UNPACKED = {"_named(claim)": {"message_id", "call_id"}}
"""The fields that a line gets by `**`, which nobody can see in the code."""


class Logged(NamedTuple):
    """A place in the code that logs."""

    place: str
    level: Level
    name: str
    fields: frozenset[str]


def logged_in(source: str, file: str = "file.py") -> Iterator[Logged]:
    """Find each `log.<level>("event", ...)`, also where the function is passed on, as in `run(log.error, "event")`.

    `contained(failed="event", timed_out="event")` logs for whoever calls it, so that its events are found at its calls.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "contained":
            yield from _events_of_contained(node, f"{file}:{node.lineno}")
        elif isinstance(node, ast.Call):
            called = [node.func, *node.args]
            for function, name in zip(called, [*called[1:], None], strict=True):
                if (method := _method_of_log(function)) and not _is_parameter(name):
                    assert isinstance(name, ast.Constant), f"{file}:{node.lineno}: an event is a literal"
                    yield Logged(f"{file}:{node.lineno}", LEVELS[method], str(name.value), _fields(node, method))


def _events_of_contained(node: ast.Call, place: str) -> Iterator[Logged]:
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    level = ast.literal_eval(given.get("level", ast.Constant("warning")))
    fields = given.keys() - {"within_seconds", "failed", "timed_out", "level", "threads"}
    shared = frozenset(map(str, fields)) | {"error"}
    yield Logged(place, "ERROR", ast.literal_eval(given["failed"]), shared | {"stack_trace"})
    yield Logged(place, LEVELS[level], ast.literal_eval(given["timed_out"]), shared | {"timeout_seconds"})


def _is_parameter(name: ast.expr | None) -> bool:
    """Tell whether `contained` names the event by one of its own parameters."""
    return isinstance(name, ast.Name) and name.id in {"failed", "timed_out"}


def _method_of_log(node: ast.expr) -> str | None:
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "log":
        return node.attr
    return None


def _fields(node: ast.Call, method: str) -> frozenset[str]:
    fields = {"stack_trace"} if method == "exception" else set()
    for keyword in node.keywords:
        if keyword.arg is None:
            fields |= UNPACKED[ast.unparse(keyword.value)]
        else:
            fields.add(keyword.arg.replace("exc_info", "stack_trace"))
    return frozenset(fields - CONTEXT_FIELDS)


SOURCES = {str(path.relative_to(ROOT)): path.read_text() for path in (ROOT / "supervisor").rglob("*.py")}
LOGGED = [logged for file, source in SOURCES.items() for logged in logged_in(source, file)]
DECLARED = {(event.level, event.name): event for group in EVENTS.values() for event in group}


def test_every_way_to_log_is_found() -> None:
    """The test of the tests below: each use of `log` and each field, however it is written."""
    source = """
log.info("a", one=1)
log.exception("b", **_named(claim), two=2)
owner.context.run(log.error, "c", exc_info=error, call_id=1)
"""
    found = [(logged.level, logged.name, set(logged.fields)) for logged in logged_in(source)]
    assert found == [("INFO", "a", {"one"}), ("ERROR", "b", {"two", "stack_trace"}), ("ERROR", "c", {"stack_trace"})]
    uses = [
        node
        for text in SOURCES.values()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.expr)
        if _method_of_log(node)
    ]
    contained = list(logged_in('contained(f, failed="a", timed_out="b", handler=h)'))
    assert [(logged.level, logged.name) for logged in contained] == [("ERROR", "a"), ("WARNING", "b")]
    assert all("handler" in logged.fields for logged in contained)
    calls = [
        node
        for text in SOURCES.values()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        if ast.unparse(node.func) == "contained"
    ]
    assert calls
    assert len(LOGGED) == len(uses) - 1 + 2 * len(calls), "each use is found, but for the one in contained itself"
    loggers = [line for text in SOURCES.values() for line in text.splitlines() if "get_logger()" in line]
    assert set(loggers) == {"log = structlog.get_logger()"}


def test_an_event_is_declared_once() -> None:
    """At each level: the same event may be a warning in one case and an error in another."""
    counted = Counter((event.level, event.name) for group in EVENTS.values() for event in group)
    assert [event for event, times in counted.items() if times > 1] == []


@pytest.mark.parametrize("logged", LOGGED, ids=lambda logged: f"{logged.place} {logged.name}")
def test_what_is_logged_is_declared(logged: Logged) -> None:
    """With this level and these fields, in supervisor/telemetry/events.py."""
    declared = DECLARED.get((logged.level, logged.name))
    assert declared, f"declare {logged.name} as {logged.level}"
    assert logged.fields <= set(declared.fields.split()), f"declare these fields of {logged.name}"


@pytest.mark.parametrize("event", DECLARED.values(), ids=lambda event: f"{event.level} {event.name}")
def test_what_is_declared_is_logged(event: LogEvent) -> None:
    """With every field, somewhere; the metrics add the age of the call."""
    fields: dict[tuple[Level, str], set[str]] = defaultdict(set)
    for logged in LOGGED:
        fields[logged.level, logged.name] |= logged.fields
    assert (event.level, event.name) in fields, "nobody logs it any more"
    added = {"age_seconds"} if event.name in names_counted_by("sideband_stage_seconds") else set()
    assert set(event.fields.split()) == fields[event.level, event.name] | added


def test_the_page_is_current() -> None:
    """`make docs` writes it anew."""
    page = runpy.run_path(str(ROOT / "docs/log_events.py"))["page"]
    assert (ROOT / "docs/log-events.md").read_text() == page()
