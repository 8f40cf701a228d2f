"""Local times of users."""

import datetime as dt
import functools
import zoneinfo

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_HOUR
from springtide.errors import SettingsError
from springtide.plugins.contracts import Moment, Observed

TIME_ZONE = "time_zone"
"""The circumstance with a user's time zone: in the context of an event or a request, or an attribute of the user."""

_MS_PER_QUARTER = MS_PER_HOUR // 4
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class WallClock:
    """Converts times to local times, by the time zone of each event and request.

    Args:
        weight: Name of the context weight, for error messages.
        time_zone: Time zone of users without one, or with an unknown one; an IANA name.

    Raises:
        SettingsError: If there is no such time zone.
    """

    def __init__(self, weight: str, time_zone: str) -> None:
        try:
            self._default = zoneinfo.ZoneInfo(time_zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise SettingsError(f"context weight {weight!r}: no time zone named {time_zone!r}") from error

    def of_moment(self, moment: Moment) -> npt.NDArray[np.int64]:
        """Return the local time of a moment in milliseconds, int64 ``[1]``."""
        timestamps_ms = np.array([moment.timestamp_ms])
        return timestamps_ms + _offsets_ms(timestamps_ms, self._zone_of(moment.circumstance(TIME_ZONE)))

    def of_events(self, observed: Observed) -> npt.NDArray[np.int64]:
        """Return the local time of each event in milliseconds, int64 ``[n]``, to be read only."""
        zones = observed.circumstances.get(TIME_ZONE)
        if zones is None:
            times = observed.timestamps_ms
            return times if self._default.key == "UTC" else times + _offsets_ms(times, self._default)
        local_ms = observed.timestamps_ms.copy()
        for code in zones.codes if len(zones.codes) == 1 else np.unique(zones.codes):
            of_zone = np.flatnonzero(zones.codes == code)
            zone = self._zone_of(zones.values[code]) if code >= 0 else self._default
            local_ms[of_zone] += _offsets_ms(observed.timestamps_ms[of_zone], zone)
        return local_ms

    def _zone_of(self, name: str) -> zoneinfo.ZoneInfo:
        """Return a time zone by name; the default one if the name is empty or unknown."""
        return (_zone(name) or self._default) if name else self._default


@functools.lru_cache(maxsize=1024)
def _zone(name: str) -> zoneinfo.ZoneInfo | None:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):  # A name may be anything, even a path.
        return None


def _offsets_ms(timestamps_ms: npt.NDArray[np.int64], zone: zoneinfo.ZoneInfo) -> npt.NDArray[np.int64]:
    if zone.key == "UTC":
        return np.zeros_like(timestamps_ms)
    # Offsets change only at full quarters of an hour: one look-up for each quarter that occurs.
    if len(timestamps_ms) == 1:
        return np.array([_offset_ms(int(timestamps_ms[0]) // _MS_PER_QUARTER, zone)], np.int64)
    quarters, positions = np.unique(timestamps_ms // _MS_PER_QUARTER, return_inverse=True)
    return np.array([_offset_ms(quarter, zone) for quarter in quarters.tolist()], np.int64)[positions]


@functools.lru_cache(maxsize=4_096)
def _offset_ms(quarter: int, zone: zoneinfo.ZoneInfo) -> int:
    """Return a zone's offset at a quarter of an hour, counted from the Unix epoch, in milliseconds."""
    offset = (_EPOCH + dt.timedelta(seconds=quarter * 900)).astimezone(zone).utcoffset()
    return int(offset.total_seconds() * 1_000) if offset else 0
