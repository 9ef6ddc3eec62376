"""Run records and the one way in which every job runs."""
