"""Memory of the process: what it takes, and the limits of its control groups."""

import os
from pathlib import Path

import pytest

from springtide_services.metrics.memory import memory_limit_bytes, resident_bytes

MIB = 2**20


@pytest.fixture
def machine(tmp_path: Path) -> tuple[Path, Path]:
    """Folders of a machine of 64 MiB: that of its processes, and that of its control groups, which is empty."""
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    cgroups.mkdir()
    (proc / "meminfo").write_text("MemTotal:       65536 kB\nMemFree:        1 kB\n")
    return proc, cgroups


def put(root: Path, group: str, name: str, limit: str) -> None:
    (root / group).mkdir(parents=True, exist_ok=True)
    (root / group / name).write_text(f"{limit}\n")


def test_resident_memory_is_what_the_system_says() -> None:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    assert resident_bytes() == pytest.approx(1024 * int(status["VmRSS"].split()[0]), rel=0.2)


def test_nothing_is_known_where_the_system_does_not_say(tmp_path: Path) -> None:
    assert (resident_bytes(tmp_path), memory_limit_bytes(tmp_path, tmp_path)) == (0, 0)


def test_without_groups_the_machine_is_the_limit(machine: tuple[Path, Path]) -> None:
    assert memory_limit_bytes(*machine) == 64 * MIB
    assert 0 < memory_limit_bytes() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("limits", "wanted_mib"),
    [
        ({"a/b": str(8 * MIB)}, 8),
        ({"a/b": "max", "a": str(16 * MIB)}, 16),
        ({"a/b": str(8 * MIB), "a": str(4 * MIB)}, 4),
        ({"": str(32 * MIB)}, 32),  # A container, whose group has another path on the host.
        ({"a/b": str(1024 * MIB)}, 64),
    ],
)
def test_the_least_limit_of_version_2_counts(
    machine: tuple[Path, Path], limits: dict[str, str], wanted_mib: int
) -> None:
    proc, cgroups = machine
    (proc / "self/cgroup").write_text("0::/a/b\n")
    for group, limit in limits.items():
        put(cgroups, group, "memory.max", limit)
    assert memory_limit_bytes(proc, cgroups) == wanted_mib * MIB


def test_a_limit_of_version_1_counts_and_its_word_for_none_does_not(machine: tuple[Path, Path]) -> None:
    proc, cgroups = machine
    (proc / "self/cgroup").write_text("12:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/ignored\n")
    put(cgroups / "memory", "", "memory.limit_in_bytes", "9223372036854771712")
    assert memory_limit_bytes(proc, cgroups) == 64 * MIB
    put(cgroups / "memory", "docker/abc", "memory.limit_in_bytes", str(12 * MIB))
    assert memory_limit_bytes(proc, cgroups) == 12 * MIB
