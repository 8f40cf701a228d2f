"""The tables of faults and doors: rows of the same thing are one, and what was lost or failed is seen."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console
from rich.table import Table


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tables", Path(__file__).with_name("tables.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tables"] = module
    spec.loader.exec_module(module)
    return module


def text_of(table: Table) -> str:
    console = Console(width=200)
    with console.capture() as shown:
        console.print(table)
    return shown.get()


def row(fault: str, where: str = "soak", times: int = 1, lost: int = 0, **others: object) -> dict[str, object]:
    return {"fault": fault, "where": where, "times": times, "lost": lost, **others}


def test_rows_of_one_fault_are_added_up_and_the_slowest_counts(tables: ModuleType) -> None:
    rows = [row("kill", "tests/a.py::test_it", 3, recovered_s=0.5), row("kill", times=4, recovered_s=2.25)]
    faults = tables.faults_of([*rows, row("clock", recovered_s=None), {"door": "no fault"}])

    assert [(name, each.num_injected, each.num_lost, each.slowest_s) for name, each in faults.items()] == [
        ("clock", 1, 0, None),
        ("kill", 7, 0, 2.25),
    ]
    shown = text_of(tables.fault_table(faults))
    assert "2.2 s" in shown
    assert "a.py test_it" in shown


def test_what_was_lost_and_what_failed_is_seen(tables: ModuleType) -> None:
    faults = tables.faults_of([row("kill", lost=2), row("kill"), row("disk", failed=True)])

    assert faults["kill"].num_lost == 2
    assert faults["disk"].has_failed
    assert "FAILED" in text_of(tables.fault_table(faults))


def test_those_who_got_the_same_stand_in_one_row(tables: ModuleType) -> None:
    tried = [("client", "OK"), ("admin", "OK"), ("client", "OK"), ("producer", "PERMISSION_DENIED")]
    rows = [{"who": who, "door": "public: Recommend", "how": "with its token", "got": got} for who, got in tried]

    shown = text_of(tables.door_table(rows))
    assert "client, admin " in shown
    assert shown.count("Recommend") == 2
