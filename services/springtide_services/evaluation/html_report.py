"""The report of an evaluation as one page: tables, plots and intervals, without anything fetched from elsewhere."""

import html
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from springtide.evaluation.data import title_of
from springtide.evaluation.measures.mean_metrics import ALL, NEW
from springtide.evaluation.splits import COLD_START
from springtide_services.evaluation.cell_tables import difference, knows_last_second, with_interval
from springtide_services.evaluation.cells import cells_of
from springtide_services.evaluation.plots import figures_of
from springtide_services.evaluation.report import Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ALONE = ", cosine alone"
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#1f2d3a;max-width:70rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.8rem}h2{margin-top:2.5rem;border-bottom:2px solid #2f7d4f;padding-bottom:.2rem}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem;margin:1rem 0}
th,td{padding:.3rem .7rem;text-align:right;border-bottom:1px solid #e6e6e6}
th:first-child,td:first-child{text-align:left}
tr.ours{background:#e8f3ec;font-weight:600}.note{color:#555;font-size:.9rem}svg{max-width:100%;height:auto}
"""


def to_html(reports: Sequence[Report]) -> str:
    """Return a self-contained page for people who decide: what was compared, who is ahead, by how much, and where not.

    Args:
        reports: One for each split, of the same data sets and models, at least one.
    """
    body = ["<h1>How good the recommendations are</h1>", *_summary(reports)]
    for report in reports:
        for dataset in report.datasets:
            body.append(f"<h2>{_text(title_of(dataset))}: {_text(report.split)}</h2>")
            body += _figures_table(report, dataset)
            body += _weak_segments(report, dataset)
            body += _context(report, dataset)
            body += [f"<figure>{_svg(figure)}</figure>" for figure in figures_of(report, dataset).values()]
            body += [
                f'<p class="note">{_text(model)} could not be measured: {_text(reason)}</p>'
                for model, reason in report.failures(dataset).items()
            ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Springtide: evaluation</title><style>{_STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _summary(reports: Sequence[Report]) -> Iterator[str]:
    yield (
        '<p class="note">NDCG@20 says how well a list of 20 items holds what people took next, the best first: 1 is '
        "perfect, 0 is nothing. <b>New</b> counts items that a person had not had, <b>all</b> counts every item. ± is "
        "half of the 95 % interval. A difference is certain where its whole interval is above zero.</p>"
    )
    cells = list(cells_of([report for report in reports if report.split != COLD_START]))
    if not cells:
        return
    num_ahead = sum(cell.is_ahead_of_all for cell in cells)
    yield f"<p><b>Ahead of every other method in {num_ahead} of {len(cells)} comparisons.</b></p>"
    rows = []
    for cell in cells:
        left = "; ".join(f"{peer} {difference(compared)}" for peer, compared in cell.not_beaten.items())
        name = f"{title_of(cell.dataset)}, {cell.segment} items, {cell.split}"
        nearest = f"{cell.nearest}: {difference(cell.peers[cell.nearest])}"
        rows.append([name, cell.model, f"{cell.ndcg:.4f}", nearest, left or "none"])
    yield _table(["comparison", "ours", "NDCG@20", "nearest other method", "not certainly beaten"], rows, ())


def _figures_table(report: Report, dataset: str) -> Iterator[str]:
    rows = []
    for model in report.models:
        both = [with_interval(report.figures(dataset, model, segment)) for segment in (NEW, ALL)]
        fit, rate = report.fit_seconds(dataset, model), report.answers_per_second(dataset, model)
        live = report.live_share(dataset, model)
        costs = [
            "–" if fit is None else f"{fit:.0f} s",
            "–" if rate is None else f"{rate:,.0f}",
            knows_last_second([] if live is None else [live]),
        ]
        rows.append([model, *both, *costs])
    headings = ["model", "new: NDCG@20", "all: NDCG@20", "fit", "answers a second", "knows the last second"]
    yield _table(headings, rows, report.ours)


def _weak_segments(report: Report, dataset: str) -> Iterator[str]:
    """List where our models have a lower NDCG than the best other method."""
    found = []
    for model in report.ours:
        for segment in report.segments(dataset):
            best = report.best_baseline(dataset, segment)
            ours = report.figures(dataset, model, segment)
            theirs = None if best is None else report.figures(dataset, best, segment)
            if best is None or ours is None or theirs is None or ours.ndcg >= theirs.ndcg:
                continue
            gap = f"{ours.ndcg - theirs.ndcg:+.4f}"
            found.append([f"{model}: {segment}", f"{ours.num_users:,}", f"{ours.ndcg:.4f}", best, gap])
    yield "<h3>Where it is behind</h3>"
    if not found:
        yield "<p>In no segment is another method ahead.</p>"
        return
    yield _table(["segment", "questions", "NDCG@20", "best other method", "difference"], found, ())


def _context(report: Report, dataset: str) -> Iterator[str]:
    """Say what the context weights brought, where the same model was measured without them."""
    yield "<h3>What season, trend and habit brought</h3>"
    pairs = [(model, f"{model}{_ALONE}") for model in report.ours if f"{model}{_ALONE}" in report.ours]
    lines = []
    for model, alone in pairs:
        for segment in (NEW, ALL):
            compared = report.compare(dataset, model, alone, segment)
            if compared is not None:
                lines.append(f"<li>{segment} items: {difference(compared)} NDCG@20</li>")
    if lines:
        yield f"<p>With all context weights against the same model without them:</p><ul>{''.join(lines)}</ul>"
    else:
        yield '<p class="note">Not measured: add <code>--models default,cosine</code> and the names of baselines.</p>'


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], marked: Sequence[str]) -> str:
    head = "".join(f"<th>{_text(heading)}</th>" for heading in headings)
    lines = []
    for row in rows:
        kind = ' class="ours"' if row[0] in marked else ""
        lines.append(f"<tr{kind}>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>")
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _svg(figure: "Figure") -> str:
    written = io.StringIO()
    figure.savefig(written, format="svg", metadata={"Date": None})
    return written.getvalue().partition("<svg")[1] + written.getvalue().partition("<svg")[2]


def _text(words: str) -> str:
    return html.escape(words)
