"""The message between function and supervisors."""

import pytest
from pydantic import ValidationError

from function.notice import CallNotice


def test_a_notice_survives_the_way_through_pubsub() -> None:
    notice = CallNotice(
        call_id="rtc_1", sip_headers=[("Via", "a"), ("Via", "a")], context={"sub": "user-17"}, received_at=1.5
    )
    assert CallNotice.parse(notice.data()) == notice
    assert notice.attributes() == {"schema": "1", "surface": "realtime", "transport": "sip"}


def test_fields_of_a_newer_function_are_ignored() -> None:
    """During a deploy a newer function talks to an older supervisor."""
    assert CallNotice.parse(b'{"schema": 2, "call_id": "rtc_1", "new": [1]}').call_id == "rtc_1"


@pytest.mark.parametrize(
    "data", [b"", b"{}", b'{"call_id": ""}', b'{"call_id": 5}', b'{"call_id": "a", "surface": "x"}']
)
def test_what_is_no_notice_is_refused(data: bytes) -> None:
    with pytest.raises(ValidationError):
        CallNotice.parse(data)


def test_the_key_of_a_call_is_not_shown() -> None:
    assert "ek_1" not in repr(CallNotice(call_id="rtc_1", client_secret="ek_1"))
