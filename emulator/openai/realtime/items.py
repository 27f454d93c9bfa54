"""The conversation items that a client may create, checked (reference 4.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from emulator.openai.errors import ApiError

if TYPE_CHECKING:
    from emulator.openai.realtime.history import Item

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
    """Check an item that a client wants to create, and hand it back as the conversation keeps it.

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
    """All the text in an item, for counting it."""
    content = [part.get("text") or part.get("transcript") or "" for part in item.get("content", [])]
    return " ".join([*content, item.get("output", ""), item.get("arguments", "")])
