"""The stack: it puts the parts together, and names what others look for."""

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.stack.context import DatabaseAddress, ExistingDatabase, NewDatabase, Settings
from infra.stack.database import BroughtDatabase, Database, GivenAddress, MadeDatabase
from infra.stack.monitoring import Monitoring
from infra.stack.notifications import Notifications
from infra.stack.runs_table import RunsTable
from infra.stack.scheduled_job import ScheduledJob


class ArcadeJobsStack(Stack):
    """Three scheduled jobs over one database, the table that remembers their runs, and what watches them."""

    def __init__(self, scope: Construct, id_: str, *, settings: Settings, code: lambda_.Code) -> None:
        super().__init__(scope, id_, description="The background jobs of a pay-per-play arcade")
        target = settings.target
        runs = RunsTable(self, "Runs", target=target)
        database = _database(self, settings.database)
        jobs = [
            ScheduledJob(
                self,
                choice.job.title,
                choice=choice,
                timezone=settings.timezone,
                code=code,
                environment=settings.environment,
                database=database,
                runs=runs,
                target=target,
            )
            for choice in settings.jobs
        ]
        notifications = Notifications(self, "Notifications", email=settings.alarm_email, slack=settings.slack)
        monitoring = Monitoring(self, "Monitoring", jobs=jobs, topic=notifications.topic, target=target)

        for scheduled in jobs:
            title, schedule = scheduled.choice.job.title, scheduled.schedule
            CfnOutput(self, f"{title}FunctionName", value=scheduled.function.function_name)
            CfnOutput(self, f"{title}DeadLetterQueueUrl", value=scheduled.dead_letters.queue_url)
            CfnOutput(self, f"{title}{schedule.kind}Name", value=schedule.name)
            CfnOutput(self, f"{title}IsEnabled", value=str(scheduled.choice.is_enabled).lower())
            CfnOutput(self, f"{title}AlarmNames", value=",".join(monitoring.alarm_names[scheduled.choice.job.name]))
        CfnOutput(self, "RunsTableName", value=runs.table.table_name)
        if monitoring.stack_alarm_names:
            CfnOutput(self, "AlarmNames", value=",".join(monitoring.stack_alarm_names))
        CfnOutput(self, "AlarmTopicArn", value=notifications.topic.topic_arn)
        CfnOutput(self, "DashboardName", value=monitoring.dashboard.dashboard_name)


def _database(stack: Stack, choice: ExistingDatabase | NewDatabase | DatabaseAddress) -> Database:
    match choice:
        case ExistingDatabase():
            return BroughtDatabase(stack, "Database", existing=choice)
        case NewDatabase():
            return MadeDatabase(stack, "Database", new=choice)
        case DatabaseAddress():
            return GivenAddress(stack, "Database", address=choice)
