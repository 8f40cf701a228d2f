// What is asked for: who, when, where, what.

import {html, render} from "../../vendor/lit-html.js";
import {badge} from "../../parts/cards.js";
import {errorLine} from "../../parts/errors.js";
import * as format from "../../parts/format.js";
import * as icons from "../../parts/icons.js";
import {itemName, keepName} from "../../parts/names.js";
import {searchField} from "../../parts/search.js";
import {link} from "../../router.js";
import {daysIn, join, months, parse, split, text, yearOf} from "./moment.js";

// Draws the controls into an element and returns `draw(problem)`, which draws them anew; `problem` is what the server says
// of the filter. `page` is {state, asOfMs(), describes, scenarios, change(state, isSliding)}.
export function controls(element, page, signal) {
  const [who, recent] = [document.createElement("div"), document.createElement("div")];
  let problem = null;
  const set = (changes, isSliding = false) => page.change({...page.state, ...changes}, isSliding);

  const userField = searchField(who, {
    type: () => "user", label: "User", value: page.state.user, placeholder: "id or name", signal,
    onChoose: (node) => set({user: node.id, recent: []}),
  });
  searchField(recent, {
    type: () => page.describes.itemType || "item", label: "or somebody who has just touched…", placeholder: "add an item", clears: true, signal,
    onChoose: (node) => {
      keepName(node.id, node.name);
      userField.set("");
      set({user: "", recent: [node.id, ...page.state.recent.filter((id) => id !== node.id)]});
    },
  });
  who.addEventListener("change", (event) => {
    if (event.target.type === "search" && event.target.value.trim() === "" && page.state.user) set({user: ""});
  });

  function when() {
    const {atMs} = page.state;
    const shown = atMs ?? page.asOfMs();
    const chosen = split(shown);
    const year = atMs === null ? yearOf(shown) : chosen.year;
    const day = Math.min(chosen.day, daysIn(year) - 1);
    const move = (changes, isSliding) => set({atMs: join({year, day, hour: chosen.hour, ...changes})}, isSliding);
    const slide = (name) => ({
      input: (event) => move({[name]: Number(event.target.value)}, true),
      change: (event) => move({[name]: Number(event.target.value)}, false),
    });
    const [days, hours] = [slide("day"), slide("hour")];
    return html`<fieldset class="group when">
      <legend>When</legend>
      <p class="moment" aria-live="polite">${format.moment(shown)} <span class="note">UTC</span></p>
      <label class="unseen" for="day">Day of the year</label>
      <input id="day" type="range" min="0" max=${daysIn(year) - 1} .value=${String(day)} aria-valuetext=${format.moment(shown)}
        @input=${days.input} @change=${days.change}>
      <div class="months" aria-hidden="true">${months(year).map(
        ({name, share}) => html`<button type="button" tabindex="-1" class="month"
          @click=${() => move({day: Math.round(share * daysIn(year)) + 14})}>${name}</button>`,
      )}</div>
      <div class="hour-row">
        <label for="hour">Hour</label>
        <input id="hour" type="range" min="0" max="23" .value=${String(chosen.hour)} aria-valuetext=${`${chosen.hour}:00`}
          @input=${hours.input} @change=${hours.change}>
        <span>${String(chosen.hour).padStart(2, "0")}:00</span>
      </div>
      <div class="row">
        <label class="unseen" for="exact">Exact moment</label>
        <input id="exact" type="datetime-local" .value=${text(shown).slice(0, 16)}
          @change=${(event) => event.target.value && set({atMs: parse(`${event.target.value}Z`)})}>
        <button type="button" class="small" aria-pressed=${atMs === null ? "true" : "false"} @click=${() => set({atMs: null})}>Now</button>
      </div>
    </fieldset>`;
  }

  // A choice among the values that the server has seen, or a field where it has seen none.
  function circumstance(name, value, put) {
    const values = page.describes.circumstances?.find((each) => each.name === name)?.values ?? [];
    const label = name[0].toUpperCase() + name.slice(1).replaceAll("_", " ");
    if (!values.length) return html`<label class="field">${label}<input .value=${value} placeholder="any" @change=${(event) => put(event.target.value.trim())}></label>`;
    return html`<label class="field">${label}<select @change=${(event) => put(event.target.value)}>
      <option value="" ?selected=${!value}>any</option>
      ${(values.includes(value) || !value ? values : [value, ...values]).map((each) => html`<option value=${each} ?selected=${each === value}>${each}</option>`)}
    </select></label>`;
  }

  function where() {
    const {place, weather, circumstances} = page.state;
    const others = (page.describes.circumstances ?? []).map(({name}) => name).filter((name) => !["place", "weather"].includes(name));
    return html`<fieldset class="group"><legend>Where</legend><div class="two-fields">
      ${circumstance("place", place, (value) => set({place: value}))}
      ${circumstance("weather", weather, (value) => set({weather: value}))}
      ${others.slice(0, 6).map((name) => circumstance(name, circumstances[name] ?? "", (value) => set({circumstances: {...circumstances, [name]: value}})))}
    </div></fieldset>`;
  }

  function what() {
    const {scenario, filter, count, onlyNew} = page.state;
    return html`<fieldset class="group"><legend>What</legend>
      <div class="two-fields">
        <label class="field">Scenario<select @change=${(event) => set({scenario: event.target.value})}>
          <option value="" ?selected=${!scenario}>none</option>
          ${page.scenarios.map((name) => html`<option value=${name} ?selected=${name === scenario}>${name}</option>`)}
        </select></label>
        <label class="field">How many<input type="number" min="1" max="1000" .value=${String(count)}
          @change=${(event) => set({count: Math.max(1, Math.min(1000, Number(event.target.value) || 12))})}></label>
      </div>
      <label class="field">Filter
        <textarea class="filter" rows="2" spellcheck="false" placeholder='"WINE" in category and price < 20' .value=${filter}
          aria-invalid=${problem ? "true" : "false"} aria-describedby="filter-problem"
          @keydown=${(event) => event.key === "Enter" && !event.shiftKey && (event.preventDefault(), set({filter: event.target.value}))}
          @change=${(event) => set({filter: event.target.value})}></textarea></label>
      <div id="filter-problem">${problem ? errorLine(problem) : ""}</div>
      <label class="check"><input type="checkbox" .checked=${onlyNew} @change=${(event) => set({onlyNew: event.target.checked})}> Only what they have not had yet</label>
    </fieldset>`;
  }

  function draw(nextProblem = null) {
    if (signal.aborted) return;
    problem = nextProblem;
    const {user, recent: items} = page.state;
    render(
      html`<fieldset class="group"><legend>Who</legend>
          ${who}${recent}
          ${items.length ? html`<ul class="chips" aria-label="Items just touched">${items.map((id) => html`<li>
            <button type="button" class="small" title="Take it away" aria-label=${`Take away ${itemName(id)}`}
              @click=${() => set({recent: page.state.recent.filter((each) => each !== id)})}><span class="chip-name">${itemName(id)}</span>${icons.cross}</button></li>`)}</ul>` : ""}
          ${user ? html`<p class="note"><a href=${link("data", ["user", user])}>What ${user} did</a></p>` : items.length ? "" : html`<p class="note">${badge("nobody")} The moment alone decides.</p>`}
        </fieldset>
        ${when()}${where()}${what()}`,
      element,
    );
  }
  draw();
  return draw;
}
