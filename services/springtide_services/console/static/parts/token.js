// The dialog for the token, which the tab keeps until it is closed.

import {html} from "../vendor/lit-html.js";
import {hasToken, setToken} from "../api.js";
import {openDialog} from "./dialog.js";

let isOpen = false;

// Asks for a token; `why` is what the server says, where it refused a call.
export function askForToken(why = "") {
  if (isOpen) return;
  isOpen = true;
  const submit = (close) => (event) => {
    event.preventDefault();
    const given = event.target.elements.token.value;
    close();
    setToken(given);
  };
  openDialog({
    title: why ? "The server wants a token" : "Token",
    onClose: () => {
      isOpen = false;
    },
    body: (close) => html`<form class="token-form" @submit=${submit(close)}>
      ${why ? html`<p class="said">${why}</p>` : ""}
      <p>Each call of this tab carries the token; it is forgotten when the tab is closed. Pages need the role
        <code>operator</code>, users and reasons <code>explain</code>, changes <code>admin</code>.
        <code>springtide tokens create</code> makes one.</p>
      <label class="field">Token<input name="token" type="password" autocomplete="off" spellcheck="false" autofocus></label>
      <div class="actions">
        ${hasToken() ? html`<button type="button" class="quiet" @click=${() => (close(), setToken(""))}>Forget the token</button>` : ""}
        <button class="primary">Use it</button>
      </div>
    </form>`,
  });
}
