"""Asking a language model for orders and judgments, by an OpenAI-compatible chat endpoint."""
