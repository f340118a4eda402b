"""`deepvis status`: atlases, workers and the queue."""

from typing import Any

import click

from cli.tables import print_json, print_table
from cli.texts import duration


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@click.option("--limit", type=click.IntRange(1, 100), default=10, show_default=True, help="Most atlases shown.")
def status(as_json: bool, limit: int) -> None:
    """Show the latest atlases, the workers and how much is waiting."""
    from cli.client import Client
    from cli.running import connected_settings

    with Client(connected_settings()) as client:
        atlases = client.get("/atlases", limit=limit)["items"]
        service = client.get("/service")
    if as_json:
        print_json({"url": client.url, "atlases": atlases, **service})
        return
    click.echo(f"{client.url}\n{_queue(service)}")
    _print_workers([worker for worker in service["workers"] if not worker["stopped_at"]])
    if atlases:
        click.echo()
        print_table(["atlas", "network", "state", "pictures", "rate", "left"], list(map(_atlas, atlases)))
    else:
        click.echo("No atlases yet: deepvis atlas demo --wait")


def _queue(service: dict[str, Any]) -> str:
    queue = service["queue"]
    workers = "1 worker" if service["alive"] == 1 else f"{service['alive']} workers"
    line = f"{workers}; shards: {queue['pending']} waiting, {queue['running']} running"
    if queue["unplanned"]:
        line += f"; {queue['unplanned']} atlases wait for a worker that plans them"
    oldest = queue["oldest_pending_seconds"]
    return line if oldest is None else f"{line}, the oldest for {duration(oldest)}"


def _print_workers(workers: list[dict[str, Any]]) -> None:
    """Those that live; of the silent ones, what they last did says nothing about now."""
    alive = [worker for worker in workers if worker["alive"]]
    if alive:
        click.echo()
        print_table(["worker", "host", "device", "doing", "pictures"], list(map(_worker, alive)))
    if silent := [worker["id"] for worker in workers if not worker["alive"]]:
        click.echo(f"\nSilent, and taken as gone: {', '.join(silent)}")


def _worker(worker: dict[str, Any]) -> list[str]:
    return [worker["id"], worker["host"], worker["device"], worker["activity"], str(worker["images_done"])]


def _atlas(atlas: dict[str, Any]) -> list[str]:
    progress = atlas["progress"]
    rate = progress["images_per_second"]
    return [
        atlas["id"],
        atlas["network"],
        atlas["state"].replace("_", " "),
        f"{progress['images_done']} of {progress['images']}",
        f"{rate:.2g}/s" if rate else "-",
        duration(progress["seconds_left"]),
    ]
