"""What fires a job: one construct over EventBridge's two kinds of schedule, with the same event from both.

A rule is in UTC always. Another zone needs EventBridge Scheduler, which follows its clock changes. Where clocks jump at
midnight it skips a 00:00 that does not exist, and the next run settles that day too (docs/design.md, Settling).
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
DELIVERY_RETRIES = 8  # with the platform's back-off, within the job's delivery window


class JobSchedule(Construct):
    """The schedule of one job. What cannot be delivered goes to its dead-letter queue.

    Attributes:
        kind: `Rule` or `Schedule`.
        name: of the rule, or of the schedule in the default group.
        arn: of either.
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
        expression = to_eventbridge(job.cron)
        if zone == "UTC":
            self.kind = "Rule"
            rule = events.Rule(
                self,
                "Rule",
                description=description,
                schedule=events.Schedule.expression(expression),
                enabled=is_enabled,
                targets=[
                    targets.LambdaFunction(
                        function,
                        dead_letter_queue=dead_letters,
                        retry_attempts=DELIVERY_RETRIES,
                        max_event_age=duration(job.delivery_window),
                    )
                ],
            )
            self.name, self.arn = rule.rule_name, rule.rule_arn
        else:
            self.kind = "Schedule"
            schedule = scheduler.CfnSchedule(
                self,
                "Schedule",
                description=description,
                schedule_expression=expression,
                schedule_expression_timezone=zone,
                state="ENABLED" if is_enabled else "DISABLED",
                flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
                target=scheduler.CfnSchedule.TargetProperty(
                    arn=function.function_arn,
                    role_arn=self._scheduler_role(function, dead_letters).role_arn,
                    input=self._event(),
                    dead_letter_config=scheduler.CfnSchedule.DeadLetterConfigProperty(arn=dead_letters.queue_arn),
                    retry_policy=scheduler.CfnSchedule.RetryPolicyProperty(
                        maximum_retry_attempts=DELIVERY_RETRIES,
                        maximum_event_age_in_seconds=int(job.delivery_window.total_seconds()),
                    ),
                ),
            )
            self.name, self.arn = schedule.ref, schedule.attr_arn

    def _scheduler_role(self, function: lambda_.Function, dead_letters: sqs.Queue) -> iam.Role:
        """What EventBridge Scheduler may do; a rule is let in by the policies of function and queue."""
        return iam.Role(
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

    def _event(self) -> str:
        """The event that a rule sends. Scheduler replaces what is in angle brackets.

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
    """The CDK's type for a length of time, in whole seconds."""
    return Duration.seconds(int(value.total_seconds()))
