"""The file of dead letters loses those of deleted users, and those alone."""

import json
from pathlib import Path

import pytest

from springtide.events import RawEvent, Refusal
from springtide.v1 import events_pb2
from springtide_services.stream.dead_letter_file import DeadLetterFile


def refusal(user: str, *, key: bool = True, as_json: bool = False) -> Refusal:
    event = events_pb2.Event(interaction=events_pb2.Interaction(user=user, item="i", type="part 7 of 9"))
    value = json.dumps({"interaction": {"user": user, "count": 7}}).encode() if as_json else event.SerializeToString()
    return Refusal(
        RawEvent(value, user.encode() if key else None, (), "events", 0, 5, 0), "unknown_type", "no such type"
    )


@pytest.mark.parametrize("user", ["eve-4711", "7", "bö", "a b"])
def test_letters_of_a_deleted_user_go_and_the_others_stay_as_they_are(user: str, tmp_path: Path) -> None:
    file = DeadLetterFile(str(tmp_path / "letters.jsonl"))
    file.forget_deleted()
    others = [refusal(f"{user}0"), refusal("ann"), refusal(f"x{user}", as_json=True)]
    file.append(others)
    before = (tmp_path / "letters.jsonl").read_bytes()
    file.append([refusal(user), refusal(user, key=False), refusal(user, key=False, as_json=True)])
    file.note_deleted(["nobody", user])
    file.forget_deleted()
    assert (tmp_path / "letters.jsonl").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["letters.jsonl"]
    file.append([refusal(user)])  # What is refused later is another matter.
    file.forget_deleted()
    assert len((tmp_path / "letters.jsonl").read_bytes().splitlines()) == 4


def test_what_cannot_be_written_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "letters.jsonl"
    file = DeadLetterFile(str(path))
    file.append([refusal("eve"), refusal("ann")])
    file.note_deleted(["eve"])

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        file.forget_deleted()
    assert len(path.read_bytes().splitlines()) == 2
    file.forget_deleted()
    assert len(path.read_bytes().splitlines()) == 1
