// What an experiment has brought: each variant's rate and its difference from the first one, with intervals that hold whenever
// one looks.

import {html, nothing} from "../vendor/lit-html.js";
import {badge} from "./cards.js";
import {interval, scaleOver} from "./drawings.js";
import {count, number} from "./format.js";
import {link} from "../router.js";
import {stateAt, variantWords} from "./steering_words.js";

// Draws a result, an answer of GetExperiment. `confidence` is what was asked for, `nowMs` the server's moment.
export function experimentResult({experiment, variants = [], winner = ""}, confidence, nowMs) {
  const held = stateAt(experiment, nowMs);
  return html`<article class="card experiment" aria-labelledby="experiment-${experiment.name}">
    <header class="card-head"><h3 id="experiment-${experiment.name}"><a href=${link("steering", ["experiments", experiment.name])}>${experiment.name}</a></h3>
      <span class="badges">${badge(held.words, {holds: "accent", waits: "", over: ""}[held.state])}${winner ? badge(`${winner} wins`, "good") : badge("open")}</span></header>
    ${experiment.note ? html`<p>${experiment.note}</p>` : nothing}
    <p class="verdict">${words(variants, winner, confidence)}</p>
    ${variants.some(({numUsers}) => number(numUsers)) ? table(experiment, variants, winner) : nothing}
  </article>`;
}

function table(experiment, variants, winner) {
  const rates = scaleOver(variants.flatMap(({rateLow = 0, rateHigh = 0}) => [rateLow, rateHigh]), {atLeast: [0]});
  const differences = scaleOver(variants.slice(1).flatMap(({differenceLow = 0, differenceHigh = 0}) => [differenceLow, differenceHigh]), {atLeast: [0]});
  return html`<div class="table-frame" tabindex="0" role="region" aria-label="Variants of ${experiment.name}"><table>
      <thead><tr><th scope="col">Variant</th><th scope="col" class="end">Users</th><th scope="col" class="end">Converted</th>
        <th scope="col" class="wide">Rate</th><th scope="col" class="end"><span class="unseen">Rate in numbers</span></th>
        <th scope="col" class="wide">Against ${variants[0]?.variant}</th><th scope="col" class="end"><span class="unseen">Difference in numbers</span></th><th scope="col" class="end">p</th></tr></thead>
      <tbody>${variants.map((each, at) => html`<tr class=${each.variant === winner ? "is-chosen" : ""}>
        <th scope="row">${each.variant}<small class="note">${variantWords(experiment.variants?.[at] ?? {})}</small></th>
        <td class="end">${count(each.numUsers)}</td>
        <td class="end">${count(each.numConverted)}</td>
        <td>${interval([{value: each.rate ?? 0, low: each.rateLow ?? 0, high: each.rateHigh ?? 0, tone: each.variant === winner ? "is-strong" : ""}], rates, {references: [variants[0].rate ?? 0]})}</td>
        <td class="end">${share(each.rate)}<small class="note">${share(each.rateLow)} to ${share(each.rateHigh)}</small></td>
        ${at === 0 ? html`<td class="note">what the others are compared with</td><td></td><td></td>` : html`
          <td>${interval([{value: each.difference ?? 0, low: each.differenceLow ?? 0, high: each.differenceHigh ?? 0, tone: each.variant === winner ? "is-strong" : ""}], differences, {references: [0]})}</td>
          <td class="end">${signed(each.difference)}<small class="note">${signed(each.differenceLow)} to ${signed(each.differenceHigh)}</small></td>
          <td class="end">${pWords(each.pValue ?? 0)}</td>`}
      </tr>`)}</tbody>
    </table></div>`;
}

// Says who wins, and how sure that is.
function words(variants, winner, confidence) {
  const sure = `${Number((confidence * 100).toFixed(1))} %`;
  const users = variants.reduce((sum, {numUsers}) => sum + number(numUsers), 0);
  if (!users) return "No user was shown a recommendation of it yet: events must carry the recommendation's id.";
  const first = html`<strong>${variants[0].variant}</strong>`;
  if (winner === variants[0].variant) return html`All others are worse than ${first}, at ${sure} confidence, whenever one looks.`;
  if (winner) return html`<strong>${winner}</strong> is better than ${first}, at ${sure} confidence, whenever one looks.`;
  return html`Still open: at ${sure} confidence no variant is told from ${first}. It may be looked at any time; that makes no false winner more likely.`;
}

const share = (value = 0) => `${(value * 100).toFixed(2)} %`;
const signed = (value = 0) => `${value > 0 ? "+" : value < 0 ? "−" : ""}${(Math.abs(value) * 100).toFixed(2)} %`;
const pWords = (value) => (value < 0.0001 ? "< 0.0001" : Number(value.toPrecision(2)).toString());
