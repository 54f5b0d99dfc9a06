"""Summarise a folder of documents and write a briefing; what `vbl demo` runs, started by a program of your own.

    python examples/briefing.py [FOLDER [BRIEFING.md]]

Kill it at any moment and start it again: it goes on where it was, for the same folder and the same briefing are the
same run. The workflow is in vbl/agents/briefing.py, a page to copy from. A model summarises where OPENAI_API_KEY,
ANTHROPIC_API_KEY or VBL_MODEL_URL names one; without one, sentences are chosen by counting words.
"""

import sys
from pathlib import Path

import vbl
from vbl.agents.briefing import briefing
from vbl.agents.extract import SHIPPED

if __name__ == "__main__":
    given = sys.argv[1:]
    if len(given) > 2:
        sys.exit(__doc__)
    folder = Path(given[0] if given else SHIPPED).resolve()
    output = Path(given[1] if len(given) == 2 else "briefing.md").resolve()

    with vbl.open() as runtime:
        run = runtime.start(briefing, str(folder), str(output), key=f"{folder} to {output}")
        result = run.result()
        calls = run.state().usage

    print(f"{result.path}: {result.words} words from {len(result.documents)} documents, by {', '.join(result.by)}")
    if calls:
        read, written = (sum(call.get(field) or 0 for call in calls) for field in ("input_tokens", "output_tokens"))
        print(f"{len(calls)} calls of a model: {read} tokens in, {written} out, recorded with the steps that made them")
    for file in result.left_out:
        print(f"not read: {file.name}: {file.reason}")
