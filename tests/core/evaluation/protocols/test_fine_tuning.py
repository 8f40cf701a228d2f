"""Fine-tuning and training from scratch, block after block, on a small simulated market."""

from springtide.evaluation.data.datasets import Dataset
from springtide.evaluation.protocols.fine_tuning import compare_fine_tuning
from springtide.evaluation.simulation.simulator import SimulatorSettings, simulate
from springtide.plugins.loading import load_plugins
from springtide.testing import quick_settings


def test_both_ways_are_measured_on_every_block_and_fine_tuning_takes_less() -> None:
    market = simulate(SimulatorSettings(num_users=60, num_items=60, num_categories=6, num_events=6_000, num_years=1))
    dataset = Dataset("market", market.interactions(), market.upserts())
    settings = quick_settings(training={"steps": 150, "fine_tune_steps": 5, "min_passes": 0, "num_threads": 1})
    blocks = list(compare_fine_tuning(dataset, settings, load_plugins()))
    assert [block.number for block in blocks] == [1, 2, 3]
    for block in blocks:
        # By chance alone NDCG@20 of 60 items would be a third of what there is to be had.
        assert min(block.retrained.all, block.fine_tuned.all) > 0.2
        assert block.fine_tuned.seconds < block.retrained.seconds
        assert block.fine_tuned != block.retrained
