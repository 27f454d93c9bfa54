"""How far a measurement is, for people who wait for it."""

from __future__ import annotations

import sys
import time

_BEGAN = time.monotonic()


def say(what: str) -> None:
    """Print a line with the minutes and seconds since the start, on standard error."""
    seconds = int(time.monotonic() - _BEGAN)
    sys.stderr.write(f"{seconds // 60:3d}:{seconds % 60:02d}  {what}\n")
