"""Writes what the function is deployed from into a folder: `python infra/scripts/function_archive.py FOLDER`.

`function-archive.json` says which files go where, and the agents' `sessions.json` is added; Terraform zips the same.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GLOBS = ROOT / "infra/modules/sideband/function-archive.json"


def files() -> dict[str, Path]:
    """List the archive's files: their paths in it, and where they come from."""
    globs: dict[str, str] = json.loads(GLOBS.read_text()) | {"sessions.json": ""}
    return {folder + path.name: path for glob, folder in globs.items() for path in sorted(ROOT.glob(glob))}


def write(folder: Path) -> None:
    """Copy the archive's files into a folder, which is made if need be."""
    for name, path in files().items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
