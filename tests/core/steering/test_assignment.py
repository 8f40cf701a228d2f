"""Who has which variant: always the same, by share, exclusive within a layer, and independent between layers."""

from dataclasses import replace

import numpy as np
import pytest

from springtide.errors import InvalidRequestError
from springtide.steering.assignment import Assigner, check_experiments
from springtide.steering.values import Experiment, Variant

USERS = [f"user-{number}" for number in range(20_000)]


def experiment(name: str, *shares: float, layer: str = "", salt: str = "") -> Experiment:
    variants = tuple(Variant(letter, share) for letter, share in zip("abcdefgh", shares, strict=False))
    return Experiment(name, variants, layer, salt)


def assigned(*experiments: Experiment, now_ms: int = 0) -> list[dict[str, str]]:
    """Return what each of the users has, by experiment."""
    check_experiments(experiments)
    assigner = Assigner(experiments)
    return [{arm.experiment: arm.variant.name for arm in assigner.arms(user, now_ms)} for user in USERS]


def test_users_have_the_variants_that_they_had_in_the_first_version() -> None:
    assigner = Assigner([experiment("home", 0.3, 0.3, layer="page", salt="pepper"), experiment("mail", 0.5, 0.5)])

    found = [
        "".join(arm.experiment[0] + arm.variant.name for arm in assigner.arms(f"user-{number}", 0))
        for number in range(12)
    ]

    assert found == ["hama", "mb", "ma", "ma", "ma", "hbmb", "ma", "hbma", "hamb", "ma", "mb", "mb"]


def test_shares_are_kept() -> None:
    found = [each.get("home") for each in assigned(experiment("home", 0.1, 0.3))]

    for variant, share in (("a", 0.1), ("b", 0.3), (None, 0.6)):
        deviation = 4 * (share * (1 - share) / len(USERS)) ** 0.5
        assert found.count(variant) / len(USERS) == pytest.approx(share, abs=deviation)


def test_no_user_is_in_two_experiments_of_a_layer() -> None:
    found = assigned(*(experiment(name, 0.15, 0.15, layer="page") for name in ("x", "y", "z")))

    assert max(map(len, found)) == 1
    assert sum(map(len, found)) / len(USERS) == pytest.approx(0.9, abs=0.01)


def test_layers_are_independent() -> None:
    found = assigned(experiment("x", 0.5, 0.5), experiment("y", 0.4, 0.6), experiment("z", 0.5, 0.5, layer="page"))

    for first, second in (("x", "y"), ("x", "z"), ("y", "z")):
        counts = np.array([[sum(each[first] == a and each[second] == b for each in found) for a in "ab"] for b in "ab"])
        expected = counts.sum(1, keepdims=True) * counts.sum(0) / counts.sum()
        assert ((counts - expected) ** 2 / expected).sum() < 10.83  # Chi-square, one degree of freedom: 1 in 1,000.


def test_two_experiments_after_each_other_in_a_layer_split_users_anew() -> None:
    before = assigned(experiment("spring", 0.5, 0.5, layer="page"))
    after = assigned(experiment("summer", 0.5, 0.5, layer="page"))

    same = np.mean([one["spring"] == other["summer"] for one, other in zip(before, after, strict=True)])
    assert same == pytest.approx(0.5, abs=0.02)


def test_growing_in_proportion_moves_nobody() -> None:
    small = assigned(experiment("home", 0.01, 0.02, 0.02))
    large = assigned(experiment("home", 0.2, 0.4, 0.4))

    moved = [each for each, now in zip(small, large, strict=True) if each and each != now]
    assert moved == []
    assert sum(map(len, small)) > 500


def test_growing_beside_others_moves_few() -> None:
    others = [experiment("y", 0.1, 0.1, layer="page"), experiment("z", 0.1, 0.1, layer="page")]
    small = assigned(experiment("x", 0.05, 0.05, layer="page"), *others)
    large = assigned(experiment("x", 0.2, 0.2, layer="page"), *others)

    of_x = [(each["x"], now.get("x")) for each, now in zip(small, large, strict=True) if "x" in each]
    of_others = [each == now for each, now in zip(small, large, strict=True) if each and "x" not in each]
    assert all(before == after for before, after in of_x)
    assert np.mean(of_others) > 0.75


def test_another_salt_splits_anew() -> None:
    found = [assigned(experiment("home", 0.5, 0.5, salt=salt)) for salt in ("", "pepper")]

    same = np.mean([one == other for one, other in zip(*found, strict=True)])
    assert same == pytest.approx(0.5, abs=0.02)


def test_experiment_runs_from_its_start_until_before_its_end() -> None:
    running = replace(experiment("home", 0.5, 0.5), start_ms=100, end_ms=200)
    assigner = Assigner([running])

    assert [len(assigner.arms("u", now_ms)) for now_ms in (99, 100, 199, 200)] == [0, 1, 1, 0]


def test_ended_experiment_keeps_its_places() -> None:
    one, other = experiment("x", 0.3, 0.3, layer="page"), experiment("y", 0.2, 0.2, layer="page")

    before, after = assigned(one, other), assigned(replace(one, end_ms=0), other)

    assert [each.get("y") for each in before] == [each.get("y") for each in after]


def test_user_without_an_id_has_no_variant() -> None:
    assert Assigner([experiment("home", 0.5, 0.5)]).arms("", 0) == ()


@pytest.mark.parametrize(
    ("experiments", "field"),
    [
        ([experiment("x", 0.5)], "experiments.x.variants"),
        ([experiment("x", 0.5, 0.6)], "experiments.x.variants"),
        ([experiment("x", 0.5, 0.0)], "experiments.x.variants.b.share"),
        ([experiment("x", 0.5, float("nan"))], "experiments.x.variants.b.share"),
        ([experiment("x", 0.00001, 0.00001)], "experiments.x.variants"),
        ([experiment("x", 0.3, 0.3, layer="p"), experiment("y", 0.3, 0.3, layer="p")], "experiments.x.variants"),
        ([experiment("x", 0.1, 0.1, layer="p"), experiment("y", 0.1, 0.1, layer="p", salt="s")], "experiments.x.salt"),
        ([Experiment("x", (Variant("a", 0.1), Variant("a", 0.1)))], "experiments.x.variants"),
        ([experiment(f"x{number}", 0.1, 0.1) for number in range(33)], "experiments"),
    ],
)
def test_experiments_that_cannot_run_are_refused(experiments: list[Experiment], field: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        check_experiments(experiments)

    assert refused.value.field == field
