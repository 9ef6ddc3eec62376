"""Stages: several deployments of one product, each stack with its own name."""

DEFAULT_STAGE = "dev"  # of the command and of the functions
DEMO_STAGE = "demo"
SIMULATION_STAGE = "simulation"
# Nothing is deployed under these names: they are for the runs that a replay left, by the command that does it.
REPLAY_STAGES = {DEMO_STAGE: "make demo", SIMULATION_STAGE: "arcade-jobs simulate"}


def replay_database(stage: str) -> str:
    """The database that a replay leaves, on this machine's server."""
    return f"arcade_{stage}"


def stack_name(stage: str) -> str:
    """The CloudFormation stack of a stage."""
    return f"arcade-jobs-{stage}"
