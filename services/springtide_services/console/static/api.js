// The calls of the server: JSON over POST through the gateway, and what is live as server-sent events.

let token = sessionStorage.getItem("token") ?? "";

// Thrown where the server refuses: `code` is the gRPC status in lower case, such as `unauthenticated`.
export class CallError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

export function setToken(value) {
  token = value.trim();
  sessionStorage.setItem("token", token);
}

// Calls a method, such as `recommender("Recommend", {user: "ann"})`; messages are protobuf's JSON.
export const recommender = (method, request, options) => call("RecommenderService", method, request, options);
export const admin = (method, request, options) => call("AdminService", method, request, options);
export const inspection = (method, request, options) => call("InspectionService", method, request, options);

async function call(service, method, request = {}, {signal} = {}) {
  return json(`/springtide.v1.${service}/${method}`, {method: "POST", body: JSON.stringify(request), signal});
}

// Fetches JSON of a route of the console itself, such as `/v1/dead-letters`.
export async function json(path, options = {}) {
  let response;
  try {
    response = await fetch(path, {...options, headers: headers({"content-type": "application/json"})});
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new CallError("unavailable", "The console does not answer. Is it still running?");
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new CallError(body.code ?? String(response.status), body.message ?? response.statusText);
  return body;
}

// Yields {event, data} of a stream of server-sent events, until `signal` is aborted. `EventSource` cannot send a token.
export async function* events(path, signal) {
  const response = await fetch(path, {headers: headers({accept: "text/event-stream"}), signal});
  if (!response.ok) {
    const body = await response.json().catch(() => ({}));
    throw new CallError(body.code ?? String(response.status), body.message ?? response.statusText);
  }
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

function headers(more) {
  return token ? {...more, authorization: `Bearer ${token}`} : more;
}
