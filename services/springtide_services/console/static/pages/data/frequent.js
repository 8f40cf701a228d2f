// The nodes with the most interactions, of each type.

import {html, render} from "../../vendor/lit-html.js";
import {inspection} from "../../api.js";
import {card} from "../../parts/cards.js";
import {load, loading} from "../../parts/errors.js";
import * as format from "../../parts/format.js";
import {table} from "../../parts/table.js";
import {go, link} from "../../router.js";

const MANY = 12;

export function showFrequent(element, {types}, signal) {
  const places = types.map((type) => [type, document.createElement("div")]);
  render(html`<div class="columns">${places.map(([type, place]) => card(`The most active of type ${type}`, place))}</div>`, element);
  for (const [type, place] of places) {
    render(loading(4), place);
    load(
      () => inspection("SearchNodes", {type, pageSize: MANY}, {signal}),
      ({nodes = []}) => table(fresh(place), {
        caption: `The most active of type ${type}`,
        rows: nodes,
        empty: "There is none yet: publish events.",
        onOpen: (node) => go("data", [type, node.id]),
        columns: [
          {title: "Name", value: (node) => node.name || node.id, cell: (node) => html`<a href=${link("data", [type, node.id])}>${node.name || node.id}</a>`},
          {title: "Events", align: "end", value: (node) => format.number(node.numInteractions), cell: (node) => format.count(node.numInteractions)},
          {title: "Latest", align: "end", value: (node) => format.timeMs(node.latestTime) || 0, cell: (node) => (node.latestTime ? format.dateTime(node.latestTime) : "–")},
        ],
      }),
      (panel) => render(panel, place),
      signal,
    );
  }
}

// What was drawn while it waited goes; the next drawer begins with an element of its own.
function fresh(place) {
  const inner = document.createElement("div");
  render(inner, place);
  return inner;
}
