"""Keeping keys out of what is recorded: `strike` takes a known key out of a text, `redact` also what looks like one.

`strike` is for texts whose words matter (a model's reply), `redact` for error messages.
"""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import quote

HIDDEN = "[key]"
SHORTEST_KEY = 8
"""Local servers take keys such as "none"; striking so short a word would spoil a text and protect nothing."""
_LOOKS_LIKE_A_KEY = re.compile(r"\b(?:sk|pk)-[\w*.…-]{6,}|\bBearer\s+[^\s\"',}]{6,}")


def strike(text: str, key: str) -> str:
    """Replace the key wherever it stands, as it is and as JSON, URLs and base64 write it."""
    if len(key) < SHORTEST_KEY:
        return text
    encoded = base64.b64encode(key.encode()).decode()
    forms = {key, json.dumps(key)[1:-1], quote(key, safe=""), encoded, encoded.rstrip("=")}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, HIDDEN)
    return text


def redact(text: str, key: str) -> str:
    """Replace the key and everything that looks like a key."""
    return _LOOKS_LIKE_A_KEY.sub(HIDDEN, strike(text, key))
