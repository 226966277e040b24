# /// script
# dependencies = ["boto3", "cohere", "contextual-client", "dashscope", "mixedbread", "pinecone",
#   "google-cloud-discoveryengine", "voyageai", "zeroentropy"]
# ///
"""Record what the SDKs of rerank services send to a local server, into ``sdk_requests.json``.

Run it in an environment of its own: ``uv run tests/rerankers/record_sdks.py``. The SDKs do not all
fit the constraints of this project.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

QUERY = "How long do I boil an egg?"
DOCUMENTS = ["Six minutes.", "A treaty.", "Granite."]
INSTRUCTION = "prefer official documentation"
ARN = "arn:aws:bedrock:us-west-2::foundation-model/amazon.rerank-v1:0"
FLAT: dict[str, Any] = {"query": QUERY, "documents": DOCUMENTS}
SCORES = {0: 0.9, 2: 0.5, 1: 0.1}
RESULTS = [{"index": n, "relevance_score": score} for n, score in SCORES.items()]
DATA = [{"index": n, "score": score} for n, score in SCORES.items()]
KEPT = ("authorization", "api-key", "x-pinecone-api-version")


class Server(ThreadingHTTPServer):
    """Answers every request with ``answer`` and keeps the last one."""

    answer: object = None
    path: str = ""
    headers: Mapping[str, str] = {}
    body: object = None


class Handler(BaseHTTPRequestHandler):
    """Reads and answers one request."""

    server: Server

    def do_POST(self) -> None:
        """Keep the request, and answer it."""
        self.server.path = self.path.partition("?")[0]
        self.server.headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        content = json.dumps(self.server.answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def cohere(url: str) -> None:
    """Call version 2 of Cohere's API."""
    import_module("cohere").ClientV2("KEY", base_url=url).rerank(model="rerank-v3.5", **FLAT)


def cohere_v1(url: str) -> None:
    """Call version 1 of Cohere's API."""
    client = import_module("cohere").Client("KEY", base_url=url)
    client.rerank(model="rerank-v3.5", return_documents=False, **FLAT)


def voyage(url: str) -> None:
    """Call Voyage AI."""
    client = import_module("voyageai").Client(api_key="KEY", base_url=f"{url}/v1")
    client.rerank(QUERY, DOCUMENTS, model="rerank-2.5")


def mixedbread(url: str) -> None:
    """Call Mixedbread."""
    client = import_module("mixedbread").Mixedbread(api_key="KEY", base_url=url)
    client.rerank(
        model="mxbai-rerank-large-v2", query=QUERY, input=DOCUMENTS, top_k=3, return_input=False
    )


def pinecone(url: str) -> None:
    """Call Pinecone."""
    client = import_module("pinecone").Pinecone(api_key="KEY", host=url)
    client.inference.rerank(model="bge-reranker-v2-m3", return_documents=False, **FLAT)


def zeroentropy(url: str) -> None:
    """Call ZeroEntropy."""
    client = import_module("zeroentropy").ZeroEntropy(api_key="KEY", base_url=f"{url}/v1")
    client.models.rerank(model="zerank-2", **FLAT)


def dashscope(url: str) -> None:
    """Call Alibaba's DashScope."""
    sdk: Any = import_module("dashscope")
    sdk.base_http_api_url = f"{url}/api/v1"
    options = {"return_documents": False, "instruct": INSTRUCTION, "api_key": "KEY"}
    sdk.TextReRank.call(model="qwen3-rerank", **FLAT, **options)


def contextual(url: str) -> None:
    """Call Contextual AI."""
    client = import_module("contextual").ContextualAI(api_key="KEY", base_url=f"{url}/v1")
    model = "ctxl-rerank-v2-instruct-multilingual"
    client.rerank.create(model=model, instruction=INSTRUCTION, **FLAT)


def bedrock(url: str) -> None:
    """Call Amazon Bedrock."""
    client = import_module("boto3").client(
        "bedrock-agent-runtime",
        region_name="us-west-2",
        endpoint_url=url,
        aws_access_key_id="a",
        aws_secret_access_key="b",
    )
    client.rerank(
        queries=[{"type": "TEXT", "textQuery": {"text": QUERY}}],
        sources=[
            {
                "type": "INLINE",
                "inlineDocumentSource": {"type": "TEXT", "textDocument": {"text": text}},
            }
            for text in DOCUMENTS
        ],
        rerankingConfiguration={
            "type": "BEDROCK_RERANKING_MODEL",
            "bedrockRerankingConfiguration": {
                "numberOfResults": 3,
                "modelConfiguration": {"modelArn": ARN},
            },
        },
    )


def vertex(url: str) -> None:
    """Call Google's ranking API."""
    sdk = import_module("google.cloud.discoveryengine_v1")
    rest = import_module("google.cloud.discoveryengine_v1.services.rank_service.transports.rest")
    anonymous = import_module("google.auth.credentials").AnonymousCredentials()
    transport = rest.RankServiceRestTransport(
        host=url.partition("//")[2], credentials=anonymous, url_scheme="http"
    )
    sdk.RankServiceClient(transport=transport).rank(
        sdk.RankRequest(
            ranking_config="projects/p/locations/global/rankingConfigs/default_ranking_config",
            model="semantic-ranker-default-004",
            query=QUERY,
            top_n=3,
            records=[sdk.RankingRecord(id=str(n), content=t) for n, t in enumerate(DOCUMENTS)],
            ignore_record_details_in_response=True,
        )
    )


ZEROENTROPY = {
    "results": RESULTS,
    "actual_latency_mode": "fast",
    "e2e_latency": 0.1,
    "inference_latency": 0.1,
    "total_bytes": 60,
    "total_tokens": 30,
}
USAGE = {"prompt_tokens": 30, "total_tokens": 30}
CALLS: tuple[tuple[Callable[[str], None], str, object], ...] = (
    (cohere, "cohere", {"id": "1", "results": RESULTS}),
    (cohere_v1, "cohere", {"id": "1", "results": RESULTS}),
    (voyage, "voyageai", {"object": "list", "data": RESULTS, "model": "m", "usage": USAGE}),
    (
        mixedbread,
        "mixedbread",
        {"usage": USAGE, "model": "m", "data": DATA, "top_k": 3, "return_input": False},
    ),
    (pinecone, "pinecone", {"model": "m", "data": DATA, "usage": {"rerank_units": 1}}),
    (zeroentropy, "zeroentropy", ZEROENTROPY),
    (
        dashscope,
        "dashscope",
        {"status_code": 200, "request_id": "r", "output": {"results": RESULTS}, "usage": USAGE},
    ),
    (contextual, "contextual-client", {"results": RESULTS}),
    (
        bedrock,
        "boto3",
        {"results": [{"index": n, "relevanceScore": s} for n, s in SCORES.items()]},
    ),
    (
        vertex,
        "google-cloud-discoveryengine",
        {"records": [{"id": str(n), "score": s} for n, s in SCORES.items()]},
    ),
)


def main() -> None:
    """Call every SDK once, and write the file."""
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    recorded = {}
    for call, package, answer in CALLS:
        server.answer = answer
        call(f"http://127.0.0.1:{server.server_port}")
        headers = {name: value for name, value in server.headers.items() if name in KEPT}
        recorded[call.__name__] = {
            "sdk": f"{package} {metadata.version(package)}",
            "path": server.path,
            "headers": {} if call is bedrock else headers,  # a signature differs each time
            "body": server.body,
        }
    file = Path(__file__).with_name("sdk_requests.json")
    file.write_text(json.dumps(recorded, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
