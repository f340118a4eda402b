"""Addresses as they are shown: no password, however badly it is written."""

import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError

from broker.usable import check_broker_url
from core.addresses import without_password
from core.errors import BadSetting
from db.session import make_engine
from db.trouble import explain
from store import open_store


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:S3CRET@host:5432/name", "postgresql://u:***@host:5432/name"),
        ("postgresql://u:S3@CRET@host/name", "postgresql://u:***@host/name"),
        ("postgresql://u:S3/CRET?x@host/name", "postgresql://u:***@host/name"),
        ("postgresql://host/name?user=u&password=S3CRET", "postgresql://host/name?user=u&password=***"),
        ("postgresql://host/name?password=S3@CRET&x=1", "postgresql://host/name?password=***&x=1"),
        ("postgresql://host/name?%70assword=S3CRET", "postgresql://host/name?%70assword=***"),
        ("redis://:S3CRET@host:6379/0", "redis://:***@host:6379/0"),
        ("s3://bucket/p?endpoint=http://h:1&aws_secret_access_key=S3CRET",
         "s3://bucket/p?endpoint=http://h:1&aws_secret_access_key=***"),
        ("s3://bucket?endpoint=http://u:S3CRET@h:1", None),
        ("s3://u:S3CRET@bucket/p", "s3://u:***@bucket/p"),
        ("postgresql://u@host/name", "postgresql://u@host/name"),
        ("sqlite:////home/a:b@c/deepvis.db", "sqlite:////home/a:b@c/deepvis.db"),
        ("file:///home/a:b@c", "file:///home/a:b@c"),
        ("no address", "no address"),
    ],
)  # fmt: skip
def test_shown(url: str, shown: str | None) -> None:
    found = without_password(url)
    assert "S3" not in found.replace("s3", "")
    assert "CRET" not in found
    assert shown in {None, found}


@pytest.mark.parametrize(
    "url", ["redis://:S3/CRET@host/0", "redis://u:12/CRET@host/0", "amqp://u:S3@x/CRET@host//", "redis://:S3#CRET@h/0"]
)
def test_what_is_wrong_with_a_broker_s_url_tells_no_password(url: str) -> None:
    with pytest.raises(BadSetting, match="%2F") as raised:
        check_broker_url(url)
    assert "CRET" not in str(raised.value)
    assert "S3" not in str(raised.value)


@pytest.mark.parametrize("url", ["postgresql://u:S3@CRET@host/name", "postgresql://u:S3@CRET/x@host/name"])
def test_what_is_wrong_with_a_database_s_url_tells_no_password(url: str) -> None:
    with pytest.raises(BadSetting, match="%40") as raised:
        make_engine(url)
    assert "CRET" not in str(raised.value)
    error = explain(OperationalError("", {}, Exception("Connection refused")), make_url("postgresql://u:a@CRET@host/n"))
    assert "CRET" not in str(error)


@pytest.mark.parametrize("url", ["ftp://u:CRET@host/x", "s3://u:S3CRET@bucket", "http://[x?password=CRET"])
def test_what_is_wrong_with_a_store_s_url_tells_no_password(url: str) -> None:
    with pytest.raises(BadSetting) as raised:
        open_store(url)
    assert "CRET@" not in str(raised.value)
    assert "=CRET" not in str(raised.value)
