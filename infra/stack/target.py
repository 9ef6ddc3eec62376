"""Where the stack is deployed to: AWS, or the emulator on a laptop.

The two targets below list all that differs. Every construct is the same for both and reads its choice here; a test
compares the two templates and allows no other difference.
"""

import sys
from dataclasses import dataclass

from aws_cdk import RemovalPolicy

FUNCTION_PYTHON = "3.13"  # major.minor, the functions' runtime on AWS


@dataclass(frozen=True, kw_only=True)
class Platform:
    """The interpreter that the asset is built for.

    Attributes:
        python: a version such as `3.13`, or the path of an interpreter.
        wheels: the platform whose wheels are taken, as uv names it; None for this machine's.
    """

    python: str
    wheels: str | None


@dataclass(frozen=True, kw_only=True)
class Target:
    """One place to deploy to.

    Attributes:
        name: the value of the context key `target`.
        platform: of the asset.
        takes_database_url: whether DATABASE_URL is given whole, with its password, instead of an address in a network
            (VPC, subnets, security groups, `rds-db:connect`).
        has_composite_alarms: whether one alarm per job gathers its others.
        has_expression_alarms: whether alarms may use metric math: those of silence, and those that sum over the jobs.
        removal_policy: of the runs table and the logs, when the stack is destroyed.
        is_protected: whether the runs table has deletion protection.
    """

    name: str
    platform: Platform
    takes_database_url: bool
    has_composite_alarms: bool
    has_expression_alarms: bool
    removal_policy: RemovalPolicy
    is_protected: bool


AWS = Target(
    name="aws",
    platform=Platform(python=FUNCTION_PYTHON, wheels="aarch64-manylinux2014"),
    takes_database_url=False,
    has_composite_alarms=True,
    has_expression_alarms=True,
    removal_policy=RemovalPolicy.RETAIN,
    is_protected=True,
)
LOCAL = Target(
    name="local",
    platform=Platform(python=sys.executable, wheels=None),  # the context key `assetPython` names another
    takes_database_url=True,
    has_composite_alarms=False,  # the emulator fails on one
    has_expression_alarms=False,  # and on metric math
    removal_policy=RemovalPolicy.DESTROY,
    is_protected=False,
)
TARGETS = {target.name: target for target in (AWS, LOCAL)}
