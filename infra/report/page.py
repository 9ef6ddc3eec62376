"""The page: its sections in order, each from what was read."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from html import escape
from importlib.resources import files
from string import Template

from infra.deployed.pools import OpenPools
from infra.report import money, runs
from infra.report.elements import Html, card, join, section, soft, table, tag
from infra.report.facts import JobFacts, Report, Unread
from infra.report.formats import MINUTE, age, count, moment
from infra.stage import REPLAY_STAGES
from shared.domain.run import RunStatus
from shared.operations.schedule import State
from shared.operations.status import Status

UNPAID_FOR_LONG = timedelta(days=7)


def render(report: Report) -> str:
    """The page of a report: one file that needs no other, no network and no script.

    Raises:
        ArcadeJobsError: the charting library is not installed.
    """
    template = Template(files("infra.report").joinpath("page.html").read_text(encoding="utf-8"))
    body = join(_header(report), tag("main", *_sections(report)))
    return template.substitute(title=escape(f"arcade-jobs, stage {report.stage}"), body=body)


def _header(report: Report) -> Html:
    made = ("Made at ", moment(report.made_at), " UTC, of what began since ", moment(report.since))
    return tag(
        "header", tag("h1", f"arcade-jobs, stage {report.stage}"), soft(report.where), tag("p", *made, class_="soft")
    )


def _sections(report: Report) -> Iterable[Html]:
    yield _verdict(report)
    yield section("runs", "Runs", tag("div", *map(runs.summary, report.jobs), class_="grid"))
    yield section("calendar", "How each slot ended", *runs.calendars(report))
    yield section("durations", "How long runs took", tag("div", *map(runs.durations, report.jobs), class_="grid"))
    yield section("troubled", "Runs that did not succeed at once", *runs.troubled(report))
    yield section("dead-letters", "Dead letters", _dead_letters(report))
    if isinstance(report.pools, Unread):
        yield section("pools", "Pools, money and boards", _unread(report.pools))
    else:
        yield from money.sections(report.pools, now=report.made_at)


def _verdict(report: Report) -> Html:
    """What needs a person, each with the command to type."""
    found = list(_needs(report))
    unread = {"alarms": report.status, "dead letters": report.dead_letters, "pools": report.pools}
    names = [name for name, part in unread.items() if isinstance(part, Unread)]
    not_read = soft(f"Not read: {', '.join(names)}") if names else Html("")
    if not found:
        return tag("div", tag("b", "Nothing needs attention"), not_read, class_="card verdict")
    items = (tag("li", f"{what}: ", tag("code", f"arcade-jobs {command}{report.options}")) for what, command in found)
    return tag("div", tag("b", "Needs attention"), tag("ul", *items), not_read, class_="card verdict bad")


def _needs(report: Report) -> Iterable[tuple[str, str]]:
    if not isinstance(report.status, Unread):
        yield from _alarms(report.status)
    for job in report.jobs:
        last = job.runs[0] if job.runs else None
        if last and last.status not in {RunStatus.SUCCEEDED, RunStatus.RUNNING}:
            yield f"the last run of {job.job} is {last.status}", f"show {last.run_id}"
        if missed := _missed(job):
            yield f"{count(missed, 'slot')} of {job.job} missed since its last success", f"trigger {job.job}"
    if not isinstance(report.dead_letters, Unread) and report.dead_letters:
        yield count(len(report.dead_letters), "dead letter"), "dead-letters list"
    if not isinstance(report.pools, Unread):
        yield from _open_pools(report.pools.open, now=report.made_at, is_replay=report.stage in REPLAY_STAGES)


def _alarms(status: Status) -> Iterable[tuple[str, str]]:
    for alarm in (*status.alarms, *(name for job in status.jobs for name in job.alarms)):
        yield f"the alarm {alarm} is raised", "status"
    for job in status.jobs:
        if job.is_silent and job.schedule.state is State.ON:
            silence = f"silent for {age(job.silence)}" if job.silence else "without any success"
            yield f"{job.job} is {silence}", f"trigger {job.job}"


def _open_pools(pools: OpenPools, *, now: datetime, is_replay: bool) -> Iterable[tuple[str, str]]:
    if pools.due:
        yield f"{count(pools.due, 'pool')} due", "trigger prize-pool"
    if not is_replay and pools.oldest_unpaid_at and now - pools.oldest_unpaid_at >= UNPAID_FOR_LONG:
        waiting = age(now - pools.oldest_unpaid_at)
        yield f"a pool is unpaid for {waiting}, see Unpaid pools; the platform pays", "status"


def _missed(job: JobFacts) -> int:
    """How many slots no run has made up for: one that succeeds does all that is due by then."""
    found = job.statistics
    if found is None or found.missed is None:
        return 0
    return sum(found.last_success_at is None or slot > found.last_success_at for slot in found.missed)


def _dead_letters(report: Report) -> Html:
    if isinstance(report.dead_letters, Unread):
        return _unread(report.dead_letters)
    if not report.dead_letters:
        return card(soft("no dead letters"))
    rows = [
        (
            letter.job,
            letter.time or "none",
            f"{letter.sent_at:{MINUTE}}",
            letter.malformed or letter.reason,
            tag("span", letter.id, class_="mono"),
        )
        for letter in report.dead_letters
    ]
    redrive = tag("p", "Once the cause is mended: ", tag("code", f"arcade-jobs dead-letters redrive{report.options}"))
    return card(table("Events that kept failing, or were not delivered", ("job", "slot", "queued", "why", "id"), rows,
                      stacks=True), redrive)  # fmt: skip


def _unread(unread: Unread) -> Html:
    return card(soft(f"Not read: {unread.reason}"))
