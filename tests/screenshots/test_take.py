"""The documents' pictures are there, small enough, shown, and can be taken again."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.programs import needed
from tests.screenshots.pictures import MOST_BYTES, PICTURES
from tests.screenshots.take import take
from tests.tidy.tree import ROOT, documents

IMAGES = ROOT / "docs" / "images"


def test_every_picture_is_there_and_shown_by_a_document() -> None:
    shown = "\n".join(path.read_text("utf-8") for path in documents())
    for picture in PICTURES:
        path = IMAGES / f"{picture.name}.png"
        assert 10_000 < path.stat().st_size <= MOST_BYTES, path.name
        assert f"images/{path.name})" in shown, path.name
    assert {path.stem for path in IMAGES.glob("dashboard-*.png")} == {one.name for one in PICTURES}


@pytest.mark.long
def test_the_pictures_can_be_taken_again(tmp_path: Path) -> None:
    needed("chromium")
    for picture, path in zip(PICTURES, take(PICTURES, tmp_path), strict=True):
        with Image.open(path) as taken:
            assert taken.size == (2 * picture.width, 2 * picture.height)
