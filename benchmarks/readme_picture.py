"""Make the picture at the top of the README: python benchmarks/readme_picture.py

Synthetic faces, upright and tilted, large and small, with the keypoints that `kptool predict` draws.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from kptool import Predictor, plugins
from kptool.predict import drawing

OUT = Path(__file__).parent.parent / "docs" / "faces.png"
PLACES = (
    (30, 40, 210, 0),
    (255, 20, 150, 25),
    (262, 190, 96, -38),
    (425, 30, 230, 10),
    (700, 20, 110, -15),
    (690, 165, 110, 40),
)


def main() -> None:
    """Compose the picture, predict its keypoints, draw them and write the file."""
    source = plugins.load("datasets", "synthetic").open(None, count=len(PLACES), seed=12)
    images = np.concatenate([block.images for block in source.blocks()])
    picture = Image.new("L", (840, 330), 70)
    for image, (x, y, side, angle) in zip(images, PLACES, strict=True):
        face = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
        mask = Image.new("L", (side, side))
        ImageDraw.Draw(mask).rounded_rectangle((0, 0, side - 1, side - 1), side // 8, fill=255)
        turned, shape = (
            part.rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor=0) for part in (face, mask)
        )
        picture.paste(turned, (x, y), shape)
    predictor = Predictor("unet", "cpu")
    pixels = np.asarray(picture)
    faces = predictor.predict(pixels)
    drawing.draw(pixels, faces, predictor.names, tints=predictor.tints).save(OUT, optimize=True)
    print(f"{OUT}: {len(faces)} faces")


if __name__ == "__main__":
    main()
