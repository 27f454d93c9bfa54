"""The items of a conversation, in order."""

from __future__ import annotations

import base64
from typing import Any

from emulator.openai.realtime.usage import SPOKEN_MS_PER_CHARACTER

Item = dict[str, Any]

_PCM_BYTES_PER_MS = 48


class History:
    """A conversation's items. Items are replaced, never changed, since events and the log hold on to them."""

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}
        self._order: list[str] = []

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._items

    def __getitem__(self, item_id: str) -> Item:
        return self._items[item_id]

    @property
    def last_id(self) -> str | None:
        """The newest item's id."""
        return self._order[-1] if self._order else None

    def previous_id(self, item_id: str) -> str | None:
        """The id of the item before this one."""
        where = self._order.index(item_id)
        return self._order[where - 1] if where else None

    def insert(self, item: Item, after: str | None = None) -> None:
        """Put an item at the end, after another one, or first (`root`)."""
        where = len(self._order) if after is None else 0 if after == "root" else self._order.index(after) + 1
        self._order.insert(where, item["id"])
        self._items[item["id"]] = item

    def replace(self, item: Item) -> None:
        """An item has new content."""
        self._items[item["id"]] = item

    def delete(self, item_id: str) -> None:
        """Forget an item."""
        del self._items[item_id]
        self._order.remove(item_id)


def without_transcript(item: Item) -> Item:
    """An item whose audio was truncated, and whose transcript went with it."""
    content = [{**part, "transcript": None} if "transcript" in part else part for part in item["content"]]
    return item | {"content": content}


def with_audio(item: Item) -> Item:
    """An item as it is retrieved: with the bytes of its audio, here silence of the right length."""
    return item | {"content": [_heard(part) for part in item["content"]]} if item["type"] == "message" else item


def _heard(part: Item) -> Item:
    if part["type"] not in ("input_audio", "output_audio"):
        return part
    length = len(part.get("transcript") or "") * SPOKEN_MS_PER_CHARACTER * _PCM_BYTES_PER_MS
    return {**part, "audio": base64.b64encode(bytes(length)).decode()}
