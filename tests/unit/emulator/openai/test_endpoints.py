"""The webhook endpoints that are managed by API: their settings, their secrets, their test event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from emulator.openai import endpoints as under_test
from emulator.openai.endpoints import (
    CALL_INCOMING,
    LIVE_INCOMING,
    OLD_SECRET_SECONDS,
    Endpoint,
    Endpoints,
    sample_event,
)
from emulator.openai.errors import ApiError

GOOD: dict[str, Any] = {"name": "calls", "url": "https://edge.test/", "event_types": [CALL_INCOMING]}


class Clock:
    """Stands in for the module `time`."""

    now = 1_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(under_test, "time", clock)
    return clock


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoints().create(GOOD)


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"url": "edge.test"}, "url"),
        ({"name": ""}, "name"),
        ({"event_types": []}, "event_types"),
        ({"event_types": [CALL_INCOMING, "realtime.call.ended"]}, "event_types"),
        ({"retries": 3}, "retries"),
    ],
    ids=["no URL", "no name", "no type", "unknown type", "unknown field"],
)
def test_wrong_settings(wrong: dict[str, Any], param: str) -> None:
    """Wrong settings are refused by the field at fault, and neither make nor change an endpoint."""
    endpoints = Endpoints()
    made = endpoints.create(GOOD)
    changes: list[Callable[[], object]] = [
        lambda: endpoints.create({**GOOD, **wrong}),
        lambda: endpoints.update(made.id, wrong),
    ]
    for change in changes:
        with pytest.raises(ApiError) as refused:
            change()
        assert (refused.value.status, refused.value.code, refused.value.param) == (400, "invalid_value", param)
    assert [one.settings.model_dump() for one in endpoints] == [GOOD]


def test_found_by_id() -> None:
    """An endpoint is found, changed and deleted by its id; an unknown id is 404."""
    endpoints = Endpoints()
    made = endpoints.create(GOOD)
    assert endpoints.update(made.id, {"url": "https://other.test/"}) is endpoints.find(made.id)
    assert made.settings.url == "https://other.test/"
    endpoints.delete(made.id)
    for use in (endpoints.find, endpoints.delete, lambda id_: endpoints.update(id_, {})):
        with pytest.raises(ApiError) as refused:
            use(made.id)
        assert refused.value.status == 404


def test_listening() -> None:
    """An event goes to the endpoints that want its type."""
    endpoints = Endpoints()
    both = endpoints.create({**GOOD, "event_types": [CALL_INCOMING, LIVE_INCOMING]})
    calls = endpoints.create(GOOD)
    assert endpoints.listening(CALL_INCOMING) == [both, calls]
    assert endpoints.listening(LIVE_INCOMING) == [both]


def test_a_rotation(clock: Clock, endpoint: Endpoint) -> None:
    """After a rotation the old secret signs, too, for 24 hours."""
    (old,) = endpoint.secrets()
    endpoint.rotate(keep_old=True)
    new = endpoint.signing_secret
    assert (endpoint.secrets(), new != old) == ([new, old], True)
    clock.now += OLD_SECRET_SECONDS
    assert endpoint.secrets() == [new]


def test_a_rotation_without_the_old_secret(endpoint: Endpoint) -> None:
    """Where it is not kept, the old secret is good for nothing at once."""
    old = endpoint.signing_secret
    endpoint.rotate(keep_old=False)
    assert old not in endpoint.secrets()


def test_the_secret_is_shown_once(endpoint: Endpoint) -> None:
    """An endpoint is shown with its secret only where that is asked for, and else with a hint."""
    shown = endpoint.as_dict()
    assert endpoint.signing_secret not in str(shown)
    assert shown["signing_secret_hint"].endswith(endpoint.signing_secret[-4:])
    assert endpoint.as_dict(with_secret=True)["signing_secret"] == endpoint.signing_secret


def test_sample_event() -> None:
    """The event of a test is of no real call, and each has an id of its own."""
    first, second = (sample_event(CALL_INCOMING) for _ in range(2))
    assert first["data"]["call_id"].startswith("rtc_test_")
    assert first["id"] != second["id"]
    assert "call_id" not in sample_event("batch.completed")["data"]
