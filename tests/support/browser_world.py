"""The function as browsers see it, between Pub/Sub and OpenAI's stand-in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from emulator.openai import Call, StandIn
from tests.support.edge_process import Answer, Edge
from tests.support.edge_pubsub import Claims
from tests.support.tokens import TOKEN_SECRET, token

if TYPE_CHECKING:
    from pathlib import Path

API_KEY = "sk-project"
ORIGIN = "https://shop.example"
SESSION = {"type": "realtime", "model": "gpt-realtime-2.1", "instructions": "You sell bikes."}
OTHER_SESSION = {"type": "realtime", "model": "gpt-realtime-2.1-mini", "instructions": "You mend bikes."}
OFFER = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"


class World:
    """The function, with what is on both sides of it."""

    def __init__(self, edge: Edge, claims: Claims, openai: StandIn) -> None:
        self.edge = edge
        self.claims = claims
        self.openai = openai

    async def offer(self, bearer: str | None = None, body: str = OFFER, **headers: str) -> Answer:
        """Offer a call, as a browser does."""
        return await self.post("/calls", bearer or token(agent="sell"), body, content_type="application/sdp", **headers)

    async def register(self, call_id: str, bearer: str, body: object = None) -> Answer:
        """Register a call that a browser made by itself."""
        return await self.post(f"/calls/{call_id}", bearer, json.dumps(body or {}), content_type="application/json")

    async def post(self, path: str, bearer: str, body: str = "", **headers: str) -> Answer:
        """Send a POST; underscores in the names of headers stand for hyphens."""
        all_headers = {"Authorization": f"Bearer {bearer}"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        return await self.edge.request("POST", path, body.encode(), all_headers)

    def calls_of(self, operation: str) -> list[dict[str, Any]]:
        """Return the REST requests of one operation that OpenAI has seen."""
        return [dict(entry.payload) for entry in self.openai.log if entry.kind == "rest" and entry.type == operation]

    @property
    def living(self) -> list[Call]:
        """The calls that have not ended."""
        return [call for call in self.openai.calls.values() if call.state != "ended"]

    async def assert_that_nothing_was_published(self) -> None:
        """Register a call, and see that nothing was published before it."""
        call_id = f"rtc_{uuid4().hex}"
        assert (await self.register(call_id, token(jti=call_id))).outcome == (200, "published")
        assert await self.claims.next_call_id() == call_id


def settings(folder: Path, host_port: str, openai_base_url: str) -> dict[str, str]:
    """Write the agents' sessions to a folder; returns the function's settings."""
    (folder / "sessions.json").write_text(json.dumps({"sell": SESSION, "mend": OTHER_SESSION}))
    return {
        "PUBSUB_EMULATOR_HOST": host_port,
        "OPENAI_API_KEY": API_KEY,
        "OPENAI_BASE_URL": openai_base_url,
        "OPENAI_TIMEOUT_SECONDS": "2",
        "PUBLISH_TIMEOUT_SECONDS": "1",
        "SESSIONS_FILE": str(folder / "sessions.json"),
        "TOKEN_SECRET": TOKEN_SECRET,
        "ALLOWED_ORIGINS": f"{ORIGIN} http://127.0.0.1:8000",
    }
