"""`sideband webhook`: from nothing to a webhook that works, and to its next secret."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import openai
import pytest
from aiohttp import web

from emulator.openai import Options, StandIn, serve
from tests.support.edge_process import PROJECT, ROOT, running_edge
from tests.support.edge_pubsub import create_topic, pubsub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

API_KEY = "sk-project"
SECRET = f"projects/{PROJECT}/secrets/openai-webhook"
TOPIC = f"projects/{PROJECT}/topics/calls"


class SecretManager:
    """As much of Secret Manager as the command asks of it."""

    def __init__(self) -> None:
        self.versions: list[str] = []
        self.down = False
        self.url = ""

    async def add(self, request: web.Request) -> web.Response:
        if self.down:
            return web.json_response({"error": {"message": "Permission denied"}}, status=403)
        payload = (await request.json())["payload"]["data"]
        self.versions.append(base64.b64decode(payload).decode())
        return web.json_response({"name": f"{SECRET}/versions/{len(self.versions)}"})

    async def access(self, _request: web.Request) -> web.Response:
        if not self.versions:
            return web.json_response({"error": {"message": "no version"}}, status=404)
        return web.json_response({"payload": {"data": base64.b64encode(self.versions[-1].encode()).decode()}})


@pytest.fixture
async def secret_manager() -> AsyncIterator[SecretManager]:
    manager = SecretManager()
    app = web.Application()
    app.add_routes(
        [
            web.post(f"/v1/{SECRET}:addVersion", manager.add),
            web.get(f"/v1/{SECRET}/versions/latest:access", manager.access),
        ]
    )
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    manager.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield manager
    await runner.cleanup()


@pytest.fixture
async def openai_stand_in() -> AsyncIterator[StandIn]:
    async with serve(options=Options(api_keys=[API_KEY])) as stand_in:
        yield stand_in


async def webhook(stand_in: StandIn, *arguments: str, **environment: str) -> tuple[int, list[str], str]:
    """Run the command; gives its exit status, the lines on stdout, and those on stderr."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sideband", "webhook", *arguments,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "OPENAI_API_KEY": API_KEY, "OPENAI_BASE_URL": stand_in.base_url} | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    stdout, stderr = await asyncio.wait_for(process.communicate(), 60)
    assert b"Traceback" not in stderr
    return process.returncode or 0, stdout.decode().splitlines(), stderr.decode().strip()


async def test_create_test_and_rotate(openai_stand_in: StandIn, secret_manager: SecretManager, tmp_path: Path) -> None:
    """A deploy ends with a webhook that works, and its secret rotates without another deploy.

    Create, mount the secret, test, ring; rotate, and both the old and the new secret are good.
    """
    environment = {"SECRET_MANAGER_URL": secret_manager.url}
    mounted = tmp_path / "webhook-secret"
    mounted.write_text("whsec_" + base64.b64encode(b"some secret from before it all").decode())
    async with pubsub() as (host_port, claims):
        await create_topic(host_port)
        edge_settings = {"OPENAI_WEBHOOK_SECRET": "", "OPENAI_WEBHOOK_SECRET_FILE": str(mounted)}
        url = await first_url(tmp_path, host_port, edge_settings)
        status, lines, _ = await webhook(openai_stand_in, "create", "--url", url, "--secret", SECRET, **environment)
        assert status == 0
        assert not [line for line in lines if "whsec_" in line]
        [endpoint] = openai_stand_in.endpoints
        assert lines == [
            f"made {endpoint.id} for realtime.call.incoming at {url}",
            f"kept its secret in {SECRET}/versions/1",
        ]
        assert secret_manager.versions == [endpoint.signing_secret]
        assert (await webhook(openai_stand_in, "create", "--url", url))[1][0].startswith(f"{endpoint.id} is at")
        assert len(list(openai_stand_in.endpoints)) == 1

        mounted.write_text(secret_manager.versions[-1])
        async with edge_at(url, tmp_path, host_port, edge_settings):
            test = ("test", endpoint.id, "--topic", TOPIC)
            status, lines, complaint = await webhook(openai_stand_in, *test, PUBSUB_EMULATOR_HOST=host_port)
            assert (status, complaint) == (0, "")
            assert lines[0].endswith("it was answered with 200")
            assert lines[1].startswith(f"it arrived as a notice on {TOPIC}: call rtc_test_")
            await claims.next_call_id()

            status, lines, _ = await webhook(openai_stand_in, "rotate", endpoint.id, "--secret", SECRET, **environment)
            assert status == 0
            old, new = secret_manager.versions[0], endpoint.signing_secret
            assert secret_manager.versions[-1] == f"{new} {old}"
            assert endpoint.secrets() == [new, old]
            call = await openai_stand_in.place_call()
            assert await claims.next_call_id() == call.call_id, "it is signed by both, and the function knows the old"


async def first_url(folder: Path, host_port: str, edge_settings: dict[str, str]) -> str:
    """An address that nobody serves yet: the endpoint is made before the function knows its secret."""
    async with running_edge(folder, edge_settings, PUBSUB_EMULATOR_HOST=host_port) as edge:
        return f"{edge.url}/webhooks/openai"


@asynccontextmanager
async def edge_at(url: str, folder: Path, host_port: str, edge_settings: dict[str, str]) -> AsyncIterator[None]:
    port = url.rpartition(":")[2].partition("/")[0]
    async with running_edge(folder, edge_settings, port=int(port), PUBSUB_EMULATOR_HOST=host_port):
        yield


async def test_without_a_store_it_is_printed(openai_stand_in: StandIn) -> None:
    """Without Secret Manager the secret is printed, once."""
    _, lines, _ = await webhook(openai_stand_in, "create", "--url", "https://edge.example/webhooks/openai")
    [endpoint] = openai_stand_in.endpoints
    assert lines[-1] == f"OPENAI_WEBHOOK_SECRET={endpoint.signing_secret}"
    _, listed, _ = await webhook(openai_stand_in, "list")
    assert listed[0].startswith(f"{endpoint.id}  https://edge.example/webhooks/openai  realtime.call.incoming  ")
    assert endpoint.signing_secret not in listed[0]
    _, (as_json,), _ = await webhook(openai_stand_in, "list", "--json")
    assert [(one["id"], "signing_secret" in one) for one in json.loads(as_json)] == [(endpoint.id, False)]
    first = endpoint.signing_secret
    _, lines, _ = await webhook(openai_stand_in, "rotate", endpoint.id)
    assert lines[-1] == f"OPENAI_WEBHOOK_SECRET={endpoint.signing_secret}"
    assert endpoint.secrets() == [endpoint.signing_secret, first]
    assert (await webhook(openai_stand_in, "delete", endpoint.id))[0] == 0
    assert (await webhook(openai_stand_in, "list"))[1] == ["there are no webhook endpoints"]


async def test_an_unstored_secret_is_not_lost(openai_stand_in: StandIn, secret_manager: SecretManager) -> None:
    """A secret that cannot be stored is not lost.

    A new endpoint is deleted again; a rotated one's secret is printed, since it is good already.
    """
    environment = {"SECRET_MANAGER_URL": secret_manager.url}
    create = ("create", "--url", "https://edge.example", "--secret", SECRET)
    secret_manager.down = True
    status, _, complaint = await webhook(openai_stand_in, *create, **environment)
    assert status == 1
    assert "Permission denied" in complaint
    assert not list(openai_stand_in.endpoints)

    secret_manager.down = False
    await webhook(openai_stand_in, *create, **environment)
    [endpoint] = openai_stand_in.endpoints
    secret_manager.down = True
    status, lines, _ = await webhook(openai_stand_in, "rotate", endpoint.id, "--secret", SECRET, **environment)
    assert status == 1
    assert lines[-1] == f"OPENAI_WEBHOOK_SECRET={endpoint.signing_secret}"


async def test_failures_are_one_line(openai_stand_in: StandIn) -> None:
    """What went wrong is said in one line."""
    for arguments, environment, exits_with, says in [
        (("delete", "we_none"), {}, 1, "404: not_found No webhook endpoint found"),
        (("list",), {"OPENAI_API_KEY": ""}, 2, "OPENAI_API_KEY: Field required"),
        (("list",), {"OPENAI_API_KEY": "sk-wrong"}, 1, "401: invalid_api_key"),
        (("list",), {"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}, 1, "got no whole answer from OpenAI"),
        (("create", "--url", "https://x.example", "--secret", "mine"), {}, 1, "projects/PROJECT/secrets/NAME"),
    ]:
        status, _, complaint = await webhook(openai_stand_in, *arguments, **environment)
        assert status == exits_with
        assert says in complaint
        assert "\n" not in complaint


async def test_a_wrong_answer_fails_the_test(openai_stand_in: StandIn, tmp_path: Path) -> None:
    """A webhook that does not answer with 200 fails its test. The function has another secret than the endpoint."""
    async with pubsub() as (host_port, _):
        await create_topic(host_port)
        async with running_edge(tmp_path, PUBSUB_EMULATOR_HOST=host_port) as edge:
            await webhook(openai_stand_in, "create", "--url", edge.url)
            [endpoint] = openai_stand_in.endpoints
            status, lines, complaint = await webhook(
                openai_stand_in, "test", endpoint.id, "--topic", TOPIC, PUBSUB_EMULATOR_HOST=host_port
            )
            assert (status, len(lines)) == (1, 1)
            assert lines[0].endswith("it was answered with 401")
            assert "another secret" in complaint


async def test_a_wrong_topic_is_explained(openai_stand_in: StandIn) -> None:
    """A topic whose name is wrong is explained."""
    status, _, complaint = await webhook(openai_stand_in, "test", "we_1", "--topic", "calls")
    assert (status, complaint) == (1, "calls is no topic: write it as projects/PROJECT/topics/TOPIC")


async def test_the_official_client_manages_them(openai_stand_in: StandIn) -> None:
    """OpenAI's own client manages the stand-in's endpoints.

    The stand-in is held to the official client: shapes, paging, rotation, deletion.
    """
    async with openai.AsyncOpenAI(api_key=API_KEY, base_url=openai_stand_in.base_url, max_retries=0) as client:
        urls = [f"https://edge.example/{number}" for number in range(3)]
        for url in urls:
            made = await client.webhooks.create(name="calls", url=url, event_types=["realtime.call.incoming"])
            assert made.signing_secret.startswith("whsec_")
        assert [endpoint.url async for endpoint in client.webhooks.list(limit=2)] == urls
        changed = await client.webhooks.update(made.id, url="https://edge.example/new")
        assert changed.url == "https://edge.example/new"
        rotated = await client.webhooks.rotate_secret(made.id, keep_old_secret_active_for_24_hours=False)
        assert rotated.signing_secret != made.signing_secret
        assert openai_stand_in.endpoints.find(made.id).secrets() == [rotated.signing_secret]
        assert "realtime.call.incoming" in (await client.webhooks.event_types.list()).data
        assert (await client.webhooks.delete(made.id)).deleted
        with pytest.raises(openai.NotFoundError):
            await client.webhooks.retrieve(made.id)
        with pytest.raises(openai.BadRequestError):
            await client.webhooks.create(name="calls", url="ftp://x", event_types=["realtime.call.incoming"])
