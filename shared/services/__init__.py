"""The use cases. They own the transactions."""
