"""The choices of a deployment, checked before anything is started: `local up` runs this and no CDK command.

A process of its own, since it loads the CDK library, which the command does without. Reads a context as JSON from
standard input, in addition to that of cdk.json; prints the time zone that was chosen.
"""

import json
import os
import sys
from pathlib import Path

from infra.stack import node

node.serve_jsii()  # before the import below, which starts the CDK library

from infra.stack.context import read_settings  # noqa: E402
from shared.domain.errors import ArcadeJobsError  # noqa: E402

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Mistakes go to stderr, one line each."""
    try:
        node.package("aws-cdk")  # the command, which comes with npm
        context = json.loads((ROOT / "cdk.json").read_text(encoding="utf-8"))["context"]
        settings = read_settings({**context, **json.load(sys.stdin)}, os.environ)
    except ArcadeJobsError as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"arcade-jobs: {line}\n")
        sys.exit(1)
    sys.stdout.write(settings.timezone)


if __name__ == "__main__":
    main()
