"""The picture of the `map` command: items in the learned space, and an item's neighbours."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from springtide.errors import InvalidRequestError, ModelError, SettingsError
from springtide.explaining.paths import PathNode
from springtide.explaining.plane import neighbour_plane, principal_plane
from springtide.explaining.why import Names
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


@dataclass(frozen=True, slots=True)
class ItemMap:
    """Items in two dimensions.

    Attributes:
        plane: float64 ``[n, 2]``.
        names: Name of each item.
        groups: The value of each item's attribute; empty where it has none, or no attribute is asked for.
        marked: Positions of the item that is asked about, first, and of its neighbours, the nearest first.
        cosines: Cosine of each marked item with the first.
    """

    plane: npt.NDArray[np.float64]
    names: Sequence[str]
    groups: Sequence[str]
    marked: Sequence[int]
    cosines: Sequence[float]


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
    items = view.nodes(state.rules.item_type)
    if color and color not in items.categories:
        choices = ", ".join(sorted(items.categories)) or "none"
        raise InvalidRequestError("--color", f"no category attribute {color!r} (choices: {choices})")
    known = np.flatnonzero(table.has_vector)
    edges = sum(
        view.edges(state.rules.edge_type(relation)).degrees(known.astype(np.int64), is_source=False)
        for relation in state.rules.positive_relations
    )
    rows = known[np.argsort(-np.asarray(edges), kind="stable")[:top]].tolist()
    marked: list[int] = []
    cosines: list[float] = []
    if near:
        row = items.ids.row(near)
        if row < 0 or row >= table.num_items or not table.has_vector[row]:
            raise InvalidRequestError("--near", f"no item with the id {near!r} of which the model knows something")
        of_all = np.where(table.has_vector, table.vectors @ table.vectors[row], -np.inf)
        of_all[row] = np.inf  # The item itself comes first, whatever rounding says.
        nearest = np.argsort(-of_all, kind="stable")[: num_neighbours + 1].tolist()
        chosen = set(nearest)
        rows = [*nearest, *(each for each in rows if each not in chosen)][: max(top, len(nearest))]
        marked = [position for position, each in enumerate(nearest) if np.isfinite(of_all[each]) or each == row]
        cosines = [1.0, *(float(of_all[each]) for each in nearest[1 : len(marked)])]
    vectors = table.vectors[rows]
    plane = principal_plane(vectors) if is_flat else neighbour_plane(vectors)
    ids = items.ids.ids(rows)
    name_of = Names(view, name_attribute).name_of
    names = [name_of(PathNode(state.rules.item_type, item_id)) for item_id in ids]
    column = items.categories.get(color) if color else None
    groups = ["" if column is None else next(iter(column.values(row)), "") for row in rows]
    return ItemMap(plane, names, groups, marked, cosines)


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
