"""deploy/kubernetes: valid by Kubernetes' own schemas, without privileges, and true to what deepvis is."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator

from core.settings import load_settings
from tests.unit.deployment import (
    KUBERNETES,
    OVERLAYS,
    Document,
    check_command,
    containers,
    deepvis_commands,
    manifests,
    pods,
    rendered,
)

VERSIONS = ("1.29", kubernetes_validate.latest_version())
CUSTOM = ("keda.sh/", "monitoring.coreos.com/")


def _object(required: list[str], **properties: Any) -> Document:
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


TEXT, COUNT = {"type": "string", "minLength": 1}, {"type": "integer", "minimum": 0}
NUMBER_TEXT = {"type": "string", "pattern": r"^\d+(\.\d+)?$"}
POSTGRESQL_TRIGGER = _object(
    ["type", "metadata", "authenticationRef"],
    type={"const": "postgresql"},
    authenticationRef=_object(["name"], name=TEXT),
    metadata=_object(
        ["query", "targetQueryValue"], query=TEXT, targetQueryValue=NUMBER_TEXT, activationTargetQueryValue=NUMBER_TEXT
    ),
)
SCALED_OBJECT = _object(
    ["scaleTargetRef", "triggers"],
    scaleTargetRef=_object(["name"], name=TEXT),
    minReplicaCount=COUNT,
    maxReplicaCount=COUNT,
    pollingInterval=COUNT,
    cooldownPeriod=COUNT,
    advanced=_object([], horizontalPodAutoscalerConfig=_object([], behavior={"type": "object"})),
    triggers={"type": "array", "minItems": 1, "items": POSTGRESQL_TRIGGER},
)
"""Those fields of KEDA's ScaledObject (keda.sh/v1alpha1) that we use, as its definition has them."""
AUTHENTICATION = _object(
    ["secretTargetRef"],
    secretTargetRef={
        "type": "array",
        "items": _object(["parameter", "name", "key"], parameter=TEXT, name=TEXT, key=TEXT),
    },
)
POD_MONITOR = _object(
    ["selector", "podMetricsEndpoints"],
    selector={"type": "object"},
    podMetricsEndpoints={
        "type": "array",
        "items": _object(
            ["port"],
            port=TEXT,
            authorization=_object(["credentials"], credentials=_object(["name", "key"], name=TEXT, key=TEXT)),
        ),
    },
)
DEFINITIONS = {"ScaledObject": SCALED_OBJECT, "TriggerAuthentication": AUTHENTICATION, "PodMonitor": POD_MONITOR}


def check(document: Document, version: str) -> None:
    """Raise unless the object keeps to its schema; unknown fields are errors."""
    if document["apiVersion"].startswith(CUSTOM):
        Draft202012Validator(DEFINITIONS[document["kind"]]).validate(document["spec"])
    else:
        kubernetes_validate.validate(document, version, strict=True)


def _label(item: object) -> str:
    return str(item.relative_to(KUBERNETES)) if isinstance(item, Path) else str(item.get("kind"))  # type: ignore[attr-defined]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("path", "document"), list(manifests()), ids=_label)
def test_every_file_is_valid(path: Path, document: Document, version: str) -> None:
    check(document, version)


def test_an_unknown_field_is_seen() -> None:
    document = next(each for _, each in manifests() if each["kind"] == "Deployment")
    document["spec"]["replica"] = 2
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        check(document, VERSIONS[-1])


@pytest.fixture(scope="module", params=OVERLAYS, ids=lambda path: path.name)
def overlay(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Document]:
    """The objects of an overlay, put together by kustomize."""
    path: Path = request.param
    return rendered(path, tmp_path_factory.mktemp("kustomize"))


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_put_together_is_valid(overlay: list[Document], version: str) -> None:
    for document in overlay:
        check(document, version)


def test_every_component_can_be_added(tmp_path: Path) -> None:
    components = sorted(path.parent.name for path in KUBERNETES.glob("components/*/kustomization.yaml"))
    workers = [name for name in components if name.startswith("workers")]
    ordered = [*workers, *(name for name in components if name not in workers)]
    found = rendered(_overlay_of(tmp_path, ordered), tmp_path)
    for document in found:
        check(document, VERSIONS[-1])
    assert {"PodMonitor", "ScaledObject", "Ingress", "PersistentVolumeClaim"} <= {each["kind"] for each in found}
    for name in ("deepvis-api", "deepvis-worker-gpu", "deepvis-worker-cpu"):
        assert "/pictures" in {mount["mountPath"] for mount in pods(found)[name]["containers"][0]["volumeMounts"]}
    [config] = [each["data"] for each in found if each["kind"] == "ConfigMap"]
    load_settings(**{name.removeprefix("DEEPVIS_").lower(): value for name, value in config.items()})


def _overlay_of(folder: Path, components: list[str]) -> Path:
    """A new overlay of these components in a copy of deploy/kubernetes; its path as if it were in the original."""
    import shutil

    shutil.copytree(KUBERNETES, folder / "kubernetes")
    new = folder / "kubernetes/overlays/everything"
    shutil.copytree(KUBERNETES / "overlays/production", new)
    said = yaml.safe_load((new / "kustomization.yaml").read_text())
    said["components"] = [f"../../components/{name}" for name in components]
    (new / "kustomization.yaml").write_text(yaml.safe_dump(said))
    return KUBERNETES / "overlays/everything"


def test_no_namespace_is_fixed(overlay: list[Document]) -> None:
    assert [each["metadata"]["name"] for each in overlay if "namespace" in each["metadata"]] == []


def test_pods_are_restricted(overlay: list[Document]) -> None:
    """As the Pod Security Standard "restricted" asks, and nothing of the root file system can be written."""
    for name, pod in pods(overlay).items():
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] > 0, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert {"hostNetwork", "hostPID", "hostIPC"}.isdisjoint(pod), name
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert {"cpu", "memory"} <= set(container["resources"]["requests"]), name
            assert "memory" in container["resources"]["limits"], name


def test_every_mount_has_its_volume(overlay: list[Document]) -> None:
    claims = {
        each["metadata"]["name"]: {claim["metadata"]["name"] for claim in each["spec"].get("volumeClaimTemplates", [])}
        for each in overlay
        if "template" in each.get("spec", {})
    }
    for name, pod in pods(overlay).items():
        volumes = {volume["name"] for volume in pod.get("volumes", [])} | claims[name]
        for container in containers(pod):
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes, name


def test_every_command_is_there(overlay: list[Document]) -> None:
    seen = []
    for name, pod in pods(overlay).items():
        for container in containers(pod):
            if "deepvis" in container["image"]:
                check_command(container["args"])
                seen.append(container["args"][0])
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                words = container.get(probe, {}).get("exec", {}).get("command", [])
                for arguments in deepvis_commands(words):
                    check_command(arguments)
                    assert name.startswith(f"deepvis-{arguments[1]}"), name
    assert {"db", "api", "worker"} <= set(seen)


def test_every_image_has_an_exact_version(overlay: list[Document]) -> None:
    images = {container["image"] for pod in pods(overlay).values() for container in containers(pod)}
    assert [image for image in images if not image.rpartition(":")[2][0].isdigit()] == []


def test_secrets_and_settings_that_are_named_are_there(overlay: list[Document]) -> None:
    there = {(each["kind"], each["metadata"]["name"]) for each in overlay}
    for pod in pods(overlay).values():
        for container in containers(pod):
            for source in container.get("envFrom", []):
                kind = "ConfigMap" if "configMapRef" in source else "Secret"
                [reference] = source.values()
                assert (kind, reference["name"]) in there


def test_a_worker_has_time_to_stop(overlay: list[Document]) -> None:
    [config] = [each["data"] for each in overlay if each["kind"] == "ConfigMap"]
    workers = {name: pod for name, pod in pods(overlay).items() if "worker" in name}
    assert workers
    for pod in workers.values():
        assert pod["terminationGracePeriodSeconds"] >= float(config["DEEPVIS_STOP_SECONDS"]) + 30


def test_selectors_find_their_pods(overlay: list[Document]) -> None:
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in overlay if "template" in each.get("spec", {})]
    for document in overlay:
        spec = document.get("spec", {})
        selector = spec.get("podSelector", spec.get("selector", {}))
        wanted = selector.get("matchLabels", selector if document["kind"] == "Service" else {})
        if wanted:
            assert any(wanted.items() <= each.items() for each in labels), document["metadata"]["name"]
            assert wanted["app.kubernetes.io/name"] == "deepvis", document["metadata"]["name"]


def test_one_gpu_for_each_gpu_worker() -> None:
    found = pods([each for _, each in manifests()])["deepvis-worker-gpu"]
    assert found["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert {"name": "DEEPVIS_DEVICE", "value": "cuda"} in found["containers"][0]["env"]


@pytest.mark.parametrize("kind", ["gpu", "cpu"])
def test_workers_are_scaled_down_to_none_by_the_database(kind: str) -> None:
    documents = list(yaml.safe_load_all((KUBERNETES / f"components/autoscaling-{kind}/scaled-object.yaml").read_text()))
    scaled, authentication = documents
    assert scaled["spec"]["scaleTargetRef"]["name"] == f"deepvis-worker-{kind}"
    assert scaled["spec"]["minReplicaCount"] == 0
    [trigger] = scaled["spec"]["triggers"]
    assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
    assert authentication["spec"]["secretTargetRef"] == [
        {"parameter": "connection", "name": "deepvis", "key": "DEEPVIS_DATABASE_URL"}
    ]


def test_no_secret_is_in_the_repository() -> None:
    assert [path for path, document in manifests() if document["kind"] == "Secret"] == []
    assert {"secrets.env", ".env", "*.env"} <= set((KUBERNETES.parents[1] / ".gitignore").read_text().splitlines())


def test_pods_see_no_secret_that_they_do_not_need() -> None:
    for example in KUBERNETES.rglob("secrets.env.example"):
        names = {line.partition("=")[0] for line in example.read_text().splitlines() if not line.startswith("#")}
        assert all(name.startswith(("DEEPVIS_", "AWS_", "PGSSL")) for name in names), example
    used = {source["secretRef"]["name"] for source in _sources() if "secretRef" in source}
    assert used == {"deepvis"}


def _sources() -> list[Document]:
    found = pods([document for _, document in manifests()])
    return [source for pod in found.values() for each in containers(pod) for source in each.get("envFrom", [])]


def test_no_pod_is_given_variables_named_after_services() -> None:
    """A service deepvis-api would give every pod DEEPVIS_API_PORT, which reads like a setting."""
    found = pods([document for _, document in manifests()])
    assert {name for name, pod in found.items() if pod.get("enableServiceLinks") is not False} == set()


def test_what_is_updated_waits_for_the_tables() -> None:
    found = pods([document for _, document in manifests()])
    for name in ("deepvis-api", "deepvis-worker-gpu", "deepvis-worker-cpu"):
        [first] = found[name]["initContainers"]
        assert first["args"][:2] == ["db", "wait"]
        assert first["image"] == found[name]["containers"][0]["image"], "no second image to be fetched"


def test_behind_an_ingress_its_controller_is_believed() -> None:
    component = yaml.safe_load((KUBERNETES / "components/ingress/kustomization.yaml").read_text())
    [config] = component["configMapGenerator"]
    said = dict(line.split("=", 1) for line in config["literals"])
    assert load_settings(trusted_proxies=said["DEEPVIS_TRUSTED_PROXIES"]).proxy_networks
