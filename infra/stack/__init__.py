"""The CDK app: what is deployed to AWS, and the choices it is built from."""
