"""Run a model in torch: one engine per process and model, shared by all calls.

::

    texts ─► token ids (cached) ─► jobs ─► one queue ─► packed batches (no padding)
          ─► the model's own modules (transformers) ─► logits
"""
