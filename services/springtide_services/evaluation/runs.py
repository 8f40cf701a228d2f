"""The runs of an evaluation: planned, measured one after the other, and written to the results file as they end."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from rich.progress import Progress

from springtide.errors import SpringtideError, TrainingError
from springtide.evaluation.measures.mean_metrics import DetailedMeasurement
from springtide.evaluation.plan import key_of_baseline, key_of_model, seeded_baselines
from springtide.evaluation.protocols import FROZEN, NUM_QUESTIONS, ColdStart, Prequential, TrainTestProtocol
from springtide.evaluation.protocols.circumstances import note_on_unused
from springtide.evaluation.results import Result, ResultsFile, RunKey
from springtide.evaluation.splits import COLD_START, GLOBAL, PREQUENTIAL, cut_at, cut_names, note_on_times, why_empty_at
from springtide.plugins.loading import Plugins
from springtide.settings.model import PartSettings, Settings
from springtide.training.loop import Progress as Stage
from springtide_services.evaluation.sources import Source
from springtide_services.terminal import StageBars

Outcome = DetailedMeasurement | Exception
"""What a run gave: a measurement, or why it failed."""


@dataclass(frozen=True, slots=True)
class SplitOptions:
    """How a data set is split: in one way, or in several, each with tables of its own.

    Attributes:
        splits: Of ``springtide.evaluation.splits.cuts.SPLITS``, each once, at least one.
        is_cold_kept: Whether users and items with too few interactions in the training set are kept.
        num_days: Length of a prequential replay; None for a length that suits the data set.
        num_questions: Number of events of a prequential replay that are ranked.
    """

    splits: tuple[str, ...] = (GLOBAL,)
    is_cold_kept: bool = False
    num_days: int | None = None
    num_questions: int = NUM_QUESTIONS

    def cuts_of(self, split: str) -> list[str]:
        """Return the names of the cuts of one of the splits, which are part of the keys of runs."""
        if split == PREQUENTIAL:
            return [f"{PREQUENTIAL}, {self.num_questions} questions, {self.num_days or 'default'} days"]
        return cut_names(split, is_cold_kept=self.is_cold_kept)


@dataclass(frozen=True, slots=True)
class Run:
    """A model or baseline to be measured on one cut.

    Attributes:
        key: Key of the run.
        wanted: Settings of a model, or a baseline.
    """

    key: RunKey
    wanted: Settings | PartSettings


def plan_runs(
    source: Source,
    models: Iterable[Settings],
    baselines: Iterable[PartSettings],
    seeds: Sequence[int],
    split: SplitOptions,
    plugins: Plugins,
) -> list[Run]:
    """Return the runs on one data set: for each cut, the baselines, then each model with each seed.

    A baseline that depends on chance (``plan.SEED``) is run once for each seed, like a model, and others once.
    """
    seeded = [each for baseline in baselines for each in seeded_baselines(baseline, seeds, plugins)]
    of_baselines = [Run(key_of_baseline(source.name, baseline, plugins), baseline) for baseline in seeded]
    of_models = []
    for settings in models:
        for seed in seeds:
            training = settings.training.model_copy(update={"seed": seed})
            wanted = settings.model_copy(update={"training": training})
            of_models.append(Run(key_of_model(source.name, wanted, plugins), wanted))
    frozen = [replace(run, key=replace(run.key, model=f"{run.key.model}{FROZEN}")) for run in of_models]
    runs = []
    for name in split.splits:
        with_frozen = [run for pair in zip(of_models, frozen, strict=True) for run in pair]
        of_split = [*of_baselines, *(with_frozen if name == PREQUENTIAL else of_models)]
        for cut in split.cuts_of(name):
            runs += [replace(run, key=replace(run.key, split=cut, data=source.digest)) for run in of_split]
    return runs


def run_all(
    runs: Mapping[Source, Sequence[Run]],
    results: ResultsFile,
    split: SplitOptions,
    settings: Settings,
    plugins: Plugins,
    bars: Progress,
) -> dict[RunKey, Result]:
    """Measure all runs that are not in the results file, and return the result of every run.

    Args:
        runs: Runs by data set; a data set without missing runs is not read.
        results: The results file, to which each result is added.
        split: How the data sets are split.
        settings: Graph, interactions and context weights.
        plugins: Plugins that offer the parts.
        bars: Shows the progress.
    """
    keys = [run.key for source_runs in runs.values() for run in source_runs]
    by_key = {key: known for key in keys if (known := results.get(key)) is not None}
    overall = bars.add_task("Runs", total=len(keys), completed=len(by_key), note="")
    if by_key:
        bars.console.print(f"{len(by_key)} of {len(keys)} runs are in {results.path} already", markup=False)
    stages = StageBars(bars)

    def keep(key: RunKey, outcome: Outcome) -> None:
        result = _result_of(key, outcome)
        results.add(result, outcome.arrays if isinstance(outcome, DetailedMeasurement) else None)
        by_key[key] = result  # After the file has it: what is said to be kept is on the disk.
        bars.update(overall, advance=1)
        bars.console.print(_in_words(by_key[key]), markup=False)

    try:
        for source, source_runs in runs.items():
            missing = [run for run in source_runs if run.key not in by_key]
            if not missing:
                continue
            stages.show(f"fetch {source.name}")
            evaluator = _Evaluator(source, split, settings, plugins, stages, bars)
            replayed = [run for run in missing if run.key.split.startswith(PREQUENTIAL)]
            for run in missing:
                if run.key.split.startswith(PREQUENTIAL):
                    continue
                bars.update(overall, note=f"{source.name}: {run.key.model}")
                outcome = evaluator.measure(run)
                stages.clear()
                keep(run.key, outcome)
            if replayed:
                bars.update(overall, note=source.name)
                for key, outcome in evaluator.replay(replayed).items():
                    keep(key, outcome)
                stages.clear()
    except KeyboardInterrupt:
        bars.console.print(
            f"{len(by_key)} of {len(keys)} runs are kept in {results.path}: run the same command to continue"
        )
        raise
    bars.update(overall, note="")
    return by_key


class _Evaluator:
    """Measures runs on one data set, and keeps the graph of the last cut for the next run."""

    def __init__(
        self,
        source: Source,
        split: SplitOptions,
        settings: Settings,
        plugins: Plugins,
        stages: StageBars,
        bars: Progress,
    ) -> None:
        self._dataset = source.load()
        unused = note_on_unused(self._dataset, settings, plugins)
        for note in filter(None, (*self._dataset.notes, note_on_times(self._dataset.interactions), unused)):
            bars.console.print(f"note: {note}", markup=False, soft_wrap=True)
        self._split = split
        self._settings = settings
        self._plugins = plugins
        self._stages = stages
        self._bars = bars
        self._protocol: tuple[str, TrainTestProtocol | ColdStart] | None = None  # With the name of its cut.

    def _show(self, now: Stage) -> None:
        self._stages.show(now.stage, now.done, now.total, now.loss)

    def measure(self, run: Run) -> Outcome:
        """Measure one run on its cut."""
        cut = run.key.split
        try:
            if self._protocol is None or self._protocol[0] != cut:
                split = cut_at(self._dataset.interactions, cut)
                if not len(split.train) or not len(split.test):
                    raise TrainingError(
                        f"wanted interactions on both sides of the cut, got none on one ({cut}): "
                        f"{why_empty_at(self._dataset.interactions, cut)}"
                    )
                protocol = ColdStart if cut.startswith(COLD_START) else TrainTestProtocol
                self._protocol = cut, protocol(self._dataset, split, self._settings, self._plugins, self._show)
            if isinstance(run.wanted, Settings):
                return self._protocol[1].measure_model(run.wanted)
            return self._protocol[1].measure_baseline(run.wanted)
        except SpringtideError as error:
            return error
        except Exception as error:  # A plugin may fail in any way; the other runs go on.
            self._bars.console.print_exception()
            return error

    def replay(self, runs: Sequence[Run]) -> dict[RunKey, Outcome]:
        """Measure all runs, in one replay for each seed; baselines without a seed take part in the first."""
        outcomes: dict[RunKey, Outcome] = {}
        model_seeds: list[int | None] = [run.key.seed for run in runs if run.key.seed is not None]
        seeds = list(dict.fromkeys(model_seeds)) or [None]
        seedless = {run.key.model: run for run in runs if run.key.seed is None}
        for seed in seeds:
            of_seed = [run for run in runs if run.key.seed == seed and isinstance(run.wanted, PartSettings)]
            baselines = seedless | {run.key.model: run for run in of_seed}
            models = {run.key.model: run for run in runs if run.key.seed == seed and isinstance(run.wanted, Settings)}
            replayed = models | baselines
            try:
                protocol = Prequential(
                    self._dataset,
                    self._settings,
                    self._plugins,
                    self._show,
                    self._split.num_days,
                    self._split.num_questions,
                )
                measured = protocol.measure(
                    {name: run.wanted for name, run in models.items() if isinstance(run.wanted, Settings)},
                    {name: run.wanted for name, run in baselines.items() if isinstance(run.wanted, PartSettings)},
                )
                outcomes |= {replayed[name].key: outcome for name, outcome in measured.items()}
            except SpringtideError as error:
                outcomes |= {run.key: error for run in replayed.values()}
            except Exception as error:  # As in ``measure``.
                self._bars.console.print_exception()
                outcomes |= {run.key: error for run in replayed.values()}
            seedless = {}
        return outcomes


def _result_of(key: RunKey, outcome: Outcome) -> Result:
    today = datetime.now(UTC).date()
    if isinstance(outcome, DetailedMeasurement):
        return Result(key, today, outcome.measurement)
    is_ours = isinstance(outcome, SpringtideError)
    return Result(key, today, None, str(outcome) if is_ours else f"{type(outcome).__name__}: {outcome}")


def _in_words(result: Result) -> str:
    name = f"{result.key.dataset}: {result.key.model}"
    if result.key.split != GLOBAL:
        name = f"{name} ({result.key.split})"
    if result.measurement is None:
        return f"{name}: failed: {result.failure}"
    new, everything, seconds = result.measurement.new, result.measurement.all, result.measurement.fit_seconds
    return f"{name}: NDCG@20 {new.ndcg:.4f} new, {everything.ndcg:.4f} all, fitted in {seconds:.0f} s"
