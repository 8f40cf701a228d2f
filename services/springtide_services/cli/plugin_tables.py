"""Plugins as tables."""

import dataclasses
import itertools
import json
from collections.abc import Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from springtide.errors import PluginError
from springtide.plugins.loading import KINDS, Part, Plugins, load_plugins
from springtide.plugins.options import NONE, Option
from springtide.settings.model import Settings
from springtide_services.terminal import console


def show_plugins(settings: Settings, *, as_json: bool = False) -> bool:
    """Print the parts that plugins offer, by kind, each with its options; then the plugins, also those not loaded.

    Args:
        settings: The plugins in addition to the installed ones.
        as_json: Print JSON: ``{"parts": [{"kind", "name", "summary", "origin", "plugin", "options"}], "plugins":
            [{"name", "distribution", "version", "way"}], "failures", "not_allowed"}``.

    Returns:
        Whether a server would start: no plugin failed, or ``plugins.on_error`` is ``skip``.
    """
    # Failed plugins never end this command: it shows them beside all others.
    plugins = load_plugins(settings.plugins.model_copy(update={"on_error": "skip"}))
    parts = sorted(plugins.parts, key=lambda part: (list(KINDS).index(part.kind), part.name))
    if as_json:
        print(_plugins_as_json(parts, plugins))  # noqa: T201  # For programs: no wrapping by a console.
    else:
        console().print(_parts_table(parts))
        console().print("[bold]plugins[/]")
        for plugin in plugins.loaded:
            console().print(Text(f"  {plugin}"))
        for package in plugins.not_allowed:
            console().print(Text(f"  not loaded: {package}", style="yellow"))
        for failure in plugins.failures:
            console().print(f"[red]✗[/] {escape(str(failure))}")
    return not plugins.failures or settings.plugins.on_error == "skip"


def _parts_table(parts: Sequence[Part]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    table.add_column(no_wrap=True, style="dim")
    for kind, group in itertools.groupby(parts, key=lambda part: part.kind):
        table.add_row(f"[bold]{kind}[/]")
        for part in group:
            if (reason := _fault(part)) is not None:
                table.add_row(f"  {part.name}", Text(reason, style="red"), part.origin)
                continue
            described = Text(part.summary)
            for before, option in zip(itertools.chain("\n", itertools.repeat(", ")), part.options, strict=False):
                described.append(before)
                described.append(f"{option.name} = {_written(option.default)}", style="cyan")
                described.append(_bounds(option), style="dim")
            table.add_row(f"  {part.name}", described, part.origin)
    return table


def _fault(part: Part) -> str | None:
    """Return why a part that is registered by reference cannot be had; None if it can."""
    try:
        part.options  # noqa: B018  # Looked at, so that it is imported.
    except PluginError as error:
        return str(error)
    return None


def _bounds(option: Option) -> str:
    """Return, in brackets, what the default does not show: the type, the range, whether it may be none."""
    shows_type = option.type.startswith("'") or (option.default is None and not option.range)
    if shows_type:
        said = ", ".join(filter(None, (option.type, option.range)))
    else:
        said = " or ".join(filter(None, (option.range, NONE if option.may_be_none else "")))
    return f" ({said})" if said else ""


def _written(value: Any) -> str:
    """Return a value as settings write it."""
    return NONE if value is None else json.dumps(value, default=str)


def _plugins_as_json(parts: Sequence[Part], plugins: Plugins) -> str:
    return json.dumps(
        {
            "parts": [
                {
                    "kind": part.kind,
                    "name": part.name,
                    "summary": "" if fault else part.summary,
                    "origin": part.origin,
                    "plugin": part.plugin,
                    "options": [] if fault else [dataclasses.asdict(option) for option in part.options],
                    **({"fault": fault} if fault else {}),
                }
                for part, fault in ((part, _fault(part)) for part in parts)
            ],
            "plugins": [dataclasses.asdict(plugin) for plugin in plugins.loaded],
            "failures": [dataclasses.asdict(failure) for failure in plugins.failures],
            "not_allowed": [dataclasses.asdict(left_out) for left_out in plugins.not_allowed],
        },
        indent=2,
        default=str,
        ensure_ascii=False,
    )
