"""Columns as dictionaries, which they are in a test's small graphs, and as arrays, which they are in large ones."""

import pytest

from springtide.graph import row_columns


@pytest.fixture(params=[64, 1], ids=["few", "many"])
def most_few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let columns be dictionaries of up to 64 rows, or arrays from the second row on."""
    monkeypatch.setattr(row_columns, "_FEW", request.param)
