// Cards: a figure with its name, and a frame for a part of a page.

import {html, nothing} from "../vendor/lit-html.js";

// A figure: `title` names it, `value` is it, `note` says more, `kind` may be `good`, `warn` or `bad`; `more` is drawn
// below, such as a sparkline.
export const figure = ({title, value, unit = "", note = "", kind = "", more = ""}) => html`<section class="card figure" data-kind=${kind || nothing}>
  <h3>${title}</h3>
  <p class="figure-value">${value}${unit ? html`<span class="unit"> ${unit}</span>` : ""}</p>
  ${note ? html`<p class="figure-note">${note}</p>` : ""}${more}
</section>`;

// A part of a page: a title, what stands at its end such as a button, and the content.
export const card = (title, content, {end = "", note = "", className = ""} = {}) => html`<section class="card ${className}">
  <div class="card-head"><h2>${title}</h2>${end}</div>
  ${note ? html`<p class="note">${note}</p>` : ""}${content}
</section>`;

// A small word in a frame; `kind` may be `good`, `warn`, `bad` or `accent`.
export const badge = (text, kind = "") => html`<span class="badge" data-kind=${kind || nothing}>${text}</span>`;

// Names with values: `facts([["Version", "000003"]])`. Rows without a value are left out.
export const facts = (rows) => html`<dl class="facts">
  ${rows.filter(([, value]) => value !== "" && value !== null && value !== undefined)
    .map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}
</dl>`;

// Words as tabs: `tabs([["graph", "Graph"]], "graph", (name) => …)`; arrow keys go between them.
export function tabs(choices, chosen, choose, label) {
  const turn = (event) => {
    const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    if (!step) return;
    const at = choices.findIndex(([name]) => name === chosen);
    choose(choices[(at + step + choices.length) % choices.length][0]);
    requestAnimationFrame(() => event.target.parentElement?.querySelector("[aria-selected=true]")?.focus());
  };
  return html`<div class="tabs" role="tablist" aria-label=${label} @keydown=${turn}>
    ${choices.map(
      ([name, title]) => html`<button type="button" role="tab" aria-selected=${name === chosen ? "true" : "false"}
        tabindex=${name === chosen ? 0 : -1} @click=${() => choose(name)}>${title}</button>`,
    )}
  </div>`;
}
