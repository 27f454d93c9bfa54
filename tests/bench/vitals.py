"""What a supervisor holds of the machine: read from its own /metrics and from /proc."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from emulator.system import Process


@dataclass(frozen=True, slots=True)
class Vitals:
    """What a supervisor holds at one moment."""

    calls: int
    leases: int
    tasks: int
    fds: int
    threads: int
    rss_kb: float
    """Resident memory, with the pages that it shares with other processes."""
    pss_kb: float
    """The same, with shared pages counted by their share."""
    cpu_seconds: float
    """Processor time since its start."""
    lost_leases: int = 0
    """How many leases it has lost since its start, or not renewed in time."""

    @property
    def idle(self) -> bool:
        """Whether it holds no call and no lease."""
        return not (self.calls or self.leases)

    def within(self, other: Vitals) -> bool:
        """Return whether it holds no more than the other.

        Compared is what is given back at a call's end.
        """
        return (self.calls, self.leases) == (other.calls, other.leases) and (
            self.tasks <= other.tasks and self.fds <= other.fds
        )


class SupervisorGoneError(RuntimeError):
    """The supervisor does not answer any more; the message says what it logged last."""


async def read_vitals(process: Process, metrics_url: str, http: aiohttp.ClientSession) -> Vitals:
    """Read what a supervisor holds now.

    Raises:
        SupervisorGoneError: it does not answer.
    """
    try:
        async with http.get(metrics_url) as answer:
            text = await answer.text()
        memory = _kilobytes(Path(f"/proc/{process.pid}/smaps_rollup").read_text())
        status = Path(f"/proc/{process.pid}/status").read_text()
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        tail = "\n".join(str(line) for line in process.lines[-10:])
        raise SupervisorGoneError(f"The supervisor does not answer ({error!r}); it said last:\n{tail}") from error
    found = {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.labels
    }
    return Vitals(
        calls=int(found["sideband_calls"]),
        leases=int(found["sideband_leases"]),
        tasks=int(found["sideband_tasks"]),
        fds=int(found["process_open_fds"]),
        threads=int(next(line for line in status.splitlines() if line.startswith("Threads:")).split()[1]),
        rss_kb=found["process_resident_memory_bytes"] / 1024,
        pss_kb=memory["Pss"],
        cpu_seconds=found["process_cpu_seconds_total"],
        lost_leases=int(found.get("sideband_lost_leases_total", 0)),  # not there before the first
    )


def _kilobytes(text: str) -> dict[str, float]:
    """Return the lines of /proc that end in kB, by name."""
    rows = (line.split() for line in text.splitlines() if line.endswith(" kB"))
    return {name.rstrip(":"): float(value) for name, value, _unit in rows}
