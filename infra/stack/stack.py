"""The stack: its parts put together, and the outputs by which the command finds them."""

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.jobs import HOUR
from infra.stack.context import Settings
from infra.stack.database import AuroraDatabase, Database, ImportedDatabase, UrlDatabase
from infra.stack.database_choice import DatabaseUrl, ExistingDatabase, NewDatabase
from infra.stack.monitoring import Monitoring
from infra.stack.notifications import Notifications
from infra.stack.operations_api import OperationsApi
from infra.stack.runs_table import RunsTable
from infra.stack.scheduled_job import ScheduledJob


class ArcadeJobsStack(Stack):
    """The scheduled jobs over one database, the table of their runs, and their monitoring."""

    def __init__(self, scope: Construct, id_: str, *, settings: Settings, code: lambda_.Code) -> None:
        super().__init__(scope, id_, description="The background jobs of a pay-per-play arcade")
        runs = RunsTable(self, "Runs", target=settings.target)
        database = _database(self, settings.database)
        jobs = [
            ScheduledJob(
                self,
                choice.job.title,
                choice=choice,
                settings=settings,
                code=code,
                database=database,
                runs=runs,
            )
            for choice in settings.jobs
        ]
        notifications = Notifications(self, "Notifications", email=settings.alarm_email, slack=settings.slack)
        monitoring = Monitoring(
            self,
            "Monitoring",
            jobs=jobs,
            topic=notifications.topic,
            timezone=settings.timezone,
            target=settings.target,
        )

        for scheduled in jobs:
            title, schedule = scheduled.choice.job.title, scheduled.schedule
            CfnOutput(self, f"{title}FunctionName", value=scheduled.function.function_name)
            CfnOutput(self, f"{title}LogGroupName", value=scheduled.function.log_group.log_group_name)
            CfnOutput(self, f"{title}DeadLetterQueueUrl", value=scheduled.dead_letters.queue_url)
            CfnOutput(self, f"{title}{schedule.kind}Name", value=schedule.name)
            CfnOutput(self, f"{title}Cron", value=scheduled.choice.job.cron)
            if silent_after := monitoring.silent_after.get(scheduled.choice.job.name):
                CfnOutput(self, f"{title}SilentAfterHours", value=str(silent_after // HOUR))
            CfnOutput(self, f"{title}IsEnabled", value=str(scheduled.choice.is_enabled).lower())
            CfnOutput(self, f"{title}AlarmNames", value=",".join(monitoring.alarm_names[scheduled.choice.job.name]))
        CfnOutput(self, "Timezone", value=settings.timezone)  # of the periods, when the database is upgraded
        CfnOutput(self, "RunsTableName", value=runs.table.table_name)
        if monitoring.stack_alarm_names:
            CfnOutput(self, "AlarmNames", value=",".join(monitoring.stack_alarm_names))
        CfnOutput(self, "AlarmTopicArn", value=notifications.topic.topic_arn)
        CfnOutput(self, "DashboardName", value=monitoring.dashboard.dashboard_name)
        if settings.has_operations_api:
            api = OperationsApi(self, "OperationsApi", settings=settings, code=code, jobs=jobs, runs=runs)
            CfnOutput(self, "OperationsApiUrl", value=api.url)


def _database(stack: Stack, choice: ExistingDatabase | NewDatabase | DatabaseUrl) -> Database:
    match choice:
        case ExistingDatabase():
            return ImportedDatabase(stack, "Database", existing=choice)
        case NewDatabase():
            return AuroraDatabase(stack, "Database", new=choice)
        case DatabaseUrl():
            return UrlDatabase(stack, "Database", url=choice.url)
