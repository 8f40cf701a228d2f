"""The `tune` command: searches for settings that rank a data set better, and writes them as TOML."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from rich.progress import Progress as Bars
from rich.table import Table

from springtide.errors import SettingsError
from springtide.evaluation.data import Dataset, fetch
from springtide.evaluation.measures.mean_metrics import ALL, NEW
from springtide.evaluation.measures.significance import Comparison
from springtide.evaluation.plan import key_of_model
from springtide.evaluation.splits import global_time_split
from springtide.evaluation.tuning.cuts import Cuts
from springtide.evaluation.tuning.dimensions import Dimension, in_words, with_values
from springtide.evaluation.tuning.judging import Judgement, judge, measure_with_seeds
from springtide.evaluation.tuning.objective import Trial, compare_trials, cuts_for_tuning, score_of_cuts
from springtide.evaluation.tuning.search_space import restricted, search_space
from springtide.evaluation.tuning.trials import TrialsFile
from springtide.event_files import ReadOptions
from springtide.plugins.loading import Plugins, load_checked_plugins
from springtide.settings.model import Settings
from springtide.settings.view import changes_to_toml
from springtide_services.evaluation.sources import Source, source_of
from springtide_services.evaluation.tuning_search import Search, check_optuna, cut_by_cut
from springtide_services.terminal import console, progress

FIRST_LINE = "# Found by `springtide tune`"
_NUM_SHOWN = 10
_AS_IT_IS = ReadOptions()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a search.

    Attributes:
        trials: All trials, failed ones included.
        best_first: Trials that did not fail, the best first.
        present: Trial of the present settings, with which the search started.
        chosen: Trial whose settings are written.
        comparison: Score of the best trial against that of ``present``, user by user; the interval is one standard
            error to either side.
        judgement: The best trial's settings beside the present ones on the test set, which the search never saw; None
            if no trial was better, or the judging was stopped.
    """

    trials: list[Trial]
    best_first: list[Trial]
    present: Trial
    chosen: Trial
    comparison: Comparison
    judgement: Judgement | None = None


def tune_and_write(
    named: str,
    settings: Settings,
    *,
    minutes: float,
    num_trials: int | None,
    seed: int,
    out: Path,
    trials_path: Path,
    num_cuts: int = 3,
    num_judge_seeds: int = 3,
    only: Sequence[str] = (),
    options: ReadOptions = _AS_IT_IS,
    fetch_dataset: Callable[[str], Dataset] = fetch,
) -> Outcome:
    """Search for settings with a higher NDCG@20 on the validation sets, judge them on the test set, and write them.

    If no trial is better than the present settings by more than one standard error, or the best one is not better on
    the test set, the present settings are written.

    Args:
        named: Name of a public data set, or path of a file.
        settings: The present settings, with which the search starts.
        minutes: Time limit of the search, without reading the data set and without the judging.
        num_trials: Number of trials in all, those of earlier runs included; None for as many as fit into the time.
        seed: Seed of the search.
        out: File for the settings.
        num_cuts: Number of cuts that trials are measured on, one tenth of the training set apart.
        num_judge_seeds: Number of seeds that both settings are trained with for the judging; 0 leaves it to a later
            run, and writes the present settings.
        trials_path: The trials file.
        only: Settings to search at and below, as dotted paths; empty for all.
        options: How a file is read.
        fetch_dataset: Returns a public data set by its name.

    Raises:
        DatasetError: If the data set cannot be fetched or read.
        SettingsError: If Optuna is missing, nothing is searched below one of ``only``, or a file cannot be read or
            written.
        TrainingError: If the present settings cannot be trained.
    """
    check_optuna()
    _check_out(out)
    plugins = load_checked_plugins(settings)
    source = source_of(named, options, fetch_dataset)
    trials = TrialsFile(trials_path)
    with progress(console(stderr=True)) as bars:
        loaded = source.load()
        for note in loaded.notes:
            bars.console.print(f"note: {note}", markup=False, soft_wrap=True)
        space = restricted(search_space(settings, plugins, loaded), only)
        study = _study_of(source, settings, plugins, space, seed, num_cuts)
        search = Search(study, settings, space, trials, seed, bars)
        if search.trials:
            bars.console.print(f"{len(search.trials)} trials are in {trials_path} already", markup=False)
        if num_trials is None or len(search.trials) < num_trials:
            dataset, splits = cuts_for_tuning(loaded, num_cuts)
            deadline = time.monotonic() + minutes * 60
            search.run(Cuts(dataset, splits, settings, plugins, search.show_progress), deadline, num_trials)
        outcome = _outcome(search, trials, seed)
        if outcome.comparison.is_better and num_judge_seeds:
            search.without_limits()
            at_test = Cuts(loaded, [global_time_split(loaded.interactions)], settings, plugins, search.show_progress)
            judged = _judged(study, outcome, at_test, trials, settings, space, num_judge_seeds, seed, bars)
            is_confirmed = judged is not None and judged.overall.difference > 0
            chosen_trial = outcome.best_first[0] if is_confirmed else outcome.present
            outcome = replace(outcome, judgement=judged, chosen=chosen_trial)
    chosen = with_values(settings, space, outcome.chosen.values)
    header = _header(source.name, outcome, seed)
    comment = [f"{FIRST_LINE}: {header[0]}", *(f"# {line}" for line in header[1:])]
    _write(out, "\n".join(comment) + "\n\n" + changes_to_toml(chosen))
    on = console()
    on.print(_table(outcome, space))
    for line in (*header[1:], f"Written: {out}"):
        on.print(line, markup=False)
    return outcome


def _outcome(search: Search, trials: TrialsFile, seed: int) -> Outcome:
    best_first, present = search.best_first(), search.present
    assert present is not None, "the search raises if trial 0 fails"
    best = best_first[0]
    ours, theirs = (cut_by_cut(trials.arrays(trial)) for trial in (best, present))
    comparison = compare_trials(ours, theirs, present.of_cuts, seed=seed)
    return Outcome(search.trials, best_first, present, present, comparison)


def _judged(
    study: str,
    outcome: Outcome,
    at_test: Cuts,
    trials: TrialsFile,
    settings: Settings,
    space: list[Dimension],
    num_seeds: int,
    seed: int,
    bars: Bars,
) -> Judgement | None:
    """Measure the present settings and the best trial's on the test set; None if Ctrl-C stopped it.

    Both measurements are kept among the trials, in a study of their own, so that they are made once.
    """
    judging = f"{study} judged with {num_seeds} seeds"
    best, pair = outcome.best_first[0], []
    try:
        for trial in (outcome.present, best):
            kept = [known for known in trials.of_study(judging) if known.number == trial.number]
            if not kept:
                bars.console.print(f"judging trial {trial.number} on the test set, {num_seeds} seeds", markup=False)
                started = time.monotonic()
                of_trial = with_values(settings, space, trial.values)
                ndcg, arrays = measure_with_seeds(at_test, of_trial, num_seeds)
                num_users = max(len(arrays[f"{segment}.users"]) for segment in ndcg)
                seconds = time.monotonic() - started
                kept = [Trial(judging, trial.number, trial.values, (ndcg,), num_users, seconds)]
                trials.add(kept[0], arrays)
            pair.append(kept[0])
    except KeyboardInterrupt:
        bars.console.print("stopped: the best trial was not judged")
        return None
    present, found = pair
    return judge(present, found, [trials.arrays(present), trials.arrays(found)], num_seeds, seed)


def _study_of(
    source: Source, settings: Settings, plugins: Plugins, space: list[Dimension], seed: int, num_cuts: int
) -> str:
    """Return a digest of everything, besides its values, that affects a trial, or the choice of the next one."""
    key = key_of_model(source.name, plugins.resolved(settings), plugins)
    written = json.dumps(
        [source.name, source.digest, repr(key), [repr(dimension) for dimension in space], seed, num_cuts]
    )
    return hashlib.sha256(written.encode()).hexdigest()[:16]


def _header(dataset: str, outcome: Outcome, seed: int) -> list[str]:
    best, present, comparison = outcome.best_first[0], outcome.present, outcome.comparison
    num_failed = sum(bool(trial.failure) for trial in outcome.trials)
    num_given_up = sum(trial.is_given_up for trial in outcome.trials)
    left = [f"{num_failed} of them failed"] * bool(num_failed) + [f"{num_given_up} given up early"] * bool(num_given_up)
    num_cuts = len(present.of_cuts)
    lines = [
        f"{' '.join(dataset.split())}, {datetime.now(UTC).date()}",
        f"{', '.join([f'{len(outcome.trials)} trials', *left])}; seed {seed}; {present.num_users} users in "
        + ("the validation set, which ends" if num_cuts == 1 else f"{num_cuts} validation sets, the last of which ends")
        + " where the test set begins",
    ]
    if best is not present:
        gain = f"{comparison.difference:+.1%} (one standard error: {comparison.low:+.1%} to {comparison.high:+.1%})"
        lines.append(f"Of the best trial, on what it was chosen by, both segments weighted equally: {gain}")
    if not comparison.is_better:
        lines.append("No trial was better by more than one standard error: the settings are unchanged")
    elif outcome.judgement is None:
        lines.append("The best trial was not judged on the test set: the settings are unchanged; go on to judge it")
    else:
        lines += _verdict(outcome.judgement)
    return lines


def _verdict(judgement: Judgement) -> list[str]:
    """Return what the test set says of the best trial, which is no longer the luckiest of many there."""
    num_seeds, overall = judgement.num_seeds, judgement.overall
    lines = [f"Judged on the test set, which the search never saw, {num_seeds} seed{'s' * (num_seeds > 1)}:"]
    for segment, of in judgement.comparisons.items():
        lines.append(
            f"NDCG@20 {segment}: {judgement.present[segment]:.4f} before, {judgement.found[segment]:.4f} now; "
            f"difference {of.difference:+.4f} (95 %: {of.low:+.4f} to {of.high:+.4f}; p {of.p_value:.2g}; "
            f"{of.num_queries:,} users)"
        )
    told = "" if overall.is_better or overall.is_worse else ", not told from chance"
    lines.append(
        f"Gain on the test set: {overall.difference:+.1%} (95 %: {overall.low:+.1%} to {overall.high:+.1%}){told}"
    )
    if overall.difference <= 0:
        lines.append("It is not better there: the settings are unchanged")
    return lines


def _table(outcome: Outcome, space: list[Dimension]) -> Table:
    table = Table(title="The best trials, by NDCG@20 on the validation sets", title_justify="left")
    for heading in ("trial", "gain", *outcome.present.ndcg, "seconds"):
        table.add_column(heading, justify="right")
    table.add_column("changes")
    shown = outcome.best_first[:_NUM_SHOWN]
    for trial in [*shown, *([] if outcome.present in shown else [outcome.present])]:
        gain = score_of_cuts(trial, outcome.present) - 1.0
        figures = [f"{trial.ndcg[segment]:.4f}" for segment in (NEW, ALL) if segment in trial.ndcg]
        changes = in_words(space, trial.values) or "none: the present settings"
        style = "bold" if trial is outcome.chosen else None
        table.add_row(str(trial.number), f"{gain:+.1%}", *figures, f"{trial.seconds:.0f}", changes, style=style)
    return table


def _check_out(out: Path) -> None:
    """Refuse to overwrite a file that `tune` did not write, before the minutes that the search takes.

    Raises:
        SettingsError: If the file exists and is not one of ours, or its folder cannot be made.
    """
    try:
        if out.exists() and not out.read_text(encoding="utf-8").startswith(FIRST_LINE):
            raise SettingsError(f"{out} exists and was not written by `springtide tune`: name another with --out")
        out.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{out} cannot be written: {error}") from error


def _write(out: Path, text: str) -> None:
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{out} cannot be written: {error.strerror}") from error
