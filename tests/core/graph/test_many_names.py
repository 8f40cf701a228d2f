"""What one node brought by the thousand costs the others little: guards that count."""

from springtide.events.model import NodeUpsert
from springtide.graph.nodes import NodeTable
from springtide.graph.row_columns import RowColumn


def wide_table() -> NodeTable:
    table = NodeTable("item")
    own = {"brand": ("b",)}, {"price": 1.0}, {"title": "t"}
    for number in range(5):
        table.upsert(NodeUpsert("item", f"i{number}", *own, timestamp_ms=1))
    names = [f"n{number}" for number in range(1_000)]
    table.upsert(NodeUpsert("item", "wide", numbers=dict.fromkeys(names, 1.0), timestamp_ms=1))
    return table


def test_upsert_of_a_node_looks_at_its_own_attributes_and_not_at_those_of_others(monkeypatch):
    table, looked_at, get = wide_table(), [], RowColumn.get

    def counted(self, row):
        looked_at.append(row)
        return get(self, row)

    monkeypatch.setattr(RowColumn, "get", counted)
    table.upsert(NodeUpsert("item", "i1", {"brand": ("c",)}, {"price": 2.0}, timestamp_ms=2))  # Not its title.
    assert len(looked_at) < 20, "each of the thousand was looked at"
    monkeypatch.undo()
    times = table.snapshot().times
    assert times.of_nodes[1] == 2
    assert {name: times.tolist() for name, (_, times) in times.own.items()} == {"title": [1]}


def test_what_a_checkpoint_keeps_of_a_changed_node_is_what_the_node_had():
    table = wide_table()
    late = table.late_attributes()
    table.upsert(NodeUpsert("item", "i1", numbers={"price": 3.0}, timestamp_ms=2))
    assert [len(kept) for kept in late._kept.values()] == [4]  # Its time, and three attributes.
