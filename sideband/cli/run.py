"""`sideband run`: a supervisor, as a container runs it."""

from __future__ import annotations

import os

import typer

from sideband.cli.common import AgentPath, needs


def run(agent: AgentPath) -> None:
    """Run a supervisor, until SIGTERM or Ctrl-C.

    The same as `python -m supervisor`, which containers run: settings come
    from the environment.

    Example: sideband run shop:agent
    """
    with needs("supervisor"):
        from supervisor.process import main
    os.environ["SIDEBAND_AGENT"] = agent
    raise typer.Exit(main())
