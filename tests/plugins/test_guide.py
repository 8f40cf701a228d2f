"""What plugins/README.md shows works: its plugins load, keep their contracts, and train."""

import inspect
import re
from pathlib import Path

import pytest
from torch_geometric.nn import MeanAggregation

from springtide.config import PartSettings, PluginSettings
from springtide.plugins import conformance, hookspecs
from springtide.plugins.contracts import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.testing import START_MS, even_odd_state, quick_model, quick_settings

GUIDE = (Path(__file__).parents[2] / "plugins" / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
HOOKS = sorted(name for name, _ in inspect.getmembers(hookspecs, inspect.isfunction) if name.startswith("register_"))
PARTS = {
    "register_aggregators": ("aggregator", "max", conformance.AggregatorContract),
    "register_context_weights": ("context weight", "last_was", conformance.ContextWeightContract),
    "register_encoders": ("encoder", "residual", conformance.EncoderContract),
    "register_losses": ("loss", "pairwise", conformance.LossContract),
}


def block_of(hook: str) -> str:
    section = re.search(rf"^## `{hook}\(register\)`$(.*?)(?=^## )", GUIDE, re.MULTILINE | re.DOTALL)
    assert section is not None, f"no heading for {hook}"
    (block,) = re.findall(r"^```python\n(.*?)^```", section[1], re.MULTILINE | re.DOTALL)
    return block


@pytest.fixture
def plugins(tmp_path):
    for hook in HOOKS:
        (tmp_path / f"{hook}_example.py").write_text(block_of(hook))
    return load_plugins(PluginSettings(folder=str(tmp_path)))


def test_every_hook_has_an_example():
    assert sorted(PARTS) == HOOKS


@pytest.mark.parametrize("hook", HOOKS)
def test_example_keeps_its_contract(hook, plugins):
    kind, name, suite = PARTS[hook]
    wanted = PartSettings(name=name)

    class Suite(suite):
        def make(self, *sizes):
            if not sizes:
                return plugins.make(kind, wanted)
            width, num_layers = sizes
            return plugins.make(kind, wanted, width=width, num_layers=num_layers, aggregator=MeanAggregation())

    tests = [name for name in dir(Suite) if name.startswith("test_")]
    assert tests
    for test in tests:
        getattr(Suite(), test)()


def test_examples_train_and_rank_together(plugins):
    settings = quick_settings(
        model={
            "width": 16,
            "encoder": {"name": "residual"},
            "aggregator": {"name": "max"},
            "loss": {"name": "pairwise"},
        },
        ranking={"context_weights": {"last_was": {}}},
    )
    state = even_odd_state(12, settings, plugins)
    ranker = Ranker(state, settings.ranking)
    ranker.swap(ServingModel.from_artifact(quick_model(state, settings, plugins), plugins))
    (ranking,) = ranker.recommend([Query(Moment(START_MS), "u3", count=3)])
    assert len(ranking.items) == 3


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.strip().splitlines()[-1].strip())
def test_block_runs(block):
    exec(compile(block, "plugins/README.md", "exec"), {"__name__": "example"})
