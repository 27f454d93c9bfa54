"""Server events: their ids, and texts cut into deltas."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.openai.options import Options
from emulator.openai.realtime.events import chunks, emitter, obfuscation, words


@pytest.mark.parametrize("novelties", [False, True], ids=["as documented", "novelties"])
def test_emitter(novelties: bool) -> None:
    """An event has its type, its fields and an id of its own; with the option `novelties` an unknown field, too."""
    sent: list[dict[str, Any]] = []
    emit = emitter(sent.append, Options(novelties=novelties))
    emit("response.created", response={"id": "resp_1"})
    emit("response.done")
    assert [event["type"] for event in sent] == ["response.created", "response.done"]
    assert sent[0]["response"] == {"id": "resp_1"}
    assert len({event["event_id"] for event in sent}) == 2
    assert all(("x_novelty" in event) is novelties for event in sent)


@given(st.text())
def test_deltas_make_up_the_text(text: str) -> None:
    """The deltas of any text make it up again, and none is empty unless the text is."""
    assert "".join(words(text)) == "".join(chunks(text)) == text
    assert all(words(text)) or not text


def test_words() -> None:
    """A text is cut before its spaces, as speech is; one of spaces alone is one delta."""
    assert words("One two, three. ") == ["One", " two,", " three. "]
    assert words("  ") == ["  "]


def test_obfuscation() -> None:
    """The padding of a delta is different each time."""
    assert obfuscation() != obfuscation()
