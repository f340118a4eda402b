"""All settings, and the one place that reads the environment (`DEEPVIS_*`)."""

import ipaddress
import os
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.errors import BadSetting, nearest

PREFIX = "DEEPVIS_"
MISSED_HEARTBEATS = 3
"""A worker that has missed so many in a row is taken as gone ..."""
LATE_SECONDS = 5.0
"""... and this much later, as a busy database makes heartbeats late."""
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class Settings(BaseSettings):
    """Typed settings; each field is the environment variable DEEPVIS_<FIELD>. Durations are in seconds."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    home: Path = Field(default=Path("~/.local/share/deepvis"), description="folder of everything kept on this machine")
    database_url: str = Field(default="", description="SQLAlchemy URL; empty: SQLite in the home folder")
    broker_url: str = Field(default="redis://127.0.0.1:6379/0", description="Celery broker; `up` starts its own Redis")
    live_url: str = Field(
        default="", description="Redis that live activations go through; empty: the broker, where that is a Redis"
    )
    store_url: str = Field(
        default="", description="picture store, file:///folder or s3://bucket/prefix; empty: a folder in the home"
    )
    networks_file: str = Field(default="", description="TOML file of the networks the operator registers")

    host: str = Field(default="127.0.0.1", description="address the web server listens on")
    port: int = Field(
        default=8357, ge=0, le=65535, description="port of the web server; `up` takes a free one if taken"
    )
    url: str = Field(default="", description="where the command line finds the API; empty: http://host:port")
    token: SecretStr = Field(default=SecretStr(""), description="API token that the command line sends")
    require_tokens: bool = Field(
        default=False,
        description="whether requests from this machine need a token too: set it behind a reverse proxy",
    )
    trusted_hosts: str = Field(
        default="",
        description="comma-separated Host names the server answers to, then with tokens only; empty: its own",
    )
    request_seconds: float = Field(
        default=20.0, ge=1, le=3600, description="time that a client has to send a request, its body with it"
    )
    trusted_proxies: str = Field(
        default="",
        description="comma-separated addresses or networks of reverse proxies that are believed, as those on this "
        "machine are, about the scheme and the client of what they pass on",
    )
    web_threads: int = Field(default=32, ge=2, le=256, description="threads of the web server")
    max_body_bytes: int = Field(default=1_048_576, ge=1024, description="largest request body")
    max_picture_bytes: int = Field(default=20_000_000, ge=1, description="largest picture file that is read")
    max_picture_pixels: int = Field(
        default=50_000_000, ge=1, description="largest picture that is decoded; of all its frames together"
    )
    max_picture_frames: int = Field(default=100, ge=1, description="most frames of an animated picture")
    max_archive_bytes: int = Field(
        default=100_000_000, ge=1024, description="largest archive of images that is uploaded at once"
    )
    max_archive_pixels: int = Field(
        default=2_000_000_000,
        ge=1,
        description="pixels that are decoded of one uploaded archive, all its images together; one image always may",
    )
    max_probe_set_images: int = Field(
        default=5_000_000, ge=0, description="images that one probe set may have; 0: any number"
    )
    max_probe_set_bytes: int = Field(
        default=1_000_000_000_000, ge=0, description="bytes that the images of one probe set may have; 0: any number"
    )
    max_checkpoint_bytes: int = Field(
        default=2_147_483_648, ge=1, description="largest checkpoint file that is read, in memory as a whole"
    )
    max_video_bytes: int = Field(default=200_000_000, ge=1, description="largest video file that is read")
    max_video_pixels: int = Field(
        default=9_000_000, ge=1, description="largest frame of a video that is decoded, in pixels"
    )
    max_video_frames: int = Field(default=20_000, ge=1, description="frames of a video that are read, no more")
    max_video_seconds: float = Field(default=1200.0, gt=0, description="longest video that is taken")
    max_recording_bytes: int = Field(
        default=4_000_000_000, ge=1, description="numbers that one recording may keep, all its layers together"
    )
    max_open_activations: int = Field(
        default=32, ge=1, description="activation jobs of one owner that may be unfinished at once"
    )
    requests_per_minute: int = Field(
        default=600, ge=1, le=100_000, description="requests a minute with one token, unless the token says otherwise"
    )
    max_open_atlases: int = Field(default=64, ge=1, description="atlases of one owner that may be unfinished at once")
    max_images_per_day: int = Field(
        default=0, ge=0, description="unit-images that one owner may ask for in 24 hours; 0: as many as they like"
    )
    max_images_per_atlas: int = Field(
        default=5_000_000, ge=0, description="unit-images that one atlas may cover; 0: as many as there are"
    )

    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="what a worker computes on")
    threads: int = Field(default=0, ge=0, le=1024, description="CPU threads of a worker; 0: every core it may use")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="precision of a worker's network"
    )
    batch_size: int = Field(default=0, ge=0, le=4096, description="images in a batch; 0: chosen per layer and device")
    shard_seconds: float = Field(default=20.0, gt=0, le=3600, description="work that planning puts into one shard")
    lease_seconds: float = Field(default=60.0, ge=2, description="a lease without a heartbeat runs out after this")
    heartbeat_seconds: float = Field(default=10.0, gt=0, description="time between a worker's heartbeats")
    max_attempts: int = Field(default=3, ge=1, le=100, description="tries of a shard before it is marked failed")
    setback_seconds: float = Field(
        default=10.0, gt=0, description="a shard waits so long, then longer, after a failure of the picture store"
    )
    task_seconds: float = Field(
        default=14_400.0, ge=1, description="a task that takes longer is stopped and its attempt counted as failed"
    )
    stall_seconds: float = Field(
        default=900.0, ge=1, description="a shard that shows no progress for so long is taken from its worker process"
    )
    stop_seconds: float = Field(
        default=10.0, ge=0, description="a stopping worker finishes its shard if it takes no longer, else gives it back"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="least severe log line shown"
    )
    log_format: Literal["auto", "text", "json"] = Field(
        default="auto", description="form of the log; auto: text on a terminal, else one JSON object a line"
    )
    access_log: bool = Field(default=True, description="whether the web server logs every request")
    metrics_host: str = Field(default="127.0.0.1", description="address a worker serves its metrics on")
    metrics_port: int = Field(
        default=0, ge=0, le=65535, description="port of a worker's metrics, or the next free one of 16; 0: none"
    )
    metrics_token: SecretStr = Field(
        default=SecretStr(""), description="token to read a worker's metrics with; required beyond loopback"
    )
    celery_events: bool = Field(
        default=False, description="whether workers send Celery's events and answer its commands, for Flower"
    )

    @field_validator("home")
    @classmethod
    def _home_can_be_found(cls, home: Path) -> Path:
        try:
            home.expanduser().resolve()
        except (RuntimeError, OSError) as error:  # nobody's ~, or links in a circle
            raise ValueError(f"{home} leads nowhere ({error})") from error
        return home

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies_are_addresses(cls, proxies: str) -> str:
        _networks(proxies)
        return proxies

    @field_validator("heartbeat_seconds")
    @classmethod
    def _leases_outlive_heartbeats(cls, seconds: float, info: ValidationInfo) -> float:
        lease_seconds = info.data.get("lease_seconds")
        if lease_seconds is not None and seconds > lease_seconds / 2:
            raise ValueError(
                f"at most half of DEEPVIS_LEASE_SECONDS ({lease_seconds:g}), or leases run out between them"
            )
        return seconds

    @cached_property
    def home_path(self) -> Path:
        return self.home.expanduser().resolve()

    @cached_property
    def proxy_networks(self) -> tuple[IPNetwork, ...]:
        return _networks(self.trusted_proxies)

    @cached_property
    def resolved_database_url(self) -> str:
        return self.database_url or f"sqlite:///{self.home_path / 'deepvis.db'}"

    @cached_property
    def resolved_store_url(self) -> str:
        return self.store_url or self.home_path.joinpath("pictures").as_uri()

    @property
    def alive_seconds(self) -> float:
        """A worker that has not beaten for so long counts as gone, wherever somebody asks."""
        return MISSED_HEARTBEATS * self.heartbeat_seconds + LATE_SECONDS

    @cached_property
    def resolved_url(self) -> str:
        return (self.url or f"http://{self.host}:{self.port}").rstrip("/")


def _networks(text: str) -> tuple[IPNetwork, ...]:
    """The networks that `text` names, with commas between them; an address is a network of one."""
    return tuple(ipaddress.ip_network(name.strip(), strict=False) for name in text.split(",") if name.strip())


def given_variables() -> list[str]:
    """The environment's variables that are named like settings, known or not."""
    return sorted(name for name in os.environ if name.upper().startswith(PREFIX))


def unknown_variables() -> list[str]:
    """A sentence for each variable that is named like a setting and is none: what may have been meant."""
    known = [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    unknown = (name for name in given_variables() if name.upper() not in known)
    return [f"{name} is no setting. {nearest(name, known)}" for name in unknown]


def load_settings(**overrides: object) -> Settings:
    """Settings from the environment, with `overrides` on top.

    Raises:
        BadSetting: a variable has a value it cannot have; the message names each one.
    """
    try:
        return Settings(**overrides)  # type: ignore[arg-type]  # pydantic validates what the caller passes
    except ValidationError as error:
        wrong = "; ".join(
            f"{PREFIX}{'_'.join(map(str, e['loc'])).upper()}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        )
        raise BadSetting(f"Settings are wrong: {wrong}.", "See the settings table in docs/settings.md.") from error
