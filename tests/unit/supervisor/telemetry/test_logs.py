"""What a supervisor logs: Cloud Logging's shape, the call in every line, and nothing personal."""

import json
import logging
import subprocess
import sys
from typing import Any

import pytest

PROGRAM = """
import logging, structlog
from supervisor.telemetry import logs
counted = []
def count(logger, method, event):
    counted.append(event["event"])
    return event
logs.set_up({level!r}, project="shop", personal_data={personal_data}, counters=[count])
log = structlog.get_logger()
{program}
"""


CALL = """
from function.notice import CallNotice
from supervisor.telemetry.tracing import begin_call
begin_call(CallNotice(call_id={call_id!r}, traceparent={traceparent!r}))
log.warning("ended", reason="missed")
"""


def logged(program: str, *, level: str = "INFO", personal_data: bool = False) -> list[dict[str, Any]]:
    """The lines that a program logs, in a process of its own, since logging is set up once in a process."""
    source = PROGRAM.format(program=program, level=level, personal_data=personal_data)
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_line() -> None:
    """A line has the fields that Cloud Logging reads, and names its call and trace."""
    (line,) = logged(CALL.format(call_id="rtc_1", traceparent=f"00-{'a' * 32}-{'b' * 16}-01"))
    assert line.pop("time").endswith("Z")
    assert line == {
        "severity": "WARNING",
        "message": "ended",
        "reason": "missed",
        "call_id": "rtc_1",
        "logging.googleapis.com/trace": "projects/shop/traces/" + "a" * 32,
    }


def test_a_trace_from_the_call_id() -> None:
    """All owners of a call without a trace make up the same one."""
    lines = [logged(CALL.format(call_id=call_id, traceparent=None))[0] for call_id in ("rtc_1", "rtc_1", "rtc_2")]
    first, again, other = (line["logging.googleapis.com/trace"] for line in lines)
    assert first == again != other


SAID = [
    'log.info("x", error="From: <sip:+31201234567@pbx.example.com;transport=tls>")',
    'log.info("x", error="call +31 (0)20 123 45 67 back")',
    'log.info("x", error="0201234567")',
    'log.info("x", error="on 020 123 4567")',
    'log.info("x", error="tel:+31201234567")',
    'log.info("x", error="mail an.other@shop.example, she said")',
    'log.info("x", deep={"list": [{"of": "+31201234567"}]})',
    'log.info("x", arguments=\'{"name": "An Other"}\')',
    'log.info("x", sip_headers=[("From", "An Other")])',
    'log.info("x", transcript=["my name is An Other"])',
    'logging.getLogger("a.library").warning("dialled %s", "+31201234567")',
    'log.info("x", error="card 4111111111111111.")',
    'log.info("x", error="card \'4111 1111 1111 1111\'")',
    'log.info("x", error="card 3782-822463-10005")',
    'log.info("x", error="on 415-555-0123")',
    'log.info("x", error="on (415) 555-0123")',
    'log.info("x", error="on 415.555.0123")',
    'log.info("x", error="on 06-12345678")',
    'log.info("x", error="on 020-123 45 67")',
    'log.info("x", error="from NL91ABNA0417164300")',
    'log.info("x", error="from GB33 BUKB 2020 1555 5555 55")',
]
PERSONAL = (
    *("An Other", "an.other", "1234567", "123 45 67", "123 4567", "1111", "10005", "0123", "12345678"),
    *("0417164300", "5555 55"),
)


@pytest.mark.parametrize("personal_data", [False, True])
def test_personal_data(personal_data: bool) -> None:
    """Personal data is logged only where that is allowed."""
    lines = logged("\n".join(SAID), personal_data=personal_data)
    assert len(lines) == len(SAID)
    for line in (json.dumps({**line, "time": ""}) for line in lines):
        assert any(word in line for word in PERSONAL) is personal_data, line
        assert ("[personal]" in line) is not personal_data, line


RAISES = """
def book(customer):
    try:
        raise KeyError(customer)
    except KeyError:
        raise ExceptionGroup(customer, [ValueError(customer)]) from None
customer = "An " + "Other"
try:
    book(customer)
except Exception:
    try:
        raise RuntimeError(customer)
    except RuntimeError as error:
        error.add_note(customer)
        log.exception("tool_failed")
"""


def test_an_exception() -> None:
    """Of an exception its types and places are logged, and not what it says.

    Nobody can tell a name from a word, and tools' errors repeat what they were given.
    """
    ((line,), (allowed,)) = (logged(RAISES, personal_data=personal_data) for personal_data in (False, True))
    trace = line["stack_trace"]
    kinds = [kind for kind in ("ExceptionGroup", "ValueError", "RuntimeError", "KeyError") if f"{kind}: [not" in trace]
    assert kinds == ["ExceptionGroup", "ValueError", "RuntimeError"]
    assert ", in book" in trace
    assert trace.index("ExceptionGroup") < trace.index("RuntimeError")
    assert "An Other" not in json.dumps(line)
    assert allowed["stack_trace"].count("An Other") >= 4


def test_an_exception_of_ours() -> None:
    """What our own exceptions say is logged."""
    (line,) = logged("""
from supervisor.agents.call import TransferFailed
try:
    raise TransferFailed("TRANSFER_TARGETS does not allow it")
except TransferFailed:
    log.exception("tool_failed")
""")
    assert line["stack_trace"].endswith("TransferFailed: TRANSFER_TARGETS does not allow it")


def test_an_exception_that_is_a_loop() -> None:
    """An exception whose chain of causes leads back to itself is logged once."""
    (line,) = logged("""
one, two = ValueError("1"), TypeError("2")
one.__cause__, two.__cause__ = two, one
try:
    raise one
except ValueError:
    log.exception("tool_failed")
""")
    assert line["stack_trace"].count("ValueError") == 1


def test_secrets() -> None:
    """Secrets are not logged, even where personal data is."""
    secrets = ("sk-proj-abcdefgh12345", "whsec_c2VjcmV0c2VjcmV0", "ek_68af296e8e408191a1120b")
    lines = logged("\n".join(f'log.error("x", error="Incorrect key: {s}.")' for s in secrets), personal_data=True)
    assert [line["error"] for line in lines] == ["Incorrect key: [secret]."] * 3


def test_what_is_not_personal_is_left() -> None:
    """Ids, addresses, times and numbers that are not personal are left as they are."""
    harmless = [
        *("projects/shop/subscriptions/calls", "404 call_id_not_found", "10.0.0.12:8081", "took 1234567 us", "v2.44.0"),
        *("attach to call rtc_u0_b07e741c7d4007cc9976 failed: 404", "item_CEb1234567890123456", "tool call call_4111"),
        *("message 48427593462153401", "aece5c044f34adecfb04747663c85aee", "2026-11-21T09:15:10.123456Z", "2026-11-21"),
        *("00-12345678901234567890123456789012-1234567890123456-01", "0199f1a3-4c7e-7000-8000-1234567890ab"),
        *("line 123 of 4567", "0.0.0.0:8081", "[::1]:8081", "Chrome/130.0.6723.116", "in 0.123 s", "429 503 500"),
    ]
    (line,) = logged(f'log.info("x", errors={harmless!r}, message_id="12345678901234", ms=123456789)')
    assert (line["errors"], line["message_id"], line["ms"]) == (harmless, "12345678901234", 123456789)


def test_a_long_string_is_cut() -> None:
    """A long string loses its middle, and says so.

    What a tool raises may hold a whole document; that it costs no more time, `tests/bench` measures.
    """
    program = """
document = " +31201234567" * 500 + "ab12" * 15_000 + " x@example.com" * 500
log.error("x", error="it began" + document + " it ended")
"""
    (line,) = logged(program)
    assert len(line["error"]) < 9000
    assert line["error"].startswith("it began [personal] [personal]")
    assert "characters or so are left out]" in line["error"]
    assert line["error"].endswith("[personal] it ended")


def test_lines_below_the_level() -> None:
    """Lines below the level are counted, and not written."""
    lines = logged('log.info("claimed")\nlog.debug("x")\nlog.error("y", counted=list(counted))', level="ERROR")
    assert [line["message"] for line in lines] == ["y"]
    assert lines[0]["counted"] == ["claimed"]


def test_libraries_log_alike() -> None:
    """What libraries log is written in the same shape, from WARNING on."""
    lines = logged('logging.getLogger("grpc").info("x")\nlogging.getLogger("grpc").error("down")')
    assert [(line["severity"], line["message"], line["logger"]) for line in lines] == [("ERROR", "down", "grpc")]
    assert logging.getLevelNamesMapping()[lines[0]["severity"]] == logging.ERROR
