"""Tokens as an application's backend makes them."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

import jwt

TOKEN_SECRET = "what-the-backend-and-the-edge-share-and-nobody-else-knows-on-earth"
OTHER_TOKEN_SECRET = "what-somebody-else-has-instead-of-it"


def claims(**changed: Any) -> dict[str, Any]:
    """Return a good token's claims, some of them changed; None leaves one out."""
    good = {"aud": "sideband", "sub": "user-17", "exp": int(time.time()) + 300, "jti": uuid4().hex, "tier": "gold"}
    return {name: value for name, value in (good | changed).items() if value is not None}


def token(*, key: Any = TOKEN_SECRET, algorithm: str = "HS256", key_id: str | None = None, **changed: Any) -> str:
    """Sign a token with these claims."""
    headers = {"kid": key_id} if key_id else None
    return jwt.encode(claims(**changed), key, algorithm=algorithm, headers=headers)
