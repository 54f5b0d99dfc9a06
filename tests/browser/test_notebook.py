"""A card in a notebook: what the page around it says of lists and tables does not tear its words."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page

import vbl
from vbl.testing import Trial

pytestmark = pytest.mark.slow
JUPYTER = """
.jp-RenderedHTMLCommon dt { font-weight: bold; float: left; width: 20%; }
.jp-RenderedHTMLCommon dd { float: left; width: 80%; }
.jp-RenderedHTMLCommon table { table-layout: fixed; }
.jp-RenderedHTMLCommon td, .jp-RenderedHTMLCommon th { white-space: normal; max-width: none; }
"""
"""What JupyterLab lays below every output."""


@vbl.step
def send(to: str, text: str) -> str:
    return f"{to}: {text}"


@vbl.workflow
async def reply(to: str) -> bool:
    return (await vbl.approve(send.call(to, "Dear Ada, your parcel is lost."), edit=True, timeout=7200)).approved


@pytest.fixture
def cards(tmp_path: Path) -> dict[str, str]:
    """A gate and a list of gates, as a notebook has them."""
    with Trial(tmp_path / "trial.db") as trial, vbl.connect(tmp_path / "trial.db") as client:
        trial.start(reply, "Ada").wait("waiting_for_approval")
        gates = client.gates()
        return {"gate": gates[0]._repr_html_(), "gates": gates._repr_html_()}


@pytest.mark.parametrize(("card", "words"), [("gate", "dt"), ("gates", "tbody td:not(:nth-child(3))")])
def test_short_words_stand_on_one_line_in_jupyter(tab: Page, cards: dict[str, str], card: str, words: str) -> None:
    tab.set_viewport_size({"width": 900, "height": 800})
    tab.set_content(f'<style>{JUPYTER}</style><div class="jp-RenderedHTMLCommon">{cards[card]}</div>')
    torn = """found => found.map(cell => {
        const range = document.createRange(); range.selectNodeContents(cell);
        const lines = new Set([...range.getClientRects()].map(box => Math.round(box.bottom / 8)));
        return [cell.textContent, lines.size];
    }).filter(([text, lines]) => lines > text.split(" ").length)"""
    found = tab.locator(words)
    assert found.count() > 3
    assert found.evaluate_all(torn) == []
