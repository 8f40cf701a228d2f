"""The documentation site: it is built without a warning, shows what it promises, and asks nobody else for anything."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from springtide.plugins import contracts
from springtide.settings.model import Settings
from springtide_services.cli.app import app

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.long
# Links that a reader may follow; nothing else may lead out of the site.
_ANCHOR = re.compile(r"<a\s[^>]*>")
_REQUEST = re.compile(r"""(?:\bsrc|\bhref|@import\s+|\burl\()\s*=?\s*["'(]?\s*((?:https?:)?//[^"')\s>]+)""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    words = ["-m", "mkdocs", "build", "--strict", "-f", str(ROOT / "deploy/mkdocs.yml"), "-d", str(folder)]
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", *words],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr  # With --quiet, MkDocs would not count them.
    return folder


def page(site: Path, name: str) -> str:
    return (site / name).read_text(encoding="utf-8")


def test_site_asks_no_other_host(site: Path) -> None:
    pages = [*site.rglob("*.html"), *site.rglob("*.css")]
    assert len(pages) > 40
    asked = {
        (path.relative_to(site).as_posix(), address)
        for path in pages
        for address in _REQUEST.findall(_ANCHOR.sub("", path.read_text(encoding="utf-8")))
    }
    assert asked == set()


def test_reference_has_every_command(site: Path) -> None:
    text = page(site, "reference/cli.html")
    for name in typer.main.get_command(app).commands:  # type: ignore[attr-defined]
        assert f"springtide {name}" in text, name


def test_reference_has_every_method_and_message_of_the_protos(site: Path) -> None:
    names = {"recommender": "recommender", "events": "events", "admin": "admin", "inspection": "inspection"}
    for proto, shown in {**names, "steering": "steering-service"}.items():
        source = (ROOT / f"protos/springtide/v1/{proto}.proto").read_text(encoding="utf-8")
        text = page(site, f"reference/{shown}.html")
        for name in re.findall(r"^(?:message|service|enum|  rpc) (\w+)", source, re.MULTILINE):
            assert re.search(rf"\b{name}\b", text), name


def test_reference_has_every_contract_of_plugins(site: Path) -> None:
    text = page(site, "reference/plugin-api.html")
    classes = [name for name in contracts.__all__ if isinstance(getattr(contracts, name), type)]
    assert len(classes) > 15
    for name in classes:
        assert f'id="{name.lower()}"' in text, name


def test_reference_has_every_section_of_the_settings(site: Path) -> None:
    text = page(site, "reference/settings.html")
    for section in Settings.model_fields:
        assert f'id="{section}"' in text, section


def test_site_has_every_decision_record(site: Path) -> None:
    records = {path.stem for path in (ROOT / "core/decisions").glob("*.md")}
    assert {path.stem for path in (site / "decisions").glob("*.html")} == records
