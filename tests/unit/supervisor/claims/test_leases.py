"""Claims without Pub/Sub: what its refusals say, and when a claim may write. tests/integration has the rest."""

from __future__ import annotations

import time

import pytest
from google.api_core import exceptions
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo

from supervisor.claims import Claim
from supervisor.claims.leases import BATCH, _batches, _named, _refused_ack_ids


def claim(**fields: object) -> Claim:
    made = Claim(ack_id="a", message_id="m1", data=b"", delivery_attempt=1)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("lost", "seconds_left", "may"),
    [(False, 60, True), (True, 60, False), (False, -1, False)],
    ids=["held", "lost", "lapsed"],
)
def test_may_write(lost: bool, seconds_left: float, may: bool) -> None:
    """A claim may write until it is lost, or its lease can have run out; before its first renewal it may not."""
    assert claim(lost=lost, write_until=time.monotonic() + seconds_left).may_write() is may
    assert not claim().may_write()


def test_refused_ack_ids() -> None:
    """Of a partial failure, the ack ids that were refused are read with the reason, whatever else it says."""
    metadata = {
        "ack-1": "PERMANENT_FAILURE_INVALID_ACK_ID",
        "ack-2": "TRANSIENT_FAILURE_UNORDERED_ACK_ID",
        "zone": "europe-west4",
    }
    error = exceptions.InvalidArgument("Some ack ids", details=[RetryInfo(), ErrorInfo(metadata=metadata)])
    assert _refused_ack_ids(error) == {name: metadata[name] for name in ("ack-1", "ack-2")}
    assert _refused_ack_ids(exceptions.InvalidArgument("Another reason")) == {}


def test_batches() -> None:
    """Claims are renewed in batches that fit into a request, each claim in one of them."""
    claims = [claim() for _ in range(2 * BATCH + 1)]
    batches = _batches(claims)
    assert [len(batch) for batch in batches] == [BATCH, BATCH, 1]
    assert [one for batch in batches for one in batch] == claims
    assert _batches([]) == []


def test_named() -> None:
    """In the log a claim has its message's id, and its call's once that is known."""
    assert _named(claim()) == {"message_id": "m1"}
    assert _named(claim(call_id="rtc_1")) == {"message_id": "m1", "call_id": "rtc_1"}
