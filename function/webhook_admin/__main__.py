"""Sets up OpenAI's webhook: `python -m function.webhook_admin --help`.

OPENAI_API_KEY is the key of the project whose calls are served; OPENAI_BASE_URL is where its API is, if not at the
usual place.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from function.errors import EdgeError
from function.settings import load
from function.webhook_admin import commands
from function.webhook_admin.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator


def main() -> int:
    """Run one command; returns 1 when it failed. argparse exits with 2 when it was not understood."""
    arguments = _parser().parse_args()
    try:
        for line in _run(arguments):
            sys.stdout.write(f"{line}\n")
    except EdgeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _run(arguments: argparse.Namespace) -> Iterator[str]:
    settings = load(Settings)
    match arguments.command:
        case "create":
            return commands.create(settings, arguments.url, name=arguments.name, secret=arguments.secret)
        case "rotate":
            return commands.rotate(settings, arguments.endpoint, secret=arguments.secret)
        case "delete":
            return commands.delete(settings, arguments.endpoint)
        case "test":
            return commands.test(settings, arguments.endpoint, topic=arguments.topic)
        case _:
            return commands.show(settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m function.webhook_admin", description="Manage OpenAI's webhook.")
    webhook = parser.add_subparsers(required=True, dest="command")
    create = webhook.add_parser("create", help="make an endpoint for incoming calls, and keep or print its secret")
    create.add_argument("--url", required=True, help="the function's address, with /webhooks/openai")
    create.add_argument("--name", default="sideband", help="what it is called in OpenAI's settings")
    webhook.add_parser("list", help="show the project's endpoints")
    rotate = webhook.add_parser("rotate", help="give an endpoint a new secret; the old one is good for 24 hours more")
    delete = webhook.add_parser("delete", help="delete an endpoint")
    test = webhook.add_parser("test", help="have OpenAI send an event, and see it arrive as a notice on Pub/Sub")
    test.add_argument("--topic", required=True, help="the topic of the calls, as projects/PROJECT/topics/TOPIC")
    for command in (rotate, delete, test):
        command.add_argument("endpoint", help="its id, as list shows it")
    for command in (create, rotate):
        command.add_argument(
            "--secret", metavar="NAME", help="keep the secret in Secret Manager, in projects/PROJECT/secrets/SECRET"
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
