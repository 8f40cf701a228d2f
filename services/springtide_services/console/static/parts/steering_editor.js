// Editing one rule, scenario or experiment: the form, the dry run beside it, saving with a reason, and what somebody else
// has changed meanwhile.

import {html, nothing} from "../vendor/lit-html.js";
import {admin, inspection} from "../api.js";
import {link} from "../router.js";
import {badge} from "./cards.js";
import {dryRun} from "./dry_run.js";
import {emptyForm, faultOf, toForm, toMessage} from "./steering_fields.js";
import {steeringForm} from "./steering_form.js";
import {KINDS, timeWords} from "./steering_words.js";

const PAUSE_MS = 350;  // After the last key, before the server is asked.
const SAMPLE_COUNT = 10;

const drafts = new Map();  // What was typed and not saved, by kind and name; it survives a look at another page.

export class SteeringEditor {
  #timer = 0;
  #asking = new AbortController();

  // `message` is what holds, null for something new; `copied` is the message that something new begins with; `saved(name)`
  // is called after a change, with null after a removal. `page` has `version`, `choices`, `names`, `isFromFile`, `nowMs`.
  constructor({kind, message, copied = null, page, signal, redraw, saved}) {
    Object.assign(this, {kind, message, page, signal, redraw, saved});
    this.name = message?.name ?? "";
    this.key = `${kind}/${this.name}`;
    const draft = copied ? null : drafts.get(this.key);
    this.version = draft?.version ?? page.version;
    this.form = draft?.form ?? (message ? toForm(kind, message) : copied ? {...toForm(kind, copied), name: `${copied.name}-copy`.slice(0, 64)} : emptyForm(kind));
    this.fault = null;
    this.failure = null;
    this.note = null;
    this.conflict = null;
    this.answer = null;
    this.isTouched = Boolean(draft) || copied !== null;
    this.isAsking = false;
    this.isSaving = false;
    this.reason = "";
    this.users = [];
    this.moment = "";
    this.items = [];
    signal.addEventListener("abort", () => this.leave(), {once: true});
    this.#schedule(0);
  }

  leave() {
    clearTimeout(this.#timer);
    this.#asking.abort();
  }

  get isNew() {
    return this.message === null;
  }

  get isDirty() {
    return this.isNew || JSON.stringify(sorted(toMessage(this.kind, this.form))) !== JSON.stringify(sorted(toMessage(this.kind, toForm(this.kind, this.message))));
  }

  // The message that is tried: something new may get its name last.
  get #tried() {
    const message = toMessage(this.kind, this.form);
    return {...message, name: message.name || `new-${KINDS[this.kind].one}`};
  }

  get hasDraft() {
    return drafts.has(this.key);
  }

  change(name, value) {
    this.form = {...this.form, [name]: value};
    this.isTouched = true;
    drafts.set(this.key, {form: this.form, version: this.version});
    if (!this.isNew && !this.isDirty) drafts.delete(this.key);
    this.redraw();
    this.#schedule(PAUSE_MS);
  }

  // Takes back what was typed.
  discard() {
    drafts.delete(this.key);
    this.version = this.page.version;
    this.form = this.message ? toForm(this.kind, this.message) : emptyForm(this.kind);
    this.fault = this.failure = this.conflict = null;
    this.redraw();
    this.#schedule(0);
  }

  // Goes on with what was typed, on top of what holds now.
  rebase() {
    this.version = this.page.version;
    this.conflict = null;
    if (this.hasDraft) drafts.set(this.key, {form: this.form, version: this.version});
    this.redraw();
    this.#schedule(0);
  }

  // What holds has another version now; `message` is this one's place in it.
  async overtake(message) {
    if (!this.isDirty || this.isNew) {
      this.message = message ?? this.message;
      if (!this.isNew) this.form = toForm(this.kind, this.message);
      this.rebase();
    } else if (this.page.version !== this.version) await this.#explainConflict();
  }

  // Whether what others have changed is something else: then mine goes on top of it.
  get #isUntouchedByOthers() {
    const now = this.page.find(this.kind, this.name);
    return now !== null && JSON.stringify(sorted(now)) === JSON.stringify(sorted(this.message));
  }

  async save() {
    const message = toMessage(this.kind, this.form);
    await this.#write({put: {[this.kind]: [message]}, version: this.version, reason: this.reason}, message.name);
  }

  async remove(reason) {
    await this.#write({...this.#removal(), version: this.version, reason}, null);
  }

  // The change that takes it away: a scenario that says nothing, since rules may name it.
  #without() {
    return this.kind === "scenarios" ? {put: {scenarios: [{name: this.name}]}} : this.#removal();
  }

  #removal() {
    return {[{rules: "removeRules", scenarios: "removeScenarios", experiments: "removeExperiments"}[this.kind]]: [this.name]};
  }

  async #write(request, name) {
    this.leave();  // What a try would still say is about a version that is over in a moment.
    this.isSaving = true;
    this.redraw();
    try {
      const answer = await admin("UpdateSteering", request, {signal: this.signal});
      drafts.delete(this.key);
      await this.saved(name, answer);
    } catch (error) {
      await this.#failed(error);
    } finally {
      this.isSaving = false;
      this.redraw();
    }
  }

  #schedule(pauseMs) {
    clearTimeout(this.#timer);
    if (this.isNew && !this.isTouched) return;  // Nothing is filled in yet.
    this.#timer = setTimeout(() => this.#ask(), pauseMs);
  }

  // Asks what the change would do; of something that is unchanged, what it does: the answers without it, and with it.
  async #ask() {
    this.#asking.abort();
    this.#asking = new AbortController();
    const {signal} = this.#asking;
    this.isAsking = true;
    this.redraw();
    try {
      const samples = this.#samples();
      const edit = this.isDirty ? {put: {[this.kind]: [this.#tried]}} : this.#without();
      const answer = await admin("UpdateSteering", {...edit, dryRun: true, version: this.version, samples}, {signal});
      this.answer = this.isDirty ? answer : {...answer, changes: [], samples: (answer.samples ?? []).map(({before, after, ...rest}) => ({...rest, before: after, after: before}))};
      this.fault = this.failure = this.note = null;
      if (!samples.length) this.recent = [...new Set((answer.samples ?? []).map(({user}) => user).filter(Boolean))];
      this.page.names.want((answer.samples ?? []).flatMap(({before = [], after = []}) => [...before, ...after]));
    } catch (error) {
      if (error.name === "AbortError") return;
      await this.#failed(error);
    }
    this.isAsking = false;
    this.redraw();
  }

  #samples() {
    const users = this.users.length ? this.users : this.moment ? (this.recent ?? []) : [];
    const own = this.kind === "scenarios" ? [this.isDirty ? this.#tried.name : this.name] : this.kind === "rules" ? this.form.scenarios : [];
    const context = this.moment ? {eventTime: new Date(`${this.moment}Z`).toISOString()} : undefined;
    return users.flatMap((user) => (own.length ? own : [""]).map((scenario) => ({user, count: SAMPLE_COUNT, scenario, context}))).slice(0, 100);
  }

  async #failed(error) {
    if (error.name === "AbortError") return;
    this.fault = this.failure = this.note = null;
    if (error.code === "aborted") await this.#explainConflict();
    else if (error.code === "invalid_argument" && !this.isDirty) this.note = error.message;
    else if (error.code === "invalid_argument") this.fault = faultOf(this.kind, this.#tried.name, error.message);
    else this.failure = error;
    this.answer = this.fault || this.failure || this.note ? null : this.answer;
  }

  async #explainConflict() {
    try {
      await this.page.reload();
      if (this.#isUntouchedByOthers) {
        this.rebase();
        return;
      }
      const {changes = []} = await admin("ListSteeringChanges", {pageSize: 50}, {signal: this.signal});
      this.conflict = changes.filter((each) => Number(each.version) > this.version);
    } catch (error) {
      if (error.name !== "AbortError") this.failure = error;
    }
    this.redraw();
  }

  async suggest(field, text) {
    if (!field.search || text.length < 2) return;
    try {
      const {nodes = []} = await inspection("SearchNodes", {type: this.page.choices.itemType, text, pageSize: 12}, {signal: this.signal});
      nodes.forEach((node) => this.page.names.note(node.id, node.name));
      this.items = nodes.map((node) => ({value: node.id, label: node.name}));
      this.redraw();
    } catch (error) {
      if (error.name !== "AbortError") this.items = [];  // Without the role that may search, ids are typed.
    }
  }

  draw() {
    const {one} = KINDS[this.kind];
    const edit = {kind: this.kind, form: this.form, isNew: this.isNew, fault: this.fault, isLocked: this.page.isFromFile, choices: {...this.page.choices, items: this.items}, nameOf: this.page.names.of};
    return html`
      <section class="card editor" aria-labelledby="editor-title">
        <header>
          <h2 id="editor-title" tabindex="-1">${this.isNew ? `A new ${one}` : this.name}</h2>
          ${this.isDirty && !this.isNew ? badge("not saved", "warn") : nothing}
        </header>
        ${this.conflict ? this.#drawConflict() : nothing}
        <form @submit=${(event) => { event.preventDefault(); this.save(); }}>
          ${steeringForm(edit, (name, value) => this.change(name, value), (field, text) => this.suggest(field, text))}
          ${this.fault && !this.fault.field ? html`<div class="fault" role="alert"><p>${this.fault.words}</p>${this.fault.drawing ? html`<pre>${this.fault.drawing}</pre>` : nothing}</div>` : nothing}
          ${this.page.isFromFile ? nothing : this.#drawSave(one)}
        </form>
      </section>
      <section class="card dry-run" aria-labelledby="dry-run-title" aria-busy=${this.isAsking}>
        <header><h2 id="dry-run-title">${this.isDirty ? "What it would change" : "What it does"}</h2>${this.isAsking ? badge("trying…") : nothing}</header>
        ${this.#drawTry()}
        <div aria-live="polite">${this.#drawRun()}</div>
      </section>`;
  }

  #drawSave(one) {
    const isReady = this.isDirty && (!this.isNew || this.form.name.trim()) && !this.fault && !this.conflict && !this.isSaving;
    return html`<footer class="save">
      <label>Reason, for the history<input type="text" maxlength="1000" autocomplete="off" .value=${this.reason} @input=${(event) => { this.reason = event.target.value; }}></label>
      <div class="buttons">
        <button type="submit" class="primary" ?disabled=${!isReady}>${this.isSaving ? "Saving…" : this.isNew ? `Add the ${one}` : "Save"}</button>
        ${this.isDirty && (!this.isNew || this.hasDraft) ? html`<button type="button" @click=${() => this.discard()}>Take back</button>` : nothing}
        ${this.isNew ? nothing : html`
          <a class="button" href=${link("steering", [this.kind, `+${this.name}`])}>Copy</a>
          <button type="button" class="danger" @click=${() => this.page.askRemoval(this)}>Remove…</button>`}
      </div>
    </footer>`;
  }

  #drawConflict() {
    return html`<div class="notice notice-warn conflict" role="alert">
      <p><strong>Somebody else has changed this meanwhile:</strong> you began with version ${this.version}, and ${this.page.version} holds now.</p>
      <ul>${this.conflict.map((each) => html`<li>${each.changes?.join(" ")} <small>${each.actor}${each.changeTime ? `, ${timeWords(each.changeTime)}` : ""}${each.reason ? `: ${each.reason}` : ""}</small></li>`)}</ul>
      <div class="buttons">
        <button type="button" class="primary" @click=${() => this.rebase()}>Compare mine with version ${this.page.version}</button>
        <button type="button" @click=${() => this.discard()}>Drop mine</button>
      </div>
    </div>`;
  }

  #drawTry() {
    const users = (event) => {
      this.users = event.target.value.split(/[\s,]+/).filter(Boolean);
      this.#schedule(PAUSE_MS);
    };
    const moment = (event) => {
      this.moment = event.target.value;
      this.redraw();
      this.#schedule(PAUSE_MS);
    };
    const begins = this.form.startTime && Date.parse(`${this.form.startTime}Z`) > this.page.nowMs ? this.form.startTime : "";
    return html`<div class="try">
      <label>Try for users<input type="text" autocomplete="off" spellcheck="false" placeholder="those of the latest events" @input=${users}></label>
      <label>At (UTC)<input type="datetime-local" .value=${this.moment} @input=${moment}></label>
      ${begins && this.moment < begins ? html`<button type="button" class="quiet" @click=${() => moment({target: {value: begins}})}>Try it from when it begins</button>` : nothing}
    </div>`;
  }

  #drawRun() {
    if (this.failure) return html`<div class="notice notice-bad" role="alert"><p>${failureWords(this.failure)}</p></div>`;
    if (this.isNew && !this.isTouched) return html`<p class="note">As you fill it in, you see here whose answers it would change, and how.</p>`;
    if (this.fault) return html`<p class="note">Something is wrong with it yet, so there is nothing to try.</p>`;
    if (this.note) return html`<p class="note">It cannot be tried without it: ${this.note}</p>`;
    if (!this.answer) return html`<p class="note">Asking the server…</p>`;
    if (this.isDirty && !this.answer.changes?.length) return html`<p class="note">Nothing changes.</p>`;
    return dryRun(this.answer, this.page.names.of, {isEffect: !this.isDirty});
  }
}

function failureWords(error) {
  if (error.code === "permission_denied") return `Your token may look at this, and not change or try it: ${error.message}`;
  return error.message;
}

function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (value && typeof value === "object") return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]));
  return value;
}
