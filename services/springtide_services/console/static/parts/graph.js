// Graphs by Cytoscape, in the colours of the theme.

import cytoscape from "../vendor/cytoscape.esm.min.js";
import {onTheme, token} from "./theme.js";

// Draws a graph into an element, which needs a height of its own, and returns {cy, update(elements)}. Nodes are {data: {id,
// label, kind, size}}, edges {data: {source, target, label, width}}; `kind` is `start`, `user`, `item`, `people` or any
// other word. `layout` is Cytoscape's. `onOpen(data)` is called for a click on a node. `label` says in words what the graph
// shows: what it says must stand beside it as text too, since a canvas has no parts for the keyboard. `stretches` fills a wide
// place. It ends with `signal`.
export function drawGraph(element, {elements, layout, onOpen, label, signal, stretches = false}) {
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", label);
  const cy = cytoscape({
    container: element,
    elements,
    style: style(),
    layout: {padding: 24, animate: false, ...layout},
    minZoom: 0.2,
    maxZoom: 2.5,
  });
  if (stretches) stretch(cy, element);
  if (onOpen) {
    cy.on("tap", "node", (event) => onOpen(event.target.data()));
    cy.on("mouseover", "node", (event) => {
      element.dataset.over = "node";
      event.target.addClass("over").connectedEdges().addClass("over");
    });
    cy.on("mouseout", "node", () => {
      delete element.dataset.over;
      cy.elements().removeClass("over");
    });
  }
  onTheme(() => cy.style(style()), signal);
  const observer = new ResizeObserver(() => {
    cy.resize();
    cy.fit(undefined, 24);
  });
  observer.observe(element);
  const end = () => {
    observer.disconnect();
    cy.destroy();
  };
  if (signal?.aborted) end();
  else signal?.addEventListener("abort", end);
  return {
    cy,
    update(next) {
      cy.elements().remove();
      cy.add(next);
      cy.layout({padding: 24, animate: false, ...layout}).run();
    },
  };
}

// Layouts by forces come out round: they take the shape of the place.
function stretch(cy, element) {
  const {w, h} = cy.elements().boundingBox({includeLabels: false});
  const wider = element.clientWidth / element.clientHeight / (w / h);
  if (!Number.isFinite(wider) || wider <= 1) return;
  cy.nodes().positions((node) => ({x: node.position("x") * Math.min(wider, 2.4), y: node.position("y")}));
  cy.fit(undefined, 24);
}

function style() {
  const ink = token("--ink");
  const colors = {start: token("--accent"), user: token("--series-2"), item: token("--series-1"), people: token("--series-4")};
  const kinds = Object.entries(colors).map(([kind, color]) => ({
    selector: `node[kind = "${kind}"]`,
    style: {"background-color": color, "border-color": color},
  }));
  return [
    {
      selector: "node",
      style: {
        label: "data(label)",
        color: ink,
        "font-family": getComputedStyle(document.body).fontFamily,
        "font-size": 12,
        "text-wrap": "wrap",
        "text-max-width": 120,
        "text-valign": "bottom",
        "text-margin-y": 5,
        "text-background-color": token("--sunken"),
        "text-background-opacity": 0.85,
        "text-background-padding": 2,
        "min-zoomed-font-size": 7,
        "background-color": token("--series-3"),
        "border-width": 2,
        "border-color": token("--series-3"),
        width: 16,
        height: 16,
      },
    },
    {selector: "node[size]", style: {width: "data(size)", height: "data(size)"}},
    ...kinds,
    {selector: 'node[kind = "start"]', style: {"font-weight": 600, "font-size": 13, width: 24, height: 24}},
    {
      selector: "edge",
      style: {
        width: 1.2,
        "line-color": token("--line-strong"),
        "target-arrow-color": token("--line-strong"),
        "curve-style": "bezier",
        "font-size": 10,
        "font-family": getComputedStyle(document.body).fontFamily,
        color: token("--ink-2"),
        "text-background-color": token("--sunken"),
        "text-background-opacity": 0.9,
        "text-background-padding": 2,
        "min-zoomed-font-size": 7,
      },
    },
    {selector: "edge[width]", style: {width: "data(width)"}},
    {selector: "edge[label]", style: {label: "data(label)"}},
    {selector: "edge[arrow]", style: {"target-arrow-shape": "triangle", "arrow-scale": 0.8}},
    {selector: "node.over", style: {"border-color": ink}},
    {selector: "edge.over", style: {"line-color": token("--accent"), "target-arrow-color": token("--accent")}},
  ];
}
