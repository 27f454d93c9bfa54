"""What the commands share.

That is an agent's name, a choice of Pub/Sub, and how they fail.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Annotated, Literal, NoReturn

import typer

AgentPath = Annotated[str, typer.Argument(metavar="AGENT", help="The agent or router, as module:attribute.")]
Pubsub = Annotated[Literal["embedded", "google"], typer.Option(help="The embedded Pub/Sub, or Google's emulator.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]

FAILED = 1
NOT_STARTED = 2


def fail(why: object, status: int = NOT_STARTED) -> NoReturn:
    """Say in one line on stderr what is wrong, and exit."""
    typer.secho(why, err=True, fg="red")
    raise typer.Exit(status)


def check_path(agent: str) -> None:
    """Refuse an agent's path that no change of code can make right."""
    module, _, attribute = agent.partition(":")
    if not module or not attribute:
        fail(f"{agent}: write the agent as module:attribute, such as shop:agent")
    if "" not in sys.path:
        sys.path.insert(0, "")
    package = module.partition(".")[0]
    if find_spec(package) is None:
        fail(f"{agent}: no module named {package!r}; run from the folder that holds it")


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Say what to install when an import in this block fails."""
    try:
        yield
    except ModuleNotFoundError as error:
        fail(f"This command needs {error.name}: pip install 'sideband[{extra}]'")
