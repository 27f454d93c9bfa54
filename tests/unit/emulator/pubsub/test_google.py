"""Starting Google's emulators, tried on programs that stand in for them."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from emulator.pubsub.google import EmulatorFailedError, EmulatorMissingError, google_emulator, google_firestore_emulator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Give a function that makes a shell script the emulator of this machine; gives the folder it runs in."""

    def install(script: str) -> Path:
        program = tmp_path / "platform" / "pubsub-emulator" / "bin" / "cloud-pubsub-emulator"
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\ncd {tmp_path}\necho $$ > pid\n{script}\n")
        program.chmod(0o755)
        os.mkfifo(tmp_path / "started")  # read to its end, it tells when all who held it have ended
        monkeypatch.setenv("CLOUDSDK_ROOT", str(tmp_path))
        monkeypatch.setenv("JAVA_HOME", str(tmp_path))
        return tmp_path

    return install


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_ended_with_its_children(install: Callable[[str], Path]) -> None:
    """When the block is left, the emulator is ended with all that it started."""
    home = install("exec 3> started; sleep 60 & echo Server started; wait")
    until_all_have_ended = asyncio.create_task(asyncio.to_thread((home / "started").read_text))
    async with google_emulator() as host_port:
        assert host_port.startswith("127.0.0.1:")
        assert not until_all_have_ended.done()
    await asyncio.wait_for(until_all_have_ended, timeout=5)


async def test_killed_when_it_will_not_end(install: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """An emulator that does not end when told to is killed."""
    monkeypatch.setattr("emulator.pubsub.google.STOP_SECONDS", 0.1)
    home = install("trap '' TERM; echo Server started; while :; do sleep 0.1; done")
    async with google_emulator():
        pid = int((home / "pid").read_text())
    assert not is_alive(pid)


async def test_cancelled_while_it_starts(install: Callable[[str], Path]) -> None:
    """An emulator whose user is cancelled while it starts is ended."""
    home = install("echo > started; exec sleep 60")

    async def use() -> None:
        async with google_emulator():
            pytest.fail("it never said that it serves")

    user = asyncio.create_task(use())
    await asyncio.to_thread((home / "started").read_text)
    user.cancel()
    with pytest.raises(asyncio.CancelledError):
        await user
    assert not is_alive(int((home / "pid").read_text()))


async def test_a_port_that_is_taken(install: Callable[[str], Path]) -> None:
    """A port that is taken is an error that names it, although the emulator's process lives on."""
    home = install("echo java.net.BindException: Address already in use; exec sleep 60")
    with pytest.raises(EmulatorFailedError, match=r"127\.0\.0\.1:8085 is taken"):
        async with google_emulator(port=8085):
            pass
    assert not is_alive(int((home / "pid").read_text()))


async def test_another_free_port_is_tried(install: Callable[[str], Path]) -> None:
    """Where any port will do, the next is tried when somebody else was quicker."""
    install("""if test -e second; then echo "Server started $2"; else touch second; echo Address already in use; fi
exec sleep 60""")
    async with google_emulator():
        pass


async def test_an_emulator_that_fails(install: Callable[[str], Path]) -> None:
    """An emulator that fails is an error with its exit code and its last words."""
    install("echo no memory; exit 7")
    with pytest.raises(EmulatorFailedError, match=r"exit code 7:\nno memory"):
        async with google_emulator():
            pass


async def test_an_emulator_that_never_serves(install: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """An emulator that does not serve in time is given up."""
    monkeypatch.setattr("emulator.pubsub.google.START_SECONDS", 0.1)
    install("echo thinking; exec sleep 60")
    with pytest.raises(EmulatorFailedError, match="did not serve"):
        async with google_emulator():
            pass


async def test_what_is_not_installed_is_named(install: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not installed is named: Java, the emulator, or the whole Google Cloud CLI."""
    monkeypatch.setattr("emulator.pubsub.google._SDK_HOMES", ())
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(EmulatorMissingError, match="needs the Google Cloud CLI"):
        async with google_emulator():
            pass
    home = install("exit")
    monkeypatch.delenv("JAVA_HOME")
    with pytest.raises(EmulatorMissingError, match="needs Java"):
        async with google_emulator():
            pass
    (home / "platform" / "pubsub-emulator" / "bin" / "cloud-pubsub-emulator").unlink()
    with pytest.raises(EmulatorMissingError, match="gcloud components install pubsub-emulator"):
        async with google_emulator():
            pass
    with pytest.raises(EmulatorMissingError, match="gcloud components install cloud-firestore-emulator"):
        async with google_firestore_emulator():
            pass
