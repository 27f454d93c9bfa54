"""Who calls whom, from headers that anybody may have written."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.agents.sip import caller, dialled, parse_address


@pytest.mark.parametrize(
    ("header", "number", "uri"),
    [
        ("<sip:+31201234567@trunk.test;user=phone>;tag=a", "+31201234567", "sip:+31201234567@trunk.test"),
        ('"Jan \\"J\\" <x>" <sip:0201234567@trunk.test>', "0201234567", "sip:0201234567@trunk.test"),
        ("sip:%2B31201234567@trunk.test", "+31201234567", "sip:%2B31201234567@trunk.test"),
        ("<tel:+31-20-123.45(67)>", "+31201234567", "tel:+31-20-123.45(67)"),
        ("Bob <sips:bob@trunk.test:5061>", None, "sips:bob@trunk.test:5061"),
        ("<sip:anonymous@anonymous.invalid>", None, "sip:anonymous@anonymous.invalid"),
    ],
    ids=["E.164", "national", "escaped", "tel", "no number", "anonymous"],
)
def test_addresses(header: str, number: str | None, uri: str) -> None:
    """A header gives its URI, and the number in it where there is one."""
    address = parse_address(header)
    assert address is not None
    assert address.number == number
    assert address.uri == uri


@pytest.mark.parametrize("header", ["", "anonymous", "<>", "sip:", "http://evil.test"])
def test_what_is_no_address_is_none(header: str) -> None:
    """A header that is no address gives None."""
    assert parse_address(header) is None


@pytest.mark.parametrize(
    ("before", "display_name"),
    [
        ('"Jan" ', "Jan"),
        (' \u00a0"Jan \\"J\\" <x>"', 'Jan "J" <x>'),
        ("Jan de Boer  ", "Jan de Boer"),
        ("", ""),
        ('""', ""),
        ('"Jan ', ""),
        ('Jan "J" ', ""),
    ],
    ids=["quoted", "escaped", "plain", "none", "empty", "open quote", "quote in words"],
)
def test_display_name(before: str, display_name: str) -> None:
    """The display name is what stands before the bracket, without quotes; where that is odd, it is empty."""
    address = parse_address(f"{before}<sip:jan@trunk.test>")
    assert address is not None
    assert address.display_name == display_name
    bare = parse_address("Jan sip:jan@trunk.test")
    assert bare is not None
    assert bare.display_name == ""


DISPLAY = re.compile(r'^\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^<"]*?))\s*<')
"""The grammar of a display name as one pattern, which takes cubic time; ours is linear (tests/bench)."""


@given(st.text(alphabet='aB \t\u00a0"\\<>:', max_size=30))
def test_display_name_follows_the_grammar(before: str) -> None:
    """The display name is what SIP's grammar says, whatever stands before the bracket."""
    address = parse_address(header := f"{before}<sip:jan@trunk.test>")
    assert address is not None
    found = DISPLAY.match(header)
    name = (found["quoted"] if found["quoted"] is not None else found["plain"]) if found else ""
    assert address.display_name == re.sub(r"\\(.)", r"\1", name).strip()


@given(st.text(max_size=3000))
def test_no_header_breaks_it(header: str) -> None:
    """Any text in a header gives an address or None."""
    address = parse_address(header)
    assert address is None or len(address.uri) <= len(header)


def test_the_trunk_is_believed_first() -> None:
    """What the trunk asserts counts before what the caller says, whatever the case and repeats of headers."""
    headers = [
        ("From", "<sip:+1@evil.test>"),
        ("p-asserted-identity", "nonsense"),
        ("P-Asserted-Identity", "<sip:+31201234567@trunk.test>"),
    ]
    found = caller(headers)
    assert found is not None
    assert found.number == "+31201234567"
    assert caller([]) is None


def test_dialled_before_diversions() -> None:
    """A diverted call was for the number of its oldest diversion."""
    to = ("To", "<sip:+31200000009@trunk.test>")
    diversions = [("Diversion", "<sip:+31200000002@trunk.test>"), ("Diversion", "<sip:+31200000001@trunk.test>")]
    first, plain = dialled([to, *diversions]), dialled([to])
    assert first is not None
    assert plain is not None
    assert (first.number, plain.number) == ("+31200000001", "+31200000009")
