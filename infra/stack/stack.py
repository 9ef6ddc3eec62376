"""The stack: its parts put together, and the outputs by which the command finds them."""

from aws_cdk import CfnOutput, Stack, Tags
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.stack.context import Settings
from infra.stack.database import AuroraDatabase, Database, ImportedDatabase, UrlDatabase
from infra.stack.database_choice import DatabaseUrl, ExistingDatabase, NewDatabase
from infra.stack.monitoring import AN_HOUR, Monitoring
from infra.stack.notifications import Notifications
from infra.stack.runs_table import RunsTable
from infra.stack.scheduled_job import ScheduledJob


class ArcadeJobsStack(Stack):
    """The scheduled jobs over one database, the table of their runs, and their monitoring."""

    def __init__(self, scope: Construct, id_: str, *, settings: Settings, code: lambda_.Code) -> None:
        super().__init__(
            scope,
            id_,
            description="The background jobs of a pay-per-play arcade",
            termination_protection=settings.is_protected,
        )
        Tags.of(self).add("product", "arcade-jobs")
        Tags.of(self).add("stage", settings.stage)
        runs = RunsTable(self, "Runs", target=settings.target)
        database = _database(self, settings)
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
        notifications = Notifications(self, "Notifications", settings=settings)
        monitoring = Monitoring(
            self,
            "Monitoring",
            jobs=jobs,
            topics=notifications.topics,
            settings=settings,
        )

        for scheduled in jobs:
            title, schedule = scheduled.choice.job.title, scheduled.schedule
            CfnOutput(self, f"{title}FunctionName", value=scheduled.function.function_name)
            CfnOutput(self, f"{title}LogGroupName", value=scheduled.function.log_group.log_group_name)
            CfnOutput(self, f"{title}DeadLetterQueueUrl", value=scheduled.dead_letters.queue_url)
            CfnOutput(self, f"{title}{schedule.kind}Name", value=schedule.name)
            CfnOutput(self, f"{title}Cron", value=scheduled.choice.job.cron)
            if silent_after := monitoring.silent_after.get(scheduled.choice.job.name):
                CfnOutput(self, f"{title}SilentAfterHours", value=str(silent_after // AN_HOUR))
            CfnOutput(self, f"{title}IsEnabled", value=str(scheduled.choice.is_enabled).lower())
            CfnOutput(self, f"{title}AlarmNames", value=",".join(monitoring.alarm_names[scheduled.choice.job.name]))
        CfnOutput(self, "Timezone", value=settings.timezone)  # of the periods, when the database is upgraded
        CfnOutput(self, "RunsTableName", value=runs.table.table_name)
        if monitoring.stack_alarm_names:
            CfnOutput(self, "AlarmNames", value=",".join(monitoring.stack_alarm_names))
        CfnOutput(self, "AlarmTopicArns", value=",".join(topic.topic_arn for topic in notifications.topics))
        CfnOutput(self, "DashboardName", value=monitoring.dashboard.dashboard_name)


def _database(stack: Stack, settings: Settings) -> Database:
    match settings.database:
        case ExistingDatabase() as existing:
            return ImportedDatabase(stack, "Database", existing=existing)
        case NewDatabase() as new:
            return AuroraDatabase(stack, "Database", new=new, is_protected=settings.is_protected)
        case DatabaseUrl(url=url):
            return UrlDatabase(stack, "Database", url=url)
