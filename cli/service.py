"""The long-running parts, each alone: `deepvis worker` and `deepvis api`."""

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from core.settings import Settings


@click.command()
@click.option("--live", is_flag=True, help="Serve live activations, and nothing else.")
@click.pass_context
def worker(ctx: click.Context, live: bool) -> None:
    """Run one worker: it plans atlases and makes pictures.

    It computes on a GPU if there is one, else on the CPU. Start one for each device, on any machine that reaches the
    broker, the database and the picture store. SIGTERM lets it finish its shard or give it back.
    """
    from cli.checks import warn_of_unknown_settings
    from cli.running import connected_settings
    from workers.main import run

    warn_of_unknown_settings()
    ctx.exit(run(connected_settings(), live=live))


@click.command()
@click.option("--host", help="Address to listen on; beyond loopback every request needs a token.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on.")
def api(host: str | None, port: int | None) -> None:
    """Run the web server: the REST API, its documentation and the gallery."""
    from api import logs
    from cli import checks
    from cli.running import connected_settings

    settings = connected_settings(**given(host=host, port=port))
    logs.set_up(settings)
    checks.before_api(settings)  # here, where it is said in two lines, and not with a traceback in gunicorn's child
    serve(settings)


def given(**options: object) -> dict[str, object]:
    """The options that the user gave."""
    return {name: value for name, value in options.items() if value is not None}


def gunicorn_options(settings: "Settings") -> dict[str, Any]:
    """One process with threads: the work is database reads, file reads and waiting."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return {
        "bind": [f"{host}:{settings.port}"],
        "workers": 1,
        "worker_class": "api.serving.Worker",
        "threads": settings.web_threads,
        "timeout": 60,
        "graceful_timeout": 3,
        "keepalive": 15,
        "logger_class": "api.logs.Logger",
        "loglevel": settings.log_level.lower(),
        "forwarded_allow_ips": ",".join(["127.0.0.1", "::1", *map(str, settings.proxy_networks)]),
        "control_socket_disable": True,
        "limit_request_line": 8190,
    }


def serve(settings: "Settings") -> None:
    """Serve the API and the gallery with gunicorn, in this process, until a signal comes."""
    from gunicorn.app.base import BaseApplication

    from api.app import create_app

    class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
        def load_config(self) -> None:
            for name, value in gunicorn_options(settings).items():
                if name in self.cfg.settings:
                    self.cfg.set(name, value)

        def load(self) -> Any:
            return create_app(settings)

    Server().run()
