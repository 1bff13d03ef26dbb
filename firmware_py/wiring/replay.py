"""The offline composer fed from a session log: the same stage, on a board of its own, on the log's time.

What the stage read stands in the log; what it makes of that is compared with what it made then. Where the
log's machine rounds the network's sums otherwise than this one, a draw may fall otherwise: draws are settled
as they were then, and those that would have fallen otherwise are counted.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from firmware_py.board.map import BAR_DTYPE, CUT_SHORT, TURN_DTYPE, Board, memory_board
from firmware_py.board.turns import TurnRow, unpack_beginning, unpack_knobs, unpack_turns
from firmware_py.devices.offline import VirtualClock
from firmware_py.processes.composer import ComposerStage
from firmware_py.processes.composing import read_composing
from firmware_py.settings import Settings
from firmware_py.wiring.composer_models import new_generator
from kelly_edge.contract import HEARD_DTYPE, KNOBS_DTYPE, NOTE_DTYPE, RUNGS
from kelly_edge.emotion.programme import Programme
from kelly_edge.music.attention import recall
from kelly_edge.music.draws import Draws
from kelly_edge.music.sampling import ComposerNetwork

DAMAGE: Final = (KeyError, TypeError, ValueError, OverflowError, IndexError, ArithmeticError, AttributeError)
"""What a damaged entry raises where it is read or followed."""
BEGINNING: Final = ("begins", "before", "has_sessions", "start_s")
"""Fields of a turn with which the music begins anew."""
DIGITS: Final = 6
"""Of times that are told, after the point. Chosen: microseconds, as in the log."""
MOST_SHOWN: Final = 5
"""Notes that a difference names. Chosen by hand."""


class SettledDraws(Draws):
    """Draws as a log has them.

    Attributes
    ----------
    n, n_otherwise: draws made, and those that would have fallen otherwise here.
    """

    def __init__(self) -> None:
        super().__init__()
        self.given: deque[int] = deque()
        self.n = self.n_otherwise = 0

    def settle(self, drawn: int, legal: NDArray[np.bool_]) -> int:
        """See ``Draws``.

        Raises
        ------
        ValueError: what was drawn then is not legal here.
        """
        self.n += 1
        token = self.given.popleft() if self.given else drawn
        if not (token < len(legal) and legal[token]):
            raise ValueError("a token that is not legal")
        self.n_otherwise += token != drawn
        return super().settle(token, legal)


@dataclass(frozen=True)
class Difference:
    """Where a replay first went another way: seconds of the stream, the composer's turn, and what."""

    time_s: float
    turn: int
    what: str

    def __str__(self) -> str:
        return f"at {self.time_s:.3f} s (turn {self.turn}): {self.what}"


@dataclass
class Replayed:
    """What came of a replay.

    ``n_turns``, ``n_bars``, ``n_notes``: composed again; ``first``: the first difference; ``ended``: why
    it ended before the log's last turn (empty: it did not); ``start_s``, ``end_s``: onset of the first bar,
    and time of the last turn; ``bars``, ``notes``: composed here.
    """

    n_turns: int = 0
    n_bars: int = 0
    n_notes: int = 0
    n_same_turns: int = 0
    n_same_notes: int = 0
    n_draws: int = 0
    n_draws_otherwise: int = 0
    first: Difference | None = None
    first_draw: Difference | None = None
    ended: str = ""
    start_s: float = -np.inf
    end_s: float = -np.inf
    bars: list[NDArray[Any]] = field(default_factory=list)
    notes: list[NDArray[Any]] = field(default_factory=list)

    @property
    def is_identical(self) -> bool:
        """Whether every turn read was composed again to the same notes."""
        return self.n_turns > 0 and self.n_same_turns == self.n_turns


def turns_of(entries: Iterable[dict[str, Any]], result: Replayed) -> Iterator[TurnRow]:
    """The turns of a log with their knobs, from the first beginning on, as long as none is missing.

    Where it ends early ``result.ended`` says why.
    """
    knobs, expected = np.zeros((), KNOBS_DTYPE), -1
    has_knobs = False
    waiting: NDArray[Any] | None = None
    for entry in entries:
        try:
            if entry["kind"] == "composer":
                waiting = np.zeros((), TURN_DTYPE)
                unpack_beginning(entry, waiting)
                first = int(waiting["number"])
                # Another process leaves one out; an older release's, or one in a new folder, begins at 0.
                if expected >= 0 and first > expected + 1:
                    result.ended = f"turns {expected} to {first - 1} are not in the log"
                    return
                expected, has_knobs = first, False
            elif entry["kind"] == "turns" and expected >= 0:
                rows = unpack_turns(entry)
                has_knobs = has_knobs or "knobs" in entry
                unpack_knobs(entry, knobs)
                # One that a composer ended in may stand there twice, the second time without its outcome.
                rows = [row for row in rows if int(row.turn["number"]) >= expected]
                first = int(rows[0].turn["number"]) if rows else expected
                if first > expected:
                    result.ended = f"turns {expected} to {first - 1} are not in the log"
                    return
                if not has_knobs:
                    result.ended = f"the knobs of turn {expected} are not in the log"
                    return
                for row in rows:
                    if waiting is not None:
                        for name in BEGINNING:
                            row.turn[name] = waiting[name]
                        waiting = None
                    row.turn["knobs"] = knobs
                    yield row
                expected += len(rows)
        except DAMAGE as error:
            why = " ".join(str(error).split())[:80] or type(error).__name__
            result.ended = f"an entry of kind {entry['kind'][:20]!r} after turn {expected} is damaged ({why})"
            return
    if expected < 0:
        result.ended = "the log does not hold where the music began (its beginning was removed?)"


class Replay:
    """Composes again, turn by turn.

    Parameters
    ----------
    settles_draws: draws fall as in the log; for the network that the log was made with.
    programmes: as the knob counts them; without, the built-in ones.
    """

    def __init__(
        self,
        settings: Settings,
        network: ComposerNetwork,
        settles_draws: bool,
        programmes: Sequence[Programme] = (),
    ) -> None:
        self._board: Board = memory_board()
        self._clock = VirtualClock()
        generator = new_generator(settings, network)
        self._draws = SettledDraws()
        self._settles_draws = settles_draws
        generator.draws = self._draws
        self._stage = ComposerStage(
            self._board.ends("composer"), settings, generator, self._clock, programmes=programmes
        )
        # Where then none was composed and here a bar is, the music has parted already.
        self._stage.choose_rung = lambda margin_s: max(self._rung, 0)
        self._rung = 0
        self._next = -1
        self._heard = np.zeros((), HEARD_DTYPE)
        self._made = np.zeros((), TURN_DTYPE)
        self._note = np.zeros((), NOTE_DTYPE)

    def run(self, rows: Iterable[TurnRow], result: Replayed) -> None:
        """Follow ``rows`` to their end, or to the first that cannot be followed."""
        for row in rows:
            try:
                made = self._take(row)
            except DAMAGE as error:
                # Not the log's damage alone: what was drawn then may be impossible with other settings.
                why = " ".join(str(error).split())[:80] or type(error).__name__
                number = int(row.turn["number"])
                result.ended = f"turn {number} cannot be followed ({why})"
                if result.first is None:
                    time_s = round(float(row.turn["now_s"]), DIGITS)
                    result.first = Difference(time_s, number, "what was composed then is impossible here")
                result.n_turns += 1
                return
            if made is None:
                result.ended = f"turn {int(row.turn['number'])} was not to be taken at its time"
                return
            self._compare(row, made, result)

    def _take(self, row: TurnRow) -> NDArray[Any] | None:
        turn, stage = row.turn, self._stage
        # Within one process the stage itself begins anew, as the knobs say; another one leaves a number out.
        if turn["begins"] and int(turn["number"]) != self._next:
            self._begin(turn)
        self._next = int(turn["number"]) + 1
        self._rung = int(turn["rung"])
        self._draws.given = deque(row.draws if self._settles_draws else ())
        stage.ends_s = float(turn["ends_s"])
        self._clock.time_s = float(turn["now_s"])
        self._board.cells["knobs"].write(turn["knobs"])
        self._board.cells["clock"].write(turn["clock"])
        if turn["is_heard"]:
            heard = self._heard
            recall(turn["heard"], heard)
            heard["group"], heard["time_s"] = turn["group"], turn["time_s"]
            self._board.rings["heard"].write(heard)
            stage.step()
        else:
            # How long nothing had been heard by then need not be in the log.
            stage.turn_by_clock()
        made = self._made if self._board.rings["turns"].read(self._made) else None
        self._draws.given.clear()
        return made

    def _begin(self, turn: NDArray[Any]) -> None:
        cell = self._board.cells["composing"]
        cell.write(turn["before"])
        before = read_composing(cell)
        if not turn["has_sessions"]:
            before = read_composing(_Unwritten())
        self._stage.begin(before, float(turn["start_s"]))

    def _compare(self, row: TurnRow, made: NDArray[Any], result: Replayed) -> None:
        turn = row.turn
        notes = []
        while self._board.rings["notes"].read(self._note):
            notes.append(self._note.copy())
        if turn["begins"] and not result.n_turns:
            result.start_s = float(turn["start_s"])
        what = _difference(row, made, notes)
        place = (round(float(turn["now_s"]), DIGITS), int(turn["number"]))
        if what and result.first is None:
            result.first = Difference(*place, what)
        if self._draws.n_otherwise > result.n_draws_otherwise and result.first_draw is None:
            result.first_draw = Difference(*place, "a draw of the network")
        result.n_turns += 1
        result.end_s = float(turn["now_s"])
        result.n_same_turns += not what
        result.n_bars += int(turn["rung"]) >= 0
        result.n_notes += int(turn["n_notes"])
        result.n_same_notes += 0 if what else int(turn["n_notes"])
        result.n_draws, result.n_draws_otherwise = self._draws.n, self._draws.n_otherwise
        result.notes += [note for note in notes if note["velocity"]]
        if made["has_bar"]:
            result.bars.append(np.array(made["bar"], BAR_DTYPE))


class _Unwritten:
    """A cell that nobody wrote."""

    def read(self, out: NDArray[Any]) -> bool:
        """See ``CellReader``."""
        return False


def _difference(row: TurnRow, made: NDArray[Any], notes: list[NDArray[Any]]) -> str:
    """How a turn made here differs from the log's; empty where it does not."""
    turn = row.turn
    if turn["rung"] == CUT_SHORT:
        return ""
    if bool(turn["begins"]) and any(turn[name] != made[name] for name in BEGINNING):
        return "the music begins anew from another state"
    if (then := int(turn["rung"])) != (here := int(made["rung"])):
        return f"the log composed {_bar(then)}, here it is {_bar(here)}"
    if row.draws != (drawn := tuple(made["draws"][: int(made["n_draws"])].tolist())):
        first = next(
            (n for n, (a, b) in enumerate(zip(row.draws, drawn, strict=False)) if a != b),
            min(len(row.draws), len(drawn)),
        )
        return f"draw {first + 1} of {len(row.draws)} of the bar composed falls otherwise ({len(drawn)} here)"
    if (turn["n_notes"], turn["notes_crc"]) != (made["n_notes"], made["notes_crc"]):
        shown = ", ".join(
            f"{int(n['pitch'])} at {float(n['onset_s']):.3f} s (velocity {int(n['velocity'])})"
            for n in notes[:MOST_SHOWN]
        )
        return f"the log has {int(turn['n_notes'])} notes, here they are {shown or 'none'}"
    return ""


def _bar(rung: int) -> str:
    return f"a bar on rung {RUNGS[rung]}" if 0 <= rung < len(RUNGS) else "no bar"
