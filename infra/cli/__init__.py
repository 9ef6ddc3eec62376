"""The `arcade-jobs` command (Typer and Rich). Nothing imports it."""
