"""Sets up OpenAI's webhook, so that a deploy ends with one that works: `python -m function webhook --help`.

OPENAI_API_KEY is the key of the project whose calls are served; OPENAI_BASE_URL where its API is, if not at the usual
place.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from function.errors import EdgeError, SettingsError
from function.openai import OpenAI
from function.webhook_admin import endpoints, secret_manager
from function.webhook_admin.notice_watch import TopicWatch
from function.webhook_admin.secret_manager import SecretManager

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUEST_SECONDS = 20


class Settings(BaseSettings):
    """What the command is told by its environment."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True)

    openai_api_key: SecretStr
    openai_base_url: str = "https://api.openai.com/v1"
    secret_manager_url: str = secret_manager.GOOGLE
    pubsub_emulator_host: str | None = None


def main() -> int:
    """Run one command; the exit status is 1 when it failed, and 2 when it was not understood."""
    arguments = _parser().parse_args()
    try:
        for line in run(arguments):
            sys.stdout.write(f"{line}\n")
    except EdgeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def run(arguments: argparse.Namespace) -> Iterator[str]:
    """Run one command; yields what it says. Raises `EdgeError` when it fails."""
    try:
        settings = Settings()
    except ValidationError:
        raise SettingsError("OPENAI_API_KEY is not set: set it to the key of the OpenAI project") from None
    openai = OpenAI(settings.openai_api_key, settings.openai_base_url, timeout_seconds=REQUEST_SECONDS)
    name = getattr(arguments, "secret", None)
    store = SecretManager(name, settings.secret_manager_url) if name else None
    match arguments.command:
        case "create":
            return endpoints.create(openai, arguments.url, arguments.name, store)
        case "rotate":
            return endpoints.rotate(openai, arguments.endpoint, store)
        case "delete":
            return endpoints.delete(openai, arguments.endpoint)
        case "test":
            watch = TopicWatch(arguments.topic, emulator_host=settings.pubsub_emulator_host)
            return endpoints.test(openai, arguments.endpoint, watch)
        case _:
            return endpoints.show(openai)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m function", description="Manage OpenAI's webhook.")
    commands = parser.add_subparsers(required=True).add_parser("webhook", help="manage OpenAI's webhook")
    webhook = commands.add_subparsers(required=True, dest="command")
    create = webhook.add_parser("create", help="make an endpoint for incoming calls, and keep or print its secret")
    create.add_argument("--url", required=True, help="the function's address, with /webhooks/openai")
    create.add_argument("--name", default="sideband", help="what it is called in OpenAI's settings")
    webhook.add_parser("list", help="show the project's endpoints")
    rotate = webhook.add_parser("rotate", help="give an endpoint a new secret; the old one is good for 24 hours more")
    delete = webhook.add_parser("delete", help="take an endpoint away")
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
