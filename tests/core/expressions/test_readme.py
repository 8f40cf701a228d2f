"""The examples of the room's README give what it says."""

import re
from pathlib import Path

import pytest

import springtide.expressions
from springtide.expressions import ExpressionError

TEXT = (Path(springtide.expressions.__file__).parent / "README.md").read_text()
EXAMPLES = TEXT[TEXT.index("## Examples") : TEXT.index("## Errors")]
ITEMS = ["merlot", "lager", "mystery"]


def rows_of(kind: str) -> list[tuple[str, str]]:
    """Return the expressions of one table of examples, and what stands beside them."""
    _, _, table = EXAMPLES.partition(f"| {kind} |")
    table, _, _ = table.partition("\n\n")
    rows = re.findall(r"^\| (?:``(.+)``|`(.+)`) \| (.+) \|$", table, re.MULTILINE)
    return [(double or single, result) for double, single, result in rows]


def test_there_are_enough_examples() -> None:
    assert [len(rows_of(kind)) for kind in ("filter", "booster", "segment")] >= [15, 4, 2]


@pytest.mark.parametrize(("text", "passing"), rows_of("filter"))
def test_a_filter_of_the_page_lets_through_what_the_page_says(shop, text: str, passing: str) -> None:
    assert shop.passing(text) == set(passing.split(", "))


@pytest.mark.parametrize(("text", "factors"), rows_of("booster"))
def test_a_booster_of_the_page_gives_what_the_page_says(shop, text: str, factors: str) -> None:
    wanted = dict(zip(ITEMS, map(float, factors.split(", ")), strict=True))
    assert shop.factors(text) == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize(("text", "holds"), rows_of("segment"))
def test_a_segment_of_the_page_holds_where_the_page_says(shop, text: str, holds: str) -> None:
    assert shop.holds(text) is {"yes": True, "no": False}[holds]


def test_the_error_of_the_page_is_the_error(shop) -> None:
    _, _, drawn = TEXT.partition("## Errors")
    drawn = drawn.split("```\n")[1]
    with pytest.raises(ExpressionError) as caught:
        shop.passing(drawn.split("\n")[1].strip())
    assert f"{caught.value}\n" == drawn
