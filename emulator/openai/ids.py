"""Ids as OpenAI makes them: a prefix that tells the kind, and an opaque rest; at most 32 characters in all."""

import secrets


def new_id(prefix: str) -> str:
    """Make an id such as `item_5f2c...`."""
    return f"{prefix}_{secrets.token_hex(10)}"
