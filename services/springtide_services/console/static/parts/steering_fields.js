// The fields of rules, scenarios and experiments: what a form shows of a message, and the message that it makes. A form
// holds texts, as they are typed, so that a half-written number stays as it is.

const DAY_S = 86_400;

// Kinds: `text`, `expression`, `number`, `words` (a list), `pairs` (a map of numbers), `time`, `duration`, `choice`,
// `checks` (some of several), `variants`, `lines` (long text). `only`: the actions of a rule that have the field.
export const FIELDS = {
  rules: [
    {name: "action", kind: "choice", label: "What it does"},
    {name: "items", kind: "words", label: "Items", search: true, help: "Ids; with a condition, those of both."},
    {name: "filter", kind: "expression", label: "Where", of: "items", help: "A condition over items; together with items, those of both.", example: "price < 20"},
    {name: "factor", kind: "number", label: "Factor", only: ["RULE_ACTION_BOOST", "RULE_ACTION_BURY"], help: "A boost above 1, a burial below 1."},
    {name: "slot", kind: "number", label: "Slot", only: ["RULE_ACTION_PIN"], help: "Of the first item; 1 is the top."},
    {name: "segment", kind: "expression", label: "For users", of: "users", help: "A condition over the user and the moment; empty for everybody.", example: 'user.country == "DE"'},
    {name: "scenarios", kind: "checks", label: "In scenarios", help: "None for all requests."},
    {name: "startTime", kind: "time", label: "From (UTC)", help: "Empty for at once."},
    {name: "endTime", kind: "time", label: "Until (UTC)", help: "That time not included; empty for ever."},
    {name: "note", kind: "lines", label: "Note", help: "Why it is there."},
  ],
  scenarios: [
    {name: "filter", kind: "expression", label: "Only items where", of: "items", example: "stock > 0"},
    {name: "booster", kind: "expression", label: "Boosted by", of: "items", help: "A number that multiplies an item's odds.", example: "2 if promo else 1"},
    {name: "count", kind: "number", label: "Number of items", help: "20 if empty."},
    {name: "minRelevance", kind: "number", label: "Least relevance", help: "A cosine, -1 to 1."},
    {name: "diversity", kind: "number", label: "Diversity", help: "How much items differ, 0 to 1."},
    {name: "diversityAttribute", kind: "text", label: "They differ in", help: "An attribute; empty for what they are like in all.", choices: "categories"},
    {name: "rotationRate", kind: "number", label: "Rotation", help: "How far items sink that were shown and ignored, 0 to 1."},
    {name: "rotationTime", kind: "duration", label: "Back after, days", help: "As if they had not been shown."},
    {name: "exploration", kind: "number", label: "Exploration", help: "Share of slots for uncertain items, 0 to 1."},
    {name: "reranker", kind: "text", label: "Reranker", help: "The plugin that orders the best items."},
    {name: "maxPer", kind: "pairs", label: "At most, of one value", keys: "attribute", numbers: "items", choices: "categories"},
    {name: "weights", kind: "pairs", label: "Context weights", keys: "weight", numbers: "factor", help: "Factor of a weight's exponent; 0 switches it off.", choices: "weights"},
    {name: "excludeSeen", kind: "words", label: "Leave out what was seen in", help: "Types of interactions; * for all."},
    {name: "includeAttributes", kind: "words", label: "Give attributes", choices: "attributes"},
    {name: "note", kind: "lines", label: "Note", help: "What it is for."},
  ],
  experiments: [
    {name: "variants", kind: "variants", label: "Variants", help: "The first is what the others are compared with."},
    {name: "conversions", kind: "words", label: "Conversions", help: "Types of interactions that count; none for all positive ones."},
    {name: "startTime", kind: "time", label: "From (UTC)", help: "Moment of requests; empty for at once."},
    {name: "endTime", kind: "time", label: "Until (UTC)", help: "That moment not included; empty for ever."},
    {name: "layer", kind: "text", label: "Layer", help: "Experiments of one layer share its users; empty for a layer of its own."},
    {name: "salt", kind: "text", label: "Salt", help: "What the hash of users begins with; the layer's name if empty."},
    {name: "note", kind: "lines", label: "Note", help: "What it is to show."},
  ],
};

const EMPTY = {words: () => [], checks: () => [], pairs: () => [], variants: () => []};
const NEW_VARIANTS = [
  {name: "before", share: "50", modelVersion: "", scenario: "", weights: []},
  {name: "after", share: "50", modelVersion: "", scenario: "", weights: []},
];

// Returns the form of something new.
export function emptyForm(kind) {
  const form = {name: ""};
  for (const field of FIELDS[kind]) form[field.name] = EMPTY[field.kind]?.() ?? "";
  if (kind === "rules") form.action = "RULE_ACTION_BOOST";
  if (kind === "experiments") form.variants = structuredClone(NEW_VARIANTS);
  return form;
}

// Returns the form of a message.
export function toForm(kind, message) {
  const form = {name: message.name ?? ""};
  for (const field of FIELDS[kind]) form[field.name] = shownAs(field.kind, message[field.name]);
  return form;
}

// Returns the message of a form; what is empty is left out.
export function toMessage(kind, form) {
  const message = {name: form.name.trim()};
  for (const field of FIELDS[kind]) {
    if (field.only && !field.only.includes(form.action)) continue;
    const value = said(field.kind, form[field.name]);
    if (value !== undefined) message[field.name] = value;
  }
  return message;
}

function shownAs(kind, value) {
  if (kind === "words" || kind === "checks") return [...(value ?? [])];
  if (kind === "pairs") return Object.entries(value ?? {}).sort().map(([name, number]) => [name, String(number)]);
  if (kind === "variants") return (value ?? []).map(variantForm);
  if (kind === "time") return value ? new Date(value).toISOString().replace(/(:00)?\.000Z$/, "").replace("Z", "") : "";
  if (kind === "duration") return value ? String(Number.parseFloat(value) / DAY_S) : "";
  return value === undefined ? "" : String(value);
}

function said(kind, value) {
  if (kind === "words" || kind === "checks") return value.length ? value : undefined;
  if (kind === "pairs") return pairsSaid(value);
  if (kind === "variants") return value.map(variantSaid);
  const text = value.trim();
  if (!text) return undefined;
  if (kind === "number") return numberOf(text);
  if (kind === "time") return timeOf(text);
  if (kind === "duration") return `${numberOf(text) * DAY_S}s`;
  return text;
}

function pairsSaid(pairs) {
  const named = pairs.filter(([name]) => name.trim());
  return named.length ? Object.fromEntries(named.map(([name, number]) => [name.trim(), numberOf(number)])) : undefined;
}

function variantForm(variant) {
  return {
    name: variant.name ?? "",
    share: String(Number(((variant.share ?? 0) * 100).toFixed(6))),
    modelVersion: variant.modelVersion ?? "",
    scenario: variant.scenario ?? "",
    weights: shownAs("pairs", variant.weights),
  };
}

function variantSaid(form) {
  const variant = {name: form.name.trim(), share: Number((numberOf(form.share) / 100).toFixed(8))};
  if (form.modelVersion) variant.modelVersion = form.modelVersion;
  if (form.scenario) variant.scenario = form.scenario;
  const weights = pairsSaid(form.weights);
  if (weights) variant.weights = weights;
  return variant;
}

// What is no number is sent as 0, which the server refuses with a message of its own.
function numberOf(text) {
  const number = Number(String(text).trim() || "0");
  return Number.isFinite(number) ? number : 0;
}

function timeOf(text) {
  const moment = new Date(text.length <= 10 ? `${text}T00:00:00Z` : `${text}Z`);
  return Number.isNaN(moment.getTime()) ? text : moment.toISOString();
}

// Returns {field, words, drawing} of the server's message about something that is edited: the field that it is about, if it
// is one of it, and the line of an expression with its carets, if it has one.
export function faultOf(kind, name, message) {
  const [first, ...drawing] = message.split("\n");
  const inside = first.match(new RegExp(`^${kind}\\.${name.replace(/[^\w-]/g, "\\$&")}(?:\\.([^:]*))?: (.*)$`, "s"));
  const path = inside?.[1] ?? "";
  const field = path.split(".")[0].replace(/_(.)/g, (_, letter) => letter.toUpperCase());
  const own = {start: "startTime", end: "endTime"}[field] ?? field;
  const known = own === "name" || FIELDS[kind].some((each) => each.name === own);
  if (!inside) return {field: "", words: first, drawing: drawing.join("\n")};
  if (!path) return {field: "name", words: inside[2], drawing: drawing.join("\n")};
  return {field: known ? own : "", words: known ? withPlace(path, inside[2]) : first, drawing: drawing.join("\n")};
}

function withPlace(path, words) {
  const inner = path.split(".").slice(1).join(" ");
  return inner ? `${inner}: ${words}` : words;
}
