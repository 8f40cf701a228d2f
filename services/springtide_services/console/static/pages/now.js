// What goes on now: the stream, the graph, requests; it draws itself anew each second.

import {html, render} from "../vendor/lit-html.js";
import {events} from "../api.js";

export const title = "Now";

export async function show(element, args, signal) {
  render(html`<h1>Now</h1><p>Waiting for the server…</p>`, element);
  for await (const {event, data} of events("/v1/now", signal)) {
    if (event === "failure") render(html`<h1>Now</h1><p role="alert">${data}</p>`, element);
    else render(html`<h1>Now</h1><p>Model ${JSON.parse(data).modelVersion || "none"} serves.</p>`, element);
  }
}
