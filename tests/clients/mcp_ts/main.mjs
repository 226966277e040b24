// Call the tools of a service with the TypeScript SDK of both generations of the protocol:
//
//   npm install && node main.mjs http://127.0.0.1:8000/mcp "what to find" [KEY]
//
// Prints a line of JSON for each client; ends with 1 if one of them fails.

import { readFileSync } from "node:fs";

import * as modern from "@modelcontextprotocol/client";
import { Client as LegacyClient } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as LegacyTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [url, query = "", key] = process.argv.slice(2);
const headers = key ? { authorization: `Bearer ${key}` } : {};
const { dependencies } = JSON.parse(readFileSync(new URL("package.json", import.meta.url)));
const identity = { name: "vecdb-rerank-tests", version: "1.0.0" };

const clients = [
  ["@modelcontextprotocol/sdk", new LegacyClient(identity), LegacyTransport],
  [
    "@modelcontextprotocol/client",
    new modern.Client(identity, { versionNegotiation: { mode: "auto" } }),
    modern.StreamableHTTPClientTransport,
  ],
];

// The JSON in the one text item of a tool's result, and whether it is an error's sentence.
async function call(client, name, args) {
  const { content, isError = false } = await client.callTool({ name, arguments: args });
  if (content.length !== 1 || content[0].type !== "text") throw new Error("expected one text item");
  return isError ? { error: content[0].text } : JSON.parse(content[0].text);
}

async function run(name, client, Transport) {
  const transport = new Transport(new URL(url), { requestInit: { headers } });
  await client.connect(transport);
  try {
    const { tools } = await client.listTools();
    const { results } = await call(client, "search", { query, limit: 3 });
    const document = await call(client, "fetch", { id: results[0].id });
    const missing = await call(client, "fetch", { id: "str:missing" });
    return {
      client: `${name} ${dependencies[name]}`,
      call: "search, fetch",
      protocol: client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion,
      tools: tools.map((tool) => ({ name: tool.name, readOnly: tool.annotations?.readOnlyHint })),
      results,
      document,
      missing,
    };
  } finally {
    await client.close();
  }
}

for (const [name, client, Transport] of clients) {
  console.log(JSON.stringify(await run(name, client, Transport)));
}
