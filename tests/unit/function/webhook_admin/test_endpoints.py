"""What is asked of OpenAI about its webhook endpoints, and how its answers are read."""

from __future__ import annotations

from typing import Any, cast

import pytest

from function.openai import OpenAI
from function.webhook import CALL_INCOMING
from function.webhook_admin import endpoints
from function.webhook_admin.endpoints import Endpoint, EndpointError

SHOWN: dict[str, Any] = {"id": "we_1", "url": "https://edge.test/", "event_types": [CALL_INCOMING]}


class Answers:
    """Stands in for `OpenAI`: answers with these in turn, and notes what was requested."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requested: list[tuple[Any, ...]] = []

    def request_json(self, *request: Any) -> Any:
        self.requested.append(request)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def as_openai(self) -> OpenAI:
        return cast("OpenAI", self)


def test_all_pages_are_read() -> None:
    """The list is read page by page, each from the last id of the one before."""
    answers = Answers(
        {"data": [SHOWN], "has_more": True, "last_id": "we/1"}, {"data": [{**SHOWN, "id": "we_2"}], "has_more": False}
    )
    assert [endpoint.id for endpoint in endpoints.all_of(answers.as_openai())] == ["we_1", "we_2"]
    assert [request[1].partition("?")[2] for request in answers.requested] == ["limit=100", "limit=100&after=we%2F1"]


@pytest.mark.parametrize("last_id", ["we_1", None], ids=["the same page", "no last id"])
def test_a_list_without_end(last_id: str | None) -> None:
    """A list that says of each page that there are more is read for a bounded number of pages."""
    answers = Answers({"data": [SHOWN], "has_more": True, "last_id": last_id})
    assert len(list(endpoints.all_of(answers.as_openai()))) <= 100


def test_create() -> None:
    """An endpoint is made for incoming calls."""
    answers = Answers({**SHOWN, "signing_secret": "whsec_c2VjcmV0"})
    made = endpoints.create(answers.as_openai(), "https://edge.test/", "sideband")
    assert made.new_secret == "whsec_c2VjcmV0"
    assert "whsec_" not in repr(made)
    body = {"name": "sideband", "url": "https://edge.test/", "event_types": [CALL_INCOMING]}
    assert answers.requested == [("POST", "/webhook_endpoints", body)]


def test_an_id_is_one_part_of_the_path() -> None:
    """An id can't lead to another address."""
    answers = Answers(SHOWN)
    endpoints.delete(answers.as_openai(), "../files?x")
    endpoints.rotate(answers.as_openai(), "we/2")
    assert [request[1] for request in answers.requested] == [
        "/webhook_endpoints/..%2Ffiles%3Fx",
        "/webhook_endpoints/we%2F2/rotate_secret",
    ]


def test_a_secret_that_was_left_out() -> None:
    """Where OpenAI shows no secret, the operator is told what to do."""
    with pytest.raises(EndpointError, match="we_1: rotate it"):
        _ = Endpoint(**SHOWN).new_secret


def test_an_answer_of_another_shape() -> None:
    """An answer that is not of the documented shape is an error of one line, without what it held."""
    with pytest.raises(EndpointError, match="documented shape") as raised:
        list(endpoints.all_of(Answers({"data": [{"id": 7, "secret": "whsec_x"}]}).as_openai()))
    assert "whsec_x" not in str(raised.value)
