"""Tables over several splits: figures side by side, what they cost, and who is ahead, as Markdown."""

from collections.abc import Iterator, Sequence

from springtide.evaluation.data import title_of
from springtide.evaluation.measures.mean_metrics import ALL, NEW
from springtide.evaluation.measures.significance import Comparison
from springtide.evaluation.protocols.cold_start import ITEM_EVENTS, USER_EVENTS, levels_of
from springtide.evaluation.splits import WALK_FORWARD
from springtide_services.evaluation.cells import Cell, cells_of
from springtide_services.evaluation.report import Figures, Report

_MISSING = "–"


def side_by_side(reports: Sequence[Report]) -> str:
    """Return Markdown: NDCG@20 by data set, segment and split, then what each model costs, then who is ahead.

    Args:
        reports: One for each split, of the same data sets and models, at least one.
    """
    first = reports[0]
    headings = ["model"]
    for dataset in first.datasets:
        for segment in (NEW, ALL):
            headings += [f"{title_of(dataset)}: {segment}, {report.split}" for report in reports]
    rows = []
    for model in _shown(reports):
        cells = [model]
        for dataset in first.datasets:
            for segment in (NEW, ALL):
                for report in reports:
                    known = (dataset, model) in report.results
                    cells.append(with_interval(report.figures(dataset, model, segment) if known else None))
        rows.append(cells)
    blocks = ["\n".join(_table(headings, rows)), _caption(reports), costs(reports)]
    found = list(cells_of(reports))
    if found:
        blocks += [ahead(found), *(["\n".join(lost)] if (lost := list(not_ahead(found))) else [])]
    return "\n\n".join(blocks)


def curves_table(report: Report) -> str:
    """Return Markdown: NDCG@20 by the number of events that are known of a user, and of an item.

    Args:
        report: Of the split ``cold-start``.
    """
    blocks = []
    for dataset in report.datasets:
        for segment, heading in ((NEW, USER_EVENTS), (ALL, USER_EVENTS), (NEW, ITEM_EVENTS)):
            levels = levels_of(report.segments(dataset), segment, heading)
            if not levels:
                continue
            rows = []
            for model in report.models:
                found = [report.figures(dataset, model, f"{segment}: {heading} {level}") for level in levels]
                rows.append([model, *(_MISSING if each is None else f"{each.ndcg:.4f}" for each in found)])
            title = f"{title_of(dataset)}, {segment}: {heading}"
            blocks.append("\n".join(_table([title, *levels], rows)))
            if lost := list(_lost_levels(report, dataset, segment, heading, levels)):
                blocks.append("\n".join(lost))
    return "\n\n".join(blocks)


def _lost_levels(report: Report, dataset: str, segment: str, heading: str, levels: Sequence[str]) -> Iterator[str]:
    """Give a line for each level at which one of our models does not have the highest NDCG, with the difference."""
    for model in report.ours:
        for level in levels:
            name = f"{segment}: {heading} {level}"
            best = report.best_baseline(dataset, name)
            ours = report.figures(dataset, model, name)
            theirs = None if best is None else report.figures(dataset, best, name)
            if best is None or ours is None or theirs is None or ours.ndcg > theirs.ndcg:
                continue
            compared = report.compare(dataset, model, best, name)
            words = f"{ours.ndcg - theirs.ndcg:+.4f}" if compared is None else difference(compared)
            yield f"- {heading} {level}: {model} is not ahead of {best}: {words}"


def knows_last_second(shares: Sequence[float]) -> str:
    """Return in words whether a model looks at an event of a second ago.

    One that does not answers every user as before. One that does need not change the top of a user with firm habits.

    Args:
        shares: For each data set, the share of users whose answer changed; none if it was not measured.
    """
    return _MISSING if not shares else "yes" if max(shares) > 0 else "no"


def costs(reports: Sequence[Report]) -> str:
    """Return Markdown: fit seconds, answers a second, and whether an event of a second ago changes the answer."""
    first = reports[0]
    headings = ["model"]
    for dataset in first.datasets:
        headings += [f"{title_of(dataset)}: fit", "answers a second"]
    rows = []
    for model in _shown(reports):
        cells = [model]
        shares = []
        for dataset in first.datasets:
            known = [report for report in reports if (dataset, model) in report.results]
            fit = next((seconds for each in known if (seconds := each.fit_seconds(dataset, model)) is not None), None)
            rate = next((rate for each in known if (rate := each.answers_per_second(dataset, model)) is not None), None)
            shares += [share for each in known if (share := each.live_share(dataset, model)) is not None]
            cells += [_MISSING if fit is None else f"{fit:.0f} s", _MISSING if rate is None else f"{rate:,.0f}"]
        rows.append([*cells, knows_last_second(shares)])
    note = (
        f"Fit: mean wall seconds of the {first.split} split. Answers a second: rankings of new items by one thread, 64 "
        "users at once. Last column: whether the top 20 of any user changed with an event of a moment ago, measured."
    )
    return "\n".join([*_table([*headings, "knows an event of a second ago"], rows), "", note])


def ahead(found: Sequence[Cell]) -> str:
    """Return Markdown: for each cell, the nearest peer, the difference from it, and how many peers are beaten."""
    headings = ["cell", "ours", "nearest peer", "difference", "ahead of every peer"]
    several = len({cell.model for cell in found}) > 1
    rows = []
    for cell in found:
        total = len(cell.peers) + len(cell.unmeasured)
        beaten = len(cell.peers) - len(cell.not_beaten)
        verdict = "yes" if cell.is_ahead_of_all else f"no: {beaten} of {total}"
        name = _name(cell) + (f", {cell.model}" if several else "")
        rows.append([name, f"{cell.ndcg:.4f}", cell.nearest, difference(cell.peers[cell.nearest]), verdict])
    num_ahead = sum(cell.is_ahead_of_all for cell in found)
    note = (
        f"Ahead of every peer by more than the 95 % interval of the difference in {num_ahead} of {len(found)} cells. "
        "The difference is paired: by user (bootstrap) in one cut, by block (t interval) in a walk forward."
    )
    return "\n".join([*_table(headings, rows), "", note])


def not_ahead(found: Sequence[Cell]) -> Iterator[str]:
    """Give a line for each cell that is not won: the peers that are not beaten, and by how much."""
    for cell in found:
        words = [f"{peer} {difference(comparison)}" for peer, comparison in cell.not_beaten.items()]
        words += [f"{peer} (not measured)" for peer in cell.unmeasured]
        if words:
            yield f"- {_name(cell)}: {cell.model} is not ahead, by more than the interval, of {'; '.join(words)}"


def difference(comparison: Comparison) -> str:
    """Return a difference with its interval, such as ``+0.0103 (+0.0044 to +0.0162)``."""
    return f"{comparison.difference:+.4f} ({comparison.low:+.4f} to {comparison.high:+.4f})"


def with_interval(figures: Figures | None) -> str:
    """Return NDCG@20 with half of its 95 % interval."""
    if figures is None:
        return _MISSING
    if figures.low is None or figures.high is None:
        return f"{figures.ndcg:.4f}"
    return f"{figures.ndcg:.4f} ± {(figures.high - figures.low) / 2:.4f}"


def _name(cell: Cell) -> str:
    return f"{title_of(cell.dataset)}, {cell.segment}, {cell.split}"


def _shown(reports: Sequence[Report]) -> list[str]:
    return list(dict.fromkeys(model for report in reports for model in report.models))


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for cells in (headings, [":--"] + ["--:"] * (len(headings) - 1), *rows):
        yield f"| {' | '.join(cells)} |"


def _caption(reports: Sequence[Report]) -> str:
    results = [result for report in reports for of_model in report.results.values() for result in of_model]
    seeds = sorted({result.key.seed for result in results if result.key.seed is not None})
    words = [f"NDCG@20, means over seeds {', '.join(map(str, seeds))}" if seeds else "NDCG@20"]
    spread = ["over users in one cut"]
    if any(report.split == WALK_FORWARD for report in reports):
        spread.append("over the means of the blocks in walk-forward, whose figure is the mean of these")
    words.append(f"± is half of the 95 % interval: {', '.join(spread)}")
    for report in reports:
        for dataset in report.datasets:
            for model in report.models:
                both = [report.figures(dataset, model, segment) for segment in (NEW, ALL)]
                if both[0] is not None and both[1] is not None:
                    numbers = f"{both[0].num_users:,} on new items, {both[1].num_users:,} on all"
                    words.append(f"{title_of(dataset)}, {report.split}: questions {numbers}")
                    break
    days = sorted({result.measured_on.isoformat() for result in results})
    if days:
        span = " to ".join(dict.fromkeys([days[0], days[-1]]))
        words.append(f"Measured {span} with Springtide {results[0].key.version}")
    lines = [f"{'. '.join(words)}."]
    for report in reports:
        for dataset in report.datasets:
            for model, reason in report.failures(dataset).items():
                lines.append(f"- {model} on {title_of(dataset)}, {report.split}: {' '.join(reason.split())}")
    return "\n".join(lines) if len(lines) == 1 else "\n".join([lines[0], "", *lines[1:]])
