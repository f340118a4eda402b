"""Activations of single pictures and of videos.

Revision: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STAMP = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "activation_jobs",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("network_id", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("filename", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_token", sa.String(length=32), nullable=True),
        sa.Column("lease_expires_at", STAMP, nullable=True),
        sa.Column("requested_at", STAMP, nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=True),
        sa.Column("result", sa.JSON(), nullable=False),
        sa.Column("created_at", STAMP, nullable=False),
        sa.Column("started_at", STAMP, nullable=True),
        sa.Column("finished_at", STAMP, nullable=True),
        sa.ForeignKeyConstraint(["network_id"], ["networks.id"], name=op.f("fk_activation_jobs_network_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_activation_jobs")),
    )
    op.create_index(op.f("ix_activation_jobs_network_id"), "activation_jobs", ["network_id"])
    op.create_index(op.f("ix_activation_jobs_owner_state"), "activation_jobs", ["owner", "state"])
    op.create_index(op.f("ix_activation_jobs_state_requested_at"), "activation_jobs", ["state", "requested_at"])
    op.create_table(
        "activation_files",
        sa.Column("job_id", sa.String(length=26), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("part", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["activation_jobs.id"], name=op.f("fk_activation_files_job_id")),
        sa.PrimaryKeyConstraint("job_id", "name", "part", name=op.f("pk_activation_files")),
    )
    op.create_index(op.f("ix_activation_files_key"), "activation_files", ["key"])
