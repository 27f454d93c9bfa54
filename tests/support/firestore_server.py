"""Firestore for tests: Google's emulator, started once in each test process."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from emulator.pubsub.google import EmulatorMissingError, google_firestore_emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def firestore_server() -> AsyncIterator[str]:
    """Give the HOST:PORT of Google's Firestore emulator.

    Skips where it is missing, but fails in CI.
    """
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("JDK_JAVA_OPTIONS", "-Xmx256m -XX:TieredStopAtLevel=1")
        try:
            async with google_firestore_emulator() as host_port:
                yield host_port
        except EmulatorMissingError as missing:
            if os.environ.get("CI") or os.environ.get("REQUIRE_GOOGLE_EMULATORS") == "1":
                pytest.fail(f"{missing} (it must not be missing in CI)")
            pytest.skip(str(missing))


@pytest.fixture
def firestore_project(firestore_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give a project of the test's own, on the emulator."""
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore_server)
    monkeypatch.setattr("supervisor.records.firestore.OPERATION_SECONDS", 20.0)  # a JVM is slow to warm up
    return f"p-{uuid.uuid4().hex[:12]}"
