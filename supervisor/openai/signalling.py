"""Taking a call at OpenAI, and letting go of it: accept, attach, refuse, hang up."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

import structlog

from function.notice import CallNotice
from supervisor.calls.services import Services
from supervisor.errors import AttachError, ControlError, Operation
from supervisor.openai.failures import Verdict, Where, verdict
from supervisor.openai.retry import with_retry
from supervisor.openai.sideband import Sideband, attach
from supervisor.outcomes import CallOver, EndReason, HandOver
from supervisor.records.record import CallRecord
from supervisor.telemetry.tracing import traced

log = structlog.get_logger()

ACCEPT_SECONDS = 20.0  # a caller rarely lets it ring longer
FIRST_ATTACH_SECONDS = {"sip": 10.0, "webrtc": 30.0}  # a 404 may mean "not yet" for this long (reference 3.3)
ATTACH_AFTER_REFUSAL_SECONDS = 2.0
REATTACH_SECONDS = 30.0  # after that another supervisor may have more luck
DECLINE = 603  # what OpenAI refuses with when it is told no code
CONTROL_SECONDS = 15.0  # for hanging up and refusing: worth many tries, since an orphaned call is billed


@traced("accept")
async def accept(services: Services, record: CallRecord, session: Mapping[str, Any], *, first_owner: bool) -> bool:
    """Take a SIP call, unless the record says that an earlier owner did. False when OpenAI refused.

    A refusal may mean that it was accepted before, so the attach that follows shows whether the call lives.

    Raises:
        CallOver: the caller was gone before.
        HandOver: this process may not, or can't, accept calls.
    """
    if record.accepted_at is not None:
        return True
    try:
        await with_retry("accept", ACCEPT_SECONDS, lambda: services.rest.accept(record.call_id, session))
    except ControlError as error:
        match verdict("accept", error.status):
            case Verdict.OVER if first_owner:
                raise CallOver(EndReason.MISSED) from error
            case Verdict.HAND_OVER | Verdict.RETRY:
                raise HandOver(str(error)) from error
        log.warning("accept_refused", error=str(error))
        return False
    log.info("accepted")
    record.accepted_at = time.time()
    return True


async def open_sideband(services: Services, notice: CallNotice, where: Where, *, accepted: bool) -> Sideband | None:
    """Attach to a call; None when there is nothing to attach to, and never was.

    Raises:
        CallOver: the call has ended.
        HandOver: this process can't attach.
    """
    within_seconds = REATTACH_SECONDS if where == "reattach" else FIRST_ATTACH_SECONDS[notice.transport]
    if not accepted:
        within_seconds = ATTACH_AFTER_REFUSAL_SECONDS
    try:
        return await with_retry(where, within_seconds, lambda: _attach(services, notice))
    except AttachError as error:
        if verdict(where, error.status) is Verdict.OVER:
            raise CallOver(EndReason.CALLER_HUNG_UP) from error
        if error.status == HTTPStatus.NOT_FOUND:
            return None
        raise HandOver(str(error)) from error


@traced("attach")
async def _attach(services: Services, notice: CallNotice) -> Sideband:
    """Attach with the project's key, and where that is not known the call, with the ephemeral key that made it."""
    url, call_id, agent = services.websocket_base_url, notice.call_id, services.user_agent
    try:
        return await attach(url, call_id, bearer=services.bearer, user_agent=agent)
    except AttachError as error:  # whose key may attach to such a call is not established (reference 3.2)
        if error.status != HTTPStatus.NOT_FOUND or notice.client_secret is None:
            raise
        return await attach(url, call_id, bearer=notice.client_secret, user_agent=agent)


async def reject(services: Services, call_id: str, status_code: int, *, maybe_accepted: bool) -> bool:
    """Refuse a ringing call with a SIP status code; that it is gone already is success.

    Args:
        services: what calls share.
        call_id: which call.
        status_code: for the caller; should OpenAI not take it, the call is declined.
        maybe_accepted: whether an earlier owner may have accepted it, and died before it could say so.

    Returns whether it is over. False means that it was decided before, so that somebody may be talking.

    Raises:
        HandOver: OpenAI did not do it, and the call may still ring.
    """
    said = await _tell("reject", call_id, lambda: services.rest.reject(call_id, status_code))
    if said is Verdict.GIVE_UP:
        said = await _tell("reject", call_id, lambda: services.rest.reject(call_id, DECLINE))
    if said is Verdict.DECIDED or (said is Verdict.GIVE_UP and maybe_accepted):
        return False
    if said not in {None, Verdict.OVER}:
        raise HandOver("the call could not be refused")
    return True


async def hang_up(services: Services, notice: CallNotice) -> bool:
    """End a call; that it is gone already is success. Returns whether it is over, as far as OpenAI says."""
    ended = await _tell("hangup", notice.call_id, lambda: services.rest.hangup(notice.call_id))
    if ended is not None and (key := notice.client_secret):
        # A browser's own call may be unknown to the project's key, and go on all the same (reference 3.2).
        ended = await _tell("hangup", notice.call_id, lambda: services.rest.hangup(notice.call_id, bearer=key))
    return ended in {None, Verdict.OVER}


async def _tell(operation: Operation, call_id: str, request: Callable[[], Awaitable[None]]) -> Verdict | None:
    """Ask OpenAI to end a call, again if need be; what follows from its refusal, or None when it did so."""
    try:
        await with_retry(operation, CONTROL_SECONDS, request)
    except ControlError as error:
        said = verdict(operation, error.status)
        if said not in {Verdict.OVER, Verdict.DECIDED}:
            log.error("control_failed", operation=operation, call_id=call_id, error=str(error))
        return said
    return None
