// The frame of the console: which page is shown, and the way between pages. The address says it: `#/season/milk`.

import {html, render} from "./vendor/lit-html.js";
import {current, link} from "./router.js";
import {header} from "./parts/header.js";
import {errorPanel, loading} from "./parts/errors.js";
import {askForToken} from "./parts/token.js";

// Each module in `pages/` exports `show(element, args, signal)`: it draws itself into the element, and stops what it has
// begun once the signal is aborted. `args` is what follows its name in the address; `router.js` has the rest of it.
const PAGES = [
  {name: "now", title: "Now"},
  {name: "recommend", title: "Recommend"},
  {name: "season", title: "Season"},
  {name: "models", title: "Models"},
  {name: "quality", title: "Quality"},
  {name: "data", title: "Data"},
  {name: "steering", title: "Steering"},
];

const main = document.getElementById("page");
let leaving = new AbortController();
let shown;

async function showPage() {
  const {name, args} = current();
  const page = PAGES.find((each) => each.name === name) ?? PAGES[0];
  leaving.abort();
  leaving = new AbortController();
  const {signal} = leaving;
  document.title = `${page.title} – Springtide`;
  header.pages(PAGES, page.name);
  const [waiting, content] = [document.createElement("div"), document.createElement("div")];
  content.className = `page page-${page.name}`;  // A new element: what a page before still draws goes nowhere.
  render(loading(), waiting);
  main.replaceChildren(waiting);
  if (shown !== undefined && shown !== page.name) {
    main.focus({preventScroll: true});  // Readers of the screen hear the new page; the keyboard goes on from there.
    scrollTo(0, 0);
  }
  shown = page.name;
  try {
    const module = await import(`./pages/${page.name}.js`);
    if (signal.aborted) return;
    main.replaceChildren(content);
    await module.show(content, args, signal);
  } catch (error) {
    if (signal.aborted) return;
    console.warn(error);
    const again = document.createElement("div");
    render(html`<h1>${page.title}</h1>${errorPanel(error, {retry: showPage})}`, again);
    main.replaceChildren(again);
  }
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();  // `#page` is no page of the console.
  main.focus();
});
addEventListener("hashchange", showPage);
document.addEventListener("token", showPage);
document.addEventListener("unauthenticated", (event) => askForToken(event.detail));
if (!location.hash) history.replaceState(null, "", link("now"));
header.start();
showPage();
