// What rules, scenarios and experiments say, in words, and whether they hold at a moment.

export const KINDS = {
  rules: {one: "rule", many: "Rules", about: "What is pinned, raised, lowered or left out, for whom and when."},
  scenarios: {one: "scenario", many: "Scenarios", about: "What requests say by naming one, such as the home page."},
  experiments: {one: "experiment", many: "Experiments", about: "Users are divided among variants, and who converts is compared."},
};

export const ACTIONS = {
  RULE_ACTION_PIN: {word: "pin", verb: "pins", about: "Puts the items at a slot and after."},
  RULE_ACTION_BOOST: {word: "boost", verb: "boosts", about: "Multiplies the items' odds by more than 1."},
  RULE_ACTION_BURY: {word: "bury", verb: "buries", about: "Multiplies the items' odds by less than 1."},
  RULE_ACTION_BLOCK: {word: "block", verb: "blocks", about: "Leaves the items out of every answer."},
};

const MAX_SHOWN = 3;

// Returns {state, words} of a rule or an experiment at a moment; `state` is `holds`, `waits` or `over`.
export function stateAt({startTime, endTime}, nowMs) {
  if (startTime && Date.parse(startTime) > nowMs) return {state: "waits", words: `begins ${timeWords(startTime)}`};
  if (endTime && Date.parse(endTime) <= nowMs) return {state: "over", words: `ended ${timeWords(endTime)}`};
  return {state: "holds", words: endTime ? `holds until ${timeWords(endTime)}` : "holds now"};
}

// Returns a time as people write it, in UTC: `2026-12-24`, or `2026-12-24 18:00`.
export function timeWords(time) {
  const text = new Date(time).toISOString();
  return text.endsWith("T00:00:00.000Z") ? text.slice(0, 10) : `${text.slice(0, 10)} ${text.slice(11, 16)}`;
}

// Returns what a rule does: `blocks 1 item (123) for users where …`.
export function ruleWords(rule, nameOf = (item) => item) {
  const words = [ACTIONS[rule.action]?.verb ?? "does nothing with"];
  const items = rule.items ?? [];
  if (items.length) words.push(`${items.length === 1 ? "" : `${items.length.toLocaleString("en")} items: `}${few(items.map(nameOf))}`);
  else if (rule.filter) words.push("all items");
  if (rule.filter) words.push(`where ${rule.filter}`);
  if (rule.factor) words.push(`by ${rule.factor}`);
  if (rule.slot) words.push(`to slot ${rule.slot}`);
  if (rule.segment) words.push(`for users where ${rule.segment}`);
  if (rule.scenarios?.length) words.push(`in ${rule.scenarios.join(", ")}`);
  return words.join(" ");
}

// Returns what a scenario says: `count 12; diversity 0.5`.
export function scenarioWords(scenario) {
  const said = [];
  const say = (name, value) => value !== undefined && value !== "" && said.push(`${name} ${value}`);
  say("only where", scenario.filter);
  say("boosted by", scenario.booster);
  say("count", scenario.count);
  say("diversity", scenario.diversity);
  say("differing in", scenario.diversityAttribute);
  say("at most", pairs(scenario.maxPer, (attribute, most) => `${most} per ${attribute}`));
  say("rotation", scenario.rotationRate);
  say("back after", scenario.rotationTime && durationWords(scenario.rotationTime));
  say("exploration", scenario.exploration);
  say("relevance from", scenario.minRelevance);
  say("without seen in", scenario.excludeSeen?.join(", "));
  say("with attributes", scenario.includeAttributes?.join(", "));
  say("reranked by", scenario.reranker);
  say("weights", pairs(scenario.weights, (name, factor) => `${name} × ${factor}`));
  return said.join("; ") || "as usual";
}

// Returns who gets what: `before 50 %, after 50 % (scenario home)`.
export function experimentWords(experiment) {
  return (experiment.variants ?? []).map((variant) => `${variant.name} ${shareWords(variant.share)}${variantWords(variant, " (", ")")}`).join(", ");
}

// Returns what a variant changes; empty for the usual.
export function variantWords(variant, before = "", after = "") {
  const said = [];
  if (variant.modelVersion) said.push(`model ${variant.modelVersion}`);
  if (variant.scenario) said.push(`scenario ${variant.scenario}`);
  const weights = pairs(variant.weights, (name, factor) => `${name} × ${factor}`);
  if (weights) said.push(weights);
  return said.length ? `${before}${said.join(", ")}${after}` : "";
}

export function shareWords(share) {
  return `${Number(((share ?? 0) * 100).toFixed(2))} %`;
}

// Returns a duration of protobuf's JSON (`604800s`) in its largest whole unit: `7 days`.
export function durationWords(duration) {
  const seconds = Number.parseFloat(duration);
  for (const [unit, length] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (seconds && seconds % length === 0) return `${seconds / length} ${unit}${seconds === length ? "" : "s"}`;
  }
  return `${seconds} s`;
}

function pairs(map, words) {
  return Object.entries(map ?? {}).sort(([one], [other]) => one.localeCompare(other)).map(([name, number]) => words(name, number)).join(", ");
}

function few(values) {
  const more = values.length - MAX_SHOWN;
  return more > 0 ? `${values.slice(0, MAX_SHOWN).join(", ")} and ${more.toLocaleString("en")} more` : values.join(", ");
}
