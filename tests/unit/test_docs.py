"""The documents tell the truth."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_settings_page_is_what_the_settings_classes_say() -> None:
    """`make docs` writes it anew."""
    page = runpy.run_path(str(ROOT / "docs/settings.py"))["page"]
    assert (ROOT / "docs/settings.md").read_text() == page()


def test_the_agent_of_the_readme_runs(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "shop.py").write_text(code)
    subprocess.run(
        [
            sys.executable,
            "-c",
            "from supervisor.agent import load; assert len(load('shop:agent').agents['agent'].tools) == 2",
        ],
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        check=True,
    )


@pytest.mark.parametrize(
    "document", [path.relative_to(ROOT) for path in (ROOT / "README.md", *ROOT.glob("docs/**/*.md"))]
)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / document).read_text()):
        assert (ROOT / document.parent / link).exists(), f"{document}: {link}"
