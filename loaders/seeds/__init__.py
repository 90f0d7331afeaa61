"""What people write into the seeds of the dbt project: lines that cannot be, and memberships brought in from a file."""

from warehouse.settings import PROJECT_DIR

SEEDS = PROJECT_DIR / "dbt_project" / "seeds"
