// The frame of the console: which page is shown, and the way between pages. The address says it: `#/season/milk`.

import {html, render} from "./vendor/lit-html.js";

// Each module exports `title` and `show(element, args, signal)`: it draws itself into the element, and stops what it has
// begun once the signal is aborted. `args` is what follows its name in the address.
const PAGES = ["now"];

const top = document.getElementById("top");
const page = document.getElementById("page");
let leaving = new AbortController();

async function showPage() {
  const [name = PAGES[0], ...args] = location.hash.replace(/^#\/?/, "").split("/").filter(Boolean).map(decodeURIComponent);
  const modules = await Promise.all(PAGES.map((each) => import(`./pages/${each}.js`)));
  const index = Math.max(0, PAGES.indexOf(name));
  leaving.abort();
  leaving = new AbortController();
  document.title = `${modules[index].title} – Springtide`;
  render(
    html`<nav aria-label="Pages">
      <a class="brand" href="#/">Springtide</a>
      ${modules.map((module, at) => html`<a href="#/${PAGES[at]}" aria-current=${at === index ? "page" : "false"}>${module.title}</a>`)}
    </nav>`,
    top,
  );
  const content = document.createElement("div");  // A new one: what a page before still draws goes nowhere.
  page.replaceChildren(content);
  await modules[index].show(content, args, leaving.signal);
}

addEventListener("hashchange", showPage);
showPage();
