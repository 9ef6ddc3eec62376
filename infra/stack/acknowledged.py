"""Findings of cdk-nag's AwsSolutions rules that are intended: each is acknowledged where it arises, with its reason."""

from aws_cdk import Acknowledgment, Validations
from constructs import Construct


def acknowledge(scope: Construct, rule: str, reason: str) -> None:
    """Accept a finding on a construct and its children."""
    Validations.of(scope).acknowledge(Acknowledgment(id=f"AwsSolutions::{rule}", reason=reason))
