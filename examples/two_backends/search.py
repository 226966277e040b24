"""Run the same program on either database: python search.py qdrant.toml | opensearch.toml"""

import sys

import vecdb_rerank

NOTES = [
    {"id": 1, "title": "Undo a commit", "text": "git reset --soft HEAD~1 keeps your changes."},
    {"id": 2, "title": "Undo a push", "text": "git revert makes a new commit that undoes one."},
    {"id": 3, "title": "Rename a branch", "text": "git branch -m old new renames it locally."},
    {"id": 4, "title": "Save work for later", "text": "git stash puts changes aside."},
]

connector = vecdb_rerank.connect(sys.argv[1])
connector.create()
connector.add(NOTES)
with vecdb_rerank.observe() as outcomes:
    response = connector.search("take back my last commit but keep the files", limit=2)
for hit in connector.candidates(response):
    print(f"{hit.score:.3f}  {hit.doc_id}  {hit.payload['title']}")
print(type(response).__name__, "from", outcomes[0].backend, "was", outcomes[0].status)
connector.close()
