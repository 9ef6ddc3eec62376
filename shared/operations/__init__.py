"""A deployed stage through AWS's APIs: what the command and the operations endpoints share."""
