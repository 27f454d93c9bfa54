"""`sideband webhook`: OpenAI's webhook endpoints, which tell the function of calls."""

from __future__ import annotations

from argparse import Namespace
from typing import Annotated

import typer

from sideband.cli.common import FAILED, fail, needs

app = typer.Typer(help="Make, list, test, rotate and delete OpenAI's webhook.", no_args_is_help=True)

Endpoint = Annotated[str, typer.Argument(metavar="ENDPOINT", help="Its id, as list shows it.")]
Secret = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Keep the secret in Secret Manager, in projects/PROJECT/secrets/SECRET."),
]


@app.command()
def create(
    url: Annotated[str, typer.Option(help="The function's address, with /webhooks/openai.")],
    name: Annotated[str, typer.Option(help="What it is called in OpenAI's settings.")] = "sideband",
    secret: Secret = None,
) -> None:
    """Make an endpoint for incoming calls, and keep or print its secret.

    Example: sideband webhook create --url https://EDGE/webhooks/openai
    """
    _do("create", url=url, name=name, secret=secret)


@app.command("list")
def list_() -> None:
    """Show the project's endpoints.

    Example: sideband webhook list
    """
    _do("list")


@app.command()
def rotate(endpoint: Endpoint, secret: Secret = None) -> None:
    """Give an endpoint a new secret; the old one is good for 24 hours more.

    Example: sideband webhook rotate we_123 --secret projects/P/secrets/openai-webhook
    """
    _do("rotate", endpoint=endpoint, secret=secret)


@app.command()
def delete(endpoint: Endpoint) -> None:
    """Delete an endpoint.

    Example: sideband webhook delete we_123
    """
    _do("delete", endpoint=endpoint)


@app.command()
def test(
    endpoint: Endpoint,
    topic: Annotated[str, typer.Option(help="The calls' topic, as projects/PROJECT/topics/TOPIC.")],
) -> None:
    """Have OpenAI send an event, and see it arrive on Pub/Sub.

    Example: sideband webhook test we_123 --topic projects/P/topics/calls
    """
    _do("test", endpoint=endpoint, topic=topic)


def _do(command: str, **arguments: str | None) -> None:
    """Run a command of `function.webhook_admin`, and print what it says."""
    with needs("function"):
        from function.errors import EdgeError
        from function.webhook_admin.__main__ import run
    try:
        for line in run(Namespace(command=command, **arguments)):
            typer.echo(line)
    except EdgeError as error:
        fail(error, FAILED)
