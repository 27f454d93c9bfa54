"""Serve the page, and give its users tokens for calls.

It stands for your application's own backend.

    TOKEN_SECRET=... EDGE_URL=https://edge.example python -m examples.browser

The edge must know the same TOKEN_SECRET, and this page's origin in ALLOWED_ORIGINS. A real backend gives a token only
to somebody who has signed in, and puts into it what the agent's tools may rely on.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from uuid import uuid4

import jwt
from aiohttp import web
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings

PAGE = Path(__file__).parent
TOKEN_SECONDS = 60  # to begin a call with it


class Settings(BaseSettings):
    """The backend's settings, from its environment."""

    token_secret: SecretStr = Field(min_length=32)
    edge_url: str
    agent: str | None = None
    """One of the agents in the edge's SESSIONS_FILE; not needed if there is only one."""
    port: int = 8000


settings_key = web.AppKey("settings", Settings)


def app(settings: Settings) -> web.Application:
    """Make the backend."""
    backend = web.Application()
    backend[settings_key] = settings
    backend.add_routes([web.get("/", _page), web.post("/token", _token), web.static("/static", PAGE / "static")])
    return backend


async def _page(request: web.Request) -> web.FileResponse:
    policy = f"default-src 'self'; img-src data:; connect-src 'self' {request.app[settings_key].edge_url}"
    return web.FileResponse(PAGE / "index.html", headers={"Content-Security-Policy": policy})


async def _token(request: web.Request) -> web.Response:
    settings = request.app[settings_key]
    claims = {
        "aud": "sideband",
        "sub": "the-one-user-of-this-example",
        "exp": int(time.time()) + TOKEN_SECONDS,
        "jti": uuid4().hex,
        **({"agent": settings.agent} if settings.agent else {}),
    }
    token = jwt.encode(claims, settings.token_secret.get_secret_value(), algorithm="HS256")
    return web.json_response({"token": token, "calls_url": f"{settings.edge_url.rstrip('/')}/calls"})


if __name__ == "__main__":
    try:
        settings = Settings()
    except ValidationError as error:
        sys.exit("; ".join(f"{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors(include_input=False)))
    web.run_app(app(settings), host="127.0.0.1", port=settings.port)
