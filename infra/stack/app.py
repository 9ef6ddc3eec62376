"""The CDK app: read the choices, build the asset, create the stack. Without Docker and without calling AWS."""

import os
import sys

from infra.stack import node

node.serve_jsii()  # before the imports below, which start the CDK library

from aws_cdk import App  # noqa: E402
from aws_cdk import aws_lambda as lambda_  # noqa: E402

from infra.stack import bundle  # noqa: E402
from infra.stack.context import read_settings  # noqa: E402
from infra.stack.stack import ArcadeJobsStack  # noqa: E402
from infra.stage import stack_name  # noqa: E402
from shared.domain.errors import ArcadeJobsError  # noqa: E402


def main() -> None:
    """Synthesize. Mistakes in the choices go to stderr, one line each, and nothing is written."""
    try:
        # Without stack traces: they lead into the library's JavaScript, and hide its message.
        app = App(analytics_reporting=False, context={"aws:cdk:disable-stack-trace": True})
        settings = read_settings(app.node.get_all_context(), os.environ)
        code = lambda_.Code.from_asset(str(bundle.build(settings.target.platform)))
        ArcadeJobsStack(app, stack_name(settings.stage), settings=settings, code=code)
        app.synth()
    except ArcadeJobsError as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"arcade-jobs: {line}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
