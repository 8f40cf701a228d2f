// Dialogs: the browser's own, so that the focus stays in them and Escape closes them.

import {html, render} from "../vendor/lit-html.js";
import * as icons from "./icons.js";

// Opens a dialog and returns {close, draw}. `body(close)` returns what it shows; `draw()` draws it anew. `wide` gives it
// room, as a panel at the side. `onClose` is called once, however it was closed; a `signal` closes it, too.
export function openDialog({title, body, wide = false, onClose = () => {}, signal}) {
  const dialog = document.createElement("dialog");
  dialog.className = wide ? "panel-dialog" : "small-dialog";
  dialog.setAttribute("aria-label", title);
  const close = () => dialog.close();
  const draw = () =>
    render(
      html`<div class="dialog-head">
          <h2>${title}</h2>
          <button class="quiet square" type="button" aria-label="Close" title="Close (Escape)" @click=${close}>${icons.cross}</button>
        </div>
        <div class="dialog-body">${body(close)}</div>`,
      dialog,
    );
  draw();
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) close();  // Beside it.
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    onClose();
  });
  signal?.addEventListener("abort", close);
  document.body.append(dialog);
  dialog.showModal();
  return {close, draw, element: dialog};
}

// Asks whether something shall be done, with a reason if `reason` names what it is for; returns the reason, `true`
// without one, or null if not.
export function ask({title, text, action, isDangerous = false, reason = ""}) {
  return new Promise((resolve) => {
    let answer = null;
    const submit = (close) => (event) => {
      event.preventDefault();
      answer = reason ? event.target.elements.reason.value.trim() : true;
      close();
    };
    openDialog({
      title,
      onClose: () => resolve(answer),
      body: (close) => html`<form @submit=${submit(close)}>
        <p>${text}</p>
        ${reason ? html`<label class="field">${reason}<input name="reason" maxlength="1000" autofocus autocomplete="off"></label>` : ""}
        <div class="actions">
          <button type="button" class="quiet" @click=${close}>Cancel</button>
          <button class=${isDangerous ? "danger" : "primary"}>${action}</button>
        </div>
      </form>`,
    });
  });
}
