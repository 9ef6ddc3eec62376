"""Where the functions connect to, and the network around it."""

import pytest

from tests.infra.template import EXISTING, EXISTING_WITH_SECRET, JOB_NAMES, NEW


def environment(template, job="prize-pool"):
    return template.function(job)["Environment"]["Variables"]


def test_a_url_with_tokens_has_no_password(synthesize):
    given = environment(synthesize(EXISTING))
    host = EXISTING["databaseHost"]
    assert given["DATABASE_URL"] == f"postgresql+pg8000://jobs@{host}:5432/arcade"
    assert given["DATABASE_AUTH"] == "iam"


def test_a_port_and_a_user_are_taken_as_they_are(synthesize):
    given = environment(synthesize(EXISTING | {"databasePort": "6432", "databaseUser": "arcade_jobs"}))
    assert given["DATABASE_URL"].startswith("postgresql+pg8000://arcade_jobs@")
    assert given["DATABASE_URL"].endswith(":6432/arcade")


def test_the_functions_run_in_the_given_subnets(synthesize):
    template = synthesize(EXISTING)
    for job in JOB_NAMES:
        network = template.function(job)["VpcConfig"]
        assert network["SubnetIds"] == EXISTING["subnetIds"].split(",")
        assert len(network["SecurityGroupIds"]) == 1


def test_the_functions_reach_the_database_and_https_only(synthesize):
    template = synthesize(EXISTING)
    (group_id, group), *others = template.resources("AWS::EC2::SecurityGroup").items()
    assert not others
    assert [(rule["FromPort"], rule["ToPort"]) for rule in group["Properties"]["SecurityGroupEgress"]] == [(443, 443)]
    egress = template.one("AWS::EC2::SecurityGroupEgress")
    assert (egress["FromPort"], egress["DestinationSecurityGroupId"]) == (5432, EXISTING["securityGroupId"])
    ingress = template.one("AWS::EC2::SecurityGroupIngress")
    assert (ingress["FromPort"], ingress["GroupId"]) == (5432, EXISTING["securityGroupId"])
    assert ingress["SourceSecurityGroupId"] == {"Fn::GetAtt": [group_id, "GroupId"]}


def test_route_tables_get_gateway_endpoints_for_dynamodb_and_s3(synthesize):
    endpoints = synthesize(EXISTING).properties("AWS::EC2::VPCEndpoint")
    services = {"".join(map(str, endpoint["ServiceName"]["Fn::Join"][1])).rpartition(".")[2] for endpoint in endpoints}
    assert services == {"dynamodb", "s3"}
    assert all(endpoint["VpcEndpointType"] == "Gateway" for endpoint in endpoints)
    assert all(endpoint["RouteTableIds"] == ["rtb-0123456789abcdef0"] for endpoint in endpoints)


def test_endpoints_that_exist_are_kept(synthesize):
    context = {name: value for name, value in EXISTING.items() if name != "routeTableIds"}
    assert not synthesize(context | {"gatewayEndpoints": "exist"}).resources("AWS::EC2::VPCEndpoint")


def test_a_secret_is_passed_to_the_functions(synthesize):
    given = environment(synthesize(EXISTING_WITH_SECRET))
    assert given["DATABASE_AUTH"] == "secret"
    assert given["DATABASE_SECRET_ARN"] == EXISTING_WITH_SECRET["databaseSecretArn"]


def test_a_new_database_pauses_when_idle(synthesize):
    scaling = synthesize(NEW).one("AWS::RDS::DBCluster")["ServerlessV2ScalingConfiguration"]
    assert scaling == {"MinCapacity": 0, "MaxCapacity": 4, "SecondsUntilAutoPause": 300}


def test_a_new_database_is_encrypted_leaves_a_snapshot_and_is_reached_by_token_or_data_api(synthesize):
    (resource,) = synthesize(NEW).resources("AWS::RDS::DBCluster").values()
    cluster = resource["Properties"]
    assert cluster["StorageEncrypted"] is True
    assert cluster["EnableIAMDatabaseAuthentication"] is True
    assert cluster["EnableHttpEndpoint"] is True
    assert resource["DeletionPolicy"] == "Snapshot"
    assert cluster["BackupRetentionPeriod"] == 7
    (instance,) = synthesize(NEW).properties("AWS::RDS::DBInstance")
    assert instance["DBInstanceClass"] == "db.serverless"
    assert instance["PubliclyAccessible"] is False


def test_a_new_network_has_no_way_out_but_gateway_endpoints(synthesize):
    template = synthesize(NEW)
    assert len(template.resources("AWS::EC2::Subnet")) == 2
    for forbidden in ("NatGateway", "InternetGateway", "Route", "EIP"):
        assert not template.resources(f"AWS::EC2::{forbidden}")
    assert len(template.resources("AWS::EC2::VPCEndpoint")) == 2
    assert all(endpoint["VpcEndpointType"] == "Gateway" for endpoint in template.properties("AWS::EC2::VPCEndpoint"))


@pytest.mark.parametrize(("choice", "is_protected"), [({"stage": "prod"}, True), ({}, False)], ids=["prod", "dev"])
def test_a_stage_is_protected_with_its_database_unless_it_is_the_one_to_try_out(synthesize, choice, is_protected):
    template = synthesize(NEW | choice)
    assert template.is_protected is is_protected
    assert template.one("AWS::RDS::DBCluster")["DeletionProtection"] is is_protected


def test_capacity_backups_and_zones_are_chosen(synthesize):
    template = synthesize(
        NEW
        | {
            "databaseMinCapacity": "0.5",
            "databaseMaxCapacity": "16",
            "backupRetentionDays": "35",
            "backupWindow": "23:45-00:15",
            "availabilityZones": "eu-west-1a,eu-west-1b,eu-west-1c",
        }
    )
    cluster = template.one("AWS::RDS::DBCluster")
    assert cluster["ServerlessV2ScalingConfiguration"] == {"MinCapacity": 0.5, "MaxCapacity": 16}  # it never pauses
    assert (cluster["BackupRetentionPeriod"], cluster["PreferredBackupWindow"]) == (35, "23:45-00:15")
    zones = [subnet["AvailabilityZone"] for subnet in template.properties("AWS::EC2::Subnet")]
    assert zones == ["eu-west-1a", "eu-west-1b", "eu-west-1c"]


def test_the_outputs_are_what_a_platform_needs_to_join_the_network(synthesize):
    template = synthesize(NEW)
    outputs = {name: output["Value"] for name, output in template.body["Outputs"].items()}
    [vpc] = template.resources("AWS::EC2::VPC")
    subnets = template.resources("AWS::EC2::Subnet")
    cluster = template.one("AWS::RDS::DBCluster")
    assert outputs["DatabaseVpcId"] == {"Ref": vpc}
    assert [part["Ref"] for part in outputs["DatabaseSubnetIds"]["Fn::Join"][1] if part != ","] == [*subnets]
    assert cluster["VpcSecurityGroupIds"] == [outputs["DatabaseSecurityGroupId"]]
    assert outputs["DatabasePort"] == "5432"
    assert outputs["DatabaseHost"]["Fn::GetAtt"][1] == "Endpoint.Address"
    assert outputs["DatabaseName"] == cluster["DatabaseName"] == "arcade"
