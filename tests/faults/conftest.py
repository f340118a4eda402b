"""The fault tests use the services of the integration tests."""

from tests.integration.conftest import installation, redis, s3

__all__ = ["installation", "redis", "s3"]
