"""Statements: each a named function that takes a connection and never commits. All SQL is here."""
