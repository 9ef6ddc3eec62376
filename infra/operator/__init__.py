"""The arcade-jobs command."""
