// The status of the server, once a second, for whoever wants to see it: one stream for the whole console.

import {live} from "./api.js";
import {number} from "./parts/format.js";

const KEPT = 600;  // Samples, one a second: ten minutes.
const ASKS = "RecommenderService/";  // What clients ask for; the console's own questions are no requests.

// What is known now. `problem` is an Error while nothing comes; `status` is then the last one that came.
export const state = {status: null, samples: [], problem: null};

const watchers = new Set();
let connection = null;

// Calls `draw(state)` at each change, until `signal` is aborted.
export function watch(draw, signal) {
  watchers.add(draw);
  signal?.addEventListener("abort", () => watchers.delete(draw));
  if (!connection) connect();
  else draw(state);
}

async function connect() {
  connection?.abort();
  connection = new AbortController();
  const {signal} = connection;
  try {
    for await (const each of live("/v1/now", signal)) {
      if (signal.aborted) return;
      take(each);
      tell();
    }
  } catch (error) {
    if (signal.aborted) return;
    state.problem = error;
    tell();
  }
}

function take({event, data, error}) {
  if (event === "lost") state.problem = error;
  else if (event === "failure") state.problem = failure(data);
  else if (event === "history") {
    const before = JSON.parse(data).map(ofHistory);
    const first = state.samples[0]?.timeMs ?? Infinity;
    state.samples = [...before.filter((sample) => sample.timeMs < first), ...state.samples].slice(-KEPT);
  } else if (event === "status") {
    state.status = JSON.parse(data);
    state.problem = null;
    state.samples = [...state.samples, sampleOf(state.status)].slice(-KEPT);
  }
}

// A refusal comes as JSON, or as plain words.
function failure(data) {
  let said = {message: data};
  try {
    said = JSON.parse(data);
  } catch {
    // Plain words.
  }
  return Object.assign(new Error(said.message ?? data), {code: said.code ?? "unavailable"});
}

const sum = (counts) => Object.values(counts ?? {}).reduce((total, count) => total + number(count), 0);

function sampleOf(status) {
  return {
    timeMs: Date.now(),
    startTime: status.startTime,
    applied: status.numApplied === undefined ? null : number(status.numApplied),
    lag: number(status.lagEvents),
    resident: number(status.residentBytes),
    graphBytes: number(status.graphBytes),
    edges: sum(status.numEdges),
    calls: (status.calls ?? []).reduce((total, {method, numEnded}) => total + (method.includes(ASKS) ? sum(numEnded) : 0), 0),
    deadLetters: sum(status.numDeadLetters),
  };
}

function ofHistory(row) {
  return {
    timeMs: number(row.time_ms),
    startTime: row.start_time,
    applied: number(row.num_applied),
    lag: number(row.lag_events),
    resident: number(row.resident_bytes),
    graphBytes: number(row.graph_bytes),
    edges: number(row.num_edges),
    calls: number(row.num_calls),
    deadLetters: number(row.num_dead_letters),
  };
}

function tell() {
  for (const draw of watchers) draw(state);
}

document.addEventListener("token", connect);
