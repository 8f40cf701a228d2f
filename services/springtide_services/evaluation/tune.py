"""The `tune` command: searches for settings that rank a data set better, and writes them as TOML."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table

from springtide.errors import SettingsError
from springtide.evaluation.data import Dataset, fetch
from springtide.evaluation.measures.mean_metrics import ALL, NEW
from springtide.evaluation.measures.significance import Comparison
from springtide.evaluation.plan import key_of_model
from springtide.evaluation.protocols import TrainTestProtocol
from springtide.evaluation.tuning.objective import Trial, compare_trials, cut_for_tuning, score
from springtide.evaluation.tuning.search_space import Dimension, in_words, search_space, with_values
from springtide.evaluation.tuning.trials import TrialsFile
from springtide.event_files import ReadOptions
from springtide.plugins.loading import Plugins, load_checked_plugins
from springtide.settings.model import Settings
from springtide.settings.view import changes_to_toml
from springtide_services.evaluation.sources import Source, source_of
from springtide_services.evaluation.tuning_search import Search, check_optuna
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
    """

    trials: list[Trial]
    best_first: list[Trial]
    present: Trial
    chosen: Trial
    comparison: Comparison


def tune_and_write(
    named: str,
    settings: Settings,
    *,
    minutes: float,
    num_trials: int | None,
    seed: int,
    out: Path,
    trials_path: Path,
    options: ReadOptions = _AS_IT_IS,
    fetch_dataset: Callable[[str], Dataset] = fetch,
) -> Outcome:
    """Search for settings with a higher NDCG@20 on the validation set, and write the best as TOML.

    If no trial is better than the present settings by more than one standard error, the present settings are written.

    Args:
        named: Name of a public data set, or path of a file.
        settings: The present settings, with which the search starts.
        minutes: Time limit, without reading the data set.
        num_trials: Number of trials in all, those of earlier runs included; None for as many as fit into the time.
        seed: Seed of the search.
        out: File for the settings.
        trials_path: The trials file.
        options: How a file is read.
        fetch_dataset: Returns a public data set by its name.

    Raises:
        DatasetError: If the data set cannot be fetched or read.
        SettingsError: If Optuna is missing, or a file cannot be read or written.
        TrainingError: If the present settings cannot be trained.
    """
    check_optuna()
    _check_out(out)
    plugins = load_checked_plugins(settings)
    space = search_space(settings, plugins)
    source = source_of(named, options, fetch_dataset)
    trials = TrialsFile(trials_path)
    study = _study_of(source, settings, plugins, space, seed)
    with progress(console(stderr=True)) as bars:
        search = Search(study, settings, space, trials, seed, bars)
        if search.trials:
            bars.console.print(f"{len(search.trials)} trials are in {trials_path} already", markup=False)
        if num_trials is None or len(search.trials) < num_trials:
            loaded = source.load()
            for note in loaded.notes:
                bars.console.print(f"note: {note}", markup=False, soft_wrap=True)
            dataset, split = cut_for_tuning(loaded)
            deadline = time.monotonic() + minutes * 60
            search.run(TrainTestProtocol(dataset, split, settings, plugins, search.show_progress), deadline, num_trials)
    outcome = _outcome(search, trials, seed)
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
    comparison = compare_trials(trials.arrays(best), trials.arrays(present), present.ndcg, seed=seed)
    return Outcome(search.trials, best_first, present, best if comparison.is_better else present, comparison)


def _study_of(source: Source, settings: Settings, plugins: Plugins, space: list[Dimension], seed: int) -> str:
    """Return a digest of everything, besides its values, that affects a trial, or the choice of the next one."""
    key = key_of_model(source.name, plugins.resolved(settings), plugins)
    written = json.dumps([source.name, source.digest, repr(key), [repr(dimension) for dimension in space], seed])
    return hashlib.sha256(written.encode()).hexdigest()[:16]


def _header(dataset: str, outcome: Outcome, seed: int) -> list[str]:
    best, present, comparison = outcome.best_first[0], outcome.present, outcome.comparison
    num_failed = sum(bool(trial.failure) for trial in outcome.trials)
    failed = f", {num_failed} of them failed" if num_failed else ""
    kept = outcome.chosen is present
    lines = [
        f"{' '.join(dataset.split())}, {datetime.now(UTC).date()}",
        f"{len(outcome.trials)} trials{failed}; seed {seed}; {present.num_users} users in the validation set, which "
        "ends where the test set begins",
    ]
    if best is not present:
        after = "best, within one standard error" if kept else "now"
        lines += [
            f"NDCG@20 {segment}: {present.ndcg[segment]:.4f} before, {best.ndcg[segment]:.4f} {after}"
            for segment in present.ndcg
        ]
        lines.append(
            f"Gain, both segments weighted equally: {comparison.difference:+.1%} "
            f"(one standard error: {comparison.low:+.1%} to {comparison.high:+.1%})"
        )
    if kept:
        lines.append("No trial was better by more than one standard error: the settings are unchanged")
    return lines


def _table(outcome: Outcome, space: list[Dimension]) -> Table:
    table = Table(title="The best trials, by NDCG@20 on the validation set", title_justify="left")
    for heading in ("trial", "gain", *outcome.present.ndcg, "seconds"):
        table.add_column(heading, justify="right")
    table.add_column("changes")
    shown = outcome.best_first[:_NUM_SHOWN]
    for trial in [*shown, *([] if outcome.present in shown else [outcome.present])]:
        gain = score(trial.ndcg, outcome.present.ndcg) - 1.0
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
