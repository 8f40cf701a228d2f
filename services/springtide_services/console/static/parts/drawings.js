// Small drawings inside tables, as SVG in percentages of their width: a bar, and a point with its interval. The numbers
// stand beside them as text, so readers of the screen skip the drawings.

import {html, nothing, svg} from "../vendor/lit-html.js";

// Returns a scale from values to percent, which has room for all that is given: `{low, high, at(value)}`.
export function scaleOver(values, {atLeast = []} = {}) {
  const all = [...values, ...atLeast].filter(Number.isFinite);
  let low = all.length ? Math.min(...all) : 0;
  let high = all.length ? Math.max(...all) : 1;
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  const margin = (high - low) * 0.05;
  low -= margin;
  high += margin;
  return {low, high, at: (value) => `${Math.min(100, Math.max(0, ((value - low) / (high - low)) * 100)).toFixed(2)}%`};
}

// Draws a bar from 0 to `value`, with a mark at `reference`, such as what is usual.
export function bar(value, highest, {reference, tone = ""} = {}) {
  const percent = (number) => `${Math.min(100, Math.max(0, (number / (highest || 1)) * 100)).toFixed(2)}%`;
  return html`<svg class="drawing drawn-bar ${tone}" aria-hidden="true">
    <rect class="track" x="0" y="6" width="100%" height="8" rx="4"></rect>
    <rect class="filled" x="0" y="6" width=${percent(value)} height="8" rx="4"></rect>
    ${reference === undefined ? nothing : svg`<line class="reference" x1=${percent(reference)} x2=${percent(reference)} y1="2" y2="18"></line>`}
  </svg>`;
}

// Draws points {value, low, high, tone} with their intervals on a scale, one below the other; `references` are values with a
// line, such as no difference.
export function interval(points, scale, {references = []} = {}) {
  const y = (at) => `${((at + 0.5) / points.length) * 64 + 18}%`;
  return html`<svg class="drawing drawn-interval" aria-hidden="true">
    ${references.map((value) => svg`<line class="reference" x1=${scale.at(value)} x2=${scale.at(value)} y1="0" y2="100%"></line>`)}
    ${points.map(({value, low, high, tone = ""}, at) => svg`<g class=${tone}>
      ${[value, low, high].every(Number.isFinite) && low < high ? svg`<line class="whisker" x1=${scale.at(low)} x2=${scale.at(high)} y1=${y(at)} y2=${y(at)}></line>` : nothing}
      ${Number.isFinite(value) ? svg`<circle class="point" cx=${scale.at(value)} cy=${y(at)} r=${points.length > 1 ? 3.5 : 4.5}></circle>` : nothing}
    </g>`)}
  </svg>`;
}
