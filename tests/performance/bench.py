"""Measures speed, each figure beside its limit in the same run: `bench.py [--tiny | --big] [NAME ...]`."""

import argparse
import importlib
import logging
import time
from pathlib import Path

import structlog
from benches.figures import Figure, as_table, write_json
from benches.sizes import BIG, FULL, TINY

BENCHES = (
    "append",
    "neighbours",
    "growth",
    "parts",
    "checkpoint",
    "start",
    "ingest",
    "freshness",
    "stages",
    "reflected",
    "recommend",
    "engines",
    "open_load",
    "moment",
    "ranking",
    "steering",
    "watching",
    "ten_million",
    "index",
    "latency",
    "gateway",
    "retrain",
    "peers",
    "scale",
    "generations",
    "memory",
    "footprint",
)
_RESULTS = Path(__file__).parents[2] / "bench-results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which to run, all if none: {', '.join(BENCHES)}")
    parser.add_argument("--tiny", action="store_true", help="run each for a moment: its figures mean nothing")
    parser.add_argument("--big", action="store_true", help="to the greatest sizes: takes half an hour, and 6 GiB")
    parser.add_argument("--results", type=Path, default=_RESULTS, help="the folder for figures as JSON")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(BENCHES)
    if unknown:
        parser.error(f"no bench named {', '.join(sorted(unknown))} (choices: {', '.join(BENCHES)})")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    sizes = TINY if arguments.tiny else BIG if arguments.big else FULL
    figures: list[Figure] = []
    for name in arguments.names or BENCHES:
        print(f"{name} ...", end=" ", flush=True)
        started = time.monotonic()
        measured = importlib.import_module(f"benches.{name}").run(sizes)
        print(f"{time.monotonic() - started:.0f} s", flush=True)
        write_json(arguments.results / f"{name}.json", measured)
        figures += measured
    print(f"\n{as_table(figures)}\n\nMedians of n repetitions; all samples are in {arguments.results}.")


if __name__ == "__main__":
    main()
