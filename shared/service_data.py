"""What botocore knows of AWS's services, without what only other services need: a tenth of a cold start."""

from typing import Any

from botocore.loaders import Loader

SERVICES = ("dynamodb", "secretsmanager")  # those of which the functions create clients


class ServiceData(Loader):
    """The data that is installed with botocore, two searches of it left out.

    For each client botocore lists the folders of all its 400 services, and parses the endpoints of all of them. A
    service with endpoint rules of its own, as ours have, is found by those:
    https://docs.aws.amazon.com/sdkref/latest/guide/feature-endpoints.html
    """

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 - botocore's signature
        """The services that there are data of."""
        return list(SERVICES)

    def load_data_with_path(self, name: str) -> tuple[Any, str]:
        """Load a file by its name; return what is in it, and its path."""
        if name == "endpoints":
            return {"partitions": []}, self.BUILTIN_DATA_PATH
        found: tuple[Any, str] = super().load_data_with_path(name)
        return found
