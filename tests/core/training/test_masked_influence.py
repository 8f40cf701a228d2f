"""Masks over edges say of the neighbours what taking them away says, and share what two neighbours both say."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch_geometric.nn import SimpleConv

from springtide.clock import Deadline
from springtide.errors import ModelError
from springtide.explaining.influence import NeighbourInfluence, neighbour_influences
from springtide.model.registry import ModelArtifact
from springtide.plugins.contracts import Encoder, Moment
from springtide.plugins.loading import load_plugins
from springtide.plugins.parts import Plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.scoring import Scorer
from springtide.ranking.serving_model import ServingModel
from springtide.testing import even_odd_events, even_odd_state, quick_model, quick_settings, state_of
from springtide.training.masked_influence import masked_influences

PLUGINS = load_plugins()
SIZE = 24
NOW = Moment(even_odd_events(SIZE)[-1][2] + 60_000)
NEWCOMER = [("new", item, NOW.timestamp_ms - 1_000 * age) for age, item in enumerate(("i1", "i3", "i4", "i3", "i7"))]
Influences = Sequence[NeighbourInfluence]


def both_ways(encoder: str, item: str, plugins: Plugins = PLUGINS) -> tuple[Influences, Influences]:
    """Return a newcomer's influences by masks, and those by leaving each neighbour out."""
    scorer, artifact = served(encoder, plugins)
    query, row = scorer.bind(Query(NOW, "new")), scorer.items.ids.row(item)
    left_out, is_cut = neighbour_influences(scorer, query, row, Deadline.after(3_600.0))
    assert not is_cut
    return masked_influences(scorer, query, row, artifact, plugins), left_out


def served(encoder: str, plugins: Plugins = PLUGINS) -> tuple[Scorer, ModelArtifact]:
    """Return a trained model, and what scores with it after a newcomer came, who had odd items and i4."""
    settings = quick_settings(model={"width": 16, "encoder": {"name": encoder}})
    artifact = quick_model(even_odd_state(SIZE, settings), settings, plugins)
    ranker = Ranker(state_of([*even_odd_events(SIZE), *NEWCOMER], settings), settings.ranking)
    ranker.swap(ServingModel.from_artifact(artifact, plugins))
    return ranker.scorer(), artifact


def of_side(side: str, influences: Influences) -> dict[tuple[str, str], float]:
    return {(each.node.node_id, each.relation): each.influence for each in influences if each.side == side}


@pytest.mark.parametrize("encoder", ["lightgcn", "graphsage", "gat", "hetero"])
def test_masks_order_neighbours_as_leaving_out_does(encoder: str) -> None:
    for item in ("i5", "i6"):
        masked, left_out = both_ways(encoder, item)

        assert [each.influence for each in masked] == sorted((each.influence for each in masked), reverse=True)
        for side in ("user", "item"):
            by_mask, by_leaving = of_side(side, masked), of_side(side, left_out)
            assert by_mask.keys() == by_leaving.keys()
            order = list(by_leaving)
            # PyG's own coefficients give -0.6 to 0.3 for the item's neighbours.
            assert spearmanr([by_mask[key] for key in order], [by_leaving[key] for key in order])[0] > 0.7
        # The only even item that the newcomer had speaks for an even one, and against an odd one.
        of_user = of_side("user", masked)
        even = next(key for key in of_user if key[0] == "i4")
        assert (max if item == "i6" else min)(of_user, key=lambda key: of_user[key]) == even
        assert (of_user[even] > 0) == (item == "i6")
        assert all((each.attention is not None) == (encoder == "gat") for each in masked)


def test_masks_are_the_same_every_time_and_leave_no_trace() -> None:
    scorer, artifact = served("gat")
    query, row = scorer.bind(Query(NOW, "new")), scorer.items.ids.row("i5")
    before = {name: array.copy() for name, array in artifact.tensors.items()}
    torch.manual_seed(1)
    first, drawn = masked_influences(scorer, query, row, artifact, PLUGINS), torch.rand(1)
    torch.manual_seed(1)

    assert drawn == torch.rand(1), "the caller's random numbers are those without it"
    assert masked_influences(scorer, query, row, artifact, PLUGINS) == first
    assert all(np.array_equal(before[name], array) for name, array in artifact.tensors.items())


class ByConvolution(Encoder):
    """Passes messages by a layer of PyG's own, which PyG masks itself."""

    default_aggregator = "mean"

    def __init__(self, width, num_layers, aggregator):
        super().__init__(width, num_layers, aggregator)
        self.convolution = SimpleConv("sum")

    def layer(self, depth, sources, targets, edges):
        return targets / 4 + self.convolution((sources, targets), torch.stack([edges.source, edges.target]))


class ByHand(Encoder):
    """Passes messages that nobody can mask."""

    default_aggregator = "mean"

    def layer(self, depth, sources, targets, edges):
        sums = torch.zeros_like(targets).index_add(0, edges.target, sources[edges.source])
        return targets / 4 + sums / (1 + edges.target_degree.unsqueeze(1))


def test_layers_of_pyg_in_an_encoder_are_masked_by_pyg() -> None:
    masked, left_out = both_ways("mine", "i5", PLUGINS.with_part("encoder", "mine", ByConvolution))

    for side in ("user", "item"):
        by_mask, by_leaving = of_side(side, masked), of_side(side, left_out)
        assert spearmanr([by_mask[key] for key in by_leaving], list(by_leaving.values()))[0] > 0.7


def test_an_encoder_whose_edges_cannot_be_masked_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match="encoder 'mine': its edges cannot be masked: wanted one that combines"):
        both_ways("mine", "i5", PLUGINS.with_part("encoder", "mine", ByHand))


def test_another_model_than_the_one_that_serves_is_refused() -> None:
    scorer, artifact = served("lightgcn")
    other = replace(artifact, manifest=replace(artifact.manifest, version="000007"))
    with pytest.raises(ModelError, match="wanted model , which serves, got 000007"):
        masked_influences(scorer, scorer.bind(Query(NOW, "new")), 5, other, PLUGINS)
