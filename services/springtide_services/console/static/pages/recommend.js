import {html, render} from "../vendor/lit-html.js";
export async function show(element) { render(html`<h1>recommend</h1>`, element); }
