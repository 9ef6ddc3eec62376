"""The demo: three weeks of real plays, replayed through the three jobs."""
