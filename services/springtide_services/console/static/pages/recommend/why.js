// Why an item has its place: the words, the terms of the score, the paths, the user's own events, the counterfactual.

import {html, nothing} from "../../vendor/lit-html.js";
import {recommender} from "../../api.js";
import {signedBars} from "../../parts/bars.js";
import {badge, facts} from "../../parts/cards.js";
import {openDialog} from "../../parts/dialog.js";
import {errorPanel, loading} from "../../parts/errors.js";
import * as format from "../../parts/format.js";
import {itemName, learnNames} from "../../parts/names.js";
import {link} from "../../router.js";
import {drawPaths, pathWords} from "./path_graph.js";
import {contextOf} from "./state.js";

const NUM_PATHS = 6;
const NUM_EVENTS = 10;
const NUM_NEIGHBOURS = 5;
const FIRST_LIMIT = "0.2s";  // What is found at once is shown at once;
const WHOLE_LIMIT = "8s";  // then all of it, since a person can wait.

// Opens the panel for a card of the answer to a state.
export function openWhy({card, state, signal}) {
  const leaving = new AbortController();
  let drawing = new AbortController();
  signal.addEventListener("abort", () => leaving.abort());
  leaving.signal.addEventListener("abort", () => drawing.abort());
  let body = loading(8);
  const dialog = openDialog({title: card.title, wide: true, body: () => body, signal: leaving.signal, onClose: () => leaving.abort()});
  const ask = async () => {
    body = loading(8);
    dialog.draw();
    try {
      const first = await explained(FIRST_LIMIT);
      await showAnswer(first, first.isCut);
      if (first.isCut) await showAnswer(await explained(WHOLE_LIMIT));
    } catch (error) {
      if (leaving.signal.aborted) return;
      body = errorPanel(error, {retry: ask});
      dialog.draw();
    }
  };
  const explained = (timeLimit) => recommender("Explain", {...requestFor(card, state), timeLimit}, {signal: leaving.signal});
  const showAnswer = async (answer, goesOn = false) => {
    await learnNames(itemsOf(answer), leaving.signal);
    drawing.abort();
    drawing = new AbortController();
    body = view(answer, card, state, goesOn);
    dialog.draw();
    const place = dialog.element.querySelector(".graph");
    if (place) drawPaths(place, answer.paths, {user: state.user, item: card.item}, {signal: drawing.signal, onOpen: (id) => open(link("data", ["item", id]))});
  };
  const open = (address) => {
    dialog.close();
    location.hash = address;
  };
  return ask();
}

function requestFor(card, state) {
  const context = contextOf(state);
  return {
    ...(state.user && {user: state.user}),
    ...(state.recent.length && {recentItems: state.recent}),
    ...(context && {context}),
    item: card.item,
    count: state.count,
    maxPaths: NUM_PATHS,
  };
}

const strongest = (rows, most) => [...rows].sort((a, b) => Math.abs(b.influence ?? 0) - Math.abs(a.influence ?? 0)).slice(0, most).filter(({influence}) => Math.abs(influence ?? 0) > 1e-6);

const itemsOf = ({paths = [], events = [], neighbours = [], counterfactual}) => [
  ...paths.flatMap(({nodes = []}) => nodes.map(({id}) => id)),
  ...strongest(events, NUM_EVENTS).map(({item}) => item),
  ...neighbours.filter(({node}) => node?.type === "item").map(({node}) => node.id),
  ...(counterfactual?.items ?? []),
];

function view(answer, card, state, goesOn) {
  const terms = termsOf(answer);
  const events = strongest(answer.events ?? [], NUM_EVENTS);
  return html`<div class="why">
    ${answer.reason || answer.sentence ? html`<p class="why-reason">${sentences(answer.reason || answer.sentence)}</p>` : ""}
    <p class="row">${badge(`place ${format.count(card.rank)} here`, "accent")}${badge(`place ${format.count(answer.rank)} of all items`)}${answer.modelVersion ? badge(`model ${answer.modelVersion}`) : ""}
      <span class="note">${format.moment(answer.asOfMs)} UTC</span></p>
    <section><h3>What the score is made of</h3>
      ${terms.length ? html`${signedBars(terms)}<p class="note">The bars are logarithms of odds, and add up to the score, ${format.decimal(answer.score)}.</p>` : html`<p class="note">The baseline's score is ${format.decimal(answer.score)}.</p>`}
      ${factorsOf(answer)}</section>
    ${answer.paths?.length ? html`<section><h3>How it is reached in the live graph</h3>
      <div class="graph paths"></div>
      <ol class="path-words">${answer.paths.map((path) => html`<li><span>${pathWords(path)}</span><span class="note">${format.percent(path.share)}</span></li>`)}</ol></section>` : ""}
    ${events.length ? html`<section><h3>${state.user ? "Their own events" : "The session's items"}, by what each adds to the score</h3>
      ${signedBars(events.map(({item, relation, eventTime, influence}) => ({
        name: itemName(item), value: influence ?? 0, title: `${itemName(item)}, ${relation}, ${format.dateTime(eventTime)}`,
      })))}</section>` : ""}
    ${counterfactual(answer, state)}
    ${neighboursOf(answer)}
    ${answer.isCut ? html`<p class="note" role="status">${goesOn ? "Looking for what their own events add…" : "There is more than could be found in time."}</p>` : ""}
    <p class="row why-links"><a href=${link("data", ["item", card.item])}>This item's data</a><a href=${link("season", [card.item])}>Its season</a></p>
  </div>`;
}

// Reasons come as clauses, set apart by semicolons: a person reads them as a list of sentences.
const sentences = (text) => text.split("; ").map((each) => html`<span>${each[0].toUpperCase()}${each.slice(1)}.</span> `);

function termsOf({cosine = 0, cosineExponent = 0, weights = []}) {
  const rows = weights.map(({name, weight}) => ({name, value: Math.log(Math.max(weight, 1e-9)), text: format.factor(weight)}));
  if (!weights.length) return [];
  return [{name: "taste", value: cosine * cosineExponent, text: cosine.toFixed(2), title: `cosine ${cosine.toFixed(3)} × ${format.decimal(cosineExponent)}`}, ...rows]
    .filter(({value}) => Math.abs(value) > 1e-6);
}

// The factors inside of the weights: what was observed, what the model has learned to make of it.
function factorsOf({weights = []}) {
  const rows = weights.flatMap(({name, factors = []}) => factors.filter(({lift = 0, weight = 0}) => lift !== 1 || weight !== 1).map((factor) => ({...factor, of: name})));
  if (!rows.length) return "";
  return html`<details><summary>All factors</summary><div class="table-frame" tabindex="0" role="region" aria-label="All factors"><table>
    <caption class="unseen">Each factor: what was observed, its learned exponent, what it multiplies the odds by</caption>
    <thead><tr><th scope="col">Factor</th><th scope="col" class="end">Observed</th><th scope="col" class="end">Exponent</th><th scope="col" class="end">Odds</th></tr></thead>
    <tbody>${rows.map(({of, name, lift = 0, exponent = 0, weight = 0}) => html`<tr class=${exponent ? nothing : "idle"}><td>${of}, ${name.replaceAll("_", " ")}</td>
      <td class="end">${format.factor(lift)}</td><td class="end">${exponent ? format.decimal(exponent) : "does not count"}</td><td class="end">${format.factor(weight)}</td></tr>`)}</tbody>
  </table></div></details>`;
}

function counterfactual({counterfactual: found, rank}, state) {
  if (!found?.items?.length) return "";
  const names = found.items.map((id) => html`<li>${itemName(id)}</li>`);
  const place = format.number(found.rank) ? `at place ${format.count(found.rank)} instead of ${format.count(rank)}` : `no longer among the first ${state.count}`;
  return html`<section class="counterfactual"><h3>What would have to be different</h3>
    <p>Without ${found.items.length === 1 ? "this" : "these"}, it would be ${place}${found.isSmallest ? "; no smaller set does it" : ""}:</p><ul>${names}</ul></section>`;
}

function neighboursOf({neighbours = []}) {
  const of = (side) => strongest(neighbours.filter((each) => each.side === side), NUM_NEIGHBOURS)
    .map(({node, relation, influence, attention}) => ({
      name: node.type === "item" ? itemName(node.id) : `${node.type} ${node.id}`, value: influence ?? 0,
      title: `${relation}${attention === undefined ? "" : `, attention ${format.percent(attention)}`}`,
    }));
  const [user, item] = [of("user"), of("item")];
  if (!user.length && !item.length) return "";
  return html`<section><h3>What the neighbours add to the cosine</h3>
    ${user.length ? html`<p class="note">Neighbours of the user</p>${signedBars(user)}` : ""}
    ${item.length ? html`<p class="note">Neighbours of the item</p>${signedBars(item)}` : ""}</section>`;
}
