"""A column of few numbers takes what these take, and says the same as an array over all rows."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from springtide.events.model import NodeUpsert
from springtide.graph.nodes import NodeTable
from springtide.graph.row_columns import RowColumn
from springtide.graph.row_entries import RowNumbers

NUM_ROWS = 40
CHANGES = st.lists(st.tuples(st.integers(0, NUM_ROWS - 1), st.sampled_from([None, 0.0, 0.5, 3.0])), max_size=60)


@pytest.mark.usefixtures("most_few")
@pytest.mark.parametrize("fill", [np.nan, -1.0])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CHANGES, st.integers(0, 60), st.lists(st.integers(0, NUM_ROWS + 9), max_size=9))
def test_column_says_what_a_plain_dictionary_does(fill, changes, restart_at, asked):
    column, wanted = RowColumn(np.float32, fill), {}
    for position, (row, number) in enumerate(changes):
        if position == restart_at:
            column.shrink(NUM_ROWS)
            column = RowColumn.of(RowNumbers(*column.held()), np.float32, fill, NUM_ROWS)
        if number is None:
            column.unset(row)
            wanted.pop(row, None)
        else:
            column.set(row, number, range(NUM_ROWS))
            wanted[row] = number
    assert column.num_held == len(wanted)
    assert dict(zip(*(part.tolist() for part in column.held()), strict=True)) == wanted
    assert column.held()[0].tolist() == sorted(wanted)
    assert [column.get(row) for row in range(NUM_ROWS + 9)] == [wanted.get(row) for row in range(NUM_ROWS + 9)]
    dense = np.array([wanted.get(row, fill) for row in range(NUM_ROWS)], np.float32)
    np.testing.assert_array_equal(column.dense(NUM_ROWS), dense)
    np.testing.assert_array_equal(column.dense(7), dense[:7])
    rows = np.array(asked, np.int64)
    np.testing.assert_array_equal(column.at(rows), np.array([wanted.get(row, fill) for row in asked], np.float32))
    again = RowNumbers(None, dense)
    np.testing.assert_array_equal(RowColumn.of(again, np.float32, fill, NUM_ROWS).dense(NUM_ROWS), dense)
    kept = np.arange(0, NUM_ROWS, 3, dtype=np.int32)
    for saved in (again, RowNumbers(*again.held(fill))):
        np.testing.assert_array_equal(saved.taken(kept).dense(len(kept), fill), dense[kept])


def test_column_is_an_array_when_many_rows_have_a_number_and_a_dictionary_again_when_few_do():
    num_rows, column = 6_400, RowColumn(np.float32, np.nan)
    forms = []
    for row in range(300):
        column.set(row, 1.0, range(num_rows))
        forms.append(isinstance(column.entries, dict))
    assert forms.index(False) == 64 + 6_400 * 4 // 128
    for row in range(167):
        column.unset(row)
        column.shrink(num_rows)
    assert not isinstance(column.entries, dict)
    column.unset(167)
    column.shrink(num_rows)
    assert isinstance(column.entries, dict)
    assert column.held()[0].tolist() == list(range(168, 300))


def test_saved_numbers_of_rows_that_are_not_there_are_refused():
    numbers = np.ones(2, np.float32)
    for rows in ([0, 5], [-1, 3]):
        with pytest.raises(ValueError, match="wanted rows below 5"):
            RowColumn.of(RowNumbers(np.array(rows, np.int32), numbers), np.float32, np.nan, 5)


def test_node_table_takes_less_memory_once_most_nodes_lost_an_attribute():
    table = NodeTable("item")
    for row in range(400):
        table.upsert(NodeUpsert("item", f"i{row}", {"tag": ("a", "b")}, {"price": float(row)}, timestamp_ms=row))
    before = table.numbers["price"], table.categories["tag"].first_codes(), table.categories["tag"].pairs()
    table.forget(range(10, 400))
    table.take_forgotten_values()
    column, tags = table._columns.numbers["price"], table.categories["tag"]
    assert isinstance(column.entries, dict)
    assert isinstance(tags.codes[0].entries, dict)
    assert table.numbers["price"][:10].tolist() == before[0][:10].tolist()
    assert np.isnan(table.numbers["price"][10:]).all()
    assert tags.first_codes().tolist() == [*before[1][:10].tolist(), *[-1] * 390]
    assert len(tags.pairs()[0]) == 20
