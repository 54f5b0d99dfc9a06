"""The pages of a file: served by `vbl ui` and `vbl up --ui`, or mounted into an ASGI application of your own.

    app.mount("/vbl", vbl.web.application("support.db", trusted=True))

Needs the extra `ui`. Doors over the client: what is drawn comes from `vbl.drawing`, what is done is done by the client.
"""

from vbl.web.app import Application, application

__all__ = ["Application", "application"]
