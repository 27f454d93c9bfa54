"""Limits: which one ends a call, and when the caller is asked if they are there."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from sideband import Limits
from supervisor.agents.limits import Meter
from supervisor.outcomes import EndReason

START = 1_000_000.0
NONE: dict[str, Any] = {field.name: None for field in fields(Limits) if field.name != "goodbye"}
"""No limit at all."""


def limits(**given: Any) -> Limits:
    """Make limits of which only these are set."""
    return Limits(**NONE | given)


def meter(**used: Any) -> Meter:
    """Make the meter of a call that has just been accepted."""
    return Meter(**{"started_at": START, "last_word_at": START, **used})


@pytest.mark.parametrize(
    ("given", "used", "after", "reason"),
    [
        ({"max_seconds": 60}, {}, 60, EndReason.MAX_DURATION),
        ({"max_usd": 2}, {"cost_usd": 2.0}, 1, EndReason.MAX_COST),
        ({"max_tokens": 1000}, {"tokens": 1000}, 1, EndReason.MAX_TOKENS),
        ({"no_audio_seconds": 60}, {}, 60, EndReason.NO_CALLER),
        ({"silence_seconds": 30}, {}, 30, EndReason.SILENCE),
        ({"idle_timeouts": 3}, {"idle_timeouts": 3}, 1, EndReason.SILENCE),
    ],
    ids=["duration", "cost", "tokens", "no caller", "silence", "idle time-outs"],
)
def test_a_limit_is_reached(given: dict[str, Any], used: dict[str, Any], after: float, reason: EndReason) -> None:
    """Each limit ends the call with a reason of its own, from the moment on at which it is reached."""
    used_less = {name: value - 0.5 for name, value in used.items()}
    assert meter(**used).exceeded(limits(**given), START + after) is reason
    assert meter(**used_less).exceeded(limits(**given), START + after - 0.5) is None


def test_no_limits() -> None:
    """Without limits a call goes on, however long and dear it is."""
    assert meter(cost_usd=1e6, tokens=10**9, idle_timeouts=99).exceeded(limits(), START + 1e6) is None


def test_the_defaults() -> None:
    """By default a call in which people speak ends after an hour."""
    talking = meter(caller_heard=True, last_word_at=START + 3599)
    assert talking.exceeded(Limits(), START + 3599) is None
    assert talking.exceeded(Limits(), START + 3600) is EndReason.MAX_DURATION


def test_a_caller_who_was_heard() -> None:
    """Once the caller was heard, the limit for a caller who is not there is over for good."""
    heard = meter()
    heard.word(START + 1, caller=True)
    assert heard.exceeded(limits(no_audio_seconds=60), START + 3000) is None


@pytest.mark.parametrize(("caller", "left"), [(True, 0), (False, 2)], ids=["caller", "agent"])
def test_words_and_idle_timeouts(caller: bool, left: int) -> None:
    """Only a word of the caller's ends a row of idle time-outs; any word ends the silence."""
    used = meter(idle_timeouts=2)
    used.word(START + 10, caller=caller)
    assert (used.idle_timeouts, used.last_word_at) == (left, START + 10)


def test_the_caller_is_asked_once() -> None:
    """After half of the silence the caller is asked, once in a silence."""
    silent, given = meter(), limits(silence_seconds=30, silence_question="Are you there?")
    asked = [silent.should_ask(given, START + seconds) for seconds in (14, 15, 16, 29)]
    assert asked == [False, True, False, False]


def test_the_question_is_no_answer() -> None:
    """The agent's question ends the silence, and is not asked again until the caller has spoken."""
    silent, given = meter(), limits(silence_seconds=30, silence_question="Are you there?")
    assert silent.should_ask(given, START + 15)
    silent.word(START + 17, caller=False)
    assert not silent.should_ask(given, START + 40)
    silent.word(START + 41, caller=True)
    assert silent.should_ask(given, START + 56)


@pytest.mark.parametrize("missing", ["silence_seconds", "silence_question"])
def test_nothing_to_ask(missing: str) -> None:
    """Without a limit for silence, or without a question, nobody is asked."""
    given = {"silence_seconds": 30, "silence_question": "Are you there?"} | {missing: None}
    assert not meter().should_ask(limits(**given), START + 1000)
