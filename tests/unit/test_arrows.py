"""Who may import whom: the arrows between the rooms of the house."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("sideband", "function", "supervisor", "emulator", "examples", "tests")
NO_IO = {"asyncio", "aiohttp", "grpc", "httpx", "httpx2", "openai", "socket", "ssl", "time", "websockets"}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def ours(room: str) -> set[str]:
    """The modules of other rooms that a room imports."""
    return {
        name
        for path in (ROOT / room).rglob("*.py")
        for name in imports(path)
        if name.split(".")[0] in ROOMS and name.split(".")[0] != room
    }


@pytest.mark.parametrize(
    ("room", "may"),
    [("function", set()), ("supervisor", {"function.notice"}), ("emulator", set())],
)
def test_a_room_imports_only_what_it_may(room: str, may: set[str]) -> None:
    assert ours(room) <= may


@pytest.mark.parametrize("module", ["conversation", "floor", "toolcalls"])
def test_the_conversation_does_no_io_and_reads_no_clock(module: str) -> None:
    names = {name.split(".")[0] for name in imports(ROOT / f"supervisor/{module}.py")}
    assert not names & NO_IO


def test_claims_know_nothing_of_openai() -> None:
    allowed = {"supervisor.errors", "supervisor.telemetry.setup"}
    assert {
        name for name in imports(ROOT / "supervisor/claims.py") if name.startswith(("supervisor", "openai"))
    } <= allowed
