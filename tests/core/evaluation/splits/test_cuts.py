"""The cuts of each split, by name."""

import pytest

from springtide.evaluation.splits.cuts import cut_at, cut_names
from springtide.testing import even_odd_events, interactions_of


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("global", ["global"]),
        ("leave-one-out", ["leave-one-out"]),
        ("walk-forward", [f"walk-forward {block} of 4" for block in (1, 2, 3, 4)]),
    ],
)
def test_every_cut_is_made_by_its_name(split: str, names: list[str]) -> None:
    interactions = interactions_of(even_odd_events(64))
    assert cut_names(split) == names
    cuts = [cut_at(interactions, name) for name in names]
    assert len({len(cut.train) for cut in cuts}) == len(names)
    assert all(len(cut.test) for cut in cuts)


def test_cut_of_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="no cut named 'tomorrow'"):
        cut_at(interactions_of(even_odd_events(64)), "tomorrow")


def test_cold_users_are_kept_if_asked_for() -> None:
    events = [*even_odd_events(16), ("stranger", "i1", 10**13)]
    [name] = cut_names("global", is_cold_kept=True)
    interactions = interactions_of(events)
    assert len(interactions) - 1 in cut_at(interactions, name).test
    assert len(interactions) - 1 not in cut_at(interactions, "global").test
