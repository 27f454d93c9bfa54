"""Calls from browsers: the sessions that they get."""

from pathlib import Path

import pytest

from function.errors import SettingsError
from function.webrtc import read_sessions


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"sell": {}}', '{"sell": {"type": "realtime"}}'])
def test_a_sessions_file_that_is_of_no_use_says_how_to_write_one(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "sessions.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsError, match=r"sideband sessions"):
        read_sessions(file)


def test_sessions_are_read_by_name(tmp_path: Path) -> None:
    file = tmp_path / "sessions.json"
    file.write_text('{"sell": {"type": "realtime", "model": "gpt-realtime-2.1"}}')
    assert read_sessions(file) == {"sell": {"type": "realtime", "model": "gpt-realtime-2.1"}}
