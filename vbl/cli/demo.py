"""`vbl demo`: a briefing from real documents, whose worker is killed twice, and the proof that nothing ran twice.

The demonstration itself is in vbl.demo, its screen in vbl.cli.stage; here it gets a file, an audience and an exit code.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vbl.cli.terminal import Terminal, shared
from vbl.clock import instant
from vbl.documents import milliseconds
from vbl.errors import RunBlocked, RunFailed, SupervisorHeld, VblError

if TYPE_CHECKING:
    from vbl.client import Client
    from vbl.demo.play import Performance
    from vbl.demo.proof import Proof
    from vbl.demo.scene import Scene


@click.command("demo", short_help="Watch a workflow survive being killed, twice.")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--no-model", is_flag=True, help="Choose sentences by counting words, even where a model is at hand.")
@click.option(
    "--pace",
    type=click.FloatRange(0.1, 60),
    help="Seconds that a summary takes without a model, so that you can watch; about 1.",
)
@shared
def command(terminal: Terminal, folder: Path | None, no_model: bool, pace: float | None) -> None:
    """Read the documents in FOLDER (or those that vbl ships), summarise each, and write a briefing.

    The process that does the work is killed twice on the way, by SIGKILL. In the end the history is compared with a
    file that the steps wrote to: what ran, what was in flight, and that no completed step ran again.

    A model summarises where OPENAI_API_KEY, ANTHROPIC_API_KEY or VBL_MODEL_URL names one; without one, sentences are
    chosen by counting words, and the briefing says so. Unless --db names a file, a temporary one is used.

    \b
    Examples:
      vbl demo
      vbl demo ~/notes --no-model
      VBL_MODEL_URL=http://localhost:11434/v1 VBL_MODEL=qwen3 vbl demo ~/notes
    """
    from vbl.agents import diary
    from vbl.cli.stage import Stage
    from vbl.demo.play import perform
    from vbl.demo.proof import prove
    from vbl.demo.scene import set_scene

    scene = set_scene(folder, terminal.path if terminal.db else None, use_model=not no_model, pace_s=pace)
    with _client(scene) as client, Stage(terminal, scene) as stage:
        performance = perform(client, scene, stage)
        _raise_unless_completed(performance, scene)
        words = len(scene.briefing.read_text("utf-8").split()) if scene.briefing.exists() else 0
        proof = prove(performance, diary.read(scene.diary), words)
        if terminal.as_json:
            terminal.document(document(scene, performance, proof))
        else:
            stage.concludes(performance, proof)
    if not proof.holds:
        raise SystemExit(1)


def _client(scene: Scene) -> Client:
    """A client of the demo's file. Raises SupervisorHeld where a supervisor is at work in it already."""
    from vbl.client import connect

    try:
        client = connect(scene.db)
        holder = client.supervisor()
        if holder is None:
            return client
        client.close()
        raise SupervisorHeld(
            f"process {holder.pid} supervises {scene.db}, and the demo would kill what it does not own",
            "Leave out --db: the demo then uses a file of its own",
        )
    except VblError:
        scene.place.rmdir()
        raise


def _raise_unless_completed(performance: Performance, scene: Scene) -> None:
    """A run that did not come to its end proves nothing; say why as any other command would."""
    state, show = performance.state, f"vbl show {performance.run.id} --db {scene.db}"
    if state.status == "blocked":
        raise RunBlocked(f"the run is blocked: {(state.blocked or {}).get('message', '')}", show)
    if state.status != "completed":
        error = state.error or {}
        message = f"the run {state.status}: {error.get('type', '')}: {error.get('message', '')}"
        raise RunFailed(message, show, error=error)


def document(scene: Scene, performance: Performance, proof: Proof) -> dict[str, Any]:
    """The one JSON document: what was done, every step, every claim, and the verdict."""
    state = performance.state
    return {
        "proved": proof.holds,
        "run": performance.run.id,
        "status": str(state.status),
        "db": str(scene.db),
        "folder": scene.survey.folder,
        "documents": scene.survey.documents,
        "left_out": [file.model_dump() for file in scene.survey.left_out],
        "model": scene.model,
        "usage": state.usage,
        "briefing": str(scene.briefing),
        "side_effects": str(scene.diary),
        "duration_ms": milliseconds((state.finished_at or state.at) - state.created_at),
        "workers": [
            {
                "worker": life.number,
                "pid": life.pid,
                "killed": life.killed,
                "exit_code": life.exit_code,
                "began_at": instant(life.began_at),
                "ended_at": instant(life.ended_at),
                "complete": sorted(life.complete),
                "in_flight": sorted(life.torn),
            }
            for life in performance.lives
        ],
        "steps": [
            {
                "step": step.key,
                "label": step.label,
                "attempts": [
                    {"attempt": attempt.number, "worker": attempt.life, "outcome": attempt.outcome}
                    for attempt in step.attempts
                ],
                "body_began": sum(step.began.values()),
                "body_ended": sum(step.ended.values()),
            }
            for step in proof.steps
        ],
        "claims": [{"claim": claim.text, "holds": claim.holds, "facts": claim.facts} for claim in proof.claims],
    }
