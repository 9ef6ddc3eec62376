"""The laptop: PostgreSQL, sample plays, the replay."""
