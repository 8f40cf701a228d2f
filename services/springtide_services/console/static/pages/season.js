// Season: the demand for an item or a category over the year, the week and the day; what is in season at a moment; and how
// much the model lets that count.

import {html, nothing, render} from "../vendor/lit-html.js";
import {inspection} from "../api.js";
import {bar} from "../parts/drawings.js";
import {drawChart} from "../parts/chart.js";
import {errorPanel, loading} from "../parts/errors.js";
import {exponentSentences, exponentsTable} from "../parts/exponents.js";
import {count, plural} from "../parts/format.js";
import {keyedList} from "../parts/keyed.js";
import {searchField} from "../parts/search.js";
import {SPANS, liftShort, liftWords, profileOptions, profileWords} from "../parts/season_charts.js";
import {YearSlider} from "../parts/year_slider.js";
import {token} from "../parts/theme.js";
import {current, link, setQuery} from "../router.js";
import {state} from "../status.js";

const LISTED = 24;
const PAUSE_MS = 120;

export async function show(element, [name = ""], signal) {
  await new SeasonPage(element, signal).start(name);
}

class SeasonPage {
  #name = "";
  #weight = "";
  #attributes = {};
  #attribute = "";
  #season = null;
  #list = null;
  #failures = {};
  #charts = new Map();
  #asking = {list: new AbortController(), season: new AbortController()};
  #timer = 0;

  constructor(element, signal) {
    this.element = element;
    this.signal = signal;
  }

  async start(name) {
    const {query} = current();
    this.#name = name;
    this.#weight = query.weight ?? "";
    const nowMs = Number(state.status?.asOfMs ?? 0) || (await this.#serverNow());
    this.slider = new YearSlider({nowMs, at: query.at, redraw: () => this.#moved()});
    this.#draw();
    searchField(this.element.querySelector(".item-search"), {
      type: () => this.#attributes.itemType ?? "item",
      label: "An item",
      placeholder: "Name or id",
      onChoose: ({id}) => this.#choose(id),
      signal: this.signal,
      clears: true,
    });
    await Promise.all([this.#readAttributes(), this.#readList(), this.#readExponents(), this.#name ? this.#readSeason() : null]);
  }

  // The moment that requests without a time are answered for; the wall clock's where the token may not ask.
  async #serverNow() {
    try {
      return Number((await inspection("ListInSeason", {pageSize: 1}, {signal: this.signal})).asOfMs);
    } catch {
      return Date.now();
    }
  }

  async #read(name, work, redraw = () => this.#draw()) {
    this.#asking[name]?.abort();
    const asking = (this.#asking[name] = new AbortController());
    const signal = AbortSignal.any([this.signal, asking.signal]);
    try {
      await work({signal});
      delete this.#failures[name];
    } catch (error) {
      if (signal.aborted || error.name === "AbortError") return;
      this.#failures[name] = errorPanel(error, {retry: () => this.#read(name, work)});
    }
    if (!this.signal.aborted) redraw();
  }

  #readAttributes() {
    return this.#read("attributes", async (options) => {
      this.#attributes = await inspection("ListAttributes", {}, options);
      this.#attribute = this.#name.includes("=") ? this.#name.split("=")[0] : ([...this.#categories].sort((one, other) => (other.values?.length ?? 0) - (one.values?.length ?? 0))[0]?.name ?? "");
    });
  }

  #readSeason() {
    return this.#read("season", async (options) => {
      this.#season = await inspection("GetSeason", {name: this.#name, weight: this.#weight}, options);
    });
  }

  #readList() {
    return this.#read("list", async (options) => {
      const answer = await inspection("ListInSeason", {eventTime: this.slider.moment.toISOString(), pageSize: LISTED, weight: this.#weight}, options);
      this.#list = answer.items ?? [];
      if (!this.#name && this.#list.length) this.#choose(this.#list[0].item, {isGuess: true});
    });
  }

  #readExponents() {
    return this.#read("model", async (options) => {
      try {
        this.model = await inspection("GetModel", {}, options);
      } catch (error) {
        if (!["failed_precondition", "not_found"].includes(error.code)) throw error;
        this.model = null;  // None serves yet.
      }
    });
  }

  get #categories() {
    return (this.#attributes.attributes ?? []).filter(({nodeType, kind}) => nodeType === this.#attributes.itemType && kind === "category");
  }

  #choose(name, {isGuess = false} = {}) {
    if (!name) return;
    this.#name = name;
    const {query} = current();
    if (!isGuess) history.pushState(null, "", link("season", [name], query));
    this.#season = null;
    this.#readSeason();
    this.#draw();
  }

  #moved() {
    setQuery({...current().query, at: this.slider.address});
    this.#draw();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#readList(), PAUSE_MS);
  }

  #draw() {
    if (this.signal.aborted) return;
    render(html`
      <header class="page-head"><h1>Season</h1><p>When people want what, as learned from the stream. 1× is usual.</p></header>
      <div class="season">
        <div class="season-profile">
          <section class="card chooser" aria-label="What to show">
            <div class="item-search"></div>
            ${this.#categories.length ? this.#drawCategories() : nothing}
            ${this.#drawWeights()}
          </section>
          ${this.#failures.season ?? this.#drawProfiles()}
        </div>
        <section class="card in-season" aria-labelledby="in-season-title">
          <header class="card-head"><h2 id="in-season-title">In season</h2>${this.slider.drawPlay()}</header>
          ${this.slider.draw()}
          ${this.#failures.list ?? (this.#list ? nothing : loading(6))}
          ${this.#list && !this.#list.length ? html`<p class="note">No item has enough interactions yet.</p>` : nothing}
          <ol class="in-season-list" ?hidden=${!this.#list?.length || this.#failures.list}></ol>
        </section>
        <section class="card counts-for" aria-labelledby="exponents-title">
          <header class="card-head"><h2 id="exponents-title">How much that counts</h2></header>
          ${this.#failures.model ?? this.#drawExponents()}
        </section>
      </div>`, this.element);
    this.#drawList();
    this.#drawCharts();
  }

  #drawCategories() {
    const chosen = this.#categories.find(({name}) => name === this.#attribute) ?? this.#categories[0];
    const take = (event) => {
      if (event.target.value) this.#choose(`${chosen.name}=${event.target.value}`);
    };
    return html`<div class="category">
      <label class="field">or all of<select @change=${(event) => { this.#attribute = event.target.value; this.#draw(); }}>
        ${this.#categories.map(({name}) => html`<option value=${name} ?selected=${name === chosen.name}>${name.replaceAll("_", " ")}</option>`)}</select></label>
      <label class="field"><span class="unseen">Value of ${chosen.name}</span><input type="text" list="category-values" autocomplete="off" spellcheck="false" placeholder="Value"
        .value=${this.#name.startsWith(`${chosen.name}=`) ? this.#name.slice(chosen.name.length + 1) : ""} @change=${take}></label>
      <datalist id="category-values">${(chosen.values ?? []).map((value) => html`<option value=${value}></option>`)}</datalist>
    </div>`;
  }

  #drawWeights() {
    const others = this.#season?.weights ?? [];
    if (!others.length) return nothing;
    const all = [...new Set(["calendar", this.#weight, ...others])].filter(Boolean).sort();
    const choose = (event) => {
      this.#weight = event.target.value;
      setQuery({...current().query, weight: this.#weight});
      this.#readSeason();
      this.#readList();
    };
    return html`<label class="field">Learned by<select @change=${choose}>${all.map((name) => html`<option value=${name} ?selected=${name === (this.#weight || "calendar")}>${name}</option>`)}</select></label>`;
  }

  #drawProfiles() {
    const season = this.#season;
    if (!season) return html`<section class="card"><p class="note">Reading what was learned of it; with many items that takes some seconds.</p>${loading(8)}</section>`;
    const about = [season.numItems > 1 ? plural(season.numItems, "item") : "", plural(season.numInteractions, "interaction")].filter(Boolean).join(", ");
    const isItem = !this.#name.includes("=") || Number(season.numItems) === 1;
    return html`<section class="card profile" aria-labelledby="profile-title">
      <header class="card-head"><div><h2 id="profile-title">${season.title || this.#name}</h2><p class="note">${about}</p></div>
        ${isItem ? html`<a href=${link("data", [this.#attributes.itemType ?? "item", this.#name])}>Look at it</a>` : nothing}</header>
      <div class="profiles">${(season.profiles ?? []).map((profile) => html`<figure class="span-${profile.span}">
        <figcaption><h3>${SPANS[profile.span].title}</h3><p>${profileWords(profile)}</p></figcaption>
        <div class="chart" data-span=${profile.span}></div>
      </figure>`)}</div>
    </section>`;
  }

  #drawCharts() {
    for (const place of this.element.querySelectorAll(".chart[data-span]")) {
      const profile = this.#season.profiles.find(({span}) => span === place.dataset.span);
      const option = () => profileOptions(profile, {colors: {above: token("--series-1"), below: token("--ink-3"), counts: token("--line-strong")}, moment: this.slider.moment});
      const label = `${this.#season.title}. ${profileWords(profile)}`;
      const drawn = this.#charts.get(place);
      const key = `${this.#name} ${this.slider.address}`;
      if (!drawn) {
        const entry = {key, chart: null};
        this.#charts.set(place, entry);
        drawChart(place, {option, label, signal: this.signal}).then((chart) => { entry.chart = chart; }, (error) => { this.#failures.season = errorPanel(error); });
      } else if (drawn.key !== key) {
        drawn.key = key;
        place.setAttribute("aria-label", label);
        drawn.chart?.update(option);
      }
    }
  }

  #drawList() {
    const place = this.element.querySelector(".in-season-list");
    if (!this.#list || !place) return;
    place.update ??= keyedList(place, {key: ({item}) => item, draw: (entry) => this.#drawEntry(entry)});
    this.highest = Math.max(2, ...this.#list.map(({lift}) => lift));
    place.update(this.#list);
  }

  #drawEntry({item, name, group, lift = 1, lifts = {}, numInteractions}) {
    const spans = Object.keys(SPANS).filter((span) => span in lifts).map((span) => `${span} ${liftShort(lifts[span])}`).join(", ");
    return html`<button type="button" class="entry" aria-pressed=${item === this.#name} title="${liftWords(lift)}: ${spans}" @click=${() => this.#choose(item)}>
      <span class="name">${name || item}</span><span class="lift">${liftShort(lift)}</span>
      ${bar(Math.log2(Math.max(1, lift)), Math.log2(this.highest))}
      <span class="note">${group ? `${group} · ` : ""}${spans} · ${count(numInteractions)} interactions</span>
    </button>`;
  }

  #drawExponents() {
    if (this.model === undefined) return loading();
    if (this.model === null) return html`<p class="note">No model serves yet, so seasons count as they are. A training learns how much they shall.</p>`;
    const weight = this.#weight || "calendar";
    const exponents = (this.model.exponents ?? []).filter((each) => each.weight === weight);
    const sentences = exponentSentences(exponents);
    const model = html`<a href=${link("models", [this.model.model.version])}>${this.model.model.version}</a>`;
    if (!exponents.length) return html`<p class="note">Model ${model} has no weight ${weight}.</p>`;
    return html`<p>In model ${model}, ${sentences.length ? sentences.join("; ") : `nothing of the ${weight} counts`}.</p>
      ${exponentsTable(exponents, {all: true})}
      <p class="note">An item's odds are multiplied by each lift to the power of its exponent.</p>`;
  }
}
