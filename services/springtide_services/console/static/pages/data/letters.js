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
const HINTS = {
  undecodable: "Its bytes are no event: look at the producer's serializer, and at the header content-type.",
  unknown_type: "Its type is none of the settings' [interactions]: add it there, or mend the producer; then publish it again.",
  empty_id: "A user, an item or a node has no id: the producer has to send one.",
  future_time: "Its time lies in the future: look at the producer's clock, and at events.max_future_s of the settings.",
};
const words = (reason) => reason.replaceAll("_", " ");

export function showLetters(element, about, signal) {
  const [byReason, list, notice] = ["div", "div", "div"].map((tag) => document.createElement(tag));
  let reason = null;
  render(html`${notice}<div class="letters">${card("By reason", byReason)}<div>${list}</div></div>`, element);

  async function count() {
    render(loading(4), byReason);
    try {
      const {counts = []} = await json("/v1/dead-letters", {signal});
      if (signal.aborted) return;
      drawCounts(counts);
      if (!counts.length) render("", list);
      else if (!counts.some((each) => each.reason === reason)) choose(counts[0].reason);
    } catch (error) {
      if (!signal.aborted) render(errorPanel(error, {retry: count}), byReason);
    }
  }

  function drawCounts(counts) {
    const draw = () => render(
      counts.length
        ? html`<ul class="reasons">${counts.map((each) => html`<li><button type="button" aria-pressed=${each.reason === reason ? "true" : "false"} @click=${() => choose(each.reason)}>
            <span>${words(each.reason)}</span><span>${format.count(each.count)}</span></button></li>`)}</ul>
          <p class="note">Of all that the dead-letter topic still holds.</p>`
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
    const open = letters.filter((letter) => !letter.obstacle && !letter.replayed_ms);
    render(
      card(words(reason), place, {
        note: HINTS[reason] ?? "",
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
        {title: "Refused", value: (letter) => letter.time_ms, cell: (letter) => format.relative(letter.time_ms)},
        {title: "Why", value: (letter) => letter.detail, cell: (letter) => html`<button type="button" class="link" @click=${() => look(letter)}>${letter.detail}</button>`},
        {title: "Key", value: (letter) => letter.key ?? ""},
        {title: "Was at", align: "end", value: (letter) => `${letter.partition}:${letter.offset}`},
        {title: "", value: (letter) => letter.replayed_ms ?? 0, cell: (letter) => (letter.replayed_ms ? badge("published again", "good") : "")},
      ],
    });
  }

  function look(letter) {
    openDialog({
      title: `Refused: ${words(letter.reason)}`,
      wide: true,
      signal,
      body: (close) => html`<div class="stack"><p>${letter.detail}</p>${HINTS[letter.reason] ? html`<p class="note">${HINTS[letter.reason]}</p>` : ""}
        ${facts([
          ["Was in", `${letter.topic}, partition ${letter.partition}, offset ${letter.offset}`],
          ["Letter", letter.place],
          ["Refused", `${format.dateTime(letter.time_ms)} UTC`],
          ["Key", letter.key],
          ["Size", format.bytes(letter.num_bytes)],
          ["Published again", letter.replayed_ms && `${format.dateTime(letter.replayed_ms)} UTC`],
        ])}
        <pre class="code" tabindex="0" aria-label="The event">${pretty(letter.value)}</pre>
        ${letter.obstacle ? html`<p class="note">It cannot be published again: ${letter.obstacle}.</p>` : ""}
        <div class="actions">${copyButton(() => pretty(letter.value))}
          <button type="button" class="primary" ?disabled=${Boolean(letter.obstacle)} @click=${() => (close(), replay({places: [letter.place], again: Boolean(letter.replayed_ms)}, "this event"))}>Publish it again</button></div></div>`,
    });
  }

  async function replay(what, inWords) {
    const isSure = await confirm({
      title: "Publish again?", action: "Publish again",
      text: `This publishes ${inWords} to the events topic, byte for byte. Where the cause is not mended, they come back here.`,
    });
    if (!isSure) return;
    try {
      const {num_replayed: number = 0} = await json("/v1/dead-letters/replay", {method: "POST", body: JSON.stringify(what), signal});
      render(html`<p class="notice notice-good" role="status">${format.plural(number, "event was", "events were")} published again.</p>`, notice);
      await count();
      if (reason) await choose(reason);
    } catch (error) {
      if (!signal.aborted) render(errorPanel(error), notice);
    }
  }
  count();
}

function pretty(value) {
  try {
    return JSON.stringify(JSON.parse(value), null, 2);
  } catch {
    return value ?? "";
  }
}
