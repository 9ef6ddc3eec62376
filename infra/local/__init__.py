"""This machine: PostgreSQL, the AWS emulator, and the stack deployed to it."""
