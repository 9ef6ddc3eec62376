"""The CDK command against the emulator: the same app and the same commands as against AWS."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from botocore.exceptions import ClientError

from infra.local import emulator
from infra.stage import stack_name
from shared.domain.errors import ArcadeJobsError, BadInputError, NotReachableError
from shared.domain.periods import load_zone

ROOT = Path(__file__).parents[2]
TOOLKIT = "CDKToolkit"  # the stack that `cdk bootstrap` creates


@dataclass(frozen=True, kw_only=True)
class Cdk:
    """The CDK command, for one emulator.

    Attributes:
        endpoint: the emulator's URL.
        folder: for what it synthesizes, its log and its cache of accounts.
        stage: the stack's.
        context: for every command.
    """

    endpoint: str
    folder: Path
    stage: str
    context: Mapping[str, str]

    @property
    def stack(self) -> str:
        """The stack's name."""
        return stack_name(self.stage)

    def bootstrap(self) -> None:
        """Create what every CDK deployment needs, unless it is there.

        Raises:
            ArcadeJobsError: the command failed.
        """
        cloudformation = emulator.session().client("cloudformation", endpoint_url=self.endpoint)
        try:
            stacks = cloudformation.describe_stacks(StackName=TOOLKIT)["Stacks"]
        except ClientError:  # there is none
            stacks = []
        if not any(stack["StackStatus"] in {"CREATE_COMPLETE", "UPDATE_COMPLETE"} for stack in stacks):
            # With the account named, and no app: it would be synthesized to learn which account it is for.
            self.run("bootstrap", f"aws://{emulator.ACCOUNT}/{emulator.REGION}", "--app", "")

    def deploy(self) -> None:
        """Deploy the stack, or update it.

        Raises:
            ArcadeJobsError: the app refused the context, or the command failed.
        """
        self.run("deploy", self.stack, "--require-approval", "never", "--method", "direct", "--progress", "events")

    def run(self, *arguments: str) -> None:
        """Run one command; its output goes to the log.

        Raises:
            ArcadeJobsError: it failed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "infra.stack.node", *arguments]
        for name, value in {**self.context, "stage": self.stage, "target": "local"}.items():
            command += ["--context", f"{name}={value}"]
        command += ["--ci", "--no-notices", "--output", str(self.folder / "cdk.out")]
        log = self.folder / "cdk.log"
        with log.open("a") as output:
            output.write(f"$ cdk {' '.join(arguments)}\n")
            output.flush()
            start = log.stat().st_size
            done = subprocess.run(
                command,
                check=False,
                cwd=ROOT,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        if done.returncode:
            reason = _reason(log.read_bytes()[start:].decode(errors="replace"))
            raise ArcadeJobsError(f"cdk {arguments[0]} failed: {reason} (all of it: {log})")

    def _environment(self) -> dict[str, str]:
        """Ours, without any setting of an AWS account."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return kept | {
            **emulator.CREDENTIALS,
            "AWS_REGION": emulator.REGION,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "CDK_HOME": str(
                self.folder / "home"
            ),  # it remembers account ids by access key, and every emulator has this one
            "CDK_DISABLE_CLI_TELEMETRY": "true",
            "CDK_VALIDATION": "false",  # several seconds each time; the rules are for AWS, and checked on the way there
        }


def check_context(context: Mapping[str, str]) -> ZoneInfo:
    """Check the choices of a deployment as the app does, without a CDK command; return the zone of the periods.

    Raises:
        BadInputError: one line for each mistake.
        NotReachableError: what the app needs is not installed.
    """
    done = subprocess.run(
        [sys.executable, "-m", "infra.stack.check"],
        check=False,
        cwd=ROOT,
        input=json.dumps({**context, "target": "local"}),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        mark = "arcade-jobs: "
        mistakes = [line.removeprefix(mark) for line in done.stderr.splitlines() if line.startswith(mark)]
        if not mistakes:
            raise NotReachableError(f"the choices cannot be checked: {_reason(done.stderr)}; run make setup")
        raise BadInputError("\n".join(mistakes))
    return load_zone(done.stdout)


def _reason(output: str) -> str:
    """The line with the reason: our own app's, the first resource that failed, the CDK's mark, or the last line."""
    lines = [" ".join(line.split()) for line in output.splitlines() if line.strip()]
    for mark in ("arcade-jobs: ", "_FAILED ", "❌"):
        for line in lines:
            if mark in line:
                return line.removeprefix(mark)
    return lines[-1] if lines else "no message"
