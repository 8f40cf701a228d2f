"""Page tokens: all that the server must know to give the next page of an answer, carried by the client.

A token has the moment of the first page, a digest of the request, and a short hash of each item that was shown. So the
next page is as of the same moment, and has no item of a page before, whatever has changed in the graph meanwhile; any
server that reads the same stream can give it.
"""

import base64
import functools
import struct
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from springtide.errors import InvalidRequestError
from springtide.ranking.hash_kernels import hash_of, hashes_of
from springtide.ranking.query import Query
from springtide.steering.values import QuerySteering

FIRST_PAGE = "first"
"""In place of a token: asks for the first page of an answer that nothing else steers, and for the token of the next."""

MAX_SHOWN = (
    2_000  # Items of all pages together: 40 bits each make tokens of at most 13.4 kB, below the limit of 16 KiB.
)
MAX_TOKEN = 16_384  # Characters.
_FIRST_MS, _LAST_MS = (
    -62_135_596_800_000,
    253_402_300_799_999,
)  # From the year 1 to the year 9999, as requests may name.
_FIELD = "page_token"
_HASH_BYTES = 5  # 40 bits: of a million items, one in 500 answers of 2,000 would miss one that was not shown.
_HEAD = struct.Struct("<BqHQ")  # Form, moment in milliseconds, number of the next page, digest of the request.
_CHECKSUM = struct.Struct("<I")
CHECKSUM_BYTES = _CHECKSUM.size
_FORM = 1
_MAX_PAGES = 2**16 - 1
_MASK = np.uint64(2 ** (8 * _HASH_BYTES) - 1)
_NOT_STEERED = QuerySteering()  # A plain answer with pins has a token, too, which comes back as a field.

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """What a page token says.

    Attributes:
        moment_ms: The moment of the first page, milliseconds since the Unix epoch.
        number: Number of the page that it asks for; 0 would be the first.
        digest: Of the request, see ``digest_of``.
        shown: uint64 ``[n]``, hashes of the items of the pages before, of 40 bits each.
    """

    moment_ms: int
    number: int
    digest: int
    shown: Hashes


def page_of(token: str) -> Page | None:
    """Read a page token; None if it asks for the first page.

    Raises:
        InvalidRequestError: If the server has given no such token.
    """
    if token in ("", FIRST_PAGE):
        return None
    if len(token) > MAX_TOKEN:
        raise _no_token()
    content = decoded(token)
    size = len(content) - _HEAD.size - _CHECKSUM.size
    if size < 0 or size % _HASH_BYTES or size > MAX_SHOWN * _HASH_BYTES:
        raise _no_token()
    if _encoded(content) != token:  # Base64 has several texts for some bytes.
        raise _no_token()
    body, (checksum,) = content[:-CHECKSUM_BYTES], _CHECKSUM.unpack(content[-CHECKSUM_BYTES:])
    form, moment_ms, number, digest = _HEAD.unpack_from(body)
    is_time = _FIRST_MS <= moment_ms <= _LAST_MS
    if form != _FORM or checksum != _checksum(body) or not number or not is_time:
        raise _no_token()
    hashes = np.zeros((size // _HASH_BYTES, 8), np.uint8)
    hashes[:, :_HASH_BYTES] = np.frombuffer(body, np.uint8, offset=_HEAD.size).reshape(-1, _HASH_BYTES)
    return Page(moment_ms, number, digest, hashes.view("<u8").reshape(-1).astype(np.uint64))


def moment_of(token: str) -> int | None:
    """Return the moment that a page token carries, milliseconds since the Unix epoch; None for the first page.

    Raises:
        InvalidRequestError: If the server has given no such token.
    """
    page = page_of(token)
    return None if page is None else page.moment_ms


def at_page(query: Query) -> Query:
    """Return a query as of the moment of its page token, which must be one of this query.

    Raises:
        InvalidRequestError: If the server has given no such token, or for another request.
    """
    if query.steering is None or not query.steering.page_token:
        return query
    page = page_of(query.steering.page_token)
    if page is None:
        return query
    if page.digest != digest_of(query):
        raise InvalidRequestError(_FIELD, "wanted the token of an answer to the same request, got that of another one")
    if page.moment_ms == query.moment.timestamp_ms:
        return query
    return replace(query, moment=replace(query.moment, timestamp_ms=page.moment_ms))


def next_token(query: Query, page: Page | None, ids: list[str]) -> str:
    """Return the token of the page after an answer; empty if that would be too many items in all.

    Args:
        query: The query of the answer, as it came.
        page: What its own token said; None for the first page.
        ids: The items of the answer.
    """
    shown = item_hashes(ids)
    number, moment_ms = 1, query.moment.timestamp_ms
    if page is not None:
        shown = np.concatenate([page.shown, shown])
        number, moment_ms = page.number + 1, page.moment_ms
    if len(shown) > MAX_SHOWN or number > _MAX_PAGES:
        return ""
    digest = digest_of(query) if page is None else page.digest
    packed = shown.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :_HASH_BYTES].tobytes()
    body = _HEAD.pack(_FORM, moment_ms, number, digest) + packed
    return sealed(body)


def item_hashes(ids: list[str]) -> Hashes:
    """Return the hash of each item as tokens have it, uint64 ``[n]``, of 40 bits each."""
    return hashes_of(ids) & _MASK


def digest_of(query: Query) -> int:
    """Return a digest of all that a query says, but for the time, the count and the page."""
    moment, steering = query.moment, query.steering
    attributes = sorted(moment.attributes.items()) if moment.attributes else ()
    words = (
        *(query.user_id, query.recent_items, query.exclude_seen, query.exclude_items, query.allow_items),
        *(query.category_filters, moment.place, moment.weather, attributes),
        _said(_NOT_STEERED if steering is None else steering),
    )
    return hash_of(repr(words).encode(errors="surrogatepass"))


def sealed(body: bytes) -> str:
    """Return the token of a body: with its checksum, as text."""
    return _encoded(body + _CHECKSUM.pack(_checksum(body)))


def decoded(token: str) -> bytes:
    """Return the body of a token with its checksum; nothing if it is no base64."""
    try:
        return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except ValueError:
        return b""


@functools.lru_cache(maxsize=1_024)
def _said(steering: QuerySteering) -> str:
    """Return all that steers a query, but for the page and the count, as a text: most say one of few things."""
    return repr(replace(steering, page_token="", says_count=True))


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _checksum(body: bytes) -> int:
    return hash_of(body) >> 32


def _no_token() -> InvalidRequestError:
    return InvalidRequestError(
        _FIELD, "wanted the next_page_token of an answer, unchanged, or 'first'; got another text"
    )
