"""The web front over a real database and folder store, asked through Flask's test client; messages stay in memory."""

import hashlib
import io
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from PIL import Image
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from api import create_app
from api.services import EXTENSION, Services
from broker.app import queue_name
from core.settings import Settings
from core.specs import DeviceKind, Scope
from db import tokens
from db.leases import commit_shard, lease_shard
from db.migrate import upgrade
from db.models import Base
from db.results import Pictures
from db.session import make_engine, make_sessions
from tests.integration import records


@dataclass(frozen=True)
class Front:
    """An application and its parts."""

    app: APIFlask
    client: FlaskClient
    services: Services

    def counts(self) -> dict[str, int]:
        """How many rows each table has, and how many files the store."""
        with self.services.sessions() as session:
            rows = {
                t.name: session.scalar(select(func.count()).select_from(t)) or 0 for t in Base.metadata.sorted_tables
            }
        return rows | {"files": len(list(self.services.store.entries()))}

    def messages(self, kind: DeviceKind = DeviceKind.ANY) -> list[tuple[str, list[Any]]]:
        """The task names and arguments sent since this was last asked, to workers on such devices."""
        found = []
        celery = self.services.celery
        with celery.connection_for_read() as connection, connection.SimpleQueue(queue_name(kind)) as queue:
            while queue.qsize():
                message = queue.get(block=False)
                found.append((message.headers["task"], message.payload[0]))
                message.ack()
        return found

    def token(self, name: str = "alice", scope: Scope = Scope.ADMIN, **options: Any) -> str:
        """A new API token; `options` are those of `db.tokens.make`."""
        with self.services.sessions.begin() as session:
            return tokens.make(session, name, scope, **options)

    def log_in(self, token: str, **options: Any) -> TestResponse:
        """Type a token into the form at /login, as a browser does; `options` are those of the test client."""
        page = self.client.get("/login", base_url=options.get("base_url"))
        return self.client.post("/login", data={"token": token, "form": form_value(page)}, **options)


def form_value(page: TestResponse, action: str = "/login") -> str:
    """What the hidden field of a page's form carries."""
    form = page.text.partition(f'action="{action}"')[2].partition("</form>")[0]
    return re.findall(r'name="form" value="([^"]+)"', form)[0]


def bearer(token: str) -> dict[str, str]:
    """The header that carries a token."""
    return {"Authorization": f"Bearer {token}"}


MakeFront = Callable[..., Front]


@pytest.fixture(scope="session")
def first_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that knows the network "tiny", described, and "unseen", not described; tests take copies."""
    path = tmp_path_factory.mktemp("first") / "deepvis.db"
    upgrade(f"sqlite:///{path}")
    engine = make_engine(f"sqlite:///{path}")
    with make_sessions(engine).begin() as session:
        records.describe(session)
        records.networks.register(session, records.SOURCE.model_copy(update={"name": "unseen"}))
    engine.dispose()
    return path


@pytest.fixture
def make_front(make_settings: Callable[..., Settings], first_database: Path) -> Iterator[MakeFront]:
    """Makes a front; keyword arguments are settings."""
    made: list[Front] = []

    def make(**changes: object) -> Front:
        settings = make_settings(**{"broker_url": "memory://", **changes})
        settings.home_path.mkdir(parents=True, exist_ok=True)
        shutil.copy(first_database, settings.home_path)
        app = create_app(settings)
        app.testing = False  # errors are answered as they are in earnest
        front = Front(app, app.test_client(), app.extensions[EXTENSION])
        front.messages()  # memory outlives the application: begin with none
        made.append(front)
        return front

    yield make
    for front in made:
        front.services.sessions.engine.dispose()
        front.services.celery.close()


@pytest.fixture
def front(make_front: MakeFront) -> Front:
    """A front that knows the network "tiny", described, and "unseen", not described."""
    return make_front()


@pytest.fixture
def closed(make_front: MakeFront) -> Front:
    """A front that asks for tokens, on this machine too."""
    return make_front(require_tokens=True)


@pytest.fixture
def client(front: Front) -> FlaskClient:
    """A client of `front`."""
    return front.client


def image_bytes(kind: str, shade: int) -> bytes:
    """A small picture file."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(file, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return file.getvalue()


@dataclass(frozen=True)
class Pictured:
    """An atlas whose first shard is done: "conv" units 0 (a picture) and 1 (dead)."""

    atlas: str
    png: bytes
    sheet: bytes


@pytest.fixture
def pictured(front: Front) -> Pictured:
    """Pictures in the database and the store."""
    png, sheet = image_bytes("PNG", 200), image_bytes("WEBP", 100)
    store, sessions = front.services.store, front.services.sessions
    keys = {"blob": store.put(png), "sheet": store.put(sheet)}
    with sessions.begin() as session:
        atlas_id = records.running_atlas(session)
    with sessions.begin() as session:
        lease = lease_shard(session, 1, "w", 60)
    assert lease is not None
    none = {"state": "dead", "blob": None, "sheet": None, "sheet_index": None, "activation": None}
    with sessions.begin() as session:
        commit_shard(session, lease, Pictures([records.picture(0, **keys), records.picture(1, **none)]))
    return Pictured(atlas_id, png, sheet)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def problem(response: TestResponse, status: int, slug: str) -> dict[str, Any]:
    """The problem document of a response, checked for its form."""
    assert response.status_code == status, response.get_data(as_text=True)
    assert response.content_type == "application/problem+json"
    document = response.get_json(force=True)
    assert document["type"] == f"/problems/{slug}"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    assert document["instance"]
    return document
