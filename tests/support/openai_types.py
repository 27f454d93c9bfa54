"""Checks Realtime events against the types of OpenAI's own client, for every suite that sees them go by."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, get_args

from openai.types.realtime.realtime_client_event import RealtimeClientEvent
from openai.types.realtime.realtime_server_event import RealtimeServerEvent
from pydantic import BaseModel, TypeAdapter

if TYPE_CHECKING:
    from collections.abc import Mapping


def check_server_event(event: Mapping[str, Any]) -> None:
    """Hold a server event against OpenAI's types.

    Raises:
        pydantic.ValidationError: OpenAI could not have sent this.
    """
    _check(RealtimeServerEvent, event)


def check_client_event(event: Mapping[str, Any]) -> None:
    """Hold a client event against OpenAI's types.

    Raises:
        pydantic.ValidationError: OpenAI would refuse this.
    """
    _check(RealtimeClientEvent, event)


def _check(union: Any, event: Mapping[str, Any]) -> None:
    model = _by_type(union).get(event.get("type", ""))
    if model:
        model.model_validate(dict(event))
    else:
        TypeAdapter(union).validate_python(dict(event))


@functools.cache
def _by_type(union: Any) -> dict[str, type[BaseModel]]:
    """Return the events of a union by their `type`.

    One is checked a hundred times faster than all of them.
    """
    models: tuple[type[BaseModel], ...] = get_args(get_args(union)[0])
    return {name: model for model in models for name in get_args(model.model_fields["type"].annotation)}
