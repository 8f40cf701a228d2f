// Recommend: any user, any moment, and what the server would answer; each answer says why.

import {html, render} from "../vendor/lit-html.js";
import {admin, inspection, recommender} from "../api.js";
import {emptyPanel, errorPanel, loading} from "../parts/errors.js";
import {keyedList} from "../parts/keyed.js";
import {attributes, learnNames} from "../parts/names.js";
import {copyButton} from "../parts/copy.js";
import {current, setQuery} from "../router.js";
import {state as serverState} from "../status.js";
import * as format from "../parts/format.js";
import {answerCard, answerHead, cardsOf, reachOf, shownTerms} from "./recommend/answers.js";
import {openCode} from "./recommend/code.js";
import {controls} from "./recommend/controls.js";
import {fromQuery, requestOf, toQuery} from "./recommend/state.js";
import {openWhy} from "./recommend/why.js";

const SLIDING_MS = 60;  // Between two calls while a slider moves.
const SETTLED_MS = 350;  // After the last change: reasons are asked for.
const NUM_GROUPS = 2;

export async function show(element, args, signal) {
  const page = {
    state: fromQuery(current().query),
    describes: {},
    scenarios: [],
    asOfMs: () => format.number(page.answer?.asOfMs ?? serverState.status?.asOfMs) || Date.now(),
    answer: null,
    change,
  };
  const [side, head, notice] = ["aside", "div", "div"].map((tag) => document.createElement(tag));
  const list = Object.assign(document.createElement("ol"), {className: "answers"});
  side.setAttribute("aria-label", "What is asked for");
  side.className = "card controls";
  list.setAttribute("aria-label", "The answer");
  render(
    html`<div class="page-head"><h1>Recommend</h1><p>Any user, any moment: move the slider and watch the list change. Bars to the right raise an item, bars to the left lower it.</p></div>
      <div class="recommend">${side}<div class="stack results">${head}${notice}${list}</div></div>`,
    element,
  );
  render(loading(5), notice);

  let attributesOfItems = {nameAttribute: "", groups: []};
  let ranks = new Map();  // Before the change that is going on: what a card has risen or fallen from.
  let [timer, settled, asking, lastAskedMs] = [0, 0, new AbortController(), 0];
  const update = keyedList(list, {key: (card) => card.item, draw: ({card, scale}) => answerCard(card, scale, why)});
  signal.addEventListener("abort", () => {
    clearTimeout(timer);
    clearTimeout(settled);
    asking.abort();
  });

  function change(next, isSliding) {
    const isNewChange = !page.isSliding;
    page.state = next;
    page.isSliding = isSliding;
    setQuery(toQuery(next));
    drawControls(page.problem);
    if (isNewChange && page.answer) ranks = new Map(page.answer.items?.map(({item}, at) => [item, at + 1]));
    clearTimeout(timer);
    clearTimeout(settled);
    timer = setTimeout(() => ask("RECOMMEND_VIEW_WEIGHTS"), Math.max(0, SLIDING_MS - (performance.now() - lastAskedMs)));
    settled = setTimeout(() => ask("RECOMMEND_VIEW_FULL"), SETTLED_MS);
  }

  async function ask(view) {
    asking.abort();
    asking = new AbortController();
    const mine = asking.signal;
    lastAskedMs = performance.now();
    const asked = page.state;
    const startMs = performance.now();
    const {nameAttribute, groups} = attributesOfItems;
    try {
      const request = requestOf(asked, [nameAttribute, ...groups].filter(Boolean));
      const answer = await recommender("Recommend", {...request, view}, {signal: mine});
      if (mine.aborted || signal.aborted) return;
      page.tookMs = performance.now() - startMs;
      draw(answer, asked);
    } catch (error) {
      if (mine.aborted || signal.aborted) return;
      clearTimeout(settled);
      refuse(error);
    }
  }

  function nothingLeft(asked) {
    if (!asked.onlyNew) return emptyPanel("No item is left", "The filter and the rules leave nothing.");
    const show = html`<button type="button" @click=${() => change({...page.state, onlyNew: false}, false)}>Show what they have had, too</button>`;
    return emptyPanel("No item is left", "They have had all that the filter and the rules leave.", show);
  }

  function draw(answer, asked) {
    page.answer = answer;
    page.problem = null;
    drawControls();
    const cards = cardsOf(answer, ranks, attributesOfItems);
    list.classList.remove("stale");
    render(cards.length ? "" : nothingLeft(asked), notice);
    render(
      html`<div class="results-head">${answerHead({answer, state: asked, tookMs: page.tookMs})}
        <div class="row">${copyButton(() => location.href, "Copy link")}
          <button type="button" class="small" @click=${() => openCode(requestOf(page.state, [attributesOfItems.nameAttribute].filter(Boolean)), signal)}>As code</button></div></div>`,
      head,
    );
    const scale = {reach: reachOf(cards), terms: shownTerms(cards)};
    update(cards.map((card) => ({item: card.item, card, scale})));
  }

  // What is wrong with the filter is said under it; all else above the list, which stays as it was.
  function refuse(error) {
    list.classList.add("stale");
    if (error.code === "invalid_argument" && /^filter\b/.test(error.message)) {
      page.problem = error;
      drawControls(error);
      render(page.answer ? "" : emptyPanel("The filter cannot be read", "What is wrong with it is said below it."), notice);
      return;
    }
    render(errorPanel(error, {retry: () => ask("RECOMMEND_VIEW_FULL")}), notice);
  }

  function why(card) {
    openWhy({card, state: page.state, weightNames: page.answer.weightNames ?? [], signal});
  }

  const [describes, steering, first] = await Promise.all([
    attributes(),
    admin("GetSteering", {}, {signal}).catch(() => ({})),
    page.state.user || page.state.recent.length
      ? null
      : inspection("SearchNodes", {type: "user", pageSize: 1}, {signal}).catch(() => null),
    learnNames(page.state.recent, signal).catch(() => {}),
  ]);
  if (signal.aborted) return;
  page.describes = describes;
  page.scenarios = (steering.steering?.scenarios ?? []).map(({name}) => name);
  const itemType = describes.itemType || "item";
  const categories = (describes.attributes ?? []).filter((each) => each.nodeType === itemType && each.kind === "category");
  const byUse = [...categories].sort((a, b) => format.number(b.numNodes) - format.number(a.numNodes));
  attributesOfItems = {
    nameAttribute: describes.nameAttribute ?? "",
    groups: byUse.slice(0, NUM_GROUPS).map(({name}) => name),
  };
  if (first?.nodes?.length) page.state = {...page.state, user: first.nodes[0].id};
  const drawControls = controls(side, page, signal);
  setQuery(toQuery(page.state));
  await ask("RECOMMEND_VIEW_FULL");
}
