"""How much is measured: what the figures are about, or just enough to see that a bench runs."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of things; ``repetitions`` of each measurement, and ``load_s`` seconds of load in each."""

    repetitions: int = 5
    singles: int = 200_000
    catch_up: int = 1_000_000
    packed: int = 1_000_000
    edges: int = 2_000_000
    networkx_edges: int = 200_000
    users: int = 20_000
    items: int = 100_000
    served_interactions: int = 1_000_000
    load_s: float = 2.0
    ranked_items: tuple[int, ...] = (2_500, 100_000, 1_000_000)
    one_process_items: int = 1_000_000
    indexed_items: tuple[int, ...] = (20_000, 60_000, 200_000)
    open_items: int = 1_000_000
    open_users: int = 200_000
    open_edges: int = 3_000_000
    open_per_s: int = 1_000
    open_s: float = 20.0
    purchases: int = 200
    freshness_events: int = 1_000
    retrain_interactions: int | None = None  # All of the data set.
    light_gcn_epochs: int = 20
    generations: int = 10
    generation_users: int = 100_000
    generation_edges: int = 500_000
    scale_edges: tuple[int, ...] = (1_000_000, 3_000_000, 10_000_000)
    start_edges: int = 10_000_000
    checkpoint_edges: int = 10_000_000
    checkpoint_users: int = 200_000
    checkpoint_items: int = 1_000_000
    growth: tuple[tuple[int, int], ...] = ((1_000_000, 10_000), (5_000_000, 100_000))  # Edges and items.
    growth_users: int = 200_000
    footprint_events: int = 61_788
    footprint_installs: bool = True
    footprint_steps: int | None = None  # Those of the settings.


FULL = Sizes()
BIG = Sizes(  # Of the benches about size: 100 million edges take 6 GiB, and half an hour.
    checkpoint_edges=100_000_000,
    one_process_items=10_000_000,
    indexed_items=(1_000_000,),
    growth=((1_000_000, 10_000), (10_000_000, 100_000), (100_000_000, 1_000_000)),
)
TINY = Sizes(
    repetitions=1,
    singles=2_000,
    catch_up=2_000,
    packed=20_000,
    edges=20_000,
    networkx_edges=1_000,
    users=200,
    items=500,
    served_interactions=5_000,
    load_s=0.3,
    ranked_items=(500,),
    one_process_items=500,
    indexed_items=(500,),
    open_items=500,
    open_users=200,
    open_edges=5_000,
    open_per_s=20,
    open_s=0.5,
    purchases=5,
    freshness_events=20,
    retrain_interactions=5_000,
    light_gcn_epochs=1,
    generations=1,
    generation_users=200,
    generation_edges=2_000,
    scale_edges=(2_000, 4_000),
    start_edges=5_000,
    checkpoint_edges=20_000,
    checkpoint_users=200,
    checkpoint_items=500,
    growth=((2_000, 100), (4_000, 500)),
    growth_users=200,
    footprint_events=5_000,
    footprint_installs=False,
    footprint_steps=2,
)
