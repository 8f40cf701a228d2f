// What a change of rules, scenarios or experiments would do: sentences, warnings, and answers before and after.

import {html, nothing} from "../vendor/lit-html.js";
import {badge} from "./cards.js";

const MAX_ANSWERS = 12;

// Draws the answer of a dry run; `nameOf` names items. With `isEffect`, it says what something does that holds already.
export function dryRun(answer, nameOf, {isEffect = false} = {}) {
  const heads = isEffect ? ["Without it", "With it"] : ["Now", "Then"];
  const samples = answer.samples ?? [];
  const changed = samples.filter((sample) => !isSame(sample));
  return html`
    ${(answer.warnings ?? []).map((warning) => html`<p class="notice notice-warn">${warning}</p>`)}
    <ul class="changes">${(answer.changes ?? []).map((sentence) => html`<li>${sentence}</li>`)}</ul>
    ${samples.length ? html`<p class="verdict"><strong>${changed.length} of ${samples.length}</strong> answers ${isEffect ? "are other ones by it" : "would change"}${changed.length ? "." : isEffect ? ": nobody of these notices it." : ": nobody of these would notice."}</p>` : nothing}
    <div class="samples">${changed.slice(0, MAX_ANSWERS).map((sample, index) => answerChange(sample, nameOf, heads, index === 0))}</div>
    ${changed.length > MAX_ANSWERS ? html`<p class="note">And ${changed.length - MAX_ANSWERS} more.</p>` : nothing}
  `;
}

function answerChange(sample, nameOf, heads, isOpen) {
  const {before = [], after = []} = sample;
  const come = after.filter((item) => !before.includes(item)).length;
  const gone = before.filter((item) => !after.includes(item)).length;
  const moved = after.filter((item, at) => before.includes(item) && before.indexOf(item) !== at).length;
  const said = [come && `${come} new`, gone && `${gone} gone`, moved && `${moved} moved`].filter(Boolean).join(", ");
  return html`<details ?open=${isOpen}>
    <summary><span class="who">${sample.user || "somebody unknown"}${sample.scenario ? html` ${badge(sample.scenario)}` : nothing}</span><span class="how">${said}</span></summary>
    <div class="before-after">
      <div><h4>${heads[0]}</h4><ol>${before.map((item) => html`<li class=${after.includes(item) ? "" : "is-gone"}><span>${nameOf(item)}</span>${after.includes(item) ? nothing : html`<small>gone</small>`}</li>`)}</ol></div>
      <div><h4>${heads[1]}</h4><ol>${after.map((item, at) => html`<li class=${before.includes(item) ? "" : "is-new"}><span>${nameOf(item)}</span>${move(before.indexOf(item), at)}</li>`)}</ol></div>
    </div>
  </details>`;
}

function move(from, to) {
  if (from < 0) return html`<small>new</small>`;
  if (from === to) return nothing;
  const steps = Math.abs(from - to);
  return html`<small aria-label="${from > to ? "up" : "down"} by ${steps}">${from > to ? "▲" : "▼"} ${steps}</small>`;
}

function isSame({before = [], after = []}) {
  return before.length === after.length && before.every((item, at) => item === after[at]);
}
