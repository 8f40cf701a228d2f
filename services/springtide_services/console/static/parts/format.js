// Numbers, times and sizes in words, by the language of the browser.

const locale = navigator.language;
const whole = new Intl.NumberFormat(locale, {maximumFractionDigits: 0});
const short = new Intl.NumberFormat(locale, {notation: "compact", maximumSignificantDigits: 3});
const some = new Intl.NumberFormat(locale, {maximumSignificantDigits: 3});
const percents = new Intl.NumberFormat(locale, {style: "percent", maximumSignificantDigits: 3});
const since = new Intl.RelativeTimeFormat(locale, {numeric: "auto"});
const STEPS = [["year", 31_557_600], ["month", 2_629_800], ["week", 604_800], ["day", 86_400], ["hour", 3600], ["minute", 60], ["second", 1]];

// Returns a number of protobuf's JSON, which may be a text, or left out where it is 0.
export const number = (value) => (value === undefined || value === null ? 0 : Number(value));

// 1,469,307
export const count = (value) => whole.format(number(value));

// 1.47M; below ten thousand as it is.
export const compact = (value) => (Math.abs(number(value)) < 10_000 ? whole : short).format(number(value));

// 0.0312
export const decimal = (value) => some.format(number(value));

// 3.1 %
export const percent = (share) => percents.format(number(share));

// ×1.25: a factor of odds.
export function factor(value) {
  const times = number(value);
  return `×${times >= 100 ? whole.format(times) : times >= 0.095 ? times.toFixed(2) : some.format(times)}`;
}

// 1.2 GB
export function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let [size, unit] = [number(value), 0];
  while (size >= 999.5 && unit < units.length - 1) [size, unit] = [size / 1000, unit + 1];
  return `${some.format(size)} ${units[unit]}`;
}

// 0.42 ms, 38 ms, 1.2 s
export function milliseconds(value) {
  const ms = number(value);
  return ms >= 1000 ? `${some.format(ms / 1000)} s` : `${some.format(ms >= 10 ? Math.round(ms) : ms)} ms`;
}

// 3 min 20 s
export function duration(seconds) {
  const s = Math.round(number(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
}

// Returns a time of protobuf's JSON, or milliseconds, as milliseconds; NaN if there is none.
export const timeMs = (value) => (typeof value === "string" && value.includes("T") ? Date.parse(value) : value ? Number(value) : NaN);

// 13 Dec 2017, 18:00; in UTC, as the server counts hours and days.
export const dateTime = (value) => formatted(value, {dateStyle: "medium", timeStyle: "short"});

// 13 Dec 2017
export const date = (value) => formatted(value, {dateStyle: "medium"});

// Wednesday 13 December 2017, 18:00
export const moment = (value) =>
  `${formatted(value, {weekday: "long", day: "numeric", month: "long", year: "numeric"})}, ${formatted(value, {hour: "2-digit", minute: "2-digit"})}`;

// 18:00:07, in the browser's own time zone: of what happens now.
export const clock = (value) => new Date(value).toLocaleTimeString(locale);

// "3 minutes ago"
export function relative(value, nowMs = Date.now()) {
  const seconds = (timeMs(value) - nowMs) / 1000;
  if (!Number.isFinite(seconds)) return "never";
  const [unit, length] = STEPS.find(([, length]) => Math.abs(seconds) >= length) ?? ["second", 1];
  return since.format(Math.round(seconds / length), unit);
}

// The value of an attribute, an AttributeValue, as a text.
export function attribute(value) {
  if (!value) return "";
  if (value.categories) return value.categories.join(", ");
  if (value.vector) {
    const shown = value.vector.slice(0, 4).map((each) => some.format(each)).join(", ");
    return value.vector.length > 4 ? `[${shown}, … of ${count(value.vector.length)}]` : `[${shown}]`;
  }
  return value.text ?? (value.number === undefined ? "" : some.format(value.number));
}

// 1 item, 2 items
export const plural = (value, one, many = `${one}s`) => `${count(value)} ${number(value) === 1 ? one : many}`;

function formatted(value, options) {
  const ms = timeMs(value);
  return Number.isFinite(ms) ? new Date(ms).toLocaleString(locale, {...options, timeZone: "UTC", hourCycle: "h23"}) : "–";
}
