"""Stages: several deployments of one product, each stack with its own name."""

DEFAULT_STAGE = "dev"  # of the command and of the functions
DEMO_STAGE = "demo"  # the runs that `make demo` left; nothing is deployed under it


def stack_name(stage: str) -> str:
    """The CloudFormation stack of a stage."""
    return f"arcade-jobs-{stage}"
