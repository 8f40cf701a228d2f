// The form of a rule, a scenario or an experiment: one control for each field, with the server's word on it beside.

import {html, nothing} from "../vendor/lit-html.js";
import {FIELDS} from "./steering_fields.js";
import {ACTIONS} from "./steering_words.js";

// Draws the form. `edit` has: `kind`, `form`, `isNew`, `fault` (of `faultOf`, or null), `isLocked`, `choices` (lists by name),
// `nameOf(item)`; `change(name, value)` is called with what is typed, `suggest(field, text)` where more choices may be looked for.
export function steeringForm(edit, change, suggest) {
  const fields = FIELDS[edit.kind].filter((field) => !field.only || field.only.includes(edit.form.action));
  return html`
    ${edit.isNew ? row(edit, {name: "name", kind: "name", label: "Name", help: "Letters, digits, - and _, at most 64."}, change, suggest) : nothing}
    ${fields.map((field) => row(edit, field, change, suggest))}
  `;
}

function row(edit, field, change, suggest) {
  const id = `field-${field.name}`;
  const fault = edit.fault?.field === field.name ? edit.fault : null;
  const described = [field.help && `${id}-help`, fault && `${id}-fault`].filter(Boolean).join(" ");
  const isGroup = ["choice", "checks", "pairs", "variants"].includes(field.kind);
  const control = CONTROLS[field.kind]({edit, field, id, described, isWrong: Boolean(fault), value: edit.form[field.name], set: (value) => change(field.name, value), suggest});
  const notes = html`
    ${field.help ? html`<p class="note" id="${id}-help">${field.help}</p>` : nothing}
    ${fault ? html`<div class="fault" id="${id}-fault" role="alert"><p>${fault.words}</p>${fault.drawing ? html`<pre tabindex="0" aria-label="The place in the expression">${fault.drawing}</pre>` : nothing}</div>` : nothing}
  `;
  if (isGroup) return html`<fieldset class="field ${field.kind}" ?disabled=${edit.isLocked} aria-describedby=${described}><legend>${field.label}</legend>${control}${notes}</fieldset>`;
  return html`<div class="field ${field.kind} ${fault ? "is-wrong" : ""}"><label for=${id}>${field.label}</label>${control}${notes}</div>`;
}

const CONTROLS = {
  name: (control) => CONTROLS.text(control),
  text: ({edit, field, id, described, isWrong, value, set}) => html`
    <input id=${id} type="text" autocomplete="off" spellcheck="false" .value=${value} ?disabled=${edit.isLocked} list=${field.choices ? `${id}-choices` : ""}
      aria-describedby=${described} aria-invalid=${isWrong} @input=${(event) => set(event.target.value)}>
    ${field.choices ? choices(`${id}-choices`, edit.choices[field.choices]) : nothing}`,
  expression: ({edit, field, id, described, isWrong, value, set}) => html`
    <textarea id=${id} class="code" rows="2" spellcheck="false" autocapitalize="off" placeholder=${field.example ?? ""} .value=${value} ?disabled=${edit.isLocked}
      aria-describedby=${described} aria-invalid=${isWrong} @input=${(event) => set(event.target.value)}></textarea>`,
  number: ({edit, id, described, isWrong, value, set}) => html`
    <input id=${id} type="number" step="any" inputmode="decimal" .value=${value} ?disabled=${edit.isLocked} aria-describedby=${described} aria-invalid=${isWrong}
      @input=${(event) => set(event.target.value)}>`,
  duration: (control) => CONTROLS.number(control),
  time: ({edit, id, described, isWrong, value, set}) => html`
    <input id=${id} type="datetime-local" max="9999-12-31T23:59" .value=${value} ?disabled=${edit.isLocked} aria-describedby=${described} aria-invalid=${isWrong}
      @input=${(event) => set(event.target.value)}>`,
  lines: ({edit, id, described, isWrong, value, set}) => html`
    <textarea id=${id} rows="2" .value=${value} ?disabled=${edit.isLocked} aria-describedby=${described} aria-invalid=${isWrong} @input=${(event) => set(event.target.value)}></textarea>`,
  choice: ({edit, field, value, set}) => html`
    <div class="choice-row">${Object.entries(ACTIONS).map(([action, {word, about}]) => html`<label title=${about}>
      <input type="radio" name=${field.name} value=${action} .checked=${value === action} @change=${() => set(action)}><span>${word}</span>
    </label>`)}</div>
    <p class="note">${ACTIONS[edit.form.action]?.about}</p>`,
  checks: ({edit, field, value, set}) => {
    const all = [...new Set([...edit.choices[field.name], ...value])];
    if (!all.length) return html`<p class="note">There is no scenario yet.</p>`;
    const toggled = (name) => (value.includes(name) ? value.filter((each) => each !== name) : [...value, name]);
    return html`<div class="check-list">${all.map((name) => html`<label><input type="checkbox" .checked=${value.includes(name)} @change=${() => set(toggled(name))}>${name}</label>`)}</div>`;
  },
  words,
  pairs: ({edit, field, id, value, set}) => pairs({edit, field, id, value, set}),
  variants,
};

function words({edit, field, id, described, isWrong, value, set, suggest}) {
  const nameOf = field.search ? edit.nameOf : (word) => word;
  const add = (input) => {
    const more = input.value.split(/[\n,]/).map((word) => word.trim()).filter((word) => word && !value.includes(word));
    input.value = "";
    if (more.length) set([...value, ...more]);
  };
  const key = (event) => {
    if (event.key === "Enter") {
      event.preventDefault();
      add(event.target);
    } else if (event.key === "Backspace" && !event.target.value && value.length) set(value.slice(0, -1));
  };
  const typed = (event) => {
    // A choice of the list comes whole, without a key.
    if (event.inputType === "insertReplacementText" || event.inputType === undefined) add(event.target);
    else suggest(field, event.target.value);
  };
  return html`<div class="word-list">
    ${value.length ? html`<ul class="chips" aria-label=${field.label}>${value.map((word) => html`<li title=${word}><span>${nameOf(word)}</span>${edit.isLocked ? nothing : html`<button type="button" aria-label="Remove ${nameOf(word)}"
      @click=${() => set(value.filter((each) => each !== word))}>×</button>`}</li>`)}</ul>` : nothing}
    <input id=${id} type="text" autocomplete="off" spellcheck="false" placeholder="Type, then Enter" list="${id}-choices" ?disabled=${edit.isLocked} aria-describedby=${described} aria-invalid=${isWrong}
      @keydown=${key} @input=${typed} @blur=${(event) => add(event.target)}>
    ${choices(`${id}-choices`, field.search ? edit.choices.items : (edit.choices[field.choices ?? field.name] ?? []))}
  </div>`;
}

function pairs({edit, field, id, value, set}) {
  const put = (at, pair) => set(value.map((each, index) => (index === at ? pair : each)));
  return html`<div class="pair-list">
    ${value.map(([name, number], at) => html`<div>
      <input type="text" aria-label="${field.keys} ${at + 1}" placeholder=${field.keys} list="${id}-choices" .value=${name} @input=${(event) => put(at, [event.target.value, number])}>
      <input type="number" step="any" aria-label="${field.numbers} of ${name || `${field.keys} ${at + 1}`}" placeholder=${field.numbers} .value=${number} @input=${(event) => put(at, [name, event.target.value])}>
      <button type="button" class="quiet" aria-label="Remove ${name || field.keys}" @click=${() => set(value.filter((_, index) => index !== at))}>×</button>
    </div>`)}
    <button type="button" class="quiet" @click=${() => set([...value, ["", "1"]])}>Add</button>
    ${choices(`${id}-choices`, edit.choices[field.choices])}
  </div>`;
}

const WEIGHTS = {name: "weights", keys: "weight", numbers: "factor", choices: "weights"};

function variants({edit, id, value, set}) {
  const put = (at, more) => set(value.map((each, index) => (index === at ? {...each, ...more} : each)));
  const rest = 100 - value.reduce((sum, each) => sum + (Number(each.share) || 0), 0);
  return html`<div class="variant-list">
    ${value.map((variant, at) => html`<div class="variant" role="group" aria-label="Variant ${variant.name || at + 1}">
      <label>Name<input type="text" autocomplete="off" spellcheck="false" .value=${variant.name} @input=${(event) => put(at, {name: event.target.value})}></label>
      <label>Share, %<input type="number" step="any" min="0" max="100" .value=${variant.share} @input=${(event) => put(at, {share: event.target.value})}></label>
      <label>Model<select .value=${variant.modelVersion} @change=${(event) => put(at, {modelVersion: event.target.value})}>
        ${options(edit.choices.versions, variant.modelVersion, "the current one")}</select></label>
      <label>Scenario<select .value=${variant.scenario} @change=${(event) => put(at, {scenario: event.target.value})}>
        ${options(edit.choices.scenarios, variant.scenario, "none")}</select></label>
      <div class="weights"><span>Context weights</span>${pairs({edit, field: WEIGHTS, id: `${id}-${at}`, value: variant.weights, set: (weights) => put(at, {weights})})}</div>
      ${value.length > 2 ? html`<button type="button" class="quiet" @click=${() => set(value.filter((_, index) => index !== at))}>Remove ${variant.name || "the variant"}</button>` : nothing}
    </div>`)}
    <button type="button" class="quiet" @click=${() => set([...value, {name: "", share: String(Math.max(0, rest)), modelVersion: "", scenario: "", weights: []}])}>Add a variant</button>
    <p class="note">${rest > 1e-6 ? `${Number(rest.toFixed(2))} % of users are in no variant.` : rest < -1e-6 ? `The shares are ${Number((-rest).toFixed(2))} % too many.` : "All users are in it."}</p>
  </div>`;
}

function options(values, chosen, none) {
  const all = [...new Set([...values, ...(chosen ? [chosen] : [])])];
  return html`<option value="" ?selected=${!chosen}>${none}</option>${all.map((value) => html`<option value=${value} ?selected=${value === chosen}>${value}</option>`)}`;
}

// Draws what an input may offer: words, or {value, label}.
function choices(id, values = []) {
  return html`<datalist id=${id}>${values.map((each) => (typeof each === "string" ? html`<option value=${each}></option>` : html`<option value=${each.value} label=${each.label}></option>`))}</datalist>`;
}
