"""`sideband webhook`: OpenAI's webhook endpoints, which tell the function of calls."""

from __future__ import annotations

import json as json_
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from sideband.cli.common import FAILED, Json, fail, needs

if TYPE_CHECKING:
    from function.webhook_admin.settings import Settings

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
    with needs("function"):
        from function.webhook_admin import commands
    _print(lambda settings: commands.create(settings, url, name=name, secret=secret))


@app.command("list")
def list_(*, json: Json = False) -> None:
    """Show the project's endpoints, without secrets.

    Example: sideband webhook list --json
    """
    with needs("function"):
        from function.webhook_admin import commands
    _print((lambda settings: [json_.dumps(commands.as_json(settings))]) if json else commands.show)


@app.command()
def rotate(endpoint: Endpoint, secret: Secret = None) -> None:
    """Give an endpoint a new secret.

    The old one is good for 24 hours more.

    Example: sideband webhook rotate we_123 --secret projects/P/secrets/openai-webhook
    """
    with needs("function"):
        from function.webhook_admin import commands
    _print(lambda settings: commands.rotate(settings, endpoint, secret=secret))


@app.command()
def delete(endpoint: Endpoint) -> None:
    """Delete an endpoint.

    Example: sideband webhook delete we_123
    """
    with needs("function"):
        from function.webhook_admin import commands
    _print(lambda settings: commands.delete(settings, endpoint))


@app.command()
def test(
    endpoint: Endpoint,
    topic: Annotated[str, typer.Option(help="The calls' topic, as projects/PROJECT/topics/TOPIC.")],
) -> None:
    """Have OpenAI send an event, and see it arrive on Pub/Sub.

    Example: sideband webhook test we_123 --topic projects/P/topics/calls
    """
    with needs("function"):
        from function.webhook_admin import commands
    _print(lambda settings: commands.test(settings, endpoint, topic=topic))


def _print(lines: Callable[[Settings], Iterable[str]]) -> None:
    """Print what a command of `function.webhook_admin` yields, as it comes."""
    from function.errors import EdgeError, SettingsError
    from function.settings import load
    from function.webhook_admin.settings import Settings

    try:
        for line in lines(load(Settings)):
            typer.echo(line)
    except SettingsError as error:
        fail(error)
    except EdgeError as error:
        fail(error, FAILED)
