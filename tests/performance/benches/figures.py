"""Figures: medians of repetitions, each beside its limit, as a table and as JSON."""

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Limit:
    """What a figure is held against: measured in the same run, in the same unit."""

    what: str
    samples: Sequence[float]


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured thing: a sample for each repetition, the median counts."""

    what: str
    unit: str
    samples: Sequence[float]
    limit: Limit | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def limit_median(self) -> float | None:
        return None if self.limit is None else statistics.median(self.limit.samples)

    @property
    def ratio(self) -> float | None:
        return None if not self.limit_median else self.median / self.limit_median


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the smallest sample that ``share`` of all samples do not exceed."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def as_table(figures: Sequence[Figure]) -> str:
    """Return a table in Markdown."""
    rows = [("figure", "ours", "unit", "limit", "ours / limit", "n", "the limit is")]
    for figure in figures:
        limit = figure.limit_median
        rows.append(
            (
                figure.what,
                _number(figure.median),
                figure.unit,
                "" if limit is None else _number(limit),
                "" if figure.ratio is None else f"{figure.ratio:.2f}",
                str(len(figure.samples)),
                "" if figure.limit is None else figure.limit.what,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    is_number = (False, True, False, True, True, True, False)

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, is_number, strict=True)
        ]
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * (width - 1) + ":" if right else "-" * width for width, right in zip(widths, is_number, strict=True)]
    return "\n".join([line(rows[0]), line(rule), *(line(row) for row in rows[1:])])


def write_json(path: Path, figures: Sequence[Figure]) -> None:
    """Write figures with all their samples, and what they were measured on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "machine": {
            "cpus": os.cpu_count(),
            "processor": _processor(),
            "python": platform.python_version(),
            "torch": metadata.version("torch"),
        },
        "figures": [
            {**asdict(figure), "median": figure.median, "limit_median": figure.limit_median, "ratio": figure.ratio}
            for figure in figures
        ],
    }
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
