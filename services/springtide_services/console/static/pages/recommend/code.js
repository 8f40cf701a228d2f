// A request as code, ready to copy: grpcurl, Python, curl.

import {html} from "../../vendor/lit-html.js";
import {hasToken} from "../../api.js";
import {tabs} from "../../parts/cards.js";
import {copyButton} from "../../parts/copy.js";
import {openDialog} from "../../parts/dialog.js";

const METHOD = "springtide.v1.RecommenderService/Recommend";
const CHOICES = [["grpcurl", "grpcurl"], ["python", "Python"], ["curl", "curl"]];

// Opens a dialog with a request, a RecommendRequest as JSON. `address` is where the server's gRPC listens.
export function openCode(request, signal, address = "localhost:50051") {
  let chosen = CHOICES[0][0];
  const choose = (name) => {
    chosen = name;
    dialog.draw();
  };
  const code = () => ({grpcurl: grpcurl(request, address), python: python(request, address), curl: curl(request)})[chosen];
  const dialog = openDialog({
    title: "This request as code",
    wide: true,
    signal,
    body: () => html`<div class="stack">${tabs(CHOICES, chosen, choose, "Language")}
      <pre class="code" tabindex="0" aria-label=${chosen}>${code()}</pre>
      <div class="actions">${copyButton(code)}</div></div>`,
  });
}

// A text between single quotes of a shell.
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export function grpcurl(request, address) {
  const token = hasToken() ? ' \\\n  -H "authorization: Bearer $SPRINGTIDE_TOKEN"' : "";
  return `grpcurl -plaintext${token} \\\n  -d ${quoted(JSON.stringify(request))} \\\n  ${address} ${METHOD}`;
}

export function curl(request) {
  const token = hasToken() ? ' \\\n  -H "authorization: Bearer $SPRINGTIDE_TOKEN"' : "";
  return `curl ${location.origin}/${METHOD} \\\n  -H 'content-type: application/json'${token} \\\n  -d ${quoted(JSON.stringify(request))}`;
}

export function python(request, address) {
  const token = hasToken() ? ', metadata=[("authorization", f"Bearer {os.environ[\'SPRINGTIDE_TOKEN\']}")]' : "";
  return `${hasToken() ? "import os\n\n" : ""}import grpc
from google.protobuf import json_format
from springtide.v1 import recommender_pb2, recommender_pb2_grpc

request = json_format.ParseDict(${literal(request)}, recommender_pb2.RecommendRequest())
with grpc.insecure_channel("${address}") as channel:
    answer = recommender_pb2_grpc.RecommenderServiceStub(channel).Recommend(request, timeout=1.0${token})
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
