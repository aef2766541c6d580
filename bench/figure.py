"""A figure yields rows: what was measured, and what it is compared with."""
from pathlib import Path


class Row:
    """A line of the table. `verdict` is met, missed, unclear, or empty for what has no goal."""

    def __init__(self, what, measured, goal="", verdict="", **data):
        self.what, self.measured, self.goal = what, measured, goal
        self.verdict = {True: "met", False: "missed"}.get(verdict, verdict)
        self.data = data


class Bench:
    """Where the programs are, and how long to go on."""

    def __init__(self, build, quick):
        self.directory = Path(build).resolve() / "bench"
        self.source = Path(__file__).resolve().parent
        self.quick = quick
        self.rounds = 12 if quick else 60

    def program(self, name):
        return self.directory / name

    def share_of_rounds(self, share):
        """Fewer, for what takes long."""
        return max(4, round(self.rounds * share))
