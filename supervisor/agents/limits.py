"""What ends a call by itself, and why. It counts conversation, not frames: a noisy line is not a living call."""

from __future__ import annotations

from dataclasses import dataclass, fields

from supervisor.errors import StartupError
from supervisor.outcomes import EndReason


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of an agent's calls; None means no limit. Each ends the call with a reason of its own."""

    no_audio_seconds: float | None = 60.0
    """How long the caller may neither speak, type nor press a key after the accept: nobody is there."""
    silence_seconds: float | None = 120.0
    """How long the conversation may stand still, neither side speaking and no tool running."""
    silence_question: str | None = "Ask whether the caller is still there."
    """Instructions for what to say after half of `silence_seconds`; None says nothing."""
    idle_timeouts: int | None = 3
    """How many of the session's own `idle_timeout_ms` may follow each other."""
    max_seconds: float | None = 3600.0
    max_usd: float | None = None
    max_tokens: int | None = None
    goodbye: str = "Say goodbye, briefly."
    """Instructions for the last response before a limit ends the call."""

    def __post_init__(self) -> None:
        """Refuse what is not a number above 0.

        Raises:
            StartupError: a limit is none.
        """
        for limit in fields(self):
            value = getattr(self, limit.name)
            wanted = str if isinstance(limit.default, str) else int | float
            if value is not None and (not isinstance(value, wanted) or (not isinstance(value, str) and value <= 0)):
                kind = "a text" if wanted is str else "a number above 0, or None"
                raise StartupError(f"Limits({limit.name}={value!r}): give {kind}")


@dataclass(slots=True)
class Meter:
    """What the limits of one call are held against; Unix seconds."""

    started_at: float
    last_word_at: float
    caller_heard: bool = False
    idle_timeouts: int = 0
    asked: bool = False
    """Whether the silence was broken by a question since the last word."""
    cost_usd: float = 0.0
    tokens: int = 0

    def word(self, now: float, *, caller: bool) -> None:
        """Somebody says something, or a tool runs. Only the caller's words end a row of idle time-outs."""
        if caller:
            self.caller_heard = True
            self.idle_timeouts = 0
        self.last_word_at = now
        self.asked = self.asked and not caller

    def exceeded(self, limits: Limits, now: float) -> EndReason | None:
        """The limit that is exceeded, if one is."""
        age, silence = now - self.started_at, now - self.last_word_at
        for reason, value, limit in (
            (EndReason.MAX_DURATION, age, limits.max_seconds),
            (EndReason.MAX_COST, self.cost_usd, limits.max_usd),
            (EndReason.MAX_TOKENS, self.tokens, limits.max_tokens),
            (EndReason.NO_CALLER, 0 if self.caller_heard else age, limits.no_audio_seconds),
            (EndReason.SILENCE, silence, limits.silence_seconds),
            (EndReason.SILENCE, self.idle_timeouts, limits.idle_timeouts),
        ):
            if limit is not None and value >= limit:
                return reason
        return None

    def should_ask(self, limits: Limits, now: float) -> bool:
        """Whether it is time to ask if somebody is there; true once in a silence."""
        if limits.silence_seconds is None or limits.silence_question is None or self.asked:
            return False
        self.asked = now - self.last_word_at >= limits.silence_seconds / 2
        return self.asked
