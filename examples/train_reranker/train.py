"""Train a cross-encoder on judged queries and hold some of them out.

python train.py DIR BASE OUT

DIR is a collection in the BEIR layout, BASE a folder or a hub id. OUT/model is a model for
``type = "cross_encoder"``, OUT/held_out a collection for ``vecdb-rerank evaluate``.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import datasets as hf
import torch
import typer
from sentence_transformers.cross_encoder import (
    CrossEncoder,
    CrossEncoderTrainer,
    CrossEncoderTrainingArguments,
)
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss

from vecdb_rerank.config.loading import load
from vecdb_rerank.evaluation import datasets
from vecdb_rerank.evaluation.connector import temporary_connector

MAX_TOKENS = 512
Pair = tuple[str, str, float]  # query, document, 1 if it is relevant


def main(
    collection: Annotated[Path, typer.Argument(metavar="DIR")],
    base: Annotated[str, typer.Argument(metavar="BASE")],
    out: Annotated[Path, typer.Argument(metavar="OUT")],
    epochs: float = 1.0,
    learning_rate: float = 2e-5,
    batch_size: int = 16,
    negatives: Annotated[
        int, typer.Option(help="Unjudged first-pass hits per query, as negatives.")
    ] = 10,
    held_out: Annotated[float, typer.Option(help="Share of queries to hold out.")] = 0.2,
    seed: int = 0,
) -> None:
    """Train a cross-encoder on judged queries."""
    dataset = datasets.load(collection)
    count = len(dataset.queries)
    if count < 2:
        raise typer.BadParameter(f"{collection} has one judged query; two are needed")
    training = dataset.sample(min(count - 1, max(1, round(count * (1 - held_out)))), seed)
    kept = {key: text for key, text in dataset.queries.items() if key not in training.queries}
    write(replace(dataset, queries=kept), collection, out / "held_out")
    pairs = list(judged(training, negatives))
    queries, texts, labels = (list(column) for column in zip(*pairs, strict=True))
    print(f"{len(training.queries)} queries, {len(pairs)} pairs, {sum(labels):.0f} relevant")

    model = CrossEncoder(base, num_labels=1, max_length=MAX_TOKENS)
    arguments = CrossEncoderTrainingArguments(
        output_dir=str(out),
        num_train_epochs=epochs,
        learning_rate=learning_rate,
        per_device_train_batch_size=batch_size,
        warmup_steps=0.1,  # a share of all steps
        seed=seed,
        save_strategy="no",
        report_to="none",
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    CrossEncoderTrainer(
        model=model,
        args=arguments,
        train_dataset=hf.Dataset.from_dict({"query": queries, "text": texts, "label": labels}),
        loss=BinaryCrossEntropyLoss(model),
    ).train()
    model.save_pretrained(str(out / "model"))


def judged(dataset: datasets.Dataset, negatives: int) -> Iterator[Pair]:
    """Yield each query with its relevant documents and with first-pass hits not judged relevant.

    Hits of the first pass are the negatives that the reranker will have to rank.
    """
    settings = load(backend={"path": ":memory:"}, reranker={"type": "none"}).settings
    text_of = settings.text_fields.text
    corpus = {str(document["_id"]): text_of(document) for document in dataset.corpus}
    with temporary_connector(settings, dataset, lambda *_: None) as connector:
        for key, query in dataset.queries.items():
            relevant = {doc for doc, grade in dataset.qrels[key].items() if grade > 0}
            yield from ((query, corpus[doc], 1.0) for doc in sorted(relevant & set(corpus)))
            depth = negatives + len(relevant)
            hits = connector.candidates(connector.search(query, k=depth, limit=depth))
            wrong = [hit.text for hit in hits if str(hit.doc_id) not in relevant]
            yield from ((query, text, 0.0) for text in wrong[:negatives])


def write(dataset: datasets.Dataset, source: Path, folder: Path) -> None:
    """Write the collection with the queries of ``dataset`` only."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "corpus.jsonl").write_bytes((source / "corpus.jsonl").read_bytes())
    lines: list[Any] = [{"_id": key, "text": text} for key, text in dataset.queries.items()]
    (folder / "queries.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    rows = [
        f"{key}\t{doc}\t{grade}\n"
        for key in dataset.queries
        for doc, grade in dataset.qrels[key].items()
    ]
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(rows))


if __name__ == "__main__":
    typer.run(main)
