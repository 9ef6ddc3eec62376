"""The runs table, built from its description in `shared/runs/table.py`."""

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.stack.target import Target
from shared.runs import table


class RunsTable(Construct):
    """DynamoDB on demand: one item per run, with a time to live, recoverable to any second of the last 35 days."""

    def __init__(self, scope: Construct, id_: str, *, target: Target) -> None:
        super().__init__(scope, id_)
        self.table = dynamodb.Table(
            self,
            "Table",
            partition_key=_text(table.PARTITION_KEY),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            time_to_live_attribute=table.TIME_TO_LIVE,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            deletion_protection=target.is_protected,
            removal_policy=target.removal_policy,
        )
        for index in table.INDEXES:
            self.table.add_global_secondary_index(
                index_name=index.name,
                partition_key=_text(index.partition_key),
                sort_key=_text(index.sort_key),
                projection_type=dynamodb.ProjectionType.INCLUDE,
                non_key_attributes=index.projected_attributes,
            )

    def grant_recording(self, role: iam.Role) -> None:
        """Let a function record its runs; a write returns what is there. It neither lists nor deletes."""
        role.add_to_policy(iam.PolicyStatement(actions=["dynamodb:UpdateItem"], resources=[self.table.table_arn]))

    def grant_reading(self, role: iam.Role) -> None:
        """Let a function read a run, and query each index."""
        indexes = [f"{self.table.table_arn}/index/{index.name}" for index in table.INDEXES]
        role.add_to_policy(iam.PolicyStatement(actions=["dynamodb:GetItem"], resources=[self.table.table_arn]))
        role.add_to_policy(iam.PolicyStatement(actions=["dynamodb:Query"], resources=indexes))


def _text(name: str) -> dynamodb.Attribute:
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)
