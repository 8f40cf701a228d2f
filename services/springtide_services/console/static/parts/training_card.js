// The training that goes on, or the last one; and the button that asks for one.

import {html, nothing} from "../vendor/lit-html.js";
import {admin} from "../api.js";
import {badge} from "./cards.js";
import {errorLine} from "./errors.js";
import {count, decimal, number, relative} from "./format.js";
import {link} from "../router.js";

const MODES = {
  TRAINING_MODE_UNSPECIFIED: {word: "as the trainer chooses", about: "Fine-tunes if there is a model, retrains if not."},
  TRAINING_MODE_RETRAIN: {word: "from scratch", about: "Learns all vectors anew: the longest."},
  TRAINING_MODE_FINE_TUNE: {word: "fine-tune", about: "Goes on from the current model, with what is new and some of what is old."},
  TRAINING_MODE_REFIT: {word: "fit exponents", about: "Learns anew how much the moment counts; vectors stay. The quickest."},
};
const STAGES = {load: "reading the checkpoint", publish: "publishing", done: "done", failed: "failed", unreadable: "its file is damaged"};
const IS_OVER = ["done", "failed", "unreadable"];

export class TrainingCard {
  // `redraw` draws the page; `signal` ends it.
  constructor(redraw, signal) {
    Object.assign(this, {redraw, signal, mode: "TRAINING_MODE_UNSPECIFIED", requested: null, failure: null, isAsking: false});
  }

  async #start() {
    this.isAsking = true;
    this.failure = null;
    this.redraw();
    try {
      this.requested = await admin("StartTraining", {mode: this.mode}, {signal: this.signal});
    } catch (error) {
      if (error.name === "AbortError") return;
      this.failure = error;
    }
    this.isAsking = false;
    this.redraw();
  }

  // Draws it; `training` is the server's TrainingStatus, if there is one.
  draw(training) {
    const isRunning = training && !IS_OVER.includes(training.stage);
    const waits = this.requested && training?.requestId !== this.requested.requestId;
    if (this.requested && training?.requestId === this.requested.requestId) this.requested = null;
    return html`<section class="card training-card" aria-labelledby="training-title">
      <header class="card-head"><h2 id="training-title">Training</h2>${isRunning ? badge("running", "accent") : nothing}</header>
      <div aria-live="polite">
        ${waits ? html`<p>Asked for: <code>${this.requested.requestId}</code> on checkpoint <code>${this.requested.checkpoint}</code>. Waiting for the trainer (<code>springtide train --schedule</code>)…</p>` : nothing}
        ${this.failure ? errorLine(this.failure) : nothing}
      </div>
      ${training ? this.#drawStatus(training, isRunning) : html`<p class="note">Nothing was trained yet.</p>`}
      <form class="start" @submit=${(event) => { event.preventDefault(); this.#start(); }}>
        <label class="field">How<select @change=${(event) => { this.mode = event.target.value; this.redraw(); }}>
          ${Object.entries(MODES).map(([mode, {word}]) => html`<option value=${mode} ?selected=${mode === this.mode}>${word}</option>`)}
        </select></label>
        <button class="primary" ?disabled=${this.isAsking || waits}>${this.isAsking ? "Writing a checkpoint…" : "Start a training"}</button>
        <p class="note">${MODES[this.mode].about}</p>
      </form>
    </section>`;
  }

  #drawStatus(training, isRunning) {
    const done = number(training.done);
    const total = number(training.total);
    const stage = STAGES[training.stage] ?? training.stage.replaceAll("_", " ");
    const mode = MODES[training.mode]?.word ?? "as the trainer chooses";
    if (!isRunning) {
      const outcome = training.stage === "failed" ? badge("failed", "bad") : stage;
      const version = training.modelVersion ? html`: <a href=${link("models", [training.modelVersion])}>${training.modelVersion}</a>` : nothing;
      return html`<p>The last one (${mode}) ${outcome}${version}, ${relative(training.updateTime)}.</p>
        ${training.failure ? html`<pre class="error-line">${training.failure}</pre>` : nothing}`;
    }
    return html`<div class="progress">
      <p><strong>${stage}</strong> <span class="note">${mode}</span></p>
      <progress max=${total || 1} value=${total ? done : nothing} aria-label="Progress of ${stage}"></progress>
      <p class="note">${total ? `${count(done)} of ${count(total)}` : "…"}${training.loss === undefined ? "" : `, loss ${decimal(training.loss)}`}, ${relative(training.updateTime)}</p>
    </div>`;
  }
}
