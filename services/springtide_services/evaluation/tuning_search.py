"""The search over settings: Optuna proposes the next trial, until the time is up."""

import importlib.util
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.progress import Progress as Bars

from springtide.errors import SettingsError, SpringtideError, TrainingError
from springtide.evaluation.measures.mean_metrics import Arrays
from springtide.evaluation.tuning.cuts import Cuts
from springtide.evaluation.tuning.dimensions import (
    LOSS,
    Choices,
    Dimension,
    Range,
    applies,
    in_words,
    present_values,
    with_values,
)
from springtide.evaluation.tuning.objective import Trial, compare_trials, ndcg_of, score_of_cuts
from springtide.evaluation.tuning.trials import TrialsFile
from springtide.settings.model import Settings
from springtide.training.loop import Progress
from springtide_services.terminal import StageBars

if TYPE_CHECKING:
    import optuna

_NUM_CHANGED = 3.0  # Of the best trial's values that change in the next, on average: few trials search near the best.
_MAX_REDRAWS = 20  # Of a proposal that was tried already.
_MAX_SLOWDOWN = 3.0  # A trial is abandoned after this many times the seconds of the present settings.
_MIN_LIMIT_S = 10.0  # Shorter times vary too much by chance to abandon a trial.


class OutOfTimeError(TrainingError):
    """Raised when a trial is stopped because the time of the whole search is up."""


def check_optuna() -> None:
    """Check that Optuna is installed.

    Raises:
        SettingsError: If Optuna is missing.
    """
    if importlib.util.find_spec("optuna") is None:
        raise SettingsError("tune needs Optuna: pip install 'springtide[tune]'")


class Search:
    """A study: its trials so far, and the choice of the next one.

    The next trial depends only on the seed and the trials so far, whether or not they ran in one process.

    Args:
        study: Digest of what all trials of the study have in common.
        settings: The present settings, those of the first trial.
        space: Dimensions of the search.
        file: The trials file.
        seed: Seed of the search.
        bars: Shows the progress.

    Attributes:
        trials: Trials of this study, in order.
    """

    def __init__(
        self,
        study: str,
        settings: Settings,
        space: Sequence[Dimension],
        file: TrialsFile,
        seed: int,
        bars: Bars,
    ) -> None:
        self._study = study
        self._settings = settings
        self._space = space
        self._file = file
        self._seed = seed
        self._bars = bars
        self._stages = StageBars(bars)
        self._abandon_at: tuple[float, float] = math.inf, math.inf
        self.trials = file.of_study(study)

    @property
    def present(self) -> Trial | None:
        """Trial of the present settings; None before it was made."""
        return self.trials[0] if self.trials and not self.trials[0].failure else None

    def best_first(self) -> list[Trial]:
        """Return the trials that were measured on all cuts, the best first; equal ones by their numbers."""
        if self.present is None:
            return []
        present = self.present
        measured = [trial for trial in self.trials if not trial.failure and not trial.is_given_up]
        return sorted(measured, key=lambda trial: -score_of_cuts(trial, present))

    def show_progress(self, now: Progress) -> None:
        """Show the progress of a trial, and stop it if it takes too long.

        Raises:
            OutOfTimeError: If the time for all trials is up.
            TrainingError: If the trial is too slow.
        """
        self._stages.show(now.stage, now.done, now.total, now.loss)
        limit, deadline = self._abandon_at
        if time.monotonic() > deadline:
            raise OutOfTimeError("the time is up")
        if time.monotonic() > limit:
            raise TrainingError(f"it takes more than {_MAX_SLOWDOWN:g} times as long as the present settings")

    def without_limits(self) -> None:
        """Let what is measured from now on take as long as it does."""
        self._abandon_at = math.inf, math.inf

    def run(self, cuts: Cuts, deadline: float, num_trials: int | None) -> None:
        """Make trials until the time is up or there are enough; Ctrl-C stops the search and keeps the trials so far.

        Args:
            cuts: Measures a trial; its progress goes to ``show_progress``.
            deadline: Monotonic clock, seconds. A trial that would probably end later does not start, except the first
                one, which the others are compared with.
            num_trials: Number of trials in all, those of earlier runs included; None for as many as fit.

        Raises:
            TrainingError: If the first trial fails.
        """
        overall = self._bars.add_task("Trials", total=num_trials, completed=len(self.trials), note="")
        try:
            while num_trials is None or len(self.trials) < num_trials:
                left_s = deadline - time.monotonic()
                if self.present is not None and self._usual_seconds() > left_s:
                    break
                self._bars.update(overall, note=self._note(left_s))
                self._keep(*self._next_trial(cuts, deadline))
                self._bars.update(overall, advance=1)
        except OutOfTimeError:
            self._bars.console.print("the last trial did not end in time and is not counted")
        except KeyboardInterrupt:
            if self.present is None:
                raise
            self._bars.console.print(f"stopped: {len(self.trials)} trials are kept")
        self._stages.clear()
        self._bars.update(overall, note=self._note(0.0))

    def _next_trial(self, cuts: Cuts, deadline: float) -> tuple[Trial, Arrays]:
        """Make the next trial, and return it with the metrics of each query, the names led by the cut's number."""
        number = len(self.trials)
        values = self._next_values()
        started = time.monotonic()
        self.without_limits()
        if self.present is not None:
            self._abandon_at = started + max(_MIN_LIMIT_S, _MAX_SLOWDOWN * self.present.seconds), deadline
        trial, found = Trial(self._study, number, values), []
        try:
            settings = with_values(self._settings, self._space, values)
            for cut in range(len(cuts)):
                measured = cuts.measure(cut, settings)
                ndcg = ndcg_of(measured)
                of_cut = measured.measurement.segments
                found.append({name: of for name, of in measured.arrays.items() if name.endswith((".users", ".ndcg"))})
                trial = replace(
                    trial,
                    of_cuts=(*trial.of_cuts, ndcg),
                    num_users=trial.num_users + max(of_cut[segment].num_users for segment in ndcg),
                    seconds=time.monotonic() - started,
                )
                if cut + 1 < len(cuts) and self._is_behind(found):
                    trial = replace(trial, is_given_up=True)
                    break
        except OutOfTimeError:
            raise
        except Exception as error:  # A plugin may fail in any way; the search goes on.
            reason = str(error) if isinstance(error, SpringtideError) else f"{type(error).__name__}: {error}"
            if number == 0:
                raise TrainingError(f"the present settings cannot be trained: {reason}") from error
            trial = Trial(self._study, number, values, seconds=time.monotonic() - started, failure=reason)
        self._stages.clear()
        return trial, {} if trial.failure else by_cut(found)

    def _is_behind(self, found: Sequence[Arrays]) -> bool:
        """Return whether a trial is behind the best one by more than a standard error on the cuts so far."""
        if self.present is None:
            return False
        best = self.best_first()[0]
        theirs = cut_by_cut(self._file.arrays(best))[: len(found)]
        return compare_trials(found, theirs, self.present.of_cuts[: len(found)], seed=self._seed).is_worse

    def _keep(self, trial: Trial, arrays: Arrays) -> None:
        self._file.add(trial, arrays)
        self.trials.append(trial)
        changes = in_words(self._space, trial.values) or "the present settings"
        if trial.failure:
            line = f"trial {trial.number} failed: {trial.failure} ({changes})"
        else:
            figures = ", ".join(f"{ndcg:.4f} {segment}" for segment, ndcg in trial.ndcg.items())
            after = f", given up after {len(trial.of_cuts)} of the cuts" if trial.is_given_up else ""
            line = f"trial {trial.number}: NDCG@20 {figures}, {trial.seconds:.0f} s{after} ({changes})"
        self._bars.console.print(line, markup=False, soft_wrap=True)

    def _usual_seconds(self) -> float:
        return statistics.median(trial.seconds for trial in self.trials if not trial.failure)

    def _note(self, left_s: float) -> str:
        if self.present is None:
            return ""
        gain = score_of_cuts(self.best_first()[0], self.present) - 1.0
        left = f", {left_s / 60:.0f} min left" if left_s > 0 else ""
        return f"best {gain:+.1%}{left}"

    def _next_values(self) -> dict[str, Any]:
        """Return the values of the next trial, which were not tried before unless chance does not find any."""
        if not self.trials:
            return present_values(self._space)
        tried = [dict(trial.values) for trial in self.trials]
        values = self._proposed(0)
        for redraw in range(1, _MAX_REDRAWS):
            if values not in tried:
                break
            values = self._proposed(redraw)
        return values

    def _proposed(self, redraw: int) -> dict[str, Any]:
        """Return values: most of the best trial's, the others proposed by Optuna's TPE sampler.

        The sampler is created for each trial, seeded by the trial's number: a search that continues in another process
        must not repeat the random numbers of the first.
        """
        import optuna

        words = np.random.SeedSequence([self._seed, len(self.trials), redraw]).generate_state(2)
        sampler_seed, changed_seed = words.tolist()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sampler = optuna.samplers.TPESampler(seed=sampler_seed, multivariate=False)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        best = self.best_first()[0]
        for trial in self.trials:
            study.add_trial(self._frozen(trial))
        generator = np.random.default_rng(changed_seed)
        names = [dimension.name for dimension in self._space if dimension.name in best.values]
        is_changed = generator.random(len(names)) < _NUM_CHANGED / len(names)
        is_changed[generator.integers(len(names))] = True
        changed = {name for name, is_new in zip(names, is_changed, strict=True) if is_new}
        study.enqueue_trial({name: value for name, value in best.values.items() if name not in changed})
        proposal = study.ask()
        values: dict[str, Any] = {}
        for dimension in self._space:
            if applies(dimension, values.get(LOSS, "")):
                values[dimension.name] = _suggested(proposal, dimension)
        return values

    def _frozen(self, trial: Trial) -> "optuna.trial.FrozenTrial":
        from optuna.trial import TrialState, create_trial

        assert self.present is not None, "trial 0 was made"
        return create_trial(
            state=TrialState.FAIL if trial.failure else TrialState.COMPLETE,
            value=None if trial.failure else score_of_cuts(trial, self.present),
            params=dict(trial.values),
            distributions={
                dimension.name: _distribution(dimension) for dimension in self._space if dimension.name in trial.values
            },
        )


def by_cut(arrays: Sequence[Arrays]) -> Arrays:
    """Return the arrays of several cuts in one mapping, their names led by the cut's number: ``0.new.ndcg``."""
    return {f"{cut}.{name}": array for cut, of_cut in enumerate(arrays) for name, array in of_cut.items()}


def cut_by_cut(arrays: Arrays) -> list[Arrays]:
    """Return the arrays of each cut; ``by_cut`` made one mapping of them."""
    found: dict[int, dict[str, Any]] = {}
    for name, array in arrays.items():
        cut, _, of_cut = name.partition(".")
        found.setdefault(int(cut), {})[of_cut] = array
    return [found[cut] for cut in sorted(found)]


def _distribution(dimension: Dimension) -> "optuna.distributions.BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(dimension, Choices):
        return CategoricalDistribution(dimension.choices)
    if dimension.is_whole:
        return IntDistribution(int(dimension.low), int(dimension.high), log=True)
    return FloatDistribution(dimension.low, dimension.high, log=True)


def _suggested(proposal: "optuna.Trial", dimension: Choices | Range) -> Any:
    if isinstance(dimension, Choices):
        return proposal.suggest_categorical(dimension.name, dimension.choices)
    if dimension.is_whole:
        return proposal.suggest_int(dimension.name, int(dimension.low), int(dimension.high), log=True)
    return proposal.suggest_float(dimension.name, dimension.low, dimension.high, log=True)
