"""Whether a file has an id: each kind of file is searched as what it holds, compressed ones decompressed."""

import bz2
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from springtide.checkpoint.array_files import ARRAYS, DamagedFileError
from springtide.checkpoint.array_files import arrays_in as checkpoint_arrays_in
from springtide.checkpoint.files import ARROW
from springtide.checkpoint.npz_files import NPZ
from springtide.events import RawEvent
from springtide.model.artifact_files import arrays_in as model_arrays_in
from springtide.storage import TEMPORARY_PREFIX
from springtide.token_search import Token
from springtide_services.stream.journal import SUFFIX as RECORDS
from springtide_services.stream.journal import entries_in

Content = bytes | memoryview

_MAX_DEPTH = 4  # Of compressed files in compressed files.
_UNREADABLE = (ValueError, KeyError, TypeError, OSError, EOFError, RecursionError, DamagedFileError, zipfile.BadZipFile)


def has_token(name: str, content: Content, token: Token, depth: int = 0) -> bool:
    """Return whether a file has an id.

    What is not what its name says, such as a damaged file or one that was cut off, is searched as bytes; a longer id
    then counts, too.

    Args:
        name: Its name, whose end says what it holds.
        content: Its content.
        token: The id.
        depth: How many files it is in.
    """
    if token.is_in_text(name):
        return True
    if name.startswith(TEMPORARY_PREFIX):  # Of a writer that is at it, or was killed.
        name = name.removeprefix(TEMPORARY_PREFIX).rpartition("-")[0]
    if depth < _MAX_DEPTH:
        for mark, decompress in _COMPRESSED.items():
            if content[: len(mark)] == mark:
                try:
                    return has_token(name.rpartition(".")[0], decompress(bytes(content)), token, depth + 1)
                except (*_UNREADABLE, lzma.LZMAError):
                    break
    for suffix, search in _SEARCHES.items():
        if name.endswith(suffix):
            try:
                return search(content, token)
            except _UNREADABLE:  # Texts may lie there without anything between them.
                return token.may_be_in(content) or token.is_in_bytes(content)
    return token.is_in_bytes(content)


def record_has(record: RawEvent, token: Token) -> bool:
    """Return whether a record has an id, in its key, its value or its headers."""
    contents = [record.key, record.value, *(value for _, value in record.headers)]
    names = (name for name, _ in record.headers)
    return any(each is not None and token.is_in_message(each) for each in contents) or any(map(token.is_in_text, names))


def _in_checkpoint_arrays(content: Content, token: Token) -> bool:
    return token.is_in_arrays(checkpoint_arrays_in(memoryview(content)))


def _in_model_arrays(content: Content, token: Token) -> bool:
    return token.is_in_arrays(model_arrays_in(memoryview(content)))


def _in_npz(content: Content, token: Token) -> bool:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return token.is_in_arrays(dict(arrays))


def _in_arrow(content: Content, token: Token) -> bool:
    import pyarrow as pa  # Only files of earlier releases need it.

    try:
        table = pa.ipc.open_file(io.BytesIO(content)).read_all()
    except (pa.ArrowException, OSError) as error:
        raise ValueError("no Arrow file") from error
    return any(token.is_in_json(_plain(value)) for column in table.columns for value in column.to_pylist())


def _in_journal(content: Content, token: Token) -> bool:
    rest = bytes(content)
    for entry, start, stop in entries_in(memoryview(content)):
        if entry is None:
            if token.may_be_in(rest[start:stop]):
                return True
        elif any(record_has(record, token) for record in entry.records):
            return True
    return False


def _in_json(content: Content, token: Token) -> bool:
    return token.is_in_json(json.loads(bytes(content)))


def _in_lines(content: Content, token: Token) -> bool:
    return any(token.is_in_line(line) for line in bytes(content).splitlines())


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return {str(key): _plain(each) for key, each in value.items()} if isinstance(value, dict) else value


def _zstd(content: bytes) -> bytes:
    try:
        import zstandard
    except ModuleNotFoundError as error:
        raise ValueError("zstandard is not installed") from error
    try:
        return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(content)).read()
    except zstandard.ZstdError as error:
        raise ValueError("no zstd file") from error


_COMPRESSED: Mapping[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"\x28\xb5\x2f\xfd": _zstd,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ\x00": lzma.decompress,
}
_SEARCHES: Mapping[str, Callable[[Content, Token], bool]] = {
    ARRAYS: _in_checkpoint_arrays,
    NPZ: _in_npz,
    ARROW: _in_arrow,
    ".safetensors": _in_model_arrays,
    RECORDS: _in_journal,
    ".json": _in_json,
    ".jsonl": _in_lines,
}
