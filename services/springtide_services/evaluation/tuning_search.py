"""The search over settings: what to try next, by Optuna, and trying it until the time is up."""

import importlib.util
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.progress import Progress as Bars

from springtide.errors import SettingsError, SpringtideError, TrainingError
from springtide.evaluation.protocols.protocol import Protocol
from springtide.evaluation.tuning.judging import Trial, ndcg_of, score
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

_KEPT_SHARE = 0.6  # Of the best trial's values, for the next: a few dozen trials find more near it than anywhere.
_MAX_SLOWDOWN = 3.0  # A trial that takes longer than this many times the present settings' is not worth its time.
_MIN_LIMIT_S = 10.0  # Below this, the time that a trial takes is chance.


class OutOfTimeError(TrainingError):
    """Raised when a trial is cut short since the time for all of them is up."""


def check_optuna() -> None:
    """Check that there is something to search with.

    Raises:
        SettingsError: If Optuna is missing.
    """
    if importlib.util.find_spec("optuna") is None:
        raise SettingsError("tune needs Optuna: pip install 'springtide[tune]'")


class Search:
    """A study: what was tried, and what is tried next.

    What comes next follows from the seed and from the trials so far, whether or not they were made in one go.

    Args:
        study: Digest of what the trials have in common.
        settings: Where the search begins: the first trial.
        space: What may be changed.
        file: Where trials are kept.
        seed: Of what is left to chance in the choice of trials.
        bars: Shows how far it is.

    Attributes:
        trials: Those of this study, in order.
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
        """The trial of the settings that the search began with; None before it was made."""
        return self.trials[0] if self.trials and not self.trials[0].failure else None

    def best_first(self) -> list[Trial]:
        """Return the trials that did not fail, the best first; of equals, the one that came first."""
        if self.present is None:
            return []
        present = self.present.ndcg
        return sorted((trial for trial in self.trials if not trial.failure), key=lambda of: -score(of.ndcg, present))

    def tell(self, now: Progress) -> None:
        """Show how far a trial is, and end it if it takes too long.

        Raises:
            OutOfTimeError: If the time for all trials is up.
            TrainingError: If the trial is slower than is worth it.
        """
        self._stages.show(now.stage, now.done, now.total, now.loss)
        limit, deadline = self._abandon_at
        if time.monotonic() > deadline:
            raise OutOfTimeError("the time is up")
        if time.monotonic() > limit:
            raise TrainingError(f"it takes more than {_MAX_SLOWDOWN:g} times as long as the settings that are now")

    def run(self, protocol: Protocol, deadline: float, num_trials: int | None) -> None:
        """Try settings until the time is up or there are enough trials; Ctrl-C ends it, and keeps what there is.

        Args:
            protocol: Measures a trial; it tells ``tell``.
            deadline: On the monotonic clock, in seconds. No trial begins that would probably end after it, but the
                first one, without which there is nothing to compare with.
            num_trials: How many there shall be in all, those of earlier runs included; None for as many as fit.

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
                self._keep(*self._tried(protocol, deadline))
                self._bars.update(overall, advance=1)
        except OutOfTimeError:
            self._bars.console.print("the last trial did not end in time, and does not count")
        except KeyboardInterrupt:
            if self.present is None:
                raise
            self._bars.console.print(f"stopped: {len(self.trials)} trials are kept")
        self._stages.clear()
        self._bars.update(overall, note=self._note(0.0))

    def _tried(self, protocol: Protocol, deadline: float) -> tuple[Trial, Mapping[str, Any]]:
        """Make the next trial, and return it with what its result is made of."""
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
        except Exception as error:  # A part may be anybody's and fail in any way: the search goes on without it.
            reason = str(error) if isinstance(error, SpringtideError) else f"{type(error).__name__}: {error}"
            if number == 0:
                raise TrainingError(f"the settings that the search begins with cannot be trained: {reason}") from error
            trial = Trial(self._study, number, values, seconds=time.monotonic() - started, failure=reason)
        self._stages.clear()
        return trial, arrays

    def _keep(self, trial: Trial, arrays: Mapping[str, Any]) -> None:
        self._file.add(trial, arrays)
        self.trials.append(trial)
        what = in_words(self._space, trial.values) or "the settings as they are"
        if trial.failure:
            said = f"trial {trial.number} failed: {trial.failure} ({what})"
        else:
            figures = ", ".join(f"{ndcg:.4f} {segment}" for segment, ndcg in trial.ndcg.items())
            said = f"trial {trial.number}: NDCG@20 {figures}, {trial.seconds:.0f} s ({what})"
        self._bars.console.print(said, markup=False, soft_wrap=True)

    def _usual_seconds(self) -> float:
        return statistics.median(trial.seconds for trial in self.trials if not trial.failure)

    def _note(self, left_s: float) -> str:
        if self.present is None:
            return ""
        gain = score(self.best_first()[0].ndcg, self.present.ndcg) - 1.0
        left = f", {left_s / 60:.0f} min left" if left_s > 0 else ""
        return f"best {gain:+.1%}{left}"

    def _next_values(self) -> dict[str, Any]:
        """Return what to try next: what Optuna's tree-structured Parzen estimator proposes, beside what is kept.

        The sampler is made anew for each trial, seeded by its number: a search that goes on after a break must not
        begin with the numbers that it began with before.
        """
        if not self.trials:
            return present_values(self._space)
        import optuna

        seed, of_kept = np.random.SeedSequence([self._seed, len(self.trials)]).generate_state(2).tolist()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=False)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        best = self.best_first()[0]
        for trial in self.trials:
            study.add_trial(self._frozen(trial))
        is_kept = np.random.default_rng(of_kept).random(len(self._space)) < _KEPT_SHARE
        kept = {dimension.name for dimension, keeps in zip(self._space, is_kept, strict=True) if keeps}
        study.enqueue_trial({name: value for name, value in best.values.items() if name in kept})
        asked = study.ask()
        values: dict[str, Any] = {}
        for dimension in self._space:
            if applies(dimension, values.get(LOSS, "")):
                values[dimension.name] = _suggested(asked, dimension)
        return values

    def _frozen(self, trial: Trial) -> "optuna.trial.FrozenTrial":
        from optuna.trial import TrialState, create_trial

        assert self.present is not None, "there are trials"
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


def _suggested(asked: "optuna.Trial", dimension: Choices | Range) -> Any:
    if isinstance(dimension, Choices):
        return asked.suggest_categorical(dimension.name, dimension.choices)
    if dimension.is_whole:
        return asked.suggest_int(dimension.name, int(dimension.low), int(dimension.high), log=True)
    return asked.suggest_float(dimension.name, dimension.low, dimension.high, log=True)
