"""A plausible SDP answer, for calls without media."""

from __future__ import annotations

import secrets


def sdp_answer(offer: str) -> str:
    """Answer an SDP offer; all its media sections are accepted."""
    sections = [line.removeprefix("m=") for line in offer.splitlines() if line.startswith("m=")]
    mids = [line.removeprefix("a=mid:") for line in offer.splitlines() if line.startswith("a=mid:")]
    lines = [
        "v=0",
        f"o=- {secrets.randbits(62)} 2 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        f"a=group:BUNDLE {' '.join(mids)}".rstrip(),
        "a=msid-semantic:WMS *",
        f"a=fingerprint:sha-256 {_fingerprint()}",
    ]
    password = secrets.token_hex(12)
    for number, section in enumerate(sections):
        kind, _, protocol, *formats = section.split()
        lines += [f"m={kind} 9 {protocol} {' '.join(formats)}", "c=IN IP4 0.0.0.0", "a=setup:active"]
        lines += [f"a=mid:{mids[number] if number < len(mids) else number}"]
        lines += [f"a=ice-ufrag:{password[:8]}", f"a=ice-pwd:{password}"]
        lines += ["a=rtcp-mux", "a=sendrecv"] if kind == "audio" else []
    return "\r\n".join([*lines, ""])


def _fingerprint() -> str:
    return ":".join(f"{byte:02X}" for byte in secrets.token_bytes(32))
