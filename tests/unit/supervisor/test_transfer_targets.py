"""Whom a call may be transferred to."""

from __future__ import annotations

import pytest

from supervisor.transfer_targets import PATTERN, refusal

ALLOWED = ("tel:+3120*", "sip:*@pbx.example.com", "sip:desk@shop.example")


@pytest.mark.parametrize(
    "uri", ["tel:+31201234567", "sip:anybody@pbx.example.com", "sip:desk@shop.example", "sip:a.b+c-1@pbx.example.com"]
)
def test_allowed(uri: str) -> None:
    """A URI that fits a pattern is allowed."""
    assert refusal(uri, ALLOWED) is None


@pytest.mark.parametrize(
    "uri",
    ["tel:+8821234567", "sip:other@shop.example", "sips:desk@shop.example", "sip:desk@shop.example.evil.test"],
)
def test_not_allowed(uri: str) -> None:
    """A URI that fits no pattern is refused, also one that only begins as an allowed one does."""
    assert refusal(uri, ALLOWED) == "TRANSFER_TARGETS does not allow it"


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "+31201234567",
        "tel:0201234567",
        "tel:+31 20",
        "tel:+31201234567;ext=1",
        "tel:+31201234567\n",
        "sip:desk",
        "sip:@shop.example",
        "sip:a@pbx.example.com;transport=tcp",
        "sip:a@pbx.example.com?Replaces=x",
        "SIP:desk@shop.example",
        "https://shop.example",
    ],
)
def test_what_is_no_target(uri: str) -> None:
    """What is no plain tel: or sip: URI is refused whatever is allowed, with the way to write it."""
    assert refusal(uri, ["*"]) == "write it as tel:+NUMBER or sip:USER@HOST"


def test_nobody_by_default() -> None:
    """Without patterns nobody may be called."""
    assert refusal("tel:+31201234567", ()) == "TRANSFER_TARGETS does not allow it"


@pytest.mark.parametrize("pattern", [*ALLOWED, "*", "tel:*", "tel:+?1*", "tel:[+]31*", "sip:*", "sips:a@*"])
def test_a_pattern(pattern: str) -> None:
    """A pattern that may fit a URI is one."""
    assert PATTERN.match(pattern)


@pytest.mark.parametrize("pattern", ["", "tel:0201234567", "sip:pbx.example.com", "+3120*", "tel: +31", "http:*"])
def test_what_is_no_pattern(pattern: str) -> None:
    """A pattern that fits no URI, such as a number without its country, is none."""
    assert not PATTERN.match(pattern)
