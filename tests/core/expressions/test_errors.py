"""Errors point at the character, and say what was meant or what can be chosen."""

import pytest

from springtide.errors import InvalidRequestError
from springtide.expressions import ExpressionError, Schema, parse


@pytest.mark.parametrize(
    ("text", "caret", "words"),
    [
        ("pric < 20", "^^^^", "no attribute of items is named 'pric' (did you mean price?)"),
        ("promo and bran in ['x']", "          ^^^^", "(did you mean brand?)"),
        ('country == "DE"', "^^^^^^^", "(did you mean user.country?)"),
        ("xyz < 20", "^^^", "(choices: available_from, brand, category, price, "),
        ("price < user.bugdet", "        ^^^^^^^^^^^", "(did you mean budget?)"),
        ('price < "x"', "        ^^^", "wanted a number beside price (a number), got a text"),
        ('"a" < category', "^^^", "texts have no order"),
        ("category", "^^^^^^^^", "write has(category) or … in category"),
        ("title == 'x'", "^^^^^", "title is a free text"),
        ("price = 3", "      ^", "wanted '==' to compare, got '='"),
        ("price < 3 && promo", "          ^^", "wanted 'and', got '&&'"),
        ("price < ", "        ^", "wanted an attribute, a number or a text, got the end"),
        ("(price < 3", "          ^", "wanted an operator such as 'and' or '<', or ')', got the end"),
        ("price < 20 promo", "           ^^^^^", "wanted an operator such as 'and' or '<', or the end, got 'promo'"),
        ("1 if promo", "          ^", "wanted 'else', got the end"),
        ("prices(3)", "^^^^^^", "no function is named 'prices' (choices: date, days, exp, has, "),
        ("mx(3, price) < 1", "^^", "did you mean max?"),
        ("max(3) < 1", "^^^^^^", "wanted max(number, number), got 1 argument"),
        ('category == ["RED"]', "            ^^^^^^^", "wanted 'in' before a list, got '=='"),
        ('[1, "RED"]', "^^^^^^^^^^", "wanted a list of texts, or one of numbers, got both in one"),
        ("price in [1, x]", "             ^", "wanted texts or numbers between commas, then ], got 'x'"),
        ("brand == 'Hill", "         ^", "the text is not closed"),
        ("", "^", "wanted an expression, got nothing"),
        ("price < 1e999", "        ^^^^^", "too large"),
        ("promo == true", "         ^^^^", "promo (a number) is itself one"),
        ("user.age_group > 20", "^^^^^^^^^^^^^^", "write number(user.age_group)"),
        ('date("soon") < now', '     ^^^^^^', 'a date such as "2026-12-24"'),
        ("brand in category", "         ^^^^^^^^", "got another of the items"),
        ("place == 'north'", "^^^^^", "no attribute of items is named 'place'"),
    ],
)  # fmt: skip
def test_an_error_points_at_the_character(shop, text: str, caret: str, words: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        shop.passing(text)

    first, _, last = caught.value.message.split("\n")
    assert last.removeprefix("  ").startswith(caret)
    assert words in first
    assert caught.value.position == len(caret) - len(caret.lstrip())


def test_an_error_names_the_field_as_errors_of_requests_do(shop) -> None:
    with pytest.raises(InvalidRequestError, match=r"^rules\[wine\]\.filter: wanted '==' to compare") as caught:
        shop.check("price = 3", field="rules[wine].filter")

    assert caught.value.field == "rules[wine].filter"


def test_the_line_of_a_long_expression_is_cut_around_the_fault(shop) -> None:
    listed = ", ".join(['"merlot"'] * 200)
    text = f"price < 1 and item in [{listed}] and pric < 20 and {' ' * 200}price < 1"
    with pytest.raises(ExpressionError) as caught:
        shop.passing(text)

    _, line, caret = caught.value.message.split("\n")
    assert line[caret.index("^") : caret.rindex("^") + 1] == "pric"
    assert len(line) <= 104
    assert line.startswith("  …")
    assert line.endswith("…")


def test_an_error_in_a_later_line_shows_that_line(shop) -> None:
    with pytest.raises(ExpressionError, match=r"at line 2, character 5\n  and pric < 3\n      \^\^\^\^$"):
        shop.passing("promo\nand pric < 3")


def test_carets_stand_under_wide_characters(shop) -> None:
    with pytest.raises(ExpressionError) as caught:
        shop.passing('brand == "酒" and pric < 3')

    _, line, caret = caught.value.message.split("\n")
    assert caret.index("^") == line.index("pric") + 1  # 酒 takes two columns.


def test_an_error_about_listed_users_says_so(shop) -> None:
    with pytest.raises(
        ExpressionError, match=r"^filter: no attribute of users is named 'contry' \(did you mean country\?"
    ):
        parse('contry == "DE"').check(Schema.of(shop.view, "user"), "filter")


def test_a_segment_names_no_items(shop) -> None:
    with pytest.raises(
        ExpressionError, match="a segment asks about the user and the moment, not about items, got price"
    ):
        shop.holds("price < 3")


def test_a_booster_is_a_number(shop) -> None:
    with pytest.raises(ExpressionError, match=r"wanted a number, got a condition: write 1 if … else 0"):
        shop.factors("price < 3")


def test_what_is_wrong_is_missing_for_the_lenient(shop) -> None:
    assert shop.passing("nothing < 3 or user.nobody == 1 or price < category or price < 5", is_lenient=True) == {
        "lager"
    }
