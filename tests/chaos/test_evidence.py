"""What a run leaves is read as it was written."""

from tests.chaos.evidence import pid_of, read_effects
from tests.chaos.written_logs import PAID, A


def test_effects_and_names_are_read() -> None:
    """The lines of the chaos agent, and the process id in a User-Agent, are read."""
    assert read_effects(["pay rtc_1:call_1 11"]) == [PAID]
    assert pid_of(A) == 11
    assert pid_of("stand-in") == 0
