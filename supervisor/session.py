"""Write agents' sessions down for the function, which makes browsers' calls with them and imports nothing of ours.

    python -m supervisor.session examples.bikes:agent > sessions.json

The file holds one session for each agent, under its name as SIDEBAND_AGENT has it. SESSIONS_FILE names it.
"""

from __future__ import annotations

import sys

import orjson

from supervisor.agent import load
from supervisor.errors import StartupError


def main(paths: list[str]) -> int:
    """Write the sessions of these agents to stdout; the exit status is 2 when one can't be loaded."""
    if not paths:
        sys.stderr.write("usage: python -m supervisor.session MODULE:ATTRIBUTE ... > sessions.json\n")
        return 2
    try:
        sessions = {path: load(path).accept_body() for path in paths}
    except StartupError as error:
        sys.stderr.write(f"supervisor.session: {error}\n")
        return 2
    sys.stdout.buffer.write(orjson.dumps(sessions, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
