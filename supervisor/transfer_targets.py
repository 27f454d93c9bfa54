"""Whom a call may be transferred to: nobody, unless `TRANSFER_TARGETS` says so."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

_TEL = re.compile(r"tel:\+[0-9]{4,15}")
_SIP = re.compile(r"sips?:[A-Za-z0-9._+\-]+@[A-Za-z0-9.\-]+(:[0-9]{1,5})?")

PATTERN = re.compile(r"^(tel:[+*?[]|sips?:[^\s@*]*[@*]|[*])\S*$")
"""What a pattern that can match a URI looks like."""


def refusal(target_uri: str, allowed: Sequence[str]) -> str | None:
    """Why a transfer to this URI is not allowed; None if it is.

    Args:
        target_uri: tel: with a number that begins with +, or sip:user@host.
        allowed: patterns such as tel:+3120* or sip:*@pbx.example.com; * stands for any characters.

    Examples:
        >>> refusal("tel:+31201234567", ["tel:+3120*"]) is None
        True
        >>> refusal("tel:+8821234567", ["tel:+3120*"])
        'TRANSFER_TARGETS does not allow it'
    """
    if not (_TEL.fullmatch(target_uri) or _SIP.fullmatch(target_uri)):
        return "write it as tel:+NUMBER or sip:USER@HOST"
    if not any(fnmatchcase(target_uri, pattern) for pattern in allowed):
        return "TRANSFER_TARGETS does not allow it"
    return None
