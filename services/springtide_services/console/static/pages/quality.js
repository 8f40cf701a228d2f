// Quality: how well the served model ranks the items of new events, over time and by segment; and what experiments have brought.

import {html, nothing, render} from "../vendor/lit-html.js";
import {admin, inspection} from "../api.js";
import {card, tabs} from "../parts/cards.js";
import {drawChart} from "../parts/chart.js";
import {emptyPanel, errorPanel, loading} from "../parts/errors.js";
import {experimentResult} from "../parts/experiment_result.js";
import {METRICS, SCOPES, dropNotice, figures, overTime, overTimeWords, segmentTables} from "../parts/quality_views.js";
import {current, link, setQuery} from "../router.js";
import {state, watch} from "../status.js";

const EVERY_MS = 5_000;
const CONFIDENCES = [0.9, 0.95, 0.99];

export async function show(element, args, signal) {
  await new QualityPage(element, signal).start();
}

// An experiment may be removed between two questions about it.
function ifGone(error) {
  if (error.code !== "not_found") throw error;
  return null;
}

class QualityPage {
  #quality = null;
  #results = null;
  #failures = {};
  #chart = null;
  #drawnChart = "";

  constructor(element, signal) {
    Object.assign(this, {element, signal});
    const {query} = current();
    this.metric = METRICS[query.metric] ? query.metric : "ndcgAt20";
    this.scope = SCOPES[query.scope] ? query.scope : "all";
    this.confidence = CONFIDENCES.find((each) => String(each) === query.confidence) ?? 0.95;
  }

  async start() {
    watch(() => this.#draw(), this.signal);
    this.#draw();
    while (!this.signal.aborted) {
      if (!document.hidden) await Promise.all([this.#readQuality(), this.#readExperiments()]);
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    }
  }

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

  #readQuality() {
    return this.#read("quality", async (options) => {
      this.#quality = await inspection("GetQuality", {}, options);
    });
  }

  #readExperiments() {
    return this.#read("experiments", async (options) => {
      const {steering = {}} = await admin("GetSteering", {}, options);
      const names = (steering.experiments ?? []).map(({name}) => name);
      const asked = names.map((name) => admin("GetExperiment", {name, confidence: this.confidence}, options).catch(ifGone));
      this.#results = (await Promise.all(asked)).filter(Boolean);
    });
  }

  #set(more) {
    Object.assign(this, more);
    setQuery({metric: this.metric, scope: this.scope, confidence: this.confidence});
    this.#draw();
  }

  #draw() {
    if (this.signal.aborted) return;
    const live = state.status?.liveQuality;
    render(html`
      <header class="page-head"><h1>Quality</h1><p>A sample of the new events is ranked before each is applied: was its item among the best?</p></header>
      ${dropNotice(live?.drop)}
      <div class="quality-bar">
        ${tabs(Object.entries(SCOPES), this.scope, (scope) => this.#set({scope}), "Which events")}
        ${tabs(Object.entries(METRICS).map(([name, {title}]) => [name, title]), this.metric, (metric) => this.#set({metric}), "Which figure")}
      </div>
      ${live ? figures(live.recent, this.scope) : loading(2)}
      ${card("Over time", this.#failures.quality ?? this.#drawTime(), {note: "By the version that ranked, since the start of the server."})}
      ${this.#failures.quality ? nothing : card("By segment", this.#drawSegments(), {note: "Over the latest measured events."})}
      <section class="experiments" aria-labelledby="experiments-title">
        <div class="section-head"><h2 id="experiments-title">Experiments</h2>
          <label class="field inline">Confidence<select @change=${(event) => { this.#set({confidence: Number(event.target.value)}); this.#readExperiments(); }}>
            ${CONFIDENCES.map((each) => html`<option value=${each} ?selected=${each === this.confidence}>${each * 100} %</option>`)}</select></label></div>
        ${this.#failures.experiments ?? this.#drawExperiments()}
      </section>`, this.element);
    this.#drawChart();
  }

  #drawTime() {
    if (!this.#quality) return loading(5);
    if (!this.#quality.points?.length) return emptyPanel("Nothing was measured yet", "It begins with the first new purchases, clicks or views after the server has caught up.");
    return html`<div class="chart over-time"></div>`;
  }

  #drawSegments() {
    if (!this.#quality) return loading(4);
    if (!this.#quality.segments?.length) return emptyPanel("No segments yet", "They come with the first measured events.");
    return segmentTables(this.#quality.segments, this.metric, this.scope);
  }

  #drawExperiments() {
    if (!this.#results) return loading(4);
    const nowMs = Number(state.status?.asOfMs ?? Date.now());
    if (!this.#results.length) return emptyPanel("No experiment runs", html`Two variants or more, each user always the same one: <a href=${link("steering", ["experiments", "+"])}>begin one</a>.`);
    return this.#results.map((result) => experimentResult(result, this.confidence, nowMs));
  }

  async #drawChart() {
    const place = this.element.querySelector(".over-time");
    if (!place) {
      this.#chart = null;
      return;
    }
    const points = this.#quality.points;
    const key = `${this.metric} ${this.scope} ${JSON.stringify(points.at(-1))} ${points.length}`;
    if (key === this.#drawnChart && this.#chart) return;
    this.#drawnChart = key;
    const option = () => overTime(points, this.metric, this.scope);
    const label = overTimeWords(points, this.metric, this.scope);
    if (this.#chart) {
      place.setAttribute("aria-label", label);
      (await this.#chart).update(option);
    } else this.#chart = drawChart(place, {option, label, signal: this.signal});
  }
}
