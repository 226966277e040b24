"""The routes that rerank and score, in the shapes of several APIs."""
