from datetime import timedelta

import pytest
import typer
from rich.console import Console

from springtide.errors import InvalidRequestError
from springtide.v1 import recommender_pb2 as pb
from springtide_services.cli.answer_tables import answer_table, category_filters, most_per
from springtide_services.cli.durations import Duration
from springtide_services.cli.why_tables import why_table

RESPONSE = pb.RecommendResponse(
    items=[
        pb.RecommendedItem(item="1", score=2.5, cosine=0.75, weights=[0.8, 1.5]),
        pb.RecommendedItem(item="2", score=-1.0, cosine=0.25, weights=[1.0, 12.0]),
    ],
    weight_names=["trend", "calendar"],
)


def rendered(width: int) -> list[list[str]]:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(answer_table(RESPONSE, {"1": "A product with a name that is longer than the terminal is wide"}))
    return [line.split() for line in capture.get().splitlines()]


def test_answer_shows_the_cosine_and_each_weight_beside_every_item() -> None:
    heading, first, second = rendered(width=120)

    assert heading == ["item", "score", "cosine", "calendar", "trend"]
    assert first[-4:] == ["2.50", "0.75", "×1.50", "×0.80"]
    assert second == ["2", "2", "-1.00", "0.25", "×12.00", "×1.00"]


def test_narrow_terminal_shortens_names_and_keeps_numbers() -> None:
    _, first, _ = rendered(width=50)

    assert first[-4:] == ["2.50", "0.75", "×1.50", "×0.80"]
    assert any(word.endswith("…") for word in first)


def test_former_places_stand_beside_the_new_ones() -> None:
    console = Console(width=120, color_system=None)
    with console.capture() as capture:
        console.print(answer_table(RESPONSE, former=["7", "1"]))
    heading, first, second = (line.split() for line in capture.get().splitlines())

    assert heading[:2] == ["was", "item"]
    assert first[:3] == ["1", "2", "1"]
    assert second[:3] == ["2", "-", "2"]


def test_score_just_below_nothing_is_shown_without_a_sign() -> None:
    console = Console(width=120, color_system=None)
    item = pb.RecommendedItem(item="1", score=-1e-7, cosine=-0.001)
    with console.capture() as capture:
        console.print(answer_table(pb.RecommendResponse(items=[item])))
    assert capture.get().splitlines()[1].split() == ["1", "1", "0.00", "0.00"]


def test_attributes_and_what_placed_an_item_stand_beside_it() -> None:
    console = Console(width=120, color_system=None)
    item = pb.RecommendedItem(item="tea", score=1.0, placed_by="rule spring")
    item.attributes["brand"].categories.extend(["acme", "best"])
    item.attributes["price"].number = 19.99
    other = pb.RecommendedItem(item="jam")
    other.attributes["title"].text = "Jam, red"
    with console.capture() as capture:
        console.print(answer_table(pb.RecommendResponse(items=[item, other]), first_rank=11))
    heading, first, second = (line.split() for line in capture.get().splitlines())

    assert heading == ["item", "brand", "price", "title", "score", "cosine", "placed", "by"]
    assert first == ["11", "tea", "acme,", "best", "19.99", "1.00", "0.00", "rule", "spring"]
    assert second == ["12", "jam", "Jam,", "red", "0.00", "0.00"]


def test_filter_that_is_not_written_as_one_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="wanted ATTRIBUTE=VALUE, got 'brand='"):
        category_filters(["brand="])


@pytest.mark.parametrize("entry", ["brand", "brand=", "brand=many", "=3", "brand=-1", "brand=9999999999"])
def test_number_per_value_that_is_not_written_as_one_is_refused(entry: str) -> None:
    assert most_per(["brand=3", "colour=12"]) == {"brand": 3, "colour": 12}
    with pytest.raises(InvalidRequestError, match="wanted ATTRIBUTE=NUMBER"):
        most_per([entry])


def test_durations_are_a_number_and_a_unit() -> None:
    assert Duration()("12h") == timedelta(hours=12)
    assert Duration()("1.5 d") == timedelta(hours=36)
    for wrong in ("12", "h", "-1d", "1y", ""):
        with pytest.raises(typer.BadParameter, match="wanted a number and one of s, m, h, d, w"):
            Duration()(wrong)


def test_explanation_shows_each_factor_with_lift_exponent_and_weight() -> None:
    year = pb.FactorExplanation(name="year", lift=4.0, exponent=0.5, weight=2.0)
    idle = pb.FactorExplanation(name="[hour]", lift=3.0, exponent=0.0, weight=1.0)
    response = pb.ExplainResponse(
        item="nog",
        score=2.5,
        rank=1_234,
        cosine=0.5,
        cosine_exponent=4.0,
        weights=[pb.WeightExplanation(name="calendar", weight=2.0, factors=[year, idle])],
    )
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(why_table(response))

    assert [line.split() for line in capture.get().splitlines()] == [
        ["rank", "1,234,", "score", "2.50"],
        ["lift", "exponent", "weight"],
        ["cosine", "0.50", "4.00", "×7.39"],  # e^(0.5 · 4)
        ["calendar", "×2.00"],
        ["year", "4.00×", "0.50", "×2.00"],
        ["[hour]", "3.00×", "0.00", "×1.00"],
    ]
