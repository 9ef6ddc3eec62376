"""What makes a job fire: one construct over EventBridge's two kinds of schedule, with the same event from both.

A rule knows UTC only. Another zone needs EventBridge Scheduler, which follows its clock changes; where clocks jump at
midnight it skips a 00:00 that does not exist, and the next run settles that day too (DESIGN section 2, Settling).
"""

from datetime import timedelta

from aws_cdk import Duration, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.jobs import Job
from infra.stack.cron import to_eventbridge
from shared.domain.tick import SCHEDULED_EVENT

UTC_ZONES = ("UTC", "Etc/UTC")
DELIVERY_ATTEMPTS = 8  # beside the first; the platform backs off between them, within the job's delivery window


class JobSchedule(Construct):
    """The schedule of one job. What could not be delivered goes to its dead-letter queue.

    Attributes:
        kind: `Rule` or `Schedule`.
        name: of the rule, or of the schedule in the default group.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        job: Job,
        timezone: str,
        is_enabled: bool,
        function: lambda_.Function,
        dead_letters: sqs.Queue,
    ) -> None:
        super().__init__(scope, id_)
        zone = timezone if job.follows_zone and timezone not in UTC_ZONES else "UTC"
        description = f"{job.name}: {job.cron} {zone}"
        if zone == "UTC":
            self.kind = "Rule"
            self.name = self._add_rule(
                job=job,
                description=description,
                is_enabled=is_enabled,
                function=function,
                dead_letters=dead_letters,
            )
        else:
            self.kind = "Schedule"
            self.name = self._add_schedule(
                job=job,
                zone=zone,
                description=description,
                is_enabled=is_enabled,
                function=function,
                dead_letters=dead_letters,
            )

    def _add_rule(
        self,
        *,
        job: Job,
        description: str,
        is_enabled: bool,
        function: lambda_.Function,
        dead_letters: sqs.Queue,
    ) -> str:
        rule = events.Rule(
            self,
            "Rule",
            description=description,
            schedule=events.Schedule.expression(to_eventbridge(job.cron)),
            enabled=is_enabled,
            targets=[
                targets.LambdaFunction(
                    function,
                    dead_letter_queue=dead_letters,
                    retry_attempts=DELIVERY_ATTEMPTS,
                    max_event_age=duration(job.delivery_window),
                )
            ],
        )
        return rule.rule_name

    def _add_schedule(
        self,
        *,
        job: Job,
        zone: str,
        description: str,
        is_enabled: bool,
        function: lambda_.Function,
        dead_letters: sqs.Queue,
    ) -> str:
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal(
                "scheduler.amazonaws.com", conditions={"StringEquals": {"aws:SourceAccount": Stack.of(self).account}}
            ),
            inline_policies={
                "Deliver": iam.PolicyDocument(
                    statements=[
                        iam.PolicyStatement(actions=["lambda:InvokeFunction"], resources=[function.function_arn]),
                        iam.PolicyStatement(actions=["sqs:SendMessage"], resources=[dead_letters.queue_arn]),
                    ]
                )
            },
        )
        schedule = scheduler.CfnSchedule(
            self,
            "Schedule",
            description=description,
            schedule_expression=to_eventbridge(job.cron),
            schedule_expression_timezone=zone,
            state="ENABLED" if is_enabled else "DISABLED",
            flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
            target=scheduler.CfnSchedule.TargetProperty(
                arn=function.function_arn,
                role_arn=role.role_arn,
                input=self._event(),
                dead_letter_config=scheduler.CfnSchedule.DeadLetterConfigProperty(arn=dead_letters.queue_arn),
                retry_policy=scheduler.CfnSchedule.RetryPolicyProperty(
                    maximum_retry_attempts=DELIVERY_ATTEMPTS,
                    maximum_event_age_in_seconds=int(job.delivery_window.total_seconds()),
                ),
            ),
        )
        return schedule.ref

    def _event(self) -> str:
        """The event of a rule, written for Scheduler, which fills in what is in angle brackets.

        https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
        """
        stack = Stack.of(self)
        return stack.to_json_string(
            {
                "version": "0",
                "id": "<aws.scheduler.execution-id>",
                "detail-type": SCHEDULED_EVENT,
                "source": "aws.scheduler",
                "account": stack.account,
                "time": "<aws.scheduler.scheduled-time>",
                "region": stack.region,
                "resources": ["<aws.scheduler.schedule-arn>"],
                "detail": {},
            }
        )


def duration(value: timedelta) -> Duration:
    """The CDK's word for a length of time, in whole seconds."""
    return Duration.seconds(int(value.total_seconds()))
