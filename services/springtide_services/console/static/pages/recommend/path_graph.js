// Paths from somebody to an item, as a graph: from the left to the right, one row a path.

import {drawGraph} from "../../parts/graph.js";
import * as format from "../../parts/format.js";
import {itemName} from "../../parts/names.js";

const [COLUMN, ROW] = [210, 74];

// Says a path in words.
export function pathWords(path) {
  const first = path.nodes?.[0];
  const name = first ? itemName(first.id) : "";
  const people = `${path.isLowerBound ? "at least " : ""}${format.plural(path.numPeople, "person", "people")}`;
  const recent = format.number(path.numRecentPeople) ? `, ${format.count(path.numRecentPeople)} of them in the last 7 days` : "";
  if (path.kind === "own") return `had it on ${format.plural(path.numOwn, "day")}, last ${format.date(path.userTime)}`;
  if (path.kind === "people") return `had ${name}; ${people} who had it had this too${recent}`;
  if (path.kind === "relation") return `${path.relation?.replaceAll("_", " ")}: ${people} had it${recent}`;
  return `${path.attribute} ${path.value}, as ${format.plural(path.numOwn, "thing")} they had, such as ${name}`;
}

// Returns Cytoscape's elements of paths, each node once, and at its place.
export function elementsOf(paths, {user, item}) {
  const nodes = new Map();
  const edges = [];
  const middle = ((paths.length - 1) * ROW) / 2;
  const node = (id, label, kind, column, y) => {
    if (!nodes.has(id)) nodes.set(id, {data: {id, label: shortened(label), kind}, position: {x: column * COLUMN, y}});
    return id;
  };
  const edge = (source, target, path, label = "") =>
    edges.push({data: {id: `e${edges.length}`, source, target, label, arrow: 1, width: 1 + 5 * Math.sqrt(path.share ?? 0)}});
  const [start, end] = [node("start", user || "the session", "start", 0, middle), node("end", itemName(item), "start", 3, middle)];
  paths.forEach((path, row) => {
    const y = row * ROW;
    const first = path.nodes?.[0];
    if (path.kind === "own") {
      edge(start, node(`own:${row}`, format.plural(path.numOwn, "day"), "user", 1.5, y), path, "had it");
      edge(`own:${row}`, end, path);
      return;
    }
    const isThrough = path.kind !== "relation" && first && first.id !== item;
    const from = isThrough ? node(`item:${first.id}`, itemName(first.id), "item", 1, y) : start;
    if (isThrough) edge(start, from, path, "had");
    const label = path.kind === "attribute" ? `${path.attribute}: ${path.value}` : `${path.isLowerBound ? "≥ " : ""}${format.plural(path.numPeople, "person", "people")}`;
    const through = node(`${path.kind}:${row}`, label, path.kind === "attribute" ? "attribute" : "people", 2, y);
    edge(from, through, path, path.kind === "relation" ? path.relation : "");
    edge(through, end, path);
  });
  return [...nodes.values(), ...edges];
}

export const drawPaths = (element, paths, who, {signal, onOpen}) =>
  drawGraph(element, {
    elements: elementsOf(paths, who),
    layout: {name: "preset"},
    label: `The paths from ${who.user || "the session"} to ${itemName(who.item)}; they stand below as text`,
    signal,
    onOpen: (data) => data.id.startsWith("item:") && onOpen(data.id.slice(5)),
  });

const shortened = (text) => (text.length > 46 ? `${text.slice(0, 45)}…` : text);
