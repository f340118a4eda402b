"""The fault tests use the services of the integration tests."""

from tests.integration.conftest import installation, redis

__all__ = ["installation", "redis"]
