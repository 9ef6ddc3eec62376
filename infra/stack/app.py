"""The CDK app: read the choices, build the asset, make the stack. Without Docker and without asking AWS anything."""

import os
import sys

from infra.stack import node


def main() -> None:
    """Synthesize. What is wrong with the choices goes to stderr, one line each, and nothing is written."""
    try:
        node.serve_jsii()  # before the CDK library is imported, which starts it
        _synthesize()
    except (ValueError, RuntimeError) as error:
        if type(error).__module__.partition(".")[0] != "infra":
            raise
        for line in str(error).splitlines():
            sys.stderr.write(f"arcade-jobs: {line}\n")
        sys.exit(1)


def _synthesize() -> None:
    from aws_cdk import App  # noqa: PLC0415 - see main
    from aws_cdk import aws_lambda as lambda_  # noqa: PLC0415

    from infra.stack import bundle  # noqa: PLC0415
    from infra.stack.context import read_settings  # noqa: PLC0415
    from infra.stack.stack import ArcadeJobsStack  # noqa: PLC0415
    from infra.stage import stack_name  # noqa: PLC0415

    # Without stack traces: they lead into the library's JavaScript, and would be printed above what it has to say.
    app = App(analytics_reporting=False, context={"aws:cdk:disable-stack-trace": True})
    settings = read_settings(app.node.get_all_context(), os.environ)
    code = lambda_.Code.from_asset(str(bundle.build(settings.target.platform)))
    ArcadeJobsStack(app, stack_name(settings.stage), settings=settings, code=code)
    app.synth()


if __name__ == "__main__":
    main()
