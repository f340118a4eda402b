"""The web server's log: gunicorn's own lines and one for each request, in the same form as everything else."""

import logging
from datetime import timedelta
from typing import Any

from gunicorn import glogging

from api.security.audit import OWNER_KEY
from core import logs
from core.settings import Settings
from db.outages import is_outage


def set_up(settings: Settings) -> None:
    """Set up logging for this process and those forked from it; the access log only if it is wanted."""
    logs.set_up(settings.log_format, settings.log_level, is_foreseen=is_outage)
    logging.getLogger("gunicorn.access").disabled = not settings.access_log


class Logger(glogging.Logger):  # type: ignore[misc]  # gunicorn has no types
    """Leaves form and place of the log to `core.logs`; for gunicorn's option `--logger-class`."""

    def setup(self, cfg: Any) -> None:
        """Take part in the log of the process, instead of gunicorn's own handlers."""
        self.cfg = cfg
        for logger in (self.error_log, self.access_log):
            logger.propagate = True
            logger.handlers.clear()

    @property
    def access_log_enabled(self) -> bool:
        """Whether anybody would see a line."""
        return not self.access_log.disabled and bool(self.access_log.isEnabledFor(logging.INFO))

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
        """One line for a request, without its query: what people search for is nobody's business.

        The path is as it was sent, percent-encoded: nothing in it can look like another line.
        """
        if not self.access_log_enabled:
            return
        extra = {
            "client": environ.get("REMOTE_ADDR") or "-",
            "owner": environ.get(OWNER_KEY),
            "method": environ["REQUEST_METHOD"],
            "path": environ["RAW_URI"].partition("?")[0],
            "status": int(str(resp.status).split()[0]),
            "seconds": round(request_time.total_seconds(), 4),
        }
        self.access_log.info("{client} {method} {path} {status} in {seconds:g} s".format(**extra), extra=extra)
