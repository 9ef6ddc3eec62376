"""Whether a job fires: read, paused, resumed.

A pause is two switches. The schedule is disabled, and the silence alarm no longer counts in the job's composite alarm,
which is the one that notifies: it reads the state of the silence alarm, not its actions, so its rule has to
change. The rule holds a constant beside the silence alarm for this, `(ALARM("...-silence") AND TRUE)`. Everything else
still notifies: an event that was delivered before the pause can fail.

Pausing disables, then mutes, then notes who did it and why; resuming goes the other way round. If it fails in between,
the silence alarm of a job that should fire is never muted, and no time in which it should fire is noted as paused.
A note that cannot be written stops neither: it is written by the next `pause` or `resume`.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from shared.domain.errors import BadInputError
from shared.operations.deployment import Deployment, aws_errors
from shared.runs.pauses import PauseNote, Switched, list_pause_notes, write_pause_note
from shared.runs.store import RunStoreError

SILENCE_COUNTS = re.compile(r'(?<=-silence"\) AND )(TRUE|FALSE)\b')
MAX_REASON = 500  # characters, as of a manual run


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


@dataclass(frozen=True, kw_only=True)
class Switch:
    """What `pause` or `resume` did.

    Attributes:
        before: the schedule as it was.
        note: who did it and why; None: it was so already, and no reason was given.
        not_noted: why the note could not be written, in one line.
    """

    before: Schedule
    note: PauseNote | None
    not_noted: str | None = None


def check_reason(reason: str | None) -> str | None:
    """A reason that can be stored and shown on one line, without spaces around it; None if none was given.

    Raises:
        BadInputError: it is empty or too long, or has characters that do not print.
    """
    if reason is None:
        return None
    reason = reason.strip()
    if not reason:
        raise BadInputError("--reason: empty; say why, or leave it out")
    if len(reason) > MAX_REASON:
        raise BadInputError(f"--reason: {len(reason)} characters are too many; at most {MAX_REASON}")
    if not reason.isprintable():
        raise BadInputError(f"--reason: {reason!a} has characters that do not print")
    return reason


def pause(deployment: Deployment, job: str, *, reason: str | None = None, now: datetime) -> Switch:
    """Stop a job from firing, mute its silence alarm, note why. What is so already stays so.

    Raises:
        BadInputError: the reason cannot be stored.
        ArcadeJobsError: AWS refused.
    """
    reason = check_reason(reason)
    before = read_schedule(deployment, job)
    if before.state is State.ON:
        _switch_schedule(deployment, job, is_on=False)
    if before.silence_alarm is SilenceAlarm.ACTIVE:
        _switch_silence_alarm(deployment, job, counts=False)
    return _note(deployment, before, Switched.PAUSED, reason, now)


def resume(deployment: Deployment, job: str, *, reason: str | None = None, now: datetime) -> Switch:
    """Note why, unmute the silence alarm of a job, and let it fire again. What is so already stays so.

    Raises:
        BadInputError: the reason cannot be stored.
        ArcadeJobsError: AWS refused.
    """
    reason = check_reason(reason)
    before = read_schedule(deployment, job)
    switch = _note(deployment, before, Switched.RESUMED, reason, now)
    if before.silence_alarm is SilenceAlarm.MUTED:
        _switch_silence_alarm(deployment, job, counts=True)
    if before.state is not State.ON:
        _switch_schedule(deployment, job, is_on=True)
    return switch


def _note(deployment: Deployment, before: Schedule, switched: Switched, reason: str | None, now: datetime) -> Switch:
    """Note a switch, unless it is the last one's repetition without a reason."""
    note = PauseNote(job=before.job, switched=switched, at=now, actor=deployment.caller, reason=reason)
    store = deployment.run_store()
    try:
        last = next(list_pause_notes(store, before.job), None)
        is_known = (last.switched if last else Switched.RESUMED) is switched
        if is_known and reason is None and (before.state is State.ON) is (switched is Switched.RESUMED):
            return Switch(before=before, note=None)
        write_pause_note(store, note)
    except RunStoreError as error:
        return Switch(before=before, note=None, not_noted=str(error))
    return Switch(before=before, note=note)


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
