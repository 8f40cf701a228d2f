"""The built-in tasks: by hand, by contract, and on simulated data with known labels."""

import datetime as dt
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch_geometric.nn import MaxAggregation, MeanAggregation

from springtide.clock import MS_PER_DAY, MS_PER_HOUR
from springtide.errors import SettingsError, TrainingError
from springtide.events.model import EventBatch, NodeUpsert, Relation
from springtide.plugins.contracts import Task
from springtide.plugins.loading import load_plugins
from springtide.settings.model import PartSettings
from springtide.state import LiveState
from springtide.testing import (
    START_MS,
    even_odd_state,
    interactions_of,
    observed_of,
    quick_model,
    quick_settings,
    state_of,
    training_graph_of,
)
from springtide.training.homogeneous import homogeneous_graph
from springtide.training.labelled_task import LabelledTask
from springtide.training.network import Inputs, Network
from springtide.training.tasks import TaskTraining, classify_graphs, classify_nodes, fit_task, regress_nodes
from springtide_plugins.encoders.lightgcn import LightGCN
from springtide_plugins.tasks.baskets import Graphs, baskets_of, kinds_of
from springtide_plugins.tasks.graphs import GraphClassification
from springtide_plugins.tasks.nodes import NodeClassification, NodeRegression

PLUGINS = load_plugins()
TASKS = [part for part in PLUGINS.parts if part.kind == "task" and part.plugin == "springtide_plugins"]
DEPARTMENTS, ITEMS_EACH, NUM_USERS, BASKET = ("BAKERY", "DAIRY", "MEAT", "PRODUCE"), 12, 48, 4
NUM_ITEMS = len(DEPARTMENTS) * ITEMS_EACH
MONDAY_MS = START_MS - START_MS % MS_PER_DAY - MS_PER_DAY
QUICK = TaskTraining(steps=60, batch=64, learning_rate=0.05)


def department_of(item: int) -> int:
    return item % len(DEPARTMENTS)


def price_of(item: int) -> float:
    return 10.0 * department_of(item) + item % 3


def is_weekend_trip(department: int) -> bool:
    return department >= 2


def shop_of(*attributes: str) -> LiveState:
    """Users who buy in one department, three times out of four; a quarter of the items have no labels.

    Baskets are of one department: bakery and dairy on Tuesdays, meat and produce on Saturdays.
    """
    upserts = [NodeUpsert("item", f"i{item}") for item in range(NUM_ITEMS)]
    for item in range(NUM_ITEMS * 3 // 4):
        if "department" in attributes:
            upserts.append(NodeUpsert("item", f"i{item}", {"department": (DEPARTMENTS[department_of(item)],)}))
        if "price" in attributes:
            upserts.append(NodeUpsert("item", f"i{item}", numbers={"price": price_of(item)}))
    generator, events = np.random.default_rng(0), []
    for user in range(NUM_USERS):
        for week in range(8):
            department = user % 4 if generator.random() < 0.75 else int(generator.integers(4))
            day = 5 if is_weekend_trip(department) else 1
            time_ms = MONDAY_MS + (7 * week + day) * MS_PER_DAY + 10 * MS_PER_HOUR
            items = generator.choice(ITEMS_EACH, BASKET, replace=False) * len(DEPARTMENTS) + department
            events += [(f"u{user}", f"i{item}", time_ms + 60_000 * place) for place, item in enumerate(items)]
    return state_of(events, upserts=upserts)


@pytest.fixture(scope="module")
def shop():
    return shop_of("department")


def settings_of(encoder: str, **model: Any):
    return quick_settings(model={"width": 16, "encoder": {"name": encoder}, "aggregator": {"name": "mean"}, **model})


def test_register_tasks_offers_three():
    assert {part.name for part in TASKS} == {"node_classification", "node_regression", "graph_classification"}


@pytest.mark.parametrize("encoder", ["lightgcn", "graphsage", "hetero"])
def test_departments_are_predicted_from_who_buys(shop, encoder):
    # Without dropout, a node that has its own id and a label learns the label by heart.
    settings = settings_of(encoder, id_dropout=0.5)
    found = classify_nodes(shop, settings, PLUGINS, "department", training=QUICK)
    assert set(found.labels) == {f"i{item}" for item in range(NUM_ITEMS * 3 // 4, NUM_ITEMS)}
    is_right = [label == DEPARTMENTS[department_of(int(node_id[1:]))] for node_id, label in found.labels.items()]
    # A quarter of them is right by chance.
    assert np.mean(is_right) > 0.8
    assert found.score > 0.7
    assert len(found.losses) == QUICK.steps


def test_prices_are_predicted_from_who_buys():
    found = regress_nodes(shop_of("price"), settings_of("graphsage", id_dropout=0.5), PLUGINS, "price", training=QUICK)
    errors = [label - price_of(int(node_id[1:])) for node_id, label in found.labels.items()]
    assert len(errors) == NUM_ITEMS // 4
    # Prices deviate from their mean by 11.
    assert np.sqrt(np.mean(np.square(errors))) < 5.5
    assert found.score > 0.7


@pytest.mark.parametrize("options", [{}, {"pooling": "attentional"}, {"coarsen_by": "department"}])
def test_trips_are_classified_by_their_items(shop, options):
    baskets, kinds = [], []
    generator = np.random.default_rng(1)
    for place in range(80):
        department = place % 4
        items = generator.choice(ITEMS_EACH, 3, replace=False) * len(DEPARTMENTS) + department
        baskets.append([f"i{item}" for item in items])
        kinds.append("big" if is_weekend_trip(department) else "small")
    given = [kind if place < 60 else None for place, kind in enumerate(kinds)]
    found = classify_graphs(shop, settings_of("lightgcn"), PLUGINS, baskets, given, options=options, training=QUICK)
    assert list(found.labels) == list(range(60, 80))
    assert np.mean([label == kinds[place] for place, label in found.labels.items()]) > 0.9
    assert found.score > 0.9


def test_the_part_of_the_week_is_predicted_from_the_items_of_a_basket(shop):
    task = GraphClassification(make=lambda kind, name: MeanAggregation())
    graph = training_graph_of(shop)
    task.prepare(graph, 16)
    assert len(task.known) == NUM_USERS * 8
    task.hold_out(0.25, np.random.default_rng(0))
    torch.manual_seed(0)
    network = Network(Inputs(graph.nodes, 16), LightGCN(16, 2, MeanAggregation()))
    fit_task(graph, network, task, steps=60, batch=64, learning_rate=0.05)
    with torch.no_grad():
        vectors = network.encoder.readout(network.levels(graph.edges))
        assert task.score(vectors[task.nodes_of(task.held_out)], task.held_out) > 0.9


def test_tasks_are_trained_beside_the_main_loss(shop):
    settings = settings_of(
        "lightgcn",
        tasks={
            "department": {"name": "node_classification", "weight": 0.5, "batch": 32},
            "trip": {"name": "graph_classification", "batch": 32},
        },
    )
    tensors = {name: torch.from_numpy(array) for name, array in quick_model(shop, settings).tensors.items()}
    assert {name.split(".")[1] for name in tensors if name.startswith("tasks.")} == {"department", "trip"}
    task = NodeClassification()
    graph = training_graph_of(shop)
    task.prepare(graph, 16)
    task.load_state_dict(
        {name.removeprefix("tasks.department."): of for name, of in tensors.items() if ".department." in name}
    )
    levels = tensors["levels"]
    encoder = LightGCN(16, 2, MeanAggregation())
    last = encoder.layer(1, levels[1], levels[1], graph.edges)
    raw = encoder.readout([*levels, last])
    found = task.predict(raw[task.nodes_of(task.unknown)], task.unknown)
    assert (
        np.mean([label == DEPARTMENTS[row % 4] for label, row in zip(found, item_numbers(shop, task), strict=True)])
        > 0.7
    )


def item_numbers(state, task) -> list[int]:
    return [int(node_id[1:]) for node_id in state.graph.nodes("item").ids.ids(task.unknown)]


def test_labels_are_no_inputs():
    shop = shop_of("department", "price")
    tasks = {"department": {"name": "node_classification"}, "price": {"name": "node_regression"}}
    with_task = quick_model(shop, settings_of("lightgcn", tasks=tasks))
    without = quick_model(shop, settings_of("lightgcn"))
    assert sorted(without.attribute_values["item"]) == sorted(f"department={name}" for name in DEPARTMENTS)
    assert with_task.attribute_values["item"] == []
    assert without.manifest.schema["numbers"]["item"]["names"] == ["price"]
    assert with_task.manifest.schema["numbers"]["item"]["names"] == []


def test_settings_need_not_name_an_aggregator(shop):
    settings = quick_settings(model={"width": 8, "encoder": "graphsage"})
    assert settings.model.aggregator is None
    found = classify_nodes(shop, settings, PLUGINS, "department", training=TaskTraining(steps=2))
    assert set(found.labels.values()) <= set(DEPARTMENTS)


def test_the_same_seed_gives_the_same_predictions(shop):
    first, second = (
        classify_nodes(shop, settings_of("lightgcn"), PLUGINS, "department", training=TaskTraining(steps=3))
        for _ in range(2)
    )
    assert first == second


def graph_of(codes=(), values=(), numbers=(), interactions=None) -> Any:
    """Return what a task reads of a graph: two users, then the items."""
    count = max(len(codes), len(numbers))
    return SimpleNamespace(
        counts={"user": 2, "item": count},
        starts={"user": 0, "item": 2},
        item_start=2,
        num_items=count,
        item_type="item",
        interactions=interactions,
        categories=lambda node_type, attribute: (np.array(codes, np.int64), list(values)),
        numbers=lambda node_type, name: np.array(numbers, np.float32),
    )


def test_node_classification_learns_from_the_nodes_with_a_label():
    task = NodeClassification()
    task.prepare(graph_of([1, -1, 0, -1], ["A", "B"]), 2)
    assert task.known.tolist() == [0, 2]
    assert task.unknown.tolist() == [1, 3]
    assert set(task.draw(50, np.random.default_rng(0)).tolist()) == {2, 4}  # Items begin at node 2.
    assert task.labels == [("item", "department")]


def test_node_classification_is_the_mean_cross_entropy():
    task = NodeClassification()
    task.prepare(graph_of([1, 0], ["A", "B"]), 2)
    task.head = torch.nn.Identity()
    vectors = torch.tensor([[0.5, -1.0], [2.0, 0.0]])
    torch.testing.assert_close(task.loss(vectors, np.array([0, 1])), F.cross_entropy(vectors, torch.tensor([1, 0])))
    assert task.predict(vectors, np.array([0, 1])) == ["A", "A"]
    assert task.score(vectors, np.array([0, 1])) == 0.5


def test_node_regression_standardises_numbers_and_predicts_them_in_their_unit():
    task = NodeRegression()
    task.prepare(graph_of(numbers=[10.0, np.nan, 30.0]), 1)
    task.head = torch.nn.Identity()
    # Mean 20, deviation 10: the numbers are −1 and 1, and 0.5 stands for 25.
    vectors, examples = torch.tensor([[0.5], [0.5]]), np.array([0, 2])
    assert float(task.loss(vectors, examples)) == pytest.approx((1.5**2 + 0.5**2) / 2)
    assert task.predict(vectors, examples) == pytest.approx([25.0, 25.0])
    # Errors of 15 and 5, against 10 and 10 of the mean.
    assert task.score(vectors, examples) == pytest.approx(1 - 250 / 200)
    assert task.unknown.tolist() == [1]


def test_held_out_examples_are_not_learned_from():
    task = NodeClassification()
    task.prepare(graph_of([0, 1] * 10, ["A", "B"]), 2)
    task.hold_out(0.3, np.random.default_rng(0))
    assert (len(task.held_out), len(task.known)) == (6, 14)
    assert not set(task.held_out) & set(task.known)
    assert not set(task.draw(200, np.random.default_rng(0)) - 2) & set(task.held_out)


def test_baskets_end_where_the_user_changes_or_a_gap_is_long():
    minute_ms = 60_000
    events = [(0, 5, 0), (1, 6, 0), (0, 7, 29 * minute_ms), (0, 5, 59 * minute_ms), (0, 5, 60 * minute_ms)]
    baskets, times_ms = baskets_of(observed_of(events), gap_minutes=30.0, max_items=9)
    # User 0: items 5 and 7, then after half an hour item 5, twice but once in the basket; user 1: item 6.
    assert baskets.item_rows.tolist() == [5, 7, 5, 6]
    assert baskets.pointers.tolist() == [0, 2, 3, 4]
    assert times_ms.tolist() == [0, 59 * minute_ms, 0]


def test_graphs_keep_their_first_items():
    graphs = Graphs.of(np.array([0, 0, 0, 2, 2]), np.array([9, 4, 9, 3, 1]), num_graphs=3, max_items=2)
    assert graphs.item_rows.tolist() == [9, 4, 3, 1]
    assert graphs.pointers.tolist() == [0, 2, 2, 4]
    items, place = graphs.items_of(np.array([2, 0]))
    assert (items.tolist(), place.tolist()) == ([3, 1, 9, 4], [0, 0, 1, 1])


@pytest.mark.parametrize(
    ("moment", "weekpart", "daypart"),
    [
        ("1970-01-01T00:00", 0, 0),  # A Thursday.
        ("2023-11-17T23:59", 0, 3),
        ("2023-11-18T06:00", 1, 1),
        ("2023-11-19T17:59", 1, 2),
        ("2023-11-20T00:00", 0, 0),
    ],
)
def test_kinds_of_trips_are_in_utc(moment, weekpart, daypart):
    times_ms = np.array([int(dt.datetime.fromisoformat(f"{moment}+00:00").timestamp() * 1_000)])
    assert kinds_of(times_ms, "weekpart").tolist() == [weekpart]
    assert kinds_of(times_ms, "daypart").tolist() == [daypart]


def pooling_task(**options: Any) -> GraphClassification:
    task = GraphClassification(make=lambda kind, name: MaxAggregation(), **options)
    task.set_graphs([np.array([0, 1, 2]), np.array([3])], ["one", "other"])
    return task


def test_a_graph_is_pooled_to_one_vector():
    task = pooling_task()
    task.prepare(graph_of([0, 0, 1, 1], ["A", "B"]), 1)
    assert task.nodes_of(np.array([1, 0])).tolist() == [5, 2, 3, 4]
    pooled = task.pool(torch.tensor([[7.0], [1.0], [6.0], [2.0]]), np.array([1, 0]))
    assert pooled.tolist() == [[7.0], [6.0]]


def test_items_are_clustered_before_they_are_pooled():
    task = pooling_task(coarsen_by="department")
    task.prepare(graph_of([0, 0, -1, -1], ["A", "B"]), 1)
    # Of graph 0, items 0 and 1 become their mean of 3.5; item 2 has no value, and stays.
    pooled = task.pool(torch.tensor([[7.0], [1.0], [6.0], [2.0]]), np.array([1, 0]))
    assert pooled.tolist() == [[7.0], [3.5]]


def test_pooling_that_uses_edges_is_refused():
    for pooling in ("time_decay", "several"):
        settings = settings_of(
            "lightgcn", tasks={"trip": {"name": "graph_classification", "options": {"pooling": pooling}}}
        )
        with pytest.raises(SettingsError, match=rf"model\.tasks\.trip: .*pooling '{pooling}' uses edges"):
            PLUGINS.check(settings)


@pytest.mark.parametrize("pooling", ["lstm", "set2set", "attentional", "softmax", "sum", "power_mean"])
def test_any_aggregator_that_uses_no_edges_can_pool(pooling):
    wanted = PartSettings(name="graph_classification", options={"pooling": pooling})
    task = PLUGINS.make("task", wanted, width=4)
    assert isinstance(task, LabelledTask)
    task.set_graphs([np.array([0, 1, 2]), np.array([3])], ["one", "other"])
    task.prepare(graph_of([-1] * 4), 4)
    assert task.pool(torch.randn(4, 4), np.array([0, 1])).shape == (2, 4)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("node_classification", {"attribute": "colour"}, "two values of the category 'colour' or more, got 0"),
        ("node_classification", {"node_type": "store"}, "wanted nodes of type 'store', .* sees only user, item:"),
        ("node_regression", {}, "two values of the number 'price' or more, got 0"),
        ("graph_classification", {"coarsen_by": "colour"}, "wanted items with the category 'colour'"),
        ("graph_classification", {"gap_minutes": 1e9, "label": "daypart"}, None),
    ],
)
def test_a_graph_without_what_a_task_needs_is_refused(name, options, message):
    task = PLUGINS.make("task", PartSettings(name=name, options=options), width=4)
    graph = training_graph_of(even_odd_state())
    if message is None:
        task.prepare(graph, 4)  # One basket for each user, at different times of the day.
        assert len(task.known) == 24
        return
    with pytest.raises(TrainingError, match=message):
        task.prepare(graph, 4)


def test_graphs_need_items_and_two_kinds(shop):
    settings = settings_of("lightgcn")
    with pytest.raises(TrainingError, match="got none in graph 1"):
        classify_graphs(shop, settings, PLUGINS, [["i1"], ["unheard of"]], ["one", "other"])
    with pytest.raises(TrainingError, match="wanted graphs of two kinds or more, got 1 in 2 graphs"):
        classify_graphs(shop, settings, PLUGINS, [["i1"], ["i2"]], ["one", None])


def test_a_task_that_cannot_be_learned_alone_is_refused(shop):
    class Bare(Task):
        def prepare(self, graph, width): ...

    with pytest.raises(SettingsError, match="wanted a LabelledTask, got a Bare"):
        classify_nodes(
            shop, settings_of("lightgcn"), PLUGINS.with_part("task", "node_classification", make_bare(Bare)), "a"
        )


def make_bare(bare):
    def make(node_type: str = "item", attribute: str = "a"):
        return bare()

    return make


def test_a_loss_that_is_not_finite_stops_the_fit(shop):
    graph, task = training_graph_of(shop), NodeClassification()
    task.prepare(graph, 16)
    network = Network(Inputs(graph.nodes, 16), LightGCN(16, 2, MeanAggregation()))
    task.loss = lambda vectors, examples: vectors.sum() * float("nan")
    with pytest.raises(TrainingError, match="the loss of step 1 of 5 is nan"):
        fit_task(graph, network, task, steps=5)


def test_a_homogeneous_graph_has_one_edge_each_way_between_a_pair():
    state = state_of()
    relations = [
        Relation("road", "a", "leads_to", "road", "b", timestamp_ms=MS_PER_DAY),
        Relation("road", "b", "leads_to", "road", "a", timestamp_ms=0),
        Relation("road", "c", "leads_to", "road", "b", timestamp_ms=0),
        Relation("road", "c", "leads_to", "road", "c", timestamp_ms=0),
        Relation("road", "c", "near", "road", "a", timestamp_ms=0),
    ]
    upserts = [NodeUpsert("road", "a", {"kind": ("main",)}, {"length_m": 50.0, "delay_s": 3.0})]
    state.apply(EventBatch(interactions_of(()), upserts=upserts, relations=relations))
    graph = homogeneous_graph(state.graph.view(), ("road", "leads_to", "road"), [("road", "delay_s")])
    a, b, c = state.graph.nodes("road").ids.rows(["a", "b", "c"]).tolist()
    pairs = set(zip(graph.edges.source.tolist(), graph.edges.target.tolist(), strict=True))
    assert pairs == {(a, b), (b, a), (b, c), (c, b)}
    ages = dict(zip(graph.edges.target.tolist(), graph.edges.age_days.tolist(), strict=True))
    assert (ages[a], ages[c]) == (0.0, 1.0)
    assert graph.nodes.attributes["road"].vocabulary == ("kind=main",)
    assert graph.nodes.scales["road"].names == ("length_m",)
    assert Inputs(graph.nodes, 4)().shape == (3, 4)


def test_a_homogeneous_graph_has_nodes_of_one_type():
    with pytest.raises(TrainingError, match="wanted edges between nodes of one type"):
        homogeneous_graph(state_of().graph.view(), ("user", "purchase", "item"))
