"""Whether a job fires: read, paused, resumed.

A pause is two switches. The schedule is disabled, and the silence alarm no longer counts in the job's composite alarm,
which is the one that notifies: it reads the state of the silence alarm, not its actions, so its rule has to
change. The rule holds a constant beside the silence alarm for this, `(ALARM("...-silence") AND TRUE)`. Everything else
still notifies: an event that was delivered before the pause can fail.

Pausing disables first and mutes second, resuming goes the other way round: if it fails in between, the silence alarm of
a job that should fire is never muted.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from shared.operations.deployment import Deployment, aws_errors

SILENCE_COUNTS = re.compile(r'(?<=-silence"\) AND )(TRUE|FALSE)\b')


class State(StrEnum):
    """Whether a job fires: on, paused by `pause`, or deployed to be off."""

    ON = "on"
    PAUSED = "paused"
    DISABLED = "disabled"


class SilenceAlarm(StrEnum):
    """Whether the silence alarm of a job notifies. A disabled job has none, nor has any job of the laptop cloud."""

    ACTIVE = "active"
    MUTED = "muted"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The schedule of a job.

    Attributes:
        expression: when it fires, in EventBridge's syntax.
        zone: of the expression.
    """

    job: str
    state: State
    silence_alarm: SilenceAlarm
    expression: str
    zone: str

    def to_json(self) -> dict[str, Any]:
        """The schedule, JSON-ready."""
        return {
            "schedule": str(self.state),
            "silence_alarm": str(self.silence_alarm),
            "expression": self.expression,
            "zone": self.zone,
        }


def read_schedule(deployment: Deployment, job: str) -> Schedule:
    """Read the schedule of a job and the state of its silence alarm.

    Raises:
        ArcadeJobsError: AWS refused, or the stack is of another version.
    """
    with aws_errors(f"{job}: schedule"):
        if rule := deployment.rule(job):
            found = deployment.client("events").describe_rule(Name=rule)
        else:
            found = deployment.client("scheduler").get_schedule(Name=deployment.schedule(job))
    off = State.PAUSED if deployment.is_enabled(job) else State.DISABLED
    composite = _composite(deployment, job)
    return Schedule(
        job=job,
        state=State.ON if found["State"] == "ENABLED" else off,
        silence_alarm=_silence_alarm(composite),
        expression=found["ScheduleExpression"],
        zone=found.get("ScheduleExpressionTimezone", "UTC"),
    )


def pause(deployment: Deployment, job: str) -> Schedule:
    """Stop a job from firing, and mute its silence alarm. What is so already stays so.

    Returns:
        The schedule as it was before.

    Raises:
        ArcadeJobsError: AWS refused.
    """
    before = read_schedule(deployment, job)
    if before.state is State.ON:
        _switch_schedule(deployment, job, is_on=False)
    if before.silence_alarm is SilenceAlarm.ACTIVE:
        _switch_silence_alarm(deployment, job, counts=False)
    return before


def resume(deployment: Deployment, job: str) -> Schedule:
    """Unmute the silence alarm of a job, and let it fire again. What is so already stays so.

    Returns:
        The schedule as it was before.

    Raises:
        ArcadeJobsError: AWS refused.
    """
    before = read_schedule(deployment, job)
    if before.silence_alarm is SilenceAlarm.MUTED:
        _switch_silence_alarm(deployment, job, counts=True)
    if before.state is not State.ON:
        _switch_schedule(deployment, job, is_on=True)
    return before


def _switch_schedule(deployment: Deployment, job: str, *, is_on: bool) -> None:
    with aws_errors(f"{job}: schedule"):
        if rule := deployment.rule(job):
            events = deployment.client("events")
            (events.enable_rule if is_on else events.disable_rule)(Name=rule)
            return
        scheduler = deployment.client("scheduler")
        found = scheduler.get_schedule(Name=deployment.schedule(job))
        state = "ENABLED" if is_on else "DISABLED"
        scheduler.update_schedule(**_as_input(scheduler, "UpdateSchedule", found) | {"State": state})


def _switch_silence_alarm(deployment: Deployment, job: str, *, counts: bool) -> None:
    composite = _composite(deployment, job)
    if composite is None:
        return
    cloudwatch = deployment.client("cloudwatch")
    rule = SILENCE_COUNTS.sub("TRUE" if counts else "FALSE", composite["AlarmRule"])
    with aws_errors(f"{job}: silence alarm"):
        cloudwatch.put_composite_alarm(**_as_input(cloudwatch, "PutCompositeAlarm", composite) | {"AlarmRule": rule})


def _composite(deployment: Deployment, job: str) -> dict[str, Any] | None:
    """The composite alarm of a job; None on the laptop cloud."""
    with aws_errors(f"{job}: alarms"):
        found = deployment.client("cloudwatch").describe_alarms(
            AlarmNames=deployment.alarms(job), AlarmTypes=["CompositeAlarm"]
        )
    composites: list[dict[str, Any]] = found.get("CompositeAlarms", [])
    return composites[0] if composites else None


def _silence_alarm(composite: dict[str, Any] | None) -> SilenceAlarm:
    switch = SILENCE_COUNTS.search(composite["AlarmRule"]) if composite else None
    if switch is None:
        return SilenceAlarm.NONE
    return SilenceAlarm.ACTIVE if switch[0] == "TRUE" else SilenceAlarm.MUTED


def _as_input(client: Any, operation: str, found: dict[str, Any]) -> dict[str, Any]:
    """The input of an update that replaces the whole: everything found that it takes."""
    taken = client.meta.service_model.operation_model(operation).input_shape.members
    return {name: value for name, value in found.items() if name in taken}
