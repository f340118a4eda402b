"""The headers of every answer: what a browser may do with it."""

from flask import Response, request

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "media-src 'self' blob:",  # recordings; and a video that the visitor opened, which is played and not sent whole
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
PERMISSIONS_POLICY = ", ".join(
    (
        "camera=(self)",  # a page that shows what a network makes of it asks the visitor first
        *(f"{feature}=()" for feature in ("display-capture", "geolocation", "microphone", "payment", "usb")),
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Permissions-Policy": PERMISSIONS_POLICY,
    "X-Content-Type-Options": "nosniff",
    # Not "no-referrer": browsers then send "Origin: null" with our own forms.
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
YEAR_SECONDS = 365 * 24 * 3600


def add_headers(response: Response) -> Response:
    """Security headers on every answer; answers change, so caches ask again unless a view says otherwise."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.is_secure:
        response.headers.setdefault("Strict-Transport-Security", f"max-age={YEAR_SECONDS}")
    response.headers.setdefault("Cache-Control", "private, no-cache")
    return response
