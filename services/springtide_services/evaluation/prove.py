"""The `prove` command: what the context weights recover of a known truth, and what they are worth month by month."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from springtide.evaluation.protocols.walk_forward import MonthResults
    from springtide.plugins.loading import Plugins
    from springtide.settings.model import Settings

_TEMPORAL = frozenset({"year", "weekday", "hour"})
_WEIGHT_OF = {
    "year": ("calendar", "year"),
    "weekday": ("calendar", "weekday"),
    "hour": ("calendar", "hour"),
    "place": ("place", "place"),
    "weather": ("weather", "weather"),
}


def show_recovery(num_events: int, settings: "Settings", plugins: "Plugins") -> None:
    """Print how like the truth the calendar's profiles are."""
    from rich.table import Table

    from springtide.evaluation.simulation.recovery import PROFILES, recovery, rows_of_items, state_of_world
    from springtide.evaluation.simulation.simulator import SimulatorSettings, simulate
    from springtide_services.terminal import console

    world = simulate(SimulatorSettings(num_events=num_events, effects=_TEMPORAL))
    with_calendar = _with_weights(settings, ["calendar"])
    state = state_of_world(world, with_calendar, plugins)
    rows = rows_of_items(world, state)
    table = Table(box=None, pad_edge=False, title=f"Recovered profiles, {num_events:,} events", title_justify="left")
    for heading in ("profile", "items above 200 events", "correlation", "items below 20", "correlation"):
        table.add_column(heading, justify="left" if heading == "profile" else "right")
    for profile in PROFILES:
        found = recovery(world, state.context_weights["calendar"], rows, profile)
        table.add_row(profile, f"{found.num_many}", f"{found.many:.3f}", f"{found.num_few}", f"{found.few:.3f}")
    console().print(table)


def show_effects(num_events: int, settings: "Settings", plugins: "Plugins") -> None:
    """Print what each weight is worth where its effect exists, its exponent where not, and all of them together."""
    from rich.table import Table

    from springtide.evaluation.simulation.recovery import against_oracle
    from springtide.evaluation.simulation.simulator import EFFECTS, SimulatorSettings, simulate
    from springtide_services.terminal import console

    title = "NDCG@20 of the next item, of an oracle that knows tastes, popularity and context"
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    headings = ("effect", "weight", "without", "with", "exponent", "exponent without the effect", "of true context")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("effect", "weight") else "right")
    for effect in EFFECTS:
        name, factor = _WEIGHT_OF[effect]
        alone = simulate(SimulatorSettings(num_events=num_events, effects=frozenset({effect})))
        others = simulate(SimulatorSettings(num_events=num_events, effects=frozenset(EFFECTS) - {effect}))
        base = against_oracle(alone, _with_weights(settings, ["popularity"]), plugins)
        found = against_oracle(alone, _with_weights(settings, ["popularity", name]), plugins)
        absent = against_oracle(
            others, _with_weights(settings, ["popularity", "calendar", "place", "weather"]), plugins
        )
        exponents = [of.exponents.get(name, {}).get(factor, 0.0) for of in (found, absent)]
        table.add_row(
            effect,
            name,
            f"{base.share:.1%}",
            f"{found.share:.1%}",
            *[f"{exponent:.3f}" for exponent in exponents],
            f"{found.share_of_context:.1%}",
        )
    world = simulate(SimulatorSettings(num_events=num_events))
    base = against_oracle(world, _with_weights(settings, ["popularity"]), plugins)
    every = against_oracle(
        world, _with_weights(settings, ["popularity", "calendar", "place", "weather", "trend"]), plugins
    )
    table.add_row("all", "all", f"{base.share:.1%}", f"{every.share:.1%}", "", "", f"{every.share_of_context:.1%}")
    console().print(table)


def show_fine_tuning(dataset: str, settings: "Settings", plugins: "Plugins") -> None:
    """Print what fine-tuning loses and saves against training from scratch, block by block."""
    from rich.table import Table

    from springtide.evaluation.data.datasets import fetch
    from springtide.evaluation.protocols.fine_tuning import compare_fine_tuning
    from springtide_services.terminal import StageBars, console, progress

    table = Table(box=None, pad_edge=False, title="Fine-tuned block after block, of retrained", title_justify="left")
    for heading in ("block", "new: NDCG@20", "of retrained", "all: NDCG@20", "of retrained", "seconds", "of retrained"):
        table.add_column(heading, justify="right")
    with progress(console(stderr=True)) as bars:
        stages = StageBars(bars)
        for block in compare_fine_tuning(
            fetch(dataset), settings, plugins, lambda now: stages.show(now.stage, now.done, now.total, now.loss)
        ):
            stages.clear()
            ours, whole = block.fine_tuned, block.retrained
            table.add_row(
                f"{block.number}",
                f"{ours.new:.4f}",
                f"{ours.new / whole.new:.1%}",
                f"{ours.all:.4f}",
                f"{ours.all / whole.all:.1%}",
                f"{ours.seconds:.1f}",
                f"{ours.seconds / whole.seconds:.1%}",
            )
    console().print(table)


def show_months(months: list[int], results: Path, settings: "Settings", plugins: "Plugins") -> None:
    """Walk the Complete Journey, and print a table of each month as soon as it is measured."""
    from springtide.evaluation.data.datasets import fetch
    from springtide.evaluation.protocols.walk_forward import walk_forward
    from springtide.evaluation.results import ResultsFile
    from springtide_services.terminal import StageBars, console, progress

    kept = ResultsFile(results)
    dataset = fetch("complete-journey")
    with progress(console(stderr=True)) as bars:
        stages = StageBars(bars)
        for found in walk_forward(
            dataset,
            settings,
            plugins,
            months,
            kept,
            lambda now: stages.show(now.stage, now.done, now.total, now.loss),
        ):
            stages.clear()
            _print_month(found)


def _print_month(found: "MonthResults") -> None:
    from rich.table import Table

    from springtide_services.terminal import console

    title = f"Trained to the end of month {found.month}, asked for the next"
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    table.add_column("model")
    for heading in ("new: NDCG@20", "all: NDCG@20", "fit"):
        table.add_column(heading, justify="right")
    for label, result in found.results.items():
        measured = result.measurement
        if measured is not None:
            table.add_row(
                label, f"{measured.new.ndcg:.4f}", f"{measured.all.ndcg:.4f}", f"{measured.fit_seconds:.0f} s"
            )
    console().print(table)
    leads = found.lead(is_new_only=True), found.lead(is_new_only=False)
    console().print(f"All weights over the best control: {leads[0]:+.4f} new, {leads[1]:+.4f} all", highlight=False)


def _with_weights(settings: "Settings", names: list[str]) -> "Settings":
    ranking = settings.ranking
    chosen = {name: ranking.context_weights.get(name, {}) for name in names}
    return settings.model_copy(update={"ranking": ranking.model_copy(update={"context_weights": chosen})})
