"""A job as the first example of each library has it: ORM, boto3's resource, Powertools with its middleware."""

import os
from datetime import date
from typing import Any

import boto3
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig, idempotent
from aws_lambda_powertools.utilities.parser import event_parser
from aws_lambda_powertools.utilities.parser.models import EventBridgeModel
from aws_lambda_powertools.utilities.typing import LambdaContext
from sqlalchemy import create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

logger = Logger(service="arcade")
metrics = Metrics(service="arcade", namespace="Arcade")
tracer = Tracer(service="arcade")
engine = create_engine(os.environ["DATABASE_URL"], pool_pre_ping=True)
table = boto3.resource("dynamodb").Table(os.environ["RUNS_TABLE_NAME"])
persistence = DynamoDBPersistenceLayer(table_name=os.environ["RUNS_TABLE_NAME"])


class Base(DeclarativeBase):
    pass


class PrizePool(Base):
    __tablename__ = "prize_pools"
    id: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[str]
    period_date: Mapped[date]


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics(capture_cold_start_metric=True)
@event_parser(model=EventBridgeModel)
@idempotent(persistence_store=persistence, config=IdempotencyConfig(event_key_jmespath="id"))
def handler(event: Any, context: LambdaContext) -> dict[str, Any]:
    with Session(engine) as session:
        due = select(PrizePool).where(PrizePool.status == "active", PrizePool.period_date < event.time.date())
        pools = session.scalars(due).all()
    table.put_item(Item={"run_id": event.id, "pools": len(pools)})
    metrics.add_metric(name="Pools", unit=MetricUnit.Count, value=len(pools))
    logger.info("settled", extra={"pools": len(pools)})
    return {"status": "succeeded", "pools": len(pools)}
