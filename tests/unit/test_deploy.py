"""The Dockerfile and the compose files: valid, without privileges, and true to what deepvis is."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import compose_spec
import pytest
import yaml

from core.settings import Settings
from tests.conftest import ROOT, missing_part
from tests.unit.deployment import COMPOSE, KUBERNETES, check_command, deepvis_commands, interpolated, services

BASE, GPU = COMPOSE
OURS = ["migrate", "api", "worker", "live"]
DEPLOYMENT = [
    ROOT / "Dockerfile",
    *COMPOSE,
    *sorted(KUBERNETES.rglob("*.yaml")),
    *sorted(KUBERNETES.rglob("*.example")),
]


@pytest.mark.parametrize("path", DEPLOYMENT, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_setting_that_is_named_is_one(path: Path) -> None:
    settings = {f"DEEPVIS_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"\bDEEPVIS_[A-Z_]+", path.read_text())) - settings == set()


# --- the image -----------------------------------------------------------------------

HADOLINT = Path(sys.executable).with_name("hadolint")
"""Beside the interpreter, as packages' programs are, whether or not that folder is on the PATH."""


def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text()


def test_the_dockerfile_is_good_practice() -> None:
    try:
        done = subprocess.run(
            [HADOLINT, "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        missing_part("hadolint is not installed (make install brings it to Linux and macOS)")
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_runs_as_nobody_in_particular() -> None:
    stages = re.split(r"^FROM ", dockerfile(), flags=re.MULTILINE)
    assert re.findall(r"^USER (.+)$", stages[-1], re.MULTILINE) == ["1000:1000"]
    assert not re.search(r"^USER", "".join(stages[:-1]), re.MULTILINE)


def test_the_image_holds_what_was_built_and_no_more() -> None:
    last = dockerfile().rpartition("FROM ")[2]
    assert re.findall(r"^COPY (?:--from=(\w+) )?(\S+)", last, re.MULTILINE) == [
        ("packages", "/opt/packages"),
        ("application", "/opt/deepvis"),
    ]
    assert "apt-get" not in dockerfile()


def test_the_image_says_which_version_it_holds() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.findall(r"^ARG VERSION=(.+)$", dockerfile(), re.MULTILINE) == [version]
    images = {service["image"] for service in services(BASE).values() if service["image"].startswith("deepvis")}
    assert images == {f"deepvis:{version}"}
    tags = re.findall(r"newTag: (\S+)", "".join(path.read_text() for path in KUBERNETES.rglob("kustomization.yaml")))
    assert {tag.removesuffix("-cpu") for tag in tags} == {version}


def test_what_the_image_is_built_from_is_there() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    admitted = {line[1:] for line in lines if line.startswith("!")}
    assert [name for name in admitted if not (ROOT / name).exists()] == []
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {name.rstrip("*") for name in packages} <= admitted
    assert lines.index("*") < min(lines.index(f"!{name}") for name in admitted)


# --- compose ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
def test_a_compose_file_keeps_to_the_specification(path: Path) -> None:
    made = compose_spec.PyOptions(apply_merge=True).from_yaml(interpolated(path))
    made.validate()
    assert set(made.service_names()) == set(services(path))


def test_an_error_in_a_compose_file_is_seen() -> None:
    with pytest.raises(ValueError, match="helthcheck"):
        compose_spec.PyCompose.from_yaml(interpolated(BASE).replace("healthcheck", "helthcheck"))


def test_nothing_but_the_api_publishes_a_port_and_that_to_this_machine() -> None:
    published = {
        name: service["ports"] for path in COMPOSE for name, service in services(path).items() if "ports" in service
    }
    assert published == {"api": ["127.0.0.1:8357:8357"]}


def test_databases_are_on_a_network_of_their_own() -> None:
    assert yaml.safe_load(BASE.read_text())["networks"]["data"] == {"internal": True}
    assert {name: service["networks"] for name, service in services(BASE).items() if name not in OURS} == {
        "redis": ["data"],
        "postgres": ["data"],
    }


def test_every_image_has_an_exact_version() -> None:
    images = [service["image"] for service in services(BASE).values()]
    assert [image for image in images if not re.search(r":v?\d+\.\d+", image)] == []
    assert re.search(r"^ARG PYTHON=\d+\.\d+\.\d+-", dockerfile(), re.MULTILINE)


@pytest.mark.parametrize("name", OURS)
def test_our_containers_cannot_do_more_than_they_must(name: str) -> None:
    service = services(BASE)[name]
    assert service["read_only"] is True
    assert service["init"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"privileged", "cap_add", "user", "pid", "network_mode"}.isdisjoint(service)


def test_everything_that_stays_is_checked() -> None:
    unchecked = {name for name, service in services(BASE).items() if not service.get("healthcheck", {}).get("test")}
    assert unchecked == {"migrate"}
    for name in ("api", "worker"):
        for arguments in deepvis_commands(services(BASE)[name]["healthcheck"]["test"][1:]):
            assert arguments == ["health", name]
            check_command(arguments)


def test_the_image_is_built_once_and_never_pulled() -> None:
    ours = {name: services(BASE)[name] for name in OURS}
    assert [name for name, service in ours.items() if "build" in service] == ["migrate"]
    assert {service["pull_policy"] for service in ours.values()} == {"never"}
    assert len({service["image"] for service in ours.values()}) == 1


def test_no_container_fills_the_disk_or_the_machine() -> None:
    for name, service in services(BASE).items():
        assert service["logging"] == {"driver": "json-file", "options": {"max-size": "20m", "max-file": "5"}}, name
        assert 0 < service["pids_limit"] <= 4096, name


@pytest.mark.parametrize("name", OURS)
def test_the_commands_are_there(name: str) -> None:
    check_command(services(BASE)[name]["command"])


def test_the_parts_start_in_order() -> None:
    for name in ("api", "worker"):
        needs = services(BASE)[name]["depends_on"]
        assert needs["migrate"] == {"condition": "service_completed_successfully"}
        assert needs["redis"] == {"condition": "service_healthy"}
    assert services(BASE)["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


def test_redis_forgets_nothing_and_refuses_what_it_cannot_hold() -> None:
    words = services(BASE)["redis"]["command"]
    options = dict(zip(words[1::2], words[2::2], strict=True))
    assert (options["--appendonly"], options["--maxmemory-policy"]) == ("yes", "noeviction")


def test_what_must_stay_is_on_named_volumes() -> None:
    mounts = [mount.split(":")[0] for service in services(BASE).values() for mount in service.get("volumes", [])]
    assert set(mounts) == set(yaml.safe_load(BASE.read_text())["volumes"]) == {"redis", "postgres", "pictures"}


def test_a_worker_has_time_to_stop() -> None:
    worker = services(BASE)["worker"]
    seconds = compose_spec.parse_duration(worker["stop_grace_period"])
    assert seconds >= float(worker["environment"]["DEEPVIS_STOP_SECONDS"]) + 30


def test_each_gpu_has_one_worker_and_each_profile_its_number() -> None:
    gpus = {name: service for name, service in services(GPU).items() if name != "worker"}
    devices = [service["deploy"]["resources"]["reservations"]["devices"] for service in gpus.values()]
    assert devices == [
        [{"driver": "nvidia", "device_ids": [str(i)], "capabilities": ["gpu"]}] for i in range(len(gpus))
    ]
    for count in (2, 4, 8):
        started = [name for name, each in gpus.items() if f"gpus-{count}" in each.get("profiles", [f"gpus-{count}"])]
        assert started == [f"worker-gpu{i}" for i in range(count)]


def test_a_gpu_worker_is_a_worker_that_insists_on_its_gpu() -> None:
    for name, service in services(GPU).items():
        if name != "worker":
            assert service["extends"] == {"file": BASE.name, "service": "worker"}
            assert service["environment"] == {"DEEPVIS_DEVICE": "cuda"}
            assert service["depends_on"] == services(BASE)["worker"]["depends_on"]
    assert services(GPU)["worker"]["deploy"] == {"replicas": 0}
