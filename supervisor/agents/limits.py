"""When a call ends by itself.

Limits count conversation, not frames: noise alone keeps no call alive.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from supervisor.errors import StartupError
from supervisor.outcomes import EndReason


@dataclass(frozen=True, slots=True)
class Limits:
    """When an agent's calls end by themselves; None means no limit.

    Each limit ends the call with a reason of its own, after a last response.

    Raises:
        StartupError: a limit is not a number above 0, or a text is none.

    Examples:
        >>> Limits(max_seconds=900, max_usd=2.0).silence_seconds
        120.0
    """

    no_audio_seconds: float | None = 60.0
    """How long after the accept the caller may neither speak, type nor press a key; ends without a goodbye."""
    silence_seconds: float | None = 120.0
    """How long neither side may speak and no tool run."""
    silence_question: str | None = "Ask whether the caller is still there."
    """Instructions for what to say after half of `silence_seconds`; None says nothing."""
    idle_timeouts: int | None = 3
    """How many of the session's own `idle_timeout_ms` may follow each other without a word of the caller."""
    max_seconds: float | None = 3600.0
    """How long a call may last after its accept."""
    max_usd: float | None = None
    """What a call may cost at OpenAI, by `supervisor.openai.prices`."""
    max_tokens: int | None = None
    """How many tokens its responses may use, in and out."""
    goodbye: str = "Say goodbye, briefly."
    """Instructions for the last response before a limit ends the call."""

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            wanted = str if isinstance(limit.default, str) else int | float
            if value is not None and (not isinstance(value, wanted) or (not isinstance(value, str) and value <= 0)):
                kind = "a text" if wanted is str else "a number above 0, or None"
                raise StartupError(f"Limits({limit.name}={value!r}): give {kind}")


@dataclass(slots=True)
class Meter:
    """What one call has used of its limits; times are Unix seconds."""

    started_at: float
    last_word_at: float
    caller_heard: bool = False
    idle_timeouts: int = 0
    asked: bool = False
    """Whether the caller was asked if they are there, in the present silence."""
    cost_usd: float = 0.0
    tokens: int = 0

    def word(self, now: float, *, caller: bool) -> None:
        """Note that somebody spoke or a tool ran.

        Only the caller's words end a row of idle time-outs.
        """
        if caller:
            self.caller_heard = True
            self.idle_timeouts = 0
        self.last_word_at = now
        self.asked = self.asked and not caller

    def exceeded(self, limits: Limits, now: float) -> EndReason | None:
        """Return the reason to end the call, if a limit is exceeded."""
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
        """Tell whether to ask now if the caller is there.

        True once in a silence.
        """
        if limits.silence_seconds is None or limits.silence_question is None or self.asked:
            return False
        self.asked = now - self.last_word_at >= limits.silence_seconds / 2
        return self.asked
