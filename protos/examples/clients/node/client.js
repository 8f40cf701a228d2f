// The smallest whole client in Node: publish what a user did, and ask what to show next. See ../README.md.
import { readFileSync } from "node:fs";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";
import { Kafka } from "kafkajs";

const env = process.env;
const address = env.SPRINGTIDE_ADDRESS ?? "localhost:50051";
const caFile = env.SPRINGTIDE_CA_FILE; // Certificates to trust, as PEM; without it the channel is plaintext.
const token = env.SPRINGTIDE_TOKEN;
const brokers = (env.KAFKA_BOOTSTRAP_SERVERS ?? "localhost:9092").split(",");
const topic = env.SPRINGTIDE_TOPIC ?? "springtide.events";
const protos = env.SPRINGTIDE_PROTOS ?? "protos"; // What `springtide protos protos` has written.

const { springtide } = grpc.loadPackageDefinition(
  protoLoader.loadSync("springtide/v1/recommender.proto", { includeDirs: [protos], longs: Number, defaults: true }),
);

// Publish a purchase as JSON, and return the partition and the offset that the broker acknowledged.
async function publish(user, item) {
  const event = { eventTime: new Date().toISOString(), interaction: { user, item, type: "purchase" } };
  const producer = new Kafka({ clientId: "springtide-client", brokers }).producer();
  await producer.connect();
  const [sent] = await producer.send({
    topic,
    messages: [{ key: user, value: JSON.stringify(event), headers: { "content-type": "application/json" } }],
  });
  await producer.disconnect();
  return { partition: sent.partition, offset: Number(sent.baseOffset) };
}

// Ask for a user's recommendations; if an item is given, as they are once its purchase is in the graph.
const [user, item] = process.argv.slice(2);
const request = { user, count: 5 };
if (item !== undefined) {
  const { partition, offset } = await publish(user, item);
  request.minPosition = { nextOffsets: { [partition]: offset + 1 } }; // The answer waits for it, up to a second.
}
const credentials = caFile ? grpc.credentials.createSsl(readFileSync(caFile)) : grpc.credentials.createInsecure();
const recommender = new springtide.v1.RecommenderService(address, credentials);
const metadata = new grpc.Metadata();
if (token) metadata.set("authorization", `Bearer ${token}`);
recommender.recommend(request, metadata, { deadline: Date.now() + 2_000 }, (error, response) => {
  recommender.close();
  if (error) throw error;
  if (response.isBehindMinPosition) console.error("the server has not read the event yet");
  for (const { item, score } of response.items) console.log(`${item}\t${score.toFixed(4)}`);
});
