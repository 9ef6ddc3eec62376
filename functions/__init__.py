"""The Lambda handlers: wiring only."""
