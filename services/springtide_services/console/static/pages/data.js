// Data: a node and what is around it, the map of the learned space, what comes in, what could not be taken.

import {html, render} from "../vendor/lit-html.js";
import {tabs} from "../parts/cards.js";
import {attributes} from "../parts/names.js";
import {searchField} from "../parts/search.js";
import {current, go, setQuery} from "../router.js";
import {showComing} from "./data/coming.js";
import {showFrequent} from "./data/frequent.js";
import {showLetters} from "./data/letters.js";
import {showMap} from "./data/map.js";
import {showNode} from "./data/node.js";

const TABS = [["find", "Most active"], ["map", "Map"], ["coming", "Coming in"], ["letters", "Dead letters"]];
const SHOWS = {find: showFrequent, map: showMap, coming: showComing, letters: showLetters};

export async function show(element, args, signal) {
  const describes = await attributes();
  if (signal.aborted) return;
  const itemType = describes.itemType || "item";
  const types = [...new Set([itemType, "user", ...(describes.attributes ?? []).map((each) => each.nodeType)])].filter(Boolean);
  const [type, id] = args;
  const finder = document.createElement("div");
  finder.className = "finder";
  const body = document.createElement("div");
  drawFinder(finder, types, type || itemType, signal);
  render(html`<div class="page-head data-head"><h1>Data</h1>${finder}</div>${body}`, element);
  if (id) await showNode(body, {type, id, itemType}, signal);
  else drawTabs(body, {itemType, types}, signal);
}

function drawFinder(element, types, first, signal) {
  let chosen = first;
  const field = document.createElement("div");
  render(
    html`<label class="field">Type<select @change=${(event) => (chosen = event.target.value)}>
        ${types.map((each) => html`<option value=${each} ?selected=${each === chosen}>${each}</option>`)}</select></label>${field}`,
    element,
  );
  searchField(field, {type: () => chosen, label: "Find", placeholder: "id or name", clears: true, signal, onChoose: (node) => go("data", [chosen, node.id])});
}

function drawTabs(element, about, signal) {
  let leaving = new AbortController();
  signal.addEventListener("abort", () => leaving.abort());
  const choose = (name) => {
    leaving.abort();
    leaving = new AbortController();
    setQuery({tab: name === TABS[0][0] ? "" : name, ...(name === "map" && {near: current().query.near, by: current().query.by})});
    const place = document.createElement("div");
    place.setAttribute("role", "tabpanel");
    place.setAttribute("aria-label", TABS.find(([each]) => each === name)[1]);
    place.className = "tab-panel";
    render(html`${tabs(TABS, name, choose, "What to look at")}${place}`, element);
    SHOWS[name](place, about, leaving.signal);
  };
  const {tab} = current().query;
  choose(SHOWS[tab] ? tab : TABS[0][0]);
}
