"""The documents are true: generated pages are up to date, links lead somewhere, every command is documented."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest


def test_command_pages_are_up_to_date(project_root: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "commands.md"
    subprocess.run([sys.executable, "-m", "tests.docs.commands", fresh], check=True, cwd=project_root)
    assert fresh.read_text() == (project_root / "docs" / "commands.md").read_text(), "run `make docs`"


def test_readme_names_every_command(project_root: Path) -> None:
    readme = (project_root / "README.md").read_text()
    from edgekit.cli.app import app

    names = [c.name for c in app.registered_commands] + [g.name for g in app.registered_groups]
    assert not [name for name in names if f"edgekit {name}" not in readme]


@pytest.mark.parametrize("document", ["README.md", "CHANGELOG.md", "docs"])
def test_links_lead_somewhere(project_root: Path, document: str) -> None:
    path = project_root / document
    for page in [path] if path.is_file() else sorted(path.glob("*.md")):
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if not link.startswith("http"):
                assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_project_speaks_of_itself_alone(project_root: Path) -> None:
    """No paths of the machine that it was written on, in no file that is kept."""
    kept = subprocess.run(["git", "ls-files"], cwd=project_root, capture_output=True, text=True, check=False).stdout
    root = re.compile(r"(?<![\w.])/(?:" + "|".join(("ro" + "ot", "wo" + "rk")) + r")/")
    for name in kept.split():
        file = project_root / name
        if file.suffix in (".py", ".md", ".yaml", ".toml", ".sh", ".json") and file.is_file():
            found = root.search(file.read_text(errors="replace"))
            assert found is None, f"{name}: {found}"
