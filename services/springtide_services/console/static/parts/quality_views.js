// Views of live quality: figures of the latest events, a chart over time by version, segments, and a drop.

import {html, nothing} from "../vendor/lit-html.js";
import {badge, figure} from "./cards.js";
import {bar} from "./drawings.js";
import {count, dateTime, number, plural} from "./format.js";

export const METRICS = {
  ndcgAt20: {title: "NDCG@20", about: "Mean of 1 / log2(1 + rank) where the rank is 20 or better."},
  hitRateAt20: {title: "Hit rate", about: "Share of events whose item was among the best 20."},
  mrr: {title: "MRR", about: "Mean of 1 / rank."},
};
export const SCOPES = {all: "All events", newToUser: "New to the user"};
const FEW = 30;  // Events; a mean of fewer says little.
const LEAST_SPAN_MS = 600_000;  // Of the chart over time, so that the first points stand where the next ones come.

// Draws the three figures of the latest events.
export function figures(window, scope) {
  const of = window?.[scope];
  const events = number(of?.numQuestions);
  return html`<div class="figures">${Object.entries(METRICS).map(([metric, {title, about}]) =>
    figure({title, value: events ? (of[metric] ?? 0).toFixed(4) : "–", note: metric === "ndcgAt20" ? `over the latest ${plural(events, "event")}` : about}))}</div>`;
}

// Says that a version ranks worse than at first; nothing without a drop.
export function dropNotice(drop) {
  if (!drop) return nothing;
  const [first, now] = [drop.firstNdcgAt20 ?? 0, drop.ndcgAt20 ?? 0];
  return html`<div class="notice notice-warn" role="status"><div>
    <p><strong>${drop.modelVersion || "The fallback"} ranks worse than at first:</strong> NDCG@20 was ${first.toFixed(4)} over its first events, and ${now.toFixed(4)} when the drop was noticed${first > 0 ? ` (${Math.round((1 - now / first) * 100)} % less)` : ""}.
    ${drop.requestId ? html`A training was asked for: <code>${drop.requestId}</code>. <a href="#/models">See it</a>` : "A training will be asked for."}</p>
  </div></div>`;
}

// Returns the options of the chart over time: a line for each version.
export function overTime(points, metric, scope) {
  const versions = [...new Set(points.map(({modelVersion = ""}) => modelVersion))];
  const middle = ({startTime, endTime}) => (Date.parse(startTime) + Date.parse(endTime)) / 2;
  const values = ({[scope]: of = {}}) => (number(of.numQuestions) ? of[metric] ?? 0 : null);
  return {
    grid: {left: 8, right: 16, top: 34, bottom: 8, containLabel: true},
    legend: {data: versions.map(versionName), type: "scroll"},
    tooltip: {
      trigger: "item",
      formatter: ({data, seriesName}) => `${seriesName}\n${METRICS[metric].title} ${data.value[1].toFixed(4)}\n${plural(data.events, "event")}\n${clock(data.from)} to ${clock(data.until)}`,
    },
    xAxis: {type: "time", axisLabel: {hideOverlap: true}, splitLine: {show: false}, min: Math.min(Date.parse(points[0].startTime), Date.parse(points.at(-1).endTime) - LEAST_SPAN_MS), max: Date.parse(points.at(-1).endTime)},
    yAxis: {type: "value", min: 0, axisLabel: {formatter: (value) => String(Number(value.toPrecision(3)))}},
    series: versions.map((version) => ({
      type: "line",
      name: versionName(version),
      connectNulls: false,
      symbolSize: 7,
      showSymbol: points.length < 200,
      lineStyle: {width: 2},
      data: points.filter(({modelVersion = ""}) => modelVersion === version).map((point) => ({value: [middle(point), values(point)], events: number(point[scope]?.numQuestions), from: point.startTime, until: point.endTime})).filter(({value}) => value[1] !== null),
    })),
  };
}

const versionName = (version) => version || "fallback";
const clock = (time) => new Date(time).toLocaleTimeString(navigator.language, {hour: "2-digit", minute: "2-digit", second: "2-digit"});

// Returns the chart's content in words.
export function overTimeWords(points, metric, scope) {
  const known = points.filter((point) => number(point[scope]?.numQuestions));
  if (!known.length) return "Nothing was measured yet.";
  const last = known.at(-1);
  return `${METRICS[metric].title} over time, ${plural(known.length, "span")} from ${dateTime(known[0].startTime)}; the last one is ${(last[scope][metric] ?? 0).toFixed(4)} by ${versionName(last.modelVersion ?? "")}.`;
}

// Draws a table for each split of the events.
export function segmentTables(segments, metric, scope) {
  const splits = Map.groupBy ? Map.groupBy(segments, ({split}) => split) : grouped(segments);
  const highest = Math.max(...segments.map((each) => each[scope]?.[metric] ?? 0), 1e-9);
  return html`<div class="splits">${[...splits].map(([split, parts]) => html`<div class="table-frame" tabindex="0" role="region" aria-label="Quality by segment"><table class="segments">
    <thead><tr><th scope="col">${sentenceCase(split)}</th><th scope="col" class="wide"><span class="unseen">${METRICS[metric].title}, drawn</span></th><th scope="col" class="end">${METRICS[metric].title}</th><th scope="col" class="end">Events</th></tr></thead>
    <tbody>${parts.map(({segment, [scope]: of = {}}) => {
      const events = number(of.numQuestions);
      return html`<tr class=${events < FEW ? "is-few" : ""}>
        <th scope="row">${segment}</th>
        <td>${bar(of[metric] ?? 0, highest)}</td>
        <td class="end">${events ? (of[metric] ?? 0).toFixed(4) : "–"}</td>
        <td class="end">${count(events)}${events && events < FEW ? html` ${badge("few")}` : nothing}</td>
      </tr>`;
    })}</tbody>
  </table></div>`)}</div>`;
}

function grouped(segments) {
  const groups = new Map();
  for (const each of segments) groups.set(each.split, [...(groups.get(each.split) ?? []), each]);
  return groups;
}

const sentenceCase = (words) => words.charAt(0).toUpperCase() + words.slice(1);
