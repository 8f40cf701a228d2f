// A button that copies a text.

import {html} from "../vendor/lit-html.js";
import * as icons from "./icons.js";

const SHOWN_MS = 1600;

// Returns a button that copies what `text()` returns, and says so for a moment.
export function copyButton(text, label = "Copy") {
  const click = async (event) => {
    const button = event.currentTarget;
    button.dataset.state = (await isCopied(text())) ? "done" : "failed";
    setTimeout(() => {
      button.dataset.state = "ready";
    }, SHOWN_MS);
  };
  return html`<button class="small copy" type="button" data-state="ready" aria-live="polite" @click=${click}>
    <span class="when-ready">${icons.copy} ${label}</span>
    <span class="when-done">${icons.check} Copied</span>
    <span class="when-failed">${icons.cross} Select it by hand</span>
  </button>`;
}

async function isCopied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;  // Browsers allow it on https and on localhost only.
  }
}
