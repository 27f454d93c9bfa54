"""The documents tell the truth."""

import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_settings_page_is_what_the_settings_classes_say() -> None:
    """`make docs` writes it anew."""
    page = runpy.run_path(str(ROOT / "docs/settings.py"))["page"]
    assert (ROOT / "docs/settings.md").read_text() == page()


def test_the_agent_of_the_readme_runs(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/__init__.py").write_text(code)
    subprocess.run(
        [
            sys.executable,
            "-c",
            "from supervisor.agents.router import load; assert len(load('shop:agent').agents['agent'].tools) == 2",
        ],
        cwd=tmp_path,  # a shop of the reader's own may be in ROOT
        env={"PYTHONPATH": str(ROOT)},
        check=True,
    )


INFRA = (ROOT / "infra/README.md", ROOT / "infra/modules/sideband/README.md")
DOCUMENTS = (ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *INFRA)


@pytest.mark.parametrize("document", [path.relative_to(ROOT) for path in DOCUMENTS])
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / document).read_text()):
        assert (ROOT / document.parent / link).exists(), f"{document}: {link}"


async def test_the_code_of_the_tutorial_runs_from_top_to_bottom() -> None:
    code = re.findall(r"```python\n(.*?)```", (ROOT / "docs/agents.md").read_text(), re.DOTALL)
    module = ModuleType("tutorial")
    sys.modules["tutorial"] = module  # where annotations are looked up
    for block in code:
        exec(compile(block, "docs/agents.md", "exec"), module.__dict__, module.__dict__)  # noqa: S102 - our own page
    names: dict[str, Any] = vars(module)
    await names["test_an_order_is_looked_up"]()


def test_every_test_that_the_behaviour_page_names_is_there() -> None:
    """A name may be cut short with three dots."""
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+?)(?:_?\.\.\.|)`", (ROOT / "docs/behaviour.md").read_text())
    modules = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    missing = [name for name in named if f"def {name}" not in tests and name not in modules]
    assert missing == []
