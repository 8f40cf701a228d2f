"""Searching every file that server and trainer keep for an id."""

import contextlib
import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec

from springtide.errors import SpringtideError
from springtide.settings.model import Settings
from springtide.steering.store import url_of
from springtide.token_search import Token
from springtide_services.forgetting.contents import Content, has_token
from springtide_services.stream.journal import FOLDER

_MAX_NAMED = 20  # Files that a place names.


@dataclass(frozen=True, slots=True)
class Place:
    """Where files are kept.

    Attributes:
        name: In words.
        url: A folder or a file, local or on anything that fsspec knows.
    """

    name: str
    url: str


@dataclass(slots=True)
class Searched:
    """What the search of a place has found.

    Attributes:
        place: The place.
        num_files: Files searched.
        num_bytes: Their size, before anything is decompressed.
        found: Paths of files that have the id, the first of them.
        num_found: How many have it.
        seen: Path, size and time of each file that has none, so that another search need not read it again.
    """

    place: Place
    num_files: int = 0
    num_bytes: int = 0
    found: list[str] = field(default_factory=list)
    num_found: int = 0
    seen: dict[str, object] = field(default_factory=dict, repr=False)


def places_of(settings: Settings) -> list[Place]:
    """Return all places where server and trainer keep files under these settings."""
    model_url = settings.model.url.rstrip("/")
    parent, separator, _ = model_url.rpartition("/")
    places = [
        Place("checkpoints", settings.checkpoint.url),
        Place("model registry", model_url),
        Place("trainings", f"{parent}{separator}training"),
        Place("rules and scenarios", url_of(settings)),
        Place("file of rules", settings.steering.file),
        Place("journal", settings.checkpoint.journal or FOLDER),
        Place("dead-letter file", settings.kafka.dead_letter_file),
    ]
    return [place for place in places if place.url]


def search(place: Place, token: Token, before: Searched | None = None) -> Searched:
    """Search all files of a place for an id; files that go meanwhile are gone.

    Args:
        place: The place.
        token: The id.
        before: A search of a moment ago: files that have not changed since are not read again.

    Raises:
        SpringtideError: If a file or a folder cannot be read: then nothing is proven.
    """
    searched = Searched(place)
    for path, num_bytes, stamp, files in _files_in(place):
        searched.num_files += 1
        searched.num_bytes += num_bytes
        if before is not None and stamp is not None and before.seen.get(path) == stamp:
            searched.seen[path] = stamp
            continue
        try:
            with _content_of(files, path, num_bytes) as content:
                is_found = has_token(path.rpartition("/")[2], content, token)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise SpringtideError(f"{path}: cannot be searched: {error}") from error
        if not is_found:
            searched.seen[path] = stamp
            continue
        searched.num_found += 1
        if len(searched.found) < _MAX_NAMED:
            searched.found.append(path)
    return searched


def search_all(places: Sequence[Place], token: Token, before: Sequence[Searched] = ()) -> list[Searched]:
    """Search some places; see ``search``."""
    earlier = {each.place: each for each in before}
    return [search(place, token, earlier.get(place)) for place in places]


def _files_in(place: Place) -> Iterator[tuple[str, int, object, Any]]:
    """Yield path, size, what changes with the content, and the file system of each file, temporary ones too."""
    try:
        files, root = fsspec.core.url_to_fs(place.url)
        files.invalidate_cache()
        if files.isfile(root):
            found = {root: files.info(root)}
        else:
            found = files.find(root, detail=True) if files.exists(root) else {}
    except (OSError, ValueError, ImportError) as error:  # Such as a protocol whose package is not installed.
        raise SpringtideError(f"{place.url}: cannot be searched: {error}") from error
    for path, about in sorted(found.items()):
        stamp = about.get("ETag") or about.get("mtime")
        yield path, int(about.get("size") or 0), None if stamp is None else (str(stamp), about.get("size")), files


@contextlib.contextmanager
def _content_of(files: Any, path: str, num_bytes: int) -> Iterator[Content]:
    """Give the content of a file: a local one is mapped, so that large ones need no memory."""
    protocol = files.protocol
    is_local = "file" in ((protocol,) if isinstance(protocol, str) else protocol)
    if not is_local or not num_bytes:
        yield files.cat_file(path)
        return
    with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        view = memoryview(content)
        try:
            yield view
        finally:
            with contextlib.suppress(BufferError):  # Arrays may still lie in it; they go with it.
                view.release()
