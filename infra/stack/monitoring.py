"""The alarms: when the operator is notified, and what to do then.

Each job has four alarms, some have more for metrics of their own, and one composite over those that need a person. It
alone notifies: more of the same trouble adds no message, and its end sends one. Each description is an instruction.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from aws_cdk import Annotations, Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from constructs import Construct

from infra.jobs import Job
from infra.stack.context import Settings
from infra.stack.dashboard import dashboard_widgets
from infra.stack.scheduled_job import DEAD_LETTER_RETENTION, ScheduledJob
from shared.metrics import OWN_METRICS, Metric
from shared.operations.slots import longest_gap

FIVE_MINUTES = Duration.minutes(5)
HOUR = Duration.hours(1)
AN_HOUR, A_DAY = timedelta(hours=1), timedelta(days=1)
A_YEAR_BEGINS = datetime(2026, 1, 1, tzinfo=UTC)  # always the same, so that one schedule has one window
MAX_WINDOW = timedelta(days=7)  # the most that CloudWatch evaluates, and only in periods of an hour or more
WORDS = re.compile("(?<=[a-z])(?=[A-Z])")  # between the words of a metric's name
NEAR_TIMEOUT = 0.8  # of the time that an invocation may take
# S29, S35: what a run may leave and succeed; no retry ends it. An alarm on an expression over them would cost as much.
LEFT_BY_A_RUN = {
    Metric.POOLS_WITHOUT_WINNER: "A prize pool was settled without a winner, and its amount kept: no completed session"
    " backs any of its entries. See the warnings of arcade-jobs show RUN_ID {stage}. It cannot be settled again: decide"
    " what becomes of the amount, and how the platform came to write those entries.",
    Metric.ENTRIES_PASSED_OVER: "Entries were passed over: no completed session of the same player, game and score"
    " backs them. The log of the run names the first of each pool; see arcade-jobs show RUN_ID {stage}. They were"
    " forged, or written wrongly (an address in another case), or their sessions are gone: correct what wrote them.",
    Metric.POOLS_DUE_AFTER_RUN: "A prize pool is due after a run that reported no error: it was opened meanwhile, or is"
    " hidden from the jobs' role. arcade-jobs trigger prize-pool {stage} settles it; if not, see the policies on"
    " prize_pools.",
    Metric.PERIODS_WITHOUT_POOL: "A period of the last week was played and has no prize pool: were its payments booked?"
    " See the warnings of arcade-jobs show RUN_ID {stage}. A pool that is inserted now is settled by the next run. None"
    " is needed where the only games of a period began before it.",
}
# What needs a person, by the end of an alarm's name. Not errors: the platform is still retrying, and dead-letters what
# keeps failing. Nor periods-without-pool: that may be as it should be.
PAGES = {
    "dead-letters": "an event kept failing, see arcade-jobs dead-letters list {stage}",
    "silence": "no success for too long, arcade-jobs trigger {job} {stage} does all that was missed",
    "near-timeout": "a run took most of its time, see arcade-jobs history {job} {stage}",
    "pools-without-winner": "a pool was settled without a winner, see arcade-jobs history {job} {stage}",
    "entries-passed-over": "the best entries of a pool were not valid, see arcade-jobs history {job} {stage}",
    "pools-due-after-run": "a pool is due after a run, arcade-jobs trigger {job} {stage} settles it",
}


class Monitoring(Construct):
    """The alarms and the dashboard of a stack.

    Attributes:
        alarm_names: of each job's alarms, its composite among them, by the job's name.
        silent_after: the windows of the silence alarms, by the job's name; a job without one is not among them.
        stack_alarm_names: of the alarms for all jobs together.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        jobs: Sequence[ScheduledJob],
        topics: Sequence[sns.ITopic],
        settings: Settings,
    ) -> None:
        super().__init__(scope, id_)
        target, self._timezone, self._stage = settings.target, settings.timezone, f"--stage {settings.stage}"
        self._actions = [actions.SnsAction(topic) for topic in topics]
        alarms: list[cloudwatch.Alarm] = []
        self.alarm_names: dict[str, list[str]] = {}
        self.silent_after = self._watched(jobs) if target.has_expression_alarms else {}
        for scheduled in jobs:
            job = scheduled.choice.job
            job_alarms = self._job_alarms(scheduled)
            silence = self._silence(scheduled) if job.name in self.silent_after else None
            metric_alarms = [*job_alarms.values(), silence] if silence else [*job_alarms.values()]
            alarms += metric_alarms
            self.alarm_names[job.name] = [alarm.alarm_name for alarm in metric_alarms]
            if target.has_composite_alarms:
                self.alarm_names[job.name].append(self._composite(job, job_alarms, silence).alarm_name)
        stack_alarms = self._stack_alarms(jobs) if target.has_expression_alarms else []
        self.stack_alarm_names = [alarm.alarm_name for alarm in stack_alarms]
        alarms += stack_alarms
        self.dashboard = cloudwatch.Dashboard(
            self,
            "Dashboard",
            dashboard_name=f"{Stack.of(self).stack_name}-{Stack.of(self).region}",  # one name in an account
            default_interval=Duration.days(3),
            widgets=dashboard_widgets(jobs, alarms),
        )

    def _watched(self, jobs: Sequence[ScheduledJob]) -> dict[str, timedelta]:
        """How long each job may be silent: those that are on, and fire often enough for an alarm to watch them."""
        windows: dict[str, timedelta] = {}
        for choice in (scheduled.choice for scheduled in jobs if scheduled.choice.is_enabled):
            window = silent_after(choice.job, self._timezone)
            if window <= MAX_WINDOW:
                windows[choice.job.name] = window
            else:
                Annotations.of(self).add_warning_v2(
                    f"arcade-jobs:{choice.job.name}-unwatched",
                    f"schedule.{choice.job.name}: {choice.job.cron!r} has no silence alarm: CloudWatch looks back"
                    f" {MAX_WINDOW.days} days at most, and {window.days + 1} would be needed",
                )
        return windows

    def _job_alarms(self, scheduled: ScheduledJob) -> dict[str, cloudwatch.Alarm]:
        """The alarms of a job but that of silence, by the end of their names."""
        job, function = scheduled.choice.job, scheduled.function
        see = f"See arcade-jobs history {job.name} {self._stage}, then arcade-jobs show RUN_ID {self._stage}."
        # What a run leaves stays raised until the next run is over, so that the same again is no new message.
        until_the_next = min(silent_after(job, self._timezone), MAX_WINDOW)
        return {
            "errors": self._alarm(
                f"{job.name}-errors",
                function.metric_errors(period=FIVE_MINUTES, statistic="Sum"),
                description=f"{job.name} failed or was cut off; Lambda retries it twice, and what succeeded is not"
                f" redone. Nobody is notified: if it keeps failing, the event is dead-lettered, which does. {see}",
            ),
            "dead-letters": self._alarm(
                f"{job.name}-dead-letters",
                scheduled.dead_letters.metric_approximate_number_of_messages_visible(
                    period=FIVE_MINUTES, statistic="Maximum"
                ),
                description=f"An event of {job.name} was dead-lettered. See arcade-jobs dead-letters list"
                f" {self._stage}. Fix the cause, then: arcade-jobs dead-letters redrive {self._stage}."
                f" Events are kept for {DEAD_LETTER_RETENTION.to_days():.0f} days.",
            ),
            "near-timeout": self._alarm(
                f"{job.name}-near-timeout",
                function.metric_duration(period=HOUR, statistic="Maximum"),
                raised_for=until_the_next,
                at_least=NEAR_TIMEOUT * job.timeout.total_seconds() * 1000,
                description=f"A run of {job.name} took {NEAR_TIMEOUT:.0%} of its"
                f" {job.timeout.total_seconds() / 60:.0f} minutes or more. {see} Look for slow statements or locks in"
                f" the database, or give it more memory: memory.{job.name} in cdk.json.",
            ),
            **{
                ending(metric): self._alarm(
                    f"{job.name}-{ending(metric)}",
                    scheduled.metric(metric, period=HOUR),
                    raised_for=until_the_next,
                    description=LEFT_BY_A_RUN[metric].format(stage=self._stage),
                )
                for metric in OWN_METRICS.get(job.name, ())
                if metric in LEFT_BY_A_RUN
            },
        }

    def _silence(self, scheduled: ScheduledJob) -> cloudwatch.Alarm:
        """Raised when no run succeeded within its window, or none ever did, without any code of the job running.

        The window is made of whole hours. When it holds no data point CloudWatch also reads older ones, so hours
        without one are filled with zero; a metric without any data has nothing to fill, and missing data breach (S03).
        """
        job = scheduled.choice.job
        hours = self.silent_after[job.name] // AN_HOUR
        succeeded = cloudwatch.MathExpression(
            expression="FILL(succeeded, 0)",
            label=Metric.RUN_SUCCEEDED,
            using_metrics={"succeeded": scheduled.metric(Metric.RUN_SUCCEEDED, period=HOUR)},
            period=HOUR,
        )
        return cloudwatch.Alarm(
            self,
            f"{job.name}-silence",
            alarm_name=self._name(f"{job.name}-silence"),
            alarm_description=f"{job.name} has not succeeded for {hours} hours. Is it paused? arcade-jobs status"
            f" {self._stage}. Did it fail? arcade-jobs history {job.name} {self._stage}. To catch up:"
            f" arcade-jobs trigger {job.name} {self._stage}; one run does all that was missed. After a first"
            f" deployment: arcade-jobs db upgrade {self._stage}, then trigger each job once.",
            metric=succeeded,
            threshold=1,
            comparison_operator=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
            evaluation_periods=hours,
            datapoints_to_alarm=hours,
            treat_missing_data=cloudwatch.TreatMissingData.BREACHING,
        )

    def _stack_alarms(self, jobs: Sequence[ScheduledJob]) -> list[cloudwatch.Alarm]:
        """Events that Lambda gave up, and those that are lost.

        The first notifies nobody: what is dead-lettered counts too, and the job's own alarm notifies of that.
        https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
        """
        dropped = self._alarm(
            "dropped-events",
            _sum_over(jobs, "AsyncEventsDropped"),
            raised_for=A_DAY,
            description="Lambda gave an event up: it kept failing, or no function was free for it in time. Nobody is"
            " notified: it was sent to its dead-letter queue first, which does, or could not be, and that is"
            f" failed-destinations. See arcade-jobs status {self._stage}, and the throttles of the functions.",
        )
        lost = self._alarm(
            "failed-destinations",
            _sum_over(jobs, "DestinationDeliveryFailures"),
            raised_for=A_DAY,
            description="An event that kept failing could not be dead-lettered, and is lost. First: arcade-jobs"
            f" history {self._stage}, which shows the job and its slot. Check the queue and the"
            f" function's role; then arcade-jobs trigger JOB --at SLOT {self._stage}.",
        )
        lost.add_alarm_action(*self._actions)
        lost.add_ok_action(*self._actions)
        return [dropped, lost]

    def _composite(
        self, job: Job, alarms: Mapping[str, cloudwatch.Alarm], silence: cloudwatch.Alarm | None
    ) -> cloudwatch.CompositeAlarm:
        """The one that notifies. Silence counts only while the constant beside it is TRUE; `pause` sets it to FALSE.

        Its message has this description and a reason with the full name of the alarm that was raised.
        """
        paging = {name: alarm for name, alarm in alarms.items() if name in PAGES}
        any_of = [cloudwatch.AlarmRule.from_alarm(alarm, cloudwatch.AlarmState.ALARM) for alarm in paging.values()]
        if silence:
            is_silent = cloudwatch.AlarmRule.from_alarm(silence, cloudwatch.AlarmState.ALARM)
            any_of.append(cloudwatch.AlarmRule.all_of(is_silent, cloudwatch.AlarmRule.from_boolean(value=True)))
        names = [*paging, "silence"] if silence else [*paging]
        causes = [f"- {name}: {text}" for name, text in PAGES.items() if name in names]
        composite = cloudwatch.CompositeAlarm(
            self,
            f"{job.name}-composite",
            composite_alarm_name=self._name(job.name),
            alarm_description="\n".join(
                [
                    f"Job {job.name}: ALARM needs a person, OK is the end of it; more trouble in between is not sent.",
                    f"First: arcade-jobs status {self._stage}",
                    "The reason names the alarm that was raised:",
                    *(cause.format(job=job.name, stage=self._stage) for cause in causes),
                ]
            ),
            alarm_rule=cloudwatch.AlarmRule.any_of(*any_of),
        )
        composite.add_alarm_action(*self._actions)
        composite.add_ok_action(*self._actions)
        return composite

    def _alarm(
        self,
        name: str,
        metric: cloudwatch.IMetric,
        *,
        description: str,
        at_least: float = 1,
        raised_for: timedelta | None = None,
    ) -> cloudwatch.Alarm:
        """Raised by one period that reaches the limit, and for so long after it; else until a period does not."""
        return cloudwatch.Alarm(
            self,
            name,
            alarm_name=self._name(name),
            alarm_description=description,
            metric=metric,
            threshold=at_least,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            evaluation_periods=raised_for // AN_HOUR if raised_for else 1,
            datapoints_to_alarm=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )

    def _name(self, name: str) -> str:
        return f"{Stack.of(self).stack_name}-{name}"


def silent_after(job: Job, timezone: str) -> timedelta:
    """How long no run of a job may succeed before that is silence, in whole hours.

    A success counts in its slot and is known once the slot was delivered and retried (S30): so the longest gap between
    two slots of a year (S03: a local day can last 25 hours), the delivery window and one time limit.

    Args:
        job: with its cron as chosen.
        timezone: of the stage.
    """
    zone = ZoneInfo(timezone if job.follows_zone else "UTC")
    late = job.delivery_window + job.timeout
    return -((longest_gap(job.cron, zone, begins=A_YEAR_BEGINS) + late) // -AN_HOUR) * AN_HOUR


def ending(metric: Metric) -> str:
    """The end of the name of an alarm on a metric: `pools-without-winner`."""
    return WORDS.sub("-", metric).lower()


def _sum_over(jobs: Sequence[ScheduledJob], name: str) -> cloudwatch.MathExpression:
    ids = [scheduled.choice.job.stem for scheduled in jobs]
    return cloudwatch.MathExpression(
        expression=f"SUM([{', '.join(ids)}])",
        label=name,
        using_metrics={
            id_: scheduled.function.metric(name, period=HOUR, statistic="Sum")
            for id_, scheduled in zip(ids, jobs, strict=True)
        },
        period=HOUR,
    )
