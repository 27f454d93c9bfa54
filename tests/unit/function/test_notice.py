"""The message between function and supervisors."""

import pytest
from pydantic import ValidationError

from function.notice import CallNotice


def test_a_round_trip() -> None:
    """A notice that went through Pub/Sub is what it was; its attributes are for filters."""
    notice = CallNotice(
        call_id="rtc_1", sip_headers=[("Via", "a"), ("Via", "a")], context={"sub": "user-17"}, received_at=1.5
    )
    assert CallNotice.parse(notice.data()) == notice
    assert notice.attributes() == {"schema": "1", "surface": "realtime", "transport": "sip"}


def test_new_fields_are_ignored() -> None:
    """Fields of a newer function are ignored: during a deploy it talks to an older supervisor."""
    assert CallNotice.parse(b'{"schema": 2, "call_id": "rtc_1", "new": [1]}').call_id == "rtc_1"


@pytest.mark.parametrize(
    "data", [b"", b"{}", b'{"call_id": ""}', b'{"call_id": 5}', b'{"call_id": "a", "surface": "x"}']
)
def test_what_is_no_notice_is_refused(data: bytes) -> None:
    """What is no notice is refused."""
    with pytest.raises(ValidationError):
        CallNotice.parse(data)


def test_the_key_of_a_call_is_not_shown() -> None:
    """The key of a browser's call is not in what is printed of a notice."""
    assert "ek_1" not in repr(CallNotice(call_id="rtc_1", client_secret="ek_1"))
