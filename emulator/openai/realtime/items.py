"""The items of a conversation, and those that a client may create."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from emulator.openai.errors import ApiError
from emulator.openai.realtime.usage import spoken_ms

if TYPE_CHECKING:
    from emulator.openai.realtime.events import Emit

Item = dict[str, Any]

_PCM_BYTES_PER_MS = 48
_ItemId = Annotated[str, Field(min_length=1, max_length=32)]


class _Item(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    id: _ItemId | None = None
    object: Literal["realtime.item"] | None = None
    status: Literal["completed", "incomplete", "in_progress"] | None = None


class _Text(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["input_text", "output_text"]
    text: str


class _Audio(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["input_audio"]
    audio: str | None = None
    transcript: str | None = None


class _Image(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["input_image"]
    image_url: str
    detail: Literal["auto", "low", "high"] | None = None


class _Message(_Item):
    type: Literal["message"]
    role: Literal["system", "user", "assistant"]
    content: list[Annotated[_Text | _Audio | _Image, Field(discriminator="type")]]


class _FunctionCall(_Item):
    type: Literal["function_call"]
    name: str
    arguments: str
    call_id: str | None = None


class _FunctionCallOutput(_Item):
    type: Literal["function_call_output"]
    call_id: str
    output: str


class _ApprovalResponse(_Item):
    type: Literal["mcp_approval_response"]
    id: _ItemId
    approval_request_id: str
    approve: bool
    reason: str | None = None


_adapter: TypeAdapter[_Item] = TypeAdapter(
    Annotated[_Message | _FunctionCall | _FunctionCallOutput | _ApprovalResponse, Field(discriminator="type")]
)


def check_item(item: object) -> Item:
    """Check a client's item; returns it as it is kept (openai-realtime.md#items).

    Raises:
        ApiError: it is not an item, or not one that a client may create.
    """
    try:
        valid = _adapter.validate_python(item)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        param = ".".join(["item", *(str(part) for part in first["loc"][1:])])
        code = {
            "missing": "missing_required_parameter",
            "union_tag_not_found": "missing_required_parameter",
            "string_too_long": "string_above_max_length",
            "extra_forbidden": "unknown_parameter",
        }.get(first["type"], "invalid_value")
        raise ApiError(f"Invalid '{param}': {first['msg']}.", code=code, param=param) from None
    kept = valid.model_dump(exclude_none=True)
    if kept["type"] == "mcp_approval_response":
        return {key: value for key, value in kept.items() if key not in ("object", "status")}
    return {"object": "realtime.item", "status": "completed", **kept}


def text_of(item: Item) -> str:
    """Join all the text in an item, to count it."""
    content = [part.get("text") or part.get("transcript") or "" for part in item.get("content", [])]
    return " ".join([*content, item.get("output", ""), item.get("arguments", "")])


class History:
    """A conversation's items in order; changes are sent as events.

    Items are replaced, never changed, since events and the log hold on to them.
    """

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
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

    def add(self, item: Item, after: str | None = None) -> None:
        """Add an item at the end, after another, or first (`root`)."""
        index = len(self._order) if after is None else 0 if after == "root" else self._order.index(after) + 1
        self._order.insert(index, item["id"])
        self._items[item["id"]] = item
        self._emit("conversation.item.added", previous_item_id=self._previous_id(item["id"]), item=item)

    def finish(self, item: Item) -> None:
        """Give an item its final content, unless it was deleted."""
        if item["id"] in self._items:
            self._items[item["id"]] = item
            self._emit("conversation.item.done", previous_item_id=self._previous_id(item["id"]), item=item)

    def replace(self, item: Item) -> None:
        """Give an item new content without an event, unless it was deleted."""
        if item["id"] in self._items:
            self._items[item["id"]] = item

    def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> None:
        """Forget the unheard rest of an item, and its transcript."""
        if item_id not in self._items:
            return
        item = self._items[item_id]
        content = [{**part, "transcript": None} if "transcript" in part else part for part in item["content"]]
        self._items[item_id] = item | {"content": content}
        self._emit(
            "conversation.item.truncated", item_id=item_id, content_index=content_index, audio_end_ms=audio_end_ms
        )

    def delete(self, item_id: str) -> None:
        """Forget an item."""
        del self._items[item_id]
        self._order.remove(item_id)
        self._emit("conversation.item.deleted", item_id=item_id)

    def _previous_id(self, item_id: str) -> str | None:
        index = self._order.index(item_id)
        return self._order[index - 1] if index else None


def with_audio(item: Item) -> Item:
    """Add audio to an item, as OpenAI does when it is retrieved: silence."""
    return item | {"content": [_with_silence(part) for part in item["content"]]} if item["type"] == "message" else item


def _with_silence(part: Item) -> Item:
    if part["type"] not in ("input_audio", "output_audio"):
        return part
    length = spoken_ms(part.get("transcript") or "") * _PCM_BYTES_PER_MS
    return {**part, "audio": base64.b64encode(bytes(length)).decode()}
