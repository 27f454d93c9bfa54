"""The events that a supervisor logs, with their fields.

Metrics and alerts rest on them.

Code logs an event by its name, such as `log.info("greeted")`. Tests compare each such call with what is declared here,
and the declared metrics with those that `metrics` counts. docs/log-events.md is made from this module by `make docs`.
"""

from __future__ import annotations

from functools import partial
from typing import Literal, NamedTuple

Level = Literal["INFO", "WARNING", "ERROR"]

CONTEXT_FIELDS = frozenset({"call_id", "message_id", "trace_id"})
"""Fields that every line about a call may have, besides those that are declared."""


class LogEvent(NamedTuple):
    """Declare one event at one level."""

    level: Level
    name: str
    meaning: str
    """One sentence for whoever is on call."""
    fields: str = ""
    """Names, separated by spaces; not every line has all of them."""
    counted_by: str = ""
    """Names of metrics, separated by spaces."""


_info, _warning, _error = (partial(LogEvent, level) for level in ("INFO", "WARNING", "ERROR"))

# Metrics.
_STAGE = "sideband_stage_seconds"
_ORPHAN = "sideband_orphan_seconds"
_REATTACHES = "sideband_reattaches_total"
_LOST_LEASES = "sideband_lost_leases_total"
_HANDOVERS = "sideband_handovers_total"
_ENDED = "sideband_calls_ended_total"
_COST = "sideband_cost_usd_total"
_LENGTH = "sideband_call_seconds"
_TOOL_ERRORS = "sideband_tool_errors_total"

EVENTS: dict[str, tuple[LogEvent, ...]] = {
    "The process": (
        _info("health_served", "The health port answers.", "port"),
        _info("started", "The supervisor begins to claim calls.", "max_calls"),
        _info("stopping", "SIGTERM came, and the calls in hand are handed over.", "calls"),
        _info("stopped", "The process ends in order: no call is in hand, and the records are written."),
        _warning("stop_timed_out", "The hand-over took too long; what is left waits for leases to run out.", "reason"),
        _error(
            "supervisor_failed", "Something ended the process; its calls wait for their leases.", "action stack_trace"
        ),
        _error("call_failed", "A bug ended the handling of one call; its notice comes again.", "action stack_trace"),
        _error("tick_failed", "A bug in what a call does each second; it is tried again.", "stack_trace"),
    ),
    "Pub/Sub": (
        _warning("pull_failed", "Pub/Sub is out of reach; it is asked again.", "error"),
        _error("pull_failed", "Pub/Sub refuses pulls until somebody does what `action` says.", "error action"),
        _warning("renewal_failed", "Leases were not renewed or given back; it is tried again.", "error claims"),
        _error("pubsub_refused_renewal", "Pub/Sub refused a renewal without naming a lease.", "error claims"),
        _info(
            "connection_replaced", "A connection to Pub/Sub left requests unanswered; a new one is made.", "unanswered"
        ),
        _warning("claims_unconfirmed", "Pub/Sub did not confirm new leases; their notices are given back.", "claims"),
        _warning("claims_lapsed", "Leases are not renewed in time; their calls wait for Pub/Sub's answer.", "claims"),
        _warning("claim_lost", "A lease was lost; another supervisor may own the call.", "reason", _LOST_LEASES),
        _warning("ack_failed", "The notice of a call that is settled may come again; it is dropped then.", "error"),
        _error("claim_left", "A bug left a claim with nobody; it is given back.", "action"),
        _error("notice_unreadable", "A message on the topic is no notice of a call.", "error action"),
        _info("notice_dropped", "The notice is a duplicate, or its call has ended.", "end_reason"),
        _error("dead_letter_dropped", "A failed call's notice is gone: nothing takes dead letters.", "action"),
    ),
    "A call's life": (
        _info(
            "claimed",
            "This supervisor owns the call; with an `epoch` over 1 it took it over.",
            "delivery_attempt epoch handed_over_at age_seconds",
            f"sideband_claims_total {_STAGE}",
        ),
        _error("agent_gone", "The call's agent is not in this version; another one is chosen.", "agent agents action"),
        _error("no_agent", "The router has no agent for the call, which is refused.", "action"),
        _info("rejected", "A limit or the agent's rule refused the call.", "status_code"),
        _warning("accepted_before", "The call was to be refused, but was accepted before; it is served.", "action"),
        _info("accepted", "OpenAI took our accept.", "age_seconds", _STAGE),
        _warning("accept_refused", "OpenAI refused the accept; the attach shows whether the call lives.", "error"),
        _error("control_failed", "OpenAI did not refuse or hang up a call as it was asked to.", "operation error"),
        _info(
            "attached",
            "The sideband is attached, `again` if it was before.",
            "again age_seconds",
            f"{_STAGE} {_ORPHAN} {_REATTACHES}",
        ),
        _error("session_refused", "OpenAI refused the agent's session; the call goes on without it.", "error"),
        _warning("session_not_confirmed", "OpenAI has not echoed the session; the call goes on.", "within_seconds"),
        _info("greeted", "The greeting was asked for.", "age_seconds", _STAGE),
        _info("sideband_closed", "The sideband was lost; it is attached again.", "code reason"),
        _info("handed_over", "The call was given back for another supervisor to own, at a stop.", "", _HANDOVERS),
        _warning("passed_on", "This supervisor can't hold the call; another may.", "cause", _HANDOVERS),
        _info("let_go", "The owner stops before the call's end; `disputed` when the record has another.", "disputed"),
        _error(
            "call_given_up",
            "Nobody could hold the call, which is refused or hung up.",
            "failures last_error delivery_attempt cause",
        ),
        _info("ended", "The call is over, and its record says so.", "reason cost_usd", f"{_ENDED} {_COST} {_LENGTH}"),
        _error("end_not_written", "The store did not take the call's end; it is tried again later.", "reason action"),
    ),
    "The conversation": (
        _error("event_left_out", "OpenAI sent an event of an unknown shape.", "stack_trace"),
        _error("report_left_out", "OpenAI sent a value of an unknown shape.", "kind stack_trace"),
        _error("event_not_json", "The agent's code sent an event that is not JSON.", "type error action"),
        _info("not_written", "The sideband was lost before a frame was written.", "type code"),
        _warning("response_unanswered", "OpenAI did not begin a response; it is asked for again.", "event_id"),
        _warning("response_failed", "OpenAI failed a response; `again` when it is asked for once more.", "code again"),
        _error("fallback_failed", "The model failed, and the transfer to the fallback failed too.", "error"),
        _info("silence_broken", "Nobody spoke after an attach; the model is asked to go on."),
        _warning("not_said", "Too many responses are waiting; this one is left out.", "action"),
        _warning("not_transcribed", "OpenAI could not transcribe what the caller said.", "item_id code"),
        _warning("not_transferred", "A transfer did not take the caller away.", "cause"),
        _info("limit_reached", "The call reached one of its agent's limits, and is ended.", "reason"),
    ),
    "The agent's code": (
        _error("incoming_rule_failed", "The rule for ringing calls failed; the call is refused.", "error stack_trace"),
        _error("incoming_rule_timed_out", "The rule was too slow; the call is refused.", "error timeout_seconds"),
        _error(
            "chooser_failed", "A chooser failed; the other rules choose.", "error action stack_trace timeout_seconds"
        ),
        _error("handler_failed", "A handler raised; the call goes on.", "handler error stack_trace"),
        _warning("handler_timed_out", "A handler was too slow; the call goes on.", "handler error timeout_seconds"),
        _error("rule_failed", "A guard or an approver raised, and has no say.", "rule error stack_trace"),
        _warning("rule_timed_out", "A guard or approver was too slow, and has no say.", "rule error timeout_seconds"),
        _warning("guard_tripped", "A guard stopped what was being said.", "guard"),
        _info("mcp_approval", "A hosted MCP tool was approved or refused.", "tool approved"),
        _error(
            "ignores_cancellation", "Code did not end when it was cancelled; nobody waits for it.", "function action"
        ),
        _warning("not_done", "A transfer or a wait in the background failed; the call goes on.", "error"),
        _error("task_failed", "A bug in the background of a call, which goes on.", "action stack_trace"),
    ),
    "Tools": (
        _info("tool_finished", "A tool ran, whatever its outcome.", "tool ms", "sideband_tool_seconds"),
        _error("tool_failed", "A tool raised; the model was told.", "tool error stack_trace", _TOOL_ERRORS),
        _error("tool_broke", "A bug around a tool; the model was told.", "tool stack_trace", _TOOL_ERRORS),
        _warning(
            "tool_timed_out", "The tool was slow; the model was told.", "tool error timeout_seconds", _TOOL_ERRORS
        ),
        _warning("tool_not_run", "The call lacks what the tool needs to know of it.", "tool reason", _TOOL_ERRORS),
        _error("tool_not_run", "The store was down, so that the tool was not started.", "tool reason", _TOOL_ERRORS),
        _warning("tool_overused", "A tool was asked for too often in this call.", "tool max_calls", _TOOL_ERRORS),
        _error("tool_output_not_json", "A tool returned what is not JSON.", "tool stack_trace", _TOOL_ERRORS),
        _warning("tool_cancelled", "A tool ran for too long at the end of a hold.", "task after_seconds", _TOOL_ERRORS),
    ),
    "Records": (
        _error("record_not_opened", "A call is served without its record.", "error action stack_trace"),
        _error("record_unreadable", "What the store has of a call can't be read.", "stack_trace"),
        _error("record_refused", "The store will not take a change of a record.", "reason bytes stack_trace"),
        _warning(
            "record_superseded",
            "Another owner has opened the record; what this one had not written is dropped.",
            "epoch dropped_tool_calls dropped_pieces",
        ),
        _error("records_not_written", "The process ended before these calls' records were written.", "calls"),
        _error("store_down", "The store fails or is slow; calls go on, and changes wait in memory.", "error action"),
        _info("store_back", "The store takes changes again.", "calls"),
        _error("transcript_dropped", "The store was down for too long; the oldest words are lost.", "pieces reason"),
        _error("state_not_json", "The agent's state has values that can't be kept.", "keys action"),
        _warning("state_changes_in_json", "The agent's state has values that JSON changes.", "keys action"),
    ),
}


def names_counted_by(metric: str) -> frozenset[str]:
    """Name the events that a metric counts."""
    return frozenset(event.name for group in EVENTS.values() for event in group if metric in event.counted_by.split())
