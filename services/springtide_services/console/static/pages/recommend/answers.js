// The answer: cards in their order, what each score is made of, what rose and what fell.

import {html, nothing} from "../../vendor/lit-html.js";
import {signedBars} from "../../parts/bars.js";
import {badge} from "../../parts/cards.js";
import * as format from "../../parts/format.js";
import * as icons from "../../parts/icons.js";
import {keepName} from "../../parts/names.js";

const LEAST_REACH = Math.log(20);  // A bar of full length means at least twenty times the odds.
const NUM_TERMS = 5;  // A card shows the strongest; the panel has all.
const NEUTRAL = 0.02;  // A factor within 2 % of 1 says nothing.

// Returns what cards show of an answer, in its order: `terms` add up to the score. `ranks` are the places before, by item;
// `nameAttribute` and `groups` say which attributes name an item and stand below its name.
export function cardsOf(answer, ranks, {nameAttribute, groups}) {
  const names = answer.weightNames ?? [];
  return (answer.items ?? []).map((item, at) => {
    const title = format.attribute(item.attributes?.[nameAttribute]) || item.item;
    keepName(item.item, title);
    return {
      ...item,
      title,
      rank: at + 1,
      before: ranks.get(item.item),
      hadBefore: ranks.size > 0,
      below: groups.map((name) => format.attribute(item.attributes?.[name])).filter(Boolean).join(" · "),
      terms: termsOf(item, names),
    };
  });
}

// The cosine's part of the score is what the logarithms of the weights leave of it.
export function termsOf({score = 0, cosine = 0, weights = []}, names) {
  const logs = weights.map((weight) => Math.log(Math.max(weight, 1e-9)));
  const taste = score - logs.reduce((sum, each) => sum + each, 0);
  const of = names.map((name, at) => ({name, value: logs[at], text: format.factor(weights[at]), title: `${name} multiplies the odds by ${format.decimal(weights[at])}`}));
  if (!names.length || Math.abs(taste) < 0.005 && !cosine) return of;
  return [{name: "taste", value: taste, text: cosine.toFixed(2), title: `The cosine of the two vectors is ${cosine.toFixed(3)}; it multiplies the odds by ${format.decimal(Math.exp(taste))}`}, ...of];
}

// Returns the terms that cards show: those that say the most over all cards, the same ones on each, so that cards can be
// compared.
export function shownTerms(cards) {
  const most = new Map();
  for (const {name, value} of cards.flatMap(({terms}) => terms)) most.set(name, Math.max(most.get(name) ?? 0, Math.abs(value)));
  const strongest = [...most].filter(([, value]) => value > NEUTRAL).sort(([, a], [, b]) => b - a).slice(0, NUM_TERMS);
  return new Set(strongest.map(([name]) => name));
}

// Returns how much the longest bar of some cards stands for, so that all cards have one scale.
export const reachOf = (cards) => Math.max(LEAST_REACH, ...cards.flatMap(({terms}) => terms.map(({value}) => Math.abs(value))));

// Draws a card with the terms of a set; `open` is called for a click on it.
export const answerCard = (card, {reach, terms}, open) => html`<article class="answer" aria-label=${`${card.rank}: ${card.title}`}>
  <header>
    <span class="rank">${card.rank}</span>
    <div class="answer-title">
      <h3><button type="button" class="open" title="Why?" @click=${() => open(card)}><span>${card.title}</span></button></h3>
      <p class="below">${[card.below, card.title === card.item ? "" : card.item].filter(Boolean).join(" · ")}</p>
    </div>
    ${change(card)}
  </header>
  <p class="reason" title=${card.reason || nothing}>${card.reason ? card.reason[0].toUpperCase() + card.reason.slice(1) : ""}</p>
  ${card.placedBy ? html`<p>${badge(card.placedBy, "accent")}</p>` : ""}
  ${signedBars(card.terms.filter(({name}) => terms.has(name)), reach)}
</article>`;

function change({rank, before, hadBefore}) {
  if (!hadBefore || before === rank) return "";
  if (before === undefined) return html`<span class="change new">new</span>`;
  const steps = Math.abs(before - rank);
  return before > rank
    ? html`<span class="change rose" title=${`from ${before}`}>${icons.up}<span class="unseen">up by </span>${steps}</span>`
    : html`<span class="change fell" title=${`from ${before}`}>${icons.down}<span class="unseen">down by </span>${steps}</span>`;
}

const PERSONAL = {
  PERSONALIZATION_LEARNED: ["learned", "The model has learned this user, and knows what happened since.", "good"],
  PERSONALIZATION_FOLDED_IN: ["folded in live", "The model has not been trained on them; their latest events tell it enough.", "accent"],
  PERSONALIZATION_CONTEXT_ONLY: ["the moment alone", "Nothing is known of them.", ""],
  PERSONALIZATION_FALLBACK: ["no model yet", "Popularity, trend and repeat purchases answer.", "warn"],
};

// Says for whom and when the answer is, what ranked it, and how long it took.
export function answerHead({answer, state, tookMs}) {
  const [word, why, kind] = PERSONAL[answer.personalization] ?? ["", "", ""];
  const who = state.user ? `User ${state.user}` : state.recent.length ? `Somebody with ${format.plural(state.recent.length, "item")}` : "Nobody in particular";
  const from = {MOMENT_SOURCE_STREAM: "the stream's own time", MOMENT_SOURCE_WALL: "now"}[answer.asOfSource];
  return html`<div class="answer-head">
    <p class="for-whom"><strong>${who}</strong>, ${format.moment(answer.asOfMs)}${from ? ` (${from})` : ""}</p>
    <p class="row">${word ? html`<span title=${why}>${badge(word, kind)}</span>` : ""}
      ${answer.modelVersion ? badge(`model ${answer.modelVersion}`) : ""}
      ${(answer.experimentArms ?? []).map((arm) => badge(`${arm.experiment}: ${arm.variant}`, "accent"))}
      <span class="note" title="From this page and back, over the gateway">answered in ${format.milliseconds(Math.round(tookMs))}</span></p>
  </div>`;
}
