"""Checks Realtime events against the types of OpenAI's own client, for every suite that sees them go by."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from openai.types.realtime.realtime_client_event import RealtimeClientEvent
from openai.types.realtime.realtime_server_event import RealtimeServerEvent
from pydantic import TypeAdapter

if TYPE_CHECKING:
    from collections.abc import Mapping


@functools.cache
def _server_events() -> TypeAdapter[Any]:
    return TypeAdapter(RealtimeServerEvent)


@functools.cache
def _client_events() -> TypeAdapter[Any]:
    return TypeAdapter(RealtimeClientEvent)


def check_server_event(event: Mapping[str, Any]) -> None:
    """Hold a server event against OpenAI's types.

    Raises:
        pydantic.ValidationError: OpenAI could not have sent this.
    """
    _server_events().validate_python(dict(event))


def check_client_event(event: Mapping[str, Any]) -> None:
    """Hold a client event against OpenAI's types.

    Raises:
        pydantic.ValidationError: OpenAI would refuse this.
    """
    _client_events().validate_python(dict(event))
