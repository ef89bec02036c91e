"""Pages can be found, decisions have a status, and the floors on pages are those checked."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def targets(page: Path) -> set[Path]:
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    return {(page.parent / link).resolve() for link in links if not link.startswith("http")}


def test_index_leads_to_every_page() -> None:
    pages = {page for page in DOCS.rglob("*.md") if page.parent.name != "decisions"}
    assert pages - targets(DOCS / "README.md") == {DOCS / "README.md"}
    assert DOCS / "decisions" / "README.md" in targets(DOCS / "README.md")


def test_decisions_are_numbered_without_a_gap_have_a_status_and_are_listed() -> None:
    records = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    assert len(records) >= 20
    listed = (DOCS / "decisions" / "README.md").read_text()
    for number, record in enumerate(records, start=1):
        title, _, status, *_ = record.read_text().splitlines()
        name = title.removeprefix(f"# {number}. ")
        assert record.name.startswith(f"{number:04d}-")
        assert status.startswith("Status: "), record.name
        assert f"| {number} | [{name}]({record.name}) |" in listed


@pytest.mark.parametrize("page", ["README.md", "docs/explanation/architecture.md"])
def test_floors_on_the_page_are_those_that_are_checked(page: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    floors = next(
        contract["layers"]
        for contract in project["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    )
    assert "```text\n" + "\n".join(floors) + "\n```" in (ROOT / page).read_text()


def test_architecture_page_names_every_package() -> None:
    page = (DOCS / "explanation" / "architecture.md").read_text()
    packages = {f"hil.{found.parent.name}" for found in (ROOT / "hil").glob("*/__init__.py")}
    assert len(packages) >= 9
    assert [name for name in sorted(packages) if f"| `{name}` |" not in page] == []


@pytest.mark.parametrize("folder", ["hil/campaign", "datasets/hil_datasets/chip_book"])
def test_map_at_the_head_of_a_package_names_every_module(folder: str) -> None:
    package = ROOT / folder
    modules = {path.stem for path in package.glob("*.py")} - {"__init__"}
    packages = {path.parent.name for path in package.glob("*/__init__.py")}
    written = (package / "__init__.py").read_text().partition("::\n")[2]
    # Names stand first on their line, several with commas, and two spaces before what they do.
    heads = [re.split(r"  +", line.strip())[0] for line in written.splitlines()]
    named = {name for head in heads for name in re.findall(r"\b[a-z_]+\b", head)}
    assert (modules | packages) - named == set()
