"""What the `check` commands print."""

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence

from rich.text import Text

from springtide_services.stream.kafka_check import Finding, Level
from springtide_services.terminal import console

_STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.FAILURE: "bold red", Level.UNKNOWN: "dim"}
_INDENT = 9


def show_findings(findings: Sequence[Finding], *, as_json: bool) -> None:
    """Print the findings: one per line with the way out below it, or as a JSON array of objects."""
    if as_json:
        console().print_json(json.dumps([dataclasses.asdict(finding) for finding in findings]))
        return
    for finding in findings:
        line = Text.assemble((f"{finding.level:<{_INDENT}}", _STYLES[finding.level]), finding.subject, ": ")
        console().print(line.append(finding.message), soft_wrap=True)
        for way_out in (finding.advice, finding.command):
            if way_out:
                console().print(Text(" " * _INDENT + way_out), soft_wrap=True)  # Unbroken, so that it can be copied.
    counts = Counter(finding.level for finding in findings)
    console().print(", ".join(f"{counts[level]} {level}" for level in Level if counts[level]))
