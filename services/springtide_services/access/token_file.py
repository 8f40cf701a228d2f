"""The file of tokens: read, added to, revoked in, and looked at for changes."""

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import structlog

from springtide.errors import SettingsError
from springtide.settings.sections.serving import TokenSettings
from springtide_services.access.tokens import Token

logger = structlog.stdlib.get_logger(__name__)

_MAX_BYTES = 16 * 1024 * 1024  # Some 60,000 tokens.
_MISSING_LOOKS = 2  # A file that is written anew may be missing for a moment; after that, nobody has a token.


class KnownTokens:
    """All tokens that a server knows, by id; ``look`` takes over what has changed in the file.

    To be read from any thread: the table is replaced as one.

    Attributes:
        by_id: The tokens.

    Args:
        settings: Name the file, or give the lines.

    Raises:
        SettingsError: If the file cannot be read, or a line of the settings is none.
    """

    def __init__(self, settings: TokenSettings) -> None:
        self._file = None if settings.file is None else Path(settings.file)
        try:
            self._given = [Token.from_line(line) for line in settings.lines]
        except ValueError as error:
            raise SettingsError(f"server.tokens.lines: {error}") from error
        self._seen: tuple[int, ...] | None = None
        self._num_missing = 0
        self.by_id: Mapping[str, Token] = {}
        if self._file is None:
            self._take(())
            return
        try:
            self._seen, tokens = _stamp(self._file), read_tokens(self._file)
        except OSError as error:
            raise SettingsError(
                f"server.tokens.file: {self._file} cannot be read: {error.strerror or error}"
            ) from error
        self._take(tokens)

    def look(self) -> bool:
        """Read the file if it has changed, and return whether it has; a file that stays away leaves nobody a token."""
        if self._file is None:
            return False
        try:
            stamp = _stamp(self._file)
            if stamp == self._seen:
                self._num_missing = 0
                return False
            tokens = read_tokens(self._file)
        except OSError as error:
            self._num_missing += 1
            if self._num_missing != _MISSING_LOOKS:
                return False
            logger.error("tokens_not_read", path=str(self._file), error=str(error.strerror or error))
            stamp, tokens = None, []
        else:
            self._num_missing = 0
        self._seen = stamp
        self._take(tokens)
        logger.info("tokens_read", tokens=len(self.by_id))
        return True

    def _take(self, tokens: Iterable[Token]) -> None:
        self.by_id = {token.id: token for token in (*self._given, *tokens)}


def read_tokens(path: Path) -> list[Token]:
    """Read a file of tokens; a line that is none gives nobody a token, and is logged by its number.

    Raises:
        OSError: If it cannot be read, or is no file of tokens by its size.
    """
    with path.open("rb") as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise OSError(f"larger than {_MAX_BYTES:,} bytes")
    tokens: dict[str, Token] = {}
    for number, line in enumerate(content.decode("utf-8", errors="replace").splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            token = Token.from_line(line)
        except ValueError as error:
            logger.error("token_line_unreadable", path=str(path), line=number, reason=str(error))
            continue
        tokens[token.id] = token
    return list(tokens.values())


def add_token(path: Path, token: Token) -> None:
    """Add a token to a file, which is made if it is missing: then only its owner may read it.

    Raises:
        SettingsError: If it cannot be written.
    """
    with _refusing(path), _locked(path):
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        with open(descriptor, "r+b") as file:
            is_cut = file.seek(0, os.SEEK_END) > 0 and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n"
            file.write(b"\n" * is_cut + token.to_line().encode() + b"\n")
            file.flush()
            os.fsync(descriptor)


def revoke_tokens(path: Path, named: str, now_ms: int) -> list[Token]:
    """Revoke the token of an id, or all of a name, and return those that were not revoked before.

    Raises:
        SettingsError: If there is none, or the file cannot be read or written.
    """
    with _refusing(path), _locked(path):
        revoked = {
            token.id: token.revoked(now_ms)
            for token in read_tokens(path)
            if named in (token.id, token.name) and token.revoked_ms is None
        }
        if not revoked:
            raise SettingsError(f"no token {named!r} that is not revoked already (`springtide tokens list` shows all)")
        lines = path.read_text(encoding="utf-8").splitlines()
        former = path.stat()
        new = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.writelines(f"{_revoked_line(line, revoked)}\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), former.st_mode & 0o777)
            with contextlib.suppress(PermissionError):
                os.fchown(file.fileno(), former.st_uid, former.st_gid)
        new.replace(path)
    return list(revoked.values())


def _revoked_line(line: str, revoked: Mapping[str, Token]) -> str:
    """Return a line as it stands after tokens were revoked; those that are none, such as comments, stay."""
    try:
        token = Token.from_line(line)
    except ValueError:
        return line
    return revoked[token.id].to_line() if token.id in revoked else line


@contextlib.contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SettingsError(f"file of tokens {path}: {error.strerror or error}") from error


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other commands from changing the file meanwhile."""
    folder = os.open(path.parent, os.O_RDONLY)  # Of the file there may be another one a moment later.
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _stamp(path: Path) -> tuple[int, ...]:
    """Return what changes when a file does, its replacement by another one included."""
    found = path.stat()
    return found.st_mtime_ns, found.st_ino, found.st_size
