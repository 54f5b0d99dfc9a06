"""The demonstration: a real workflow whose worker process is really killed, and the proof of what happened then.

`play` runs it, `moments` chooses when to kill, `worker` holds the process, `proof` compares the history with the
side-effect file. Nothing here prints; the terminal's part is in vbl.cli.demo.
"""
