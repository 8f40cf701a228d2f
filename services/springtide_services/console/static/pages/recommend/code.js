// A request as code, ready to copy: grpcurl, Python, curl.

import {html} from "../../vendor/lit-html.js";
import {hasToken, json} from "../../api.js";
import {tabs} from "../../parts/cards.js";
import {copyButton} from "../../parts/copy.js";
import {openDialog} from "../../parts/dialog.js";

const METHOD = "springtide.v1.RecommenderService/Recommend";
const CHOICES = [["grpcurl", "grpcurl"], ["python", "Python"], ["curl", "curl"]];

// Opens a dialog with a request, a RecommendRequest as JSON.
export async function openCode(request, signal) {
  const server = await json("/v1/console", {signal}).catch(() => ({}));
  const [address, hasTls] = [reachable(server.address), Boolean(server.hasTls)];
  let chosen = CHOICES[0][0];
  const choose = (name) => {
    chosen = name;
    dialog.draw();
  };
  const code = () => ({grpcurl, python, curl})[chosen](request, {address, hasTls});
  if (signal.aborted) return;
  const dialog = openDialog({
    title: "This request as code",
    wide: true,
    signal,
    body: () => html`<div class="stack">${tabs(CHOICES, chosen, choose, "Language")}
      <pre class="code" tabindex="0" aria-label=${chosen}>${code()}</pre>
      <div class="actions">${copyButton(code)}</div></div>`,
  });
}

// A server that listens on all addresses is reached where the console is.
function reachable(address) {
  if (!address) return "localhost:50051";
  return address.replace(/^(0\.0\.0\.0|\[::\])(?=:)/, location.hostname);
}

// A text between single quotes of a shell.
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export function grpcurl(request, {address, hasTls}) {
  const token = hasToken() ? ' \\\n  -H "authorization: Bearer $SPRINGTIDE_TOKEN"' : "";
  return `grpcurl${hasTls ? "" : " -plaintext"}${token} \\\n  -d ${quoted(JSON.stringify(request))} \\\n  ${address} ${METHOD}`;
}

export function curl(request) {
  const token = hasToken() ? ' \\\n  -H "authorization: Bearer $SPRINGTIDE_TOKEN"' : "";
  return `curl ${location.origin}/${METHOD} \\\n  -H 'content-type: application/json'${token} \\\n  -d ${quoted(JSON.stringify(request))}`;
}

export function python(request, {address, hasTls}) {
  const token = hasToken() ? ', token=os.environ["SPRINGTIDE_TOKEN"]' : "";
  return `${hasToken() ? "import os\n\n" : ""}from google.protobuf.json_format import ParseDict
from springtide.client import Client${hasTls ? ", Tls" : ""}
from springtide.v1.recommender_pb2 import RecommendRequest

request = ParseDict(${literal(request)}, RecommendRequest())
with Client("${address}"${token}${hasTls ? ", tls=Tls()" : ""}) as client:
    answer = client.recommend(request, timeout_s=1.0)
for item in answer.items:
    print(item.item, item.score)
`;
}

// A value of JSON as Python writes it. Texts of JSON are texts of Python.
function literal(value, indent = "") {
  const deeper = `${indent}    `;
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) return `[${value.map((each) => literal(each, deeper)).join(", ")}]`;
  if (typeof value !== "object") return JSON.stringify(value);
  const rows = Object.entries(value).map(([name, each]) => `${deeper}${JSON.stringify(name)}: ${literal(each, deeper)},`);
  return `{\n${rows.join("\n")}\n${indent}}`;
}
