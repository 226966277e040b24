"""Running a cross-encoder in torch: one engine a process and model, which many calls share.

::

    texts ─► tokens (cached ids, the model's own template) ─► jobs ─► batching (one queue)
                   ─► packing (no padding) ─► models (Hugging Face's own modules) ─► logits
"""
