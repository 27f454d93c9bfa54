"""Secrets that are replaced while the process runs, in a mounted file."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from function.errors import SettingsError
from function.settings import check_token_secret, check_webhook_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pydantic import SecretStr

    from function.settings import Settings

logger = logging.getLogger(__name__)

REREAD_SECONDS = 60


class RotatingSecrets:
    """The good secrets, from a setting and from a file.

    The file is read again at most once a minute: Secret Manager's volumes follow `latest`, so a new version is good
    here without a deploy. A file that can't be read, or holds something malformed, changes nothing: what was read last
    stays good.

    Args:
        setting: Secrets separated by whitespace, which stay for the life of the process.
        file: A file that holds more of them, written in the same way.
        check: Raises ValueError, without the secret in its message, when one is malformed.
        clock: Monotonic seconds.

    Raises:
        OSError: the file can't be read.
        ValueError: a secret is malformed, or there is none at all.
    """

    def __init__(
        self,
        setting: SecretStr | None,
        file: Path | None,
        check: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fixed = _checked(setting.get_secret_value(), check) if setting else []
        self._file = file
        self._check = check
        self._clock = clock
        self._mounted = _checked(file.read_text(), check) if file else []
        self._read_at = clock()
        if not self._fixed and not self._mounted:
            raise ValueError("holds no secret")

    def current(self) -> Sequence[str]:
        """Return the secrets that are good now."""
        if self._file and self._clock() - self._read_at >= REREAD_SECONDS:
            self._read_at = self._clock()
            self._read_again(self._file)
        return [*self._mounted, *self._fixed]

    def _read_again(self, file: Path) -> None:
        try:
            mounted = _checked(file.read_text(), self._check)
        except (OSError, ValueError) as error:
            # Only the kind of a decoding error is logged: its text shows bytes of the file.
            why = error if type(error) in {OSError, ValueError} else type(error).__name__
            logger.error("%s is of no use, what it held before stays good: %s", file, why)
            return
        if not mounted and not self._fixed:
            logger.error("%s is empty, what it held before stays good", file)
            return
        if mounted != self._mounted:
            logger.info("Read new secrets from %s", file, extra={"secrets": len(mounted)})
        self._mounted = mounted


def _checked(text: str, check: Callable[[str], None]) -> list[str]:
    secrets = text.split()
    for secret in secrets:
        check(secret)
    return secrets


def webhook_secrets(settings: Settings) -> RotatingSecrets:
    """Read OpenAI's signing secrets.

    Raises:
        SettingsError: the file can't be read or holds something else.
    """
    return _secrets(
        "OPENAI_WEBHOOK_SECRET_FILE",
        settings.openai_webhook_secret,
        settings.openai_webhook_secret_file,
        check_webhook_secret,
    )


def token_secrets(settings: Settings) -> RotatingSecrets:
    """Read what browsers' tokens are signed with.

    Raises:
        SettingsError: the file can't be read or holds something else.
    """
    return _secrets("TOKEN_SECRET_FILE", settings.token_secret, settings.token_secret_file, check_token_secret)


def _secrets(name: str, setting: SecretStr | None, file: Path | None, check: Callable[[str], None]) -> RotatingSecrets:
    try:
        return RotatingSecrets(setting, file, check)
    except OSError as error:
        raise SettingsError(f"{name}={file} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{name}={file} is not text") from None
    except ValueError as error:
        raise SettingsError(f"{name}={file} is malformed: {error}") from None
