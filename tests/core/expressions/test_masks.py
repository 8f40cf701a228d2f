"""Masks of filters, factors of boosters, and segments; worked by hand on the shop of ``conftest.py``."""

import pytest


@pytest.mark.parametrize(
    ("text", "passing"),
    [
        ('"WINE" in category and price < 20 and promo and available_from <= now', "merlot"),
        ("price < 20", "merlot lager"),
        ("not price < 20", "mystery"),
        ("price != 3", "merlot"),
        ("2 <= price < 12", "lager"),
        ("price in [3, 4]", "lager"),
        ("promo", "merlot"),
        ("not promo", "lager mystery"),
        ('category in ["RED", "BEER"]', "merlot lager"),
        ('category == "RED"', "merlot"),
        ('category != "RED"', "lager"),
        ('"RED" not in category', "lager mystery"),
        ('item in ["merlot", "mystery", "unknown"]', "merlot mystery"),
        ('item != "merlot"', "lager mystery"),
        ('startswith(brand, "Hill")', "merlot lager"),
        ('startswith(brand, "Hillt")', "lager"),
        ('`product type` == "bottle"', "merlot"),
        ("has(title)", "lager"),
        ("has(category)", "merlot lager"),
        ("not has(price)", "mystery"),
        ("price / 0 > 1", ""),
        ("price - 2 * 1 == 1", "lager"),
        ("-price < -5", "merlot"),
        ("min(price, 5) == 5", "merlot"),
        ("max(price, 5) == 5", "lager"),
        ("log(exp(price)) > 2.9 and log(0 - price) != 1", ""),
        ("(price if promo else 100) > 50", "lager mystery"),
        ("available_from > now", "lager"),
        ('available_from < date("2026-12-24") - days(7)', "merlot"),
        ("available_until <= now", ""),
        ("price <= user.budget", "lager"),
        ("user.likes in category", "lager"),
        ('user.country == "DE" and price > 5', "merlot"),
        ('context.weather == "rain" and promo', "merlot"),
        ('context.device != "phone" or promo', "merlot"),
        ("number(user.age_group) > 20 and price > 5", "merlot"),
        ("true", "merlot lager mystery"),
        ("false or price > 5", "merlot"),
        ("item in []", ""),
    ],
)
def test_a_filter_lets_through_what_it_says(shop, text: str, passing: str) -> None:
    assert shop.passing(text) == set(passing.split())


@pytest.mark.parametrize(
    ("text", "factors"),
    [
        ("2 if promo else 1", [2.0, 1.0, 1.0]),
        ("price", [12.0, 3.0, 1.0]),
        ("exp(price * 1000)", [1e6, 1e6, 1.0]),
        ("0 - price", [0.0, 0.0, 1.0]),
        ("5", [5.0, 5.0, 5.0]),
    ],
)
def test_a_booster_gives_each_item_a_factor(shop, text: str, factors: list[float]) -> None:
    assert shop.factors(text) == pytest.approx(dict(zip(["merlot", "lager", "mystery"], factors, strict=True)))


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ('user.country == "DE"', True),
        ('user.country in ["FR", "DE"]', True),
        ('user.country != "DE"', False),
        ('user == "ann"', True),
        ("user.budget >= 5", True),
        ('context.place == "north"', True),
        ('context.nothing == "north"', False),
        ("has(context.nothing)", False),
        ("hour(now) == 7", True),  # 22:40 UTC is 7:40 of the next day in Tokyo, a Sunday.
        ("weekday(now) == 7", True),
        ("month(now) == 11", True),
        ('startswith(context.device, "ph")', True),
    ],
)
def test_a_segment_holds_for_its_users(shop, text: str, holds: bool) -> None:
    assert shop.holds(text) is holds


@pytest.mark.parametrize("user_id", ["", "nobody"])
def test_attributes_of_an_unknown_user_are_missing(shop, user_id: str) -> None:
    assert shop.passing("price <= user.budget", user_id) == set()
    assert not shop.holds('user.country == "DE"', user_id)
    assert not shop.holds('user.country != "DE"', user_id)
    assert not shop.holds("has(user.country)", user_id)
    assert shop.holds('user.country not in ["DE"]', user_id)
