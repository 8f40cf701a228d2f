// Icons: lines in the colour of the text; a reader of the screen passes over them.

import {svg, html} from "../vendor/lit-html.js";

const icon = (paths) => html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">${paths}</svg>`;

export const sun = icon(svg`<circle cx="12" cy="12" r="4"/><path d="M12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.400 1.400M17.3 17.3l1.400 1.400M5.3 18.700l1.400-1.400M17.3 6.700l1.400-1.400"/>`);
export const moon = icon(svg`<path d="M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z"/>`);
export const key = icon(svg`<circle cx="8" cy="15.5" r="4.5"/><path d="M11.3 12.200 20 3.5M16 7.5l3 3"/>`);
export const copy = icon(svg`<rect x="9" y="9" width="11" height="11" rx="2"/><path d="M5 15V6a2 2 0 0 1 2-2h8"/>`);
export const check = icon(svg`<path d="m5 12.5 4.5 4.5L19 7.5"/>`);
export const cross = icon(svg`<path d="M6 6l12 12M18 6 6 18"/>`);
export const search = icon(svg`<circle cx="10.5" cy="10.5" r="6"/><path d="m15 15 5.5 5.5"/>`);
export const warning = icon(svg`<path d="M12 4 2.8 19.5h18.400z"/><path d="M12 10v4.5M12 17v.2"/>`);
export const play = icon(svg`<path d="M7 4.5v15l12-7.5z"/>`);
export const pause = icon(svg`<path d="M8 5v14M16 5v14"/>`);
export const arrow = icon(svg`<path d="M5 12h14M13 6l6 6-6 6"/>`);
export const up = icon(svg`<path d="M12 19V5M6 11l6-6 6 6"/>`);
export const down = icon(svg`<path d="M12 5v14M6 13l6 6 6-6"/>`);
