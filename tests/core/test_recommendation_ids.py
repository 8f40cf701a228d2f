"""Names of answers: what they say, and that nothing else is taken for one."""

import base64
import random
import uuid

import pytest

from springtide.recommendation_ids import MAX_ARMS, arms_of, experiment_hash, moment_ms_of, new_id, pack_arms


def test_name_without_arms_has_sixteen_characters_and_says_when() -> None:
    name = new_id(1_732_000_000_123).decode()

    assert len(name) == 16
    assert moment_ms_of(name) == 1_732_000_000_123
    assert arms_of(name) == ()


def test_name_says_each_arm() -> None:
    arms = ((experiment_hash("home"), 1), (0, 255), (2**32 - 1, 0))

    name = new_id(5, pack_arms(arms)).decode()

    assert arms_of(name) == arms
    assert moment_ms_of(name) == 5


def test_longest_name_fits_into_an_event() -> None:
    name = new_id(-1, pack_arms([(2**32 - 1, 255)] * MAX_ARMS)).decode()

    assert len(name) <= 256
    assert len(arms_of(name)) == MAX_ARMS


def test_hash_of_a_name_is_the_same_in_all_versions() -> None:
    assert experiment_hash("home-2026") == 0x6B866935  # By b2sum -l 32.


def test_names_differ() -> None:
    assert len({new_id(7) for _ in range(10_000)}) == 10_000


@pytest.mark.parametrize("arms", [[(0, 256)], [(-1, 0)], [(2**32, 0)], [(0, 0)] * (MAX_ARMS + 1)])
def test_arms_out_of_range_are_refused(arms: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="wanted"):
        pack_arms(arms)


def test_foreign_names_are_no_names() -> None:
    chance = random.Random(0)
    foreign = [
        "",
        "é" * 20,
        "a b" * 8,
        "0QGT",
        "x" * 10_000,
        *(str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(1_000)),
    ]
    foreign += [
        base64.urlsafe_b64encode(chance.randbytes(12 + 7 + 5 * (number % 5))).decode() for number in range(5_000)
    ]

    assert [name for name in foreign if arms_of(name)] == []


def test_damaged_name_is_no_name() -> None:
    name = new_id(1_732_000_000_123, pack_arms([(experiment_hash("home"), 1)])).decode()

    for place in range(len(name) - 1):
        damaged = name[:place] + ("A" if name[place] != "A" else "B") + name[place + 1 :]
        assert arms_of(damaged) == ()
    assert arms_of(name[:-1]) == ()
    assert arms_of(name + "A") == ()
