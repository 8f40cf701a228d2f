// The moment of a request: a day of a year and an hour, in UTC as the server counts them.

const DAY_MS = 86_400_000;
const SHORT_WAY_IN_MS = 14 * DAY_MS;

// Returns the year that the sliders begin with: that of the server's moment, or the one before while it has hardly begun,
// since most of what the server has seen of seasons lies there.
export const yearOf = (asOfMs) => new Date(asOfMs - SHORT_WAY_IN_MS).getUTCFullYear();

// Returns {year, day, hour} of a moment; the day counts from 0.
export function split(ms) {
  const year = new Date(ms).getUTCFullYear();
  const day = Math.floor((ms - Date.UTC(year, 0, 1)) / DAY_MS);
  return {year, day, hour: new Date(ms).getUTCHours()};
}

// Returns the moment of a day of a year and an hour, in milliseconds.
export const join = ({year, day, hour}) => Date.UTC(year, 0, 1) + day * DAY_MS + hour * 3_600_000;

export const daysIn = (year) => (Date.UTC(year + 1, 0, 1) - Date.UTC(year, 0, 1)) / DAY_MS;

// Returns the months of a year: their first letters, and on which share of the year they begin.
export function months(year) {
  return Array.from({length: 12}, (_, at) => {
    const start = Date.UTC(year, at, 1);
    return {
      name: new Date(start).toLocaleDateString(navigator.language, {month: "narrow", timeZone: "UTC"}),
      share: (start - Date.UTC(year, 0, 1)) / DAY_MS / daysIn(year),
    };
  });
}

// 2017-12-20T17:00Z of the address, or of a field.
export const text = (ms) => `${new Date(ms).toISOString().slice(0, 16)}Z`;
export const parse = (value) => (value ? Date.parse(value) : NaN);
