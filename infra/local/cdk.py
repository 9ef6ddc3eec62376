"""The CDK command against the emulator: the same app and the same commands as against AWS."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from botocore.exceptions import ClientError

from infra.deployed.deployment import LOCAL_CREDENTIALS, LOCAL_REGION, local_session, stack_name
from infra.stack import node

ROOT = Path(__file__).parents[2]
TOOLKIT = "CDKToolkit"  # the stack that `cdk bootstrap` makes


class CdkError(RuntimeError):
    """The CDK command failed. The message is its reason in one line, and where the rest is."""


@dataclass(frozen=True, kw_only=True)
class Cdk:
    """The CDK command, for one emulator.

    Attributes:
        endpoint: the emulator's URL.
        folder: for what it synthesizes, its log, and what it remembers of accounts.
        stage: the stack's.
        context: what every command is given with `-c`.
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
        """Make what every CDK deployment needs, unless it is there.

        Raises:
            CdkError: the command failed.
        """
        cloudformation = local_session().client("cloudformation", endpoint_url=self.endpoint)
        try:
            stacks = cloudformation.describe_stacks(StackName=TOOLKIT)["Stacks"]
        except ClientError:  # there is none
            stacks = []
        if not any(stack["StackStatus"] in {"CREATE_COMPLETE", "UPDATE_COMPLETE"} for stack in stacks):
            self._run("bootstrap")

    def deploy(self, **context: str) -> None:
        """Deploy the stack, or update it.

        Args:
            context: more of it, for this once.

        Raises:
            CdkError: the app refused the context, or the command failed.
        """
        self._run("deploy", self.stack, "--require-approval", "never", "--method", "direct", "--progress", "events",
                  context=context)  # fmt: skip

    def destroy(self) -> None:
        """Destroy the stack.

        Raises:
            CdkError: the command failed.
        """
        self._run("destroy", self.stack, "--force")

    def _run(self, *arguments: str, context: Mapping[str, str] | None = None) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [str(node.executable()), str(node.package("aws-cdk") / "bin" / "cdk"), *arguments]
        for name, value in {**self.context, "stage": self.stage, "target": "local", **(context or {})}.items():
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
            raise CdkError(f"cdk {arguments[0]} failed: {reason} (all of it: {log})")

    def _environment(self) -> dict[str, str]:
        """Ours, without a trace of any account of AWS."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return kept | {
            **LOCAL_CREDENTIALS,
            "AWS_REGION": LOCAL_REGION,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "CDK_HOME": str(self.folder / "home"),  # it remembers account ids by access key, and ours is everybody's
            "CDK_DISABLE_CLI_TELEMETRY": "true",
            "CDK_VALIDATION": "false",  # several seconds each time; the rules are for AWS, and checked on the way there
        }


def _reason(output: str) -> str:
    """The line that says why: our own app's, or the first resource that failed, or the CDK's mark, or the last one."""
    lines = [" ".join(line.split()) for line in output.splitlines() if line.strip()]
    for mark in ("arcade-jobs: ", "_FAILED ", "❌"):
        for line in lines:
            if mark in line:
                return line.removeprefix(mark)
    return lines[-1] if lines else "no message"
