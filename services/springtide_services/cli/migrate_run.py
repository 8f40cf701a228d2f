"""What the `state migrate` command does."""

from pathlib import Path

from rich.markup import escape

from springtide.checkpoint import CheckpointLock, CheckpointStore
from springtide.checkpoint.lock_timing import LockTiming
from springtide.checkpoint.manifest_files import FORMAT
from springtide.checkpoint.migrating import Outdated, migrate_checkpoints, outdated_checkpoints
from springtide.errors import JournalError, ModelError
from springtide.model.migrating import ModelMigration
from springtide.plugins.loading import load_serving_plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide_services.cli.checkpoint_tables import say_wait
from springtide_services.stream.journal import FOLDER, read_version
from springtide_services.terminal import console


class MigrateRun:
    """Brings checkpoints, models and the journal into the format of this release.

    Args:
        settings: All settings.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._out = console()

    def run(self, *, dry_run: bool) -> bool:
        """Do it, and print what was done.

        Args:
            dry_run: Whether to print what would be done, and change nothing.

        Returns:
            Whether nothing of an earlier format is left; always true of a dry run.

        Raises:
            CheckpointLockedError: If a server runs on the checkpoints.
            SpringtideError: If something cannot be read, or a later release has written it; what is old is there then.
        """
        self._journal()
        self._checkpoints(dry_run)
        return self._models(dry_run)

    def _checkpoints(self, dry_run: bool) -> None:
        url = self._settings.checkpoint.url
        store = CheckpointStore(url)
        outdated = outdated_checkpoints(store)
        if not outdated:
            what = f"all {len(store.names())} are of format {FORMAT}" if store.names() else "there is none"
            self._say(f"checkpoints at {url}: {what}, nothing to do")
            return
        for each in outdated:
            self._say(f"checkpoint {each.name}: {each.reason}")
        newest = store.names()[0]
        if dry_run:
            would = "would be written anew" if newest in {each.name for each in outdated} else "would be read again"
            self._say(
                f"checkpoints at {url}: {newest} {would} in format {FORMAT}, and the {len(outdated)} above deleted"
            )
            return
        self._migrate_checkpoints(url, outdated)

    def _migrate_checkpoints(self, url: str, outdated: list[Outdated]) -> None:
        settings = self._settings
        plugins = load_serving_plugins(settings)
        lock = CheckpointLock(url, LockTiming.replacing_after(settings.checkpoint.takeover_s))
        lock.acquire(on_wait=say_wait)
        try:
            done = migrate_checkpoints(
                *(url, lock, lambda: LiveState(settings, make_context_weights(settings.ranking, plugins)), outdated)
            )
        finally:
            lock.release()
        for name, fault in done.damaged:
            self._say(f"checkpoint {name} is damaged, and left to the server: {fault}")
        newest = done.newest
        if done.source is None:
            self._say(f"checkpoint {newest.name} is of format {FORMAT}, and whole: every file was read again")
        else:
            how = "its content is the same" if done.compared else "all files and counts are right"
            self._say(
                f"checkpoint {newest.name} of format {FORMAT} holds what {done.source.name} held, "
                f"{newest.num_events:,} events and {newest.num_edges:,} edges; it was read again, and {how}"
            )
        self._say(f"deleted: {', '.join(done.dropped)}")

    def _models(self, dry_run: bool) -> bool:
        url = self._settings.model.url
        migration = ModelMigration(url)
        outdated = migration.outdated()
        is_done = True
        for version, reason in migration.unreadable().items():
            self._say(f"model {version} cannot be read, and is left as it is: {reason}")
            is_done = dry_run
        if not outdated:
            self._say(f"models at {url}: {'nothing to do' if is_done else 'the others are of the format of now'}")
        for version, reason in outdated.items():
            name = f"model {version}" if version else "the pointer to the current model"
            if dry_run:
                self._say(f"{name} would be written anew: {reason}")
                continue
            try:
                migration.migrate(version)
            except ModelError as error:
                self._say(f"{name} was left as it is: {error}")
                is_done = False
            else:
                self._say(f"{name} was written anew, and read again; it had {reason}")
        return is_done

    def _journal(self) -> None:
        folder = Path(self._settings.checkpoint.journal or FOLDER)
        try:
            version = read_version(folder)
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise JournalError(f"journal {folder}: {error}") from error
        if version is not None:
            self._say(f"journal at {folder}: version {version}, nothing to do")

    def _say(self, text: str) -> None:
        self._out.print(escape(text), soft_wrap=True)
