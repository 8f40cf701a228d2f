// One model version whole: the gate's verdict and table, what its weights count, training curves, parts, live quality.

import {html, nothing} from "../vendor/lit-html.js";
import {badge} from "./cards.js";
import {interval, scaleOver} from "./drawings.js";
import {exponentSentences, exponentsTable} from "./exponents.js";
import {count, date, dateTime, decimal, number, percent, plural} from "./format.js";

const VERDICTS = {promoted: "good", rejected: "bad", "not judged": "warn"};
export const TRAININGS = {
  retrain: "trained from scratch",
  fine_tune: "fine-tuned",
  refit: "exponents fitted anew",
  baseline: "a baseline",
};

// Draws the gate's verdict as a chip; nothing where there was no gate.
export const verdictChip = (verdict) => (verdict ? badge(verdict, VERDICTS[verdict]) : nothing);

// Draws everything but the curves, which the page puts into `<div class="curves">`. `live` is its WindowQuality, if any.
export function modelDetail({model, parts = [], exponents = [], curves = [], gate = [], checkpoint, newestEventTime, temperature, requestId}, live) {
  return html`
    <section class="card" aria-labelledby="gate-title">
      <header class="card-head"><h3 id="gate-title">The gate</h3>${verdictChip(model.verdict)}</header>
      ${model.verdictReason ? html`<p class="verdict-words">${sentence(model.verdictReason)}</p>` : nothing}
      ${gateTable(gate)}
    </section>
    <div class="card-stack">
      <section class="card" aria-labelledby="live-title">
        <header class="card-head"><h3 id="live-title">Live</h3></header>
        ${liveWords(live)}
      </section>
      ${curves.length ? html`<section class="card" aria-labelledby="curves-title">
        <header class="card-head"><h3 id="curves-title">Training curves</h3></header>
        <div class="curves"></div>
      </section>` : nothing}
      <section class="card" aria-labelledby="parts-title">
        <header class="card-head"><h3 id="parts-title">Made of</h3></header>
        <dl class="facts">
          ${fact("trained", `${dateTime(model.createTime)} UTC`)}
          ${fact("interactions", count(model.numInteractions))}
          ${newestEventTime ? fact("the newest of", date(newestEventTime)) : nothing}
          ${checkpoint ? fact("checkpoint", html`<code>${checkpoint}</code>`) : nothing}
          ${requestId ? fact("asked for by", html`<code>${requestId}</code>`) : fact("asked for by", "the schedule")}
          ${temperature ? fact("temperature", decimal(temperature)) : nothing}
          ${Object.entries(model.metrics ?? {}).sort().map(([name, value]) => fact(name.replaceAll("_", " "), decimal(value)))}
        </dl>
        ${parts.map((part) => html`<details class="part">
          <summary><span>${part.kind.replaceAll("_", " ")}</span> <strong>${part.name}</strong> <small>${part.origin}</small></summary>
          <pre tabindex="0">${pretty(part.optionsJson)}</pre>
        </details>`)}
      </section>
    </div>
    <section class="card" aria-labelledby="exponents-title">
      <header class="card-head"><h3 id="exponents-title">What counts</h3></header>
      ${exponentsTable(exponents)}
      ${exponents.length ? html`<details><summary>In words</summary><ul class="plain">${exponentSentences(exponents).map((each) => html`<li>${sentence(each)}</li>`)}</ul></details>` : nothing}
    </section>`;
}

function fact(name, value) {
  return html`<div><dt>${name}</dt><dd>${value}</dd></div>`;
}

// Draws NDCG@20 of each ranker with its interval.
function gateTable(gate) {
  if (!gate.length) return html`<p class="note">The gate was off: nothing was measured before it served.</p>`;
  const scale = scaleOver(gate.flatMap(({ndcgAt20 = 0, error = 0}) => [ndcgAt20 - error, ndcgAt20 + error]));
  const candidate = gate.find(({name}) => name === "candidate")?.ndcgAt20;
  const most = Math.max(...gate.map(({numQuestions}) => number(numQuestions)));
  return html`<div class="table-frame" tabindex="0" role="region" aria-label="The gate's table"><table class="gate">
    <thead><tr><th scope="col">Ranker</th><th scope="col" class="wide">${gate.some(({error}) => error !== undefined) ? "95 % intervals" : html`<span class="unseen">Drawn</span>`}</th><th scope="col" class="end">NDCG@20</th><th scope="col" class="end">Questions</th></tr></thead>
    <tbody>${gate.map(({name, ndcgAt20 = 0, error, numQuestions}) => html`<tr class=${name === "candidate" ? "is-chosen" : ""}>
      <th scope="row">${{candidate: "this version", champion: "the one that served"}[name] ?? name}</th>
      <td>${interval([{value: ndcgAt20, low: ndcgAt20 - (error ?? 0), high: ndcgAt20 + (error ?? 0), tone: name === "candidate" ? "is-strong" : ""}], scale, {references: [candidate]})}</td>
      <td class="end">${ndcgAt20.toFixed(4)}${error === undefined ? nothing : html` <small>± ${error.toFixed(4)}</small>`}</td>
      <td class="end">${count(numQuestions)}</td>
    </tr>`)}</tbody>
  </table></div>
  ${gate.some(({numQuestions}) => number(numQuestions) < most) ? html`<p class="note">A baseline is asked no more than it takes to be certain of the verdict; its mean is over those questions alone.</p>` : nothing}`;
}

function liveWords(live) {
  const all = live?.all;
  if (!number(all?.numQuestions)) return html`<p class="note">It has ranked no live events since the start of the server.</p>`;
  return html`<dl class="facts">
    ${fact("NDCG@20", (all.ndcgAt20 ?? 0).toFixed(4))}
    ${fact("hit rate", percent(all.hitRateAt20))}
    ${fact("MRR", (all.mrr ?? 0).toFixed(4))}
    ${fact("over", plural(all.numQuestions, "event"))}
  </dl><p class="note">Each new event is ranked before it is applied. <a href="#/quality">Over time</a></p>`;
}

// Returns the options of a training curve's chart.
export function curveOptions({name, step, steps = [], values = []}, {color}) {
  return {
    grid: {left: 52, right: 12, top: 10, bottom: 26},
    tooltip: {trigger: "axis", formatter: ([{data}]) => `${step} ${data[0]}\n${name}: ${decimal(data[1])}`},
    xAxis: {type: "value", min: "dataMin", max: "dataMax", minInterval: 1, splitLine: {show: false}},
    yAxis: {type: "value", scale: true, axisLabel: {formatter: decimal}},
    series: [{type: "line", data: steps.map((at, index) => [at, values[index]]), showSymbol: steps.length < 2, lineStyle: {width: 2}, itemStyle: {color}, color}],
  };
}

// Returns words as a sentence.
export function sentence(words) {
  const text = words.charAt(0).toUpperCase() + words.slice(1);
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

function pretty(json) {
  try {
    return JSON.stringify(JSON.parse(json || "{}"), null, 2);
  } catch {
    return json;
  }
}
