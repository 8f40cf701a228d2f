"""Learn the travel times of a simulated city, and print the errors: ``python -m springtide_travel_time``."""

import argparse

import torch
from rich.console import Console
from rich.table import Table

from springtide.plugins.loading import load_plugins
from springtide.settings.model import ModelSettings, PartSettings
from springtide.training import TaskTraining
from springtide_travel_time.learning import Errors, errors_by_road_class, errors_of_network
from springtide_travel_time.roads import make_city
from springtide_travel_time.task import TravelTime


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(prog="springtide_travel_time", description=__doc__)
    parser.add_argument("--encoder", default="graphsage", help="any that `springtide plugins list` shows")
    parser.add_argument("--size", type=int, default=12, help="streets in each direction")
    parser.add_argument("--steps", type=int, default=200, help="steps of training")
    parser.add_argument("--seed", type=int, default=0, help="seed of the city and the training")
    args = parser.parse_args()

    torch.set_num_threads(1)  # The city is small: more threads only wait for each other.
    plugins = load_plugins().with_part("task", "travel_time", TravelTime)
    city = make_city(args.size, seed=args.seed)
    model = ModelSettings(width=32, encoder=PartSettings(name=args.encoder), aggregator=PartSettings(name="mean"))
    training = TaskTraining(args.steps, batch=64, held_out=0.0, seed=args.seed)
    table = Table("", "segments", "routes", title="Mean error where nothing was measured")
    rows: list[tuple[str, Errors]] = [
        ("speed limit × mean slowdown of the road class", errors_by_road_class(city)),
        (
            f"{args.encoder}, each segment alone",
            errors_of_network(city, model, plugins, training, is_linked=False),
        ),
        (f"{args.encoder}, over the roads", errors_of_network(city, model, plugins, training)),
    ]
    for name, errors in rows:
        table.add_row(name, f"{errors.segment:.1%}", f"{errors.route:.1%}")
    Console().print(table)


if __name__ == "__main__":
    main()
