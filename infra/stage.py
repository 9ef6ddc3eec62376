"""Stages: several deployments of one product, each a stack of its own name."""

STAGE_PATTERN = "[a-z][a-z0-9-]{0,15}"
DEFAULT_STAGE = "dev"
REPLAY_STAGE = "demo"  # the stage that the replay's records carry; nothing is deployed under it


def stack_name(stage: str) -> str:
    """The CloudFormation stack of a stage."""
    return f"arcade-jobs-{stage}"
