// Connect's own clients before the gateway: each protocol and format, an answer, a stream, and a refusal with its details.
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { RecommenderService } from "./built/generated/springtide/v1/recommender_pb.js";

const [baseUrl, token] = process.argv.slice(2);
const authorize = (next) => (request) => {
  request.header.set("authorization", `Bearer ${token}`);
  return next(request);
};
const transports = {
  connect: createConnectTransport({ baseUrl, useBinaryFormat: true, interceptors: [authorize] }),
  json: createConnectTransport({ baseUrl, useBinaryFormat: false, interceptors: [authorize] }),
  "grpc-web": createGrpcWebTransport({ baseUrl, useBinaryFormat: true, interceptors: [authorize] }),
  "grpc-web json": createGrpcWebTransport({ baseUrl, useBinaryFormat: false, interceptors: [authorize] }),
};

async function refusalOf(call) {
  try {
    await call();
    return null;
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    const details = error.details.map((detail) => detail.type);
    return { code: Code[error.code], message: error.rawMessage, details };
  }
}

const found = {};
for (const [name, transport] of Object.entries(transports)) {
  const client = createClient(RecommenderService, transport);
  const answer = await client.recommend({ user: "bob", count: 2 }, { timeoutMs: 20_000 });
  const indexes = [];
  const requests = [{ user: "ann", count: 1 }, { user: "bob", count: 1 }];
  for await (const each of client.recommendBatch({ requests }, { timeoutMs: 20_000 })) indexes.push(each.index);
  found[name] = {
    items: answer.items.map((item) => item.item),
    indexes,
    refused: await refusalOf(() => client.recommend({ user: "ann", count: -1 })),
    refusedStream: await refusalOf(async () => {
      for await (const _ of client.recommendBatch({ requests: [] }));
    }),
  };
}
// They wait for an event that never comes, for 9 s. Within the deadline the server answers what it has; on a busy machine the
// client's own clock may be quicker.
const waiting = { user: "ann", minPosition: { nextOffsets: { 0: 1_000_000n } }, wait: { seconds: 9n } };
await Promise.all(
  Object.entries(transports).map(async ([name, transport]) => {
    const client = createClient(RecommenderService, transport);
    const started = performance.now();
    const late = await refusalOf(async () => {
      found[name].isBehind = (await client.recommend(waiting, { timeoutMs: 1_500 })).isBehindMinPosition;
    });
    found[name].isLate = late?.code === "DeadlineExceeded";
    found[name].tookMs = performance.now() - started;
  }),
);
console.log(JSON.stringify(found));
