"""Call signalling at OpenAI: accept, attach, refuse, refer, hang up.

Each request is made again for as long as its failure may pass, and never while the call may be another supervisor's.
What comes of it is returned, as an `Outcome` where that decides about the call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import structlog

from function.notice import CallNotice
from supervisor.errors import AttachError, ControlError, Operation
from supervisor.openai.failures import Verdict, verdict
from supervisor.openai.rest import RestClient
from supervisor.openai.retry import with_retry
from supervisor.openai.sideband import Sideband, attach
from supervisor.outcomes import CallEnded, EndReason, Outcome, PassOn
from supervisor.telemetry.tracing import traced

log = structlog.get_logger()

ACCEPT_SECONDS = 20.0  # a caller rarely lets it ring longer
# For this long a 404 may mean "not yet" (openai-realtime.md#when-attachable).
FIRST_ATTACH_SECONDS = {"sip": 10.0, "webrtc": 30.0}
ATTACH_AFTER_REFUSAL_SECONDS = 2.0
REATTACH_SECONDS = 30.0  # after that another supervisor may have more luck
REFER_SECONDS = 5.0
DECLINE = 603  # what OpenAI refuses with when it is given no code
CONTROL_SECONDS = 15.0  # for hanging up and refusing: worth many tries, since an orphaned call is billed


@dataclass(frozen=True, slots=True, repr=False)
class Signalling:
    """Take, refuse, transfer and end one call at OpenAI, with the project's key."""

    _rest: RestClient
    _websocket_base_url: str
    _api_key: str
    _user_agent: str
    _permits: Callable[[], bool]
    """Whether anything may be done to the call now."""

    @traced("accept")
    async def accept(self, call_id: str, session: Mapping[str, Any]) -> bool | Outcome:
        """Accept a SIP call; False when OpenAI refused.

        A refusal may mean that the call was accepted before: the attach that follows shows whether it lives. OpenAI's
        404 means that it knows no such call: the caller is gone (`MISSED`), unless an earlier owner had accepted.
        """
        try:
            await self._request("accept", call_id, ACCEPT_SECONDS, lambda: self._rest.accept(call_id, session))
        except ControlError as error:
            match verdict("accept", error.status):
                case Verdict.OVER:
                    return CallEnded(EndReason.MISSED)
                case Verdict.HAND_OVER | Verdict.RETRY:
                    return PassOn(str(error))
            log.warning("accept_refused", error=str(error))
            return False
        log.info("accepted")
        return True

    async def attach(self, notice: CallNotice, *, accepted: bool) -> Sideband | Outcome:
        """Attach to a call for the first time.

        `NEVER_ATTACHED` means that OpenAI knew of no such call for as long as was worth waiting: not long, unless the
        call was accepted.
        """
        within_seconds = FIRST_ATTACH_SECONDS[notice.transport] if accepted else ATTACH_AFTER_REFUSAL_SECONDS
        try:
            return await with_retry("attach", within_seconds, lambda: self._attach(notice))
        except AttachError as error:
            if verdict("attach", error.status) is Verdict.OVER:
                return CallEnded(EndReason.CALLER_HUNG_UP)
            if error.status == HTTPStatus.NOT_FOUND:
                return CallEnded(EndReason.NEVER_ATTACHED)
            return PassOn(str(error))

    async def reattach(self, notice: CallNotice) -> Sideband | Outcome:
        """Attach to a call that was attached before.

        One that OpenAI no longer knows is over.
        """
        try:
            return await with_retry("reattach", REATTACH_SECONDS, lambda: self._attach(notice))
        except AttachError as error:
            if verdict("reattach", error.status) is Verdict.OVER:
                return CallEnded(EndReason.CALLER_HUNG_UP)
            return PassOn(str(error))

    @traced("attach")
    async def _attach(self, notice: CallNotice) -> Sideband:
        """Attach with the project's key, or else with the one that made the call.

        OpenAI may know a browser's own call under that key alone.
        """
        try:
            return await self._attach_with(self._api_key, notice.call_id)
        except AttachError as error:  # which key may attach is not known (openai-realtime.md#which-key)
            if error.status != HTTPStatus.NOT_FOUND or notice.client_secret is None:
                raise
            return await self._attach_with(notice.client_secret, notice.call_id)

    async def _attach_with(self, key: str, call_id: str) -> Sideband:
        return await attach(self._websocket_base_url, call_id, bearer=key, user_agent=self._user_agent)

    async def reject(self, call_id: str, status_code: int, *, maybe_accepted: bool) -> Outcome | None:
        """Refuse a ringing call with a SIP status code.

        That the call is gone already is success.

        Args:
            call_id: which call.
            status_code: for the caller; should OpenAI not take it, the call is declined.
            maybe_accepted: whether an earlier owner may have accepted the call.

        Returns `REJECTED`, `PassOn` when OpenAI did not do it and the call may still ring, or None when the call was
        decided before, so that somebody may be talking.
        """
        failure = await self._end("reject", call_id, lambda: self._rest.reject(call_id, status_code))
        if failure is Verdict.GIVE_UP:
            failure = await self._end("reject", call_id, lambda: self._rest.reject(call_id, DECLINE))
        if failure is Verdict.DECIDED or (failure is Verdict.GIVE_UP and maybe_accepted):
            return None
        if failure in {None, Verdict.OVER}:
            return CallEnded(EndReason.REJECTED)
        return PassOn("the call could not be refused")

    async def refer(self, call_id: str, target_uri: str) -> None:
        """Ask OpenAI to transfer a SIP call.

        That it agrees says nothing about whether the caller goes.

        Raises:
            ControlError: OpenAI refused, or did not answer.
        """
        await self._request("refer", call_id, REFER_SECONDS, lambda: self._rest.refer(call_id, target_uri))

    async def hang_up(self, notice: CallNotice) -> bool:
        """End a call; return whether it is over, as far as OpenAI says.

        That the call is gone already is success.
        """
        failure = await self._end("hangup", notice.call_id, lambda: self._rest.hangup(notice.call_id))
        if failure is not None and (key := notice.client_secret):
            # A browser's own call may be unknown to the project's key, and go on (openai-realtime.md#which-key).
            failure = await self._end("hangup", notice.call_id, lambda: self._rest.hangup(notice.call_id, bearer=key))
        return failure in {None, Verdict.OVER}

    async def _end(self, operation: Operation, call_id: str, request: Callable[[], Awaitable[None]]) -> Verdict | None:
        """Have OpenAI end a call; return what follows from a failure."""
        try:
            await self._request(operation, call_id, CONTROL_SECONDS, request)
        except ControlError as error:
            failure = verdict(operation, error.status)
            if failure not in {Verdict.OVER, Verdict.DECIDED}:
                log.error("control_failed", operation=operation, call_id=call_id, error=str(error))
            return failure
        return None

    async def _request(
        self, operation: Operation, call_id: str, within_seconds: float, request: Callable[[], Awaitable[None]]
    ) -> None:
        """Make a REST request about the call, whenever that is permitted.

        While it is not, time passes as if OpenAI did not answer: the claim is confirmed meanwhile, or found lost.

        Raises:
            ControlError: it failed for good, or for the last time that there was time for.
        """

        async def request_if_permitted() -> None:
            if not self._permits():
                raise ControlError(operation, call_id, None, None, "not sent, since the claim is not confirmed")
            await request()

        await with_retry(operation, within_seconds, request_if_permitted)
