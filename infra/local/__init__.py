"""This machine: PostgreSQL, the AWS emulator, and the stack deployed to it."""

from pathlib import Path

FOLDER = Path(__file__).parents[2] / ".local"  # of all that is stored on this machine
