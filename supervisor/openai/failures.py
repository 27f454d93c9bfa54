"""What follows from a failure at OpenAI: `verdict`, a pure function over one table."""

from __future__ import annotations

from enum import Enum
from typing import Literal

Where = Literal["accept", "reject", "refer", "hangup", "attach", "reattach"]


class Verdict(Enum):
    """What follows from a failure."""

    RETRY = "try the same again, with back-off, while there is time"
    OVER = "the call is over"
    DECIDED = "it may have been decided before: attach and see"
    HAND_OVER = "this supervisor can't do it; another may"
    GIVE_UP = "no supervisor can do it"


# A status in `exact` wins over its class ("4xx", "5xx"); None stands for "no answer".
# What is known of a 404 stands in openai-realtime.md#unknown-calls and openai-realtime.md#when-attachable.
_TABLE: dict[Where, dict[int | str | None, Verdict]] = {
    "accept": {404: Verdict.OVER, 400: Verdict.DECIDED, 409: Verdict.DECIDED, "4xx": Verdict.DECIDED},
    # That a call was decided before is a conflict; 400 and 422 more likely mean what was asked for.
    "reject": {
        404: Verdict.OVER,
        410: Verdict.OVER,
        400: Verdict.GIVE_UP,
        422: Verdict.GIVE_UP,
        "4xx": Verdict.DECIDED,
    },
    "refer": {404: Verdict.OVER, "4xx": Verdict.GIVE_UP},
    "hangup": {404: Verdict.OVER, 410: Verdict.OVER, "4xx": Verdict.GIVE_UP},
    # A refusal may pass: that two sockets may attach at once is not known (openai-realtime.md#several-sidebands).
    "attach": {404: Verdict.RETRY, 410: Verdict.OVER, "4xx": Verdict.RETRY},
    "reattach": {404: Verdict.OVER, 410: Verdict.OVER, "4xx": Verdict.RETRY},
}
_EVERYWHERE: dict[int | str | None, Verdict] = {
    401: Verdict.HAND_OVER,
    403: Verdict.HAND_OVER,
    408: Verdict.RETRY,
    429: Verdict.RETRY,
    "5xx": Verdict.RETRY,
    None: Verdict.RETRY,
}


def verdict(where: Where, status: int | None) -> Verdict:
    """Look up what follows from a failure.

    Args:
        where: what was tried.
        status: the HTTP status of the answer, or None when none came.

    Examples:
        >>> verdict("reattach", 404)
        <Verdict.OVER: 'the call is over'>
    """
    table = {**_EVERYWHERE, **_TABLE[where]}
    if status in table:
        return table[status]
    return table.get(f"{(status or 0) // 100}xx", Verdict.GIVE_UP)
