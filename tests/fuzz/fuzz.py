"""Gives any bytes to everything that reads some: events, requests, filters, settings, stored files; a million inputs.

Each input must end in an answer, a clear error or a dead letter. Whatever else happens fails, and its input is kept.
libFuzzer (by atheris) makes the inputs, led by the lines of Springtide's code that they reach; of requests it sees the
answers alone, since the server is another process.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from targets import Target

# Inputs of each target, a million in all: what takes long is given fewer.
NUM_INPUTS = {
    "events": 370_000,
    "json": 150_000,
    "settings": 30_000,
    "journal": 260_000,
    "checkpoint": 10_000,
    "model": 10_000,
    "expressions": 60_000,
    "requests": 40_000,
    "page_tokens": 40_000,
    "steering": 30_000,
}
_SLOW_S = 60.0  # An input that takes longer hangs.
_MOST_MIB = 4_096
_KEPT = Path("fuzz-results")


def main() -> int:
    """Fuzz all targets, or some, each in a process of its own, and print what became of the inputs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"of {', '.join(NUM_INPUTS)}; all if none is named"
    )
    parser.add_argument("--share", type=float, default=1.0, help="how much of a million inputs to give")
    parser.add_argument("--seed", type=int, default=1, help="of the random inputs")
    parser.add_argument("--again", type=Path, help="give one kept input to the one target")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)  # This process is a target's.
    arguments = parser.parse_args()
    names = arguments.targets or list(NUM_INPUTS)
    for name in names:
        if name not in NUM_INPUTS:
            parser.error(f"TARGET: wanted one of {', '.join(NUM_INPUTS)}, got {name}")
    if arguments.inside is not None:
        fuzz(names[0], arguments.inside, round(NUM_INPUTS[names[0]] * arguments.share), arguments.seed)
        return 0
    if arguments.again is not None:
        target = make_target(names[0])
        print(target.run(arguments.again.read_bytes()))
        target.close()
        return 0
    return fuzz_all(names, arguments.share, arguments.seed)


def fuzz_all(names: list[str], share: float, seed: int) -> int:
    table = Table("target", "inputs", "seconds", "what became of them", box=box.SIMPLE_HEAD, pad_edge=False)
    failed = []
    for name in names:
        with tempfile.TemporaryDirectory(prefix="springtide-fuzz-") as folder:
            command = [sys.executable, __file__, name, "--inside", folder, "--share", str(share), "--seed", str(seed)]
            started = time.monotonic()
            with (Path(folder) / "log").open("w") as log:
                code = subprocess.run(command, stderr=log, check=False, env=os.environ | {"TMPDIR": folder}).returncode
            if code:
                print("\n".join((Path(folder) / "log").read_text(errors="replace").splitlines()[-40:]))
            took_s = time.monotonic() - started
            path = Path(folder) / "outcomes.json"
            outcomes = Counter(json.loads(path.read_text()) if path.exists() else {})
        kinds = Counter[str]()
        for outcome, count in outcomes.items():
            kinds[outcome.partition(":")[0]] += count
        words = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
        failed += [name] if code else []
        table.add_row(name, f"{outcomes.total():,}", f"{took_s:,.0f}", f"FAILED: {words}" if code else words)
        note(name, outcomes.total(), code)
    Console(width=120).print(table)
    if failed:
        print(f"failed: {', '.join(failed)}; their inputs are in {_KEPT}, see --again")
    return int(bool(failed))


def note(name: str, num_inputs: int, code: int) -> None:
    """Add a row to the table of faults, if one is being made."""
    if path := os.environ.get("TABLE_ROWS", ""):
        row = {
            "fault": f"any bytes: {name}",
            "where": "make fuzz",
            "times": num_inputs,
            "lost": 0,
            "failed": bool(code),
        }
        with open(path, "a") as file:
            file.write(json.dumps(row | {"failed": bool(code)}) + "\n")


def make_target(name: str) -> "Target":
    """Return a target by name; slow to import."""
    import targets

    if name == "requests":
        from requests_target import requests_target

        return requests_target()
    if name == "expressions":
        from expressions_target import expressions_target

        return expressions_target()
    if name == "page_tokens":
        from page_tokens_target import page_tokens_target

        return page_tokens_target()
    if name == "steering":
        from steering_target import steering_target

        return steering_target()
    makers: dict[str, Callable[[], Target]] = {
        "events": targets.events_target,
        "json": targets.json_target,
        "settings": targets.settings_target,
        "journal": targets.journal_target,
        "checkpoint": targets.checkpoint_target,
        "model": targets.model_target,
    }
    return makers[name]()


def fuzz(name: str, folder: Path, num_inputs: int, seed: int) -> None:
    """Give inputs to one target until there were enough; libFuzzer ends the process."""
    import logging

    import atheris
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with atheris.instrument_imports(include=["springtide", "springtide_services"]):
        target = make_target(name)
    outcomes = Counter[str]()

    def give(data: bytes) -> None:
        outcomes[target.run(data)] += 1
        if outcomes.total() >= num_inputs:
            (folder / "outcomes.json").write_text(json.dumps(outcomes))
            target.close()
            os._exit(0)

    corpus = folder / "corpus"
    corpus.mkdir()
    for number, content in enumerate(target.seeds):
        (corpus / f"seed{number}").write_bytes(content)
    _KEPT.mkdir(exist_ok=True)
    options = {
        "runs": 2 * num_inputs,
        "seed": seed,
        "timeout": round(_SLOW_S),
        "rss_limit_mb": _MOST_MIB,
        "max_len": 32_768,
        "artifact_prefix": f"{_KEPT}/{name}-",
        "print_final_stats": 0,
        "verbosity": 0,
    }
    atheris.Setup([sys.argv[0], *(f"-{key}={value}" for key, value in options.items()), str(corpus)], give)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
