"""What wakes the operator, and what the operator looks at first (DESIGN section 5, Silence, Few alarms).

Each job has four alarms and one composite over them, which alone notifies: more of the same trouble adds no message,
and its end sends one. Each alarm says what to do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from constructs import Construct

from infra.jobs import Job
from infra.stack.scheduled_job import ScheduledJob
from infra.stack.target import Target

NAMESPACE = "ArcadeJobs"
SERVICE = "arcade-jobs"
RUN_METRICS = ("RunSucceeded", "RunFailed", "ItemsProcessed", "ItemsFailed", "RunNotRecorded")

HOUR = Duration.hours(1)
FIVE_MINUTES = Duration.minutes(5)
LONGEST_WINDOW = timedelta(days=7)  # the most that CloudWatch evaluates, and only in periods of an hour or more
FULL_WIDTH, GRAPH_HEIGHT = 24, 6  # of a dashboard, in its own units


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """At what an alarm is raised; counts are per five minutes.

    Attributes:
        errors: invocations that raised or were killed.
        dead_letters: events waiting in a job's queue.
        timeout_share: of the time that an invocation may take.
        lost_events: events dropped, or not taken by the dead-letter queue; of all jobs.
    """

    errors: int = 1
    dead_letters: int = 1
    timeout_share: float = 0.8
    lost_events: int = 1


class Monitoring(Construct):
    """The alarms and the dashboard of a stack.

    Attributes:
        alarm_names: of each job's alarms, its composite among them, by the job's name.
        stack_alarm_names: of those that are for all jobs together.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        jobs: Sequence[ScheduledJob],
        topic: sns.Topic,
        target: Target,
        thresholds: Thresholds | None = None,
    ) -> None:
        super().__init__(scope, id_)
        self._thresholds = thresholds or Thresholds()
        self._action = actions.SnsAction(topic)
        alarms: list[cloudwatch.Alarm] = []
        self.alarm_names: dict[str, list[str]] = {}
        for scheduled in jobs:
            job = scheduled.choice.job
            of_job = self._alarms_of(scheduled)
            silence = self._silence(job) if scheduled.choice.is_enabled and target.has_expression_alarms else None
            metric_alarms = [*of_job, silence] if silence else of_job
            alarms += metric_alarms
            self.alarm_names[job.name] = [alarm.alarm_name for alarm in metric_alarms]
            if target.has_composite_alarms:
                self.alarm_names[job.name].append(self._composite(job, of_job, silence).alarm_name)
        of_stack = self._alarms_of_stack(jobs) if target.has_expression_alarms else []
        self.stack_alarm_names = [alarm.alarm_name for alarm in of_stack]
        alarms += of_stack
        self.dashboard = cloudwatch.Dashboard(
            self,
            "Dashboard",
            dashboard_name=Stack.of(self).stack_name,
            default_interval=Duration.days(3),
            widgets=_widgets(jobs, alarms),
        )

    def _alarms_of(self, scheduled: ScheduledJob) -> list[cloudwatch.Alarm]:
        job, function = scheduled.choice.job, scheduled.function
        look = f"Look at: arcade-jobs history {job.name}, then arcade-jobs show RUN_ID."
        return [
            self._alarm(
                f"{job.name}-errors",
                function.metric_errors(period=FIVE_MINUTES, statistic="Sum"),
                at_least=self._thresholds.errors,
                description=f"{job.name} failed or was cut off; Lambda tries twice more, what succeeded is not redone."
                f" {look} If it stays, mend the cause: nothing is lost, the event goes to the dead letters.",
            ),
            self._alarm(
                f"{job.name}-dead-letters",
                scheduled.dead_letters.metric_approximate_number_of_messages_visible(
                    period=FIVE_MINUTES, statistic="Maximum"
                ),
                at_least=self._thresholds.dead_letters,
                description=f"An event of {job.name} was given up. Look at: arcade-jobs dead-letters list. Mend the"
                " cause, then: arcade-jobs dead-letters redrive. Events are kept for 14 days.",
            ),
            self._alarm(
                f"{job.name}-near-timeout",
                function.metric_duration(period=FIVE_MINUTES, statistic="Maximum"),
                at_least=self._thresholds.timeout_share * job.timeout.total_seconds() * 1000,
                description=f"A run of {job.name} took {self._thresholds.timeout_share:.0%} of its"
                f" {job.timeout.total_seconds() / 60:.0f} minutes or more. {look} Look for slow statements or locks in"
                f" the database; give it memory with -c memory.{job.name}=1024.",
            ),
        ]

    def _silence(self, job: Job) -> cloudwatch.Alarm:
        """Raised when no run succeeded for `silent_after`, or none ever did, without any code of the job running.

        The window is made of whole hours. CloudWatch also looks at older points when it finds none in the window, so
        hours without one are filled with zero; a metric that never was has nothing to fill, and missing data breach
        (S03).
        """
        if job.silent_after > LONGEST_WINDOW:
            raise ValueError(f"silent_after of {job.name}: {job.silent_after} is longer than an alarm can look back")
        hours = int(job.silent_after / timedelta(hours=1))
        succeeded = cloudwatch.MathExpression(
            expression="FILL(succeeded, 0)",
            label="RunSucceeded",
            using_metrics={"succeeded": metric_of(job, "RunSucceeded", period=HOUR)},
            period=HOUR,
        )
        return cloudwatch.Alarm(
            self,
            f"{job.name}-silence",
            alarm_name=self._name(f"{job.name}-silence"),
            alarm_description=f"{job.name} has not succeeded for {hours} hours. Is it paused? arcade-jobs status."
            f" Did it fail? arcade-jobs history {job.name}. To catch up: arcade-jobs trigger {job.name}; one run does"
            " all that was missed. After a first deployment: arcade-jobs db upgrade, then trigger each job once.",
            metric=succeeded,
            threshold=1,
            comparison_operator=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
            evaluation_periods=hours,
            datapoints_to_alarm=hours,
            treat_missing_data=cloudwatch.TreatMissingData.BREACHING,
        )

    def _alarms_of_stack(self, jobs: Sequence[ScheduledJob]) -> list[cloudwatch.Alarm]:
        alarms = [
            self._alarm(
                "dropped-events",
                _sum_over(jobs, "AsyncEventsDropped"),
                at_least=self._thresholds.lost_events,
                description="Lambda dropped an event before it reached a job. Look at: arcade-jobs dead-letters list,"
                " and the throttles of the functions; then arcade-jobs trigger JOB --at the slot that is missing.",
            ),
            self._alarm(
                "failed-destinations",
                _sum_over(jobs, "DestinationDeliveryFailures"),
                at_least=self._thresholds.lost_events,
                description="An event that kept failing could not be put into the dead-letter queue, and is lost. Look"
                " at the queue and the function's role; then arcade-jobs trigger JOB --at the slot that failed.",
            ),
        ]
        for alarm in alarms:
            alarm.add_alarm_action(self._action)
            alarm.add_ok_action(self._action)
        return alarms

    def _composite(
        self, job: Job, alarms: Sequence[cloudwatch.Alarm], silence: cloudwatch.Alarm | None
    ) -> cloudwatch.CompositeAlarm:
        """The one that notifies. Silence counts only while the constant beside it is TRUE: `pause` makes it FALSE."""
        any_of = [cloudwatch.AlarmRule.from_alarm(alarm, cloudwatch.AlarmState.ALARM) for alarm in alarms]
        if silence:
            is_silent = cloudwatch.AlarmRule.from_alarm(silence, cloudwatch.AlarmState.ALARM)
            any_of.append(cloudwatch.AlarmRule.all_of(is_silent, cloudwatch.AlarmRule.from_boolean(value=True)))
        composite = cloudwatch.CompositeAlarm(
            self,
            f"{job.name}-composite",
            composite_alarm_name=self._name(job.name),
            alarm_description=f"Something is wrong with {job.name}: open the alarms below it, each says what to do."
            " It notifies once when trouble begins and once when all of it is over.",
            alarm_rule=cloudwatch.AlarmRule.any_of(*any_of),
        )
        composite.add_alarm_action(self._action)
        composite.add_ok_action(self._action)
        return composite

    def _alarm(self, name: str, metric: cloudwatch.IMetric, *, at_least: float, description: str) -> cloudwatch.Alarm:
        return cloudwatch.Alarm(
            self,
            name,
            alarm_name=self._name(name),
            alarm_description=description,
            metric=metric,
            threshold=at_least,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )

    def _name(self, name: str) -> str:
        return f"{Stack.of(self).stack_name}-{name}"


def metric_of(job: Job, name: str, *, period: Duration = HOUR) -> cloudwatch.Metric:
    """A count that the job's runs emit. Its dimensions are those of the runner, to the letter."""
    return cloudwatch.Metric(
        namespace=NAMESPACE,
        metric_name=name,
        dimensions_map={"service": SERVICE, "job": job.name},
        statistic="Sum",
        period=period,
        label=f"{job.name} {name}",
    )


def _sum_over(jobs: Sequence[ScheduledJob], name: str) -> cloudwatch.MathExpression:
    ids = [scheduled.choice.job.stem for scheduled in jobs]
    return cloudwatch.MathExpression(
        expression=f"SUM([{', '.join(ids)}])",
        label=name,
        using_metrics={
            id_: scheduled.function.metric(name, period=FIVE_MINUTES, statistic="Sum")
            for id_, scheduled in zip(ids, jobs, strict=True)
        },
        period=FIVE_MINUTES,
    )


def _widgets(jobs: Sequence[ScheduledJob], alarms: Sequence[cloudwatch.Alarm]) -> list[list[cloudwatch.IWidget]]:
    """Top to bottom: is anything wrong, did each job run, what did it do, how long, how much is waiting."""
    width = FULL_WIDTH // len(jobs)

    def row(title: str, *names: str) -> list[cloudwatch.IWidget]:
        return [
            cloudwatch.GraphWidget(
                title=title.format(job=scheduled.choice.job),
                left=[metric_of(scheduled.choice.job, name) for name in names],
                width=width,
                height=GRAPH_HEIGHT,
            )
            for scheduled in jobs
        ]

    done: list[cloudwatch.IWidget] = [
        cloudwatch.GraphWidget(
            title=f"What did it do: {job.items}",
            left=[metric_of(job, name) for name in ("ItemsProcessed", "ItemsFailed", *job.own_metrics)],
            width=width,
            height=GRAPH_HEIGHT,
        )
        for job in (scheduled.choice.job for scheduled in jobs)
    ]
    took: list[cloudwatch.IWidget] = [
        cloudwatch.GraphWidget(
            title=f"How long: {scheduled.choice.job.name}",
            left=[
                scheduled.function.metric_duration(period=HOUR, statistic="Maximum", label="longest"),
                scheduled.function.metric_duration(period=HOUR, statistic="p50", label="median"),
            ],
            width=width,
            height=GRAPH_HEIGHT,
        )
        for scheduled in jobs
    ]
    waiting = cloudwatch.GraphWidget(
        title="How much is waiting: dead letters, and the age of the oldest event under way",
        left=[
            scheduled.dead_letters.metric_approximate_number_of_messages_visible(
                period=FIVE_MINUTES, statistic="Maximum", label=f"{scheduled.choice.job.name} dead letters"
            )
            for scheduled in jobs
        ],
        right=[
            scheduled.function.metric(
                "AsyncEventAge", period=FIVE_MINUTES, statistic="Maximum", label=f"{scheduled.choice.job.name} age, ms"
            )
            for scheduled in jobs
        ],
        width=FULL_WIDTH,
        height=GRAPH_HEIGHT,
    )
    return [
        [cloudwatch.AlarmStatusWidget(title="Is anything wrong now", alarms=[*alarms], width=FULL_WIDTH)],
        row("Did it run: {job.name}", "RunSucceeded", "RunFailed", "RunNotRecorded"),
        done,
        took,
        [waiting],
    ]
