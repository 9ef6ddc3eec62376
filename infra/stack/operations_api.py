"""The operations endpoints: a fourth function behind a function URL, for signed requests (docs/operations-api.md).

It needs no database, so it is in no network. It finds what is deployed by the outputs of its own stack.
"""

from collections.abc import Sequence

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.stack.acknowledged import acknowledge
from infra.stack.context import Settings
from infra.stack.runs_table import RunsTable
from infra.stack.scheduled_job import LOG_RETENTION, RUNTIME, ScheduledJob, logging_role

MEMORY = 512  # MB
NOT_FOR_THE_ENDPOINTS = "Database"  # outputs; the variables of a function hold 4 KB
TIMEOUT = Duration.seconds(30)  # functions/operations.py gives up on a service before


class OperationsApi(Construct):
    """The function, its URL, its log, and a role that reads, and invokes the jobs.

    Attributes:
        url: where it is served.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        settings: Settings,
        code: lambda_.Code,
        jobs: Sequence[ScheduledJob],
        runs: RunsTable,
    ) -> None:
        super().__init__(scope, id_)
        log_group = logs.LogGroup(self, "Log", retention=LOG_RETENTION, removal_policy=settings.target.removal_policy)
        role = logging_role(self, log_group)
        runs.grant_reading(role)
        self._grant_operating(role, jobs)
        stack = Stack.of(self)
        deployment = {
            "stage": settings.stage,
            "stack": stack.stack_name,
            "account": stack.account,
            "caller": role.role_arn,
            "outputs": {
                child.node.id: child.value
                for child in stack.node.children
                if isinstance(child, CfnOutput) and not child.node.id.startswith(NOT_FOR_THE_ENDPOINTS)
            },
        }
        function = lambda_.Function(
            self,
            "Function",
            description="arcade-jobs operations endpoints",
            runtime=RUNTIME,
            architecture=lambda_.Architecture.ARM_64,
            code=code,
            handler="functions.operations.handler",
            memory_size=MEMORY,
            timeout=TIMEOUT,
            environment={
                "DEPLOYMENT": stack.to_json_string(deployment),
                "JOBS": ",".join(scheduled.choice.job.name for scheduled in jobs),
            },
            role=role,
            log_group=log_group,
            logging_format=lambda_.LoggingFormat.JSON,
        )
        acknowledge(
            function,
            "AwsSolutions-L1",
            "the asset's bytecode and wheels are built for this version; it is raised when they are",
        )
        self.url = function.add_function_url(auth_type=lambda_.FunctionUrlAuthType.AWS_IAM).url

    def _grant_operating(self, role: iam.Role, jobs: Sequence[ScheduledJob]) -> None:
        """Let it read schedules, queues and alarms, and invoke the jobs; pausing and redriving are the command's."""
        allowed = {
            "lambda:InvokeFunction": [scheduled.function.function_arn for scheduled in jobs],
            "sqs:GetQueueAttributes": [scheduled.dead_letters.queue_arn for scheduled in jobs],
            "events:DescribeRule": [each.schedule.arn for each in jobs if each.schedule.kind == "Rule"],
            "scheduler:GetSchedule": [each.schedule.arn for each in jobs if each.schedule.kind == "Schedule"],
            # Composite alarms are shown to no narrower right:
            # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html
            "cloudwatch:DescribeAlarms": ["*"],
        }
        for action, resources in allowed.items():
            if resources:
                role.add_to_policy(iam.PolicyStatement(actions=[action], resources=resources))
        acknowledge(
            role,
            "AwsSolutions-IAM5[Resource::*]",
            "cloudwatch:DescribeAlarms shows composite alarms only if it is allowed on all",
        )
