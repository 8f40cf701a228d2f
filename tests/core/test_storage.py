import errno
import hashlib
import mmap
import random
import sys
import threading
import uuid
from contextlib import suppress

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from springtide.checksums import Crc32c
from springtide.errors import SettingsError
from springtide.storage import Storage, sha256
from springtide_services.addresses import free_port


@pytest.fixture(params=["folder", "memory", "s3"])
def storage(request, tmp_path):
    if request.param == "s3":
        return Storage(f"{request.getfixturevalue('s3_bucket')}/a/b")
    return Storage(str(tmp_path / "a" / "b") if request.param == "folder" else f"memory://s-{uuid.uuid4().hex}")


def test_written_file_is_read_listed_and_deleted(storage):
    assert storage.list() == []
    storage.write("x/one", b"1")
    storage.write("x/one", b"2")
    storage.write("x/two", b"3")
    storage.write("three", b"")
    assert storage.read("x/one") == b"2"
    assert storage.list("x") == ["one", "two"]
    assert storage.list() == ["three", "x"]
    storage.delete("x/one")
    storage.delete("x/one")
    assert not storage.exists("x/one")
    storage.delete_folder("x")
    storage.delete_folder("x")
    assert storage.list() == ["three"]


def test_sizes_are_those_of_the_files_in_a_folder(storage):
    assert storage.sizes("x") == {}
    storage.write("x/one", b"12")
    storage.write("x/two", b"")
    storage.write("x/folder/three", b"123")
    assert storage.sizes("x") == {"one": 2, "two": 0}


def test_missing_file_is_file_not_found(storage):
    with pytest.raises(FileNotFoundError):
        storage.read("nothing")


@pytest.mark.parametrize("name", ["../other/secret", "part/../../other/secret", ".."])
def test_a_name_that_leads_out_of_the_folder_is_no_file(storage, name):
    """Manifests name files; who can write a manifest must not read or delete what lies elsewhere."""
    Storage(f"{storage.url.rpartition('/')[0]}/other").write("secret", b"1")

    for act in (storage.read, storage.open, lambda name: storage.map(name, Crc32c())):
        with pytest.raises(FileNotFoundError):
            act(name)
    with pytest.raises(OSError, match=r"\.\."):
        storage.write(name, b"2")
    storage_of_other = Storage(f"{storage.url.rpartition('/')[0]}/other")
    assert storage_of_other.read("secret") == b"1"


def test_creating_a_taken_name_fails_and_changes_nothing(storage):
    storage.create("one", b"1")
    with pytest.raises(FileExistsError):
        storage.create("one", b"2")
    assert storage.read("one") == b"1"


class ConditionalStore(MemoryFileSystem):
    """An object store on which another client writes just before each conditional write, which then fails."""

    protocol = "conditional"
    cachable = False

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        if mode == "create":
            super().pipe_file(path, b"theirs")
            raise OSError(errno.EINVAL, "a precondition did not hold")
        super().pipe_file(path, value, **kwargs)


def test_of_two_clients_of_an_object_store_that_create_one_name_the_last_is_refused():
    fsspec.register_implementation("conditional", ConditionalStore, clobber=True)
    storage = Storage(f"conditional://s-{uuid.uuid4().hex}")
    with pytest.raises(FileExistsError):
        storage.create("one", b"ours")
    assert storage.read("one") == b"theirs"


def test_failed_write_leaves_the_former_file_and_no_rest(tmp_path, monkeypatch):
    storage = Storage(str(tmp_path))
    storage.write("one", b"1")

    def fail(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        storage.write("one", b"2")
    assert storage.read("one") == b"1"
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_what_a_dead_writer_left_is_not_listed_and_can_be_cleaned(tmp_path):
    storage = Storage(str(tmp_path))
    (tmp_path / ".writing-one-123").write_bytes(b"half")
    assert storage.list() == []
    storage.delete_unfinished()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["memory://springtide-mapped", None])
@pytest.mark.parametrize("content", [b"", b"abc" * 1_000_000])
def test_mapped_content_is_the_files_and_outlives_it(tmp_path, url, content):
    storage = Storage(url or str(tmp_path))
    storage.write("a/file", content)
    digest = hashlib.sha256()
    mapped = storage.map("a/file", digest)
    storage.delete("a/file")
    assert (bytes(mapped), digest.hexdigest()) == (content, sha256(content))


def test_file_of_a_network_is_read_and_not_mapped(tmp_path, monkeypatch):
    monkeypatch.setattr("springtide.storage._file_system", lambda device: "nfs4")
    Storage(str(tmp_path)).write("file", b"abc")
    digest = hashlib.sha256()
    mapped = Storage(str(tmp_path)).map("file", digest)
    assert (mapped.obj, digest.hexdigest()) == (bytearray(b"abc"), sha256(b"abc"))


def test_file_of_this_machine_is_mapped_and_what_is_written_stays_here(tmp_path, monkeypatch):
    monkeypatch.setattr("springtide.storage._file_system", lambda device: "ext4")
    storage = Storage(str(tmp_path))
    storage.write("file", b"abc")
    mapped = storage.map("file", hashlib.sha256())
    assert isinstance(mapped.obj, mmap.mmap)
    mapped[0:1] = b"x"
    assert (bytes(mapped), storage.read("file")) == (b"xbc", b"abc")


def test_mapping_a_file_that_is_not_there_is_refused(tmp_path):
    for url in (str(tmp_path), "memory://springtide-nothing"):
        with pytest.raises(FileNotFoundError):
            Storage(url).map("file", hashlib.sha256())


def test_of_many_that_create_one_object_at_once_one_does(s3_bucket):
    storage, winners, start = Storage(f"{s3_bucket}/folder"), [], threading.Barrier(8)

    def create(number: int) -> None:
        start.wait()
        with suppress(FileExistsError):
            storage.create("one", b"%d" % number)
            winners.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [b"%d" % number for number in winners] == [storage.read("one")]


def test_an_object_store_that_is_away_is_an_error_of_files_and_no_missing_file(s3_bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port('127.0.0.1')}")
    monkeypatch.setattr("springtide.object_files._RETRIES", 0)
    storage = Storage(f"{s3_bucket}/folder")
    for attempt in (storage.list, lambda: storage.read("one"), lambda: storage.write("one", b"1")):
        with pytest.raises(OSError, match="Generic S3 error") as away:
            attempt()
        assert not isinstance(away.value, FileNotFoundError)
        assert "\n" not in str(away.value)


def test_a_bucket_that_does_not_exist_is_named(s3_bucket):
    with pytest.raises(OSError, match=r"s3://no-such-bucket|no-such-bucket/folder"):
        Storage("s3://no-such-bucket/folder").write("one", b"1")


def test_large_objects_are_whole(s3_bucket):
    storage, content = Storage(s3_bucket), random.Random(1).randbytes(12_000_000)
    storage.write_from("large", lambda sink: sink.write(content))
    digest = hashlib.sha256()
    mapped = storage.map("large", digest)
    mapped[0:1] = b"x"
    assert digest.hexdigest() == sha256(content)
    assert storage.sizes() == {"large": len(content)}


def test_without_its_package_an_object_store_is_refused_with_the_way_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(SettingsError, match=r"obstore is not installed: pip install 'springtide\[s3\]'"):
        Storage("s3://bucket/folder")
