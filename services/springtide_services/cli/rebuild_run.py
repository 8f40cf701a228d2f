"""What the `rebuild` command does."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.markup import escape

from springtide.checkpoint import Checkpoint, CheckpointLock, CheckpointStore
from springtide.checkpoint.lock_holder import LockHolder
from springtide.checkpoint.lock_timing import LockTiming
from springtide.checkpoint.manifest import left_out_from_json
from springtide.checkpoint.manifest_files import MANIFESTS
from springtide.checkpoint.writing import SEGMENTS
from springtide.clock import wall_ms
from springtide.errors import CheckpointError, CheckpointLockedError, RebuildError
from springtide.events.skips import Skips
from springtide.plugins.loading import load_serving_plugins
from springtide.settings.model import Settings
from springtide.state import LeftOut
from springtide.storage import Storage
from springtide_services.serving.client import AccessRefusedError, Client, Credentials, ServerCallError
from springtide_services.stream.rebuilding import Rebuilt, rebuild_state, rebuilt_url
from springtide_services.stream.topics import with_client_id
from springtide_services.terminal import console, progress

_POLL_S = 0.3
_MAX_SILENCE_S = 60.0  # A server that has not answered for that long has gone.
_STAGES = {
    "restore": "the server reads it",
    "catch_up": "the server reads what was published meanwhile",
    "swap": "the server takes it over",
    "checkpoint": "the server writes a checkpoint",
}


class RebuildRun:
    """Makes a state anew and puts it in the place of the one that is there.

    Args:
        settings: All settings.
        address: Address of the server's listener for operators; the server need not run.
        credentials: What to show there, and whom to trust.
    """

    def __init__(self, settings: Settings, address: str, credentials: Credentials | None = None) -> None:
        self._credentials = credentials
        self._settings = settings.model_copy(update={"kafka": with_client_id(settings.kafka, "rebuild")})
        self._address = address
        self._out = console(stderr=True)

    def run(
        self,
        skips: Skips,
        *,
        from_what_is_left: bool,
        forgets_skips: bool,
        confirm: Callable[[str], object],
    ) -> None:
        """Rebuild.

        Args:
            skips: What to leave out.
            from_what_is_left: Whether to read a topic that has lost its beginning.
            forgets_skips: Whether to read what former rebuilds left out.
            confirm: Called with a question before the state is replaced; raises to refuse.

        Raises:
            RebuildError: If the topic has lost its beginning, or the server does not take the state over.
            CheckpointLockedError: If another process writes the checkpoints, and is no server at the address.
            BrokerError: If the broker does not answer, or refuses.
        """
        has_server = self._has_server()
        takeover_s = self._settings.checkpoint.takeover_s
        lock = CheckpointLock(self._settings.checkpoint.url, LockTiming.replacing_after(takeover_s))
        if not has_server:
            self._acquire(lock)
        try:
            with self._only_one():
                try:
                    self._run(skips, lock if not has_server else None, from_what_is_left, forgets_skips, confirm)
                finally:
                    for folder in (MANIFESTS, SEGMENTS):
                        Storage(rebuilt_url(self._settings)).delete_folder(folder)
        finally:
            lock.release()

    @contextmanager
    def _only_one(self) -> Iterator[None]:
        """Keep other rebuilds of the same checkpoints from running.

        Raises:
            CheckpointLockedError: If another one runs.
        """
        lock = CheckpointLock(rebuilt_url(self._settings))
        try:
            lock.acquire()
        except CheckpointLockedError as error:
            who = f" ({error.holder})" if error.holder else ""
            raise CheckpointLockedError(f"another rebuild is running: wait until it is done{who}") from error
        try:
            yield
        finally:
            lock.release()

    def _run(
        self,
        skips: Skips,
        lock: CheckpointLock | None,
        from_what_is_left: bool,
        forgets_skips: bool,
        confirm: Callable[[str], object],
    ) -> None:
        """Rebuild, with the lock of the checkpoints; None if a server has it."""
        latest = self._latest()
        earlier = () if forgets_skips or latest is None else _left_out(latest)
        self._name_earlier(earlier)
        rebuilt = self._read(skips, earlier, from_what_is_left=from_what_is_left)
        if latest is not None:
            rebuilt.state.keep_time_of(latest.newest_ms, latest.behind_ms)
        self._summarise(rebuilt, latest)
        confirm("Let the new graph take the place of the old one?")
        if lock is None:
            self._hand_over(rebuilt)
        else:
            name = self._store(lock).write(rebuilt.state.snapshot()).name
            console().print(f"checkpoint {name} holds the new graph; a server that starts reads on from there")
        if any(any(each.num_events.values()) for each in rebuilt.left_out if each.skips == skips):
            console().print(
                "models learned from what is left out until they are trained anew: `springtide train --mode retrain`",
                soft_wrap=True,
            )

    def _has_server(self) -> bool:
        with Client(self._address, credentials=self._credentials) as client:
            try:
                client.status()
            except AccessRefusedError:  # Better now than when all is read.
                raise
            except ServerCallError:
                return client.is_serving()
        return True

    def _acquire(self, lock: CheckpointLock) -> None:
        try:
            lock.acquire(on_wait=self._say_wait)
        except CheckpointLockedError as error:
            raise CheckpointLockedError(
                f"{error}; or if that is a server, name it: `--address HOST:PORT` (none answers at {self._address})"
            ) from error

    def _latest(self) -> Checkpoint | None:
        try:
            store = self._store()
            latest = store.latest()
            for name in store.names()[:1]:
                if latest is not None and latest.name != name:
                    self._out.print(
                        f"[yellow]checkpoint {name} is damaged:[/] what rebuilds left out is of {latest.name}"
                    )
            return latest
        except CheckpointError as error:
            self._out.print(f"[yellow]what former rebuilds left out cannot be read:[/] {escape(str(error))}")
            return None

    def _store(self, lock: CheckpointLock | None = None) -> CheckpointStore:
        return CheckpointStore(self._settings.checkpoint.url, self._settings.checkpoint.keep, lock)

    def _name_earlier(self, earlier: Sequence[LeftOut]) -> None:
        for words in (words for each in earlier for words in each.skips.describe()):
            self._out.print(escape(f"still left out since a former rebuild: {words} (--forget-skips reads them again)"))

    def _read(self, skips: Skips, earlier: Sequence[LeftOut], *, from_what_is_left: bool) -> Rebuilt:
        plugins = load_serving_plugins(self._settings)
        with progress(self._out) as bars:
            task = bars.add_task("Read", total=None, note=self._settings.kafka.topic)
            return rebuild_state(
                *(self._settings, plugins, skips, earlier),
                lambda done, total: bars.update(task, completed=done, total=total),
                from_what_is_left=from_what_is_left,
            )

    def _summarise(self, rebuilt: Rebuilt, latest: Checkpoint | None) -> None:
        state, out = rebuilt.state, console()
        before = "" if latest is None else f" (checkpoint {latest.name}: {latest.num_edges:,})"
        out.print(f"read {rebuilt.num_records:,} records: {state.graph.num_edges:,} edges{before}", soft_wrap=True)
        if rebuilt.num_refused:
            out.print(f"refused {rebuilt.num_refused:,} events, which are in the dead-letter topic")
        for left_out in rebuilt.left_out:
            for words, count in left_out.num_events.items():
                nothing = "" if count else "  [yellow]nothing matches[/]"
                out.print(f"left out {count:,}: {escape(words)}{nothing}", soft_wrap=True)

    def _hand_over(self, rebuilt: Rebuilt) -> None:
        """Give the state to the server, and wait until its checkpoint holds it.

        Raises:
            RebuildError: If the server does not take it over.
        """
        name = CheckpointStore(rebuilt_url(self._settings)).write(rebuilt.state.snapshot()).name
        with (
            Client(self._address, credentials=self._credentials) as client,
            self._out.status("the server takes the new graph over") as shown,
        ):
            client.serve_rebuild(name)
            answered_s = time.monotonic()
            while True:
                time.sleep(_POLL_S)
                try:
                    status = client.status().rebuild
                except AccessRefusedError:
                    raise
                except ServerCallError as error:
                    if time.monotonic() - answered_s > _MAX_SILENCE_S:
                        raise RebuildError(f"the server has gone while it took the new graph over: {error}") from error
                    continue
                answered_s = time.monotonic()
                if status.rebuilt != name or status.stage == "failed":
                    why = status.failure or "it has started again"
                    raise RebuildError(f"the server has not taken the new graph over, and serves the old one: {why}")
                if status.stage == "done":
                    break
                shown.update(_STAGES.get(status.stage, status.stage))
        console().print(f"the server at {self._address} serves the new graph; checkpoint {status.checkpoint} holds it")

    def _say_wait(self, former: LockHolder, at_most_s: float) -> None:
        who = former.describe(wall_ms())
        self._out.print(f"waiting up to {at_most_s:g} s to see whether the former writer still runs: {who}")


def _left_out(checkpoint: Checkpoint) -> tuple[LeftOut, ...]:
    return left_out_from_json(checkpoint.manifest.get("left_out", ()))
