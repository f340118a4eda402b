"""The Celery application and the messages that travel through it: ids, nothing else."""
