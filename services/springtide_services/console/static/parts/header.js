// The header: the pages, what serves now and whether all is well, the theme, the token.

import {html, nothing, render} from "../vendor/lit-html.js";
import {link} from "../router.js";
import {watch} from "../status.js";
import {hasToken} from "../api.js";
import {askForToken} from "./token.js";
import {onTheme, switchTheme, theme} from "./theme.js";
import * as icons from "./icons.js";

const top = document.getElementById("top");
let pages = [];
let page = "";
let seen = {status: null, problem: null};

export const header = {
  // Shows which page is open.
  pages(all, name) {
    pages = all;
    page = name;
    draw();
  },
  // Begins to follow the server.
  start() {
    watch((state) => {
      const before = health(seen).text;
      seen = {status: state.status, problem: state.problem};
      if (health(seen).text !== before) draw();
    });
    onTheme(draw);
    document.addEventListener("token", draw);
  },
};

// Says in words how the server is: `good`, `warn`, `bad`, or `unknown` before anything came.
export function health({status, problem}) {
  if (problem) return {kind: "bad", text: problem.code === "unavailable" ? "No connection" : "No access", why: problem.message};
  if (!status) return {kind: "unknown", text: "Connecting", why: "Nothing has come from the server yet."};
  if (status.streamProblem) return {kind: "bad", text: "Stream waits", why: status.streamProblem.message};
  const serves = status.modelVersion ? `Model ${status.modelVersion}` : "No model yet";
  const why = status.modelVersion ? "This version answers." : "The fallback answers until the first model is trained.";
  if (status.failingParts?.length) return {kind: "warn", text: `${serves}, plugin fails`, why: status.failingParts[0].reason};
  if (status.streamHealth && status.streamHealth !== "reading") {
    return {kind: "warn", text: `${serves}, ${status.streamHealth.replaceAll("_", " ")}`, why};
  }
  return {kind: "good", text: serves, why};
}

function draw() {
  const {kind, text, why} = health(seen);
  const isDark = theme() === "dark";
  render(
    html`<div class="bar">
      <a class="brand" href=${link("now")} aria-label="Springtide, to the first page">
        <img src="/static/icon.svg" alt="" width="26" height="26"><span>Springtide</span>
      </a>
      <nav aria-label="Pages">
        ${pages.map(
          ({name, title}) => html`<a href=${link(name)} aria-current=${name === page ? "page" : nothing}>${title}</a>`,
        )}
      </nav>
      <div class="bar-end">
        <a class="health" href=${link(text.startsWith("Model") ? "models" : "now")} title=${why}>
          <span class="dot dot-${kind}"></span><span role="status">${text}</span>
        </a>
        <button class="quiet square" type="button" @click=${switchTheme} title=${isDark ? "Light" : "Dark"}
          aria-label=${isDark ? "Switch to light" : "Switch to dark"}>${isDark ? icons.sun : icons.moon}</button>
        <button class="quiet square" type="button" @click=${() => askForToken()} title="Token" aria-pressed=${hasToken()}
          aria-label=${hasToken() ? "Change the token" : "Give a token"}>${icons.key}</button>
      </div>
    </div>`,
    top,
  );
}
