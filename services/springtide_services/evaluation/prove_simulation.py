"""The simulations of the `prove` command: how much of a known ground truth the context weights recover."""

from rich.table import Table

from springtide.evaluation.simulation import (
    EFFECTS,
    PROFILES,
    OracleComparison,
    SimulatorSettings,
    World,
    compare_with_oracle,
    measure_beside_growth,
    measure_recovery,
    rows_of_items,
    simulate,
    state_of_world,
)
from springtide.evaluation.variants import with_weights_named
from springtide.plugins.loading import Plugins
from springtide.settings.model import Settings
from springtide_services.terminal import console

_WEIGHT_OF_EFFECT = {**dict.fromkeys(PROFILES, "calendar"), "place": "place", "weather": "weather"}
_GROWTHS = (0.0, 0.4, 0.8)
_CONTEXT_WEIGHTS = ("popularity", "calendar", "place", "weather")


def show_recovery(num_events: int, settings: Settings, plugins: Plugins) -> None:
    """Print the correlation of the calendar's learned profiles with the true ones.

    Args:
        num_events: Number of interactions of the simulated market.
        settings: Settings of the model.
        plugins: Plugins that offer the parts.
    """
    world = simulate(SimulatorSettings(num_events=num_events, effects=frozenset(PROFILES)))
    state = state_of_world(world, with_weights_named(settings, ["calendar"]), plugins)
    rows = rows_of_items(world, state)
    table = Table(box=None, pad_edge=False, title=f"Recovered profiles, {num_events:,} events", title_justify="left")
    for heading in ("profile", "items above 200 events", "correlation", "items below 20", "correlation"):
        table.add_column(heading, justify="left" if heading == "profile" else "right")
    for profile in PROFILES:
        found = measure_recovery(world, state.context_weights["calendar"], rows, profile)
        table.add_row(profile, f"{found.num_many}", f"{found.many:.3f}", f"{found.num_few}", f"{found.few:.3f}")
    console().print(table)


def show_growth(num_events: int, settings: Settings, plugins: Plugins) -> None:
    """Print what the calendar learns of the time of year where items grow and shrink, with and without a season.

    Args:
        num_events: Number of interactions of each simulated market.
        settings: Settings of the model.
        plugins: Plugins that offer the parts.
    """
    title = f"Time of year beside growth, {num_events:,} events of three years"
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    for heading in (
        "season",
        "growth a year",
        "items above 200 events",
        "spread of profiles",
        "tilt with growth",
        "correlation",
    ):
        table.add_column(heading, justify="left" if heading == "season" else "right")
    for effects in (frozenset[str](), frozenset({"year"})):
        for growth in _GROWTHS:
            world = simulate(
                SimulatorSettings(num_events=num_events, effects=effects, drift=0.0, new_share=0.0, growth=growth)
            )
            state = state_of_world(world, with_weights_named(settings, ["calendar"]), plugins)
            found = measure_beside_growth(world, state.context_weights["calendar"], rows_of_items(world, state))
            table.add_row(
                "yes" if effects else "no",
                f"{growth:.0%}",
                f"{found.num_items}",
                f"{found.spread:.3f}",
                f"{found.tilt:.2f}" if growth else "",
                f"{found.correlation:.3f}" if effects else "",
            )
    console().print(table)


def show_effects(num_events: int, settings: Settings, plugins: Plugins) -> None:
    """Print NDCG without and with the weight of each effect, and the weight's exponent with and without the effect.

    Args:
        num_events: Number of interactions of each simulated market.
        settings: Settings of the model.
        plugins: Plugins that offer the parts.
    """

    def compare(world: World, *weights: str) -> OracleComparison:
        return compare_with_oracle(world, with_weights_named(settings, weights), plugins)

    title = "NDCG@20 of the next item, of an oracle that knows tastes, popularity and context"
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    headings = ("effect", "weight", "without", "with", "exponent", "exponent without the effect", "of true context")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("effect", "weight") else "right")
    for effect in EFFECTS:
        weight = _WEIGHT_OF_EFFECT[effect]
        world = simulate(SimulatorSettings(num_events=num_events, effects=frozenset({effect})))
        world_without = simulate(SimulatorSettings(num_events=num_events, effects=frozenset(EFFECTS) - {effect}))
        base = compare(world, "popularity")
        with_weight = compare(world, "popularity", weight)
        without_effect = compare(world_without, *_CONTEXT_WEIGHTS)
        exponents = [found.exponents.get(weight, {}).get(effect, 0.0) for found in (with_weight, without_effect)]
        table.add_row(
            effect,
            weight,
            f"{base.share:.1%}",
            f"{with_weight.share:.1%}",
            *[f"{exponent:.3f}" for exponent in exponents],
            f"{with_weight.share_of_context:.1%}",
        )
    world = simulate(SimulatorSettings(num_events=num_events))
    base, everything = compare(world, "popularity"), compare(world, *_CONTEXT_WEIGHTS, "trend")
    shares = f"{base.share:.1%}", f"{everything.share:.1%}"
    table.add_row("all", "all", *shares, "", "", f"{everything.share_of_context:.1%}")
    console().print(table)
