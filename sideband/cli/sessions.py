"""`sideband sessions`: agents' sessions for the function, which makes browsers' calls with them."""

from __future__ import annotations

import json

import typer

from sideband.cli.common import AgentPath, fail, needs


def sessions(agent: AgentPath) -> None:
    """Print agents' sessions as JSON, for browsers' calls.

    One session for each agent, by the name that its router has for it; an
    agent without a router is called `agent`. The function reads the file that
    SESSIONS_FILE names; the claim `agent` of a browser's token chooses from it.

    Example: sideband sessions shop:agent > sessions.json
    """
    with needs("supervisor"):
        from supervisor.agents.router import load
        from supervisor.agents.session import accept_body
        from supervisor.errors import StartupError
    try:
        agents = load(agent).agents
    except StartupError as error:
        fail(error)
    bodies = {name: accept_body(one.session, one.tools, transport="webrtc") for name, one in agents.items()}
    typer.echo(json.dumps(bodies, indent=2, ensure_ascii=False))
