// What is asked for: the state of the page, as the address and as a request.

import {parse, text} from "./moment.js";

const MAX_COUNT = 1000;

// Returns the state of an address. `atMs` is null for the server's moment, `circumstances` are those of the context but
// place and weather.
export function fromQuery(query) {
  return {
    user: query.user ?? "",
    recent: (query.recent ?? "").split(",").filter(Boolean),
    atMs: Number.isFinite(parse(query.at)) ? parse(query.at) : null,
    place: query.place ?? "",
    weather: query.weather ?? "",
    scenario: query.scenario ?? "",
    filter: query.filter ?? "",
    count: Math.max(1, Math.min(MAX_COUNT, Number.parseInt(query.count ?? "12", 10) || 12)),
    onlyNew: query.new !== "0",
    circumstances: Object.fromEntries(Object.entries(query).filter(([name]) => name.startsWith("c.")).map(([name, value]) => [name.slice(2), value])),
  };
}

// Returns the address of a state; what is usual is left out.
export function toQuery(state) {
  return {
    user: state.user,
    recent: state.recent.join(","),
    at: state.atMs === null ? "" : text(state.atMs),
    place: state.place,
    weather: state.weather,
    scenario: state.scenario,
    filter: state.filter,
    count: state.count === 12 ? "" : state.count,
    new: state.onlyNew ? "" : "0",
    ...Object.fromEntries(Object.entries(state.circumstances).map(([name, value]) => [`c.${name}`, value])),
  };
}

// Returns the context of a request; undefined if nothing is said.
export function contextOf(state) {
  const attributes = Object.fromEntries(Object.entries(state.circumstances).filter(([, value]) => value));
  const context = {
    ...(state.atMs !== null && {eventTime: new Date(state.atMs).toISOString()}),
    ...(state.place && {place: state.place}),
    ...(state.weather && {weather: state.weather}),
    ...(Object.keys(attributes).length && {attributes}),
  };
  return Object.keys(context).length ? context : undefined;
}

// Returns the request of a state. `attributes` are those that the answer gives of each item.
export function requestOf(state, attributes = []) {
  const context = contextOf(state);
  return {
    ...(state.user && {user: state.user}),
    ...(state.recent.length && {recentItems: state.recent}),
    count: state.count,
    ...(context && {context}),
    ...(state.onlyNew && {excludeSeen: ["*"]}),
    ...(state.scenario && {scenario: state.scenario}),
    ...(state.filter.trim() && {filter: state.filter}),
    ...(attributes.length && {includeAttributes: attributes}),
  };
}
