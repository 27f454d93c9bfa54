"""Write agents' sessions down for the function, which makes browsers' calls with them and imports nothing of ours.

    python -m sideband.sessions examples.bikes:agent > sessions.json

The file holds one session for each agent, by the name that its router has for it; an agent without a router is called
`agent`. SESSIONS_FILE names the file to the function, and the claim `agent` of a browser's token chooses from it.
"""

from __future__ import annotations

import sys

import orjson

from supervisor.agents.router import load
from supervisor.agents.session import accept_body
from supervisor.errors import StartupError


def main(arguments: list[str]) -> int:
    """Write the sessions to stdout; the exit status is 2 when there are none to write."""
    try:
        (path,) = arguments
    except ValueError:
        sys.stderr.write("usage: python -m sideband.sessions MODULE:ATTRIBUTE > sessions.json\n")
        return 2
    try:
        agents = load(path).agents
    except StartupError as error:
        sys.stderr.write(f"sideband.sessions: {error}\n")
        return 2
    sessions = {name: accept_body(agent.session, agent.tools, transport="webrtc") for name, agent in agents.items()}
    sys.stdout.buffer.write(orjson.dumps(sessions, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
