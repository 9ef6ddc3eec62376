"""One job: its function, what fires it, and where its failures go.

One queue takes both kinds of dead letter: from the schedule what never reached the function, from the function's
failure destination what kept failing.
"""

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.stack.acknowledged import acknowledge
from infra.stack.context import JobChoice, Settings
from infra.stack.database import Database
from infra.stack.job_schedule import JobSchedule, duration
from infra.stack.runs_table import RunsTable
from infra.stack.target import FUNCTION_PYTHON
from shared.metrics import NAMESPACE, Metric, dimensions

RUNTIME = lambda_.Runtime(f"python{FUNCTION_PYTHON}", lambda_.RuntimeFamily.PYTHON)
RETRIES = 2  # of a failed invocation, after one and two minutes
LOG_RETENTION = logs.RetentionDays.THREE_MONTHS
DEAD_LETTER_RETENTION = Duration.days(14)  # the longest that SQS retains a message


class ScheduledJob(Construct):
    """A function, its schedule, its log, its dead-letter queue, and a role with the permissions that the job needs.

    Attributes:
        choice: the job, and how it is deployed.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        choice: JobChoice,
        settings: Settings,
        code: lambda_.Code,
        database: Database,
        runs: RunsTable,
    ) -> None:
        super().__init__(scope, id_)
        self.choice = choice
        self._dimensions = dimensions(job=choice.job.name, stage=settings.stage)
        job = choice.job
        self.dead_letters = sqs.Queue(self, "DeadLetters", enforce_ssl=True, retention_period=DEAD_LETTER_RETENTION)
        acknowledge(self.dead_letters, "AwsSolutions-SQS3", "it is the dead-letter queue, of a schedule and a function")
        log_group = logs.LogGroup(self, "Log", retention=LOG_RETENTION, removal_policy=settings.target.removal_policy)
        role = logging_role(self, log_group)
        database.grant_connect(role)
        runs.grant_recording(role)
        self.function = lambda_.Function(
            self,
            "Function",
            description=f"arcade-jobs {job.name}",
            runtime=RUNTIME,
            architecture=lambda_.Architecture.ARM_64,
            code=code,
            handler=job.handler,
            memory_size=job.memory,
            timeout=duration(job.timeout),
            environment={**settings.environment, **database.environment, "RUNS_TABLE_NAME": runs.table.table_name},
            role=role,
            log_group=log_group,
            logging_format=lambda_.LoggingFormat.JSON,
            reserved_concurrent_executions=choice.reserved_concurrency,
            on_failure=destinations.SqsDestination(self.dead_letters),
            retry_attempts=RETRIES,
            max_event_age=duration(job.delivery_window),
            vpc=database.vpc,
            vpc_subnets=database.subnets,
            security_groups=database.function_security_groups,
        )
        acknowledge(
            self.function,
            "AwsSolutions-L1",
            "the asset's bytecode and wheels are built for this version; it is raised when they are",
        )
        self.schedule = JobSchedule(
            self,
            "Schedule",
            job=job,
            timezone=settings.timezone,
            is_enabled=choice.is_enabled,
            function=self.function,
            dead_letters=self.dead_letters,
        )

    def metric(self, metric: Metric, *, period: Duration) -> cloudwatch.Metric:
        """A count that the job's runs publish. It has no label: with one, an alarm on it would be an expression."""
        return cloudwatch.Metric(
            namespace=NAMESPACE,
            metric_name=metric,
            dimensions_map=self._dimensions,
            statistic="Sum",
            period=period,
        )


def logging_role(scope: Construct, log_group: logs.LogGroup) -> iam.Role:
    """The role of a function that may write its own log, and nothing else yet."""
    role = iam.Role(scope, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    role.add_to_policy(
        iam.PolicyStatement(actions=["logs:CreateLogStream", "logs:PutLogEvents"], resources=[log_group.log_group_arn])
    )
    return role
