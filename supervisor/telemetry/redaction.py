"""Cut secrets and personal data out of log lines, whoever logs them."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from structlog.typing import EventDict

PERSONAL_FIELDS = frozenset({"arguments", "context", "output", "sip_headers", "state", "text", "transcript"})
"""Fields whose values are replaced whole."""


class PersonalData(NamedTuple):
    """Describe one kind of personal data that is cut out of text."""

    kind: str
    pattern: str
    example: str


_START = r"(?<![\w.:/+-])"  # of digits that are no part of an id, a path, a time, an address or a longer number
_END = r"(?![\w-])"
_END_OF_DIGITS = r"(?![\w:/-]|\.\d)"

# The first that fits, from the left, is cut out.
PERSONAL_DATA = (
    PersonalData("SIP or telephone URI", r"\b(?:sips?|tel):[^\s<>;,\"']+", "sip:+31201234567@pbx.example.com"),
    PersonalData("e-mail address", r"(?<![\w.+-])[\w.+-]++@[\w-]++(?:\.[\w-]++)++", "an.other@shop.example"),
    PersonalData("number with a country code", r"\+\d(?:[ ().-]{0,2}\d){6,14}", "+31 (0)20 123 45 67"),
    PersonalData("number with an area code", _START + r"0\d{1,4}(?:[ -]\d{2,8}){1,4}\b", "020-123 45 67"),
    PersonalData("American number", _START + r"(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}" + _END, "(415) 555-0123"),
    PersonalData(
        "bank account", r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b", "GB33 BUKB 2020 1555 5555 55"
    ),
    PersonalData("card in groups of four", _START + r"[2-6]\d{3}(?:[ -]\d{4}){3}" + _END, "4111 1111 1111 1111"),
    PersonalData("card in groups of 4, 6, 5", _START + r"[2-6]\d{3}[ -]\d{6}[ -]\d{5}" + _END, "3782-822463-10005"),
    PersonalData("bare number", _START + r"(?<!message )\d{8,15}" + _END_OF_DIGITS, "0201234567"),
    PersonalData("bare card", _START + r"(?<!message )[2-6]\d{15,18}" + _END_OF_DIGITS, "4111111111111111"),
)

_PERSONAL = re.compile("|".join(data.pattern for data in PERSONAL_DATA))
_SECRET = re.compile(r"\b(?:sk|ek|whsec)[-_][\w+/=-]{8,}|(?<=Bearer )\S{8,}")
_IDS = frozenset({"call_id", "message_id", "severity", "time", "tool_call_id", "trace_id"})
"""Fields that are left as they are, since ids look like numbers."""
_MAX_CHARACTERS = 8192  # of one string that are read and written; every other call waits meanwhile
_SEAM = 100  # characters beside a cut, which may hold half a number or half a key


def redact(event: EventDict, *, personal_data: bool) -> EventDict:
    """Replace secrets, and personal data unless it is allowed.

    Strings of more than 8192 characters lose their middle.
    """
    return {
        key: value if key in _IDS else _redacted(key, value, personal_data=personal_data)
        for key, value in event.items()
    }


def _redacted(key: str, value: Any, *, personal_data: bool) -> Any:
    if key in PERSONAL_FIELDS and not personal_data:
        return "[personal]"
    match value:
        case str() if len(value) <= _MAX_CHARACTERS:
            return _clean(value, personal_data=personal_data)
        case str():
            head = _clean(value[: _MAX_CHARACTERS // 2], personal_data=personal_data)
            tail = _clean(value[-_MAX_CHARACTERS // 2 :], personal_data=personal_data)
            cut = f"[{len(value) - _MAX_CHARACTERS + 2 * _SEAM} characters or so are left out]"
            return f"{head[:-_SEAM]} {cut} {tail[_SEAM:]}"
        case dict():
            return {name: _redacted(str(name), inner, personal_data=personal_data) for name, inner in value.items()}
        case list() | tuple():
            return [_redacted("", inner, personal_data=personal_data) for inner in value]
        case _:
            return value


def _clean(text: str, *, personal_data: bool) -> str:
    clean = _SECRET.sub("[secret]", text)
    return clean if personal_data else _PERSONAL.sub("[personal]", clean)
