// Bars: of shares, of factors around 1, of signed numbers. The number stands beside each, so colour is never all.

import {html, nothing} from "../vendor/lit-html.js";
import {decimal, factor} from "./format.js";

// A bar from 0 to `value` of `max`; `text` stands beside it. `kind` may be `warn` or `bad`.
export const bar = ({name, value, max, text, kind = ""}) => html`<div class="bar-row" data-kind=${kind || nothing}>
  <span class="bar-name">${name}</span>
  <span class="bar-track" aria-hidden="true"><span class="bar-fill" .style=${`inline-size:${share(value, max)}%`}></span></span>
  <span class="bar-value">${text}</span>
</div>`;

export const bars = (rows) => html`<div class="bars">${rows.map(bar)}</div>`;

// Factors of odds around 1, on a scale of logarithms that ends at `reach`: to the right it raises, to the left it lowers.
export const factorBars = (rows, reach = 4) => html`<div class="bars factors">
  ${rows.map(({name, value, title}) => signed({name, title, text: factor(value), side: Math.log(Math.max(value, 1e-9)) / Math.log(reach)}))}
</div>`;

// Numbers around 0, on a scale that ends at the greatest of them, or at `reach`.
export function signedBars(rows, reach) {
  const most = reach ?? Math.max(...rows.map(({value}) => Math.abs(value)), 1e-12);
  return html`<div class="bars factors">
    ${rows.map(({name, value, title, text}) => signed({name, title, text: text ?? `${value > 0 ? "+" : ""}${decimal(value)}`, side: value / most}))}
  </div>`;
}

function signed({name, text, side, title}) {
  const length = 50 * Math.min(Math.abs(side), 1);
  const way = length < 0.75 ? "none" : side > 0 ? "up" : "down";
  return html`<div class="bar-row" title=${title ?? nothing} data-way=${way}>
    <span class="bar-name">${name}</span>
    <span class="bar-track middle" aria-hidden="true">
      <span class="bar-fill" .style=${`inline-size:${length}%;inset-inline-start:${side > 0 ? 50 : 50 - length}%`}></span>
    </span>
    <span class="bar-value">${text}</span>
  </div>`;
}

const share = (value, max) => (max > 0 ? Math.max(0, Math.min(100, (100 * value) / max)) : 0);
