"""The command line: `sideband --help`.

Each command imports what it runs only when it is called.
"""

from __future__ import annotations

import typer

from sideband.cli import call, demo, dev, new, rehearse, run, sessions, webhook

app = typer.Typer(
    name="sideband",
    help="Write, rehearse and run voice agents on OpenAI's Realtime API.",
    epilog="Exit status: 0 done, 1 failed, 2 not started. Examples: COMMAND --help",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (new.new, dev.dev, call.call, rehearse.rehearse, demo.demo, run.run, sessions.sessions):
    app.command()(command)
app.add_typer(webhook.app, name="webhook")


def main() -> None:
    """Run the command line."""
    app(prog_name="sideband")
