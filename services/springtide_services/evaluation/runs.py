"""Running an evaluation: one run after the other, each result kept as soon as it is there."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from rich.progress import Progress

from springtide.errors import SpringtideError, TrainingError
from springtide.evaluation.measures.measurement import Measured
from springtide.evaluation.plan import key_of_baseline, key_of_model
from springtide.evaluation.protocols.prequential import FROZEN, NUM_QUESTIONS, Prequential
from springtide.evaluation.protocols.protocol import Protocol
from springtide.evaluation.results import Result, ResultsFile, RunKey
from springtide.evaluation.splits.cuts import PREQUENTIAL, cut_at, cut_names
from springtide.plugins.loading import Plugins
from springtide.settings.model import PartSettings, Settings
from springtide.training.loop import Progress as Stage
from springtide_services.evaluation.sources import Source
from springtide_services.terminal import StageBars


@dataclass(frozen=True, slots=True)
class EvaluationScope:
    """How it is measured.

    Attributes:
        split: One of ``springtide.evaluation.splits.cuts.SPLITS``.
        is_cold_kept: Whether users and items with too little in the train part stay.
        num_days: Of a replay; None for what suits the data set.
        num_questions: Of a replay.
    """

    split: str = "global"
    is_cold_kept: bool = False
    num_days: int | None = None
    num_questions: int = NUM_QUESTIONS

    def cuts(self) -> list[str]:
        """Return the names of the cuts, which tell runs apart."""
        if self.split == PREQUENTIAL:
            return [f"{PREQUENTIAL}, {self.num_questions} questions, {self.num_days or 'default'} days"]
        return cut_names(self.split, is_cold_kept=self.is_cold_kept)


@dataclass(frozen=True, slots=True)
class Run:
    """One thing to measure.

    Attributes:
        key: What tells it from all others.
        wanted: The settings of a model, or a baseline.
    """

    key: RunKey
    wanted: Settings | PartSettings


def plan_runs(
    source: Source,
    models: Iterable[Settings],
    baselines: Iterable[PartSettings],
    seeds: Sequence[int],
    asked: EvaluationScope,
    plugins: Plugins,
) -> list[Run]:
    """Return the runs on one data set: baselines first, then each model with each seed, cut by cut."""
    runs = [Run(key_of_baseline(source.name, wanted, plugins), wanted) for wanted in baselines]
    for settings in models:
        for seed in seeds:
            seeded = settings.model_copy(update={"training": settings.training.model_copy(update={"seed": seed})})
            key = key_of_model(source.name, seeded, plugins)
            runs.append(Run(key, seeded))
            if asked.split == PREQUENTIAL:
                runs.append(Run(replace(key, model=f"{key.model}{FROZEN}"), seeded))
    return [replace(run, key=replace(run.key, split=cut, data=source.digest)) for cut in asked.cuts() for run in runs]


def run_all(
    runs: Mapping[Source, Sequence[Run]],
    results: ResultsFile,
    asked: EvaluationScope,
    settings: Settings,
    plugins: Plugins,
    bars: Progress,
) -> dict[RunKey, Result]:
    """Return the result of every run; a data set of which all is known is not even fetched."""
    keys = [run.key for of_source in runs.values() for run in of_source]
    found = {key: known for key in keys if (known := results.get(key)) is not None}
    overall = bars.add_task("Runs", total=len(keys), completed=len(found), note="")
    if found:
        bars.console.print(f"{len(found)} of {len(keys)} runs are in {results.path} already", markup=False)
    stages = StageBars(bars)

    def keep(key: RunKey, outcome: Measured | Exception) -> None:
        found[key] = _result_of(key, outcome)
        results.add(found[key], outcome.arrays if isinstance(outcome, Measured) else None)
        bars.update(overall, advance=1)
        bars.console.print(_in_words(found[key]), markup=False)

    try:
        for source, of_source in runs.items():
            missing = [run for run in of_source if run.key not in found]
            if not missing:
                continue
            stages.show(f"fetch {source.name}")
            measuring = _Measuring(source, asked, settings, plugins, stages, bars)
            if asked.split == PREQUENTIAL:
                bars.update(overall, note=source.name)
                for key, outcome in measuring.replayed(missing).items():
                    keep(key, outcome)
                stages.clear()
                continue
            for run in missing:
                bars.update(overall, note=f"{source.name}: {run.key.model}")
                outcome = measuring.measured(run)
                stages.clear()
                keep(run.key, outcome)
    except KeyboardInterrupt:
        bars.console.print(f"{len(found)} of {len(keys)} runs are kept in {results.path}: the same command goes on")
        raise
    bars.update(overall, note="")
    return found


class _Measuring:
    """One data set, and what was made of its cuts so far."""

    def __init__(
        self,
        source: Source,
        asked: EvaluationScope,
        settings: Settings,
        plugins: Plugins,
        stages: StageBars,
        bars: Progress,
    ) -> None:
        self._dataset = source.load()
        self._asked = asked
        self._settings = settings
        self._plugins = plugins
        self._stages = stages
        self._bars = bars
        self._protocol: tuple[str, Protocol] | None = None

    def _tell(self, now: Stage) -> None:
        self._stages.show(now.stage, now.done, now.total, now.loss)

    def measured(self, run: Run) -> Measured | Exception:
        """Measure one run at its cut."""
        cut = run.key.split
        try:
            if self._protocol is None or self._protocol[0] != cut:
                split = cut_at(self._dataset.interactions, cut)
                if not len(split.train) or not len(split.test):
                    raise TrainingError(f"wanted something on both sides of the cut, got none on one ({cut})")
                self._protocol = cut, Protocol(self._dataset, split, self._settings, self._plugins, self._tell)
            if isinstance(run.wanted, Settings):
                return self._protocol[1].measure_model(run.wanted)
            return self._protocol[1].measure_baseline(run.wanted)
        except SpringtideError as error:
            return error
        except Exception as error:  # A part may be anybody's and fail in any way: the others are measured all the same.
            self._bars.console.print_exception()
            return error

    def replayed(self, runs: Sequence[Run]) -> dict[RunKey, Measured | Exception]:
        """Measure all runs, in one replay for each seed; baselines, which have none, go with the first."""
        outcomes: dict[RunKey, Measured | Exception] = {}
        of_models: list[int | None] = [run.key.seed for run in runs if run.key.seed is not None]
        seeds = list(dict.fromkeys(of_models)) or [None]
        baselines = {run.key.model: run for run in runs if run.key.seed is None}
        for seed in seeds:
            models = {run.key.model: run for run in runs if run.key.seed == seed and isinstance(run.wanted, Settings)}
            of_seed = models | baselines
            try:
                replay = Prequential(
                    self._dataset,
                    self._settings,
                    self._plugins,
                    self._tell,
                    self._asked.num_days,
                    self._asked.num_questions,
                )
                found = replay.measure(
                    {name: run.wanted for name, run in models.items() if isinstance(run.wanted, Settings)},
                    {name: run.wanted for name, run in baselines.items() if isinstance(run.wanted, PartSettings)},
                )
                outcomes |= {of_seed[name].key: outcome for name, outcome in found.items()}
            except SpringtideError as error:
                outcomes |= {run.key: error for run in of_seed.values()}
            except Exception as error:  # As above.
                self._bars.console.print_exception()
                outcomes |= {run.key: error for run in of_seed.values()}
            baselines = {}
        return outcomes


def _result_of(key: RunKey, outcome: Measured | Exception) -> Result:
    today = datetime.now(UTC).date()
    if isinstance(outcome, Measured):
        return Result(key, today, outcome.measurement)
    is_ours = isinstance(outcome, SpringtideError)
    return Result(key, today, None, str(outcome) if is_ours else f"{type(outcome).__name__}: {outcome}")


def _in_words(result: Result) -> str:
    name = f"{result.key.dataset}: {result.key.model}"
    if result.key.split not in ("global",):
        name = f"{name} ({result.key.split})"
    if result.measurement is None:
        return f"{name}: failed: {result.failure}"
    new, everything, seconds = result.measurement.new, result.measurement.all, result.measurement.fit_seconds
    return f"{name}: NDCG@20 {new.ndcg:.4f} new, {everything.ndcg:.4f} all, fitted in {seconds:.0f} s"
