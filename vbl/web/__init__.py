"""The local page: a door over the client. Needs the extra `ui`."""
