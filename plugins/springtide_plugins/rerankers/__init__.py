"""The built-in reranker."""
