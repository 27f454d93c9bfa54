"""The Terraform that `sideband new` writes, with this repository's module."""

import subprocess
import sys
from pathlib import Path

from tests.infra import terraform


def test_written_root_is_valid(tmp_path: Path) -> None:
    """It is formatted, and gives the module what it needs and nothing that it does not know."""
    source = f"{terraform.ROOT}//{terraform.MODULE.relative_to(terraform.ROOT)}"  # instead of by git
    shop = tmp_path / "shop"
    new = [sys.executable, "-m", "sideband", "new", str(shop), "--module-source", source]
    subprocess.run(new, cwd=terraform.ROOT, check=True, timeout=60)
    terraform.init(shop)
    formatted = terraform.run(shop, "fmt", "-check", "-diff")
    assert formatted.returncode == 0, formatted.stdout
    checked = terraform.run(shop, "validate", "-no-color")
    assert checked.returncode == 0, checked.stderr
