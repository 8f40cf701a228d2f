import {html, render} from "../vendor/lit-html.js";
export async function show(element) { render(html`<h1>data</h1>`, element); }
