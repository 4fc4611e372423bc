"""`kptool.doctor`: suspected problems of a cache."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kptool.api import bars
from kptool.api.arguments import DEFAULT_CACHE, PathLike, optional_path, path_of
from kptool.api.result import Result, remark
from kptool.cache.store import Cache
from kptool.data.patches import to_text
from kptool.data.splits import groups_of, read_groups
from kptool.diagnosis.examine import Agreement, Examination, examine, proposals
from kptool.diagnosis.findings import Finding
from kptool.system.files import write_text
from kptool.system.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

    from kptool.report.canvas import Figure

_MOST_SUSPECTS = 100


@dataclass(frozen=True)
class DoctorResult(Result):
    """The findings in a cache, and what they are based on.

    examination: the findings, check by check, see `kptool.diagnosis.examine.Examination`. rows: (N,) the rows of the images
    in the source. wrote: the files of `html` and `patch`.
    """

    cache: Path
    examination: Examination = field(repr=False)
    rows: NDArray[np.int64] = field(repr=False)
    wrote: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def findings(self) -> list[Finding]:
        """All findings, check by check."""
        return self.examination.findings

    @property
    def counts(self) -> dict[str, int]:
        """The number of findings by check."""
        return Counter(finding.check for finding in self.findings)

    @property
    def certain(self) -> bool:
        """Whether any finding is certain."""
        return self.examination.certain

    @property
    def agreement(self) -> Agreement | None:
        """How well near-duplicates agree with the groups; None without groups."""
        return self.examination.agreement

    @property
    def suspects(self) -> list[int]:
        """The source's rows of up to 100 images, the most suspicious labels first."""
        return [int(self.rows[sample]) for sample in self.examination.suspicion.ranking()[:_MOST_SUSPECTS]]

    def to_dict(self) -> dict[str, Any]:
        """The document of ``kptool doctor --json``."""
        return {
            "cache": str(self.cache),
            "images": len(self.rows),
            "counts": dict(self.counts),
            "findings": [asdict(finding) for finding in self.findings],
            "suspects": self.suspects,
            "near_duplicates": None if self.agreement is None else asdict(self.agreement),
            "alike_from": self.examination.threshold,
            "certain": self.certain,
            "wrote": [str(path) for path in self.wrote],
            "notes": list(self.notes),
        }

    def plot(self, count: int = 12) -> Figure:
        """The first `count` images with findings, these marked in red; without any, the most suspicious images."""
        from kptool.diagnosis import page

        with Cache(self.cache) as cache:
            return page.overview(self.examination, cache, count)

    def to_pandas(self) -> pd.DataFrame:
        """The findings, a row each, with the fields of `Finding` as columns."""
        import pandas as pd

        names = [each.name for each in fields(Finding)]
        return pd.DataFrame([asdict(finding) for finding in self.findings], columns=names)

    def _heads(self) -> tuple[str, ...]:
        return (f"{self.cache}: {len(self.rows)} images", "findings", "first")

    def _rows(self) -> Sequence[tuple[str, ...]]:
        first = {finding.check: finding.detail for finding in reversed(self.findings)}
        return [(check, str(count), first[check]) for check, count in self.counts.items()] or [("no findings", "", "")]


def doctor(
    cache: PathLike = DEFAULT_CACHE,
    *,
    run: PathLike | None = None,
    html: PathLike | None = None,
    patch: PathLike | None = None,
    groups: PathLike | None = None,
    progress: bool | Progress | None = None,
) -> DoctorResult:
    """Check a cache for wrong labels, swaps, duplicates and leaks, as ``kptool doctor`` does, which explains the arguments.

    The cache is not changed; `html` and `patch` are files to write. `progress` False shows no bar. Raises CacheError for a
    damaged cache, CheckpointError if `run` does not fit it, DataError for invalid `groups`.
    """
    page_file, patch_file, group_file = optional_path(html), optional_path(patch), optional_path(groups)
    where = path_of(cache)
    with Cache(where) as opened:
        found, images = None, len(opened)
        unlabelled = opened.never_labelled()
        notes = [] if unlabelled is None else [unlabelled]
        with bars.showing(progress) as bar:
            if run is not None:
                from kptool.evaluation.out_of_fold import out_of_fold

                found, covered = out_of_fold(str(run), opened, bar)
                if covered < images:
                    notes.append(f"{run} covers {covered} of {images} images, those it was not trained on")
            rows = opened.read("row")
            known = None if group_file is None else groups_of(read_groups(group_file), rows, group_file)
            done = examine(opened, found, bar, known)
        for text in notes:
            remark(text)
        if page_file is not None:
            from kptool.diagnosis.page import write_page

            write_text(page_file, write_page(done, opened))
        if patch_file is not None:
            write_text(patch_file, to_text(proposals(done.findings, opened), opened.info.names))
    wrote = tuple(path for path in (page_file, patch_file) if path is not None)
    return DoctorResult(where, done, rows, wrote, tuple(notes))
