"""The log: who sent what and when, as OpenAI sees it."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import orjson

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
    from io import FileIO

Kind = Literal[
    "placed",  # a call was placed
    "webhook",  # one attempt to deliver an event
    "rest",  # one request, with what was answered
    "refused",  # an attach that was refused
    "attach",
    "detach",
    "frame_in",  # a client event
    "frame_out",  # a server event, put on the way to one socket
    "frame_lost",  # a server event while nobody was attached
    "script",  # a step that the caller took or gave up waiting for
    "note",  # something odd that OpenAI lets pass
    "fault",  # an injected fault struck
    "end",
]
_DIRECTIONS: dict[str, Literal["in", "out"]] = {
    "webhook": "out",
    "rest": "in",
    "refused": "in",
    "attach": "in",
    "detach": "in",
    "frame_in": "in",
    "frame_out": "out",
}


class Entry(NamedTuple):
    """One line of the log."""

    sequence: int
    """1 for the first entry of the stand-in, then one more each."""
    unix_seconds: float
    monotonic_seconds: float
    call_id: str | None
    kind: Kind
    type: str
    """The event's type, the REST operation, the end's reason: what the kind has several of."""
    who: str
    """The client's `User-Agent`; `stand-in` for what comes from here."""
    port: int | None
    """The client's port, which tells two sockets of one process apart."""
    attach: int | None
    """Which attach of the call the socket is, counted from 1."""
    payload: Mapping[str, Any]
    """The whole event, or what else there is to know. Never changed afterwards."""

    @property
    def direction(self) -> Literal["in", "out"] | None:
        """Towards OpenAI (`in`), away from it (`out`), or neither."""
        return _DIRECTIONS.get(self.kind)

    def as_dict(self) -> dict[str, Any]:
        """Return the entry as JSON has it."""
        return {**self._asdict(), "direction": self.direction}


class Log:
    """All entries of a stand-in, oldest first.

    Args:
        keep: How many are kept at least; the oldest go first.
    """

    def __init__(self, *, keep: int) -> None:
        self._entries: list[Entry] = []
        self._keep = keep
        self._sequence = 0
        self._file: FileIO | None = None
        self._waiting: set[asyncio.Future[None]] = set()

    def __iter__(self) -> Iterator[Entry]:
        return iter(tuple(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def open(self, path: str) -> None:
        """Append every further entry to a file, one JSON line each."""
        self._file = Path(path).open("ab", buffering=0)  # noqa: SIM115 - closed by close()

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file:
            self._file.close()
            self._file = None

    def add(
        self,
        kind: Kind,
        type: str,  # noqa: A002 - the entry's own word
        payload: Mapping[str, Any],
        *,
        call_id: str | None = None,
        who: str = "stand-in",
        port: int | None = None,
        attach: int | None = None,
    ) -> Entry:
        """Write an entry; its payload must not be changed afterwards."""
        self._sequence += 1
        entry = Entry(self._sequence, time.time(), time.monotonic(), call_id, kind, type, who, port, attach, payload)
        self._entries.append(entry)
        if len(self._entries) >= 2 * self._keep:
            del self._entries[: self._keep]
        if self._file:
            self._file.write(orjson.dumps(entry.as_dict(), default=str, option=orjson.OPT_APPEND_NEWLINE))
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        return entry

    def after(self, sequence: int) -> list[Entry]:
        """Return the entries after a sequence number."""
        first = self._entries[0].sequence if self._entries else 1
        return self._entries[max(0, sequence + 1 - first) :]

    async def wait_after(self, sequence: int, *, timeout_seconds: float) -> list[Entry]:
        """Wait for entries after a sequence number; none, if time runs out."""
        if not self.after(sequence):
            async with self._change() as change:
                await asyncio.wait({change}, timeout=timeout_seconds)
        return self.after(sequence)

    async def wait_for(self, wanted: Callable[[Entry], bool], *, after: int = 0, timeout_seconds: float = 10) -> Entry:
        """Wait for the first wanted entry after sequence number `after`.

        Raises:
            TimeoutError: there was none in time.
        """
        async with asyncio.timeout(timeout_seconds):
            while True:
                async with self._change() as change:
                    for entry in self.after(after):
                        if wanted(entry):
                            return entry
                        after = entry.sequence
                    await change

    @asynccontextmanager
    async def _change(self) -> AsyncIterator[asyncio.Future[None]]:
        change = asyncio.get_running_loop().create_future()
        self._waiting.add(change)
        try:
            yield change
        finally:
            self._waiting.discard(change)
