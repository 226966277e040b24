"""Infinity's client, which reads documents as strings."""

from common import DOCUMENTS, INFINITY_URL, KEY, QUERY, ranked
from infinity_client import AuthenticatedClient
from infinity_client.api.default import rerank
from infinity_client.models import RerankInput, ReRankResult

asked = RerankInput(query=QUERY, documents=DOCUMENTS, model="rerank-v3.5", return_documents=True)
with AuthenticatedClient(INFINITY_URL, token=KEY) as client:
    answer = rerank.sync(client=client, body=asked)
assert isinstance(answer, ReRankResult)
assert all(each.document == DOCUMENTS[each.index] for each in answer.results)
ranked("infinity-client", "rerank.sync", [(r.index, r.relevance_score) for r in answer.results])
