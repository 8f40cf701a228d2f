"""The limits of each field of a request, which the protos document, and the checks that several fields have."""

from collections.abc import Sequence

from springtide.errors import InvalidRequestError

# They also bound the work that one request can cause.
DEFAULT_COUNT = 20
MAX_COUNT = 1_000
MAX_RECENT_ITEMS = 1_000
MAX_LISTED_ITEMS = 10_000
MAX_RANKED_ITEMS = 1_000
MAX_BATCH = 10_000
MAX_SEEN_TYPES = 64
MAX_FILTERS = 64
MAX_FILTER_VALUES = 1_000
MAX_CONTEXT_ENTRIES = 64
MAX_WORD_BYTES = 256
DEFAULT_WAIT_S = 1.0
MAX_WAIT_S = 10.0
MAX_EXPRESSION_BYTES = 4_096
MAX_ATTRIBUTES = 64
MAX_PAGE_TOKEN_BYTES = 16_384
MAX_ROTATION_DAYS = 366


def to_words(words: Sequence[str], field: str, max_words: int) -> tuple[str, ...]:
    """Return the words of a field.

    Raises:
        InvalidRequestError: If there are too many, or one is empty or too long.
    """
    if not words:  # As in most requests.
        return ()
    check_words(words, field, max_words)
    return tuple(words)


def check_words(words: Sequence[str], field: str, max_words: int) -> None:
    """Check the words of a field, as ``to_words`` does."""
    if len(words) > max_words:
        raise InvalidRequestError(field, f"wanted at most {max_words:,}, got {len(words):,}")
    for index, word in enumerate(words):
        if not word or len(word) > MAX_WORD_BYTES // 4:  # A character has at most 4 bytes: shorter words need no count.
            check_word(word, f"{field}[{index}]")


def check_bytes(text: str, field: str, most: int) -> None:
    """Check that a text has no more bytes than ``most``.

    Raises:
        InvalidRequestError: If it has.
    """
    if len(text) > most // 4 and (num_bytes := len(text.encode())) > most:
        raise InvalidRequestError(field, f"wanted at most {most:,} bytes, got {num_bytes:,}")


def check_word(word: str, field: str, *, may_be_empty: bool = False) -> None:
    """Check one word, such as an id or a name.

    Raises:
        InvalidRequestError: If it is empty and may not be, or too long.
    """
    if not word and not may_be_empty:
        raise InvalidRequestError(field, f"wanted 1 to {MAX_WORD_BYTES} bytes, got an empty string")
    num_bytes = len(word.encode())
    if num_bytes > MAX_WORD_BYTES:
        raise InvalidRequestError(field, f"wanted at most {MAX_WORD_BYTES} bytes, got {num_bytes:,}")
