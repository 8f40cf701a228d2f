"""The verifier finds a planted id in every kind of file that server and trainer write, and in none without it."""

import base64
import bz2
import gzip
import io
import json
import lzma
import shutil
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pytest
import safetensors.numpy
import zstandard

from springtide.checkpoint.array_files import arrays_to_bytes
from springtide.errors import SpringtideError
from springtide.events import RawEvent
from springtide.packed_texts import pack
from springtide.token_search import Token
from springtide.v1 import events_pb2
from springtide_services.forgetting.contents import has_token
from springtide_services.forgetting.search import Place, search
from springtide_services.stream.journal import Journal

ID, OTHER = "eve-4711", "eve-47110"


def arrays(id_: str) -> bytes:
    utf8, offsets = pack(["ann", id_, "bob"])
    return arrays_to_bytes({"utf8": utf8, "offsets": offsets, "n": np.arange(9)})


def npz(id_: str) -> bytes:
    sink = io.BytesIO()
    np.savez_compressed(sink, labels=np.array(["x", id_], np.str_))
    return sink.getvalue()


def arrow(id_: str) -> bytes:
    sink = io.BytesIO()
    table = pa.table({"node_type": ["user"], "ids": [["ann", id_]]})
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return sink.getvalue()


def tensors(id_: str) -> bytes:
    utf8, offsets = pack(["ann", id_])
    return bytes(safetensors.numpy.save({"utf8.user": utf8, "offsets.user": offsets}))


def event(id_: str) -> bytes:
    return events_pb2.Event(interaction=events_pb2.Interaction(user=id_, item="i", type="t")).SerializeToString()


def journal(id_: str) -> bytes:
    folder = Path(tempfile.mkdtemp())
    written = Journal(folder)
    written.begin("a topic")
    records = [RawEvent(event(each), each.encode(), (), "t", 0, offset, 0) for offset, each in enumerate(("ann", id_))]
    written.append(records)
    written.close()
    content = next(folder.glob("*.records")).read_bytes()
    shutil.rmtree(folder)
    return content


def letters(id_: str) -> bytes:
    value = base64.b64encode(event(id_)).decode()
    return b"".join(json.dumps({"reason": "poison", "value": each}).encode() + b"\n" for each in ("", value))


def packed_batch(id_: str) -> bytes:
    return events_pb2.Event(batch=events_pb2.EventBatch(dictionary=["ann", id_, "i"], users=[1])).SerializeToString()


KINDS: dict[str, Callable[[str], bytes]] = {
    "00000001-nodes0-ids-0.arrays": arrays,
    "00000001-weight0.npz": npz,
    "node_ids.arrow": arrow,
    "node_ids-1f2e3d4c.safetensors": tensors,
    "00000007.records": journal,
    "dead-letters.jsonl": letters,
    "manifest.json": lambda id_: json.dumps({"circumstances": {"values": {"place": ["Bern", id_]}}}).encode(),
    "note": lambda id_: f"fault: {id_}".encode(),
    "record": event,
    "batch": packed_batch,
    "old.json.gz": lambda id_: gzip.compress(json.dumps([id_]).encode()),
    "old.arrays.zst": lambda id_: zstandard.ZstdCompressor().compress(arrays(id_)),
    "old.bz2": lambda id_: bz2.compress(id_.encode()),
    "old.json.xz": lambda id_: lzma.compress(json.dumps(id_).encode()),
}


@pytest.mark.parametrize("name", KINDS)
def test_planted_id_is_found_in_each_kind_of_file_and_a_longer_one_is_not(name: str) -> None:
    assert has_token(name, KINDS[name](ID), Token(ID))
    assert not has_token(name, KINDS[name](OTHER), Token(ID))


@pytest.mark.parametrize("name", ["00000001-nodes0-ids-0.arrays", "manifest.json", "00000007.records"])
def test_planted_id_is_found_in_what_a_crash_or_a_disk_has_left_of_a_file(name: str) -> None:
    whole = KINDS[name](ID)
    damaged = bytes([whole[0] ^ 1]) + whole[1:]
    assert has_token(name, damaged, Token(ID))
    assert has_token(f".writing-{name}-0123", damaged, Token(ID))


def test_id_in_a_files_name_is_found() -> None:
    assert has_token(f"{ID}.json", b"{}", Token(ID))


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_all_files_of_a_place_are_searched_also_hidden_ones_and_only_changed_ones_again(
    kind: str, tmp_path: Path
) -> None:
    url = str(tmp_path / "models") if kind == "folder" else f"memory://models-{uuid.uuid4().hex}"
    files, root = fsspec.core.url_to_fs(url)
    assert search(Place("models", url), Token(ID)).num_files == 0
    for name in ("a/b/manifest.json", "a/.writing-x", "audit/1.json"):
        files.pipe_file(f"{root}/{name}", b"{}", makedirs=True) if kind == "memory" else (
            (tmp_path / "models" / name).parent.mkdir(parents=True, exist_ok=True),
            (tmp_path / "models" / name).write_bytes(b"{}"),
        )
    first = search(Place("models", url), Token(ID))
    assert (first.num_files, first.num_bytes, first.num_found) == (3, 6, 0)
    files.pipe_file(f"{root}/a/.writing-x", json.dumps([ID]).encode())
    again = search(Place("models", url), Token(ID), first)
    assert again.num_found == 1
    assert again.found[0].endswith("a/.writing-x")


def test_place_that_cannot_be_read_proves_nothing() -> None:
    with pytest.raises(SpringtideError, match="cannot be searched"):
        search(Place("models", "no-such-protocol://models"), Token(ID))
