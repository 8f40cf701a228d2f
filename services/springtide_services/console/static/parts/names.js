// What nodes are called: the names of items, found many at once and kept.

import {inspection, recommender} from "../api.js";
import {attribute} from "./format.js";

const AT_ONCE = 500;
const known = new Map();
let described;

// Returns ListAttributes' answer, asked for once; {} where the token may not see it.
export function attributes() {
  described ??= inspection("ListAttributes").catch(() => {
    described = undefined;
    return {};
  });
  return described;
}
document.addEventListener("token", () => {
  described = undefined;
  known.clear();
});

// Returns the name of an item as far as it is known, else its id.
export const itemName = (id) => known.get(id) || id;

// Keeps the name of an item.
export const keepName = (id, name) => name && known.set(id, name);

// Learns the names of items, so that `itemName` knows them; what cannot be found keeps its id.
export async function learnNames(ids, signal) {
  const {nameAttribute} = await attributes();
  const missing = [...new Set(ids)].filter((id) => !known.has(id));
  if (!nameAttribute) return;
  for (let from = 0; from < missing.length; from += AT_ONCE) {
    const items = missing.slice(from, from + AT_ONCE);
    const {answer = {}} = await recommender("Rank", {items, includeAttributes: [nameAttribute]}, {signal}).catch((error) => {
      if (error.name === "AbortError") throw error;
      return {};
    });
    for (const {item, attributes: of} of answer.items ?? []) known.set(item, attribute(of?.[nameAttribute]) || item);
  }
}
