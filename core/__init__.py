"""What every room may know: settings, errors and frozen specifications. No torch, Flask, Celery or SQLAlchemy."""
