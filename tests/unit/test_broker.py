"""The Celery application's configuration, as it is after Celery has read it."""

import socket
import ssl
import subprocess
import threading

import pytest

from broker.app import HIGHEST_PRIORITY, make_celery, queues_of, transport
from broker.usable import check_broker
from core.errors import BadSetting
from core.settings import load_settings
from core.specs import DeviceKind
from tests.conftest import missing_part


@pytest.fixture
def celery():
    app = make_celery(load_settings(broker_url="redis://127.0.0.1:1/0", task_seconds=100))
    yield app
    app.close()


def test_nothing_but_json_and_no_results(celery):
    assert celery.conf.accept_content == ["json"]
    assert celery.conf.task_serializer == "json"
    assert celery.conf.task_ignore_result
    assert celery.backend.__class__.__name__ == "DisabledBackend"


def test_a_message_is_acknowledged_when_done_and_given_back_when_the_child_dies(celery):
    assert celery.conf.task_acks_late
    assert celery.conf.task_reject_on_worker_lost
    assert celery.conf.worker_prefetch_multiplier == 1
    assert celery.conf.worker_concurrency == 1


def test_the_limits_are_in_order(celery):
    soft, hard = celery.conf.task_soft_time_limit, celery.conf.task_time_limit

    assert 0 < soft < hard < celery.conf.broker_transport_options["visibility_timeout"]


def test_a_worker_tries_for_ever_and_never_waits_for_ever(celery):
    assert celery.conf.broker_connection_retry
    assert celery.conf.broker_connection_retry_on_startup
    assert celery.conf.broker_connection_max_retries is None
    options = celery.conf.broker_transport_options
    assert all(options[name] for name in ("socket_timeout", "socket_connect_timeout", "health_check_interval"))


def test_a_queue_for_each_kind_of_device_emptied_by_priority(celery):
    assert tuple(celery.amqp.queues) == ("deepvis.any", "deepvis.gpu", "deepvis.cpu", "deepvis.live")
    assert queues_of(DeviceKind.GPU) == ("deepvis.any", "deepvis.gpu")
    assert "queue_order_strategy" not in celery.conf.broker_transport_options  # the queues of a priority take turns
    assert {queue.queue_arguments["x-max-priority"] for queue in celery.amqp.queues.values()} == {HIGHEST_PRIORITY}


@pytest.mark.parametrize(("url", "kind"), [("redis://h", "redis"), ("rediss://h", "redis"), ("amqp://h", "amqp")])
def test_a_broker_is_given_no_options_of_another_kind(url, kind):
    settings = load_settings(broker_url=url)
    options = make_celery(settings).conf.broker_transport_options

    assert transport(settings) == kind
    assert ("global_keyprefix" in options) == (kind == "redis")
    assert ("confirm_publish" in options) == (kind == "amqp")


@pytest.mark.parametrize("wanted", [False, True])
def test_events_and_commands_only_for_who_watches(wanted):
    app = make_celery(load_settings(celery_events=wanted))
    assert app.conf.worker_send_task_events is wanted
    assert app.conf.task_send_sent_event is wanted
    assert app.conf.worker_enable_remote_control is wanted
    app.close()


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("redis://h/0", False),
        ("rediss://:p@h:1/0", {"ssl_cert_reqs": ssl.CERT_REQUIRED}),
        ("rediss://h/0?ssl_cert_reqs=required", {"ssl_cert_reqs": ssl.CERT_REQUIRED}),
        ("rediss://h/0?ssl_ca_certs=/ca.pem", {"ssl_ca_certs": "/ca.pem"}),
        ("rediss://h/0?ssl_cert_reqs=none", {"ssl_cert_reqs": ssl.CERT_NONE}),
        ("amqp://h//", False),
        ("amqps://h//", {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None}),
    ],
)
def test_a_brokers_certificate_is_verified_unless_its_url_says_otherwise(url, options):
    app = make_celery(load_settings(broker_url=url))
    with app.connection_for_write() as connection:
        assert connection.ssl == options


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """The port of a TLS server whose certificate no authority has signed."""
    folder = tmp_path_factory.mktemp("stranger")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    made = f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {certificate} -days 2 -subj /CN=localhost"
    try:
        subprocess.run(made.split(), check=True, capture_output=True)
    except FileNotFoundError:
        missing_part("openssl is not installed")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_shake_hands, args=(server, context), daemon=True).start()
        yield server.getsockname()[1]


def _shake_hands(server, context):
    while True:
        try:
            peer, _ = server.accept()
        except OSError:
            return  # the test is over
        try:
            context.wrap_socket(peer, server_side=True).close()
        except OSError:
            peer.close()


@pytest.mark.parametrize("scheme", ["rediss", "amqps"])
def test_a_broker_that_nobody_vouches_for_is_not_trusted(stranger, scheme):
    app = make_celery(load_settings(broker_url=f"{scheme}://127.0.0.1:{stranger}/0"))
    with app.connection_for_write() as connection, pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=2)
    with pytest.raises(BadSetting, match="certificate that nobody vouches for"):
        check_broker(f"{scheme}://127.0.0.1:{stranger}/0")
