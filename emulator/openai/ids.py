"""Ids as OpenAI makes them, of at most 32 characters."""

import secrets


def new_id(prefix: str) -> str:
    """Make an id such as `item_5f2c...`."""
    return f"{prefix}_{secrets.token_hex(10)}"
