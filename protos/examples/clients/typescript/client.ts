// The smallest whole client in TypeScript, through the gateway: publish what a user did, and ask what to show next. Of Node
// it takes only arguments and variables, so the same code runs in a page. See ../README.md.
import { fromJson } from "@bufbuild/protobuf";
import { createClient, type Interceptor } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { GraphPositionSchema, RecommenderService, type GraphPosition } from "./generated/springtide/v1/recommender_pb.js";

declare const process: { argv: string[]; env: Record<string, string | undefined> };

const gateway = process.env.SPRINGTIDE_GATEWAY ?? "http://localhost:8088";
const token = process.env.SPRINGTIDE_TOKEN;
const headers: Record<string, string> = token ? { authorization: `Bearer ${token}` } : {};

const authorize: Interceptor = (next) => (request) => {
  for (const [name, value] of Object.entries(headers)) request.header.set(name, value);
  return next(request);
};
const transport = createConnectTransport({ baseUrl: gateway, interceptors: [authorize] });
const recommender = createClient(RecommenderService, transport);

// Publish a purchase, and return the position at which the graph has it.
async function publish(user: string, item: string): Promise<GraphPosition> {
  const event = { eventTime: new Date().toISOString(), interaction: { user, item, type: "purchase" } };
  const response = await fetch(`${gateway}/v1/events`, {
    method: "POST",
    headers: { ...headers, "content-type": "application/json" },
    body: JSON.stringify(event),
  });
  const body = await response.json();
  if (!response.ok) throw new Error(`${body.code}: ${body.message}`);
  return fromJson(GraphPositionSchema, body.position);
}

// Ask for a user's recommendations; if an item is given, as they are once its purchase is in the graph.
const [user, item] = process.argv.slice(2);
const minPosition = item === undefined ? undefined : await publish(user, item);
const answer = await recommender.recommend({ user, count: 5, minPosition }, { timeoutMs: 2_000 });
if (answer.isBehindMinPosition) console.error("the server has not read the event yet");
for (const { item, score } of answer.items) console.log(`${item}\t${score.toFixed(4)}`);
