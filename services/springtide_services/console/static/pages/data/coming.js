// Events as they come in.

import {html, render} from "../../vendor/lit-html.js";
import {live} from "../../api.js";
import {badge, card} from "../../parts/cards.js";
import {emptyPanel, errorPanel} from "../../parts/errors.js";
import * as format from "../../parts/format.js";
import * as icons from "../../parts/icons.js";
import {itemName, learnNames} from "../../parts/names.js";
import {link} from "../../router.js";

const KEPT = 200;
const DRAW_MS = 400;

export async function showComing(element, {itemType}, signal) {
  let [rows, isPaused, wanted, problem, numMissed, timer] = [[], false, "", null, 0, 0];

  const draw = () => {
    if (signal.aborted) return;
    const shown = rows.filter((row) => !wanted || row.text.includes(wanted.toLowerCase())).slice(0, 100);
    render(
      html`<div class="coming-controls">
          <label class="field">Filter<input type="search" placeholder="a user, an item, a type…" .value=${wanted} @input=${(event) => ((wanted = event.target.value.trim()), draw())}></label>
          <button type="button" aria-pressed=${isPaused ? "true" : "false"} @click=${pause}>${isPaused ? icons.play : icons.pause} ${isPaused ? "Go on" : "Pause"}</button>
          ${numMissed ? html`<span class="note">${format.count(numMissed)} more came than can be shown</span>` : ""}
        </div>
        ${problem ? errorPanel(problem) : ""}
        ${card("Events", shown.length ? list(shown) : emptyPanel(rows.length ? "None of them has that" : "Waiting for the next event", rows.length ? "" : "What producers publish from now on comes here."),
          {end: badge(isPaused ? "paused" : "live", isPaused ? "warn" : "good")})}`,
      element,
    );
  };
  const list = (shown) => html`<div class="table-frame" tabindex="0" role="region" aria-label="Events"><table><caption class="unseen">Events, the latest first</caption>
    <thead><tr><th scope="col">Event time</th><th scope="col">What</th><th scope="col">Where</th><th scope="col" class="end">Position</th></tr></thead>
    <tbody>${shown.map((row) => html`<tr><td class="nowrap">${format.dateTime(row.event?.eventTime ?? row.time_ms)}</td><td>${words(row, itemType)}</td><td>${circumstances(row)}</td><td class="end note">${row.partition}:${row.offset}</td></tr>`)}</tbody></table></div>`;
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
      if (event === "lost") problem = error;
      else {
        problem = null;
        if (event === "dropped") numMissed += format.number(JSON.parse(data).num);
        else if (event === "events" && !isPaused) {
          const came = JSON.parse(data).map((row) => ({...row, text: JSON.stringify(row.event ?? {}).toLowerCase()})).reverse();
          rows = [...came, ...rows].slice(0, KEPT);
          learnNames(came.map((row) => row.event?.interaction?.item).filter(Boolean), signal).then(soon, () => {});
        }
      }
      soon();
    }
  } catch (error) {
    problem = error;
    draw();
  }
}

// Says what an event, as protobuf's JSON, is about.
function words({event, num_events: numEvents}, itemType) {
  if (!event) return html`<span class="note">bytes that are no event</span>`;
  const {interaction, nodeUpsert, relation, nodeDelete, batch} = event;
  const to = (type, id, name = id) => html`<a href=${link("data", [type, id])}>${name}</a>`;
  if (interaction) return html`${to("user", interaction.user || "?")} <strong>${interaction.type}</strong> ${to(itemType, interaction.item || "?", itemName(interaction.item))}${interaction.value === undefined ? "" : ` (${format.decimal(interaction.value)})`}`;
  if (nodeUpsert) return html`<strong>upsert</strong> of ${nodeUpsert.type} ${to(nodeUpsert.type, nodeUpsert.id)}`;
  if (relation) return html`${to(relation.sourceType, relation.sourceId)} <strong>${relation.relation}</strong> ${to(relation.targetType, relation.targetId)}`;
  if (nodeDelete) return html`<strong>deletion</strong> of ${nodeDelete.type} ${nodeDelete.id}`;
  if (batch) return html`<strong>batch</strong> of ${format.plural(numEvents, "event")}`;
  return html`<span class="note">an event without content</span>`;
}

const circumstances = ({event}) => Object.entries(event?.interaction?.context ?? {}).map(([name, value]) => `${name} ${value}`).join(", ");
