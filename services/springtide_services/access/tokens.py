"""Tokens: what a client shows, and what is kept of it."""

import hashlib
import hmac
import json
import math
import re
import secrets
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from springtide.errors import SettingsError
from springtide_services.access.roles import Role

_PREFIX = "springtide"  # So that tools that look for secrets in texts can find ours.
_ID_BYTES = 6
_SECRET_BYTES = 32
_ID = re.compile(rf"[0-9a-f]{{{2 * _ID_BYTES}}}", re.ASCII)
_TOKEN = re.compile(rf"{_PREFIX}_(?P<id>{_ID.pattern})_(?P<secret>[0-9a-f]{{{2 * _SECRET_BYTES}}})", re.ASCII)
_NAME = re.compile(r"[\w.@+-]{1,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Token:
    """What is kept of a token; the token itself cannot be found from it.

    Attributes:
        id: Its public part, which finds it.
        name: Who has it, for people: letters, digits and ``._@+-``, at most 64.
        roles: What it is for; at least one.
        sha256: Digest of its secret part, in hexadecimal digits.
        created_ms: When it was made.
        expires_ms: From when on it is refused; None for never.
        revoked_ms: When it was revoked; None if it was not.
        requests_per_s: The most requests a second; None for what the settings say.

    Raises:
        ValueError: If one of them is none of these.
    """

    id: str
    name: str
    roles: tuple[Role, ...]
    sha256: str
    created_ms: int
    expires_ms: int | None = None
    revoked_ms: int | None = None
    requests_per_s: float | None = None

    def __post_init__(self) -> None:
        if not (_ID.fullmatch(self.id) and _SHA256.fullmatch(self.sha256)):
            raise ValueError("wanted an id and a digest as `tokens new` makes them")
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name: wanted 1 to 64 letters, digits or ._@+-, got {self.name!r}")
        if not self.roles:
            raise ValueError("roles: wanted at least one")
        rate = self.requests_per_s
        if rate is not None and not (math.isfinite(rate) and rate > 0):
            raise ValueError(f"requests_per_s: wanted a number above 0, got {rate}")

    @classmethod
    def from_line(cls, line: str) -> Self:
        """Read what ``to_line`` wrote.

        Raises:
            ValueError: If it is no such line; the message does not repeat it, for it may hold a token by mistake.
        """
        try:
            fields: dict[str, Any] = json.loads(line)
            times = [fields.get(name) for name in ("created_ms", "expires_ms", "revoked_ms")]
            if not all(type(time) is int or (time is None and at > 0) for at, time in enumerate(times)):
                raise ValueError("wanted times in whole milliseconds")
            return cls(**{**fields, "roles": tuple(Role(role) for role in fields["roles"])})
        except (AttributeError, KeyError, RecursionError, TypeError) as error:
            raise ValueError("wanted a line that `springtide tokens new` has written") from error

    def to_line(self) -> str:
        """Return it as a line of JSON."""
        return json.dumps({key: value for key, value in asdict(self).items() if value is not None})

    def is_secret(self, secret: str) -> bool:
        """Return whether this is its secret part; it takes as long whatever the answer."""
        return hmac.compare_digest(_digest(secret), self.sha256)

    def why_not(self, now_ms: int) -> str:
        """Return why it is not good any more, in words; empty if it is."""
        if self.revoked_ms is not None:
            return "this token is revoked"
        if self.expires_ms is not None and now_ms >= self.expires_ms:
            return "this token has expired"
        return ""

    def revoked(self, now_ms: int) -> Self:
        """Return it as of now revoked."""
        return replace(self, revoked_ms=now_ms)


def make_token(
    name: str,
    roles: tuple[Role, ...],
    now_ms: int,
    expires_ms: int | None = None,
    requests_per_s: float | None = None,
) -> tuple[str, Token]:
    """Make a token, and return it with what is kept of it.

    Raises:
        SettingsError: If name, roles or rate are none.
    """
    token_id, secret = secrets.token_hex(_ID_BYTES), secrets.token_hex(_SECRET_BYTES)
    try:
        kept = Token(token_id, name, roles, _digest(secret), now_ms, expires_ms, None, requests_per_s)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    return f"{_PREFIX}_{token_id}_{secret}", kept


def parts_of(text: str) -> tuple[str, str] | None:
    """Return id and secret of a token as a client shows it; None if it has another form."""
    found = _TOKEN.fullmatch(text)
    return None if found is None else (found["id"], found["secret"])


def _digest(secret: str) -> str:
    # One SHA-256 is enough: slow hashes are for passwords, of which one can try all likely ones. These are 256 bits
    # from the system's random source, so there is nothing to guess; and it takes 1 µs, so nothing has to be cached.
    return hashlib.sha256(secret.encode()).hexdigest()
