"""Limits on a request's head; those on its body need a socket, in test_edge and test_edge_load."""

from http import HTTPStatus

import flask
import pytest
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder

from function.errors import RequestError
from function.request_limits import MAX_HEADER_BYTES, MAX_HEADERS, MAX_TARGET_BYTES, check_head


def request(path: str = "/", **headers: str) -> flask.Request:
    builder = EnvironBuilder("/", headers=Headers({name.replace("_", "-"): text for name, text in headers.items()}))
    return flask.Request(builder.get_environ() | {"RAW_URI": path})


def test_an_ordinary_head_passes() -> None:
    """A request with an ordinary head passes."""
    check_head(request(content_encoding="identity", x_a="1"))


@pytest.mark.parametrize(
    ("refused", "status"),
    [
        (request("/" + "a" * MAX_TARGET_BYTES), HTTPStatus.REQUEST_URI_TOO_LONG),
        (request(x_a="a" * MAX_HEADER_BYTES), HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
        (
            request(**{f"x_{number}": "a" for number in range(MAX_HEADERS + 1)}),
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        ),
        (request(**{f"x_{number}": "a" * 8000 for number in range(5)}), HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
        (request(content_encoding=" GZIP "), HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    ],
    ids=["long address", "long header", "many headers", "large head", "compressed body"],
)
def test_a_head_beyond_its_limits(refused: flask.Request, status: HTTPStatus) -> None:
    """A head beyond one of its limits is refused; so is a compressed body, which is never unpacked."""
    with pytest.raises(RequestError) as error:
        check_head(refused)
    assert error.value.status == status
