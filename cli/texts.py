"""Numbers, durations and addresses as people read them."""


def duration(seconds: float | None) -> str:
    """Like "42 s", "3 min 05 s", "2 h 10 min"; "-" when unknown."""
    if seconds is None:
        return "-"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def size(count: float) -> str:
    """A number of bytes like "3.2 GB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def shape(sides: tuple[int, ...]) -> str:
    """A shape like "64 x 56 x 56"."""
    return " x ".join(map(str, sides))
