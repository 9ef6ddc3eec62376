"""The runs table on something that speaks DynamoDB, but no CloudFormation: moto."""

from typing import TYPE_CHECKING

from shared.runs.table import INDEXES, PARTITION_KEY, RunsIndex

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import GlobalSecondaryIndexTypeDef


def create_runs_table(client: "DynamoDBClient", name: str) -> None:
    """Create the table that `shared.runs.table` describes."""
    keys = {PARTITION_KEY, *(key for index in INDEXES for key in (index.partition_key, index.sort_key))}
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": PARTITION_KEY, "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in sorted(keys)],
        GlobalSecondaryIndexes=[_index(index) for index in INDEXES],
    )


def _index(index: RunsIndex) -> "GlobalSecondaryIndexTypeDef":
    return {
        "IndexName": index.name,
        "KeySchema": [
            {"AttributeName": index.partition_key, "KeyType": "HASH"},
            {"AttributeName": index.sort_key, "KeyType": "RANGE"},
        ],
        "Projection": {
            "ProjectionType": "INCLUDE",
            "NonKeyAttributes": index.projected_attributes,
        },
    }
