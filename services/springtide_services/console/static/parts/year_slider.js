// A moment of a year: a slider over its days, one over the hours, and a button that lets the year go by.

import {html} from "../vendor/lit-html.js";
import * as icons from "./icons.js";
import {MONTHS} from "./season_charts.js";

const DAY_MS = 86_400_000;
const STEP_DAYS = 4;
const STEP_MS = 420;

export class YearSlider {
  #timer = 0;

  // `nowMs` is the server's moment; `at` is a moment of the address, such as `12-04T18`; `redraw` is called after each change.
  constructor({nowMs, at = "", redraw}) {
    const now = new Date(nowMs);
    this.year = now.getUTCFullYear();
    this.redraw = redraw;
    const given = /^\d\d-\d\dT\d\d$/.test(at) ? new Date(`${this.year}-${at}:00:00Z`) : now;
    const first = Number.isNaN(given.getTime()) ? now : given;
    this.day = Math.floor((first.getTime() - Date.UTC(this.year, 0, 1)) / DAY_MS);
    this.hour = first.getUTCHours();
  }

  get numDays() {
    return (Date.UTC(this.year + 1, 0, 1) - Date.UTC(this.year, 0, 1)) / DAY_MS;
  }

  get moment() {
    return new Date(Date.UTC(this.year, 0, 1 + this.day, this.hour, 30));
  }

  get address() {
    return this.moment.toISOString().slice(5, 13);
  }

  get words() {
    return this.moment.toLocaleDateString(navigator.language, {weekday: "long", day: "numeric", month: "long", timeZone: "UTC"});
  }

  #set(more) {
    Object.assign(this, more);
    this.redraw();
  }

  #play(event) {
    if (this.#timer) return this.#stop();
    const place = event.currentTarget;
    this.#timer = setInterval(() => {
      if (!place.isConnected) return this.#stop();
      this.#set({day: (this.day + STEP_DAYS) % this.numDays});
    }, STEP_MS);
    this.redraw();
  }

  #stop() {
    clearInterval(this.#timer);
    this.#timer = 0;
    this.redraw();
  }

  // Draws the button that lets the year go by, and stops it.
  drawPlay() {
    return html`<button type="button" class="small quiet" @click=${(event) => this.#play(event)}>${this.#timer ? html`${icons.pause} Stop` : html`${icons.play} Let the year go by`}</button>`;
  }

  draw() {
    const hour = `${String(this.hour).padStart(2, "0")}:00`;
    return html`<div class="year-slider">
      <p class="when"><strong>${this.words}</strong>, ${hour}</p>
      <div class="of-day"><span aria-hidden="true">Day</span><span class="ticked"><input type="range" aria-label="Day of the year" min="0" max=${this.numDays - 1} .value=${String(this.day)} aria-valuetext=${this.words}
        @input=${(event) => this.#set({day: Number(event.target.value)})}>
        <span class="ticks" aria-hidden="true">${MONTHS.map((month) => html`<span>${month}</span>`)}</span></span></div>
      <div class="of-day"><span aria-hidden="true">Hour</span><span class="ticked"><input type="range" aria-label="Hour" min="0" max="23" .value=${String(this.hour)} aria-valuetext=${hour}
        @input=${(event) => this.#set({hour: Number(event.target.value)})}></span></div>
    </div>`;
  }
}
