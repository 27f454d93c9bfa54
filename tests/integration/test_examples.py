"""The agents that people start from, rehearsed."""

import asyncio
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from examples import bikes, clinic, reception
from sideband import Agent
from sideband import _rig as rig
from sideband.cli.rehearsal_file import RehearsalError, rehearse_file
from sideband.testing import rehearse

# A caller who lets the greeting end: until then, and a moment more, they are not listened to.
HEARD: list[dict[str, Any]] = [{"wait_for": "greeting"}, {"pause_ms": 300}]
ROOT = Path(__file__).resolve().parents[2]


class TestBikes:
    async def test_an_order_is_looked_up(self) -> None:
        """An order is looked up and remembered."""
        rehearsal = await rehearse(
            bikes.agent,
            [
                {"caller": "Is B-1042 ready?"},
                {"tool": "order_status", "arguments": {"order_id": "B-1042"}},
                {"model": "On Thursday."},
                {"hang_up": True},
            ],
        )
        assert rehearsal.tools == ["order_status"]
        assert "Thursday" in rehearsal.outputs[0]
        assert rehearsal.record.state == {"orders": ["B-1042"]}
        assert rehearsal.transcript[-2:] == [("caller", "Is B-1042 ready?"), ("agent", "On Thursday.")]
        assert rehearsal.end_reason == "caller_hung_up"

    async def test_the_rehearsal_file_is_met(self) -> None:
        """Nothing that the rehearsal file expects is missed."""
        rehearsal, missed = await rehearse_file("examples.bikes:agent", ROOT / "examples/rehearsals/bikes.yaml")
        assert missed == []
        assert rehearsal.end_reason == "agent_hung_up"


class TestReception:
    def test_office_hours(self) -> None:
        """The office is open on working days from 9 to 17."""
        monday, saturday = datetime(2026, 11, 16, 9, tzinfo=UTC), datetime(2026, 11, 21, 12, tzinfo=UTC)
        assert reception.is_open(monday)
        assert not reception.is_open(monday.replace(hour=8, minute=59))
        assert not reception.is_open(monday.replace(hour=17))
        assert not reception.is_open(saturday)

    async def test_a_caller_is_connected(self) -> None:
        """A caller is connected to the department they name."""
        script: list[dict[str, Any]] = [
            *HEARD,
            {"caller": "Sales, please."},
            {"tool": "transfer_to", "arguments": {"department": "sales"}},
        ]
        rehearsal = await rehearse(reception.day, [*script, {"pause_ms": 20_000}])
        assert rehearsal.transfers == ["tel:+31201110001"]
        assert rehearsal.end_reason == "transferred"

    async def test_a_key_connects_too(self) -> None:
        """A caller is connected to the department whose key they press."""
        script: list[dict[str, Any]] = [
            *HEARD,
            {"caller": "Hm."},
            {"tool": "wait_for_key"},
            {"pause_ms": 300},
            {"dtmf": "2"},
        ]
        rehearsal = await rehearse(reception.day, [*script, {"pause_ms": 20_000}])
        assert rehearsal.transfers == ["tel:+31201110002"]
        assert rehearsal.end_reason == "transferred"

    async def test_no_answer_ends_in_a_message(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A caller whose transfer had no effect leaves a message."""
        monkeypatch.setattr("supervisor.calls.call_control.TRANSFER_SECONDS", 0.5)
        message = {"message": "Call me back.", "name": "Jan"}
        rehearsal = await rehearse(
            reception.day,
            [
                *HEARD,
                {"caller": "Service."},
                {"tool": "transfer_to", "arguments": {"department": "service"}},
                {"model": "Nobody is there. A message?"},
                {"caller": "Jan; call me back."},
                {"tool": "take_message", "arguments": message},
                {"hang_up": True},
            ],
            options={"refer": "no_effect"},
        )
        assert rehearsal.record.state["could_not_reach"] == "service"
        assert rehearsal.record.state["messages"] == [{"from": "+31201234567", **message}]


class TestClinic:
    async def test_patients_see_only_their_own(self) -> None:
        """A patient sees only their own appointments."""
        ask: dict[str, Any] = {"tool": "appointments", "arguments": {"patient": "patient-8"}}
        script: list[dict[str, Any]] = [
            {"caller": "I am patient 8."},
            ask,
            {"model": "No."},
            {"caller": "Mine, then."},
            {"tool": "appointments"},
        ]
        rehearsal = await rehearse(clinic.agent, [*script, {"hang_up": True}], context={"sub": "patient-7"})
        refused, own = rehearsal.outputs
        assert "Extra inputs are not permitted" in refused
        assert "de Vries" in own
        assert "Jansen" not in own

    async def test_an_unknown_caller_is_refused(self) -> None:
        """A caller whom nobody vouched for is refused."""
        rehearsal = await rehearse(clinic.agent, [])
        assert rehearsal.rejected_with == 403

    async def test_an_emergency_is_sent_elsewhere(self) -> None:
        """A caller in an emergency is told to call 112."""
        script: list[dict[str, Any]] = [
            {"caller": "I can't breathe."},
            {"model": "Let us find a date."},
            {"pause_ms": 500},
            {"hang_up": "now"},
        ]
        rehearsal = await rehearse(clinic.agent, script, context={"sub": "patient-7"})
        assert any("call 112" in told for told in rehearsal.instructions)

    async def test_medical_advice_is_cut_off(self) -> None:
        """Medical advice is cut off, and the caller sent to their doctor."""
        advice = "Of course, the right dosage for somebody like you would be more than you think, so listen carefully."
        script: list[dict[str, Any]] = [
            {"caller": "How much?"},
            {"model": advice},
            {"pause_ms": 500},
            {"hang_up": "now"},
        ]
        rehearsal = await rehearse(clinic.agent, script, context={"sub": "patient-7"})
        assert any("your doctor can" in told for told in rehearsal.instructions)

    @pytest.mark.parametrize(("amount", "approved"), [(20, True), (2000, False), ("all", False)])
    async def test_small_refunds_are_approved(self, amount: object, approved: bool) -> None:
        """Small refunds are approved; large and unreadable ones are not."""
        refund = {"server_label": "billing", "name": "refund", "arguments": {"amount_eur": amount}, "approval": True}
        script: list[dict[str, Any]] = [
            {"caller": "Refund me."},
            {"mcp": {**refund, "output": "ok"}},
            {"pause_ms": 500},
            {"hang_up": "now"},
        ]
        rehearsal = await rehearse(clinic.agent, script, context={"sub": "patient-7"})
        answers = [
            entry.payload["item"]
            for entry in rehearsal.call.log
            if entry.kind == "frame_in" and entry.type == "conversation.item.create"
        ]
        assert [item["approve"] for item in answers if item["type"] == "mcp_approval_response"] == [approved]


class TestRehearsals:
    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("script: [{caler: Hi}]", "needs exactly one of"),
            ("script: 7", "script: Input should be a valid list"),
            ("scrpt: []", "scrpt: Extra inputs are not permitted"),
            ("{", "not YAML"),
            ("", r"the file: Input should be a valid dictionary .*; it begins with script:"),
        ],
    )
    async def test_a_wrong_file_is_explained(self, tmp_path: Path, text: str, says: str) -> None:
        """A wrong file is explained in one line."""
        file = tmp_path / "wrong.yaml"
        file.write_text(text)
        with pytest.raises(RehearsalError, match=says) as raised:
            await rehearse_file("examples.bikes:agent", file)
        assert "\n" not in str(raised.value)

    async def test_an_endless_script_is_explained(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A script in which nobody hangs up is explained."""
        monkeypatch.setattr(rig, "WAIT_SECONDS", 2)
        file = tmp_path / "endless.yaml"
        file.write_text("script: [{caller: Hi}]")
        with pytest.raises(RehearsalError, match=r"endless\.yaml: the call did not end: end the script with hang_up"):
            await rehearse_file("examples.bikes:agent", file)

    async def test_unmet_expectations_are_listed(self, tmp_path: Path) -> None:
        """What was expected and did not happen is listed."""
        file = tmp_path / "unmet.yaml"
        file.write_text(
            "script: [{caller: Hi}, {model: Hello.}, {hang_up: true}]\nexpect: {tools: [order_status], says: [Bye]}"
        )
        _, missed = await rehearse_file("examples.bikes:agent", file)
        assert missed == ["tools: expected ['order_status'], got []", "says: nobody said 'Bye'"]

    def test_the_command_line_plays_a_file(self) -> None:
        """The command line plays a file and says how the call ended."""
        command = [
            sys.executable,
            "-m",
            "sideband",
            "rehearse",
            "examples.bikes:agent",
            "examples/rehearsals/bikes.yaml",
        ]
        played = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert played.returncode == 0, played.stderr
        assert "ended: agent_hung_up" in played.stdout

    def test_json_is_one_line_a_file(self, tmp_path: Path) -> None:
        """The command line prints one line of JSON for each file, whatever the agent prints."""
        code = "from examples.bikes import agent\nprint('loading')\nagent.on_end(lambda call: print('bye') or 1 / 0)"
        (tmp_path / "chatty.py").write_text(code)
        command = [sys.executable, "-m", "sideband", "rehearse", "--json", "chatty:agent"]
        environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
        played = subprocess.run(
            [*command, str(ROOT / "examples/rehearsals/bikes.yaml")],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert json.loads(played.stdout)["end_reason"] == "agent_hung_up"
        assert "handler_failed" in played.stderr

    async def test_rehearsals_run_side_by_side(self) -> None:
        """Several agents can be rehearsed at once."""
        answering = Agent(session={"model": "gpt-realtime-2.1"})
        script: list[dict[str, Any]] = [{"caller": "Hi."}, {"model": "Hello."}, {"hang_up": True}]
        ended = await asyncio.gather(*(rehearse(answering, script) for _ in range(3)))
        assert [rehearsal.end_reason for rehearsal in ended] == ["caller_hung_up"] * 3
