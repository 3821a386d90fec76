"""An acceptance holds for a severity, not for whatever the finding grows into."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column; earlier acceptances hold for any severity."""
    with op.batch_alter_table("accepted") as table:
        table.add_column(sa.Column("severity", sa.String(16), nullable=False, server_default=""))


def downgrade() -> None:
    """Drop the column."""
    with op.batch_alter_table("accepted") as table:
        table.drop_column("severity")
