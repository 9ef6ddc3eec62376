"""A page about a stage: from what was read of it to one file of HTML. Nothing here reads anything itself."""
