"""A whole installation whose pictures are in S3: a worker makes them, the API serves them."""

import hashlib
from pathlib import Path

import pytest

from core.recipes import resolve
from core.specs import AtlasSpec
from tests.integration.test_rest import serving
from tests.s3 import BUCKET, S3
from tests.services import Installation, Redis

pytestmark = pytest.mark.integration

WISH = AtlasSpec(network="demo", layers=("conv1",), units=(0, 3, 5), recipes=resolve(["fourier"], 4))


def test_an_atlas_with_its_pictures_in_s3(tmp_path: Path, redis: Redis, s3: S3) -> None:
    redis.flush()
    installation = Installation(tmp_path / "home", redis.url, store_url=s3.url_of(BUCKET, "atlas"))
    with installation.worker():
        installation.wait_described()
        atlas = installation.wait_state(installation.create(WISH), "complete", "failed")
    assert (atlas.state, atlas.error) == ("complete", None)
    pictures = installation.pictures()
    assert sorted(s3.names("atlas")) == sorted({key for p in pictures for key in (p.blob, p.sheet)})
    with serving(installation) as web:
        for picture in pictures:
            shown = web.get(f"/api/v1/pictures/{picture.id}/file")
            assert hashlib.sha256(shown.content).hexdigest() == picture.blob
            sheet = web.get(f"/sheets/{picture.sheet}.webp")
            assert sheet.headers["Content-Type"] == "image/webp", sheet.text
        s3.client.delete_object(Bucket=BUCKET, Key=f"atlas/{pictures[0].blob}")
        assert web.get(f"/api/v1/pictures/{pictures[0].id}/file").status_code == 404
    with serving(installation, store_url=s3.url_of("absent")) as web:
        answer = web.get(f"/api/v1/pictures/{pictures[1].id}/file")
        assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (503, "store-unavailable")
        assert "Retry-After" in answer.headers
    installation.close()
