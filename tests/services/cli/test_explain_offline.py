"""`springtide explain --offline` answers from a checkpoint and a model, without a server."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from springtide.checkpoint import CheckpointStore
from springtide.errors import InvalidRequestError, ModelError
from springtide.model.registry import ModelStore
from springtide.testing import even_odd_state, quick_model, quick_settings
from springtide_services.cli.app import app

SIZE = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with settings, and the checkpoint and the registry that they name."""
    folder = tmp_path_factory.mktemp("offline")
    places = {"checkpoint": folder / "checkpoints", "model": folder / "models"}
    settings = quick_settings(
        model={"url": str(places["model"]), "width": 16, "encoder": {"name": "gat"}},
        checkpoint={"url": str(places["checkpoint"])},
    )
    lines = [f'[{section}]\nurl = "{place}"\n' for section, place in places.items()]
    (folder / "springtide.toml").write_text("\n".join(lines))
    state = even_odd_state(SIZE, settings)
    CheckpointStore(settings.checkpoint.url).write(state.snapshot())
    ModelStore(settings.model.url).publish(quick_model(state, settings))
    return folder


def explained(folder: Path, *arguments: str) -> str:
    wanted = ["explain", *arguments, "--offline", "--settings", str(folder / "springtide.toml")]
    result = CliRunner().invoke(app, wanted, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_an_answer_without_a_server_has_all_that_one_of_a_server_has(folder: Path) -> None:
    found = json.loads(explained(folder, "u3", "i3", "--time-limit-ms", "10000", "--json"))

    assert found["modelVersion"] == "000001"
    assert found["paths"]
    assert found["reason"]
    sides = {side: [each for each in found["neighbours"] if each["side"] == side] for side in ("user", "item")}
    assert {each["node"]["id"] for each in sides["user"]} == {f"i{row}" for row in range(1, SIZE, 2)} - {"i3"}
    assert {each["node"]["id"] for each in sides["item"]} == {f"u{row}" for row in range(1, SIZE, 2)} - {"u3"}
    for each in sides.values():
        assert sum(neighbour["attention"] for neighbour in each) == pytest.approx(1.0, abs=1e-4)


def test_tables_show_the_neighbours(folder: Path) -> None:
    output = explained(folder, "u3", "i5")

    assert "what neighbours of the user add to the cosine" in output
    assert "attention" in output


def test_what_is_not_there_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="nothing"):
        explained(folder, "u3", "nothing")
    url = f"{tmp_path}/models"
    (tmp_path / "springtide.toml").write_text(f'[model]\nurl = "{url}"\n')
    with pytest.raises(ModelError, match="no model yet"):
        explained(tmp_path, "u3", "i3")
    champion = ModelStore(f"{folder}/models").load_champion()
    assert champion is not None
    manifest = replace(champion.artifact.manifest, training="baseline")
    ModelStore(url).publish(replace(champion.artifact, manifest=manifest))
    with pytest.raises(ModelError, match="version 000001 is a baseline"):
        explained(tmp_path, "u3", "i3")
