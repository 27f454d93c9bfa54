"""Faults: which strikes, how often, and in which order."""

from emulator.openai.faults import CutFault, Faults, RestFault, WebhookFault


def test_the_oldest_that_fits_strikes_first() -> None:
    faults = Faults()
    first, second = RestFault(operation="reject"), RestFault(times=2)
    faults.add(first)
    faults.add(second)
    assert faults.strike(WebhookFault, "rtc_1") is None
    assert faults.strike(RestFault, "rtc_1", lambda fault: fault.operation in (None, "accept")) is second
    assert [faults.strike(RestFault, "rtc_1") for _ in range(3)] == [first, second, None]
    assert [fault.struck for fault in faults] == [1, 2]


def test_a_fault_may_be_one_calls_alone() -> None:
    faults = Faults()
    faults.add(RestFault(call_id="rtc_1"))
    assert faults.strike(RestFault, "rtc_2") is None
    assert faults.strike(RestFault, None) is None
    assert faults.strike(RestFault, "rtc_1")


def test_a_cut_without_an_event_strikes_at_once_or_never() -> None:
    """Whoever injects it cuts the sockets; no later event does."""
    faults = Faults()
    faults.add(CutFault())
    faults.add(CutFault(on_server_event="response.done"))
    assert faults.strike(CutFault, "rtc_1") is list(faults)[1]
    assert faults.strike(CutFault, "rtc_1") is None


def test_forgotten_faults_do_not_strike() -> None:
    faults = Faults()
    faults.add(RestFault())
    faults.clear()
    assert list(faults) == []
    assert faults.strike(RestFault, "rtc_1") is None
