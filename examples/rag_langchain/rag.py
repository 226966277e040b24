"""RAG with LangChain: python rag.py "how do I undo a commit?"

It retrieves in two stages, then answers from the retrieved notes. It runs without a key, because a
function that quotes the first note stands in for the chat model. Replace it by your own.
"""

import sys

from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompt_values import PromptValue
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_qdrant import QdrantVectorStore

from vecdb_rerank.integrations.langchain import VecdbRerankCompressor, VecdbRerankEmbeddings

NOTES = [
    "git reset --soft HEAD~1 undoes the last commit and keeps its changes in the index.",
    "git revert makes a new commit that undoes an older one, also after a push.",
    "git commit --amend adds to the last commit.",
    "git branch -m old new renames a branch locally.",
    "git stash puts changes aside, git stash pop brings them back.",
    "git bisect finds the commit that introduced a bug.",
    "git log --oneline shows a commit a line.",
]
PROMPT = ChatPromptTemplate.from_template(
    "Answer from the notes alone.\n\nNotes:\n{notes}\n\nQuestion: {question}"
)


def numbered(documents: list[Document]) -> str:
    return "\n".join(f"[{n}] {d.page_content}" for n, d in enumerate(documents, start=1))


def quoting(prompt: PromptValue) -> str:
    """Quote the first note, in place of a chat model."""
    return prompt.to_string().partition("[1] ")[2].partition("\n")[0] + " [1]"


def main(question: str) -> None:
    vectorstore = QdrantVectorStore.from_texts(NOTES, VecdbRerankEmbeddings(), location=":memory:")
    retriever = ContextualCompressionRetriever(
        base_compressor=VecdbRerankCompressor(top_n=3),
        base_retriever=vectorstore.as_retriever(search_kwargs={"k": 50}),
    )
    found = retriever.invoke(question)
    for document in found:
        scores = document.metadata
        print(
            f"{scores['relevance_score']:.3f}  was {scores['first_pass_rank']}  "
            f"{document.page_content}"
        )
    chain = (
        {"notes": RunnableLambda(numbered), "question": RunnableLambda(lambda _: question)}
        | PROMPT
        | RunnableLambda(quoting)
        | StrOutputParser()
    )
    print("\n" + chain.invoke(found))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "How do I undo a commit that I have pushed?")
