"""The queue of one conversation's responses.

One response at a time may write to the conversation, and voice activity detection (VAD) begins responses too. So a
queued response waits for `response.done`. Where VAD was faster than our request, OpenAI refuses the request with
`conversation_already_has_active_response`, and the response goes back to the front of the queue.

    queued ──response.create──► requested ──response.created──► active ──response.done──► (idle)
       ▲                            │
       └────────────────────────────┘ another was active, the sideband was lost, or nothing came of it

Two kinds are queued, and neither stands in for the other:

- An *instructed* response says something of its own, such as `Call.say`. Each is requested, in order.
- The *continuation* has the model go on after a tool's output. At most one is queued, however often it is added; a
  response that VAD began after OpenAI had the output does as well.

It does no I/O; `conversation` feeds it. It also numbers our client events, so that errors can name them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from supervisor.conversation.actions import Send

UNKNOWN_RESPONSE = "unknown"
"""Stands for an active response whose beginning we never saw."""

MOST_REQUESTS = 3
"""How often in a row a response is requested of which nothing is heard."""
MOST_QUEUED = 32
"""How many responses may wait; further instructed ones are left out."""
_MARK = "sideband"  # in the metadata of our responses, which OpenAI echoes


@dataclass(eq=False, slots=True)
class _Queued:
    """A response that is queued or requested."""

    response: Mapping[str, Any]
    optional: bool = False
    """Whether to drop it, instead of requesting it again, when another response came first or the request was lost."""
    event_id: str = ""
    """The `response.create` that last requested it."""
    lost_event_id: str = ""
    """An earlier one, of which no answer was seen; its response may have begun all the same."""

    @property
    def instructed(self) -> bool:
        """Whether it says something of its own; otherwise it is the continuation."""
        return "instructions" in self.response


@dataclass(eq=False, slots=True, repr=False)
class ResponseQueue:
    """The responses that are active, requested and queued."""

    epoch: int = 0
    """Which owner of the call this is; part of our event ids, so that an earlier owner's are not taken for ours."""
    active: str | None = None
    """Id of the active response, or `UNKNOWN_RESPONSE` when only its existence is known."""
    _queue: tuple[_Queued, ...] = ()
    """In order; at most one is the continuation."""
    _requested: _Queued | None = None
    """What OpenAI was asked for, and has neither begun nor refused."""
    _begun_since: bool = False
    """Whether any response has begun since the last request."""
    _unheard_requests: int = 0
    """How many requests in a row nothing was heard of."""
    _events: int = 0

    @property
    def busy(self) -> bool:
        """Whether a response is active, requested or queued."""
        return self.active is not None or bool(self._queue) or self._requested is not None

    @property
    def requested(self) -> str | None:
        """The event id of the open request, if there is one.

        OpenAI has neither begun nor refused its response.
        """
        return self._requested.event_id if self._requested else None

    @property
    def full(self) -> bool:
        """Whether no further instructed response is taken."""
        return len(self._queue) >= MOST_QUEUED

    def new_event(self, type_: str) -> dict[str, Any]:
        """Make a client event, with an id that errors can name."""
        self._events += 1
        return {"type": type_, "event_id": f"sb_{self.epoch}_{self._events}"}

    def add(self, response: Mapping[str, Any] | None = None, *, optional: bool = False) -> list[Send]:
        """Queue a response; request it once no other is active.

        Args:
            response: OpenAI's `response.create.response` (openai-realtime.md#out-of-band-responses). With
                `instructions` it is queued after all others, unless the queue is `full`; without, it is the
                continuation, and replaces one that is queued.
            optional: whether it is dropped when another response comes first.
        """
        queued = _Queued(response or {}, optional)
        if not queued.instructed:  # whatever an older continuation was for, this one speaks of it too
            self._queue = (*self._instructed, queued)
        elif not self.full:
            self._queue = (*self._queue, queued)
        return self.request_next()

    def drop_instructed(self) -> None:
        """Drop the instructed responses, and request none again; the continuation stays."""
        self._queue = tuple(queued for queued in self._queue if not queued.instructed)
        if self._requested and self._requested.instructed:
            self._requested.optional = True

    def request_next(self) -> list[Send]:
        """Request the first queued response, unless one is active or requested."""
        if not self._queue or self._requested is not None or self.active is not None:
            return []
        queued, *rest = self._queue
        self._queue, self._requested, self._begun_since = tuple(rest), queued, False
        event = self.new_event("response.create")
        queued.event_id = event["event_id"]
        event["response"] = {**queued.response, "metadata": {_MARK: queued.event_id}}
        return [Send(event)]

    def retry(self) -> list[Send]:
        """Request again what nothing was heard of, a few times.

        Where another response has begun since, that one has to do.
        """
        self._unheard_requests += 1
        if self._begun_since or self._unheard_requests >= MOST_REQUESTS:
            self._requested = None
        self._requeue_lost()
        return self.request_next()

    # What events do to the queue.

    def on_created(self, response_id: str, metadata: Mapping[str, Any], *, has_seen_all: bool) -> None:
        """Note the active response.

        It is ours if its metadata bears our mark; otherwise VAD began it.

        Args:
            response_id: its id.
            metadata: its own.
            has_seen_all: whether OpenAI had every output when it began, so that no continuation is needed any more.
        """
        self.active = response_id
        self._begun_since = True
        requested = self._requested
        if requested and metadata.get(_MARK) in (requested.event_id, requested.lost_event_id):
            self._requested = None
            self._unheard_requests = 0
        elif has_seen_all and not (requested and requested.instructed):  # else it may be ours, its mark not echoed
            self._queue = self._instructed
            if requested:
                requested.optional = True

    def on_done(self, metadata: Mapping[str, Any]) -> None:
        """Note that no response is active.

        If it was begun by a request thought lost, its copy at the front of the queue is dropped.
        """
        self.active = None
        if self._queue and self._queue[0].lost_event_id and self._queue[0].lost_event_id == metadata.get(_MARK):
            self._queue = self._queue[1:]

    def on_already_active(self) -> None:
        """Queue the refused request again, at the front.

        OpenAI refused it, since another response is active.
        """
        self.active = self.active or UNKNOWN_RESPONSE
        self._requeue()

    def on_error(self, event_id: str) -> list[Send]:
        """Drop the request if the error names it, and request the next."""
        if self.requested != event_id:
            return []
        self._requested = None
        return self.request_next()

    def on_attached(self) -> None:
        """Queue the open request again, at the front.

        A new sideband tells neither of it nor of an active response.
        """
        self.active = None
        self._requeue_lost()

    @property
    def _instructed(self) -> tuple[_Queued, ...]:
        """The queue without the continuation."""
        return tuple(queued for queued in self._queue if queued.instructed)

    def _requeue_lost(self) -> None:
        """Queue the open request again, as one that may have arrived."""
        if self._requested:
            self._requested.lost_event_id = self._requested.event_id
        self._requeue()

    def _requeue(self) -> None:
        """Queue the open request again, at the front, if still needed.

        It is not if it is optional, or a continuation while another one is queued.
        """
        requested, self._requested = self._requested, None
        if requested and not requested.optional and (requested.instructed or self._queue == self._instructed):
            self._queue = (requested, *self._queue)
