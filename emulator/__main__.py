"""Serve the stand-in for OpenAI alone, as emulator/compose.yaml does: `python -m emulator openai --help`.

All else that runs on one machine is a command of `sideband`.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from emulator.dev import serve_stand_in
from emulator.openai import Options
from emulator.pubsub.topology import create_calls

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def main() -> None:
    """Stand-ins for the outside world."""


@app.command()
def openai(
    *,
    webhook_url: Annotated[str, typer.Option(help="Where calls are announced: the function's /webhooks/openai.")],
    api_key: Annotated[str, typer.Option(envvar="OPENAI_API_KEY", help="The key that supervisors must use.")],
    webhook_secret: Annotated[str, typer.Option(envvar="OPENAI_WEBHOOK_SECRET", help="What signs webhooks.")],
    pubsub: Annotated[str, typer.Option(envvar="PUBSUB_EMULATOR_HOST", help="Make the topic here, at HOST:PORT.")] = "",
    project: Annotated[str, typer.Option(envvar="GOOGLE_CLOUD_PROJECT")] = "local",
    topic: Annotated[str, typer.Option(envvar="CALLS_TOPIC")] = "calls",
    subscription: Annotated[str, typer.Option(envvar="CALLS_SUBSCRIPTION")] = "calls-supervisor",
    host: str = "127.0.0.1",
    port: int = 8088,
) -> None:
    """Serve the stand-in for OpenAI by itself.

    Function and supervisors run elsewhere, such as in containers.
    """

    async def serve() -> None:
        if pubsub:
            dead = f"{subscription}-dead"
            await create_calls(pubsub, project=project, topic=topic, subscription=subscription, dead_letter_topic=dead)
        options = Options(api_keys=[api_key], webhook_secrets=[webhook_secret], webhook_url=webhook_url)
        await serve_stand_in(options, host=host, port=port)

    try:
        asyncio.run(serve())
    except OSError as error:
        typer.secho(f"The stand-in can't listen at {host}:{port}: {error.strerror}", err=True, fg="red")
        raise typer.Exit(2) from None


if __name__ == "__main__":
    app()
