"""A query engine with LlamaIndex: python query.py "how do I undo a commit?"

It retrieves in two stages, then answers from the retrieved notes. It runs without a key, because
LlamaIndex's MockLLM returns the prompt as the answer. Replace MockLLM by your own LLM.
"""

import sys

from llama_index.core import VectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.schema import TextNode

from vecdb_rerank.integrations.llama_index import VecdbRerankEmbedding, VecdbRerankPostprocessor

NOTES = {
    "reset": "git reset --soft HEAD~1 undoes the last commit and keeps its changes in the index.",
    "revert": "git revert makes a new commit that undoes an older one, also after a push.",
    "amend": "git commit --amend adds to the last commit.",
    "branch": "git branch -m old new renames a branch locally.",
    "stash": "git stash puts changes aside, git stash pop brings them back.",
    "bisect": "git bisect finds the commit that introduced a bug.",
    "log": "git log --oneline shows a commit a line.",
}


def main(question: str) -> None:
    index = VectorStoreIndex(
        [TextNode(id_=name, text=text) for name, text in NOTES.items()],
        embed_model=VecdbRerankEmbedding(),
    )
    engine = index.as_query_engine(
        llm=MockLLM(),
        similarity_top_k=50,
        node_postprocessors=[VecdbRerankPostprocessor(top_n=3)],
    )
    response = engine.query(question)
    for node in response.source_nodes:
        rank = node.metadata["first_pass_rank"]
        print(f"{node.score:.3f}  was {rank}  {node.node_id}: {node.text}")
    print(f"\n{response}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "How do I undo a commit that I have pushed?")
