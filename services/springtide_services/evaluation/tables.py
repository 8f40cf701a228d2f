"""The tables of an evaluation, for the terminal and for a README, and comparisons in words."""

from collections.abc import Iterator, Mapping, Sequence

from rich.table import Table

from springtide.evaluation.data import title_of
from springtide.evaluation.measures.mean_metrics import ALL, NEW, REPEAT, SEGMENTS
from springtide.evaluation.measures.significance import Comparison
from springtide.evaluation.plan import Section, model_name
from springtide.evaluation.splits import PREQUENTIAL
from springtide_services.evaluation.report import Figures, Report

_MISSING = "–"
_BEYOND_ACCURACY = {
    "coverage@20": "coverage",
    "gini@20": "Gini",
    "popularity_rank@20": "popularity rank",
    "novelty@20": "novelty",
    "diversity@20": "diversity",
}
_FURTHER_METRICS = {"mrr@20": "MRR@20", "hit@20": "hit rate@20", "map@20": "MAP@20", "mrr": "MRR"}

_SEGMENT_TITLES = {NEW: "New items", REPEAT: "Repeats", ALL: "All items"}


def terminal_table(report: Report, dataset: str) -> Table:
    """Return a table with a row for each model on one data set, new items beside all items."""
    table = _table(title_of(dataset))
    for heading in ("new: NDCG@20", "Recall@20", "users", "all: NDCG@20", "Recall@20", "users", "fit"):
        table.add_column(
            "questions" if heading == "users" and report.split == PREQUENTIAL else heading, justify="right"
        )
    for model in report.models:
        cells = []
        for segment in (NEW, ALL):
            figures = report.figures(dataset, model, segment)
            if figures is None:
                cells += [_MISSING] * 3
            else:
                cells += [_ndcg(figures), f"{figures.recall:.4f}", f"{figures.num_users:,}"]
        table.add_row(model, *cells, _seconds(report, dataset, model))
    return table


def metrics_table(report: Report, dataset: str, segment: str) -> Table:
    """Return a table with a row for each model, with the other metrics, those beyond accuracy included."""
    table = _table(f"{title_of(dataset)}, {segment}")
    by_model = {model: report.figures(dataset, model, segment) for model in report.models}
    known = {name for figures in by_model.values() if figures is not None for name in figures.metrics}
    names = {name: heading for name, heading in (_FURTHER_METRICS | _BEYOND_ACCURACY).items() if name in known}
    for heading in names.values():
        table.add_column(heading, justify="right")
    for model, figures in by_model.items():
        table.add_row(model, *[_MISSING if figures is None else _short(figures.metrics.get(name)) for name in names])
    return table


def segments_table(report: Report, dataset: str, segment: str) -> Table:
    """Return a table of NDCG@20 with a row for each model and a column for each finer segment of ``segment``."""
    table = _table(f"{title_of(dataset)}, {segment}: NDCG@20")
    names = [name for name in report.segments(dataset) if name.startswith(f"{segment}: ")]
    for name in names:
        all_figures = [report.figures(dataset, model, name) for model in report.models]
        sizes = [figures.num_users for figures in all_figures if figures is not None]
        table.add_column(f"{name.removeprefix(f'{segment}: ')} ({max(sizes, default=0):,})", justify="right")
    for model in report.models:
        row = [report.figures(dataset, model, name) for name in names]
        table.add_row(model, *[_MISSING if figures is None else f"{figures.ndcg:.4f}" for figures in row])
    return table


def verdicts(report: Report, dataset: str) -> Iterator[str]:
    """Give a sentence for each comparison of a model with the best baseline, and with the same model frozen."""
    for model in report.ours:
        for segment in SEGMENTS:
            best = report.best_baseline(dataset, segment)
            for other in [*([] if best is None else [best]), *report.related_to(model)]:
                comparison = report.compare(dataset, model, other, segment)
                if comparison is not None:
                    yield f"{_SEGMENT_TITLES[segment]}: {model} {in_words(comparison, other)}"


def in_words(comparison: Comparison, other: str) -> str:
    """Return the end of a sentence, such as ``is better than popularity by 0.0103 NDCG@20 (95 % interval ...)``."""
    p = "p < 0.001" if comparison.p_value < 0.001 else f"p = {comparison.p_value:.3f}"
    interval = (
        f"95 % interval {comparison.low:+.4f} to {comparison.high:+.4f}, {p}, {comparison.num_queries:,} questions"
    )
    if comparison.is_better or comparison.is_worse:
        side = "better" if comparison.is_better else "worse"
        return f"is {side} than {other} by {abs(comparison.difference):.4f} NDCG@20 ({interval})"
    return f"is not significantly different from {other}: {comparison.difference:+.4f} NDCG@20 ({interval})"


def to_markdown(report: Report) -> str:
    """Return a Markdown table for each section, with a caption; the first table also has the baselines."""
    blocks = []
    for number, section in enumerate(report.sections):
        models = {name: model_name(settings) for name, settings in section.models.items()}
        for model in list(models.values()):
            models |= {related: related for related in report.related_to(model)}
        if number == 0:
            models = {name: name for name in report.baselines} | models
        blocks.append("\n".join(_markdown_lines(report, section, models)))
        blocks.append(_caption(report, section, models))
        if reasons := list(_reasons(report, models)):
            blocks.append("\n".join(reasons))
    return "\n\n".join(blocks)


def _markdown_lines(report: Report, section: Section, models: Mapping[str, str]) -> Iterator[str]:
    headings = [section.varied]
    for dataset in report.datasets:
        headings += [f"{title_of(dataset)}: new NDCG@20", "all NDCG@20", "fit"]
    yield _markdown_row(headings)
    yield _markdown_row([":--"] + ["--:"] * (len(headings) - 1))
    for name, model in models.items():
        cells = [name]
        for dataset in report.datasets:
            both = [report.figures(dataset, model, segment) for segment in (NEW, ALL)]
            cells += [_MISSING if figures is None else _ndcg(figures) for figures in both]
            cells.append(_seconds(report, dataset, model))
        yield _markdown_row(cells)


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _caption(report: Report, section: Section, models: Mapping[str, str]) -> str:
    results = [
        result for dataset in report.datasets for model in models.values() for result in report.results[dataset, model]
    ]
    seeds = sorted({result.key.seed for result in results if result.key.seed is not None})
    words = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}" if seeds else "no random seed"
    sentences = [f"All with {section.same}, {words}" if section.same else f"{words[:1].upper()}{words[1:]}"]
    counted = "questions" if report.split == PREQUENTIAL else "users evaluated"
    for dataset in report.datasets:
        for model in models.values():
            new, everything = (report.figures(dataset, model, segment) for segment in (NEW, ALL))
            if new is not None and everything is not None:
                numbers = f"{new.num_users:,} {counted} on new items, {everything.num_users:,} on all items"
                sentences.append(f"{title_of(dataset)}: {numbers}")
                break
    days = [result.measured_on for result in results]
    span = " to ".join(dict.fromkeys([min(days).isoformat(), max(days).isoformat()]))
    split = "" if report.split == "global" else f", {report.split} split"
    sentences.append(f"Measured {span} with Springtide {results[0].key.version}{split}")
    return "".join(f"{sentence}. " for sentence in sentences).rstrip()


def _reasons(report: Report, models: Mapping[str, str]) -> Iterator[str]:
    for dataset in report.datasets:
        failures = report.failures(dataset)
        for name, model in models.items():
            if model in failures:
                yield f"- {name} on {title_of(dataset)}: {' '.join(failures[model].split())}"


def _table(title: str) -> Table:
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    table.add_column("model", no_wrap=True)
    return table


def _ndcg(figures: Figures) -> str:
    """Return NDCG@20 as text, with the standard deviation between seeds if there are several."""
    return f"{figures.ndcg:.4f}" if figures.ndcg_sd is None else f"{figures.ndcg:.4f} ± {figures.ndcg_sd:.4f}"


def _short(value: float | None) -> str:
    if value is None:
        return _MISSING
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.0f}"


def _seconds(report: Report, dataset: str, model: str) -> str:
    seconds = report.fit_seconds(dataset, model)
    return _MISSING if seconds is None else f"{seconds:.0f} s"
