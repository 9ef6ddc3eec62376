"""Whether a job fires: read, paused, resumed (DESIGN section 5, Silence is an alarm).

A pause is two switches. The schedule is disabled, and the job's silence no longer counts in its composite alarm, which
is the one that notifies: it looks at the state of the silence alarm, not at its actions, so its rule has to change. The
rule holds a constant beside the silence for this, `(ALARM("...-silence") AND TRUE)`. Everything else goes on to notify:
an event that was delivered before the pause can still fail.

Pausing disables first and mutes second, resuming goes the other way round: whatever fails in between, a job that does
not fire is never a job whose silence nobody hears.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from infra.deployed.deployment import Deployment, asking

SILENCE_COUNTS = re.compile(r'(?<=-silence"\) AND )(TRUE|FALSE)\b')


class State(StrEnum):
    """Whether a job fires: on, paused by hand, or deployed to be off."""

    ON = "on"
    PAUSED = "paused"
    DISABLED = "disabled"


class Silence(StrEnum):
    """Whether anybody hears that a job does not succeed; `unwatched` without an alarm on it: disabled, or local."""

    WATCHED = "watched"
    MUTED = "muted"
    UNWATCHED = "unwatched"


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The schedule of a job as it stands.

    Attributes:
        expression: when it fires, in EventBridge's words.
        zone: in which the expression is read.
    """

    job: str
    state: State
    silence: Silence
    expression: str
    zone: str

    def to_json(self) -> dict[str, Any]:
        """The schedule, JSON-ready."""
        return {
            "schedule": str(self.state),
            "silence": str(self.silence),
            "expression": self.expression,
            "zone": self.zone,
        }


def read_schedule(deployment: Deployment, job: str) -> Schedule:
    """Ask how the schedule of a job stands.

    Raises:
        DeploymentError: AWS refused, or the stack is of another version.
    """
    with asking(f"{job}: schedule"):
        if rule := deployment.rule(job):
            found = deployment.client("events").describe_rule(Name=rule)
        else:
            found = deployment.client("scheduler").get_schedule(Name=deployment.schedule(job))
    off = State.PAUSED if deployment.is_enabled(job) else State.DISABLED
    composite = _composite(deployment, job)
    return Schedule(
        job=job,
        state=State.ON if found["State"] == "ENABLED" else off,
        silence=_silence(composite),
        expression=found["ScheduleExpression"],
        zone=found.get("ScheduleExpressionTimezone", "UTC"),
    )


def pause(deployment: Deployment, job: str) -> Schedule:
    """Stop a job from firing, and mute its silence. What is so already stays so.

    Returns:
        The schedule as it was before.

    Raises:
        DeploymentError: AWS refused.
    """
    before = read_schedule(deployment, job)
    if before.state is State.ON:
        _switch_schedule(deployment, job, is_on=False)
    if before.silence is Silence.WATCHED:
        _switch_silence(deployment, job, counts=False)
    return before


def resume(deployment: Deployment, job: str) -> Schedule:
    """Let the silence of a job be heard again, and the job fire. What is so already stays so.

    Returns:
        The schedule as it was before.

    Raises:
        DeploymentError: AWS refused.
    """
    before = read_schedule(deployment, job)
    if before.silence is Silence.MUTED:
        _switch_silence(deployment, job, counts=True)
    if before.state is not State.ON:
        _switch_schedule(deployment, job, is_on=True)
    return before


def _switch_schedule(deployment: Deployment, job: str, *, is_on: bool) -> None:
    with asking(f"{job}: schedule"):
        if rule := deployment.rule(job):
            events = deployment.client("events")
            (events.enable_rule if is_on else events.disable_rule)(Name=rule)
            return
        scheduler = deployment.client("scheduler")
        found = scheduler.get_schedule(Name=deployment.schedule(job))
        state = "ENABLED" if is_on else "DISABLED"
        scheduler.update_schedule(**_as_input(scheduler, "UpdateSchedule", found) | {"State": state})


def _switch_silence(deployment: Deployment, job: str, *, counts: bool) -> None:
    composite = _composite(deployment, job)
    if composite is None:
        return
    cloudwatch = deployment.client("cloudwatch")
    rule = SILENCE_COUNTS.sub("TRUE" if counts else "FALSE", composite["AlarmRule"])
    with asking(f"{job}: silence alarm"):
        cloudwatch.put_composite_alarm(**_as_input(cloudwatch, "PutCompositeAlarm", composite) | {"AlarmRule": rule})


def _composite(deployment: Deployment, job: str) -> dict[str, Any] | None:
    """The composite alarm of a job; None on the laptop."""
    with asking(f"{job}: alarms"):
        found = deployment.client("cloudwatch").describe_alarms(
            AlarmNames=deployment.alarms(job), AlarmTypes=["CompositeAlarm"]
        )
    composites: list[dict[str, Any]] = found.get("CompositeAlarms", [])
    return composites[0] if composites else None


def _silence(composite: dict[str, Any] | None) -> Silence:
    switch = SILENCE_COUNTS.search(composite["AlarmRule"]) if composite else None
    if switch is None:
        return Silence.UNWATCHED
    return Silence.WATCHED if switch[0] == "TRUE" else Silence.MUTED


def _as_input(client: Any, operation: str, found: dict[str, Any]) -> dict[str, Any]:
    """What an update has to be given again, for it replaces the whole: all of what was found that it takes."""
    taken = client.meta.service_model.operation_model(operation).input_shape.members
    return {name: value for name, value in found.items() if name in taken}
