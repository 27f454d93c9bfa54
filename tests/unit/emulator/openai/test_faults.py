"""Faults: which strikes, how often, and in which order."""

from emulator.openai.faults import CutFault, Faults, RestFault, WebhookFault


def test_the_oldest_strikes_first() -> None:
    """The oldest fault that fits strikes first, as often as it may."""
    faults = Faults()
    first, second = RestFault(operation="reject"), RestFault(times=2)
    faults.add(first)
    faults.add(second)
    assert faults.strike(WebhookFault, "rtc_1") is None
    assert faults.strike(RestFault, "rtc_1", lambda fault: fault.operation in (None, "accept")) is second
    assert [faults.strike(RestFault, "rtc_1") for _ in range(3)] == [first, second, None]
    assert [fault.struck for fault in faults] == [1, 2]


def test_a_fault_of_one_call() -> None:
    """A fault may be for one call alone."""
    faults = Faults()
    faults.add(RestFault(call_id="rtc_1"))
    assert faults.strike(RestFault, "rtc_2") is None
    assert faults.strike(RestFault, None) is None
    assert faults.strike(RestFault, "rtc_1")


def test_a_cut_without_an_event() -> None:
    """A cut that waits for no event strikes when it is injected, and at no later event."""
    faults = Faults()
    faults.add(CutFault())
    faults.add(CutFault(on_server_event="response.done"))
    assert faults.strike(CutFault, "rtc_1") is list(faults)[1]
    assert faults.strike(CutFault, "rtc_1") is None


def test_forgotten_faults_do_not_strike() -> None:
    """Faults that were cleared strike no more."""
    faults = Faults()
    faults.add(RestFault())
    faults.clear()
    assert list(faults) == []
    assert faults.strike(RestFault, "rtc_1") is None
