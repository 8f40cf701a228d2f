"""Which variants of the running experiments a user has: by a hash of the user's id, so always the same ones.

A user's digest (BLAKE2b, 16 bytes, of the layer's salt, the layer and the user) falls into one of the layer's 10,000
places, and each experiment has as many of them as its variants' shares say. Which ones, a table of pseudo-random
numbers (SHAKE-256 of the experiment's name) decides: of all pairs of an experiment and a place, the one with the least
number is served first, until the experiment has its places; a place is given once. A second digest, of the experiment's
name too, decides between the variants, in proportion to their shares.

So an experiment that grows with its proportions kept moves nobody who has a variant, as long as it has its layer for
itself; beside others it takes some places from them, as seldom as chance has it. No rule without memory could do
without that for three or more: where each keeps its places whatever the others' shares are, any two of them would have
to have the same ones. If the proportions of variants change, those move who are between the old and the new bounds.

Users without an id have no variant: what would tell them apart, their session's items, changes from click to click.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from springtide.errors import InvalidRequestError
from springtide.recommendation_ids import MAX_ARMS, MAX_VARIANTS, ArmCode, experiment_hash
from springtide.steering.values import Experiment, Variant

NUM_PLACES = 10_000
"""Places of a layer: shares of experiments count in ten-thousandths."""

_DIGEST_BYTES = 8
_FULL = 1 << (8 * _DIGEST_BYTES)
_NOBODY = -1
_SHARE_SLACK = 1e-9  # Ten shares of 0.1 add up to 1, whatever the last bit says.


@dataclass(frozen=True, slots=True)
class Arm:
    """A variant that a user has.

    Attributes:
        experiment: The experiment's name.
        variant: The variant.
        code: What stands for both in the names of answers.
    """

    experiment: str
    variant: Variant
    code: ArmCode


class Assigner:
    """Says what each user has in the experiments of one time. It never changes.

    Args:
        experiments: That ``check_experiments`` takes. Those that have ended, or begin later, keep their places.
    """

    def __init__(self, experiments: Sequence[Experiment]) -> None:
        by_layer: dict[tuple[str, str], list[Experiment]] = {}
        for experiment in sorted(experiments, key=lambda each: each.name):
            by_layer.setdefault(_layer(experiment), []).append(experiment)
        self._layers = [_Layer(of_layer) for of_layer in by_layer.values()]

    def arms(self, user_id: str, now_ms: int) -> tuple[Arm, ...]:
        """Return what a user has at a moment, in the order of the experiments' layers.

        Args:
            user_id: The user; nothing for an empty id.
            now_ms: The moment, milliseconds since the Unix epoch.
        """
        if not user_id or not self._layers:
            return ()
        found = (layer.arm(user_id, now_ms) for layer in self._layers)
        return tuple([arm for arm in found if arm is not None][:MAX_ARMS])


class _Layer:
    """The experiments of one layer, of which a user is in one at most."""

    def __init__(self, experiments: Sequence[Experiment]) -> None:
        salt = next((each.salt for each in experiments if each.salt), "")
        named, layer = _layer(experiments[0])
        self._salt = _salt(salt or layer, named, layer)
        self._owner = _places(experiments).tolist()
        self._arms = [_Arms(each, salt or layer) for each in experiments]

    def arm(self, user_id: str, now_ms: int) -> Arm | None:
        owner = self._owner[_point(self._salt, user_id) * NUM_PLACES // _FULL]
        return None if owner == _NOBODY else self._arms[owner].arm(user_id, now_ms)


class _Arms:
    """The variants of one experiment."""

    def __init__(self, experiment: Experiment, salt: str) -> None:
        self._salt = _salt(salt, "experiment", experiment.name)
        self._start_ms, self._end_ms = experiment.start_ms, experiment.end_ms
        total = sum(variant.share for variant in experiment.variants)
        bounds = accumulate(variant.share / total for variant in experiment.variants)
        self._bounds = [round(bound * _FULL) for bound in bounds]
        name_hash = experiment_hash(experiment.name)
        self._arms = [
            Arm(experiment.name, variant, (name_hash, index)) for index, variant in enumerate(experiment.variants)
        ]

    def arm(self, user_id: str, now_ms: int) -> Arm | None:
        if (self._start_ms is not None and now_ms < self._start_ms) or (
            self._end_ms is not None and now_ms >= self._end_ms
        ):
            return None
        point = _point(self._salt, user_id)
        for bound, arm in zip(self._bounds, self._arms, strict=True):
            if point < bound:
                return arm
        return self._arms[-1]  # The last bound may be a bit below 1.


def check_experiments(experiments: Sequence[Experiment]) -> None:
    """Refuse experiments that cannot run beside each other.

    Raises:
        InvalidRequestError: If shares are none, those of a layer are more than 1, those of an experiment are less than
            a place, its variants are fewer than two, more than 256 or have one name; if experiments of a layer have
            unequal salts; if names are alike by their hashes; or there are more than 32 layers.
    """
    layers: dict[tuple[str, str], list[Experiment]] = {}
    names: dict[int, str] = {}
    for experiment in experiments:
        field, num_variants = f"experiments.{experiment.name}", len(experiment.variants)
        if not 2 <= num_variants <= MAX_VARIANTS:
            raise InvalidRequestError(f"{field}.variants", f"wanted 2 to {MAX_VARIANTS}, got {num_variants}")
        if len({variant.name for variant in experiment.variants}) < num_variants:
            raise InvalidRequestError(f"{field}.variants", "wanted names that differ")
        for variant in experiment.variants:
            if not 0 < variant.share <= 1:  # As not a NaN is.
                raise InvalidRequestError(
                    f"{field}.variants.{variant.name}.share",
                    f"wanted more than 0, and at most 1, got {variant.share:g}",
                )
        if (share := _share(experiment)) * NUM_PLACES < 1:
            raise InvalidRequestError(
                f"{field}.variants", f"wanted shares of {1 / NUM_PLACES:g} together, got {share:g}"
            )
        if names.setdefault(experiment_hash(experiment.name), experiment.name) != experiment.name:
            other = names[experiment_hash(experiment.name)]
            raise InvalidRequestError(
                f"{field}.name", f"in the names of answers it is the same as {other!r}: rename it"
            )
        layers.setdefault(_layer(experiment), []).append(experiment)
    for (_, layer), of_layer in layers.items():
        field = f"experiments.{of_layer[0].name}"
        if (total := sum(map(_share, of_layer))) > 1 + _SHARE_SLACK:
            raise InvalidRequestError(
                f"{field}.variants", f"wanted shares of the layer {layer!r} of 1 at most, got {total:g}"
            )
        if len(salts := {each.salt for each in of_layer}) > 1:
            raise InvalidRequestError(f"{field}.salt", f"wanted one salt in the layer {layer!r}, got {sorted(salts)}")
    if len(layers) > MAX_ARMS:
        raise InvalidRequestError("experiments", f"wanted at most {MAX_ARMS} layers, got {len(layers)}")


def _layer(experiment: Experiment) -> tuple[str, str]:
    """Return the layer of an experiment; one that names none has one of its own."""
    return ("layer", experiment.layer) if experiment.layer else ("own", experiment.name)


def _share(experiment: Experiment) -> float:
    return sum(variant.share for variant in experiment.variants)


def _places(experiments: Sequence[Experiment]) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Return which experiment has each place of a layer, int64 ``[NUM_PLACES]``, -1 for none."""
    owner = np.full(NUM_PLACES, _NOBODY, np.int64)
    wanted = [int(_share(each) * NUM_PLACES + _SHARE_SLACK * NUM_PLACES) for each in experiments]
    numbers = np.stack([_numbers(each.name) for each in experiments])  # [num_experiments, NUM_PLACES]
    for pair in np.argsort(numbers, axis=None, kind="stable").tolist():
        index, place = divmod(pair, NUM_PLACES)
        if wanted[index] and owner[place] == _NOBODY:
            owner[place] = index
            wanted[index] -= 1
    return owner


def _numbers(name: str) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    digest = hashlib.shake_256(b"places\0" + name.encode()).digest(NUM_PLACES * _DIGEST_BYTES)
    return np.frombuffer(digest, ">u8").astype(np.uint64)


def _salt(*parts: str) -> hashlib.blake2b:
    """Return a hash that has taken in some texts; ends are told apart, since ids may hold any character."""
    salted = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        salted.update(len(part.encode()).to_bytes(4) + part.encode())
    return salted


def _point(salt: hashlib.blake2b, user_id: str) -> int:
    """Return where a user falls, from 0 to 2^64 - 1."""
    salted = salt.copy()
    salted.update(user_id.encode())
    return int.from_bytes(salted.digest())
