"""The first tables.

Revision: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "networks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("source", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("described_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("weights_hash", sa.String(length=64), nullable=True),
        sa.Column("input_shape", sa.JSON(), nullable=True),
        sa.Column("mean", sa.JSON(), nullable=True),
        sa.Column("std", sa.JSON(), nullable=True),
        sa.Column("labels", sa.JSON(), nullable=True),
        sa.Column("parameters", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_networks")),
        sa.UniqueConstraint("name", name=op.f("uq_networks_name")),
    )
    op.create_table(
        "recipes",
        sa.Column("hash", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("title", sa.String(length=80), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_recipes")),
    )
    op.create_table(
        "workers",
        sa.Column("id", sa.String(length=120), nullable=False),
        sa.Column("host", sa.String(length=80), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("device", sa.String(length=80), nullable=False),
        sa.Column("queues", sa.String(length=200), nullable=False),
        sa.Column("versions", sa.JSON(), nullable=False),
        sa.Column("activity", sa.String(length=200), nullable=False),
        sa.Column("images_done", sa.Integer(), nullable=False),
        sa.Column("busy_seconds", sa.Double(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    op.create_table(
        "atlases",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("network_id", sa.Integer(), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=30), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.Column("served", sa.Double(), nullable=False),
        sa.Column("idempotency_key", sa.String(length=200), nullable=True),
        sa.Column("plan_attempts", sa.Integer(), nullable=False),
        sa.Column("plan_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("planned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["network_id"], ["networks.id"], name=op.f("fk_atlases_network_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_atlases")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_atlases_idempotency_key")),
    )
    op.create_index(op.f("ix_atlases_network_id"), "atlases", ["network_id"], unique=False)
    op.create_index(op.f("ix_atlases_state"), "atlases", ["state"], unique=False)
    op.create_table(
        "layers",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("network_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("order", sa.Integer(), nullable=False),
        sa.Column("units", sa.Integer(), nullable=False),
        sa.Column("labelled", sa.Boolean(), nullable=False),
        sa.Column("default", sa.Boolean(), nullable=False),
        sa.Column("info", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["network_id"], ["networks.id"], name=op.f("fk_layers_network_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_layers")),
        sa.UniqueConstraint("network_id", "name", name=op.f("uq_layers_network_id_name")),
    )
    op.create_index(op.f("ix_layers_network_id"), "layers", ["network_id"], unique=False)
    op.create_table(
        "shards",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("atlas_id", sa.String(length=26), nullable=False),
        sa.Column("layer_id", sa.Integer(), nullable=False),
        sa.Column("recipe_hash", sa.String(length=16), nullable=False),
        sa.Column("units", sa.JSON(), nullable=False),
        sa.Column("seeds", sa.Integer(), nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("cost_seconds", sa.Double(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("fraction", sa.Double(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("enqueued_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_token", sa.String(length=32), nullable=True),
        sa.Column("lease_worker", sa.String(length=120), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["atlas_id"], ["atlases.id"], name=op.f("fk_shards_atlas_id")),
        sa.ForeignKeyConstraint(["layer_id"], ["layers.id"], name=op.f("fk_shards_layer_id")),
        sa.ForeignKeyConstraint(["recipe_hash"], ["recipes.hash"], name=op.f("fk_shards_recipe_hash")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shards")),
    )
    op.create_index(op.f("ix_shards_atlas_id_state_id"), "shards", ["atlas_id", "state", "id"], unique=False)
    op.create_index(op.f("ix_shards_layer_id_recipe_hash"), "shards", ["layer_id", "recipe_hash"], unique=False)
    op.create_index(op.f("ix_shards_state_enqueued_at"), "shards", ["state", "enqueued_at"], unique=False)
    op.create_index(op.f("ix_shards_state_lease_expires_at"), "shards", ["state", "lease_expires_at"], unique=False)
    op.create_table(
        "pictures",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("layer_id", sa.Integer(), nullable=False),
        sa.Column("recipe_hash", sa.String(length=16), nullable=False),
        sa.Column("unit", sa.Integer(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("blob", sa.String(length=64), nullable=True),
        sa.Column("sheet", sa.String(length=64), nullable=True),
        sa.Column("sheet_index", sa.Integer(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("activation", sa.Double(), nullable=True),
        sa.Column("best_step", sa.Integer(), nullable=True),
        sa.Column("strongest_step", sa.Integer(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("device", sa.String(length=80), nullable=False),
        sa.Column("precision", sa.String(length=10), nullable=False),
        sa.Column("library_version", sa.String(length=40), nullable=False),
        sa.Column("shard_id", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["layer_id"], ["layers.id"], name=op.f("fk_pictures_layer_id")),
        sa.ForeignKeyConstraint(["recipe_hash"], ["recipes.hash"], name=op.f("fk_pictures_recipe_hash")),
        sa.ForeignKeyConstraint(["shard_id"], ["shards.id"], name=op.f("fk_pictures_shard_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pictures")),
        sa.UniqueConstraint(
            "layer_id", "recipe_hash", "seed", "unit", name=op.f("uq_pictures_layer_id_recipe_hash_seed_unit")
        ),
    )
    op.create_index(
        op.f("ix_pictures_layer_id_recipe_hash_seed_activation"),
        "pictures",
        ["layer_id", "recipe_hash", "seed", "activation"],
        unique=False,
    )
    op.create_index(op.f("ix_pictures_layer_id_unit"), "pictures", ["layer_id", "unit"], unique=False)
    op.create_index(op.f("ix_pictures_shard_id"), "pictures", ["shard_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_pictures_shard_id"), table_name="pictures")
    op.drop_index(op.f("ix_pictures_layer_id_unit"), table_name="pictures")
    op.drop_index(op.f("ix_pictures_layer_id_recipe_hash_seed_activation"), table_name="pictures")
    op.drop_table("pictures")
    op.drop_index(op.f("ix_shards_state_lease_expires_at"), table_name="shards")
    op.drop_index(op.f("ix_shards_state_enqueued_at"), table_name="shards")
    op.drop_index(op.f("ix_shards_layer_id_recipe_hash"), table_name="shards")
    op.drop_index(op.f("ix_shards_atlas_id_state_id"), table_name="shards")
    op.drop_table("shards")
    op.drop_index(op.f("ix_layers_network_id"), table_name="layers")
    op.drop_table("layers")
    op.drop_index(op.f("ix_atlases_state"), table_name="atlases")
    op.drop_index(op.f("ix_atlases_network_id"), table_name="atlases")
    op.drop_table("atlases")
    op.drop_table("workers")
    op.drop_table("recipes")
    op.drop_table("networks")
