"""REST requests about calls: accept, reject, refer, hang up (openai-realtime.md#call-control)."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any

import openai
from openai import AsyncOpenAI

from supervisor.errors import ControlError, Operation

REQUEST_SECONDS = 5.0


class RestClient:
    """Make requests about calls, one a method.

    Whether to try again is decided by `failures.verdict`.

    Every method raises `ControlError` when OpenAI refuses, fails, or does not answer in time.
    """

    def __init__(self, *, api_key: str, base_url: str, user_agent: str) -> None:
        self._client = AsyncOpenAI(
            api_key=api_key,
            base_url=base_url,
            max_retries=0,
            timeout=REQUEST_SECONDS,
            default_headers={"User-Agent": user_agent},
        )
        self._calls = self._client.realtime.calls  # imported now, not while the first caller waits

    async def accept(self, call_id: str, session: Mapping[str, Any]) -> None:
        """Accept a SIP call with this session."""
        await _send("accept", call_id, self._calls.accept(call_id, type="realtime", extra_body=session))

    async def reject(self, call_id: str, status_code: int) -> None:
        """Refuse a SIP call with a SIP status code."""
        await _send("reject", call_id, self._calls.reject(call_id, status_code=status_code))

    async def refer(self, call_id: str, target_uri: str) -> None:
        """Transfer a SIP call to a tel: or sip: URI.

        Success means only that the request was passed on.
        """
        await _send("refer", call_id, self._calls.refer(call_id, target_uri=target_uri))

    async def hangup(self, call_id: str, *, bearer: str | None = None) -> None:
        """End a call, with the project's key unless another is given."""
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else None
        await _send("hangup", call_id, self._calls.hangup(call_id, extra_headers=headers))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


async def _send(operation: Operation, call_id: str, request: Awaitable[None]) -> None:
    try:
        await request
    except openai.APIStatusError as error:
        raise ControlError(operation, call_id, error.status_code, error.code, error.message) from error
    except openai.APIConnectionError as error:
        raise ControlError(operation, call_id, None, None, str(error.__cause__ or error)) from error
