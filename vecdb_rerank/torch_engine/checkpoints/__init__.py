"""Load checkpoints: architectures, tokenizers, licences."""
