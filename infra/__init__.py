"""What the operator runs: the CDK app, a deployed stage, this machine, the command."""
