"""The dataset-centric view: probe sets, what units answer to in them, and shards of other kinds.

Revision: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

STAMP = sa.DateTime(timezone=True)


def upgrade() -> None:
    _create_probe_sets()
    _create_passes()
    _create_answers()
    _create_top_images()
    _create_searches()
    _change_shards()


def _create_probe_sets() -> None:
    op.create_table(
        "probe_sets",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("origin", sa.String(length=300), nullable=False),
        sa.Column("root", sa.String(length=1000), nullable=True),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("labels_fixed", sa.Boolean(), nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("duplicates", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=True),
        sa.Column("created_at", STAMP, nullable=False),
        sa.Column("finished_at", STAMP, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_probe_sets")),
        sa.UniqueConstraint("name", name=op.f("uq_probe_sets_name")),
    )
    op.create_index(op.f("ix_probe_sets_state"), "probe_sets", ["state"])
    op.create_table(
        "probe_images",
        sa.Column("set_id", sa.String(length=26), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=500), nullable=False),
        sa.Column("label", sa.Integer(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["set_id"], ["probe_sets.id"], name=op.f("fk_probe_images_set_id")),
        sa.PrimaryKeyConstraint("set_id", "number", name=op.f("pk_probe_images")),
        sa.UniqueConstraint("set_id", "key", name=op.f("uq_probe_images_set_id_key")),
    )
    op.create_index(op.f("ix_probe_images_key"), "probe_images", ["key"])
    op.create_index(op.f("ix_probe_images_set_id_label_number"), "probe_images", ["set_id", "label", "number"])
    op.create_table(
        "probe_skips",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("set_id", sa.String(length=26), nullable=False),
        sa.Column("name", sa.String(length=500), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["set_id"], ["probe_sets.id"], name=op.f("fk_probe_skips_set_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_probe_skips")),
        sa.UniqueConstraint("set_id", "name", name=op.f("uq_probe_skips_set_id_name")),
    )


def _create_passes() -> None:
    op.create_table(
        "probe_passes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("atlas_id", sa.String(length=26), nullable=False),
        sa.Column("network_id", sa.Integer(), nullable=False),
        sa.Column("set_id", sa.String(length=26), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("partial", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("created_at", STAMP, nullable=False),
        sa.Column("merged_at", STAMP, nullable=True),
        sa.ForeignKeyConstraint(["atlas_id"], ["atlases.id"], name=op.f("fk_probe_passes_atlas_id")),
        sa.ForeignKeyConstraint(["network_id"], ["networks.id"], name=op.f("fk_probe_passes_network_id")),
        sa.ForeignKeyConstraint(["set_id"], ["probe_sets.id"], name=op.f("fk_probe_passes_set_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_probe_passes")),
        sa.UniqueConstraint("atlas_id", name=op.f("uq_probe_passes_atlas_id")),
    )
    op.create_index(op.f("ix_probe_passes_network_id_state_id"), "probe_passes", ["network_id", "state", "id"])
    op.create_index(op.f("ix_probe_passes_set_id"), "probe_passes", ["set_id"])
    op.create_table(
        "pass_layers",
        sa.Column("pass_id", sa.Integer(), nullable=False),
        sa.Column("layer_id", sa.Integer(), nullable=False),
        sa.Column("blob", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["layer_id"], ["layers.id"], name=op.f("fk_pass_layers_layer_id")),
        sa.ForeignKeyConstraint(["pass_id"], ["probe_passes.id"], name=op.f("fk_pass_layers_pass_id")),
        sa.PrimaryKeyConstraint("pass_id", "layer_id", name=op.f("pk_pass_layers")),
    )
    op.create_index(op.f("ix_pass_layers_blob"), "pass_layers", ["blob"])
    op.create_table(
        "pass_parts",
        sa.Column("pass_id", sa.Integer(), nullable=False),
        sa.Column("layer_id", sa.Integer(), nullable=False),
        sa.Column("first", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.Column("blob", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["layer_id"], ["layers.id"], name=op.f("fk_pass_parts_layer_id")),
        sa.ForeignKeyConstraint(["pass_id"], ["probe_passes.id"], name=op.f("fk_pass_parts_pass_id")),
        sa.PrimaryKeyConstraint("pass_id", "layer_id", "first", name=op.f("pk_pass_parts")),
    )
    op.create_index(op.f("ix_pass_parts_blob"), "pass_parts", ["blob"])


def _create_answers() -> None:
    op.create_table(
        "unit_answers",
        sa.Column("pass_id", sa.Integer(), nullable=False),
        sa.Column("layer_id", sa.Integer(), nullable=False),
        sa.Column("unit", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("mean", sa.Double(), nullable=False),
        sa.Column("deviation", sa.Double(), nullable=False),
        sa.Column("lowest", sa.Double(), nullable=False),
        sa.Column("highest", sa.Double(), nullable=False),
        sa.Column("active", sa.Double(), nullable=False),
        sa.Column("sparseness", sa.Double(), nullable=True),
        sa.Column("selectivity", sa.Double(), nullable=True),
        sa.Column("dead", sa.Boolean(), nullable=False),
        sa.Column("histogram", sa.JSON(), nullable=False),
        sa.Column("similar", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["layer_id"], ["layers.id"], name=op.f("fk_unit_answers_layer_id")),
        sa.ForeignKeyConstraint(["pass_id"], ["probe_passes.id"], name=op.f("fk_unit_answers_pass_id")),
        sa.PrimaryKeyConstraint("pass_id", "layer_id", "unit", name=op.f("pk_unit_answers")),
    )
    op.create_table(
        "unit_labels",
        sa.Column("pass_id", sa.Integer(), nullable=False),
        sa.Column("layer_id", sa.Integer(), nullable=False),
        sa.Column("unit", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("rank", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("label", sa.Integer(), nullable=False),
        sa.Column("mean", sa.Double(), nullable=False),
        sa.Column("effect", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["layer_id"], ["layers.id"], name=op.f("fk_unit_labels_layer_id")),
        sa.ForeignKeyConstraint(["pass_id"], ["probe_passes.id"], name=op.f("fk_unit_labels_pass_id")),
        sa.PrimaryKeyConstraint("pass_id", "layer_id", "unit", "rank", name=op.f("pk_unit_labels")),
    )
    op.create_index(op.f("ix_unit_labels_pass_id_label_effect"), "unit_labels", ["pass_id", "label", "effect"])


def _create_top_images() -> None:
    op.create_table(
        "top_images",
        sa.Column("pass_id", sa.Integer(), nullable=False),
        sa.Column("layer_id", sa.Integer(), nullable=False),
        sa.Column("unit", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("side", sa.String(length=8), nullable=False),
        sa.Column("rank", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("image", sa.Integer(), nullable=False),
        sa.Column("activation", sa.Double(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["layer_id"], ["layers.id"], name=op.f("fk_top_images_layer_id")),
        sa.ForeignKeyConstraint(["pass_id"], ["probe_passes.id"], name=op.f("fk_top_images_pass_id")),
        sa.PrimaryKeyConstraint("pass_id", "layer_id", "unit", "side", "rank", name=op.f("pk_top_images")),
    )
    op.create_table(
        "unit_views",
        sa.Column("pass_id", sa.Integer(), nullable=False),
        sa.Column("layer_id", sa.Integer(), nullable=False),
        sa.Column("unit", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("side", sa.String(length=8), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("blob", sa.String(length=64), nullable=True),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("columns", sa.Integer(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("boxes", sa.JSON(), nullable=False),
        sa.Column("sheet", sa.String(length=64), nullable=True),
        sa.Column("sheet_index", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["layer_id"], ["layers.id"], name=op.f("fk_unit_views_layer_id")),
        sa.ForeignKeyConstraint(["pass_id"], ["probe_passes.id"], name=op.f("fk_unit_views_pass_id")),
        sa.PrimaryKeyConstraint("pass_id", "layer_id", "unit", "side", "kind", name=op.f("pk_unit_views")),
    )
    op.create_index(op.f("ix_unit_views_blob"), "unit_views", ["blob"])
    op.create_index(op.f("ix_unit_views_sheet"), "unit_views", ["sheet"])


def _create_searches() -> None:
    op.create_table(
        "picture_searches",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("pass_id", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("requested_at", STAMP, nullable=False),
        sa.Column("begun_at", STAMP, nullable=True),
        sa.Column("created_at", STAMP, nullable=False),
        sa.Column("finished_at", STAMP, nullable=True),
        sa.Column("result", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["pass_id"], ["probe_passes.id"], name=op.f("fk_picture_searches_pass_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_picture_searches")),
    )
    op.create_index(op.f("ix_picture_searches_key"), "picture_searches", ["key"])
    op.create_index(op.f("ix_picture_searches_pass_id"), "picture_searches", ["pass_id"])
    op.create_index(op.f("ix_picture_searches_state"), "picture_searches", ["state"])


def _change_shards() -> None:
    with op.batch_alter_table("shards") as shards:
        shards.add_column(sa.Column("kind", sa.String(length=12), nullable=False, server_default="preferred"))
        shards.add_column(sa.Column("first", sa.Integer(), nullable=False, server_default="0"))
        shards.add_column(sa.Column("last", sa.Integer(), nullable=False, server_default="-1"))
        shards.alter_column("layer_id", existing_type=sa.Integer(), nullable=True)
        shards.alter_column("recipe_hash", existing_type=sa.String(length=16), nullable=True)
