// A field that finds nodes by id or by name: arrow keys choose, Enter takes, Escape closes.

import {html, render} from "../vendor/lit-html.js";
import {inspection} from "../api.js";
import {compact} from "./format.js";

const WAIT_MS = 150;
let counter = 0;

// Draws the field into an element and returns {set(id), focus()}. `type()` returns the node type to look among; `onChoose`
// is called with a NodeSummary, and with {id} for an id that is typed and entered though nothing was found. `value` is what
// it begins with. With `clears`, the field is empty again after a choice.
export function searchField(element, {type, label, value = "", placeholder = "", onChoose, clears = false, signal}) {
  const name = `search-${(counter += 1)}`;
  let [text, found, at, isOpen, problem, timer, asking] = [value, [], -1, false, "", 0, new AbortController()];

  async function ask() {
    asking.abort();
    asking = new AbortController();
    const mine = asking;
    try {
      const answer = await inspection("SearchNodes", {type: type(), text: text.trim(), pageSize: 12}, {signal: mine.signal});
      [found, problem] = [answer.nodes ?? [], ""];
    } catch (error) {
      if (error.name === "AbortError") return;
      [found, problem] = [[], error.message];
    }
    if (mine.signal.aborted) return;
    at = found.length && text.trim() ? 0 : -1;
    draw();
  }
  const open = () => {
    if (isOpen) return;
    isOpen = true;
    ask();
    draw();
  };
  const close = () => {
    isOpen = false;
    clearTimeout(timer);
    asking.abort();
    draw();
  };
  const take = (node) => {
    text = clears ? "" : node.id;
    found = [];
    close();
    onChoose(node);
  };
  const input = (event) => {
    text = event.target.value;
    isOpen = true;
    clearTimeout(timer);
    timer = setTimeout(ask, WAIT_MS);
    draw();
  };
  const keydown = (event) => {
    const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
    if (step) {
      event.preventDefault();
      if (!isOpen) return open();
      if (found.length) at = (at + step + found.length) % found.length;
      draw();
      element.querySelector("[aria-selected=true]")?.scrollIntoView({block: "nearest"});
    } else if (event.key === "Enter") {
      event.preventDefault();
      const exact = found.find((node) => node.id === text.trim());
      if (isOpen && at >= 0 && found[at]) take(exact ?? found[at]);
      else if (text.trim()) take({id: text.trim(), type: type()});
    } else if (event.key === "Escape" && isOpen) {
      event.preventDefault();
      event.stopPropagation();
      close();
    }
  };
  function draw() {
    const isShown = isOpen && (found.length > 0 || problem);
    render(
      html`<label class="field" for=${name}>${label}</label>
        <div class="combo">
          <input id=${name} type="search" role="combobox" autocomplete="off" spellcheck="false" placeholder=${placeholder}
            aria-expanded=${isShown ? "true" : "false"} aria-controls="${name}-list" aria-autocomplete="list"
            aria-activedescendant=${isShown && at >= 0 ? `${name}-${at}` : ""} .value=${text}
            @input=${input} @keydown=${keydown} @click=${open} @blur=${close}>
          <ul id="${name}-list" role="listbox" aria-label=${label} ?hidden=${!isShown}>
            ${problem ? html`<li class="combo-problem" role="option" aria-disabled="true" aria-selected="false">${problem}</li>` : ""}
            ${found.map((node, index) => html`<li id="${name}-${index}" role="option" aria-selected=${index === at ? "true" : "false"}
              @pointerdown=${(event) => (event.preventDefault(), take(node))}>
              <span class="combo-name">${node.name || node.id}</span>
              <span class="combo-more">${node.name && node.name !== node.id ? `${node.id} · ` : ""}${compact(node.numInteractions)} events</span>
            </li>`)}
          </ul>
        </div>`,
      element,
    );
  }
  signal?.addEventListener("abort", () => (clearTimeout(timer), asking.abort()));
  draw();
  return {
    set(id) {
      text = id;
      draw();
    },
    focus: () => element.querySelector("input").focus(),
  };
}
