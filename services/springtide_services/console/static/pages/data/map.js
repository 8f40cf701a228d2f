// The map of the learned space: items that suit the same people lie near each other.

import {html, render} from "../../vendor/lit-html.js";
import {inspection} from "../../api.js";
import {card} from "../../parts/cards.js";
import {drawChart} from "../../parts/chart.js";
import {errorPanel, loading} from "../../parts/errors.js";
import * as format from "../../parts/format.js";
import {attributes, keepName} from "../../parts/names.js";
import {searchField} from "../../parts/search.js";
import {seriesColors, token} from "../../parts/theme.js";
import {current, go, link, setQuery} from "../../router.js";

const MOST_GROUPS = 8;  // As many as there are colours; the rest is grey.
const NUM_NEAR = 15;

export async function showMap(element, {itemType}, signal) {
  const {query} = current();
  const [near, body] = [document.createElement("div"), document.createElement("div")];
  const describes = await attributes();
  if (signal.aborted) return;
  const categories = (describes.attributes ?? []).filter((each) => each.nodeType === itemType && each.kind === "category");
  const fewest = [...categories].sort((a, b) => (a.values?.length ?? 99) - (b.values?.length ?? 99) || format.number(b.numNodes) - format.number(a.numNodes));
  const state = {by: query.by ?? fewest.find((each) => (each.values?.length ?? 0) > 2)?.name ?? fewest[0]?.name ?? "", near: query.near ?? "", max: 1000};
  searchField(near, {type: () => itemType, label: "Near", value: state.near, placeholder: "an item", signal, onChoose: (node) => change({near: node.id})});
  near.addEventListener("change", (event) => event.target.type === "search" && !event.target.value.trim() && change({near: ""}));
  const change = (changes) => {
    Object.assign(state, changes);
    setQuery({tab: "map", by: state.by, near: state.near});
    ask();
  };
  render(
    html`<div class="map-controls">
        <label class="field">Colour by<select @change=${(event) => change({by: event.target.value})}>
          <option value="">nothing</option>${categories.map(({name}) => html`<option value=${name} ?selected=${name === state.by}>${name}</option>`)}</select></label>
        <label class="field">Items<select @change=${(event) => change({max: Number(event.target.value)})}>
          ${[300, 1000, 3000].map((each) => html`<option value=${each} ?selected=${each === state.max}>${format.count(each)}</option>`)}</select></label>
        ${near}
      </div>${body}`,
    element,
  );
  let leaving = new AbortController();
  signal.addEventListener("abort", () => leaving.abort());

  async function ask() {
    leaving.abort();
    leaving = new AbortController();
    const mine = leaving.signal;
    render(loading(8, "The map is being laid out: the first time of a model takes some seconds…"), body);
    try {
      const answer = await inspection("GetMap", {maxItems: state.max, colorBy: state.by, near: state.near, numNear: state.near ? NUM_NEAR : 0}, {signal: mine});
      if (!mine.aborted) draw(answer, mine);
    } catch (error) {
      if (!mine.aborted) render(errorPanel(error, {retry: ask}), body);
    }
  }

  function draw({points = [], modelVersion}, mine) {
    const chart = document.createElement("div");
    chart.className = "chart map";
    for (const {item, name} of points) keepName(item, name);
    const nearest = points.filter(({cosine, item}) => cosine !== undefined && item !== state.near).sort((a, b) => b.cosine - a.cosine);
    render(
      html`<div class=${nearest.length ? "map-columns" : ""}>${card(`${format.count(points.length)} items as model ${modelVersion} sees them`, chart, {
          note: "Items that suit the same people at the same moments lie near each other. Point at one for its name, choose it for its data."})}
        ${nearest.length ? card("The nearest", html`<ol class="near">${nearest.map(({item, name, cosine}) => html`<li><a href=${link("data", [itemType, item])}>${name || item}</a><span class="note">${cosine.toFixed(2)}</span></li>`)}</ol>`) : ""}</div>`,
      body,
    );
    drawChart(chart, {
      option: () => optionOf(points, state),
      label: `A map of ${format.plural(points.length, "item")}${state.by ? `, coloured by ${state.by}` : ""}`,
      onClick: ({data}) => data?.item && go("data", [itemType, data.item]),
      signal: mine,
    });
  }
  ask();
}

function optionOf(points, {near, by}) {
  const sizes = new Map();
  for (const {group = ""} of points) sizes.set(group, (sizes.get(group) ?? 0) + 1);
  const groups = [...sizes].filter(([group]) => group).sort(([, a], [, b]) => b - a).slice(0, MOST_GROUPS).map(([group]) => group);
  const shown = new Set(groups);
  const colors = seriesColors();
  const of = (test) => points.filter(test).map(({item, name, x = 0, y = 0, cosine, group}) => ({value: [x, y], item, name: name || item, cosine, group}));
  const series = groups.map((group, at) => ({name: group, data: of((point) => point.group === group), color: colors[at % colors.length]}));
  const rest = of((point) => !shown.has(point.group ?? ""));
  if (rest.length) series.push({name: by ? "others" : "items", data: rest, color: by ? token("--line-strong") : token("--series-1")});
  const marked = of((point) => point.cosine !== undefined || point.item === near);
  if (near) series.push({name: "nearest", data: marked, color: token("--ink"), symbolSize: (value, {data}) => (data.item === near ? 15 : 10), z: 5});
  return {
    legend: {type: "scroll", data: series.map(({name}) => name), show: series.length > 1},
    grid: {left: 10, right: 10, top: 40, bottom: 10},
    tooltip: {trigger: "item", formatter: ({data}) => [data.name, data.group, data.cosine === undefined ? "" : `cosine ${data.cosine.toFixed(2)}`].filter(Boolean).join("\n")},
    xAxis: {type: "value", show: false, min: "dataMin", max: "dataMax"},
    yAxis: {type: "value", show: false, min: "dataMin", max: "dataMax"},
    series: series.map(({name, data, color, symbolSize = 6, z = 2}) => ({
      type: "scatter", name, data, symbolSize, z,
      itemStyle: {color, opacity: name === "nearest" ? 1 : 0.75, ...(name === "nearest" && {borderColor: token("--surface"), borderWidth: 1.5})},
      emphasis: {scale: 1.6},
    })),
  };
}
