"""A clinic: who the patient is comes from its backend, never from the model.

The browser or trunk that starts the call brings a token of the clinic's backend; its claims are `call.context`. Tools
get the patient's id from there, hidden from the model, so that no caller can talk the model into somebody else's data.
Guards keep it from giving medical advice. Refunds by the hosted billing tools need approval, and small ones get it.
"""

from __future__ import annotations

import json
from typing import Annotated, TypedDict

from sideband import Accept, Agent, Call, FromCall, Incoming, Limits, McpApprovalRequest, Reject

LARGEST_REFUND_EUR = 25
ADVICE = ("dose", "dosage", "milligram", "take twice")
EMERGENCY = ("can't breathe", "cannot breathe", "chest pain")

agent = Agent(
    session={
        "model": "gpt-realtime-2.1",
        "instructions": "You handle appointments for a clinic. You never give medical advice.",
        "audio": {"input": {"transcription": {"model": "gpt-live-transcribe"}}},
        "tools": [{"type": "mcp", "server_label": "billing", "server_url": "https://billing.clinic.example/mcp/"}],
    },
    greeting="Greet the patient, and ask what the appointment is about.",
    limits=Limits(max_seconds=900, max_usd=2.0),
    max_calls_per_caller=1,
)


class Appointment(TypedDict):
    """A patient's appointment."""

    when: str
    doctor: str


APPOINTMENTS: dict[str, list[Appointment]] = {
    "patient-7": [{"when": "Tuesday 9:30", "doctor": "de Vries"}],
    "patient-8": [{"when": "Friday 14:00", "doctor": "Jansen"}],
}
Patient = Annotated[str, FromCall("context.sub")]


@agent.incoming
def only_patients(incoming: Incoming) -> Accept | Reject:
    """Take calls that the clinic's backend has vouched for, and no others."""
    if "sub" not in incoming.context:
        return Reject(403)
    return Accept(state={"patient": incoming.context["sub"]})


@agent.tool(idempotent=True)
async def appointments(patient: Patient) -> list[Appointment]:
    """List the patient's appointments."""
    return APPOINTMENTS.get(patient, [])


@agent.tool(max_calls=2)
async def cancel_appointment(patient: Patient, when: str) -> str:
    """Cancel an appointment of the patient.

    Args:
        when: The appointment's time, as the list of appointments has it.
    """
    kept = [appointment for appointment in APPOINTMENTS.get(patient, []) if appointment["when"] != when]
    if len(kept) == len(APPOINTMENTS.get(patient, [])):
        return f"There is no appointment at {when}."
    APPOINTMENTS[patient] = kept
    return "Cancelled."


@agent.guard.input
def emergency(_call: Call, said: str) -> str | None:
    """Send emergencies to those who can help."""
    if any(word in said.lower() for word in EMERGENCY):
        return "This sounds like an emergency. Please hang up and call 112 now."
    return None


@agent.guard.output
def no_medical_advice(_call: Call, saying: str) -> str | None:
    """Stop the model in the middle of advice."""
    return "I can't advise on medicine; your doctor can." if any(word in saying.lower() for word in ADVICE) else None


@agent.approve
def small_refunds(_call: Call, request: McpApprovalRequest) -> bool:
    """Approve refunds up to a limit, and nothing else."""
    if request.name != "refund":
        return False
    try:
        return float(json.loads(request.arguments)["amount_eur"]) <= LARGEST_REFUND_EUR
    except (KeyError, TypeError, ValueError):
        return False
