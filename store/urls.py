"""Which store a URL names."""

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from core.addresses import without_password
from core.errors import BadSetting
from store.base import PictureStore
from store.folder import FolderStore
from store.memory import MemoryStore

if TYPE_CHECKING:
    from store.s3 import Bucket

_REMEDY = "Set DEEPVIS_STORE_URL to file:///some/folder or s3://bucket/prefix."
_OPTIONS = {"endpoint", "region", "path_style"}


def open_store(url: str) -> PictureStore:
    """The store at `url`: file:///folder, s3://bucket/prefix, or memory:// (one process only). Touches nothing yet.

    An S3 URL may say ?endpoint=http://host:port, &region=name and &path_style=true (or false; by default true where
    an endpoint is given). Credentials come from the surroundings, as for every AWS tool.

    Raises:
        BadSetting: the URL names no store that there is.
    """
    parts = _split(url)
    if parts.scheme == "memory":
        return MemoryStore()
    if parts.scheme == "file" and parts.netloc in {"", "localhost"} and parts.path.startswith("/"):
        return FolderStore(Path(unquote(parts.path)))
    if parts.scheme == "s3":
        from store.s3 import S3Store  # boto3 takes a while to import

        return S3Store(_bucket(parts))
    raise BadSetting(f"{without_password(url)!r} is no picture store.", _REMEDY)


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise BadSetting(f"{without_password(url)!r} is no URL.", _REMEDY) from error


def _bucket(parts: SplitResult) -> "Bucket":
    from store.s3 import Bucket

    if "@" in parts.netloc:
        raise BadSetting(
            "The URL of the picture store holds credentials, which would end up in logs.",
            "Leave them out and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        )
    if not parts.netloc:
        raise BadSetting("The URL of the picture store names no bucket.", _REMEDY)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(options.keys() - _OPTIONS):
        remedy = f"It takes {', '.join(sorted(_OPTIONS))}; credentials come from the environment."
        raise BadSetting(f"The URL of the picture store has the unknown option {unknown[0]!r}.", remedy)
    endpoint = _endpoint(options.get("endpoint", ""))
    return Bucket(
        name=parts.netloc,
        prefix=unquote(parts.path).strip("/"),
        endpoint=endpoint,
        region=options.get("region") or None,
        path_style=_truth(options.get("path_style", str(endpoint is not None))),
    )


def _endpoint(text: str) -> str | None:
    """The address of a service, or None for AWS itself."""
    if not text:
        return None
    parts = _split(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
        raise BadSetting(
            f"{parts.hostname or without_password(text)!r} is no endpoint.", "Use http://host:port or https://host."
        )
    return text


def _truth(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise BadSetting(f"path_style is {text!r} in the URL of the picture store.", "Use true or false.")
    return text.lower() == "true"
