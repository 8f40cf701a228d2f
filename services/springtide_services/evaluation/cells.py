"""The cells of an evaluation: whether a model is ahead of every peer, for each data set, split and segment."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from springtide.evaluation.measures.mean_metrics import ALL, NEW
from springtide.evaluation.measures.significance import Comparison
from springtide_services.evaluation.report import Report


@dataclass(frozen=True, slots=True)
class Cell:
    """One of our models beside all peers, on one data set, split and segment.

    Attributes:
        dataset: Name of the data set.
        split: One of ``springtide.evaluation.splits.cuts.SPLITS``.
        segment: ``new`` or ``all``.
        model: Name of our model.
        ndcg: Its NDCG@20.
        peers: The comparison with each peer, the smallest difference first; at least one.
        unmeasured: Names of the peers that it cannot be compared with: they failed, or their questions are gone.
    """

    dataset: str
    split: str
    segment: str
    model: str
    ndcg: float
    peers: Mapping[str, Comparison]
    unmeasured: Sequence[str]

    @property
    def nearest(self) -> str:
        """The peer that is furthest ahead of the model, or least behind it."""
        return next(iter(self.peers))

    @property
    def not_beaten(self) -> dict[str, Comparison]:
        """The peers that the model is not ahead of by more than the interval."""
        return {peer: comparison for peer, comparison in self.peers.items() if not comparison.is_better}

    @property
    def is_ahead_of_all(self) -> bool:
        """Whether the model is ahead of every peer by more than the interval."""
        return not self.not_beaten and not self.unmeasured


def cells_of(reports: Sequence[Report]) -> Iterator[Cell]:
    """Give the cells, data set by data set; those without anything to compare are left out.

    Args:
        reports: One for each split, of the same data sets and models.
    """
    for dataset in reports[0].datasets if reports else ():
        for model in reports[0].ours:
            for segment in (NEW, ALL):
                for report in reports:
                    cell = _cell(report, dataset, model, segment)
                    if cell is not None:
                        yield cell


def _cell(report: Report, dataset: str, model: str, segment: str) -> Cell | None:
    figures = report.figures(dataset, model, segment) if (dataset, model) in report.results else None
    if figures is None:
        return None
    compared = {peer: report.compare(dataset, model, peer, segment) for peer in report.baselines}
    known = {peer: comparison for peer, comparison in compared.items() if comparison is not None}
    if not known:
        return None
    peers = dict(sorted(known.items(), key=lambda pair: pair[1].difference))
    return Cell(
        dataset, report.split, segment, model, figures.ndcg, peers, [each for each in compared if each not in known]
    )
