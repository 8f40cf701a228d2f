// What a model's terms count: each factor's exponent with its error, as points on a scale and in words. A factor may count
// otherwise for items that the user has had, which the server names `own:factor`.

import {html, nothing} from "../vendor/lit-html.js";
import {interval, scaleOver} from "./drawings.js";

const Z = 1.96;  // Standard errors to each side of a 95 % interval.
const OWN = "own:";

// Returns {weight, factor, fresh, own} for each factor: what it counts for items that are new to the user, and for others.
function paired(exponents) {
  const rows = new Map();
  for (const {weight, factor, value = 0, error} of exponents) {
    const isOwn = factor.startsWith(OWN);
    const name = isOwn ? factor.slice(OWN.length) : factor;
    const row = rows.get(`${weight} ${name}`) ?? {weight, factor: name, fresh: null, own: null};
    row[isOwn ? "own" : "fresh"] = {value, error, low: value - Z * (error ?? 0), high: value + Z * (error ?? 0)};
    rows.set(`${weight} ${name}`, row);
  }
  return [...rows.values()];
}

const counts = (exponent) => exponent !== null && exponent.value !== 0 && (exponent.error === undefined || Math.abs(exponent.value) > Z * exponent.error);
const numbers = ({value, error}) => `${value.toFixed(2)}${error === undefined ? "" : ` ± ${error.toFixed(2)}`}`;
const named = (factor) => factor.replaceAll("_", " ");

// Returns what counts, a sentence each: `the calendar's year counts 0.83 ± 0.05, and 0.65 ± 0.08 for items that the user had`.
export function exponentSentences(exponents) {
  return paired(exponents).filter(({fresh, own}) => counts(fresh) || counts(own)).map(({weight, factor, fresh, own}) => {
    const owner = weight === factor ? `the ${named(weight)}` : `the ${named(weight)}'s ${named(factor)}`;
    if (own === null) return `${owner} counts ${numbers(fresh)}`;
    if (!counts(fresh)) return `${owner} counts ${numbers(own)} for items that the user has had, and nothing else`;
    return `${owner} counts ${numbers(fresh)}, and ${counts(own) ? numbers(own) : "nothing"} for items that the user has had`;
  });
}

// Draws the exponents as a table. With `all`, those that are not told from nothing stand in it, too.
export function exponentsTable(exponents = [], {all = false} = {}) {
  if (!exponents.length) return html`<p class="note">This model has no context weights.</p>`;
  const rows = paired(exponents);
  const shown = all ? rows : rows.filter(({fresh, own}) => counts(fresh) || counts(own));
  const hidden = rows.filter((row) => !shown.includes(row));
  const ends = rows.flatMap(({fresh, own}) => [fresh, own].filter(Boolean).flatMap(({low, high}) => [low, high]));
  const scale = scaleOver(ends, {atLeast: [0, 1]});
  const hasOwn = rows.some(({own}) => own !== null);
  return html`<div class="table-frame" tabindex="0" role="region" aria-label="Learned exponents"><table class="exponents">
    <thead><tr><th scope="col">Factor</th><th scope="col" class="wide">${hasOwn ? html`<span class="key key-fresh">new items</span> <span class="key key-own">items they had</span>` : html`<span class="unseen">Drawn</span>`}</th>
      <th scope="col" class="end">${hasOwn ? "New" : "Exponent"}</th>${hasOwn ? html`<th scope="col" class="end">Had</th>` : nothing}</tr></thead>
    <tbody>${shown.map(({weight, factor, fresh, own}) => html`<tr>
      <th scope="row">${named(weight)}${weight === factor ? nothing : html` <small>${named(factor)}</small>`}</th>
      <td>${interval([fresh && {...fresh, tone: "is-strong"}, own && {...own, tone: "is-own"}].filter(Boolean), scale, {references: [0, 1]})}</td>
      <td class="end">${number(fresh)}</td>${hasOwn ? html`<td class="end">${number(own)}</td>` : nothing}
    </tr>`)}</tbody>
  </table></div>
  <p class="note">The lines are at 0, which counts nothing, and at 1, as learned; the bars are 95 % intervals.${hidden.length ? ` Not told from nothing: ${hidden.map(({weight, factor}) => (weight === factor ? named(weight) : `${named(weight)} ${named(factor)}`)).join(", ")}.` : ""}</p>`;
}

function number(exponent) {
  if (exponent === null) return nothing;
  const {value, error} = exponent;
  return html`<span class=${counts(exponent) ? "" : "is-nothing"}>${value.toFixed(2)}${error === undefined ? nothing : html` <small>± ${error.toFixed(2)}</small>`}</span>`;
}
