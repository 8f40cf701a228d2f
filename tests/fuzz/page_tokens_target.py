"""Page tokens, of any bytes: those that are whole, and those whose checksum was made to fit."""

from targets import NOW_MS, Target

from springtide.errors import InvalidRequestError
from springtide.interactions import Moment
from springtide.ranking import paging
from springtide.ranking.query import Query
from springtide.steering.values import QuerySteering

QUERY = Query(Moment(NOW_MS), "u1", steering=QuerySteering(diversity=0.5))
_AS_TEXT = 128  # The first byte says whether the others are the token itself, or its content without the checksum.


def page_tokens_target() -> Target:
    """A page token: the first byte says whether the others are its text, or what stands before its checksum."""
    token = paging.next_token(QUERY, None, ["i1", "i2", "i3"])
    content = paging.decoded(token)[: -paging.CHECKSUM_BYTES]
    return Target(_run, [b"\x00" + content, b"\xff" + token.encode(), b"\xfffirst", b"\x00"])


def _run(data: bytes) -> str:
    kind, rest = data[:1] or b"\0", data[1:]
    token = rest.decode(errors="replace") if kind[0] >= _AS_TEXT else paging.sealed(rest)
    try:
        page = paging.page_of(token)
    except InvalidRequestError:
        return "clear error"
    if page is None:
        return "first page"
    assert len(page.shown) <= paging.MAX_SHOWN, len(page.shown)
    asked = Query(QUERY.moment, "u1", steering=QuerySteering(diversity=0.5, page_token=token))
    try:
        moved = paging.at_page(asked)
    except InvalidRequestError:
        return "another request"
    assert moved.moment.timestamp_ms == page.moment_ms
    following = paging.next_token(asked, page, ["i9"])
    if following:
        after = paging.page_of(following)
        assert after is not None
        assert len(after.shown) == len(page.shown) + 1
    return "page"
