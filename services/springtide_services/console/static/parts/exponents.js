// What a model's context weights count: each factor's exponent with its error, as a point on a scale and in words.

import {html, nothing} from "../vendor/lit-html.js";
import {interval, scaleOver} from "./drawings.js";

const Z = 1.96;  // Standard errors to each side of a 95 % interval.

// Returns an exponent in words: `the calendar's year counts 0.83 ± 0.05`.
export function exponentWords({weight, factor, value = 0, error}) {
  const owner = weight === factor ? `the ${weight}` : `the ${weight}'s ${factor.replaceAll("_", " ")}`;
  if (error === undefined) return `${owner} counts ${value.toFixed(2)}`;
  if (Math.abs(value) < Z * error) return `${owner} counts ${value.toFixed(2)} ± ${error.toFixed(2)}: not told from nothing`;
  return `${owner} counts ${value.toFixed(2)} ± ${error.toFixed(2)}`;
}

// Draws the exponents of a model as a table with points and intervals.
export function exponentsTable(exponents = []) {
  if (!exponents.length) return html`<p class="note">This model has no context weights.</p>`;
  const ends = exponents.flatMap(({value = 0, error = 0}) => [value - Z * error, value + Z * error]);
  const scale = scaleOver(ends, {atLeast: [0, 1]});
  return html`<table class="exponents">
    <thead><tr><th scope="col">Factor</th><th scope="col" class="wide">0 counts nothing, 1 counts as learned</th><th scope="col" class="end">Exponent</th></tr></thead>
    <tbody>${exponents.map((each) => {
      const {weight, factor, value = 0, error} = each;
      return html`<tr>
        <th scope="row">${weight === factor ? weight : html`${weight} <small>${factor.replaceAll("_", " ")}</small>`}</th>
        <td>${interval({value, low: value - Z * (error ?? 0), high: value + Z * (error ?? 0)}, scale, {reference: 0})}</td>
        <td class="end">${value.toFixed(2)}${error === undefined ? nothing : html` <small>± ${error.toFixed(2)}</small>`}</td>
      </tr>`;
    })}</tbody>
  </table>`;
}
