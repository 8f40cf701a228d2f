"""What the commands `check` and `doctor` print."""

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence

from rich.text import Text

from springtide_services.findings import Finding, Level
from springtide_services.terminal import console

_STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.FAILURE: "bold red", Level.UNKNOWN: "dim"}
_INDENT = 9


def show_findings(findings: Sequence[Finding], *, as_json: bool) -> None:
    """Print the findings: one per line with the way out below it, or as a JSON array of objects."""
    if as_json:
        console().print_json(json.dumps([dataclasses.asdict(finding) for finding in findings]))
        return
    for finding in findings:
        _print_finding(finding)
    console().print(_counts(findings))


def show_areas(areas: Mapping[str, Sequence[Finding]], *, shows_all: bool, as_json: bool) -> None:
    """Print findings by area, with what is well only if ``shows_all``; or all of them as a JSON object by area."""
    if as_json:
        found = {area: [dataclasses.asdict(each) for each in findings] for area, findings in areas.items()}
        console().print_json(json.dumps(found))
        return
    for area, findings in areas.items():
        shown = [finding for finding in findings if shows_all or finding.level is not Level.OK]
        if not shown:
            console().print(Text.assemble((f"{area}: ", "bold"), ("well", "green")))
            continue
        console().print(Text(area, "bold"))
        for finding in shown:
            _print_finding(finding)
    console().print(_counts([finding for findings in areas.values() for finding in findings]))


def _print_finding(finding: Finding) -> None:
    line = Text.assemble((f"{finding.level:<{_INDENT}}", _STYLES[finding.level]), finding.subject, ": ")
    console().print(line.append(finding.message), soft_wrap=True)
    for way_out in (finding.advice, finding.command):
        if way_out:
            console().print(Text(" " * _INDENT + way_out), soft_wrap=True)  # Unbroken, so that it can be copied.


def _counts(findings: Sequence[Finding]) -> str:
    counts = Counter(finding.level for finding in findings)
    return ", ".join(f"{counts[level]} {level}" for level in Level if counts[level])
