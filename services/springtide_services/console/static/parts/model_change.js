// What changes when another version serves, in words and numbers.

import {html, nothing} from "../vendor/lit-html.js";
import {compact, date} from "./format.js";
import {sentence} from "./model_detail.js";

const MAX_EXPONENTS = 6;  // Those that change most.

// Returns what a promotion would change. `before` and `after` are answers of GetModel; `before` is null if none serves.
export function promotionWords(before, after) {
  const {model} = after;
  const counting = differences(exponents(before ?? {}), exponents(after)).sort((one, other) => distance(other) - distance(one));
  return html`
    ${model.verdict === "rejected" ? html`<p class="notice notice-bad">The gate rejected this version. ${sentence(model.verdictReason ?? "")}</p>` : nothing}
    ${before ? html`<table class="compare">
      <thead><tr><td></td><th scope="col">now</th><th scope="col">then</th></tr></thead>
      <tbody>
        <tr><th scope="row">version</th><td>${before.model.version}</td><td><strong>${model.version}</strong></td></tr>
        ${row("trained", date(before.model.createTime), date(model.createTime))}
        ${row("interactions", compact(before.model.numInteractions), compact(model.numInteractions))}
        ${row("NDCG@20 at its gate", candidate(before), candidate(after))}
        ${differences(parts(before), parts(after)).map(([kind, from, to]) => row(kind, from, to))}
        ${counting.slice(0, MAX_EXPONENTS).map(([name, from, to]) => row(name, from, to))}
      </tbody>
    </table>
    ${counting.length > MAX_EXPONENTS ? html`<p class="note">And ${counting.length - MAX_EXPONENTS} exponents more.</p>` : nothing}` : html`<p><strong>${model.version}</strong> begins to serve; no model does now.</p>`}
    <p class="note">Running servers swap within seconds; no request waits. It can be rolled back.</p>`;
}

function row(name, from, to) {
  return html`<tr><th scope="row">${name}</th><td>${from || "–"}</td><td class=${from === to ? "" : "is-changed"}>${to || "–"}</td></tr>`;
}

const candidate = ({gate = []}) => gate.find(({name}) => name === "candidate")?.ndcgAt20?.toFixed(4) ?? "";
const parts = ({parts: all = []}) => all.map(({kind, name, origin}) => [kind.replaceAll("_", " "), `${name} (${origin})`]);
const distance = ([, from, to]) => Math.abs(Number(from ?? 0) - Number(to ?? 0));

function exponents({exponents: all = []}) {
  const shown = all.map(({weight, factor, value = 0}) => [factor === weight ? weight : `${weight} ${factor.replace(/^own:(.*)/, "$1 (had)")}`.replaceAll("_", " "), value.toFixed(2)]);
  return shown.filter(([, value]) => Number(value) !== 0);
}

// Returns [name, from, to] of what is not the same.
function differences(before, after) {
  const [from, to] = [new Map(before), new Map(after)];
  return [...new Set([...from.keys(), ...to.keys()])].filter((name) => from.get(name) !== to.get(name)).map((name) => [name, from.get(name), to.get(name)]);
}
