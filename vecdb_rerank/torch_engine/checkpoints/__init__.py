"""Load checkpoints: files, code that comes with them, architectures, tokenizers, licences."""
