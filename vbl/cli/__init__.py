"""The door of the terminal: commands, each thin over the client. `main` is in `vbl.cli.main`."""
