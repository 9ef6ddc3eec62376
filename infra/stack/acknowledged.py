"""Findings of the AwsSolutions rules that are meant to be: each is acknowledged where it arises, with its reason."""

from aws_cdk import Acknowledgment, Validations
from constructs import Construct


def acknowledge(scope: Construct, rule: str, reason: str) -> None:
    """Accept a finding of cdk-nag on a construct and what is in it."""
    Validations.of(scope).acknowledge(Acknowledgment(id=f"AwsSolutions::{rule}", reason=reason))
