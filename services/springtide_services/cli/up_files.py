"""`springtide up FILE…`: from files of events to recommendations, stage by stage, each with a bar and its seconds."""

import contextlib
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from springtide.event_files import EventFile, EventFileError, ReadOptions
from springtide.settings.model import Settings
from springtide.v1 import admin_pb2, recommender_pb2
from springtide_services.cli.answer_tables import answer_table, foot
from springtide_services.cli.publish import JOURNAL_FOLDER, check_events, publish_checked, show_notes
from springtide_services.local.up import Running, run_up
from springtide_services.serving.client import AccessRefusedError, Client, ServerCallError
from springtide_services.stream.event_files import open_events
from springtide_services.terminal import StageBars, console, progress

_POLL_S = 0.1
_NUM_SHOWN = 5
_SWAP_BUDGET_S = 10.0  # From a published model to its use: the server looks for one each second.


def up_with_files(
    settings: Settings,
    settings_path: Path | None,
    paths: Sequence[Path],
    options: ReadOptions,
    *,
    is_ephemeral: bool = False,
    has_console: bool = True,
) -> None:
    """Check files, start everything, publish them, train a first model, show an answer, and stay up until Ctrl-C.

    Args:
        settings: The settings that the children load too.
        settings_path: The settings file, if it is named on the command line.
        paths: The files, in the order in which they are published.
        options: How they are read.
        is_ephemeral: As in ``run_up``.
        has_console: Likewise.

    Raises:
        EventFileError: If a file cannot be read, or has no event that the server would take; nothing is started then.
        Exception: As ``run_up``.
    """
    out = console(stderr=True)
    started_s = time.monotonic()
    with contextlib.ExitStack() as stack:
        files = [(path, stack.enter_context(open_events(path, settings, options))) for path in paths]
        with progress(out) as bars:
            num_events = sum(_checked(file, path, settings, bars) for path, file in files)
        if not num_events:
            raise EventFileError(f"no event in {', '.join(map(str, paths))} that a server with these settings takes")
        bars = stack.enter_context(progress(out))
        starting = bars.add_task("Start", total=None, note="broker, server, trainer, console")

        def on_ready(running: Running) -> str:
            bars.update(starting, total=1, completed=1)
            user = _Loading(running, bars, out).load(files)
            seconds = time.monotonic() - started_s
            out.print(f"\nFrom the file{'s' * (len(files) > 1)} to this answer: {seconds:.1f} s.")
            return user

        run_up(settings, settings_path, on_ready, is_ephemeral=is_ephemeral, has_console=has_console)


def _checked(file: EventFile, path: Path, settings: Settings, bars: Progress) -> int:
    """Check a file, and return how many of its events a server with the settings will take."""
    found = check_events(file, settings, bars, "Nothing was started.", note=path.name)
    show_notes((f"{path.name}: {note}" for note in found.notes), bars)
    return file.num_rows - found.num_refused


class _Loading:
    """The stages once everything runs.

    Args:
        running: What runs.
        bars: Where bars are shown.
        out: Where the answer is shown.
    """

    def __init__(self, running: Running, bars: Progress, out: Console) -> None:
        self._running = running
        self._bars = bars
        self._out = out

    @property
    def _client(self) -> Client:
        return self._running.client

    def load(self, files: Sequence[tuple[Path, EventFile]]) -> str:
        """Publish files, wait until they are read, train a model, show an answer, and return whom it is for."""
        user, counts = self._publish(files)
        status = self._status()
        if status.model_version:
            self._say(f"model {status.model_version} serves already; the trainer goes on by its schedule")
        elif counts["interaction"] + counts["batch"] == 0:
            self._say("no model: the files have no interactions")
        else:
            self._train()
        self._bars.stop()
        if user:
            self._show_answer(user)
        return user

    def _publish(self, files: Sequence[tuple[Path, EventFile]]) -> tuple[str, Counter[str]]:
        """Publish the files, wait until the graph has them, and return the last user and the number of events."""
        running = self._running
        before = dict(self._status().position.next_offsets)
        wanted: dict[int, int] = {}
        counts: Counter[str] = Counter()
        user = ""
        folder = running.folder / "published" if running.is_embedded else JOURNAL_FOLDER
        for path, file in files:
            published = publish_checked(
                *(running.settings, file, path, self._bars), journal_folder=folder, on_progress=running.check
            )
            user = published.last_user or user
            counts.update(published.counts)
            wanted.update(published.next_offsets)
        # A record holds many events: the bar counts events, as the others do, and moves with the records.
        num_records = sum(offset - before.get(number, 0) for number, offset in wanted.items())
        num_events = sum(counts.values())
        task = self._bars.add_task("Read into the graph", total=num_events, note="")
        while (num_missing := self._num_missing(wanted)) > 0:
            self._bars.update(task, completed=num_events * max(0, num_records - num_missing) // max(1, num_records))
            self._wait()
        self._bars.update(task, completed=num_events)
        if refused := self._status().num_dead_letters:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(refused.items()))
            self._say(f"refused, in the dead-letter topic now: {reasons}")
        return user, counts

    def _num_missing(self, wanted: Mapping[int, int]) -> int:
        """Return how many records the graph has still to read up to the wanted offsets."""
        reached = self._status().position.next_offsets
        return sum(max(0, offset - reached.get(number, 0)) for number, offset in wanted.items())

    def _train(self) -> None:
        """Let the first model be trained, and wait until it serves; a failure is said, and everything stays up.

        Whichever training makes it is good: the trainer may have begun one by its schedule.
        """
        stages = StageBars(self._bars, "Train")
        stages.show("start", note="in its own process")
        status, request_id, give_up_s = self._status(), "", math.inf
        if not _is_under_way(status.training):
            request_id = self._client.start_training(admin_pb2.TRAINING_MODE_UNSPECIFIED).request_id
        while not status.model_version and time.monotonic() < give_up_s:
            training = status.training
            if _is_under_way(training):
                loss = training.loss if training.HasField("loss") else None
                stages.show(training.stage, training.done, training.total, loss)
                request_id = training.request_id
            elif training.request_id == request_id and training.failure:
                self._say(f"no model yet: {training.failure}")
                return
            elif training.request_id == request_id and training.stage == "done" and math.isinf(give_up_s):
                stages.show("swap in")
                give_up_s = time.monotonic() + _SWAP_BUDGET_S
            self._wait()
            status = self._status()
        stages.finish()

    def _show_answer(self, user: str) -> None:
        """Show what is recommended to the user of the last event."""
        view = recommender_pb2.RECOMMEND_VIEW_FULL
        response = self._client.recommend(recommender_pb2.RecommendRequest(user=user, count=_NUM_SHOWN, view=view))
        self._out.print()
        self._out.print(Text(f"For the user of the last event, {user}:", "bold"))
        self._out.print(answer_table(response))
        self._out.print(foot(response), markup=False)

    def _status(self) -> admin_pb2.GetStatusResponse:
        """Return the server's status; wait for a server that has crashed and is started again."""
        while True:
            try:
                return self._client.status()
            except AccessRefusedError:  # The token in SPRINGTIDE_TOKEN is not good for it.
                raise
            except ServerCallError:
                self._wait()

    def _wait(self) -> None:
        self._running.check()
        time.sleep(_POLL_S)

    def _say(self, words: str) -> None:
        show_notes([words], self._bars)


def _is_under_way(training: admin_pb2.TrainingStatus) -> bool:
    return training.stage not in ("", "done", "failed")
