// Names of items by their ids, asked for many at once and kept while the page is open.

import {inspection, recommender} from "../api.js";

const MAX_AT_ONCE = 500;

// Keeps names. `redraw` is called when more are known. Where names cannot be had, such as with a token of another role,
// items are called by their ids.
export class ItemNames {
  #names = new Map();
  #asked = new Set();
  #attribute = null;

  constructor(redraw, signal) {
    this.redraw = redraw;
    this.signal = signal;
    this.of = (item) => this.#names.get(item) ?? item;
  }

  note(item, name) {
    if (name) this.#names.set(item, name);
  }

  async want(items) {
    const missing = [...new Set(items)].filter((item) => !this.#names.has(item) && !this.#asked.has(item)).slice(0, MAX_AT_ONCE);
    if (!missing.length) return;
    missing.forEach((item) => this.#asked.add(item));
    try {
      this.#attribute ??= (await inspection("ListAttributes", {}, {signal: this.signal})).nameAttribute ?? "";
      if (!this.#attribute) return;
      const {answer = {}} = await recommender("Rank", {items: missing, includeAttributes: [this.#attribute]}, {signal: this.signal});
      for (const {item, attributes = {}} of answer.items ?? []) this.note(item, attributes[this.#attribute]?.text ?? attributes[this.#attribute]?.categories?.[0]);
      this.redraw();
    } catch (error) {
      if (error.name !== "AbortError") console.info(`no names of items: ${error.message}`);
    }
  }
}
