// One node: its attributes, its events in time, its latest interactions, what is around it.

import {html, render} from "../../vendor/lit-html.js";
import {inspection} from "../../api.js";
import {badge, card, facts} from "../../parts/cards.js";
import {drawChart} from "../../parts/chart.js";
import {emptyPanel, load, loading} from "../../parts/errors.js";
import * as format from "../../parts/format.js";
import {table} from "../../parts/table.js";
import {theme, token} from "../../parts/theme.js";
import {go, link} from "../../router.js";
import {showNeighbourhood} from "./neighbourhood.js";

const MAX_INTERACTIONS = 100;
const DAY_MS = 86_400_000;

export function showNode(element, {type, id, itemType}, signal) {
  render(loading(8), element);
  return load(
    () => inspection("GetNode", {type, id, maxInteractions: MAX_INTERACTIONS}, {signal}),
    (answer) => draw(element, answer, {type, id, itemType}, signal),
    (panel) => render(panel, element),
    signal,
  );
}

function draw(element, answer, {type, id, itemType}, signal) {
  const {node = {}, interactions = [], counts = []} = answer;
  const name = node.name || id;
  document.title = `${name} – Springtide`;
  const [chart, list, around] = ["chart", "list", ""].map((className) => Object.assign(document.createElement("div"), {className}));
  const links = html`<div class="row">
    ${type === "user" ? html`<a class="as-button" href=${link("recommend", [], {user: id})}>Recommend for them</a>` : ""}
    ${type === itemType ? html`<a class="as-button" href=${link("season", [id])}>Season</a>
      <a class="as-button" href=${link("data", [], {tab: "map", near: id})}>On the map</a>
      <a class="as-button" href=${link("recommend", [], {recent: id})}>Recommend after it</a>` : ""}
  </div>`;
  render(
    html`<div class="node-head">
        <div><p class="row">${badge(type, "accent")}${name === id ? "" : html`<span class="note">${id}</span>`}</p><h2>${name}</h2></div>${links}</div>
      <div class="node-columns">
        <div class="stack">
          ${card("Facts", facts([
            ["Events", format.count(node.numInteractions)],
            ["First seen", answer.firstTime && `${format.dateTime(answer.firstTime)} UTC`],
            ["Latest event", node.latestTime && `${format.dateTime(node.latestTime)} UTC`],
            ...Object.entries(answer.numEdges ?? {}).map(([edge, each]) => [`Edges ${edge.split(":").join(" – ")}`, format.count(each)]),
          ]))}
          ${card("Attributes", Object.keys(answer.attributes ?? {}).length ? facts(Object.entries(answer.attributes).map(([key, value]) => [key, format.attribute(value)])) : html`<p class="note">It has none.</p>`)}
        </div>
        <div class="stack">
          ${card("Events in time", counts.length ? chart : html`<p class="note">No event yet.</p>`, {note: counts.length ? spanWords(answer) : ""})}
          ${card("Around it", around)}
          ${card("Latest interactions", list)}
        </div>
      </div>`,
    element,
  );
  if (counts.length) {
    drawChart(chart, {option: () => barsOf(answer), label: `Events of ${name} in time: ${format.count(node.numInteractions)} in all`, signal});
  }
  drawInteractions(list, interactions, type);
  showNeighbourhood(around, {type, id, name}, signal);
}

function drawInteractions(element, interactions, type) {
  if (!interactions.length) {
    render(emptyPanel("No interaction yet"), element);
    return;
  }
  const context = [...new Set(interactions.flatMap((each) => Object.keys(each.context ?? {})))];
  table(element, {
    caption: "Latest interactions",
    rows: interactions,
    onOpen: ({other}) => go("data", [other.type, other.id]),
    columns: [
      {title: "When", value: (each) => format.timeMs(each.eventTime), cell: (each) => format.dateTime(each.eventTime)},
      {title: "What", value: (each) => each.type},
      {title: type === "user" ? "With" : "By", value: (each) => each.other.name || each.other.id,
        cell: ({other}) => html`<a href=${link("data", [other.type, other.id])}>${other.name || other.id}</a>`},
      ...context.map((key) => ({title: key, value: (each) => each.context?.[key] ?? ""})),
      {title: "Weight", align: "end", value: (each) => format.number(each.weight), cell: (each) => format.decimal(each.weight)},
    ],
  });
}

function spanWords({daysPerCount = 1, numCounted, node}) {
  const each = daysPerCount === 1 ? "Each bar is a day." : `Each bar is ${daysPerCount} days.`;
  const isCut = numCounted !== undefined && format.number(numCounted) < format.number(node?.numInteractions);
  return isCut ? `${each} The latest ${format.count(numCounted)} events are counted.` : each;
}

function barsOf({counts, daysPerCount = 1}) {
  const times = counts.map(({startTime}) => format.timeMs(startTime));
  const width = daysPerCount * DAY_MS;
  const padded = [Math.min(...times) - width, Math.max(...times) + 2 * width];
  return {
    tooltip: {trigger: "item", formatter: ({value: [start, events]}) => `${format.date(start)}\n${format.plural(events, "event")}`},
    grid: {left: 8, right: 12, top: 12, bottom: 4, containLabel: true},
    xAxis: {type: "time", min: padded[0], max: padded[1], splitLine: {show: false}},
    yAxis: {type: "value", minInterval: 1},
    series: [{
      type: "bar", barMaxWidth: 14, barMinWidth: 1.5, data: counts.map(({count}, at) => [times[at], format.number(count)]),
      itemStyle: {color: token("--series-1"), borderRadius: [2, 2, 0, 0]}, emphasis: {itemStyle: {color: token(theme() === "dark" ? "--ink" : "--accent-ink")}},
    }],
    useUTC: true,
  };
}
