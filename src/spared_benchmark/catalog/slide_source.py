"""A slide as its laboratory published it: a folder read by the cohort's format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from spared_benchmark.atomic import digest_of
from spared_benchmark.catalog.complete import CompleteDataset
from spared_benchmark.catalog.memory import remembered
from spared_benchmark.settings_model import parsed
from spared_benchmark.slides.preflight import missing_files, source_files
from spared_benchmark.study import Cohort

if TYPE_CHECKING:
    from spared_benchmark.slides.raw import RawSlide


class SlideSourceDataset(CompleteDataset[Any]):
    """The source of one slide: found on disk, or written there by the simulation.

    Args:
        code: The cohort's code.
        slide: The slide's name.
        cohort: What reading the slide depends on (`Cohort.of_slide`).
        memory: Where it is kept what the files looked like when they were last there.
    """

    def __init__(
        self, *, code: str, slide: str, cohort: dict[str, Any], memory: str, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._memory = Path(memory)
        self._code, self._slide = code, slide
        self._cohort = parsed(Cohort, cohort, code)

    @property
    def is_simulated(self) -> bool:
        """Whether a node of this project writes it."""
        return self._cohort.simulation is not None

    def problem(self) -> str | None:
        """Return why the slide cannot be read, or None; looks at names, reads no content."""
        if self.is_simulated:
            return super().problem()
        return missing_files(
            self._filepath, self._cohort.format, self._cohort.slides[self._slide].image
        )

    def fingerprint(self) -> str:
        """Return a digest of the definition and of the files' names, sizes and times."""
        image = self._cohort.slides[self._slide].image
        files = source_files(self._filepath, self._cohort.format, image)
        stats = [(file.name, file.stat()) for file in files]
        found = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]
        return digest_of([self._code, self._cohort, remembered(self._memory, found)])

    def read(self, path: Path) -> RawSlide:
        """Return the slide with its image."""
        from spared_benchmark.slides.read import read_slide

        return read_slide(path, self._cohort, self._code, self._slide)

    def write(self, path: Path, content: Any) -> None:
        """Write a simulated slide in the cohort's format; its truth is a dataset of its own."""
        from spared_benchmark.simulation.folders import write_slide

        write_slide(path, content, self._cohort)
