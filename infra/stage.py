"""Stages: several deployments of one product, each stack with its own name."""

from shared.config import VARIABLES

DEFAULT_STAGE = VARIABLES["STAGE"].default or ""
DEMO_STAGE = "demo"  # the runs that `make demo` left; nothing is deployed under it


def stack_name(stage: str) -> str:
    """The CloudFormation stack of a stage."""
    return f"arcade-jobs-{stage}"
