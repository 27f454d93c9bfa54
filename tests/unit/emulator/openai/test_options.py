"""Options: what they refuse, and how they change."""

import pytest

from emulator.openai.options import Options


def test_options_change_all_or_none() -> None:
    """A change of several options takes effect as a whole, or not at all."""
    options = Options()
    with pytest.raises(ValueError, match="speed"):
        options.change({"patience_seconds": 1, "speed": 0})
    assert options.patience_seconds == Options().patience_seconds
    options.change({"patience_seconds": 1, "speed": 5})
    assert (options.patience_seconds, options.speed) == (1, 5)


def test_a_webhook_needs_a_secret() -> None:
    """A webhook without a signing secret is refused."""
    with pytest.raises(ValueError, match="whsec_"):
        Options(webhook_url="http://127.0.0.1:1/")
