"""Read who calls whom from an INVITE's headers.

RFC 3261, section 20.10. All of it is untrusted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

Headers = Sequence[tuple[str, str]]

LONGEST_HEADER = 2048  # characters that are looked at; the rest of a longer one is not an address
_URI = re.compile(r"(?P<scheme>sips?|tel):(?P<rest>[^\s<>\"]+)", re.IGNORECASE)
_QUOTED = re.compile(r'^"((?:[^"\\]|\\.)*+)"\s*+<')
_NUMBER = re.compile(r"\+?[0-9][0-9().\- ]{2,30}")


@dataclass(frozen=True, slots=True)
class Address:
    """One party of a call, as a header names it."""

    uri: str
    """Such as sip:+31201234567@sip.example.com, without parameters."""
    user: str
    host: str
    display_name: str = ""

    @property
    def number(self) -> str | None:
        """The user as digits, if it is a telephone number.

        With a leading + where there was one; None if it is no number.
        """
        if not _NUMBER.fullmatch(self.user):
            return None
        return ("+" if self.user.startswith("+") else "") + re.sub(r"\D", "", self.user)


def parse_address(value: str) -> Address | None:
    """Read an address; None if there is none in it.

    Examples:
        >>> parse_address('"Jan" <sip:+31201234567@sip.example.com;user=phone>;tag=1').number
        '+31201234567'
        >>> parse_address("anonymous") is None
        True
    """
    value = value[:LONGEST_HEADER]
    uri = _URI.search(value, value.find("<") + 1)
    if uri is None:
        return None
    scheme, address = uri["scheme"].lower(), re.split(r"[;?>]", uri["rest"], maxsplit=1)[0]
    user, _, host = address.rpartition("@") if "@" in address else (address, "", "")
    if scheme != "tel" and not host:
        user, host = "", address
    return Address(
        uri=f"{scheme}:{address}",
        user=unquote(user.partition(":")[0]),
        host=host.lower(),
        display_name=_display_name(value.lstrip()),
    )


def _display_name(value: str) -> str:
    """Return the name before the <, which may be in quotes."""
    quoted = _QUOTED.match(value)
    plain, bracket, _ = value.partition("<")
    name = quoted[1] if quoted else plain.rstrip() if bracket and '"' not in plain else ""
    return re.sub(r"\\(.)", r"\1", name).strip()


def addresses(headers: Headers, name: str) -> Iterator[Address]:
    """Yield the addresses in all headers of this name.

    In order; malformed ones are left out.
    """
    for key, value in headers:
        if key.lower() == name.lower() and (address := parse_address(value)):
            yield address


def caller(headers: Headers) -> Address | None:
    """Return who calls, as the trunk asserts or the caller says."""
    return next((address for name in ("P-Asserted-Identity", "From") for address in addresses(headers, name)), None)


def dialled(headers: Headers) -> Address | None:
    """Return who was called first, before any diversion."""
    diverted = list(addresses(headers, "Diversion"))
    return diverted[-1] if diverted else next(addresses(headers, "To"), None)
