// What is around a node, as a graph and as a list; a click on a node moves on to it.

import {html, render} from "../../vendor/lit-html.js";
import {inspection} from "../../api.js";
import {emptyPanel, errorPanel, loading} from "../../parts/errors.js";
import * as format from "../../parts/format.js";
import {drawGraph} from "../../parts/graph.js";
import {go, link} from "../../router.js";

const REACHES = {1: {depth: 1, maxEdges: 40}, 2: {depth: 2, maxEdges: 7}, 3: {depth: 3, maxEdges: 4}};
const LISTED = 15;

export function showNeighbourhood(element, about, signal) {
  let depth = 2;
  let leaving = new AbortController();
  signal.addEventListener("abort", () => leaving.abort());

  async function ask() {
    leaving.abort();
    leaving = new AbortController();
    const mine = leaving.signal;
    draw(loading(6));
    try {
      const answer = await inspection("GetNeighbourhood", {type: about.type, id: about.id, ...REACHES[depth]}, {signal: mine});
      if (mine.aborted) return;
      const {nodes = [], edges = []} = answer;
      if (nodes.length < 2) return draw(emptyPanel("Nothing is around it yet"));
      const place = document.createElement("div");
      place.className = "graph around";
      draw(html`${place}${words(answer)}`);
      drawGraph(place, {
        elements: elementsOf(nodes, edges, about),
        layout: nodes.length > 60 ? {name: "concentric", concentric: (node) => 10 - node.data("depth"), levelWidth: () => 1, minNodeSpacing: 6} : {name: "cose", nodeRepulsion: 9000, idealEdgeLength: 70, numIter: 600, randomize: false},
        label: `What is around ${about.name}: ${format.plural(nodes.length - 1, "node")}, the nearest stand below as a list`,
        onOpen: (data) => data.depth > 0 && go("data", [data.type, data.node]),
        stretches: true,
        signal: mine,
      });
    } catch (error) {
      if (!mine.aborted) draw(errorPanel(error, {retry: ask}));
    }
  }
  const choose = (event) => {
    depth = Number(event.target.value);
    ask();
  };
  const draw = (content) => render(
    html`<label class="row steps">Steps <select @change=${choose}>${[1, 2, 3].map((each) => html`<option value=${each} ?selected=${each === depth}>${each}</option>`)}</select></label>${content}`,
    element,
  );
  ask();
}

function elementsOf(nodes, edges, {type, id}) {
  const label = (name) => (name.length > 34 ? `${name.slice(0, 33)}…` : name);
  const isCrowded = nodes.length > 45;
  return [
    ...nodes.map(({node, depth = 0}, at) => ({
      data: {
        id: `n${at}`, node: node.id, type: node.type, depth,
        label: isCrowded && depth > 1 ? "" : label(node.name || node.id),
        kind: node.type === type && node.id === id ? "start" : node.type === "user" ? "user" : "item",
        size: depth === 0 ? 26 : depth === 1 ? 16 : 10,
      },
    })),
    ...edges.map(({source = 0, target = 0, relation, count = 1}, at) => ({
      data: {id: `e${at}`, source: `n${source}`, target: `n${target}`, width: Math.min(5, 1 + Math.log2(count)), label: edges.length < 16 ? relation : ""},
    })),
  ];
}

function words({nodes, edges, isCut}) {
  const times = new Map();
  for (const {source = 0, target = 0, count = 1, relation} of edges) {
    if (source === 0) times.set(target, [count, relation]);
    if (target === 0) times.set(source, [count, relation]);
  }
  const near = nodes.map((each, at) => ({...each, at})).filter(({depth}) => depth === 1).slice(0, LISTED);
  return html`<p class="note graph-note">${isCut ? "The latest of each node; there is more." : "All that is there."} Drag, zoom, or choose a node.</p>
    <ul class="near">${near.map(({node, at}) => html`<li><a href=${link("data", [node.type, node.id])}>${node.name || node.id}</a>
      <span class="note">${times.get(at) ? `${times.get(at)[1]}${times.get(at)[0] > 1 ? ` ×${times.get(at)[0]}` : ""}` : ""}</span></li>`)}</ul>`;
}
