"""What a server holds of each item: its vector, and few bytes more."""

import dataclasses
import gc
import tracemalloc

import numpy as np

from springtide.events.model import EventBatch
from springtide.model.registry import ModelArtifact, ModelStore
from springtide.plugins.loading import load_plugins
from springtide.ranking.item_table import ItemTable
from springtide.ranking.serving_model import ServingModel
from springtide.testing import even_odd_state, interactions_of, quick_model, quick_settings

NUM_ITEMS = 20_000
VECTOR_BYTES = 16 * 4
MORE_BYTES = 100  # Its id with a place in the hash table, the model's row, degree, and whether there is a vector.


def grown(trained: ModelArtifact, item_ids: list[str]) -> ModelArtifact:
    """Return a model that knows many items, all of them alike."""
    num_users = len(trained.node_ids["user"])
    num_layers, num_nodes, width = trained.tensors["levels"].shape
    num_nodes += len(item_ids) - len(trained.node_ids["item"])
    item_type = trained.manifest.schema["node_types"].index("item")
    tensors = {
        **trained.tensors,
        "levels": np.ones((num_layers, num_nodes, width), np.float32),
        "vectors": np.full((num_nodes, width), width**-0.5, np.float32),
        "degree": np.ones(num_nodes, np.float32),
        f"inputs.ids.{item_type}": np.ones((len(item_ids), width), np.float32),
        "num_interactions": np.ones(num_users, np.int64),
    }
    return dataclasses.replace(trained, tensors=tensors, node_ids={**trained.node_ids, "item": item_ids})


def test_model_and_table_hold_few_bytes_beside_the_vectors(tmp_path, monkeypatch):
    monkeypatch.setattr("springtide.storage._file_system", lambda device: "ext4")
    settings, plugins = quick_settings(model={"width": 16}), load_plugins()
    state = even_odd_state(settings=settings)
    trained = quick_model(state, settings)
    item_ids = [f"item-{number:06}" for number in range(NUM_ITEMS)]
    state.apply(EventBatch(interactions_of([("u0", item_id, 1) for item_id in item_ids])))
    store = ModelStore(str(tmp_path))
    version = store.publish(grown(trained, item_ids))
    view = state.graph.view()
    ServingModel.from_artifact(store.load(version), plugins)  # What is imported stays.
    gc.collect()
    tracemalloc.start()
    model = ServingModel.from_artifact(store.load(version), plugins)
    table = ItemTable.build(model, view, state.rules)
    gc.collect()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert np.count_nonzero(table.has_vector) >= NUM_ITEMS
    assert held / NUM_ITEMS < VECTOR_BYTES + MORE_BYTES
