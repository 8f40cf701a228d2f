"""Prints the table of faults, or that of doors: breaks things or knocks by the tests that do so, and gathers the rows.

`make faults` and `make doors` run it. Exit code 1 if anything was lost, or anything that was tried failed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

TESTS = Path(__file__).parent
ON_KAFKA = TESTS / "integration" / "on_kafka.sh"
Row = dict[str, Any]
_SOAKS = ("soak", "concurrency", "keeping", "memory")


@dataclass
class Fault:
    """What became of one kind of fault.

    Attributes:
        num_injected: How often it was injected.
        num_lost: Events that were lost or counted twice, or states that were wrong.
        slowest_s: The longest time until all was as before, in seconds; None if none was measured.
        has_failed: Whether a test of it failed.
        where: The tests or programs that injected it.
    """

    num_injected: int = 0
    num_lost: int = 0
    slowest_s: float | None = None
    has_failed: bool = False
    where: tuple[str, ...] = ()

    def add(self, row: Row) -> None:
        """Add a row that a run has written."""
        self.num_injected += row["times"]
        self.num_lost += row["lost"]
        if row.get("recovered_s") is not None:
            self.slowest_s = max(self.slowest_s or 0.0, row["recovered_s"])
        self.has_failed |= bool(row.get("failed"))
        self.where = tuple(dict.fromkeys((*self.where, row["where"])))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=["faults", "doors"])
    parser.add_argument("--gather", type=Path, help="run nothing: print the rows of this file")
    parser.add_argument("--long", action="store_true", help="faults: damage and kill at length, as `make soak` does")
    parser.add_argument("--rows", type=Path, help="also keep the rows in this file, as JSON lines")
    arguments = parser.parse_args()
    codes: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.gather or Path(folder) / "rows.jsonl"
        if arguments.gather is None:
            commands = fault_commands(is_long=arguments.long) if arguments.table == "faults" else door_commands()
            codes = [run(command, path) for command in commands]
        rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        if arguments.rows is not None:
            arguments.rows.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if arguments.table == "doors":
        show(door_table(rows))
        return int(any(codes))
    faults = faults_of(rows)
    show(fault_table(faults))
    return int(any(codes) or any(fault.num_lost or fault.has_failed for fault in faults.values()))


def fault_commands(*, is_long: bool) -> list[list[str]]:
    """Return what breaks things: the tests marked ``fault``, on a real Kafka if there is one, and three programs."""
    has_kafka = bool(os.environ.get("KAFKA_START") or os.environ.get("KAFKA_BOOTSTRAP_SERVERS"))
    files = sorted(str(path) for path in TESTS.rglob("test_*.py") if "mark.fault(" in path.read_text(encoding="utf-8"))
    tests = [sys.executable, "-m", "pytest", "-q", "-m", "fault", *files]
    damage = [sys.executable, str(TESTS / "damage" / "matrix.py")]
    soak, threads, keeping, memory = ([sys.executable, str(TESTS / "soak" / f"{name}.py")] for name in _SOAKS)
    soak += ["--kills", "100"] if is_long else ["--seconds", "30", "--kills", "4"]
    threads += [] if is_long else ["--seconds", "10"]
    keeping += [] if is_long else ["--kills", "6"]
    memory += [] if is_long else ["--edges", "20000"]
    commands = [
        [str(ON_KAFKA), "1", *tests] if has_kafka else tests,
        [*damage, *([] if is_long else ["--rounds", "1", "--events", "200"])],
        soak,
        threads,
        keeping,
        memory,
    ]
    return [*commands, [str(ON_KAFKA), "3", *soak]] if has_kafka else commands


def door_commands() -> list[list[str]]:
    """Return what knocks at each door."""
    return [[sys.executable, "-m", "pytest", "-q", str(TESTS / "integration" / "test_doors.py")]]


def run(command: Sequence[str], rows: Path) -> int:
    """Run a command whose rows go to a file, and return its exit code; what it prints is shown as it comes."""
    print("$", *(Path(word).name if os.sep in word else word for word in command), flush=True)
    return subprocess.run(command, env=os.environ | {"TABLE_ROWS": str(rows)}, check=False).returncode


def show(table: Table) -> None:
    """Print a table; where there is no terminal, as wide as its words."""
    console = Console()
    (console if console.is_terminal else Console(width=200)).print(table)


def faults_of(rows: Iterable[Row]) -> dict[str, Fault]:
    """Return the faults by name, in order."""
    faults: dict[str, Fault] = {}
    for row in rows:
        if "fault" in row:
            faults.setdefault(row["fault"], Fault()).add(row)
    return dict(sorted(faults.items()))


def fault_table(faults: dict[str, Fault]) -> Table:
    table = Table("fault", "times", "lost", "recovered within", "by", box=box.SIMPLE_HEAD, pad_edge=False)
    for name, fault in faults.items():
        took = "" if fault.slowest_s is None else f"{fault.slowest_s:,.1f} s"
        lost = "its test FAILED" if fault.has_failed else f"{fault.num_lost:,}"
        by = "\n".join(where.removeprefix("tests/").replace("::", " ") for where in fault.where)
        table.add_row(name, f"{fault.num_injected:,}", lost, took, by)
    return table


def door_table(rows: Iterable[Row]) -> Table:
    """Return the doors; those who got the same by the same way stand in one row."""
    who: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        if "door" in row:
            names = who.setdefault((row["door"], row["how"], row["got"]), [])
            names += [] if row["who"] in names else [row["who"]]
    table = Table("door", "who tried", "how", "what they got", box=box.SIMPLE_HEAD, pad_edge=False)
    for (door, how, got), names in sorted(who.items()):
        table.add_row(door, ", ".join(names), how, got)
    return table


if __name__ == "__main__":
    sys.exit(main())
