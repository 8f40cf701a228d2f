"""The picture of the `map` command: items in the learned space, and an item's neighbours."""

from collections import Counter
from pathlib import Path

import numpy as np

from springtide.errors import InvalidRequestError, ModelError, SettingsError
from springtide.inspecting.item_map import ItemMap, item_map, lay_out
from springtide.inspecting.summaries import Inspected
from springtide.model.registry import ModelStore
from springtide.plugins.loading import load_serving_plugins
from springtide.ranking.item_table import ItemTable
from springtide.ranking.serving_model import ServingModel
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide_services.cli.season_charts import state_of
from springtide_services.cli.season_plot import check_matplotlib
from springtide_services.terminal import console

_DPI = 130
_COLOURS = ("#2f7d4f", "#b07a2a", "#5b7fa6", "#b0413e", "#7a5a8c", "#3aa6a0", "#d98cb3", "#8c7b5a", "#1f2d3a")
_OTHER, _MARK = "#cccccc", "#d62728"
_MOST_LETTERS = 34
_OPTIONS = {"color_by": "--color", "near": "--near"}


def draw_map(
    settings: Settings,
    *,
    png: Path,
    color: str,
    near: str,
    num_neighbours: int,
    top: int,
    name_attribute: str,
    version: str,
    is_flat: bool,
) -> None:
    """Draw the items of the newest checkpoint as a model has learned them.

    Raises:
        SettingsError: If matplotlib is missing, or the file cannot be written.
        ModelError: If there is no such model.
        CheckpointError: If there is no checkpoint yet.
        InvalidRequestError: If there is no such attribute or item.
    """
    check_matplotlib()
    registry = ModelStore(settings.model.url)
    if version:
        artifact = registry.load(version)
    else:
        champion = registry.load_champion()
        if champion is None:
            raise ModelError(f"no model yet at {settings.model.url}")
        artifact = champion.artifact
    state = state_of(settings, None)
    model = ServingModel.from_artifact(artifact, load_serving_plugins(settings))
    found = map_of(
        state,
        model,
        color,
        near,
        num_neighbours,
        top,
        name_attribute or settings.explain.name_attribute,
        is_flat=is_flat,
    )
    draw(found, f"{len(found.names):,} items as model {model.version} has learned them", color, png)
    console().print(f"drawn to {png}")


def map_of(
    state: LiveState,
    model: ServingModel,
    color: str,
    near: str,
    num_neighbours: int,
    top: int,
    name_attribute: str = "",
    *,
    is_flat: bool = False,
) -> ItemMap:
    """Return the items with the most edges in two dimensions, and an item with its nearest ones.

    Raises:
        InvalidRequestError: If there is no such attribute or item.
    """
    view = state.graph.view()
    table = ItemTable.build(model, view, state.rules)
    inspected = Inspected(view, state.rules.item_type, name_attribute)
    layout = lay_out(table, inspected, top, is_flat=is_flat)
    try:
        return item_map(layout, table, inspected, color, near, num_neighbours)
    except InvalidRequestError as error:
        raise InvalidRequestError(_OPTIONS[error.field], error.message) from error


def draw(found: ItemMap, title: str, color: str, path: Path) -> None:
    """Draw a map into a PNG file.

    Args:
        found: The map.
        title: Title of the figure.
        color: The attribute of the groups; empty for none.
        path: Path of the PNG file.

    Raises:
        SettingsError: If the file cannot be written.
    """
    from matplotlib.figure import Figure  # Without pyplot: no display, and nothing global.

    figure = Figure(figsize=(11.5, 8), layout="constrained")
    grid = figure.add_gridspec(1, 2, width_ratios=[3, 1])
    axes, side = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[0, 1])
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color("#dddddd")
    axes.set_aspect("equal", adjustable="datalim")
    side.axis("off")
    groups = np.array(found.groups)
    largest = [name for name, _ in Counter(group for group in found.groups if group).most_common(len(_COLOURS))]
    is_other = ~np.isin(groups, largest)
    drawn = [("other" if largest else "items", is_other, _OTHER if largest else _COLOURS[2])]
    drawn += [(name, groups == name, colour) for name, colour in zip(largest, _COLOURS, strict=False)]
    for name, chosen, colour in drawn:
        if chosen.any():
            label = f"{_short(name)} ({int(chosen.sum()):,})"
            axes.scatter(
                found.plane[chosen, 0],
                found.plane[chosen, 1],
                s=14,
                color=colour,
                alpha=0.75,
                linewidths=0,
                label=label,
            )
    y = 1.0
    if largest:
        legend = side.legend(
            *axes.get_legend_handles_labels(),
            loc="upper left",
            bbox_to_anchor=(0, 1),
            frameon=False,
            fontsize=8.5,
            title=color,
        )
        legend.get_title().set_fontweight("bold")
        legend._legend_box.align = "left"  # type: ignore[attr-defined]  # There is no other way to align the title.
        y -= 0.05 + 0.031 * (len(drawn) + 1)
    if found.marked:
        side.text(
            0,
            y,
            f"nearest to {_short(found.names[found.marked[0]])}",
            fontsize=9,
            fontweight="bold",
            va="top",
            parse_math=False,
        )
        for number, (position, cosine) in enumerate(zip(found.marked, found.cosines, strict=True)):
            x_at, y_at = found.plane[position]
            axes.scatter(
                [x_at],
                [y_at],
                s=170 if number == 0 else 60,
                marker="*" if number == 0 else "o",
                facecolors=_MARK if number == 0 else "none",
                edgecolors=_MARK,
                linewidths=1.3,
                zorder=3,
            )
            if number:
                y -= 0.028
                side.text(
                    0,
                    y - 0.01,
                    f"{cosine:.2f}  {_short(found.names[position])}",
                    fontsize=8.5,
                    va="top",
                    parse_math=False,
                )
    try:
        figure.savefig(path, dpi=_DPI, format="png")
    except OSError as error:
        raise SettingsError(f"--png: {path} cannot be written: {error}") from error


def _short(name: str) -> str:
    return name if len(name) <= _MOST_LETTERS else f"{name[: _MOST_LETTERS - 1]}…"
