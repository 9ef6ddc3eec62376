"""The rules: pure functions and values. No clock, no environment, no library but Python's own."""
