"""How much memory this process takes, and how much it may."""

import os
from pathlib import Path

_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def resident_bytes(proc: Path = _PROC) -> int:
    """Return the resident memory of this process, in bytes; 0 where the system does not say.

    Args:
        proc: Where the system tells of its processes.
    """
    try:
        return int((proc / "self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def memory_limit_bytes(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> int:
    """Return how much memory this process may take: the least limit of its control groups, else the machine's memory.

    Args:
        proc: Where the system tells of its processes.
        cgroups: Where it tells of its control groups, of version 2 or 1.

    Returns:
        Bytes; 0 where the system does not say.
    """
    limits = [*_limits(proc, cgroups), _machine_bytes(proc)]
    return min((limit for limit in limits if limit > 0), default=0)


def _limits(proc: Path, cgroups: Path) -> list[int]:
    """Return the limits of the group of this process and of all groups above it, as far as they can be read."""
    try:
        lines = (proc / "self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    limits = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            root, name = cgroups, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = cgroups / "memory", "memory.limit_in_bytes"
        else:
            continue
        # In a container the path may be the host's, which is not there: then the root is the container's own group.
        folder = Path(group.lstrip("/"))
        for each in (folder, *folder.parents) if folder.parts else (folder,):
            try:
                limits.append(int((root / each / name).read_text(encoding="ascii")))
            except (OSError, ValueError):  # `max` is no limit.
                continue
    return limits


def _machine_bytes(proc: Path) -> int:
    try:
        for line in (proc / "meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemTotal:"):
                return 1024 * int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    return 0
