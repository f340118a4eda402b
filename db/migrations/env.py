"""Run by Alembic: migrates over the connection that `db.migrate` hands it."""

from alembic import context

from db import activation_models, probe_models  # noqa: F401  # their tables join the others
from db.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
