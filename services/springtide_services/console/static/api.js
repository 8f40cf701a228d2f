// The calls of the server: JSON over POST through the gateway, and what is live as server-sent events.

let token = sessionStorage.getItem("token") ?? "";

// Thrown where the server refuses: `code` is the gRPC status in lower case, such as `unauthenticated`.
export class CallError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

export const hasToken = () => token !== "";

// Sends a token with each call from now on, as long as the tab is open; an empty one takes it away.
export function setToken(value) {
  token = value.trim();
  if (token) sessionStorage.setItem("token", token);
  else sessionStorage.removeItem("token");
  document.dispatchEvent(new Event("token"));
}

// Calls a method, such as `recommender("Recommend", {user: "ann"}, {signal})`; messages are protobuf's JSON, in which
// numbers of 64 bits are texts, and what is 0, false or empty is left out.
export const recommender = (method, request, options) => call("RecommenderService", method, request, options);
export const admin = (method, request, options) => call("AdminService", method, request, options);
export const inspection = (method, request, options) => call("InspectionService", method, request, options);

async function call(service, method, request = {}, {signal} = {}) {
  return json(`/springtide.v1.${service}/${method}`, {method: "POST", body: JSON.stringify(request), signal});
}

// Fetches JSON of a route of the console itself, such as `/v1/dead-letters`.
export async function json(path, options = {}) {
  const response = await answer(path, options, {"content-type": "application/json"});
  return response.json().catch(() => ({}));
}

// Yields {event, data} of a stream of server-sent events, until `signal` is aborted. `EventSource` cannot send a token.
export async function* events(path, signal) {
  const response = await answer(path, {signal}, {accept: "text/event-stream"});
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const {done, value} = await reader.read();
    if (done) return;
    const blocks = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const lines = block.split("\n");
      const of = (name) => lines.filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2));
      if (of("data").length) yield {event: of("event")[0] ?? "message", data: of("data").join("\n")};
    }
  }
}

// As `events`, and connects again by itself: meanwhile it yields {event: "lost", error}. What a token would change is
// thrown.
export async function* live(path, signal) {
  for (let pauseMs = 500; !signal.aborted; pauseMs = Math.min(2 * pauseMs, 8000)) {
    let error = new CallError("unavailable", "The console has closed the connection.");
    try {
      for await (const each of events(path, signal)) {
        pauseMs = 500;
        yield each;
      }
    } catch (problem) {
      if (signal.aborted) return;
      if (["unauthenticated", "permission_denied"].includes(problem.code)) throw problem;
      if (problem instanceof CallError) error = problem;
    }
    if (signal.aborted) return;
    yield {event: "lost", error};
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

async function answer(path, options, headers) {
  const all = token ? {...headers, authorization: `Bearer ${token}`} : headers;
  let response;
  try {
    response = await fetch(path, {...options, headers: {...all, ...options.headers}});
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new CallError("unavailable", "The console does not answer. Is it still running?");
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  const error = new CallError(body.code ?? String(response.status), body.message || response.statusText || "No reason was given.");
  if (error.code === "unauthenticated") {
    document.dispatchEvent(new CustomEvent("unauthenticated", {detail: error.message}));
  }
  throw error;
}
