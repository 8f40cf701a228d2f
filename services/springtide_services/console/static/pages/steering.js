// Rules, scenarios and experiments: what there is and whether it holds, an editor with a dry run beside it, and the history.

import {html, nothing, render} from "../vendor/lit-html.js";
import {admin, inspection} from "../api.js";
import {current, link} from "../router.js";
import {watch} from "../status.js";
import {badge} from "../parts/cards.js";
import {ask} from "../parts/dialog.js";
import {emptyPanel, errorPanel, loading} from "../parts/errors.js";
import {ItemNames} from "../parts/item_names.js";
import {SteeringEditor} from "../parts/steering_editor.js";
import {KINDS, experimentWords, ruleWords, scenarioWords, stateAt, timeWords} from "../parts/steering_words.js";

const TABS = [...Object.keys(KINDS), "history"];
const HISTORY_PAGE = 30;

export async function show(element, args, signal) {
  const page = new SteeringPage(element, signal);
  await page.start();
}

class SteeringPage {
  #tab = "rules";
  #steering = null;
  #history = null;
  #editor = null;
  #failure = null;
  #said = "";
  version = 0;
  isFromFile = false;
  nowMs = Date.now();
  choices = {scenarios: [], categories: [], attributes: [], weights: [], versions: [], conversions: [], excludeSeen: [], itemType: "item"};

  constructor(element, signal) {
    this.element = element;
    this.signal = signal;
    this.names = new ItemNames(() => this.draw(), signal);
  }

  async start() {
    this.draw();
    try {
      await this.reload();
    } catch (error) {
      this.#fail(error);
    }
    this.#learnChoices();
    watch(({status}) => status && this.#take(status), this.signal);
  }

  // Shows what the address says: `#/steering/rules/wine-week`, `#/steering/rules/+` for a new one, `+name` for a copy.
  open([tab = "rules", name = ""]) {
    this.#tab = TABS.includes(tab) ? tab : "rules";
    this.#editor?.leave();
    this.#editor = null;
    this.#said = "";
    if (this.#tab === "history") this.#readHistory();
    else if (name.startsWith("+")) this.#edit(null, this.find(this.#tab, name.slice(1)));
    else {
      const message = name ? this.find(this.#tab, name) : null;
      if (message) this.#edit(message);
      else if (name) this.#said = `There is no ${KINDS[this.#tab].one} ${name}.`;
    }
    this.draw();
  }

  // Goes to an address without leaving the page, so that the list stays as it is.
  go(tab, name = "") {
    history.pushState(null, "", link("steering", name ? [tab, name] : [tab]));
    this.open([tab, name]);
    this.element.querySelector("#editor-title, #steering-title")?.focus();
  }

  async reload() {
    const {steering = {}, version = 0} = await admin("GetSteering", {}, {signal: this.signal});
    const isFirst = this.#steering === null;
    this.#steering = steering;
    this.version = Number(version);
    this.choices.scenarios = (steering.scenarios ?? []).map(({name}) => name);
    this.#failure = null;
    this.names.want((steering.rules ?? []).flatMap(({items = []}) => items.slice(0, 3)));
    if (isFirst) this.open(current().args);  // That of now: somebody may have gone to another tab meanwhile.
    else this.draw();
  }

  async #retry() {
    try {
      await this.reload();
    } catch (error) {
      this.#fail(error);
    }
  }

  find(kind, name) {
    return (this.#steering?.[kind] ?? []).find((each) => each.name === name) ?? null;
  }

  #edit(message, copied = null) {
    const kind = this.#tab;
    const saved = async (name, answer) => {
      await this.reload();
      this.go(kind, name ?? "");
      this.#said = answer.changes?.length ? `${answer.changes.join(" ")} Version ${answer.version} holds.` : "Nothing has changed.";
    };
    this.#editor = new SteeringEditor({kind, message, copied, page: this, signal: this.signal, redraw: () => this.draw(), saved});
    this.names.want(message?.items ?? []);
  }

  // What fields offer; a field offers nothing where the token may not ask.
  async #learnChoices() {
    const asked = [inspection("ListAttributes", {}, {signal: this.signal}), admin("ListModels", {pageSize: 100}, {signal: this.signal}), inspection("GetModel", {}, {signal: this.signal})];
    const [attributes, models, model] = (await Promise.allSettled(asked)).map(({value}) => value ?? {});
    const ofItems = (attributes.attributes ?? []).filter(({nodeType}) => nodeType === attributes.itemType);
    this.choices.itemType = attributes.itemType ?? "item";
    this.choices.attributes = ofItems.map(({name}) => name);
    this.choices.categories = ofItems.filter(({kind}) => kind === "category").map(({name}) => name);
    this.choices.versions = (models.models ?? []).map(({version}) => version);
    this.choices.weights = [...new Set((model.exponents ?? []).map(({weight}) => weight))];
    this.draw();
  }

  // Takes what the server says each second: whether a file is the source, whether somebody else has changed something.
  async #take(status) {
    const {steering = {}} = status;
    this.nowMs = Number(status.asOfMs ?? Date.now());
    this.isFromFile = steering.isFromFile ?? false;
    this.fault = steering.fault ?? "";
    const relations = Object.keys(status.numEdges ?? {}).filter((type) => type.startsWith("user:")).map((type) => type.split(":")[1]);
    this.choices.conversions = relations;
    this.choices.excludeSeen = ["*", ...relations];
    if (!this.#editor?.isSaving && (this.#failure || Number(steering.version ?? 0) > this.version)) {
      try {
        await this.reload();
        if (this.#editor) await this.#editor.overtake(this.find(this.#tab, this.#editor.name));
        if (this.#tab === "history") await this.#readHistory();
      } catch (error) {
        this.#fail(error);
      }
    }
    this.draw();
  }

  async #readHistory(token = "") {
    try {
      const answer = await admin("ListSteeringChanges", {pageSize: HISTORY_PAGE, pageToken: token}, {signal: this.signal});
      this.#history = {changes: [...(token ? this.#history.changes : []), ...(answer.changes ?? [])], next: answer.nextPageToken ?? ""};
    } catch (error) {
      this.#fail(error);
    }
    this.draw();
  }

  #fail(error) {
    if (error.name === "AbortError") return;
    this.#failure = error;
    this.draw();
  }

  draw() {
    render(html`
      <header class="page-head"><h1 id="steering-title" tabindex="-1">Steering</h1><p>${KINDS[this.#tab]?.about ?? "Who changed what, and why."}</p></header>
      ${this.#failure ? errorPanel(this.#failure, {retry: () => this.#retry()}) : nothing}
      ${this.isFromFile ? html`<div class="notice"><p>A file is the source (setting <code>steering.file</code>): it is changed there, and holds here within a second. Here you can look.</p></div>` : nothing}
      ${this.fault ? html`<div class="notice notice-bad" role="alert"><p>The newest version does not hold: ${this.fault}</p></div>` : nothing}
      <nav class="tabs" aria-label="What steers">${TABS.map((tab) => html`<a href=${link("steering", [tab])} aria-current=${tab === this.#tab ? "page" : "false"} @click=${(event) => this.#goTo(event, tab)}>
        ${KINDS[tab]?.many ?? "History"}${KINDS[tab] && this.#steering ? html` <span class="count">${(this.#steering[tab] ?? []).length}</span>` : nothing}</a>`)}</nav>
      <p class="said" role="status">${this.#said}</p>
      ${this.#tab === "history" ? this.#drawHistory() : html`<div class="steering">${this.#drawList()}${this.#editor?.draw() ?? this.#drawPlaceholder()}</div>`}
    `, this.element);
  }

  #goTo(event, tab, name = "") {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    this.go(tab, name);
  }

  #drawList() {
    const kind = this.#tab;
    const all = this.#steering?.[kind] ?? [];
    return html`<section class="card list" aria-label=${KINDS[kind].many}>
      ${this.isFromFile || !this.#steering ? nothing : html`<a class="button primary" href=${link("steering", [kind, "+"])} @click=${(event) => this.#goTo(event, kind, "+")}>New ${KINDS[kind].one}</a>`}
      ${this.#steering && !all.length ? html`<p class="note">There is no ${KINDS[kind].one} yet.</p>` : nothing}
      <ul>${all.map((each) => this.#drawEntry(kind, each))}</ul>
    </section>`;
  }

  #drawPlaceholder() {
    if (!this.#steering) return html`<section class="card placeholder">${loading(6)}</section>`;
    const {one} = KINDS[this.#tab];
    return html`<section class="placeholder">${emptyPanel(`Choose ${one === "experiment" ? "an" : "a"} ${one}, or make one`, "Beside it you see whose answers it changes, and how, before anything is saved.")}</section>`;
  }

  #drawEntry(kind, each) {
    const held = kind === "scenarios" ? null : stateAt(each, this.nowMs);
    const words = {rules: (rule) => ruleWords(rule, this.names.of), scenarios: scenarioWords, experiments: experimentWords}[kind](each);
    return html`<li><a href=${link("steering", [kind, each.name])} aria-current=${this.#editor?.name === each.name} @click=${(event) => this.#goTo(event, kind, each.name)}>
      <span class="name">${each.name}${held ? html` ${badge(held.words, {holds: "good", waits: "accent", over: ""}[held.state])}` : nothing}</span>
      <span class="words">${words}</span>
      ${each.note ? html`<span class="note">${each.note}</span>` : nothing}
    </a></li>`;
  }

  #drawHistory() {
    if (!this.#history) return loading(6);
    return html`<section class="card history" aria-label="History">
      ${this.#history.changes.length ? nothing : html`<p class="note">Nothing was changed yet.</p>`}
      <ol>${this.#history.changes.map((each) => html`<li>
        <p><strong>${each.version}</strong> <time>${each.changeTime ? `${timeWords(each.changeTime)} UTC` : "at an unknown time"}</time> ${each.actor}${each.reason ? html` — <em>${each.reason}</em>` : nothing}</p>
        <ul>${(each.changes ?? []).map((sentence) => html`<li>${sentence}</li>`)}</ul>
      </li>`)}</ol>
      ${this.#history.next ? html`<button type="button" @click=${() => this.#readHistory(this.#history.next)}>Show earlier ones</button>` : nothing}
    </section>`;
  }

  // Asks whether to remove it, and why.
  async askRemoval(editor) {
    const text = html`Requests are answered without it at once. <strong>${editor.name}</strong> stays in the history.`;
    const reason = await ask({title: `Remove the ${KINDS[editor.kind].one} ${editor.name}?`, text, action: "Remove", reason: "Why, for the history", isDangerous: true});
    if (reason !== null) await editor.remove(reason);
  }
}
