"""Summarise a folder of documents and write a briefing; what `vbl demo` runs, started by a program of your own.

    python examples/briefing.py FOLDER [BRIEFING.md]

Kill it at any moment and start it again: it goes on where it was. The workflow is in vbl/agents/briefing.py, a page to
copy from. A model summarises where OPENAI_API_KEY, ANTHROPIC_API_KEY or VBL_MODEL_URL names one; without one, sentences
are chosen by counting words.
"""

import sys
from pathlib import Path

import vbl
from vbl.agents.briefing import briefing

if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    folder = Path(sys.argv[1]).resolve()
    output = Path(sys.argv[2] if len(sys.argv) == 3 else "briefing.md").resolve()
    with vbl.open("briefing.db") as runtime:
        run = runtime.start(briefing, str(folder), str(output), key=f"{folder} to {output}")
        result = run.result()
    print(f"{result.path}: {result.words} words from {len(result.documents)} documents, by {', '.join(result.by)}")
    for file in result.left_out:
        print(f"not read: {file.name}: {file.reason}")
