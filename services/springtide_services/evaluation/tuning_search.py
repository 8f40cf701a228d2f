"""The search over settings: Optuna proposes the next trial, until the time is up."""

import importlib.util
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.progress import Progress as Bars

from springtide.errors import SettingsError, SpringtideError, TrainingError
from springtide.evaluation.protocols import TrainTestProtocol
from springtide.evaluation.tuning.objective import Trial, ndcg_of, score
from springtide.evaluation.tuning.search_space import (
    LOSS,
    Choices,
    Dimension,
    Range,
    applies,
    in_words,
    present_values,
    with_values,
)
from springtide.evaluation.tuning.trials import TrialsFile
from springtide.settings.model import Settings
from springtide.training.loop import Progress
from springtide_services.terminal import StageBars

if TYPE_CHECKING:
    import optuna

_KEPT_SHARE = 0.6  # Of the best trial's values, kept in the next: with a few dozen trials, search near the best.
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
        """Return the trials that did not fail, the best first; equal ones in the order of their numbers."""
        if self.present is None:
            return []
        present = self.present.ndcg
        succeeded = [trial for trial in self.trials if not trial.failure]
        return sorted(succeeded, key=lambda trial: -score(trial.ndcg, present))

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

    def run(self, protocol: TrainTestProtocol, deadline: float, num_trials: int | None) -> None:
        """Make trials until the time is up or there are enough; Ctrl-C stops the search and keeps the trials so far.

        Args:
            protocol: Measures a trial; its progress goes to ``show_progress``.
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
                self._keep(*self._next_trial(protocol, deadline))
                self._bars.update(overall, advance=1)
        except OutOfTimeError:
            self._bars.console.print("the last trial did not end in time and is not counted")
        except KeyboardInterrupt:
            if self.present is None:
                raise
            self._bars.console.print(f"stopped: {len(self.trials)} trials are kept")
        self._stages.clear()
        self._bars.update(overall, note=self._note(0.0))

    def _next_trial(self, protocol: TrainTestProtocol, deadline: float) -> tuple[Trial, Mapping[str, Any]]:
        """Make the next trial, and return it with the metrics of each query."""
        number = len(self.trials)
        values = self._next_values()
        started = time.monotonic()
        if self.present is None:
            self._abandon_at = math.inf, math.inf
        else:
            self._abandon_at = started + max(_MIN_LIMIT_S, _MAX_SLOWDOWN * self.present.seconds), deadline
        trial, arrays = Trial(self._study, number, values), {}
        try:
            measured = protocol.measure_model(with_values(self._settings, self._space, values))
            ndcg = ndcg_of(measured)
            num_users = max(measured.measurement.segments[segment].num_users for segment in ndcg)
            trial = Trial(self._study, number, values, ndcg, num_users, time.monotonic() - started)
            arrays = {name: array for name, array in measured.arrays.items() if name.endswith((".users", ".ndcg"))}
        except OutOfTimeError:
            raise
        except Exception as error:  # A plugin may fail in any way; the search goes on.
            reason = str(error) if isinstance(error, SpringtideError) else f"{type(error).__name__}: {error}"
            if number == 0:
                raise TrainingError(f"the present settings cannot be trained: {reason}") from error
            trial = Trial(self._study, number, values, seconds=time.monotonic() - started, failure=reason)
        self._stages.clear()
        return trial, arrays

    def _keep(self, trial: Trial, arrays: Mapping[str, Any]) -> None:
        self._file.add(trial, arrays)
        self.trials.append(trial)
        changes = in_words(self._space, trial.values) or "the present settings"
        if trial.failure:
            line = f"trial {trial.number} failed: {trial.failure} ({changes})"
        else:
            figures = ", ".join(f"{ndcg:.4f} {segment}" for segment, ndcg in trial.ndcg.items())
            line = f"trial {trial.number}: NDCG@20 {figures}, {trial.seconds:.0f} s ({changes})"
        self._bars.console.print(line, markup=False, soft_wrap=True)

    def _usual_seconds(self) -> float:
        return statistics.median(trial.seconds for trial in self.trials if not trial.failure)

    def _note(self, left_s: float) -> str:
        if self.present is None:
            return ""
        gain = score(self.best_first()[0].ndcg, self.present.ndcg) - 1.0
        left = f", {left_s / 60:.0f} min left" if left_s > 0 else ""
        return f"best {gain:+.1%}{left}"

    def _next_values(self) -> dict[str, Any]:
        """Return the values of the next trial: some of the best trial's, the others proposed by Optuna's TPE sampler.

        The sampler is created for each trial, seeded by the trial's number: a search that continues in another process
        must not repeat the random numbers of the first.
        """
        if not self.trials:
            return present_values(self._space)
        import optuna

        sampler_seed, kept_seed = np.random.SeedSequence([self._seed, len(self.trials)]).generate_state(2).tolist()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sampler = optuna.samplers.TPESampler(seed=sampler_seed, multivariate=False)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        best = self.best_first()[0]
        for trial in self.trials:
            study.add_trial(self._frozen(trial))
        is_kept = np.random.default_rng(kept_seed).random(len(self._space)) < _KEPT_SHARE
        kept = {dimension.name for dimension, keeps in zip(self._space, is_kept, strict=True) if keeps}
        study.enqueue_trial({name: value for name, value in best.values.items() if name in kept})
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
            value=None if trial.failure else score(trial.ndcg, self.present.ndcg),
            params=dict(trial.values),
            distributions={
                dimension.name: _distribution(dimension) for dimension in self._space if dimension.name in trial.values
            },
        )


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
