// Dead letters: how many by reason, what they are, why they were refused, and publishing them again.

import {html, render} from "../../vendor/lit-html.js";
import {json} from "../../api.js";
import {badge, card, facts} from "../../parts/cards.js";
import {ask as confirm, openDialog} from "../../parts/dialog.js";
import {emptyPanel, errorPanel, loading} from "../../parts/errors.js";
import * as format from "../../parts/format.js";
import {table} from "../../parts/table.js";
import {copyButton} from "../../parts/copy.js";

const LIMIT = 100;
const words = (reason) => reason.replaceAll("_", " ");

export function showLetters(element, about, signal) {
  const [byReason, list, notice] = ["div", "div", "div"].map((tag) => document.createElement(tag));
  let reason = null;
  let meanings = new Map();
  render(html`${notice}<div class="letters">${card("By reason", byReason)}<div>${list}</div></div>`, element);

  async function count() {
    render(loading(4), byReason);
    try {
      const {reasons = [], topic} = await json("/v1/dead-letters", {signal});
      if (signal.aborted) return;
      meanings = new Map(reasons.map((each) => [each.reason, each.meaning]));
      drawCounts(reasons, topic);
      if (!reasons.length) render("", list);
      else if (!meanings.has(reason)) choose(reasons[0].reason);
    } catch (error) {
      if (!signal.aborted) render(errorPanel(error, {retry: count}), byReason);
    }
  }

  function drawCounts(counts, topic) {
    const draw = () => render(
      counts.length
        ? html`<ul class="reasons">${counts.map((each) => html`<li><button type="button" aria-pressed=${each.reason === reason ? "true" : "false"} @click=${() => choose(each.reason)}>
            <span>${words(each.reason)}</span><span>${format.count(each.count)}</span></button></li>`)}</ul>
          <p class="note">Of all that the topic <code>${topic}</code> still holds.</p>`
        : emptyPanel("No dead letter", "Every event could be taken."),
      byReason,
    );
    redraw = draw;
    draw();
  }
  let redraw = () => {};

  async function choose(next) {
    reason = next;
    redraw();
    render(loading(6), list);
    try {
      const {letters = []} = await json(`/v1/dead-letters?${new URLSearchParams({reason: next, limit: LIMIT})}`, {signal});
      if (!signal.aborted && next === reason) drawLetters(letters);
    } catch (error) {
      if (!signal.aborted) render(errorPanel(error, {retry: () => choose(next)}), list);
    }
  }

  function drawLetters(letters) {
    const place = document.createElement("div");
    const open = letters.filter((letter) => !letter.obstacle && !letter.replayedTime);
    render(
      card(words(reason), place, {
        note: meanings.get(reason) ?? "",
        end: html`<button type="button" ?disabled=${!open.length} @click=${() => replay({reason}, `all events that were refused for “${words(reason)}” and not published again yet`)}>Publish again</button>`,
      }),
      list,
    );
    table(place, {
      caption: `Dead letters: ${words(reason)}`,
      rows: letters,
      onOpen: look,
      sort: {by: 0, down: true},
      columns: [
        {title: "Refused", value: (letter) => format.timeMs(letter.refusedTime), cell: (letter) => format.relative(letter.refusedTime)},
        {title: "Why", value: (letter) => letter.message, cell: (letter) => html`<button type="button" class="link" @click=${() => look(letter)}>${letter.message}</button>`},
        {title: "Key", value: (letter) => letter.key ?? ""},
        {title: "Was at", align: "end", value: ({origin}) => `${origin.partition}:${origin.offset}`},
        {title: "", value: (letter) => letter.replayedTime ?? "", cell: (letter) => (letter.replayedTime ? badge("published again", "good") : "")},
      ],
    });
  }

  function look(letter) {
    openDialog({
      title: `Refused: ${words(letter.reason)}`,
      wide: true,
      signal,
      body: (close) => html`<div class="stack"><p>${letter.message}</p>${meanings.get(letter.reason) ? html`<p class="note">${meanings.get(letter.reason)}</p>` : ""}
        ${facts([
          ["Was in", `${letter.origin.topic}, partition ${letter.origin.partition}, offset ${letter.origin.offset}`],
          ["Letter", letter.place],
          ["Refused", `${format.dateTime(letter.refusedTime)} UTC`],
          ["Key", letter.key],
          ["Size", format.bytes(letter.numBytes)],
          ["Rows", letter.rows],
          ["Headers", (letter.headers ?? []).map(([name, text]) => `${name}: ${text}`).join(", ")],
          ["Published again", letter.replayedTime && `${format.dateTime(letter.replayedTime)} UTC`],
        ])}
        <pre class="code" tabindex="0" aria-label="The event">${pretty(letter)}</pre>
        ${letter.obstacle ? html`<p class="note">It cannot be published again: ${letter.obstacle}.</p>` : ""}
        <div class="actions">${copyButton(() => pretty(letter))}
          <button type="button" class="primary" ?disabled=${Boolean(letter.obstacle)} @click=${() => (close(), replay({place: letter.place, again: Boolean(letter.replayedTime)}, "this event"))}>Publish it again</button></div></div>`,
    });
  }

  async function replay(what, inWords) {
    const isSure = await confirm({
      title: "Publish again?", action: "Publish again",
      text: `This publishes ${inWords} to the events topic, byte for byte. Where the cause is not mended, they come back here.`,
    });
    if (!isSure) return;
    try {
      const {numPublished = 0, obstacles = []} = await json("/v1/dead-letters:replay", {method: "POST", body: JSON.stringify(what), signal});
      const others = obstacles.map(({message, count: many}) => `${format.count(many)} not: ${message}.`).join(" ");
      render(html`<p class="notice notice-good" role="status">${format.plural(numPublished, "event was", "events were")} published again. ${others}</p>`, notice);
      await count();
      if (reason) await choose(reason);
    } catch (error) {
      if (!signal.aborted) render(errorPanel(error), notice);
    }
  }
  count();
}

// Returns the event as JSON where it can be read, else what its bytes say.
const pretty = ({event, text}) => (event ? JSON.stringify(event, null, 2) : text ?? "");
