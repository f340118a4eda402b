"""What one owner may have: unfinished atlases, unit-images in 24 hours; on SQLite and PostgreSQL."""

import pytest
from sqlalchemy import func, select, update

from core.errors import Conflict, InvalidRequest, OverQuota
from core.recipes import BOLD, FOURIER
from core.specs import AtlasSpec, Scope
from db import atlases, clock, networks, quotas, tokens
from db.models import Atlas, AtlasState, Network, Owner
from db.session import Sessions
from tests.integration.racing import race
from tests.integration.records import MAX_OPEN, SOURCE, describe, info, wish

pytestmark = pytest.mark.integration

CONV = wish(layers=("conv",))  # six units, one recipe, one seed


@pytest.fixture(autouse=True)
def tiny(sessions: Sessions) -> None:
    with sessions.begin() as session:
        describe(session)
        networks.register(session, SOURCE.model_copy(update={"name": "fresh"}))


def create(
    sessions: Sessions, spec: AtlasSpec = CONV, owner: str = "alice", *, most: int = 0, max_open: int = MAX_OPEN
) -> str:
    with sessions.begin() as session:
        made, _ = atlases.create(session, spec, owner=owner, max_open=max_open, max_images_per_day=most)
        return made.id


def count(sessions: Sessions) -> int:
    with sessions() as session:
        return session.scalar(select(func.count()).select_from(Atlas)) or 0


def limit(sessions: Sessions, owner: str, **limits: int) -> None:
    with sessions.begin() as session:
        tokens.make(session, owner, Scope.SUBMIT, limits=tokens.Limits(**limits))


def describe_fresh(sessions: Sessions) -> None:
    source = SOURCE.model_copy(update={"name": "fresh"})
    with sessions.begin() as session:
        networks.save_description(session, "fresh", info(source, weights="f"))


def change(sessions: Sessions, atlas_id: str, **values: object) -> None:
    with sessions.begin() as session:
        session.execute(update(Atlas).where(Atlas.id == atlas_id).values(**values))


# --- counting a wish ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "images"),
    [
        ({}, 6 + 3),  # "hidden" is taken only on request
        ({"layers": ("hidden",)}, 4),
        ({"layers": ("conv", "hidden", "classes"), "seeds": 3}, (6 + 4 + 3) * 3),
        ({"units": (0, 2)}, 2 * 2),
        ({"layers": ("conv",), "units": (5,), "recipes": (FOURIER, BOLD), "seeds": 2}, 1 * 2 * 2),
        ({"layers": ("conv", "conv"), "units": (1, 1)}, 1),  # said twice is wished for once
    ],
)
def test_unit_images_are_counted_exactly(sessions: Sessions, changes: dict[str, object], images: int) -> None:
    atlas_id = create(sessions, wish(**{"recipes": (FOURIER,), **changes}))
    with sessions() as session:
        assert session.get_one(Atlas, atlas_id).images == images


def test_a_network_that_nobody_has_looked_at_is_not_counted(sessions: Sessions) -> None:
    atlas_id = create(sessions, wish(network="fresh"))
    with sessions() as session:
        assert session.get_one(Atlas, atlas_id).images == 0
        network = session.scalars(select(Network).where(Network.name == "fresh")).one()
        assert quotas.images_of(session, network, wish(network="fresh")) is None


# --- unit-images in 24 hours --------------------------------------------------------


def test_more_unit_images_than_allowed_are_refused_and_leave_nothing(sessions: Sessions) -> None:
    create(sessions, most=12)
    create(sessions, most=12)  # exactly as many
    with pytest.raises(OverQuota, match=r"'alice' may ask for 12 .* has asked for 12; this wish stands for 6 more"):
        create(sessions, most=12)
    assert count(sessions) == 2
    with pytest.raises(OverQuota, match="asked for 12"):
        create(sessions, wish(network="fresh"), most=12)  # however many it will turn out to be
    create(sessions, owner="bob", most=12)
    create(sessions, most=18)
    create(sessions, most=0)


def test_what_was_asked_for_a_day_ago_no_longer_counts(sessions: Sessions) -> None:
    first, second = create(sessions), create(sessions)
    with sessions() as session:
        moment = clock.now(session)
    change(sessions, first, created_at=clock.after(moment, -quotas.DAY_SECONDS - 1))
    change(sessions, second, created_at=clock.after(moment, -quotas.DAY_SECONDS + 60))
    create(sessions, most=12)
    with pytest.raises(OverQuota):
        create(sessions, most=12)


def test_cancelled_atlases_count_and_unplannable_ones_do_not(sessions: Sessions) -> None:
    cancelled, failed = create(sessions), create(sessions)
    with sessions.begin() as session:
        atlases.request_cancel(session, cancelled)
    with pytest.raises(OverQuota):
        create(sessions, most=12)
    change(sessions, failed, state=AtlasState.FAILED)
    create(sessions, most=12)


def test_the_owners_token_goes_before_the_settings(sessions: Sessions) -> None:
    limit(sessions, "alice", max_images_per_day=6, max_open_atlases=1)
    limit(sessions, "bob", max_images_per_day=0, max_open_atlases=3)
    create(sessions, most=1000)
    with pytest.raises(OverQuota, match="1 atlases of 'alice' are unfinished, and 1 may be"):
        create(sessions, most=1000)
    for _ in range(3):
        create(sessions, owner="bob", most=6, max_open=1)
    with pytest.raises(OverQuota, match="3 may be"):
        create(sessions, owner="bob")


def test_an_atlas_of_unknown_size_is_counted_by_its_planner(sessions: Sessions) -> None:
    small, large = create(sessions, wish(network="fresh")), create(sessions, wish(network="fresh", seeds=2))
    with sessions.begin() as session:
        quotas.claim_images(session, small, 20)  # nothing to count yet
    describe_fresh(sessions)
    for _ in range(2):  # counted once
        with sessions.begin() as session:
            quotas.claim_images(session, small, 20)
    with pytest.raises(OverQuota, match="has asked for 9; this wish stands for 18 more"), sessions.begin() as session:
        quotas.claim_images(session, large, 20)
    with sessions() as session:
        assert [session.get_one(Atlas, each).images for each in (small, large)] == [9, 0]
    with sessions.begin() as session:
        quotas.claim_images(session, large, 27)


def test_what_failed_is_counted_anew_when_it_is_tried_again(sessions: Sessions) -> None:
    atlas_id = create(sessions)
    change(sessions, atlas_id, state=AtlasState.FAILED)
    create(sessions, most=6)
    with sessions.begin() as session:
        atlases.retry_failed(session, atlas_id)
    with pytest.raises(OverQuota), sessions.begin() as session:
        quotas.claim_images(session, atlas_id, 6)
    with sessions.begin() as session:
        quotas.claim_images(session, atlas_id, 12)


# --- unfinished atlases --------------------------------------------------------------


def test_each_owner_has_their_own_unfinished_atlases(sessions: Sessions) -> None:
    first = create(sessions, max_open=1)
    with pytest.raises(OverQuota):
        create(sessions, max_open=1)
    create(sessions, owner="bob", max_open=1)
    with sessions.begin() as session:
        atlases.request_cancel(session, first)
    create(sessions, max_open=1)
    with pytest.raises(OverQuota), sessions.begin() as session:
        atlases.retry_failed(session, first, max_open=1)
    with sessions.begin() as session:
        atlases.retry_failed(session, first, max_open=2)


def test_the_last_place_is_taken_once_however_many_ask(sessions: Sessions) -> None:
    def attempt() -> bool:
        try:
            create(sessions, max_open=2)
        except OverQuota:
            return False
        return True

    assert sum(race([attempt] * 8)) == 2
    assert count(sessions) == 2


def test_the_last_unit_images_are_taken_once_however_many_ask(sessions: Sessions) -> None:
    def attempt() -> bool:
        try:
            create(sessions, most=14)
        except OverQuota:
            return False
        return True

    assert sum(race([attempt] * 8)) == 2


def test_planners_at_the_same_moment_do_not_exceed_the_quota(sessions: Sessions) -> None:
    made = [create(sessions, wish(network="fresh")) for _ in range(4)]
    describe_fresh(sessions)

    def claim(atlas_id: str) -> bool:
        try:
            with sessions.begin() as session:
                quotas.claim_images(session, atlas_id, 20)
        except OverQuota:
            return False
        return True

    assert sum(race([lambda each=each: claim(each) for each in made])) == 2


def test_owners_and_their_keys(sessions: Sessions) -> None:
    def keyed(owner: str, **options: object) -> tuple[str, bool]:
        with sessions.begin() as session:
            made, new = atlases.create(
                session, CONV, owner=owner, idempotency_key="k", max_open=1, max_images_per_day=6, **options
            )
            return made.id, new

    first, new = keyed("alice")
    assert new
    assert keyed("alice") == (first, False)  # and is not over its quota
    assert keyed("bob")[1]
    for different in ({"device_kind": "gpu"}, {"priority": "batch"}, {"weight": 2.0}):
        with pytest.raises(Conflict, match="Idempotency-Key"):
            keyed("alice", **different)
    change(sessions, first, priority="interactive")  # as its plan decides
    assert keyed("alice") == (first, False)
    with sessions() as session:
        assert set(session.scalars(select(Owner.name))) == {"alice", "bob"}


def test_an_atlas_keeps_what_was_wished(sessions: Sessions) -> None:
    with sessions.begin() as session:
        made, _ = atlases.create(
            session, CONV, owner="bob", device_kind="gpu", priority="interactive", weight=3.0, max_open=1
        )
    with sessions() as session:
        kept = session.get_one(Atlas, made.id)
        assert (kept.owner, kept.device_kind, kept.priority, kept.weight) == ("bob", "gpu", "interactive", 3.0)


def test_unfinished_atlases_are_weighed(sessions: Sessions) -> None:
    atlas_id = create(sessions)
    with sessions.begin() as session:
        assert atlases.weigh(session, atlas_id, 2.5).weight == 2.5
        atlases.request_cancel(session, atlas_id)
        with pytest.raises(Conflict, match="over already"):
            atlases.weigh(session, atlas_id, 1.0)


def test_one_atlas_covers_so_many_images_only(sessions: Sessions) -> None:
    with pytest.raises(OverQuota, match="would cover 6 unit-images, and 5 may be"), sessions.begin() as session:
        atlases.create(session, CONV, max_open=MAX_OPEN, max_images=5)
    assert count(sessions) == 0
    unknown = create(sessions, wish(network="fresh"))  # nine, once that is known
    describe_fresh(sessions)
    with pytest.raises(OverQuota, match="cover 9"), sessions.begin() as session:
        quotas.claim_images(session, unknown, 0, 8)
    with sessions.begin() as session:
        quotas.claim_images(session, unknown, 0, 9)


@pytest.mark.parametrize("weight", [0.0, 1e-306, 100.5, float("nan"), float("inf"), -1.0])
def test_what_is_no_weight(sessions: Sessions, weight: float) -> None:
    with pytest.raises(InvalidRequest, match="cannot weigh"), sessions.begin() as session:
        atlases.create(session, CONV, weight=weight, max_open=MAX_OPEN)
    atlas_id = create(sessions)
    with pytest.raises(InvalidRequest, match="cannot weigh"), sessions.begin() as session:
        atlases.weigh(session, atlas_id, weight)
