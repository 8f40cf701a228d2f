"""The Markdown tells the truth: links, paths, names, commands and targets exist, and the maps of rooms are whole."""

import importlib
import importlib.util
import itertools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from springtide_services.cli.app import app

ROOT = Path(__file__).parents[1]
NOT_OURS = {"build", "dist", "node_modules", "springtide-state", "bench-results"}
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part in NOT_OURS for part in path.relative_to(ROOT).parts)
)
# These and the decision records may use Python names that have changed since; their links and paths must exist.
HISTORY = {"CHANGELOG.md"}
README_MAX_LINES = 250
FOLDERS = ("core", "deploy", "plugins", "protos", "services", "tests")  # Others are made by commands, such as results.

every_document = pytest.mark.parametrize("document", DOCUMENTS)


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def is_history(document: str) -> bool:
    return document in HISTORY or document.startswith("core/decisions/")


FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def without_fences(text: str) -> str:
    return FENCE.sub("", text)


def inline_codes(document: str) -> list[str]:
    return re.findall(r"`([^`]+)`", without_fences(text_of(document)))


def links(document: str) -> list[str]:
    found = re.findall(r"\]\(([^)\s]+)\)|^\[[^]]+\]: (\S+)", without_fences(text_of(document)), re.MULTILINE)
    return [target for pair in found for target in pair if target and "://" not in target]


def anchors(text: str) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", without_fences(text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def shown_commands(document: str) -> Iterator[list[str]]:
    """Yield the words of each `springtide` command that a document shows: inline, or a line of a shell block."""
    text = text_of(document).replace("\\\n", " ")
    shell = [block for language, block in FENCE.findall(text) if language in ("", "sh", "console")]
    lines = [line.strip().removeprefix("$ ") for block in shell for line in block.splitlines()]
    for shown in [*lines, *(" ".join(code.split()) for code in inline_codes(document))]:
        words = shown.split(" #")[0].removeprefix(".venv/bin/").split()
        if words[:1] == ["springtide"] and len(words) > 1 and words[1] != "…":
            yield words[1:]


@every_document
def test_links_lead_somewhere(document: str) -> None:
    for target in links(document):
        path, _, anchor = target.partition("#")
        file = (ROOT / document).parent / path if path else ROOT / document
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file.read_text(encoding="utf-8")), target


@every_document
def test_paths_exist(document: str) -> None:
    """A path is what has a folder of ours in front, or the ending of a source file behind a slash."""
    tops = "|".join(FOLDERS)
    pattern = re.compile(
        rf"(?<![\w./:-])(?:(?:{tops})/[\w./-]*|(?:[\w-]+/)+[\w-]+\.(?:pyx?|md|proto|toml|yaml|sh))(?!\w)"
    )
    bases = [ROOT, (ROOT / document).parent, ROOT / "core" / "springtide", ROOT / "services" / "springtide_services"]
    for code in inline_codes(document):
        for path in pattern.findall(code):
            assert any((base / path.rstrip(".")).exists() for base in bases), path


@pytest.mark.parametrize("document", [document for document in DOCUMENTS if not is_history(document)])
def test_python_names_exist(document: str) -> None:
    for code in inline_codes(document):
        for name in re.findall(r"(?<![\w./-])springtide(?:_[a-z]+)?(?:\.\w+)+", code):
            assert is_importable(name) or name in NAMES_ELSEWHERE, name


NAMES_ELSEWHERE = {"springtide.events", "springtide.dead", "springtide.toml"}  # Topics, and the file of settings.


def is_importable(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    if not module:
        return False
    try:
        if importlib.util.find_spec(name) is not None:
            return True
    except ModuleNotFoundError:
        pass
    try:
        return hasattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError:
        return False


@every_document
def test_commands_exist_with_their_options(document: str) -> None:
    for words in shown_commands(document):
        command: Any = typer.main.get_command(app)
        rest = list(words)
        while rest and hasattr(command, "commands"):
            name = rest.pop(0)
            assert name in command.commands, " ".join(words)
            command = command.commands[name]
        options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        used = {word.split("=")[0] for word in rest if word.startswith("--") and word != "--"}
        assert used <= options, " ".join(words)


@every_document
def test_make_targets_exist(document: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for code in inline_codes(document):
        for target in re.findall(r"(?:^|\s)make ([a-z-]+)", code):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_readme_takes_two_minutes() -> None:
    assert len(text_of("README.md").splitlines()) <= README_MAX_LINES


def rooms_of(document: str) -> list[set[str]]:
    """Return the rooms that each row of the document's map names, from the top."""
    table = re.search(r"^\| room \|.*?\n\|[-|]+\|\n(.*?)^(?!\|)", text_of(document), re.MULTILINE | re.DOTALL)
    assert table is not None, document
    return [set(re.findall(r"`(\w+)", row.split("|")[1])) for row in table[1].splitlines()]


@pytest.mark.parametrize(
    ("document", "container"), [("core/README.md", "springtide"), ("services/README.md", "springtide_services")]
)
def test_map_of_rooms_is_the_order_of_the_layers(document: str, container: str) -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract.get("containers") == [container])

    assert rooms_of(document) == [set(layer.split(" | ")) for layer in layers]


def test_map_of_the_evaluation_names_every_room() -> None:
    folder = ROOT / "core" / "springtide" / "evaluation"
    rooms = {path.parent.name for path in folder.glob("*/__init__.py")}

    assert rooms <= set().union(*rooms_of("core/springtide/evaluation/README.md"))


def test_readme_compares_with_the_baselines_as_the_table_of_the_evaluation_does() -> None:
    rows = [line.split(" | ") for line in text_of("core/springtide/evaluation/README.md").splitlines()]
    start = next(number for number, row in enumerate(rows) if row[0] == "| model")
    columns = [column for column, name in enumerate(rows[start]) if "NDCG" in name]
    table = list(itertools.takewhile(lambda row: len(row) > 1, rows[start + 2 :]))
    figures = {row[0]: [float(row[column].split()[0]) for column in columns] for row in table}
    default = figures.pop("| springtide (lightgcn, sum, reconstruction)")
    is_ahead = [ours > max(theirs) for ours, *theirs in zip(default, *figures.values(), strict=True)]
    said = " ".join(text_of("README.md").split())

    # MovieLens new and all, Complete Journey new and all, Ta-Feng new and all.
    assert is_ahead == [True, True, True, True, False, True]
    assert len(figures) == 15
    assert (
        "ranks better than all fifteen baselines on MovieLens 100K and Complete Journey, and for all items of Ta-Feng. "
        "It is behind the best baseline for new items of Ta-Feng."
    ) in said


def test_every_test_that_the_threat_model_names_exists() -> None:
    page = (ROOT / "services" / "threat-model.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", page))
    there = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert named
    assert {name for name in named if f"def {name}(" not in there} == set()
