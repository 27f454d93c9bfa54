"""What `sideband new` writes, and where it refuses to. tests/journey does what a user does with it."""

import re
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sideband.cli import app

ROOT = Path(__file__).resolve().parents[4]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def new(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["new", *map(str, arguments)])


def files(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_writes_a_repository(tmp_path: Path) -> None:
    """Everything that an agent's repository needs, under its own name and no other."""
    assert new(tmp_path / "pizza_line").exit_code == 0
    written = files(tmp_path / "pizza_line")
    assert set(written) == {
        ".github/workflows/ci.yml", ".gitignore", "Dockerfile", "Makefile", "README.md", "main.tf", "pyproject.toml",
        "pizza_line/__init__.py", "tests/test_agent.py",
    }  # fmt: skip
    assert not re.search(r"\bshop\b", "".join(written.values()))
    assert "from pizza_line import agent" in written["tests/test_agent.py"]
    assert "SIDEBAND_AGENT=pizza_line:agent" in written["Dockerfile"]


def test_names_this_version(tmp_path: Path) -> None:
    """The image, the module and the package that are asked for belong to the version that wrote it."""
    new(tmp_path / "shop")
    written = files(tmp_path / "shop")
    assert f"sideband-supervisor:{VERSION}\n" in written["Dockerfile"]
    assert f"?ref=v{VERSION}" in written["main.tf"]
    assert f"sideband[supervisor,testing]~={VERSION.rpartition('.')[0]}.0" in written["pyproject.toml"]


def test_dockerfile_is_short(tmp_path: Path) -> None:
    """Five lines at most, on our image."""
    new(tmp_path / "shop")
    assert len((tmp_path / "shop/Dockerfile").read_text().splitlines()) <= 5


def test_module_source_is_chosen(tmp_path: Path) -> None:
    """`--module-source` names another place for Terraform's module, such as a folder."""
    new(tmp_path / "shop", "--module-source", r"/a\1/folder")
    assert re.findall(r'source += "(.*)"', (tmp_path / "shop/main.tf").read_text()) == [
        "hashicorp/google",
        r"/a\1/folder",
    ]


def test_overwrites_nothing(tmp_path: Path) -> None:
    """A folder that exists is left alone, even an empty one."""
    (tmp_path / "shop").mkdir()
    done = new(tmp_path / "shop")
    assert (done.exit_code, files(tmp_path)) == (2, {})
    assert done.stderr.endswith("shop exists already; nothing was written.\n")


@pytest.mark.parametrize(
    "name", ["my-shop", "Shop", "2shop", "import", "shop:agent", "json", "sideband", "tests", "_", "shop_"]
)
def test_bad_name_gets_one_line(tmp_path: Path, name: str) -> None:
    """A name that can't be imported, or belongs to another package, is refused."""
    done = new(tmp_path / name)
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / name).exists()


def test_unwritable_place_gets_one_line(tmp_path: Path) -> None:
    """A place where no folder can be made is named, without a traceback."""
    (tmp_path / "file").touch()
    done = new(tmp_path / "file/shop")
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert "Not a directory" in done.stderr
