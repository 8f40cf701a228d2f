"""Rules, scenarios and experiments, of any bytes: as a file, as a request, and as a version whose checksum is right."""

import json
import tempfile
from pathlib import Path

from google.protobuf.message import DecodeError
from targets import Target

from springtide.errors import InvalidRequestError, SteeringError
from springtide.numbered_states import sealed
from springtide.steering.checks import checked
from springtide.steering.reading import parse_document
from springtide.steering.store import SteeringStore, to_json
from springtide.steering.values import Experiment, QuerySteering, Rule, Scenario, Steering, Variant
from springtide.steering.writing import to_document
from springtide.v1 import steering_pb2
from springtide_services.serving.steering_translation import to_message, to_values

STEERING = Steering(
    (Rule("ended", "block", ("i1",), end_ms=1_800_000_000_000), Rule("up", "boost", filter="price < 2", factor=2.0)),
    {"home": Scenario("home", QuerySteering(max_per=(("brand", 2),), rotation_time_ms=86_400_000), count=3)},
    (Experiment("shelf", (Variant("a", 0.5), Variant("b", 0.5, scenario="home"))),),
)


def steering_target() -> Target:
    """Something that steers: the first byte says whether the others are a file, a message, or a stored version."""
    folder = tempfile.TemporaryDirectory()
    store = SteeringStore(folder.name)
    version, _ = store.change(lambda _: STEERING)
    path = Path(folder.name) / "versions" / f"{version.version:012d}.json"
    fields = json.loads(path.read_bytes())
    del fields["sha256"]

    def run(data: bytes) -> str:
        kind, rest = data[:1] or b"\0", data[1:]
        try:
            if kind[0] % 3 == 0:
                return _used(parse_document(rest.decode(errors="replace")))
            if kind[0] % 3 == 1:
                return _used(checked(to_values(steering_pb2.Steering.FromString(rest)))[0])
        except (SteeringError, InvalidRequestError, DecodeError):
            return "clear error"
        try:
            content = json.loads(rest)
            path.write_bytes(sealed(content) if isinstance(content, dict) else rest)
        except (ValueError, RecursionError):
            path.write_bytes(rest)
        stored = store.load()
        return "clear error" if stored.fault else "stored"

    seeds = [b"\x00" + to_document(STEERING).encode(), b"\x01" + to_message(STEERING).SerializeToString()]
    return Target(run, [*seeds, b"\x02" + json.dumps(fields).encode()], folder.cleanup)


def _used(steering: Steering) -> str:
    """Return ``used`` for what was taken: it reads back from all that it is written to."""
    wanted = to_json(steering)
    assert to_json(parse_document(to_document(steering))) == wanted
    assert to_json(to_values(to_message(steering))) == wanted
    return "used"
