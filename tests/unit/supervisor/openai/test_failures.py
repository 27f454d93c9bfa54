"""The one table of what follows from a failure."""

import pytest

from supervisor.openai.failures import Verdict, Where, verdict


@pytest.mark.parametrize(
    ("where", "status", "expected"),
    [
        ("accept", 404, Verdict.OVER),
        ("accept", 400, Verdict.DECIDED),
        ("accept", 409, Verdict.DECIDED),
        ("accept", 422, Verdict.DECIDED),
        ("accept", 401, Verdict.HAND_OVER),
        ("accept", 429, Verdict.RETRY),
        ("accept", 500, Verdict.RETRY),
        ("accept", None, Verdict.RETRY),
        ("attach", 404, Verdict.RETRY),
        ("attach", 410, Verdict.OVER),
        ("attach", 401, Verdict.HAND_OVER),
        ("attach", 403, Verdict.HAND_OVER),
        ("attach", 429, Verdict.RETRY),
        ("attach", 503, Verdict.RETRY),
        ("attach", None, Verdict.RETRY),
        ("attach", 409, Verdict.RETRY),
        ("reattach", 404, Verdict.OVER),
        ("reattach", 410, Verdict.OVER),
        ("reattach", 409, Verdict.RETRY),
        ("reattach", 503, Verdict.RETRY),
        ("hangup", 404, Verdict.OVER),
        ("hangup", 400, Verdict.GIVE_UP),
        ("hangup", 500, Verdict.RETRY),
        ("reject", 404, Verdict.OVER),
        ("reject", 409, Verdict.DECIDED),
        ("reject", 400, Verdict.GIVE_UP),
        ("reject", 422, Verdict.GIVE_UP),
        ("refer", 400, Verdict.GIVE_UP),
        ("refer", 302, Verdict.GIVE_UP),
    ],
)
def test_verdict(where: Where, status: int | None, expected: Verdict) -> None:
    """Each failure has one verdict, by where it happened and its HTTP status; None is no answer."""
    assert verdict(where, status) is expected
