"""A simulated market with known ground truth, and how much of it a model recovers."""

from springtide.evaluation.simulation.recovery import (
    PROFILES,
    OracleComparison,
    Recovery,
    SeasonBesideGrowth,
    compare_with_oracle,
    measure_beside_growth,
    measure_recovery,
    rows_of_items,
    state_of_world,
)
from springtide.evaluation.simulation.simulator import EFFECTS, START_MS, SimulatorSettings, World, simulate

__all__ = [
    "EFFECTS",
    "PROFILES",
    "START_MS",
    "OracleComparison",
    "Recovery",
    "SeasonBesideGrowth",
    "SimulatorSettings",
    "World",
    "compare_with_oracle",
    "measure_beside_growth",
    "measure_recovery",
    "rows_of_items",
    "simulate",
    "state_of_world",
]
