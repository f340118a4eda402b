"""`--weights FILE`: a checked checkpoint becomes a network of this installation."""

from pathlib import Path

from core.settings import Settings


def register_weights(settings: Settings, network: str, path: Path) -> str:
    """Check the weights in `path` against `network`, keep them, and register them under the name that is returned.

    The name is NETWORK-<first digits of their SHA-256>: the same file gives the same network.

    Raises:
        UnknownNetwork: there is no such network.
        BadCheckpoint: the file is unsafe, broken, or does not fit the network.
    """
    from db.networks import register
    from db.session import check_schema, make_engine, make_sessions
    from deepvis.networks import find_source, import_checkpoint, with_weights
    from store import open_store

    base = find_source(network, settings.networks_file)
    data, digest = import_checkpoint(base.builder, path, max_bytes=settings.max_checkpoint_bytes)
    engine = make_engine(settings.resolved_database_url)
    check_schema(engine)
    source = with_weights(base, digest)
    open_store(settings.resolved_store_url).put(data)
    with make_sessions(engine).begin() as session:
        register(session, source)
    engine.dispose()
    return source.name
