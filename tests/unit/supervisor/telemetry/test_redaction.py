"""What is cut out of log lines, and what is not."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.telemetry import redaction
from supervisor.telemetry.redaction import PERSONAL_DATA, PersonalData, redact


@pytest.mark.parametrize("data", PERSONAL_DATA, ids=lambda data: data.kind)
def test_each_kind_is_cut_out(data: PersonalData) -> None:
    """Its example, whole, by its own pattern and among words."""
    assert re.fullmatch(data.pattern, data.example)
    line = redact({"event": "x", "error": f"they said {data.example}, and left"}, personal_data=False)
    assert line == {"event": "x", "error": "they said [personal], and left"}


@pytest.mark.parametrize("data", PERSONAL_DATA, ids=lambda data: data.kind)
def test_no_kind_is_superfluous(data: PersonalData) -> None:
    """Without its pattern, something of its example would stay."""
    others = "|".join(other.pattern for other in PERSONAL_DATA if other is not data)
    assert not re.fullmatch(others, data.example)


def test_what_may_be_logged_is_left() -> None:
    """Where personal data is allowed, secrets are cut out all the same."""
    line = redact({"text": "an@shop.test", "error": "key sk-proj-abcdefgh12345"}, personal_data=True)
    assert line == {"text": "an@shop.test", "error": "key [secret]"}


@given(
    st.integers(min_value=0, max_value=20), st.sampled_from(["+31201234567", "sk-proj-abcdefgh12345", "an@shop.test"])
)
def test_no_half_is_left_at_a_cut(offset: int, secret: str) -> None:
    """Where a long string is cut, no half of a number or key is left."""
    half = redaction._MAX_CHARACTERS // 2
    text = " " * (half - offset) + secret + " " * 2 * half + secret + " " * (half - offset)
    written = redact({"error": text}, personal_data=False)["error"]
    assert set(re.sub(r"\[[^]]*\]", "", written)) == {" "}
