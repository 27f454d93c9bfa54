"""The call as an agent's code sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from function.notice import CallNotice
from supervisor.agents.call import Call

if TYPE_CHECKING:
    from supervisor.agents.call import CallControl


def test_state_can_not_be_replaced() -> None:
    """A state put in the place of the call's own would not be kept, so that it is refused with what to write."""
    kept: dict[str, Any] = {"order": "B-1042"}
    call = Call(CallNotice(call_id="rtc_1"), cast("CallControl", None), kept)
    with pytest.raises(AttributeError, match=r"rtc_1.*call\.state\.update.*call\.state\.clear"):
        call.state = {"fresh": 1}
    call.state |= {"step": 2}
    assert call.state is kept
    assert kept == {"order": "B-1042", "step": 2}
