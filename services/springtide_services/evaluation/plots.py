"""The plots of an evaluation: NDCG by segment, NDCG over time, and the reliability of scores."""

import importlib.util
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from springtide.clock import MS_PER_DAY
from springtide.errors import SettingsError
from springtide.evaluation.data import title_of
from springtide.evaluation.measures.mean_metrics import ALL, NEW, SEGMENTS
from springtide.evaluation.protocols.cold_start import ITEM_EVENTS, USER_EVENTS, levels_of
from springtide.evaluation.splits import COLD_START, PREQUENTIAL, WALK_FORWARD
from springtide_services.evaluation.report import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_OURS = ("#2f7d4f", "#b5612a", "#5d4a8a", "#1f2d3a")
_OTHERS = ("#9aa5b1", "#7d8ea1", "#b9a88f", "#a58f9f", "#8fa59a")
_DASHES = ("-", "--", ":")  # Of the baselines, whose colours are similar.
_DPI = 130
_MAX_BASELINES = 3  # The best ones: more lines are hard to distinguish.
_MAX_DAILY_DAYS = 14  # A longer period is drawn week by week.


def check_matplotlib() -> None:
    """Check that matplotlib is installed.

    Raises:
        SettingsError: If matplotlib is missing.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise SettingsError("--plots and --html need matplotlib: pip install 'springtide[plots]'")


def draw_all(report: Report, folder: Path) -> Iterator[Path]:
    """Draw the plots of each data set as PNG files, and give the path of each.

    Raises:
        SettingsError: If a file cannot be written.
    """
    for dataset in report.datasets:
        for name, figure in figures_of(report, dataset).items():
            path = folder / f"{Path(dataset).stem}-{report.split}-{name}.png"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                figure.savefig(path, dpi=_DPI, format="png")
            except OSError as error:
                raise SettingsError(f"--plots: {path} cannot be written: {error}") from error
            yield path


def figures_of(report: Report, dataset: str) -> "dict[str, Figure]":
    """Return the plots of a data set by name."""
    models = _shown(report, dataset)
    plots = {}
    if report.split == COLD_START:
        plots["curves"] = cold_start(report, dataset)
    elif models:
        plots["segments"] = _segments(report, dataset, models)
    if report.split in (WALK_FORWARD, PREQUENTIAL):
        plots["over-time"] = _over_time(report, dataset, models)
    if (reliability := _reliability(report, dataset)) is not None:
        plots["reliability"] = reliability
    return plots


def windows(times_ms: np.ndarray, values: np.ndarray) -> list[tuple[int, float]]:
    """Return the means by day, or by week for more than two weeks, each with the start of its window in milliseconds.

    A last window that is less than half full is merged with the one before.

    Args:
        times_ms: int64 ``[n]``, ascending.
        values: float ``[n]``.
    """
    is_long = times_ms[-1] - times_ms[0] > _MAX_DAILY_DAYS * MS_PER_DAY
    span_ms = (7 if is_long else 1) * MS_PER_DAY
    window = (times_ms - times_ms[0]) // span_ms
    if window[-1] > 0 and (times_ms[-1] - times_ms[0]) % span_ms < span_ms / 2:
        window[window == window[-1]] = window[window < window[-1]][-1]
    return [
        (int(times_ms[0] + number * span_ms), float(values[window == number].mean()))
        for number in np.unique(window).tolist()
    ]


def _shown(report: Report, dataset: str) -> list[str]:
    """Return the names of the models and of the best baselines."""
    ndcgs = {
        name: figures.ndcg for name in report.baselines if (figures := report.figures(dataset, name, ALL)) is not None
    }
    best = sorted(ndcgs, key=lambda name: -ndcgs[name])[:_MAX_BASELINES]
    return [*(name for name in report.ours if report.figures(dataset, name, ALL) is not None), *best]


def _colours(report: Report, models: Sequence[str]) -> dict[str, str]:
    ours = [name for name in models if name in report.ours]
    others = [name for name in models if name not in report.ours]
    return {name: _OURS[index % len(_OURS)] for index, name in enumerate(ours)} | {
        name: _OTHERS[index % len(_OTHERS)] for index, name in enumerate(others)
    }


def _figure(title: str, note: str, height: float = 5.4) -> "Figure":
    from matplotlib.figure import Figure  # Without pyplot, which needs a display and has global state.

    figure = Figure(figsize=(10, height), layout="constrained")
    figure.suptitle(f"{title}\n", fontsize=14, fontweight="bold", x=0.01, ha="left")
    figure.text(0.01, 1 - 0.30 / height, note, fontsize=9.5, color="#666666", ha="left", va="top")
    return figure


def _tidy(axes: "Axes", title: str) -> None:
    axes.set_title(title, fontsize=11, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)


def _segments(report: Report, dataset: str, models: Sequence[str]) -> "Figure":
    """Draw bars of NDCG@20 with intervals: new, repeat and all, and below them the finer segments of new items."""
    finer = [name for name in report.segments(dataset) if name.startswith(f"{NEW}: ")]
    main = [name for name in SEGMENTS if any(_size(report, dataset, model, name) for model in models)]
    panels = [main, *([finer] if finer else [])]
    kind = "mean over the blocks, 95 % intervals over them" if report.split == WALK_FORWARD else "with 95 % intervals"
    note = f"NDCG@20, {kind}; in brackets: number of queries"
    figure = _figure(f"{title_of(dataset)}: by segment", note, 4.2 + 3.0 * (len(panels) - 1))
    colours = _colours(report, models)
    grid = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axes, segments in zip(grid, panels, strict=True):
        width = 0.8 / max(len(models), 1)
        for number, model in enumerate(models):
            for index, segment in enumerate(segments):
                figures = report.figures(dataset, model, segment)
                if figures is None:
                    continue
                position = index + (number - (len(models) - 1) / 2) * width
                error = None
                if figures.low is not None and figures.high is not None:
                    error = [[max(figures.ndcg - figures.low, 0.0)], [max(figures.high - figures.ndcg, 0.0)]]
                axes.bar(
                    position,
                    figures.ndcg,
                    width * 0.92,
                    color=colours[model],
                    label=model if index == 0 else None,
                    yerr=error,
                    error_kw={"elinewidth": 1.0, "capsize": 2, "ecolor": "#444444"},
                )
        sizes = [max(_size(report, dataset, model, segment) for model in models) for segment in segments]
        labels = [_folded(segment.removeprefix(f"{NEW}: ")) for segment in segments]
        axes.set_xticks(
            range(len(segments)),
            [f"{label}\n({size:,})" for label, size in zip(labels, sizes, strict=True)],
            fontsize=8.5,
        )
        _tidy(axes, "all users" if segments == main else "new items, by segment of users and items")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    return figure


def cold_start(report: Report, dataset: str) -> "Figure":
    """Draw NDCG@20 against the number of known events of a user, and of an item, for all models and baselines."""
    panels = [
        (segment, heading, levels)
        for segment, heading in ((NEW, USER_EVENTS), (ALL, USER_EVENTS), (NEW, ITEM_EVENTS))
        if (levels := levels_of(report.segments(dataset), segment, heading))
    ]
    note = "NDCG@20 by how many events are known; the band is the 95 % interval of ours"
    figure = _figure(f"{title_of(dataset)}: cold start", note, 6.4)
    grid = figure.subplots(1, max(len(panels), 1), squeeze=False)[0]
    others = [name for name in report.models if name not in report.ours]
    for axes, (segment, heading, levels) in zip(grid, panels, strict=False):
        for model in report.models:
            found = [report.figures(dataset, model, f"{segment}: {heading} {level}") for level in levels]
            points = [(index, each) for index, each in enumerate(found) if each is not None]
            if not points:
                continue
            xs, ys = [index for index, _ in points], [each.ndcg for _, each in points]
            if model in report.ours:
                colour = _OURS[report.ours.index(model) % len(_OURS)]
                axes.plot(xs, ys, color=colour, label=model, linewidth=2.6, marker="o", zorder=3)
                bounds = [(each.low, each.high) for _, each in points]
                if all(low is not None and high is not None for low, high in bounds):
                    axes.fill_between(xs, [low or 0 for low, _ in bounds], [high or 0 for _, high in bounds],
                                      color=colour, alpha=0.15, linewidth=0)  # fmt: skip
            else:
                number = others.index(model)
                dashes = ("-", "--", ":", "-.")[number // 10 % 4]
                axes.plot(xs, ys, label=model, linewidth=1.1, linestyle=dashes, color=f"C{number % 10}", alpha=0.8)
        axes.set_xticks(range(len(levels)), levels, fontsize=8.5)
        axes.set_xlabel(
            f"{'events of the user' if heading == USER_EVENTS else 'events of the item'} before the question"
        )
        axes.set_ylim(bottom=0)
        _tidy(axes, f"{segment} items" if heading == USER_EVENTS else f"{segment} items, by item")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    return figure


def _size(report: Report, dataset: str, model: str, segment: str) -> int:
    """Return the number of queries of a model in a segment."""
    figures = report.figures(dataset, model, segment)
    return 0 if figures is None else figures.num_users


def _folded(segment: str) -> str:
    """Return a segment's name with a line break after the heading, such as that after ``item age``."""
    for heading in ("user activity", "item age", "users", "items"):
        if segment.startswith(f"{heading} "):
            return f"{heading}\n{segment.removeprefix(heading).strip()}"
    return segment


def _over_time(report: Report, dataset: str, models: Sequence[str]) -> "Figure":
    """Draw NDCG@20 over the blocks of a walk forward or the windows of a replay; new and all items apart."""
    is_replay = report.split == PREQUENTIAL
    note = "NDCG@20 of the next item, as time goes on" if is_replay else "NDCG@20 of each block, trained on all before"
    figure = _figure(f"{title_of(dataset)}: over time", note, 5.8)
    colours = _colours(report, models)
    baselines = [name for name in models if name not in report.ours]
    panels = figure.subplots(1, 2, squeeze=False)[0]
    for axes, segment in zip(panels, (NEW, ALL), strict=True):
        for model in models:
            line = {"color": colours[model], "label": model, "marker": "o", "markersize": 4}
            if model in report.ours:
                line |= {"linewidth": 2.2, "linestyle": "-"}
            else:
                line |= {"linewidth": 1.4, "linestyle": _DASHES[baselines.index(model)]}
            if is_replay:
                times, values = _ndcg_over_time(report, dataset, model, segment)
                if not len(times):
                    continue
                points = windows(times, values)
                axes.plot([datetime.fromtimestamp(ms / 1000, UTC) for ms, _ in points], [y for _, y in points], **line)
            else:
                ndcgs = _ndcg_by_block(report, dataset, model, segment)
                numbers = range(1, len(ndcgs) + 1)
                axes.plot(numbers, ndcgs, **line)
                axes.set_xticks(numbers, [f"block {number}" for number in numbers])
        if is_replay:
            axes.tick_params(axis="x", labelrotation=30, labelsize=8.5)
        axes.set_ylim(bottom=0)
        _tidy(axes, f"{segment} items")
    figure.legend(
        *panels[-1].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9, frameon=False
    )
    return figure


def _ndcg_over_time(report: Report, dataset: str, model: str, segment: str) -> tuple[np.ndarray, np.ndarray]:
    """Return time, int64 ``[n]``, and NDCG, float64 ``[n]``, of each event of a replay; NDCG is a mean over seeds."""
    seed_arrays = [report.arrays(result.key) for result in report.results[dataset, model]]
    if not all(f"{segment}.times" in arrays for arrays in seed_arrays):
        return np.empty(0, np.int64), np.empty(0)
    values = np.mean([arrays[f"{segment}.ndcg"] for arrays in seed_arrays], axis=0)
    return seed_arrays[0][f"{segment}.times"], values


def _ndcg_by_block(report: Report, dataset: str, model: str, segment: str) -> list[float]:
    """Return the NDCG of each block, in order; a mean over the seeds."""
    by_block: dict[str, list[float]] = {}
    for result in report.results[dataset, model]:
        if result.measurement is not None:
            by_block.setdefault(result.key.split, []).append(result.measurement.segments[segment].ndcg)
    return [float(np.mean(by_block[block])) for block in sorted(by_block)]


def _reliability(report: Report, dataset: str) -> "Figure | None":
    """Draw predicted probability against observed share, for models whose scores are logits; None without any."""
    bins_of: dict[str, np.ndarray] = {}
    for model in report.ours:
        arrays = [report.arrays(result.key) for result in report.results[dataset, model]]
        seed_bins = [run_arrays["reliability"] for run_arrays in arrays if "reliability" in run_arrays]
        if seed_bins:
            bins_of[model] = np.mean(seed_bins, axis=0)
    if not bins_of:
        return None
    note = "the top 20 items of each user, binned by predicted probability"
    figure = _figure(f"{title_of(dataset)}: reliability of scores", note, 6.0)
    axes = figure.subplots()
    shown = [value for bins in bins_of.values() for value in bins[:2].ravel() if value > 0]
    low, high = min(shown) * 0.7, max(shown) * 1.4
    axes.plot([low, high], [low, high], color="#bbbbbb", linestyle="--", linewidth=1.2, label="calibrated")
    colours = _colours(report, list(bins_of))
    for model, bins in bins_of.items():
        axes.plot(bins[0], bins[1], color=colours[model], marker="o", markersize=5, linewidth=1.8, label=model)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(_percent)
        axis.set_minor_formatter(_percent)
        axis.set_tick_params(which="both", labelsize=8.5)
    axes.set_xlabel("predicted probability that the next interaction is with the item")
    axes.set_ylabel("share of later interactions")
    axes.legend(fontsize=9, frameon=False, loc="upper left")
    _tidy(axes, "")
    return figure


def _percent(value: float, _: float) -> str:
    """Return the label of a tick that begins with 1, 2 or 5, empty for others, whose labels would overlap."""
    return f"{100 * value:.3g} %" if f"{value:e}"[0] in "125" else ""
