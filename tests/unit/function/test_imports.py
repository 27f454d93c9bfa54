"""What a cold start imports."""

import subprocess
import sys
from pathlib import Path

from tests.support.deliveries import SECRET

ROOT = Path(__file__).resolve().parents[3]
NOT_NEEDED = {
    "supervisor", "openai", "httpx", "aiohttp", "google.cloud.pubsub_v1", "uvicorn",
    "function.webhook_admin",
}  # fmt: skip


def test_a_cold_start_imports_nothing_that_it_does_not_need() -> None:
    """Neither the supervisor, nor OpenAI's client, nor the command that sets up webhooks."""
    environment = {"OPENAI_WEBHOOK_SECRET": SECRET, "GOOGLE_CLOUD_PROJECT": "shop", "CALLS_TOPIC": "calls"}
    code = "import function.main, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert not NOT_NEEDED & set(done.stdout.split())
