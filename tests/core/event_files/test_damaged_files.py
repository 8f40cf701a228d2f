"""Damaged files: whatever the bytes, a file is read or refused in words."""

import contextlib
import gzip
import io
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from springtide.event_files import EventFile, EventFileError, ReadOptions

ROWS = [
    ("user", "item", "type", "time", "value"),
    *((f"u{n}", "i", "view", f"{1514764800 + n}", "4.5") for n in range(8)),
]
PIECES = [
    *(
        b'"',
        b"\0",
        b"\xff",
        b"\n",
        b"\r",
        b",",
        b";",
        b"\t",
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b"-",
        b"\\ud800",
        b"\x1f\x8b",
    ),
    *(b"null", b"true", b"NaN", b"Infinity", b"1e999", b"9" * 5_000, b"2018-01-01", b"[" * 5_000, b'{"a":{"b":{}}}'),
]


def whole(ending: str) -> bytes:
    """Return a file that can be read, as the bytes it has with that ending."""
    header, *rows = ROWS
    if ending == "csv":
        return "\n".join(map(",".join, ROWS)).encode()
    if ending == "json":
        return json.dumps([dict(zip(header, row, strict=True)) for row in rows]).encode()
    if ending == "jsonl":
        interaction = {"user": "u", "item": "i", "type": "view", "value": 4, "context": {"place": "shore"}}
        lines = [
            {"eventTime": "2018-01-01T00:00:00Z", "interaction": interaction},
            dict(zip(header, rows[0], strict=True)),
        ]
        return "\n".join(map(json.dumps, lines * 3)).encode()
    table = pa.table({name: [row[at] for row in rows] for at, name in enumerate(header)})
    content = io.BytesIO()
    (pq.write_table if ending == "parquet" else pyarrow.feather.write_feather)(table, content)
    return content.getvalue()


@pytest.mark.parametrize("ending", ["csv", "json", "jsonl", "parquet", "feather"])
def test_damaged_file_is_read_or_refused_in_words(tmp_path: Path, ending: str) -> None:
    random_numbers = random.Random(0)
    path = tmp_path / f"a.{ending}"
    for _ in range(80):
        content = bytearray(whole(ending))
        for _ in range(random_numbers.randint(0, 3)):
            at = random_numbers.randrange(len(content) + 1)
            content[at : at + random_numbers.choice([0, 0, 1, 20])] = random_numbers.choice([b"", *PIECES])
        path.write_bytes(gzip.compress(content) if random_numbers.random() < 0.1 else content)
        encoding = random_numbers.choice([None, None, "latin-1", "utf-16"])
        with (
            contextlib.suppress(EventFileError),
            EventFile(path, ReadOptions(encoding=encoding, max_id_bytes=256)) as file,
        ):
            for chunk in file.chunks():
                assert len(chunk.rows)
            file.finish()
            for chunk in file.chunks():
                file.scale.to_ms(chunk.times)
