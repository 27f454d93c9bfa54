"""Who may import whom: the arrows between packages, without exceptions; docs/architecture.md draws them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRODUCTS = ("sideband", "supervisor", "function", "emulator")
NOTICE = "function.notice"
LEAVES = {"supervisor.errors", "supervisor.outcomes"}  # the words of the supervisor: everything may use them
NO_IO = {"asyncio", "aiohttp", "grpc", "httpx", "httpx2", "openai", "socket", "ssl", "time", "websockets"}

# A package, or a module that stands beside the packages, and what of ours it may import.
ARROWS: dict[str, set[str]] = {
    "supervisor.__main__": {"supervisor.process"},
    "supervisor.process": {
        "supervisor.agents",
        "supervisor.settings",
        "supervisor.supervisor",
        "supervisor.telemetry",
    },
    "supervisor.supervisor": {
        "supervisor.agents",
        "supervisor.calls",
        "supervisor.claims",
        "supervisor.openai",
        "supervisor.records",
        "supervisor.settings",
        "supervisor.telemetry",
    },
    "supervisor.calls": {
        "supervisor.admission",
        "supervisor.agents",
        "supervisor.claims",
        "supervisor.conversation",
        "supervisor.openai",
        "supervisor.records",
        "supervisor.telemetry",
        "supervisor.transfer_targets",
        NOTICE,
    },
    "supervisor.admission": {"supervisor.agents"},
    "supervisor.agents": {"supervisor.conversation", "supervisor.records", NOTICE},
    "supervisor.conversation": set(),
    "supervisor.openai": {"supervisor.telemetry", NOTICE},
    "supervisor.records": set(),
    "supervisor.claims": set(),
    "supervisor.telemetry": {"supervisor.settings", NOTICE},
    "supervisor.settings": {"supervisor.transfer_targets"},
    "supervisor.transfer_targets": set(),
    "supervisor.errors": set(),
    "supervisor.outcomes": set(),
    "function": set(),
    "emulator": set(),
    "sideband": {"emulator", "function", "supervisor"},
    "examples": {"sideband"},
}


@cache
def modules() -> dict[str, Path]:
    """Every module of the products and the examples, by its name."""
    found = {}
    for room in (*PRODUCTS, "examples"):
        for path in sorted((ROOT / room).rglob("*.py")):
            if "template" not in path.parts:
                found[".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")] = path
    return found


def imports(path: Path) -> Iterator[str]:
    """What a file imports, at its top, in functions and for type checkers alike."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in modules() else node.module for name in names)


def ours(module: str) -> set[str]:
    """The modules of ours that one imports."""
    return {name for name in imports(modules()[module]) if name in modules()} - {module}


def unit(module: str) -> str:
    """The longest entry of the table that a module belongs to."""
    fitting = [name for name in ARROWS if f"{module}.".startswith(f"{name}.")]
    return max(fitting, key=len) if fitting else module


@pytest.mark.parametrize("package", ARROWS)
def test_arrows(package: str) -> None:
    """A package imports only what its arrows allow."""
    inside = [module for module in modules() if unit(module) == package]
    outward = {name for module in inside for name in ours(module) if unit(name) != package}
    allowed = ARROWS[package] | (LEAVES if package.startswith("supervisor.") else set())
    assert {name for name in outward if not any(f"{name}.".startswith(f"{one}.") for one in allowed)} == set()


def test_every_module_has_an_arrow() -> None:
    """A new package or a new file beside the packages is entered into the table."""
    assert {module for module in modules() if unit(module) not in ARROWS} <= {"supervisor"}


def test_no_circles() -> None:
    """No module imports itself by way of others, between packages or inside one."""
    TopologicalSorter({module: ours(module) for module in modules()}).prepare()


def test_packages_have_no_circles() -> None:
    """No package imports itself by way of others."""
    graph: dict[str, set[str]] = {}
    for module in modules():
        graph.setdefault(unit(module), set()).update(unit(name) for name in ours(module) if unit(name) != unit(module))
    TopologicalSorter(graph).prepare()


def test_the_conversation_does_no_io() -> None:
    """The conversation core does no I/O and reads no clock."""
    inside = [path for module, path in modules().items() if module.startswith("supervisor.conversation")]
    assert len(inside) > 3
    assert {name.split(".")[0] for path in inside for name in imports(path)} & NO_IO == set()


def test_nobody_imports_the_front_door() -> None:
    """`sideband` is imported by users, examples and its own command line alone."""
    assert [
        module
        for module in modules()
        if not module.startswith(("sideband", "examples")) and any(name.startswith("sideband") for name in ours(module))
    ] == []
