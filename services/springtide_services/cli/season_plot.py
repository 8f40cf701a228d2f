"""Seasons as a PNG file, drawn by matplotlib, which is imported only here."""

import calendar
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from springtide.errors import SettingsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from springtide.ranking.seasons import Profile

_ABOVE, _BELOW, _LINE = "#2f7d4f", "#5b7fa6", "#1f2d3a"
_DPI = 130


def check_matplotlib() -> None:
    """Check that PNG files can be drawn.

    Raises:
        SettingsError: If matplotlib is missing.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise SettingsError("--png needs matplotlib: pip install 'springtide[plots]'")


def draw(profiles: Sequence["Profile"], title: str, note: str, path: Path) -> None:
    """Draw profiles into one PNG file: the first above, the others below it.

    Args:
        profiles: At least one.
        title: Title of the figure.
        note: A line below the title.
        path: Path of the PNG file.

    Raises:
        SettingsError: If the file cannot be written.
    """
    from matplotlib.figure import Figure  # Without pyplot: no display, and nothing global.

    figure = Figure(figsize=(10, 6.2), layout="constrained")
    figure.suptitle(f"{title}\n", fontsize=14, fontweight="bold", x=0.01, ha="left")
    figure.text(0.01, 0.945, note, fontsize=9.5, color="#666666", ha="left", va="top")
    rows = [profiles_of_row for profiles_of_row in (profiles[:1], profiles[1:]) if profiles_of_row]
    for subfigure, profiles_of_row in zip(
        figure.subfigures(len(rows), 1, height_ratios=[3, 2][: len(rows)], squeeze=False), rows, strict=True
    ):
        for axes, profile in zip(
            subfigure[0].subplots(1, len(profiles_of_row), squeeze=False)[0], profiles_of_row, strict=True
        ):
            _draw_one(axes, profile)
    try:
        figure.savefig(path, dpi=_DPI, format="png")
    except OSError as error:
        raise SettingsError(f"--png: {path} cannot be written: {error}") from error


def _draw_one(axes: "Axes", profile: "Profile") -> None:
    lifts = profile.lifts
    if profile.span == "year":
        months = (np.arange(len(lifts)) + 0.5) * 12 / len(lifts)
        axes.fill_between(months, lifts, 1, where=lifts >= 1, interpolate=True, color=_ABOVE, alpha=0.35, linewidth=0)
        axes.fill_between(months, lifts, 1, where=lifts < 1, interpolate=True, color=_BELOW, alpha=0.25, linewidth=0)
        axes.plot(months, lifts, color=_LINE, linewidth=1.8)
        axes.set_xlim(0, 12)
        axes.set_xticks(range(13), [""] * 13)
        axes.set_xticks(np.arange(12) + 0.5, calendar.month_abbr[1:], minor=True)
        axes.tick_params(axis="x", which="minor", length=0)
        best = int(lifts.argmax())
        axes.annotate(
            f"{lifts[best]:.1f}×",
            (months[best], lifts[best]),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            color=_LINE,
            fontweight="bold",
        )
    else:
        positions = np.arange(len(lifts))
        axes.bar(positions, lifts, color=[_ABOVE if lift >= 1 else _BELOW for lift in lifts], alpha=0.7, width=0.85)
        labels = list(calendar.day_abbr) if profile.span == "week" else [f"{hour:02}" for hour in range(24)]
        axes.set_xticks(positions, labels, fontsize=9 if profile.span == "week" else 7)
        if profile.span == "day":
            axes.set_xlabel("hour of the day")
    axes.axhline(1, color=_LINE, linewidth=0.9, linestyle="--")
    axes.annotate(
        "usual",
        (1, 1),
        xycoords=("axes fraction", "data"),
        xytext=(3, 0),
        textcoords="offset points",
        va="center",
        fontsize=8.5,
        color=_LINE,
    )
    axes.set_ylim(0, max(float(lifts.max()) * 1.15, 1.3))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    axes.set_ylabel("share over usual share")
    axes.set_title(f"over the {profile.span}", loc="left", fontsize=10.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
