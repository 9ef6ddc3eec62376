"""A deployed stage, reached through AWS APIs. Nothing here prints or reads a terminal."""
