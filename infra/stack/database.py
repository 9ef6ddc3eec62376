"""The database as the functions see it: an environment, a permission to connect, and a place in the network.

There is no NAT and no interface endpoint: tokens are signed in the function, logs leave through Lambda, DynamoDB and
S3 are reached through gateway endpoints, which cost nothing (docs/decisions.md, Network).
"""

from urllib.parse import quote

from aws_cdk import Annotations, ArnFormat, CfnOutput, Duration, RemovalPolicy, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_rds as rds
from constructs import Construct

from infra.stack.acknowledged import acknowledge
from infra.stack.database_choice import ADMIN, ExistingDatabase, NewDatabase

HTTPS = ec2.Port.tcp(443)
ENGINE = rds.DatabaseClusterEngine.aurora_postgres(version=rds.AuroraPostgresEngineVersion.VER_17_7)
POSTGRES = 5432
PAUSE_AFTER = Duration.minutes(5)  # the shortest that Aurora takes; the hourly job resumes it for little more

# A function in a VPC creates its own network interfaces. The managed policy for this also grants logs on everything, so
# the actions are listed here (https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html). Without them the
# template is valid, and its deployment fails.
INTERFACE_ACTIONS = (
    *("ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface"),
    *("ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses"),
)


class Database(Construct):
    """Where the functions connect to, and how.

    Attributes:
        environment: the DATABASE_ variables.
        vpc: the network of the functions; None for no network of their own, and so the next two.
        subnets: where in it.
        function_security_groups: theirs, which the database lets in.
    """

    def __init__(self, scope: Construct, id_: str) -> None:
        super().__init__(scope, id_)
        self.environment: dict[str, str] = {}
        self.vpc: ec2.IVpc | None = None
        self.subnets: ec2.SubnetSelection | None = None
        self.function_security_groups: list[ec2.ISecurityGroup] | None = None

    def grant_connect(self, role: iam.Role) -> None:
        """Let a function's role connect. With a password in the URL there is nothing to grant."""

    def _add_function_group(self, vpc: ec2.IVpc, database_group: ec2.ISecurityGroup, port: int) -> None:
        """A group for the functions: out to the database, and to HTTPS, which leads to the gateway endpoints alone."""
        group = ec2.SecurityGroup(
            self, "Functions", vpc=vpc, allow_all_outbound=False, description="The functions of arcade-jobs"
        )
        group.add_egress_rule(ec2.Peer.any_ipv4(), HTTPS, "AWS APIs through gateway endpoints")
        group.add_egress_rule(database_group, ec2.Port.tcp(port), "the database")
        database_group.add_ingress_rule(group, ec2.Port.tcp(port), "the functions of arcade-jobs")
        self.function_security_groups = [group]


class UrlDatabase(Database):
    """A database that the functions reach by its URL alone, as the emulator's do over the loopback."""

    def __init__(self, scope: Construct, id_: str, *, url: str) -> None:
        super().__init__(scope, id_)
        self.environment = {"DATABASE_URL": url, "DATABASE_AUTH": "url"}


class ImportedDatabase(Database):
    """A database that is there already, and the functions' way into its network."""

    def __init__(self, scope: Construct, id_: str, *, existing: ExistingDatabase) -> None:
        super().__init__(scope, id_)
        self._existing = existing
        self.vpc = ec2.Vpc.from_vpc_attributes(
            self,
            "Vpc",
            vpc_id=existing.vpc_id,
            availability_zones=list(existing.availability_zones),
            private_subnet_ids=list(existing.subnet_ids),
        )
        Annotations.of(self).acknowledge_warning(
            "@aws-cdk/aws-ec2:noSubnetRouteTableId", "the route tables are used by their ids, below"
        )
        self.subnets = ec2.SubnetSelection(subnets=self.vpc.private_subnets)
        database_group = ec2.SecurityGroup.from_security_group_id(self, "Database", existing.security_group_id)
        self._add_function_group(self.vpc, database_group, existing.port)
        self.environment = {
            "DATABASE_URL": _url_without_password(existing.user, existing.host, str(existing.port), existing.name),
            "DATABASE_AUTH": existing.auth,
        }
        if existing.secret_arn:
            self.environment["DATABASE_SECRET_ARN"] = existing.secret_arn
            Annotations.of(self).add_info(
                "databaseAuth=secret: the subnets need a way to Secrets Manager (an interface endpoint or a NAT);"
                " this stack adds none"
            )
        for service in ("dynamodb", "s3") if existing.route_table_ids else ():
            ec2.CfnVPCEndpoint(
                self,
                service,
                vpc_id=existing.vpc_id,
                service_name=f"com.amazonaws.{Stack.of(self).region}.{service}",
                vpc_endpoint_type="Gateway",
                route_table_ids=sorted(set(existing.route_table_ids)),
            )

    def grant_connect(self, role: iam.Role) -> None:
        """Allow tokens for one database user, or to read one secret."""
        _grant_interfaces(role)
        if self._existing.resource_id:
            _grant_tokens(role, self._existing.resource_id, self._existing.user)
        if self._existing.secret_arn:
            role.add_to_policy(
                iam.PolicyStatement(actions=["secretsmanager:GetSecretValue"], resources=[self._existing.secret_arn])
            )


class AuroraDatabase(Database):
    """An Aurora PostgreSQL that pauses when it is idle, in a network without a way out."""

    def __init__(self, scope: Construct, id_: str, *, new: NewDatabase, is_protected: bool) -> None:
        super().__init__(scope, id_)
        self._user = new.user
        isolated = ec2.SubnetType.PRIVATE_ISOLATED
        self.vpc = vpc = ec2.Vpc(
            self,
            "Vpc",
            availability_zones=list(new.availability_zones) if new.availability_zones else None,
            max_azs=None if new.availability_zones else 2,
            nat_gateways=0,
            subnet_configuration=[ec2.SubnetConfiguration(name="isolated", subnet_type=isolated)],
            gateway_endpoints={
                "DynamoDb": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.DYNAMODB),
                "S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3),
            },
            restrict_default_security_group=False,  # a custom resource would do it, and nothing uses that group
        )
        self.subnets = ec2.SubnetSelection(subnet_type=isolated)
        group = ec2.SecurityGroup(
            self, "Group", vpc=vpc, allow_all_outbound=False, description="The database of the arcade"
        )
        self.cluster = rds.DatabaseCluster(
            self,
            "Cluster",
            engine=ENGINE,
            writer=rds.ClusterInstance.serverless_v2("Writer"),
            serverless_v2_min_capacity=new.min_capacity,
            serverless_v2_max_capacity=new.max_capacity,
            serverless_v2_auto_pause_duration=None if new.min_capacity else PAUSE_AFTER,
            credentials=rds.Credentials.from_generated_secret(ADMIN),
            default_database_name=new.name,
            iam_authentication=True,
            enable_data_api=True,
            storage_encrypted=True,
            backup=rds.BackupProps(retention=Duration.days(new.backup_days), preferred_window=new.backup_window),
            copy_tags_to_snapshot=True,
            deletion_protection=is_protected,
            removal_policy=RemovalPolicy.SNAPSHOT,
            vpc=vpc,
            vpc_subnets=self.subnets,
            security_groups=[group],
        )
        self._add_function_group(vpc, group, POSTGRES)
        host = self.cluster.cluster_endpoint.hostname
        self.environment = {
            "DATABASE_URL": _url_without_password(new.user, host, str(POSTGRES), new.name),
            "DATABASE_AUTH": "iam",
        }
        self._acknowledge(is_protected=is_protected)
        self._add_outputs(new, vpc, group, host)

    def grant_connect(self, role: iam.Role) -> None:
        """Allow tokens for one database user."""
        _grant_interfaces(role)
        _grant_tokens(role, self.cluster.cluster_resource_identifier, self._user)

    def _add_outputs(self, new: NewDatabase, vpc: ec2.Vpc, group: ec2.SecurityGroup, host: str) -> None:
        """What `db upgrade` needs to reach the database through the Data API, and the platform to join its network."""
        stack, secret = Stack.of(self), self.cluster.secret
        CfnOutput(stack, "DatabaseClusterArn", value=self.cluster.cluster_arn)
        CfnOutput(stack, "DatabaseAdminSecretArn", value=secret.secret_arn if secret else "")
        CfnOutput(stack, "DatabaseName", value=new.name)
        CfnOutput(stack, "DatabaseUser", value=new.user)
        CfnOutput(stack, "DatabaseHost", value=host)
        CfnOutput(stack, "DatabasePort", value=str(POSTGRES))
        CfnOutput(stack, "DatabaseVpcId", value=vpc.vpc_id)
        CfnOutput(stack, "DatabaseSubnetIds", value=",".join(subnet.subnet_id for subnet in vpc.isolated_subnets))
        CfnOutput(stack, "DatabaseSecurityGroupId", value=group.security_group_id)

    def _acknowledge(self, *, is_protected: bool) -> None:
        if not is_protected:
            acknowledge(self, "AwsSolutions-RDS10", "a stage that may be destroyed leaves a snapshot of its database")
        acknowledge(
            self,
            "AwsSolutions-VPC7",
            "flow logs cost more each month than all the rest, for a network with one database, three functions and"
            " no way out",
        )
        acknowledge(
            self,
            "AwsSolutions-SMG4",
            "the admin's password is used by the Data API alone, for migrations; the jobs have none, and rotating it"
            " needs a function in the network with a way to Secrets Manager",
        )


def _url_without_password(user: str, host: str, port: str, database: str) -> str:
    """A SQLAlchemy URL without a password: a token or a secret is added when the function connects."""
    return f"postgresql+pg8000://{quote(user, safe='')}@{host}:{port}/{quote(database, safe='')}"


def _grant_interfaces(role: iam.Role) -> None:
    role.add_to_policy(iam.PolicyStatement(actions=list(INTERFACE_ACTIONS), resources=["*"]))
    acknowledge(role, "AwsSolutions-IAM5[Resource::*]", "network interfaces have no name before they are created")


def _grant_tokens(role: iam.Role, resource_id: str, user: str) -> None:
    arn = Stack.of(role).format_arn(
        service="rds-db",
        resource="dbuser",
        resource_name=f"{resource_id}/{user}",
        arn_format=ArnFormat.COLON_RESOURCE_NAME,
    )
    role.add_to_policy(iam.PolicyStatement(actions=["rds-db:connect"], resources=[arn]))
