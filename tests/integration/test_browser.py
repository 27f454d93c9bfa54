"""A person calls from a page: real Chromium, real peer connection, function and supervisor as processes."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientSession, web
from playwright.async_api import Page, async_playwright, expect
from pydantic import SecretStr

from emulator.system import System, local_system
from examples.bikes import agent
from examples.browser.__main__ import Settings, app
from supervisor.agents.session import accept_body
from tests.support.tokens import TOKEN_SECRET, token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from emulator.openai import Call

AGENT = "examples.bikes:agent"
PATIENCE_MS = 20_000
CALL_SECONDS = 30
SCRIPT: list[dict[str, Any]] = [
    {"caller": "Is my bike ready? The order is B-1042."},
    {"tool": "order_status", "arguments": {"order_id": "B-1042"}},
    {"model": "It is in the workshop until Thursday."},
]
FLAGS = [
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--allow-loopback-in-peer-connection",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--no-sandbox",
]


@asynccontextmanager
async def everything(folder: Path, **options: Any) -> AsyncIterator[tuple[System, str, str]]:
    """Run the whole system and the example's backend; gives the URLs of the page and of the edge too."""
    (folder / "sessions.json").write_text(
        json.dumps({"bikes": accept_body(agent.session, agent.tools, transport="webrtc")})
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        page_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        environment = {
            "SESSIONS_FILE": str(folder / "sessions.json"),
            "TOKEN_SECRET": TOKEN_SECRET,
            "ALLOWED_ORIGINS": page_url,
        }
        async with local_system(agent=AGENT, options=options, environment=environment) as system:
            await asyncio.gather(system.start_function(), system.start_supervisor())
            edge_url = (system.stand_in.options.webhook_url or "").removesuffix("/webhooks/openai")
            backend = web.AppRunner(app(Settings(token_secret=SecretStr(TOKEN_SECRET), edge_url=edge_url)))
            await backend.setup()
            try:
                await web.SockSite(backend, listener).start()
                yield system, page_url, edge_url
            finally:
                await backend.cleanup()


@pytest.fixture
def chromium() -> str:
    """Where Chromium is; skips where it is missing, but fails in CI."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found:
        return found
    missing = "Chromium is not installed: apt-get install chromium"
    if os.environ.get("CI") or os.environ.get("REQUIRE_CHROMIUM"):
        pytest.fail(missing)
    pytest.skip(missing)


@asynccontextmanager
async def page_at(chromium: str, url: str, *, may_fail: bool = False) -> AsyncIterator[Page]:
    """Open a page in Chromium; whatever it complains of in its console fails the test, unless it may fail."""
    complaints: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        try:
            page = await browser.new_page()
            page.set_default_timeout(PATIENCE_MS)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
            await page.goto(url)
            yield page
        finally:
            await browser.close()
    assert may_fail or not complaints


async def call_of(system: System) -> Call:
    """The call that is made next, or was made just now."""
    entry = await system.stand_in.log.wait_for(lambda entry: entry.kind == "placed", timeout_seconds=CALL_SECONDS)
    assert entry.call_id
    return system.stand_in.calls[entry.call_id]


async def test_a_person_calls_from_a_page(chromium: str, tmp_path: Path) -> None:
    """A person calls from a page, and hangs up.

    Microphone, token, relay, ICE, DTLS and data channel are real; a tool runs; hanging up ends the call.
    """
    options = {"webrtc_media": True, "webrtc_script": SCRIPT}
    async with everything(tmp_path, **options) as (system, page_url, _), page_at(chromium, page_url) as page:
        state = page.locator("#state")
        await page.get_by_role("button", name="Call", exact=True).click()
        await expect(state).to_have_attribute("data-state", "connected", timeout=PATIENCE_MS)
        call = await call_of(system)
        assert call.transport == "webrtc"

        asked = page.locator("#transcript li[data-role=user]")
        await expect(asked).to_have_text("Is my bike ready? The order is B-1042.", timeout=PATIENCE_MS)
        answered = page.locator("#transcript li[data-role=user] ~ li[data-role=assistant]")
        await expect(answered).to_have_text("It is in the workshop until Thursday.", timeout=PATIENCE_MS)
        outputs = [
            entry.payload["item"]["output"]
            for entry in call.log
            if entry.type == "conversation.item.create" and entry.payload["item"]["type"] == "function_call_output"
        ]
        assert [json.loads(output)["order_id"] for output in outputs] == ["B-1042"]
        if folder := os.environ.get("SCREENSHOTS"):
            await page.screenshot(path=f"{folder}/call.png")

        await page.get_by_role("button", name="Hang up").click()
        await expect(state).to_have_attribute("data-state", "ended")
        assert await call.ended(CALL_SECONDS) == "caller_hung_up"
        supervisor = next(process for process in system.processes if process.name == "supervisor")
        assert (await supervisor.logged("ended"))["call_id"] == call.call_id


@pytest.mark.parametrize("attaches_with", ["standard", "ephemeral"])
async def test_a_browsers_own_call_is_served(tmp_path: Path, attaches_with: str) -> None:
    """A call that a browser made by itself is registered, and served.

    Whichever key OpenAI lets attach to such a call: the project's is tried first, then the browser's own.
    """
    options = {"ephemeral_calls_attach_with": attaches_with}
    async with everything(tmp_path, **options) as (system, _, edge_url), ClientSession() as browser:
        permission = {"Authorization": f"Bearer {token()}"}
        async with browser.post(f"{edge_url}/client-secrets", headers=permission) as minted:
            secret = (await minted.json())["value"]
        headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/sdp"}
        async with browser.post(f"{system.stand_in.base_url}/realtime/calls", data="v=0\r\n", headers=headers) as made:
            call_id = made.headers["Location"].rpartition("/")[2]
        permission = {"Authorization": f"Bearer {token(jti=call_id)}"}
        async with browser.post(
            f"{edge_url}/calls/{call_id}", json={"client_secret": secret}, headers=permission
        ) as registered:
            assert registered.status == 200
        call = system.stand_in.calls[call_id]
        assert await call.until(lambda: call.attaches > 0, CALL_SECONDS)
        assert call.conversation
        conversation = call.conversation
        assert await call.until(lambda: conversation.responses_started > 0, CALL_SECONDS), "it was not greeted"


async def test_what_goes_wrong_is_on_the_page(chromium: str, tmp_path: Path) -> None:
    """What goes wrong is said on the page.

    OpenAI refuses the offer: the person is told, the microphone is let go, and they can try again.
    """
    async with everything(tmp_path) as (system, page_url, _), page_at(chromium, page_url, may_fail=True) as page:
        system.stand_in.inject({"fault": "rest", "operation": "create", "status": 400})
        await page.get_by_role("button", name="Call", exact=True).click()
        state = page.locator("#state")
        await expect(state).to_have_attribute("data-state", "failed", timeout=PATIENCE_MS)
        await expect(state).to_have_text("OpenAI refused the offer or the session")
        await expect(page.get_by_role("button", name="Call", exact=True)).to_be_visible()
