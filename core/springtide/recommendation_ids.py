"""Names of answers, which say what their users had in experiments: whoever reads one back needs to look nothing up.

A name is base64url without padding. Decoded, it is a version byte, the answer's moment as milliseconds since the Unix
epoch (6 bytes, big-endian, modulo 2^48) and 5 random bytes. If the user was in experiments, 2 bytes of a checksum of
all the rest follow, then 5 bytes for each: 4 of the digest of the experiment's name, and the variant's index.
"""

import binascii
import hashlib
import random
from collections.abc import Sequence

ArmCode = tuple[int, int]
"""The hash of an experiment's name, 32 bits, and the index of the variant."""

MAX_ARMS = 32
"""Most experiments whose variants a name can tell: it has 231 characters then, and events take 256."""

MAX_VARIANTS = 256
"""Most variants of an experiment."""

_VERSION = 0xD1  # Names begin with `0`; another layout gets another version.
_HEAD_BYTES = 12
_CHECK_BYTES = 2
_ARM_BYTES = 5
_VARIANT_BITS = 8
_MOMENT_MASK = (1 << 48) - 1
_RANDOM_BITS = 40
_FIRST = _VERSION << 88
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_STANDARD = bytes.maketrans(b"-_", b"+/")
_MAX_CHARACTERS = 4 * (_HEAD_BYTES + _CHECK_BYTES + MAX_ARMS * _ARM_BYTES + 2) // 3
_chance = random.SystemRandom().randbytes(16)
_random_bits = random.Random(_chance).getrandbits  # Names need not be secret, and this takes a tenth of the system's.


def experiment_hash(name: str) -> int:
    """Return the 32 bits that stand for an experiment's name; the same in all versions."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest())


def pack_arms(arms: Sequence[ArmCode]) -> bytes:
    """Return variants as ``new_id`` takes them, 5 bytes each.

    Raises:
        ValueError: If there are more than ``MAX_ARMS``, or a number is out of range.
    """
    if len(arms) > MAX_ARMS:
        raise ValueError(f"wanted at most {MAX_ARMS} variants, got {len(arms)}")
    for name_hash, variant in arms:
        if not (0 <= name_hash < 1 << 32 and 0 <= variant < MAX_VARIANTS):
            raise ValueError(f"wanted 32 bits and an index below {MAX_VARIANTS}, got {name_hash} and {variant}")
    return b"".join((name_hash << _VARIANT_BITS | variant).to_bytes(_ARM_BYTES) for name_hash, variant in arms)


def new_id(timestamp_ms: int, packed_arms: bytes = b"") -> bytes:
    """Return the name of a new answer, in ASCII.

    Args:
        timestamp_ms: The answer's moment, milliseconds since the Unix epoch.
        packed_arms: What the user has in experiments, see ``pack_arms``.
    """
    head = (_FIRST | (timestamp_ms & _MOMENT_MASK) << _RANDOM_BITS | _random_bits(_RANDOM_BITS)).to_bytes(_HEAD_BYTES)
    if packed_arms:
        head += _check(head, packed_arms) + packed_arms
        return binascii.b2a_base64(head, newline=False).translate(_URL_SAFE).rstrip(b"=")
    return binascii.b2a_base64(head, newline=False).translate(_URL_SAFE)


def arms_of(recommendation_id: str) -> tuple[ArmCode, ...]:
    """Return what the user of an answer had in experiments; nothing if they had nothing, or the name is not ours."""
    decoded = _decoded(recommendation_id)
    if decoded is None or len(decoded) == _HEAD_BYTES:
        return ()
    arms = decoded[_HEAD_BYTES + _CHECK_BYTES :]
    codes = [int.from_bytes(arms[at : at + _ARM_BYTES]) for at in range(0, len(arms), _ARM_BYTES)]
    return tuple((code >> _VARIANT_BITS, code & (MAX_VARIANTS - 1)) for code in codes)


def moment_ms_of(recommendation_id: str) -> int | None:
    """Return the moment of an answer, milliseconds since the Unix epoch; None if the name is not ours.

    Moments before 1970 come back 2^48 later.
    """
    decoded = _decoded(recommendation_id)
    return None if decoded is None else int.from_bytes(decoded[1:7])


def _decoded(recommendation_id: str) -> bytes | None:
    """Return the bytes of a name of ours; None of another one."""
    if not _HEAD_BYTES <= len(recommendation_id) <= _MAX_CHARACTERS or not recommendation_id.isascii():
        return None
    text = recommendation_id.encode().translate(_STANDARD)
    try:
        decoded = binascii.a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)
    except ValueError:
        return None
    if len(decoded) < _HEAD_BYTES or decoded[0] != _VERSION:
        return None
    if len(decoded) == _HEAD_BYTES:
        return decoded
    head, check = decoded[:_HEAD_BYTES], decoded[_HEAD_BYTES : _HEAD_BYTES + _CHECK_BYTES]
    arms = decoded[_HEAD_BYTES + _CHECK_BYTES :]
    if not arms or len(arms) % _ARM_BYTES or len(arms) > MAX_ARMS * _ARM_BYTES or check != _check(head, arms):
        return None
    return decoded


def _check(head: bytes, arms: bytes) -> bytes:
    return (binascii.crc32(arms, binascii.crc32(head)) & 0xFFFF).to_bytes(_CHECK_BYTES)
