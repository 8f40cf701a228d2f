"""What an experiment has brought: which events count, and who wins."""

import numpy as np
import pytest

from springtide.errors import InvalidRequestError
from springtide.experiment_tallies import ExperimentTallies, VariantTally
from springtide.recommendation_ids import experiment_hash, new_id, pack_arms
from springtide.settings.interaction_rules import InteractionRule, InteractionRules
from springtide.steering.results import conversions, impressions, judged, result_of
from springtide.steering.values import Experiment, Variant

RULES = InteractionRules(
    [
        InteractionRule("purchase"),
        InteractionRule("rating>=4"),
        InteractionRule("rating<4", is_positive=False, is_negative=True),
        InteractionRule("impression", is_positive=False, is_shown=True),
    ]
)
VARIANTS = (Variant("a", 0.5), Variant("b", 0.5))


def tally(num_converted: int, num_users: int) -> VariantTally:
    return VariantTally(num_users, num_converted, 0, num_converted)


def winner(*tallies: VariantTally, confidence: float = 0.95) -> str:
    return judged([Variant(name, 0.1) for name in "abcdefgh"[: len(tallies)]], tallies, confidence).winner


def test_conversions_are_types_or_rules_or_all_that_is_positive() -> None:
    wanted = {(): ("purchase", "rating>=4"), ("rating",): ("rating>=4", "rating<4"), ("rating>=4",): ("rating>=4",)}

    for names, relations in wanted.items():
        assert conversions(Experiment("home", VARIANTS, conversions=names), RULES) == relations
    assert impressions(RULES) == ("impression",)


def test_result_counts_what_carries_the_experiment() -> None:
    tallies = ExperimentTallies()
    names = [new_id(5, pack_arms([(experiment_hash("home"), variant)])).decode() for variant in (0, 0, 1)]
    codes = np.arange(3)
    tallies.add(
        names,
        ["u", "v", "w"],
        codes.astype(np.int32),
        ["impression", "purchase", "rating<4"],
        codes.astype(np.int16),
        codes + 1,
        np.full(3, -1),
    )

    result = result_of(Experiment("home", VARIANTS), tallies, RULES)

    assert [each.tally for each in result.variants] == [VariantTally(2, 1, 1, 1), VariantTally(1, 0, 0, 0)]
    assert [each.rate for each in result.variants] == [0.5, 0.0]
    assert result.winner == ""


def test_better_variant_wins_and_worse_ones_leave_the_first() -> None:
    assert winner(tally(100, 1000), tally(200, 1000)) == "b"
    assert winner(tally(200, 1000), tally(100, 1000)) == "a"
    assert winner(tally(100, 1000), tally(101, 1000)) == ""
    assert winner(tally(0, 0), tally(0, 0)) == ""


def test_of_several_better_variants_the_one_with_the_highest_rate_wins() -> None:
    assert winner(tally(100, 1000), tally(200, 1000), tally(220, 1000)) == "c"
    assert winner(tally(200, 1000), tally(100, 1000), tally(200, 1000)) == ""


def test_several_variants_share_the_error() -> None:
    # Against one other, and against seven.
    first, better, same = tally(100, 1000), tally(155, 1000), tally(100, 1000)

    assert winner(first, better) == "b"
    assert winner(first, better, *[same] * 6) == ""


def test_shares_of_the_variants_are_what_conversions_are_compared_with() -> None:
    tallies = [tally(100, 1000), tally(300, 3000)]

    assert judged([Variant("a", 0.1), Variant("b", 0.3)], tallies, 0.95).winner == ""
    assert judged([Variant("a", 0.3), Variant("b", 0.3)], tallies, 0.95).winner == "b"


def test_more_confidence_takes_more() -> None:
    assert winner(tally(100, 1000), tally(160, 1000), confidence=0.95) == "b"
    assert winner(tally(100, 1000), tally(160, 1000), confidence=0.999) == ""


@pytest.mark.parametrize("confidence", [0.0, 0.4, 1.0, float("nan")])
def test_confidence_out_of_range_is_refused(confidence: float) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        result_of(Experiment("home", VARIANTS), ExperimentTallies(), RULES, confidence)

    assert refused.value.field == "confidence"
