"""A simulated city: streets on a grid, traffic that spills over to neighbouring streets, and trips."""

import itertools
from dataclasses import dataclass

import networkx as nx
import numpy as np
import numpy.typing as npt

from springtide.events.model import NodeUpsert
from springtide.graph.live import LiveGraph

SEGMENT, ROUTE = "segment", "route"
LEADS_TO = (SEGMENT, "leads_to", SEGMENT)
PASSES = (ROUTE, "passes", SEGMENT)
TRAVEL_TIME = "travel_time_s"

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

_SPEED_LIMITS_KMH = {"main": 60.0, "side": 40.0, "local": 30.0}
_MAIN_EVERY, _SIDE_EVERY = 4, 2  # Every fourth street is a main one, every second of the others a side street.
_SPILL = 0.8  # Share of a segment's slowdown that comes from the traffic of its neighbours.
_START_MS = 1_700_000_000_000


@dataclass(frozen=True, slots=True)
class City:
    """Roads, traffic and trips, with all times known.

    Attributes:
        ends: int64 ``[num_segments, 2]``, the junctions that each segment leads from and to.
        road_class: Road class of each segment: ``main``, ``side`` or ``local``.
        length_m: float64 ``[num_segments]``.
        speed_limit_kmh: float64 ``[num_segments]``.
        vehicles_per_h: float64 ``[num_segments]``, count of a traffic counter, which is not exact.
        travel_time_s: float64 ``[num_segments]``.
        leads_to: int64 ``[num_turns, 2]``, pairs of a segment and one that may follow.
        routes: Segments of each route, in order.
        route_time_s: float64 ``[num_routes]``: the times of its segments, and the waiting at junctions between them.
        is_measured: bool ``[num_segments]``, whether the segment's time was measured.
        is_driven: bool ``[num_routes]``, whether the route's time was measured.
    """

    ends: Rows
    road_class: tuple[str, ...]
    length_m: Floats
    speed_limit_kmh: Floats
    vehicles_per_h: Floats
    travel_time_s: Floats
    leads_to: Rows
    routes: tuple[Rows, ...]
    route_time_s: Floats
    is_measured: npt.NDArray[np.bool_]
    is_driven: npt.NDArray[np.bool_]

    @property
    def free_flow_s(self) -> Floats:
        """Time of each segment at its speed limit, float64 ``[num_segments]``."""
        return self.length_m / (self.speed_limit_kmh / 3.6)


def make_city(size: int = 12, num_routes: int = 400, measured: float = 0.6, seed: int = 0) -> City:
    """Make a city.

    Traffic is dense around a few centres, which are not in the data. The slowdown of a segment depends on its own
    traffic and, more, on that of the segments before and after it, where cars queue. A counter measures the traffic of
    its own segment alone, with errors. So the neighbours tell more than the segment itself.

    Args:
        size: Number of streets in each direction, at least 3.
        num_routes: Number of routes.
        measured: Share of segments, and of routes, whose times are known.
        seed: Seed of everything.
    """
    generator = np.random.default_rng(seed)
    places = np.array([(row, column) for row in range(size) for column in range(size)], np.float64)
    ends = np.array(
        [
            (start, end)
            for start in range(size * size)
            for end in (start - size, start - 1, start + 1, start + size)
            if 0 <= end < size * size and (abs(start - end) == size or start // size == end // size)
        ]
    )
    road_class = tuple(_class_of(int(start), int(end), size) for start, end in ends)
    length_m = generator.uniform(120.0, 300.0, len(ends))
    speed_limit_kmh = np.array([_SPEED_LIMITS_KMH[name] for name in road_class])

    centres = generator.uniform(0.0, size - 1.0, (max(2, size // 3), 2))
    distances = np.linalg.norm(places[:, None] - centres[None], axis=-1)
    density = np.exp(-np.square(distances / (size / 6)) / 2).sum(1)  # [num_junctions]
    traffic = density[ends].mean(1) * generator.lognormal(0.0, 0.4, len(ends))
    counted = 600.0 * traffic * generator.lognormal(0.0, 0.4, len(ends))

    leads_to = _turns(ends)
    around = _mean_of_neighbours(traffic, leads_to)
    slowdown = 1.2 + 2.0 * ((1.0 - _SPILL) * traffic + _SPILL * around)
    travel_time_s = length_m / (speed_limit_kmh / 3.6) * slowdown

    routes = _routes(ends, travel_time_s, num_routes, generator)
    wait_s = 3.0 + 6.0 * density[ends[:, 1]]  # At the junction at the end of the segment.
    route_time_s = np.array([travel_time_s[route].sum() + wait_s[route[:-1]].sum() for route in routes])
    return City(
        ends,
        road_class,
        length_m,
        speed_limit_kmh,
        counted,
        travel_time_s,
        leads_to,
        routes,
        route_time_s,
        is_measured=generator.random(len(ends)) < measured,
        is_driven=generator.random(num_routes) < measured,
    )


def graph_of(city: City) -> LiveGraph:
    """Return the city as a live graph, with measured times only.

    Nodes: ``segment`` and ``route``, in the order of the city. Edges: (segment, leads_to, segment), and (route,
    passes, segment) a second apart, so that a route's segments have an order.
    """
    graph = LiveGraph()
    for row, road_class in enumerate(city.road_class):
        numbers = {
            "length_m": float(city.length_m[row]),
            "speed_limit_kmh": float(city.speed_limit_kmh[row]),
            "vehicles_per_h": float(city.vehicles_per_h[row]),
        }
        if city.is_measured[row]:
            numbers[TRAVEL_TIME] = float(city.travel_time_s[row])
        graph.upsert(NodeUpsert(SEGMENT, f"s{row}", {"road_class": (road_class,)}, numbers))
    for row, (is_driven, time_s) in enumerate(zip(city.is_driven, city.route_time_s, strict=True)):
        graph.upsert(NodeUpsert(ROUTE, f"r{row}", numbers={TRAVEL_TIME: float(time_s)} if is_driven else {}))
    before, after = city.leads_to.T
    graph.append(LEADS_TO, before, after, np.full(len(before), _START_MS), 1.0)
    route = np.repeat(np.arange(len(city.routes)), [len(segments) for segments in city.routes])
    position = np.concatenate([np.arange(len(segments)) for segments in city.routes])
    graph.append(PASSES, route, np.concatenate(city.routes), _START_MS + 1_000 * position, 1.0)
    return graph


def _class_of(start: int, end: int, size: int) -> str:
    """Return the road class of the street that both junctions lie on."""
    street = start // size if start // size == end // size else start % size
    if street % _MAIN_EVERY == 0:
        return "main"
    return "side" if street % _SIDE_EVERY == 0 else "local"


def _turns(ends: Rows) -> Rows:
    """Return pairs of a segment and one that may follow, without U-turns."""
    leaving: dict[int, list[int]] = {}
    for segment, (start, _) in enumerate(ends.tolist()):
        leaving.setdefault(start, []).append(segment)
    return np.array(
        [
            (segment, following)
            for segment, (start, end) in enumerate(ends.tolist())
            for following in leaving[end]
            if ends[following, 1] != start
        ]
    )


def _mean_of_neighbours(values: Floats, leads_to: Rows) -> Floats:
    """Return the mean over the segments before and after each."""
    before, after = leads_to.T
    total = np.bincount(before, values[after], len(values)) + np.bincount(after, values[before], len(values))
    return total / (np.bincount(before, minlength=len(values)) + np.bincount(after, minlength=len(values)))


def _routes(ends: Rows, time_s: Floats, count: int, generator: np.random.Generator) -> tuple[Rows, ...]:
    """Return the fastest routes between random junctions, of two segments or more."""
    network = nx.DiGraph()
    for segment, (start, end) in enumerate(ends.tolist()):
        network.add_edge(start, end, segment=segment, time_s=float(time_s[segment]))
    routes: list[Rows] = []
    while len(routes) < count:
        origin, goal = generator.integers(0, network.number_of_nodes(), 2).tolist()
        junctions = nx.shortest_path(network, origin, goal, weight="time_s")
        if len(junctions) > 2:
            routes.append(np.array([network.edges[step]["segment"] for step in itertools.pairwise(junctions)]))
    return tuple(routes)
