"""The dashboard: what the operator checks first."""

from collections.abc import Callable, Sequence

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch

from infra.jobs import Job
from infra.stack.scheduled_job import ScheduledJob
from shared.metrics import OWN_METRICS, Metric

FIVE_MINUTES = Duration.minutes(5)
HOUR = Duration.hours(1)
FULL_WIDTH, GRAPH_HEIGHT = 24, 6  # in the dashboard's units


def dashboard_widgets(
    jobs: Sequence[ScheduledJob], alarms: Sequence[cloudwatch.Alarm]
) -> list[list[cloudwatch.IWidget]]:
    """The rows from top to bottom: is anything wrong, did each job run, what did it do, how long, what is waiting."""

    def row(
        title: Callable[[Job], str], metrics: Callable[[ScheduledJob], Sequence[cloudwatch.IMetric]]
    ) -> list[cloudwatch.IWidget]:
        """One graph for each job."""
        return [
            cloudwatch.GraphWidget(
                title=title(scheduled.choice.job),
                left=[*metrics(scheduled)],
                width=FULL_WIDTH // len(jobs),
                height=GRAPH_HEIGHT,
            )
            for scheduled in jobs
        ]

    return [
        [cloudwatch.AlarmStatusWidget(title="Is anything wrong now", alarms=[*alarms], width=FULL_WIDTH)],
        row(
            lambda job: f"Did it run: {job.name}",
            lambda scheduled: _counts(scheduled, Metric.RUN_SUCCEEDED, Metric.RUN_FAILED, Metric.RUN_NOT_RECORDED),
        ),
        row(
            lambda job: f"What did it do: {job.items}",
            lambda scheduled: _counts(
                scheduled, Metric.ITEMS_PROCESSED, Metric.ITEMS_FAILED, *OWN_METRICS.get(scheduled.choice.job.name, ())
            ),
        ),
        row(
            lambda job: f"How long: {job.name}",
            lambda scheduled: [
                scheduled.function.metric_duration(period=HOUR, statistic="Maximum", label="longest"),
                scheduled.function.metric_duration(period=HOUR, statistic="p50", label="median"),
            ],
        ),
        [_waiting(jobs)],
    ]


def _counts(scheduled: ScheduledJob, *metrics: Metric) -> list[cloudwatch.Metric]:
    name = scheduled.choice.job.name
    return [scheduled.metric(metric, period=HOUR).with_(label=f"{name} {metric}") for metric in metrics]


def _waiting(jobs: Sequence[ScheduledJob]) -> cloudwatch.IWidget:
    return cloudwatch.GraphWidget(
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
