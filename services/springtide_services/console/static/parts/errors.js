// What a page shows where there is nothing to show: while it waits, where nothing is, where the server refuses.

import {html} from "../vendor/lit-html.js";
import {askForToken} from "./token.js";
import * as icons from "./icons.js";

const TITLES = {
  unavailable: "The server does not answer",
  unauthenticated: "The server wants a token",
  permission_denied: "This token may not see this",
  not_found: "There is no such thing",
  invalid_argument: "The request makes no sense",
  failed_precondition: "Not yet",
  resource_exhausted: "Too many requests",
  deadline_exceeded: "It took too long",
  unimplemented: "This server cannot do that",
};
const HINTS = {
  unavailable: "The page tries again by itself once it is back, or by the button.",
  resource_exhausted: "Wait a moment, then try again.",
  unimplemented: "It may be older than the console.",
};

// Shows an error, what to do, and a button that tries again. What the server says may have lines, such as a caret under
// the character: they stay as they are.
export function errorPanel(error, {retry} = {}) {
  const code = error?.code ?? "internal";
  const wantsToken = code === "unauthenticated" || code === "permission_denied";
  return html`<div class="notice notice-bad" role="alert" data-code=${code}>
    ${icons.warning}
    <div>
      <h2>${TITLES[code] ?? "Something went wrong"}</h2>
      <pre class="said">${error?.message ?? String(error)}</pre>
      ${HINTS[code] ? html`<p>${HINTS[code]}</p>` : ""}
      <div class="actions">
        ${wantsToken ? html`<button class="primary" type="button" @click=${() => askForToken(error.message)}>Give a token</button>` : ""}
        ${retry ? html`<button type="button" @click=${() => retry()}>Try again</button>` : ""}
      </div>
    </div>
  </div>`;
}

// Says in a line what went wrong, for a part of a page.
export const errorLine = (error) => html`<pre class="error-line" role="alert">${error?.message ?? String(error)}</pre>`;

// Says that there is nothing, and what would bring something.
export const emptyPanel = (title, text = "", more = "") => html`<div class="empty"><p class="empty-title">${title}</p>${text ? html`<p>${text}</p>` : ""}${more}</div>`;

// Holds the place of what is on its way, and may say what that is; nothing moves where people want less motion.
export const loading = (lines = 3, words = "") => html`<div class="skeleton" role="status" aria-label=${words || "Loading"}>
  ${words ? html`<p class="note">${words}</p>` : ""}${Array.from({length: lines}, () => html`<div></div>`)}
</div>`;

// Draws `work(signal)`'s result by `draw`, and its error by an errorPanel that tries again: the whole life of a part.
export async function load(work, draw, showError, signal) {
  try {
    const result = await work();
    if (!signal?.aborted) draw(result);
  } catch (error) {
    if (signal?.aborted || error.name === "AbortError") return;
    showError(errorPanel(error, {retry: () => load(work, draw, showError, signal)}));
  }
}
