"""A journal that an earlier release has written is read; ``tests/fixtures/make.py`` wrote it."""

import json
import shutil
from pathlib import Path

import pytest

from springtide.errors import JournalError
from springtide.events.raw import RawEvent
from springtide_services.stream.journal import Journal

FIXTURE = Path(__file__).parents[2] / "fixtures" / "journal" / "version_1.zip"
HEADERS = (("content-type", b"a"), ("none", None))
RECORDS = [
    RawEvent(b"value", b"key", HEADERS, "events", 0, 5, 1_700_000_000_000),
    RawEvent(None, None, (), "events", 0, 6, 1_700_000_000_001),
    RawEvent(b"", b"", (), "events", 1, 0, 1_700_000_000_002),
]


def test_journal_of_version_1_is_read_whole(tmp_path: Path):
    shutil.unpack_archive(FIXTURE, tmp_path)
    journal = Journal(tmp_path)
    assert [(entry.topic_id, entry.records) for entry in journal.after(None)] == [
        ("first", RECORDS),
        ("second", RECORDS),
    ]
    assert journal.is_whole
    journal.close()
    assert FIXTURE.stat().st_size < 50_000


def test_journal_of_a_later_version_is_refused_clearly(tmp_path: Path):
    shutil.unpack_archive(FIXTURE, tmp_path)
    history = tmp_path / "history.json"
    history.write_text(json.dumps(json.loads(history.read_text()) | {"version": 2}))
    with pytest.raises(JournalError, match="version 2; this release reads 1"):
        Journal(tmp_path)
