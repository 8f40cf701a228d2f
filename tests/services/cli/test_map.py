"""The map of the learned space: neighbours stay together, and the item that is asked about has its own."""

from pathlib import Path

import numpy as np
import pytest

from springtide.errors import InvalidRequestError, ModelError
from springtide.events.model import EventBatch, NodeUpsert
from springtide.explaining.plane import neighbour_plane, principal_plane
from springtide.plugins.loading import load_plugins
from springtide.ranking.serving_model import ServingModel
from springtide.testing import even_odd_state, interactions_of, quick_model, quick_settings
from springtide_services.cli.map_run import draw, draw_map, map_of

SIZE = 24


@pytest.fixture(scope="module")
def world():
    settings = quick_settings(model={"width": 16})
    state = even_odd_state(SIZE, settings)
    kinds = [NodeUpsert("item", f"i{row}", {"kind": ("odd" if row % 2 else "even",)}) for row in range(SIZE)]
    state.apply(EventBatch(interactions_of(()), upserts=kinds))
    return state, ServingModel.from_artifact(quick_model(state, settings), load_plugins())


def clouds(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return 90 points of three clouds in 20 dimensions, and the cloud of each."""
    rng = np.random.default_rng(seed)
    cloud = np.repeat(np.arange(3), 30)
    return (rng.normal(size=(3, 20))[cloud] * 4 + rng.normal(size=(90, 20))).astype(np.float32), cloud


@pytest.mark.parametrize("seed", range(3))
def test_clouds_stay_apart_in_the_plane(seed: int) -> None:
    vectors, cloud = clouds(seed)

    plane = neighbour_plane(vectors, perplexity=10)

    distances = np.linalg.norm(plane[:, None] - plane[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (cloud[distances.argmin(axis=1)] == cloud).all()
    assert np.isfinite(plane).all()
    assert (plane == neighbour_plane(vectors, perplexity=10)).all()


def test_principal_components_are_those_of_the_greatest_spread() -> None:
    vectors = np.zeros((3, 5), np.float32)
    vectors[:, 3] = [0, 3, 6]
    vectors[:, 1] = [0, 2, 0]

    plane = principal_plane(vectors)

    assert np.abs(plane[:, 0]) == pytest.approx([3, 0, 3], abs=1e-6)
    assert np.ptp(plane[:, 1]) == pytest.approx(2, abs=1e-6)
    assert neighbour_plane(vectors).shape == (3, 2)
    with pytest.raises(ValueError, match="wanted at most 2,000 vectors"):
        neighbour_plane(np.zeros((2_001, 2), np.float32))


def test_the_nearest_of_an_item_are_of_its_kind(world, tmp_path: Path) -> None:
    found = map_of(*world, "kind", "i3", 5, SIZE)

    assert found.names[found.marked[0]] == "i3"
    assert [found.groups[position] for position in found.marked] == ["odd"] * 6
    assert list(found.cosines) == sorted(found.cosines, reverse=True)
    assert sorted(found.groups) == ["even"] * 12 + ["odd"] * 12

    draw(found, "a title", "kind", tmp_path / "map.png")
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_not_there_is_refused_with_the_choices(world, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"no category attribute 'colour' \(choices: kind\)"):
        map_of(*world, "colour", "", 5, SIZE)
    with pytest.raises(InvalidRequestError, match="no item with the id 'x'"):
        map_of(*world, "", "x", 5, SIZE)
    settings = quick_settings(model={"url": str(tmp_path / "models")})
    with pytest.raises(ModelError, match="no model yet"):
        draw_map(
            settings,
            png=tmp_path / "map.png",
            color="",
            near="",
            num_neighbours=5,
            top=9,
            name_attribute="",
            version="",
            is_flat=False,
        )
