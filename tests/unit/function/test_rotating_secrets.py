"""Secrets in files: picked up while the process runs, and never lost by a bad file."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from function.rotating_secrets import REREAD_SECONDS, RotatingSecrets
from function.settings import check_webhook_secret
from tests.support.deliveries import OTHER_SECRET, SECRET

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    return path


def test_a_new_secret(file: Path) -> None:
    """A new secret in the file is good within a minute; the file is read no more often."""
    clock = Clock()
    secrets = RotatingSecrets(None, file, check_webhook_secret, clock)
    file.write_text(f"{OTHER_SECRET} {SECRET}")
    clock.now = REREAD_SECONDS - 1
    assert secrets.current() == [SECRET]
    clock.now = REREAD_SECONDS
    assert secrets.current() == [OTHER_SECRET, SECRET]
    file.write_text(OTHER_SECRET)
    assert secrets.current() == [OTHER_SECRET, SECRET]
    clock.now *= 2
    assert secrets.current() == [OTHER_SECRET]


def test_those_of_the_setting_stay(file: Path) -> None:
    """The secrets of the setting stay good beside those of the file."""
    secrets = RotatingSecrets(SecretStr(OTHER_SECRET), file, check_webhook_secret)
    assert secrets.current() == [SECRET, OTHER_SECRET]


@pytest.mark.parametrize("content", [None, b"", b"whsec_not*base64 " + SECRET.encode(), b"\xff\xfe" + SECRET.encode()])
def test_a_file_of_no_use(file: Path, caplog: pytest.LogCaptureFixture, content: bytes | None) -> None:
    """A file of no use leaves the secrets as they were; the log names it, and shows nothing of it."""
    clock = Clock()
    secrets = RotatingSecrets(None, file, check_webhook_secret, clock)
    file.unlink() if content is None else file.write_bytes(content)
    clock.now = REREAD_SECONDS
    with caplog.at_level(logging.INFO):
        assert secrets.current() == [SECRET]
    assert str(file) in caplog.text
    assert SECRET not in caplog.text
    assert "whsec_not" not in caplog.text


def test_no_secret_is_printed(file: Path) -> None:
    """No secret is in what is printed of the object."""
    secrets = RotatingSecrets(SecretStr(OTHER_SECRET), file, check_webhook_secret)
    assert "whsec_" not in f"{secrets} {secrets!r}"
