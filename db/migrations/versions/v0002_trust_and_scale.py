"""Tokens, owners and fair shares, sums instead of counting, setbacks and chores.

Revision: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STAMP = sa.DateTime(timezone=True)


def upgrade() -> None:
    _create_tokens()
    op.create_table(
        "owners",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_owners")),
    )
    op.create_table(
        "shares",
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("device_kind", sa.String(length=8), nullable=False),
        sa.Column("priority", sa.String(length=12), nullable=False),
        sa.Column("served", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "device_kind", "priority", name=op.f("pk_shares")),
    )
    op.create_table(
        "chores",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("due_at", STAMP, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_chores")),
    )
    _change_atlases()
    _fill_owners()
    _change_shards()
    with op.batch_alter_table("workers") as workers:
        workers.add_column(sa.Column("device_kind", sa.String(length=8), nullable=False, server_default="cpu"))
        workers.add_column(sa.Column("shards_done", sa.Integer(), nullable=False, server_default="0"))
        workers.add_column(sa.Column("shards_failed", sa.Integer(), nullable=False, server_default="0"))
    _create_tallies()


def _create_tokens() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", STAMP, nullable=False),
        sa.Column("expires_at", STAMP, nullable=True),
        sa.Column("revoked_at", STAMP, nullable=True),
        sa.Column("last_used_at", STAMP, nullable=True),
        sa.Column("requests_per_minute", sa.Integer(), nullable=True),
        sa.Column("max_open_atlases", sa.Integer(), nullable=True),
        sa.Column("max_images_per_day", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("hash", name=op.f("uq_tokens_hash")),
        sa.UniqueConstraint("name", name=op.f("uq_tokens_name")),
    )
    op.create_table(
        "logins",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("token_id", sa.Integer(), nullable=False),
        sa.Column("created_at", STAMP, nullable=False),
        sa.Column("expires_at", STAMP, nullable=False),
        sa.ForeignKeyConstraint(["token_id"], ["tokens.id"], name=op.f("fk_logins_token_id_tokens")),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_logins")),
    )
    op.create_index(op.f("ix_logins_token_id"), "logins", ["token_id"])
    op.create_index(op.f("ix_logins_expires_at"), "logins", ["expires_at"])


def _change_atlases() -> None:
    with op.batch_alter_table("atlases") as atlases:
        atlases.add_column(sa.Column("owner", sa.String(length=64), nullable=False, server_default="local"))
        atlases.add_column(sa.Column("device_kind", sa.String(length=8), nullable=False, server_default="any"))
        atlases.add_column(sa.Column("priority", sa.String(length=12), nullable=True))
        atlases.add_column(sa.Column("plan_token", sa.String(length=32), nullable=True))
        atlases.drop_constraint(op.f("uq_atlases_idempotency_key"), type_="unique")
        atlases.create_unique_constraint(op.f("uq_atlases_owner_idempotency_key"), ["owner", "idempotency_key"])
    op.create_index(op.f("ix_atlases_owner"), "atlases", ["owner"])
    op.execute("UPDATE atlases SET priority = 'batch' WHERE planned_at IS NOT NULL")


def _fill_owners() -> None:
    """Whoever has atlases was served what those were. (An atlas's `served` is divided by its weight.)"""
    op.execute("INSERT INTO owners (name) SELECT DISTINCT owner FROM atlases")
    op.execute(
        "INSERT INTO shares (owner, device_kind, priority, served) "
        "SELECT owner, device_kind, priority, SUM(served * weight) FROM atlases "
        "WHERE priority IS NOT NULL GROUP BY owner, device_kind, priority"
    )


def _change_shards() -> None:
    with op.batch_alter_table("shards") as shards:
        shards.add_column(sa.Column("setbacks", sa.Integer(), nullable=False, server_default="0"))
        shards.add_column(sa.Column("retry_at", STAMP, nullable=True))
        shards.drop_index(op.f("ix_shards_layer_id_recipe_hash"))
    op.create_index(op.f("ix_shards_atlas_id_finished_at"), "shards", ["atlas_id", "finished_at"])


def _create_tallies() -> None:
    """The table, filled from the shards that are there."""
    op.create_table(
        "tallies",
        sa.Column("atlas_id", sa.String(length=26), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("shards", sa.Integer(), nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("cost_seconds", sa.Double(), nullable=False),
        sa.Column("computed_cost_seconds", sa.Double(), nullable=False),
        sa.Column("computed_seconds", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["atlas_id"], ["atlases.id"], name=op.f("fk_tallies_atlas_id_atlases")),
        sa.PrimaryKeyConstraint("atlas_id", "state", name=op.f("pk_tallies")),
    )
    sums = "COUNT(*), SUM(images), SUM(cost_seconds)"
    computed = "SUM(CASE WHEN seconds > 0 THEN cost_seconds ELSE 0 END), SUM(COALESCE(seconds, 0))"
    columns = "(atlas_id, state, shards, images, cost_seconds, computed_cost_seconds, computed_seconds)"
    op.execute(f"INSERT INTO tallies {columns} SELECT atlas_id, 'planned', {sums}, 0, 0 FROM shards GROUP BY atlas_id")  # noqa: S608
    op.execute(
        f"INSERT INTO tallies {columns} SELECT atlas_id, state, {sums}, {computed} FROM shards "  # noqa: S608
        "WHERE state IN ('done', 'failed', 'cancelled') GROUP BY atlas_id, state"
    )
