"""Which column of a file is the user, the item, the time, and so on: by its name, or as the caller says."""

import re
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from types import MappingProxyType

from springtide.errors import SettingsError
from springtide.event_files.problems import EventFileError

HEADERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "user": (
            *("user", "userid", "uid", "visitor", "visitorid", "customer", "customerid", "householdid", "memberid"),
            "reviewerid",
        ),
        "item": (
            *("item", "itemid", "iid", "product", "productid", "movieid", "article", "articleid", "sku", "asin"),
            "parentasin",
        ),
        "timestamp": (
            *("eventtime", "timestamp", "timestampms", "ts", "time", "datetime", "date", "createdat"),
            *("eventtimestamp", "unixreviewtime"),
        ),
        "value": ("value", "rating", "quantity", "amount", "weight", "overall"),
        "type": ("type", "eventtype", "event", "action", "actiontype", "interaction", "behavior", "behaviortype"),
        "event_id": ("eventid",),
        "recommendation_id": ("recommendationid", "recommid"),
    }
)
"""Names of each role's column, the best first; case, spaces, ``_``, ``-`` and RecBole's ``:token`` are ignored."""

CONTEXT = "context."
"""Begins the name of a column of circumstances, such as ``context.place``."""

WANTED = ("user", "item", "timestamp")
"""Roles without which there are no interactions."""

_ALIASES = {"event_time": "timestamp", "time": "timestamp"}
_VALUE = re.compile(r"^[+-]?\d[\d.:+-]*([ T][\d.:]+Z?)?$")  # A number or a time, which is no column's name.
_SILENT = re.compile(r"^(__index_level_\d+__|Unnamed: \d+|)$")  # Written by tools; nobody misses them.


class Roles:
    """The column of each role in a file.

    Args:
        header: Names of the file's columns, in order.
        columns: Column names by role, for names that are not in ``HEADERS``.
        required: Roles that must have a column.

    Attributes:
        of_role: Column names by role; a circumstance has the role ``context.NAME``. Times may have two columns, the
            date and the time of day, as ``date+clock``.
        used: Names of the columns that are read; the values are None.
        unread: Names of columns that have no role.

    Raises:
        EventFileError: If a column is missing or ambiguous; its message goes on after the file's name.
    """

    def __init__(
        self, header: Sequence[str], columns: Mapping[str, str] | None = None, required: Sequence[str] = WANTED
    ) -> None:
        self.of_role = dict(columns or {})
        for role, name in self.of_role.items():
            if not is_role(role):
                raise EventFileError(f"no role named {role!r} for a column (choices: {', '.join(HEADERS)})")
            if not set(columns_of(role, name, header)) <= set(header):
                raise EventFileError(f"no column named {name!r} for {role} ({_existing(header)})")
        given = {column for role, name in self.of_role.items() for column in columns_of(role, name, header)}
        by_plain_name: dict[str, list[str]] = {}
        for name in dict.fromkeys(header):
            if name not in given:
                by_plain_name.setdefault(_plain(name), []).append(name)
        for role in [role for role in HEADERS if role not in self.of_role]:
            known = next((by_plain_name[name] for name in HEADERS[role] if name in by_plain_name), [])
            if len(known) > 1:
                names = " and ".join(map(repr, known))
                raise EventFileError(f"the columns {names} could each be the {role}: --columns {role}=NAME says which")
            if known:
                self.of_role[role] = known[0]
            elif role in required:
                raise EventFileError(_missing(role, header))
        for name in header:
            stripped = name.strip()
            if stripped.lower().startswith(CONTEXT) and len(stripped) > len(CONTEXT):
                self.of_role.setdefault(CONTEXT + stripped[len(CONTEXT) :], name)
        counts = Counter(header)
        for role, name in self.of_role.items():
            if _printable(name) != name:
                raise EventFileError(
                    f"the column for {role} is called '{_printable(name)}', which is not UTF-8: --encoding latin-1, or "
                    "another, reads it"
                )
            if counts[name] > 1:
                raise EventFileError(f"{counts[name]} columns are called {name!r}, the column for {role}")
        self.used = dict.fromkeys(
            column for role, name in self.of_role.items() for column in columns_of(role, name, header)
        )
        self.unread = [name for name in header if name not in self.used and not _SILENT.match(name)]


def columns_of(role: str, name: str, header: Container[str]) -> list[str]:
    """Return the columns of a role: one, or for times the two of ``date+clock``, where no column has that name."""
    return name.split("+") if role == "timestamp" and name not in header else [name]


def is_role(name: str) -> bool:
    """Return whether a column may have this role."""
    return name in HEADERS or (name.startswith(CONTEXT) and len(name) > len(CONTEXT))


def parse_columns(text: str) -> dict[str, str]:
    """Return column names by role, from a text such as ``user=visitorid,item=itemid``.

    Raises:
        SettingsError: If the text has another form, or a role does not exist or occurs twice.
    """
    by_role: dict[str, str] = {}
    for part in text.split(","):
        role, equals, column = (piece.strip() for piece in part.partition("="))
        role = _ALIASES.get(role, role)
        if not equals or not column or not is_role(role) or role in by_role:
            raise SettingsError(
                f"columns: wanted role=column, each role once, got {part!r} (roles: {', '.join(HEADERS)})"
            )
        by_role[role] = column
    return by_role


def _missing(role: str, header: Sequence[str]) -> str:
    way_out = ", or --type NAME for all rows" if role == "type" else ""
    words = (
        f"no column for {role}: wanted one called {', '.join(HEADERS[role])}, or --columns {role}=NAME{way_out} "
        f"({_existing(header)})"
    )
    if any(_VALUE.match(name.strip()) for name in header):
        words += "; if the first line is a row already, --columns user=1,item=2,time=4 counts the columns"
    return words


def _existing(header: Sequence[str]) -> str:
    return f"the file has: {', '.join(map(_printable, header)) or 'nothing'}"


def _printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]|:\w+$", "", name.strip().lower())
