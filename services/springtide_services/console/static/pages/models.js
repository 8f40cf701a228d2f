// Models: the versions, one of them whole, promoting and rolling back with a reason, trainings as they go on, who changed what.

import {html, nothing, render} from "../vendor/lit-html.js";
import {admin, inspection} from "../api.js";
import {badge} from "../parts/cards.js";
import {drawChart} from "../parts/chart.js";
import {ask} from "../parts/dialog.js";
import {emptyPanel, errorLine, errorPanel, loading} from "../parts/errors.js";
import {compact, dateTime, decimal, relative} from "../parts/format.js";
import {TRAININGS, curveOptions, modelDetail, sentence, verdictChip} from "../parts/model_detail.js";
import {promotionWords} from "../parts/model_change.js";
import {token} from "../parts/theme.js";
import {TrainingCard} from "../parts/training_card.js";
import {link} from "../router.js";
import {watch} from "../status.js";

const PAGE = 20;
const CHANGES = 50;

export async function show(element, [version = ""], signal) {
  await new ModelsPage(element, signal).start(version);
}

class ModelsPage {
  #models = null;
  #next = "";
  #changes = null;
  #version = "";
  #detail = null;
  #failures = {};
  #said = "";
  #status = null;
  #seen = "";
  #leaving = new AbortController();

  constructor(element, signal) {
    this.element = element;
    this.signal = signal;
    this.training = new TrainingCard(() => this.#draw(), signal);
  }

  async start(version) {
    this.#version = version;
    watch(({status}) => status && this.#take(status), this.signal);
    await this.#reload();
  }

  async #reload() {
    this.#draw();
    await Promise.all([this.#readModels(), this.#readDetail(), this.#readChanges()]);
  }

  // Reads a part of the page; what fails says so in its own place.
  async #read(name, work) {
    try {
      await work({signal: this.signal});
      delete this.#failures[name];
    } catch (error) {
      if (error.name === "AbortError") return;
      this.#failures[name] = errorPanel(error, {retry: () => this.#read(name, work)});
    }
    this.#draw();
  }

  #readModels(token = "") {
    return this.#read("models", async (options) => {
      const answer = await admin("ListModels", {pageSize: PAGE, pageToken: token}, options);
      this.#models = [...(token ? this.#models : []), ...(answer.models ?? [])];
      this.#next = answer.nextPageToken ?? "";
    });
  }

  #readDetail() {
    const asked = this.#version;
    return this.#read("detail", async (options) => {
      let detail = null;
      try {
        detail = await inspection("GetModel", {version: asked}, options);
      } catch (error) {
        if (asked || !["failed_precondition", "not_found"].includes(error.code)) throw error;  // Else none serves yet.
      }
      if (asked === this.#version) this.#detail = detail;
    });
  }

  #readChanges() {
    return this.#read("changes", async (options) => {
      this.#changes = (await inspection("ListModelChanges", {pageSize: CHANGES}, options)).changes ?? [];
    });
  }

  // Takes the server's status: a new version, or the end of a training, is seen without a reload.
  #take(status) {
    this.#status = status;
    const now = `${status.modelVersion} ${status.training?.modelVersion} ${status.training?.stage === "done"}`;
    if (this.#seen && this.#seen !== now) this.#reload();
    this.#seen = now;
    this.#draw();
  }

  #choose(event, version) {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    history.pushState(null, "", link("models", [version]));
    this.#version = version;
    this.#detail = null;
    this.#readDetail();
    this.#draw();
    this.element.querySelector("#version-title")?.focus();
  }

  get #current() {
    return this.#models?.find(({isCurrent}) => isCurrent) ?? null;
  }

  get #before() {
    return this.#changes?.find(({action, toVersion}) => ["promote", "roll_back"].includes(action) && toVersion === this.#current?.version)?.fromVersion ?? "";
  }

  async #promote() {
    const {model} = this.#detail;
    const before = this.#current ? await inspection("GetModel", {version: this.#current.version}, {signal: this.signal}).catch(() => null) : null;
    const reason = await ask({title: `Promote ${model.version}?`, text: promotionWords(before, this.#detail), action: "Promote", reason: "Why, for the list of changes", isDangerous: model.verdict === "rejected"});
    if (reason !== null) await this.#change("PromoteModel", {version: model.version, reason});
  }

  async #rollBack() {
    const text = html`<p>The version that was promoted before the current one serves again: <strong>${this.#current.version}</strong> gives way${this.#before ? html` to <strong>${this.#before}</strong>` : nothing}. Running servers swap within seconds; no request waits.</p>`;
    const reason = await ask({title: "Roll back?", text, action: "Roll back", reason: "Why, for the list of changes", isDangerous: true});
    if (reason !== null) await this.#change("RollbackModel", {reason});
  }

  async #change(method, request) {
    await this.#read("change", async (options) => {
      const {model} = await admin(method, request, options);
      this.#said = `${model.version} is current.`;
    });
    await this.#reload();
  }

  #draw() {
    if (this.signal.aborted) return;
    render(html`
      <header class="page-head"><h1>Models</h1><p>What was trained, how the gate judged it, and what serves.</p></header>
      <p class="said" role="status">${this.#said}</p>
      ${this.#failures.change ?? nothing}
      <div class="models">
        <div class="models-side">
          ${this.training.draw(this.#status?.training)}
          <section class="card" aria-labelledby="versions-title">
            <header class="card-head"><h2 id="versions-title">Versions</h2>
              ${this.#before ? html`<button type="button" class="small" @click=${() => this.#rollBack()}>Roll back…</button>` : nothing}</header>
            ${this.#failures.models ?? this.#drawVersions()}
          </section>
          <section class="card" aria-labelledby="changes-title">
            <header class="card-head"><h2 id="changes-title">Who changed what</h2></header>
            ${this.#failures.changes ?? this.#drawChanges()}
          </section>
        </div>
        <div class="models-main">${this.#failures.detail ?? this.#drawDetail()}</div>
      </div>`, this.element);
    this.#drawCurves();
  }

  #drawVersions() {
    if (!this.#models) return loading();
    if (!this.#models.length) return html`<p class="note">None yet. Until the first one, items are recommended by what is in season and popular.</p>`;
    const chosen = this.#detail?.model.version ?? this.#version;
    return html`<ul class="versions">${this.#models.map((model) => html`<li>
      <a href=${link("models", [model.version])} aria-current=${model.version === chosen} @click=${(event) => this.#choose(event, model.version)}>
        <span class="name">${model.version}${model.isCurrent ? html` ${badge("serves", "accent")}` : nothing} ${verdictChip(model.verdict)}</span>
        ${model.unreadableReason ? html`<span class="words">unreadable: ${model.unreadableReason}</span>` : html`<span class="words">${this.#about(model)}</span>`}
      </a>
    </li>`)}</ul>
    ${this.#next ? html`<button type="button" class="quiet" @click=${() => this.#readModels(this.#next)}>Show older ones</button>` : nothing}`;
  }

  #about(model) {
    const {candidate} = model.gateNdcgAt20 ?? {};
    const made = model.createTime ? relative(model.createTime) : "";
    return [TRAININGS[model.training] ?? model.training, made, `${compact(model.numInteractions)} interactions`, candidate && `NDCG ${candidate.toFixed(4)}`].filter(Boolean).join(" · ");
  }

  #drawChanges() {
    if (!this.#changes) return loading();
    if (!this.#changes.length) return html`<p class="note">Nothing was promoted yet.</p>`;
    return html`<ol class="log" tabindex="0" aria-label="Changes">${this.#changes.map((each) => html`<li>
      <p><strong>${each.action.replaceAll("_", " ")}</strong> ${each.fromVersion ? html`<code>${each.fromVersion}</code> → ` : nothing}<code>${each.toVersion}</code></p>
      ${each.reason ? html`<p class="why">${each.reason}</p>` : nothing}
      <p class="note"><time title="${dateTime(each.changeTime)} UTC">${relative(each.changeTime)}</time>, ${each.actor || "the server"}</p>
    </li>`)}</ol>`;
  }

  #drawDetail() {
    if (!this.#detail) return this.#models && !this.#models.length ? this.#drawNone() : loading(6);
    const {model} = this.#detail;
    if (model.unreadableReason) return emptyPanel(`${model.version} cannot be read`, model.unreadableReason);
    const live = this.#status?.liveQuality?.versions?.find(({modelVersion}) => modelVersion === model.version);
    const serves = this.#status?.modelVersion === model.version;
    return html`
      <header class="version-head">
        <div><h2 id="version-title" tabindex="-1">${model.version}</h2><p class="note">${sentence(`${TRAININGS[model.training] ?? model.training}, ${relative(model.createTime)}`)}</p></div>
        ${serves ? badge("serves", "accent") : nothing}
        ${model.isCurrent ? nothing : html`<button type="button" class="primary" @click=${() => this.#promote()}>Promote…</button>`}
      </header>
      <div class="cards">${modelDetail(this.#detail, live)}</div>`;
  }

  #drawNone() {
    return emptyPanel("No model serves yet", "Once a training is done you see here how the gate judged it against each baseline, what the moment counts in it, and how its loss fell.");
  }

  // Draws the training curves of a version once, into their place.
  #drawCurves() {
    const place = this.element.querySelector(".curves");
    if (!place || place.of === this.#detail) return;
    place.of = this.#detail;
    this.#leaving.abort();
    this.#leaving = new AbortController();
    const signal = AbortSignal.any([this.signal, this.#leaving.signal]);
    render(this.#detail.curves.map(({name, step}) => html`<figure><figcaption class="note">${name.replaceAll("_", " ")}, by ${step}</figcaption><div class="chart"></div></figure>`), place);
    this.#detail.curves.forEach((curve, at) => {
      const chart = place.querySelectorAll(".chart")[at];
      const {name, step, values = []} = curve;
      const label = `${name} by ${step}: from ${decimal(values[0])} to ${decimal(values.at(-1))}`;
      drawChart(chart, {option: () => curveOptions(curve, {color: token("--series-1")}), label, signal}).catch((error) => render(errorLine(error), chart));
    });
  }
}
