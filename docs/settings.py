"""Writes docs/settings.md from the settings classes: `python docs/settings.py`, or `make docs`."""

from __future__ import annotations

from pathlib import Path

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

import function.settings
import supervisor.settings

PAGE = Path(__file__).with_name("settings.md")


def page() -> str:
    """The page's text."""
    return "\n".join(
        (
            "# Settings",
            "",
            "All settings are environment variables; empty means not set. A wrong one stops the process at its",
            "start, with one line that names it. This page is written by `make docs`.",
            "",
            *_table("Function", function.settings.Settings),
            *_table("Supervisor", supervisor.settings.Settings),
        )
    )


def _table(title: str, settings: type[BaseSettings]) -> list[str]:
    rows = [_row(name, field) for name, field in settings.model_fields.items()]
    return [f"## {title}", "", "| variable | default | what it is |", "|---|---|---|", *rows, ""]


def _row(name: str, field: FieldInfo) -> str:
    default = (
        "required" if field.is_required() else f"`{field.default}`" if field.default not in ("", None) else "not set"
    )
    description = " ".join((field.description or "").split())
    sentence = description[:1].upper() + description[1:].rstrip(".") + "."
    return f"| `{name.upper()}` | {default} | {sentence} |"


if __name__ == "__main__":
    PAGE.write_text(page())
