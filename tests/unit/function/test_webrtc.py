"""Calls from browsers: the sessions that they get."""

from pathlib import Path

import pytest

from function.errors import SettingsError
from function.webrtc import read_sessions


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"sell": {}}', '{"sell": {"type": "realtime"}}'])
def test_a_sessions_file_of_no_use(tmp_path: Path, content: str | None) -> None:
    """A sessions file of no use is refused with the command that writes one."""
    file = tmp_path / "sessions.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsError, match=r"sideband sessions"):
        read_sessions(file)


def test_sessions_are_read_by_name(tmp_path: Path) -> None:
    """The sessions file gives each agent's session by the agent's name."""
    file = tmp_path / "sessions.json"
    file.write_text('{"sell": {"type": "realtime", "model": "gpt-realtime-2.1"}}')
    assert read_sessions(file) == {"sell": {"type": "realtime", "model": "gpt-realtime-2.1"}}
