// Rerank with Cohere's SDK and with LangChain:
//
//   npm install && node main.mjs http://127.0.0.1:8000 KEY ../question.json
//
// Prints a line of JSON for each call.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

import { CohereRerank } from "@langchain/cohere";
import { Document } from "@langchain/core/documents";
import { CohereClient, CohereClientV2, CohereError } from "cohere-ai";

const [environment, token, file] = process.argv.slice(2);
const { query, documents } = JSON.parse(readFileSync(file));
const { dependencies } = JSON.parse(readFileSync(new URL("package.json", import.meta.url)));
const model = "rerank-v3.5";

function report(name, call, found) {
  console.log(JSON.stringify({ client: `${name} ${dependencies[name]}`, call, ...found }));
}

const pairs = (results) => ({ ranked: results.map((one) => [one.index, one.relevanceScore]) });

const v2 = await new CohereClientV2({ environment, token }).rerank({ model, query, documents, topN: 3 });
report("cohere-ai", "CohereClientV2.rerank", pairs(v2.results));

const v1 = await new CohereClient({ environment, token }).rerank({ model, query, documents, returnDocuments: true });
for (const { index, document } of v1.results) {
  if (document.text !== documents[index]) throw new Error("expected the text of the document");
}
report("cohere-ai", "CohereClient.rerank", pairs(v1.results));

const stranger = new CohereClientV2({ environment, token: "not the key" });
const error = await stranger.rerank({ model, query, documents }).catch((error) => error);
if (!(error instanceof CohereError)) throw new Error("expected an error of the SDK");
report("cohere-ai", "CohereClientV2.rerank with a wrong key", { status: error.statusCode });

// LangChain takes a client of the SDK's version that it depends on.
const langchainsOwn = createRequire(import.meta.resolve("@langchain/cohere"))("cohere-ai");
const client = new langchainsOwn.CohereClient({ environment, token });
const reranker = new CohereRerank({ client, model, topN: 3 });
const found = await reranker.compressDocuments(
  documents.map((pageContent) => new Document({ pageContent })),
  query,
);
report("@langchain/cohere", "CohereRerank.compressDocuments", {
  ranked: found.map((one) => [documents.indexOf(one.pageContent), one.metadata.relevanceScore]),
});
report("@langchain/cohere", "CohereRerank.rerank", pairs(await reranker.rerank(documents, query)));
