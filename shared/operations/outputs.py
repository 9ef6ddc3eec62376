"""The names of a stack's outputs: what the stack declares, and everything else finds its resources by."""


def job_title(job: str) -> str:
    """What the outputs and constructs of a job begin with: `PrizePool` for `prize-pool`."""
    return "".join(word.capitalize() for word in job.split("-"))
