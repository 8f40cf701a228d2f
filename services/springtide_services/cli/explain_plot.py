"""An explanation as a PNG file: the ways from the user to the item, and what each event adds."""

import itertools
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from springtide.errors import SettingsError
from springtide.explaining.graph import people_label
from springtide.v1 import recommender_pb2 as pb

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DPI = 130
_USER, _HAD, _THROUGH, _ITEM = 0.06, 0.33, 0.63, 0.93  # Places of the columns, from left to right.
_COLOURS = {"user": "#1f2d3a", "item": "#2f7d4f", "people": "#5b7fa6", "value": "#b07a2a", "other": "#7a5a8c"}
_FOR, _AGAINST, _LINE = "#2f7d4f", "#b0413e", "#1f2d3a"
_MOST_PATHS, _MOST_EVENTS = 9, 12
_STEPS = np.linspace(0.0, 1.0, 40)
_WIDTH = 16  # Characters of a line in a box.


def draw(response: pb.ExplainResponse, user: str, path: Path) -> None:
    """Draw an explanation into a PNG file.

    Args:
        response: The answer to ``Explain``.
        user: The user.
        path: Path of the PNG file.

    Raises:
        SettingsError: If the file cannot be written.
    """
    from matplotlib.figure import Figure  # Without pyplot: no display, and nothing global.

    num_rows = max(len(response.paths[:_MOST_PATHS]), 3)
    events = response.events[:_MOST_EVENTS]
    height = 2.0 + 0.85 * num_rows
    figure = Figure(figsize=(12.5 if events else 9.5, height), layout="constrained")
    lines = textwrap.wrap(response.reason or response.sentence or "nothing speaks for it", 130 if events else 100)
    place = f"rank {response.rank:,}" if response.rank else "in no answer"
    figure.suptitle(f"{response.item} for {user or 'somebody unknown'}: {place}", fontsize=13, fontweight="bold")
    grid = figure.add_gridspec(
        2,
        2 if events else 1,
        height_ratios=[0.28 * len(lines) + 0.1, height],
        width_ratios=[5, 2][: 2 if events else 1],
    )
    words = figure.add_subplot(grid[0, :])
    words.axis("off")
    words.text(0.0, 1.0, "\n".join(lines), va="top", fontsize=9.5, color="#555555")
    _draw_ways(figure.add_subplot(grid[1, 0]), response, user)
    if events:
        _draw_events(figure.add_subplot(grid[1, 1]), events)
    try:
        figure.savefig(path, dpi=_DPI, format="png")
    except OSError as error:
        raise SettingsError(f"--png: {path} cannot be written: {error}") from error


def _draw_ways(axes: "Axes", response: pb.ExplainResponse, user: str) -> None:
    """Draw each path as a row, from the user at the left to the item at the right."""
    paths = response.paths[:_MOST_PATHS]
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.axis("off")
    cut = "; there was no time for more" if response.is_cut else ""
    axes.set_title(f"ways in the graph, and their share{cut}", loc="left", fontsize=10.5)
    if not paths:
        axes.text(0.5, 0.5, "no path leads to it", ha="center", va="center", color="#666666")
    greatest = max((path.share for path in paths), default=1.0) or 1.0
    for number, path in enumerate(paths):
        y = 1 - (number + 0.5) / len(paths)
        boxes = _boxes(path)
        points = [(_USER, 0.5), (_HAD, y), (_THROUGH, y), (_ITEM, 0.5)]
        width = 0.6 + 3.4 * path.share / greatest
        for (x0, y0), (x1, y1) in itertools.pairwise(points):
            ease = _STEPS**2 * (3 - 2 * _STEPS)  # Level where it leaves and where it comes: it passes no other box.
            axes.plot(
                x0 + (x1 - x0) * _STEPS,
                y0 + (y1 - y0) * ease,
                color=_colour_of(path),
                linewidth=width,
                alpha=0.45,
                zorder=1,
            )
        for x, label, kind in boxes:
            _box(axes, x, y, label, kind)
        axes.text(
            (points[-2][0] + _ITEM) / 2,
            (points[-2][1] + 0.5) / 2,
            f"{path.share:.0%}",
            fontsize=8,
            ha="center",
            va="center",
            color=_LINE,
            zorder=3,
            bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85},
        )
    _box(axes, _USER, 0.5, user or "?", "user")
    _box(axes, _ITEM, 0.5, response.item, "item")


def _boxes(path: pb.Path) -> list[tuple[float, str, str]]:
    """Return what lies between the user and the item: place, label and kind of each box."""
    boxes = []
    if len(path.nodes) > 1:
        first, item_type = path.nodes[0], path.nodes[-1].type
        day = f"\n{path.user_time.ToDatetime():%Y-%m-%d}" if path.HasField("user_time") else ""
        boxes.append((_HAD, _wrapped(first.id) + day, "item" if first.type == item_type else "other"))
    if path.kind == "own":
        boxes.append((_THROUGH, f"had on {path.num_own:,} {'day' if path.num_own == 1 else 'days'}", "user"))
    elif path.num_people:
        label = people_label(path)
        if path.relation:
            label = f"{path.relation}\n{label}"
        boxes.append((_THROUGH, label, "people"))
    elif path.attribute:
        more = f"\n{path.num_own:,} things" if path.num_own > 1 else ""
        boxes.append((_THROUGH, f"{_wrapped(path.attribute)}\n{_wrapped(path.value)}{more}", "value"))
    elif path.relation:
        boxes.append((_THROUGH, _wrapped(path.relation), "other"))
    return boxes


def _colour_of(path: pb.Path) -> str:
    return _COLOURS[{"people": "people", "attribute": "value", "own": "user"}.get(path.kind, "other")]


def _box(axes: "Axes", x: float, y: float, label: str, kind: str) -> None:
    axes.text(
        x,
        y,
        _wrapped(label) if "\n" not in label else label,
        ha="center",
        va="center",
        fontsize=8.5,
        color="white",
        zorder=4,
        parse_math=False,
        bbox={"boxstyle": "round,pad=0.4", "facecolor": _COLOURS[kind], "edgecolor": "white", "linewidth": 1.5},
    )


def _draw_events(axes: "Axes", events: "list[pb.EventInfluence]") -> None:
    """Draw what each of the user's own events adds to the score, the largest above."""
    values = [event.influence for event in events]
    positions = list(range(len(events)))[::-1]
    axes.barh(positions, values, color=[_FOR if value >= 0 else _AGAINST for value in values], alpha=0.75, height=0.7)
    labels = [textwrap.shorten(event.item, 22, placeholder="…") or event.item[:22] for event in events]
    axes.set_yticks(positions, labels, fontsize=8, parse_math=False)
    axes.set_ylim(min(-0.6, len(events) - _MOST_EVENTS * 0.6), len(events) - 0.4)  # A few bars are no thicker.
    axes.axvline(0, color=_LINE, linewidth=0.9)
    axes.set_title("what own events add to the score", loc="left", fontsize=10.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="x", labelsize=8)


def _wrapped(text: str) -> str:
    lines = textwrap.wrap(text, _WIDTH, break_long_words=True) or [text]
    return "\n".join([*lines[:2], *(["…"] if len(lines) > 2 else [])])
