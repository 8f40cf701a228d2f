// What goes on now: the stream, the graph, requests; it draws itself anew each second.

import {html, nothing, render} from "../vendor/lit-html.js";
import {watch} from "../status.js";
import {bars} from "../parts/bars.js";
import {badge, card, facts, figure} from "../parts/cards.js";
import {errorPanel, loading} from "../parts/errors.js";
import * as format from "../parts/format.js";
import * as icons from "../parts/icons.js";
import {rates, sparkline} from "../parts/sparkline.js";
import {link} from "../router.js";

const {number} = format;
const SPAN_MS = 300_000;
const GAP_MS = 20_000;
const LEAST_SPAN_MS = 30_000;  // While the page has seen little, the lines show that, wider.

export async function show(element, args, signal) {
  watch((state) => {
    if (!signal.aborted) render(view(state), element);
  }, signal);
  if (!element.firstElementChild) render(html`<h1>Now</h1>${loading(6)}`, element);
}

function view({status, samples, problem}) {
  if (!status) return html`<div class="page-head"><h1>Now</h1></div>${problem ? errorPanel(problem) : loading(6)}`;
  return html`
    <div class="page-head"><h1>Now</h1><p>${since(status)}</p></div>
    <div class="stack">
      ${problem ? errorPanel(problem) : ""}${problems(status)}
      <div class=${problem ? "grid stale" : "grid"}>${figures(status, samples)}</div>
      <div class="columns">
        <div class="stack">${requests(status)}${stream(status)}</div>
        <div class="stack">${serves(status)}${graph(status)}${deadLetters(status)}</div>
      </div>
    </div>`;
}

const since = ({startTime, role}) =>
  [startTime && `Up for ${format.duration((Date.now() - format.timeMs(startTime)) / 1000)}`, role && (role === "writer" ? "writes the checkpoints" : "reads beside the writer")]
    .filter(Boolean)
    .join(", ");

function figures(status, samples) {
  const events = rates(samples, "applied");
  const calls = rates(samples, "calls");
  const last = (points) => points.at(-1)?.value ?? null;
  const rate = (value) => (value === null ? "–" : format.decimal(Math.round(value * 10) / 10));
  const over = (name) => samples.map((sample) => ({timeMs: sample.timeMs, value: sample[name]}));
  const untilMs = samples.at(-1)?.timeMs;
  const spanMs = Math.max(LEAST_SPAN_MS, Math.min(SPAN_MS, untilMs - (seenSince(samples) ?? untilMs)));
  const line = (points, label, floor) => sparkline(points, {spanMs, untilMs, label: `${label}, over ${format.duration(spanMs / 1000)}`, floor});
  const lag = number(status.lagEvents);
  const limit = number(status.memoryLimitBytes);
  const share = limit ? number(status.residentBytes) / limit : 0;
  const edges = Object.values(status.numEdges ?? {}).reduce((sum, each) => sum + number(each), 0);
  return [
    figure({
      title: "Events", value: rate(last(events)), unit: "a second",
      note: status.numApplied === undefined ? "" : `${format.count(status.numApplied)} since the start`,
      more: line(events, `Events a second, now ${rate(last(events))}`, 2),
    }),
    figure({
      title: "Lag", value: lag < 0 ? "unknown" : format.compact(lag), unit: lag < 0 ? "" : lag === 1 ? "event" : "events",
      kind: lag < 0 || status.streamHealth === "behind" ? "warn" : "",
      note: lag < 0 ? "The broker does not say how far it is." : lag === 0 ? "All that the broker has is in the graph." : "The broker has more than the graph.",
      more: line(over("lag").map((point) => ({...point, value: Math.max(0, point.value)})), `Lag, now ${lag}`, 20),
    }),
    figure({
      title: "Requests", value: rate(last(calls)), unit: "a second",
      note: `${format.plural(status.numOpenCalls, "call")} open now`,
      more: line(calls, `Requests a second, now ${rate(last(calls))}`, 2),
    }),
    figure({
      title: "Memory", value: number(status.residentBytes) ? format.bytes(status.residentBytes) : format.bytes(status.graphBytes),
      kind: share > 0.9 ? "bad" : share > 0.75 ? "warn" : "",
      note: limit ? `${format.percent(share)} of ${format.bytes(limit)}; the graph takes ${format.bytes(status.graphBytes)}` : "of the graph's columns",
      more: line(over("resident"), `Memory, now ${format.bytes(status.residentBytes)}`, limit || 1),
    }),
    figure({
      title: "Edges", value: format.compact(edges), note: growth(samples, status, edges),
      more: line(rates(samples, "edges", 15_000), "Growth of the graph, edges a second", 2),
    }),
  ];
}

// Returns since when samples came one after the other: nobody asks for them while nobody looks.
function seenSince(samples) {
  let at = samples.length - 1;
  while (at > 0 && samples[at].timeMs - samples[at - 1].timeMs < GAP_MS) at -= 1;
  return samples[at]?.timeMs;
}

function growth(samples, status, edges) {
  const first = samples.find((sample) => sample.timeMs >= samples.at(-1).timeMs - 60_000);
  const grown = first ? edges - first.edges : 0;
  const most = number(status.maxEdges);
  const grew = grown > 0 ? `${format.count(grown)} more in the last minute` : "none more in the last minute";
  return most ? `${grew}; kept up to ${format.compact(most)} of a type` : grew;
}

// What is wrong, each with its way out; nothing where all is well.
function problems(status) {
  const found = [];
  const notice = (title, text, kind = "warn", more = "") =>
    found.push(html`<div class="notice notice-${kind}" role="alert">${icons.warning}<div><h2>${title}</h2><p class="said">${text}</p>${more}</div></div>`);
  const {streamProblem, bypassedModel} = status;
  if (streamProblem) {
    notice(
      streamProblem.isFinal ? "The stream has ended until the server is started again" : "The stream waits, and the server tries again",
      streamProblem.message, "bad",
      html`<p class="note">${streamProblem.kind}, since ${format.relative(streamProblem.since)}</p>`,
    );
  }
  for (const part of status.failingParts ?? []) {
    notice(
      `A plugin fails: ${part.part}`, part.reason, "warn",
      html`<p class="note">${part.origin}, in ${part.hook}: ${format.plural(part.numFailed, "call")} failed, the last
        ${format.relative(part.latestTime)}. Answers are given without it${part.isBlocked ? "; it does not return" : ""}.</p>`,
    );
  }
  if (bypassedModel) {
    notice(`Version ${bypassedModel.version} cannot be loaded`, bypassedModel.fault, "bad",
      html`<p class="note">${bypassedModel.instead ? `Version ${bypassedModel.instead} answers instead.` : "No model answers."}
        <code>springtide models rollback</code> makes the one before it current.</p>`);
  }
  if (status.steering?.fault) notice("The newest rules do not hold", status.steering.fault);
  for (const reason of status.rebuildReasons ?? []) notice("The graph lacks something", `${reason} springtide rebuild reads the events again.`);
  for (const gap of status.streamGaps ?? []) {
    notice("Events are missing", `Partition ${gap.partition ?? 0} of ${gap.topic}: ${format.count(number(gap.toOffset) - number(gap.fromOffset))} events were skipped (${gap.reason}), found ${format.relative(gap.foundTime)}.`);
  }
  for (const damaged of status.damagedCheckpoints ?? []) notice(`Checkpoint ${damaged.name} is damaged`, `${damaged.fault}. ${damaged.instead}`);
  if (status.packagesNotAllowed?.length) {
    const names = status.packagesNotAllowed.map((each) => each.distribution).join(", ");
    notice("Plugins are installed that the settings do not let in", `${names}: plugins.allow names what may be imported.`);
  }
  return found;
}

function requests(status) {
  const calls = (status.calls ?? []).filter((each) => Object.keys(each.numEnded ?? {}).length);
  const sorted = [...calls].sort((a, b) => number(b.numLastMinute) - number(a.numLastMinute) || a.method.localeCompare(b.method));
  const most = Math.max(...sorted.map((each) => number(each.p99Ms)), 1);
  const cell = (ms, more = "") => html`<td class="end ${more}">${number(ms) ? format.milliseconds(ms) : "–"}</td>`;
  return card(
    "Requests",
    sorted.length
      ? html`<div class="table-frame" tabindex="0" role="region" aria-label="Requests by method"><table>
          <caption class="unseen">Requests by method, and how long they took</caption>
          <thead><tr><th scope="col">Method</th><th scope="col" class="end">Last minute</th><th scope="col" class="end">p50</th>
            <th scope="col" class="end p95">p95</th><th scope="col" class="end">p99</th><th scope="col" class="spread">Spread</th></tr></thead>
          <tbody>${sorted.map((each) => html`<tr>
            <td>${each.method.split("/").pop()} ${faults(each)}</td>
            <td class="end">${format.count(each.numLastMinute)}</td>${cell(each.p50Ms)}${cell(each.p95Ms, "p95")}${cell(each.p99Ms)}
            <td class="spread" aria-hidden="true"><span class="spread-track" .style=${spread(each, most)}></span></td>
          </tr>`)}</tbody></table></div>`
      : html`<p class="note">Nobody has asked since the start.</p>`,
    {note: "Time in the server, without the network, of the last minute."},
  );
}

// Where the bar of a method begins and ends, on a scale of logarithms: from the median to the 99th percentile.
function spread(each, most) {
  if (!number(each.p50Ms)) return "display:none";
  const at = (ms) => (100 * Math.log1p(20 * ms)) / Math.log1p(20 * most);
  return `inset-inline:${at(number(each.p50Ms)) - 1}% ${100 - at(number(each.p99Ms))}%`;
}

function faults({numEnded}) {
  const refused = Object.entries(numEnded).filter(([status]) => status !== "OK");
  const total = refused.reduce((sum, [, each]) => sum + number(each), 0);
  return total ? html`<span class="badge" title=${refused.map(([name, each]) => `${name} ${each}`).join(", ")}>${format.compact(total)} refused</span>` : "";
}

const HEALTH = {
  reading: ["reads", "good"], catching_up: ["catches up", "accent"], behind: ["is behind", "warn"],
  silent: ["the broker is silent", "warn"], waiting: ["waits", "bad"], ended: ["has ended", "bad"],
};

function stream(status) {
  const [word, kind] = HEALTH[status.streamHealth] ?? [status.streamHealth, ""];
  return card(
    "Stream",
    facts([
      ["Newest event", status.newestEventTime && `${format.dateTime(status.newestEventTime)} UTC`],
      ["Requests without a time are for", status.asOfMs && `${format.dateTime(status.asOfMs)} UTC, ${status.asOfSource === "MOMENT_SOURCE_STREAM" ? "the stream's own time" : "the wall clock"}`],
      ["Last checkpoint", status.checkpointTime ? format.relative(status.checkpointTime) : "none yet"],
      ["Partitions", Object.keys(status.position?.nextOffsets ?? {}).length],
      ["Silent partitions", status.silentPartitions?.join(", ")],
      ["Repeated events, ignored", number(status.numDuplicates) ? format.count(status.numDuplicates) : ""],
      ["Writes the checkpoints", status.writer],
    ]),
    {end: word ? badge(word, kind) : ""},
  );
}

function serves(status) {
  const {training, liveQuality, index} = status;
  const recent = liveQuality?.recent?.all;
  return card(
    "What serves",
    html`<p class="serving">${status.modelVersion ? html`Model <strong>${status.modelVersion}</strong>` : html`<strong>No model yet</strong>: popularity, trend and repeat purchases answer`}</p>
      ${training ? progress(training) : html`<p class="note">No training since the start.</p>`}
      ${facts([
        ["Live NDCG@20", recent?.numQuestions && `${format.decimal(recent.ndcgAt20)} over ${format.plural(recent.numQuestions, "event")}`],
        ["Live hit rate@20", recent?.numQuestions && format.percent(recent.hitRateAt20)],
        ["Index", index && `${index.name}, ${index.state}`],
        ["Beside it, for experiments", status.variantVersions?.join(", ")],
        ["Rules, scenarios, experiments", status.steering && `${number(status.steering.numRules)}, ${number(status.steering.numScenarios)}, ${number(status.steering.numExperiments)}`],
        ["Plugins", status.plugins?.length && format.count(status.plugins.length)],
      ])}`,
    {end: html`<a href=${link("models")}>Models</a>`},
  );
}

function progress(training) {
  const {stage, failure} = training;
  const mode = (training.mode ?? "TRAINING_MODE_RETRAIN").replace("TRAINING_MODE_", "").replace("UNSPECIFIED", "training").replace("_", "-").toLowerCase();
  const when = format.relative(training.updateTime);
  if (stage === "failed" || stage === "unreadable") {
    return html`<div class="notice notice-bad" role="alert">${icons.warning}<div><h2>The last training failed</h2><p class="said">${failure}</p><p class="note">${when}</p></div></div>`;
  }
  if (stage === "done") {
    return html`<p class="note">The last ${mode} ended ${when}${training.modelVersion ? html` and made version <strong>${training.modelVersion}</strong>` : ""}.</p>`;
  }
  const [done, total] = [number(training.done), number(training.total)];
  const loss = training.loss === undefined ? "" : `, loss ${format.decimal(training.loss)}`;
  return html`<div class="training" role="progressbar" aria-label="Training" aria-valuemin="0" aria-valuemax=${total || nothing} aria-valuenow=${total ? done : nothing}>
    ${bars([{name: `${mode}: ${stage.replaceAll("_", " ")}`, value: done, max: total || 1, text: total ? format.percent(done / total) : format.count(done)}])}
    <p class="note">It goes on in its own process${loss}.</p>
  </div>`;
}

function graph(status) {
  const rows = (counts) => Object.entries(counts ?? {}).sort(([, a], [, b]) => number(b) - number(a));
  const [nodes, edges] = [rows(status.numNodes), rows(status.numEdges)];
  const most = number(status.maxEdges);
  return card("Graph", html`
    ${nodes.length ? facts(nodes.map(([type, each]) => [`${type} nodes`, format.count(each)])) : html`<p class="note">The graph is empty: publish events to <code>springtide.events</code>.</p>`}
    ${edges.length ? html`<h3 class="above-bars">Edges${most ? `, of at most ${format.compact(most)} of a type` : ""}</h3>${bars(edges.map(([type, each]) => ({
      name: type.split(":").join(" – "), value: number(each), max: most || number(edges[0][1]), text: format.compact(each),
      kind: most && number(each) > 0.9 * most ? "warn" : "",
    })))}` : ""}`, {note: `${format.bytes(status.graphBytes)} of columns`});
}

function deadLetters(status) {
  const rows = Object.entries(status.numDeadLetters ?? {}).sort(([, a], [, b]) => number(b) - number(a));
  const most = Math.max(...rows.map(([, each]) => number(each)), 1);
  const lost = number(status.numDeadLettersNotWritten);
  return card(
    "Dead letters",
    html`${rows.length ? bars(rows.map(([reason, each]) => ({name: reason.replaceAll("_", " "), value: number(each), max: most, text: format.count(each), kind: "warn"})))
      : html`<p class="note">Every event since the start could be taken.</p>`}
      ${lost ? html`<p class="note">${format.count(lost)} of them are not in the dead-letter topic.</p>` : ""}`,
    {end: rows.length ? html`<a href=${link("data", [], {tab: "letters"})}>Look at them</a>` : "", note: rows.length ? "Events that could not be taken since the start, by reason." : ""},
  );
}
