"""`kptool.extract`: from labels of any supported format to a cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kptool.api import bars
from kptool.api.arguments import PathLike, optional_path, parse_size, path_of
from kptool.api.result import Result, remark
from kptool.cache import extraction
from kptool.cache.store import Cache
from kptool.data import sources
from kptool.system import workers
from kptool.system.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

    from kptool.report.canvas import Figure


@dataclass(frozen=True)
class ExtractResult(extraction.Extracted, Result):
    """The written cache, and what became of the source's rows, see `kptool.cache.extraction.Extracted`.

    size: (H, W) of the images. channels: 1 for grey, 3 for colour. elsewhere: True in processes of torchrun other than the
    first, which write nothing and have counts of 0.
    """

    size: tuple[int, int] = field(kw_only=True)
    channels: int = field(kw_only=True)
    elsewhere: bool = field(kw_only=True, default=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The document of ``kptool extract --json``."""
        document = {each.name: getattr(self, each.name) for each in fields(extraction.Extracted)}
        return {**document, "cache": str(self.cache), "notes": list(self.notes)}

    def plot(self, count: int = 16) -> Figure:
        """`count` images spread evenly over the cache, with their keypoints."""
        from kptool.report import figures

        with Cache(self.cache) as cache:
            return figures.examples(cache, count)

    def to_pandas(self) -> pd.DataFrame:
        """The keypoints, a row per image: image, row, NAME_x and NAME_y in its pixels, NAME_visibility (0, 1 or 2)."""
        import pandas as pd

        return pd.read_csv(self.cache.with_name(extraction.KEYPOINTS))

    @property
    def kind(self) -> str:
        """The size and colour of the images, such as "96x96 grey"."""
        return f"{self.size[1]}x{self.size[0]} {'grey' if self.channels == 1 else 'colour'}"

    def _rows(self) -> Sequence[tuple[str, ...]]:
        return (
            ("source", self.source),
            ("rows", str(self.rows)),
            ("kept", str(self.kept)),
            *((f"dropped, {reason}", str(count)) for reason, count in self.dropped.items()),
            ("training images", str(self.splits["train"])),
            ("validation images", str(self.splits["val"])),
            ("keypoints", str(self.keypoints)),
            ("images", self.kind),
            ("flip pairs", self.flip_note),
            ("cache", str(self.cache)),
        )


def extract(
    source: PathLike | None = None,
    out: PathLike = "data/faces",
    *,
    images: PathLike | None = None,
    category: str | None = None,
    size: tuple[int, int] | int | str | None = None,
    colour: bool | None = None,
    crop: str = "auto",
    margin: float = 0.15,
    flips: PathLike | None = None,
    keypoints: str = "auto",
    sigma: float = 2.0,
    stride: int = 1,
    heatmaps: str = "uint8",
    val: float | None = None,
    val_from: PathLike | None = None,
    seed: int = 0,
    groups: PathLike | None = None,
    split: str | None = None,
    patch: PathLike | None = None,
    count: int = 1000,
    force: bool = False,
    progress: bool | Progress | None = None,
) -> ExtractResult:
    """Extract images and keypoints into a cache, as ``kptool extract`` does, which explains the arguments.

    Writes the images, keypoints.csv and dataset.h5 into the folder `out`. `size` is (H, W) or one number for both, in
    pixels. `progress` False shows no bar. Raises DataError, naming file and row, for bad input, and ConfigError for invalid
    arguments, or if `out` holds an extraction already and `force` is not set; existing files are then left untouched.
    """
    options = extraction.Options(
        keypoints,
        sigma,
        stride,
        heatmaps,
        val,
        seed,
        optional_path(groups),
        force,
        split or "auto",
        optional_path(patch),
    )
    opening = sources.Opening(
        images=optional_path(images),
        category=category,
        size=parse_size(size),
        channels=None if colour is None else 3 if colour else 1,
        crop=crop,
        margin=margin,
        flips=optional_path(flips),
        count=count,
        seed=seed,
        val_from=optional_path(val_from),
    )
    target = path_of(out)
    opened = sources.find_source(optional_path(source), opening)
    about: dict[str, Any] = {"size": opened.size, "channels": opened.channels}
    with workers.join() as mine:
        mixed = sources.shared(opened, mine)
        if mixed is None:
            return _elsewhere(opened.label, target, about)
        if source is None:
            remark(f"no SOURCE was given; using {opened.label}")
        with bars.showing(progress) as bar:
            done = extraction.extract(mixed, target, options, progress=bar)
    for text in done.notes:
        remark(text)
    return ExtractResult(**vars(done), **about)


def _elsewhere(source: str, out: Path, about: dict[str, Any]) -> ExtractResult:
    """The result in a process of torchrun that only reads for the first one."""
    counts: dict[str, Any] = {"rows": 0, "kept": 0, "dropped": {}, "keypoints": 0, "splits": {"train": 0, "val": 0}}
    cache = out / extraction.CACHE
    return ExtractResult(source, **counts, flip_note="", cache=cache, seconds=0.0, **about, elsewhere=True)
