// Events as they come in.

import {html, render} from "../../vendor/lit-html.js";
import {live} from "../../api.js";
import {badge, card} from "../../parts/cards.js";
import {emptyPanel, errorPanel, loading} from "../../parts/errors.js";
import * as format from "../../parts/format.js";
import * as icons from "../../parts/icons.js";
import {itemName, learnNames} from "../../parts/names.js";
import {link} from "../../router.js";

const KEPT = 200;
const DRAW_MS = 400;

export async function showComing(element, {itemType}, signal) {
  let [rows, isPaused, isWatching, wanted, problem, numMissed, timer] = [[], false, false, "", null, 0, 0];

  const draw = () => {
    if (signal.aborted) return;
    const shown = rows.filter((row) => !wanted || row.said.includes(wanted.trim().toLowerCase())).slice(0, 100);
    render(
      html`<div class="coming-controls">
          <label class="field">Filter<input type="search" placeholder="a user, an item, a type…" .value=${wanted} @input=${(event) => ((wanted = event.target.value), draw())}></label>
          <button type="button" aria-pressed=${isPaused ? "true" : "false"} @click=${pause}>${isPaused ? icons.play : icons.pause} ${isPaused ? "Go on" : "Pause"}</button>
          ${numMissed ? html`<span class="note">${format.count(numMissed)} more came than can be shown</span>` : ""}
        </div>
        ${problem ? errorPanel(problem) : ""}
        ${card("Events", shown.length ? list(shown) : nothing(),
          {end: badge(isPaused ? "paused" : isWatching ? "live" : "connecting", isPaused ? "warn" : isWatching ? "good" : "")})}`,
      element,
    );
  };
  const nothing = () => {
    if (rows.length) return emptyPanel("None of them has that");
    return isWatching ? emptyPanel("Waiting for the next event", "What producers publish from now on comes here.") : loading(4, "Going to the end of the stream…");
  };
  const list = (shown) => html`<div class="table-frame" tabindex="0" role="region" aria-label="Events"><table><caption class="unseen">Events, the latest first</caption>
    <thead><tr><th scope="col">Event time</th><th scope="col">What</th><th scope="col">Came in</th><th scope="col" class="end">Position</th></tr></thead>
    <tbody>${shown.map((row) => html`<tr><td class="nowrap">${format.dateTime(row.eventTime ?? row.recordTime)}</td><td>${words(row, itemType)}</td><td class="nowrap">${row.recordTime ? format.clock(row.recordTime) : ""}</td><td class="end note">${row.place}</td></tr>`)}</tbody></table></div>`;
  const pause = () => {
    isPaused = !isPaused;
    draw();
  };
  const soon = () => {
    timer ||= setTimeout(() => {
      timer = 0;
      draw();
    }, DRAW_MS);
  };
  signal.addEventListener("abort", () => clearTimeout(timer));
  draw();
  try {
    for await (const {event, data, error} of live("/v1/events", signal)) {
      isWatching = event !== "lost" && event !== "failure";
      if (event === "lost") problem = error;
      else {
        problem = null;
        if (event === "failure") problem = Object.assign(new Error(JSON.parse(data).message), {code: JSON.parse(data).code});
        else if (event === "events" && !isPaused) {
          const {events: came, numNotShown} = JSON.parse(data);
          numMissed += numNotShown ?? 0;
          rows = [...came.map((row) => ({...row, said: JSON.stringify(row).toLowerCase()})).reverse(), ...rows].slice(0, KEPT);
          learnNames(came.map((row) => row.item).filter(Boolean), signal).then(soon, () => {});
        }
      }
      soon();
    }
  } catch (error) {
    problem = error;
    draw();
  }
}

// Says what an event is about.
function words(row, itemType) {
  const to = (type, id, name = id) => (id ? html`<a href=${link("data", [type, id])}>${name}</a>` : html`<span class="note">nobody</span>`);
  const more = row.numMore ? html`<span class="note"> and ${format.count(row.numMore)} more in one batch</span>` : "";
  if (row.kind === "interaction") return html`${to("user", row.user)} <strong>${row.type}</strong> ${to(itemType, row.item, itemName(row.item))}${row.value === undefined || row.value === null ? "" : ` (${format.decimal(row.value)})`}${more}`;
  if (row.kind === "nodeUpsert") return html`<strong>upsert</strong> of ${row.type} ${to(row.type, row.id)}`;
  if (row.kind === "nodeDelete") return html`<strong>deletion</strong> of ${row.type} ${row.id}`;
  if (row.kind === "relation") return html`${row.source} <strong>${row.type}</strong> ${row.target}`;
  return html`<span class="note">${row.text || "bytes that are no event"}</span>`;
}
