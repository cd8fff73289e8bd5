"""Memory: what may be taken, what a run will take, and what it took.

``limits`` reads what the machine and the container leave, ``projection`` says before a run what
it will need of that and refuses what does not fit, ``peaks`` measures.
"""

from workers.memory.limits import Limit, Room, room_here
from workers.memory.peaks import PeakMemory, process_peak_bytes
from workers.memory.projection import Projection, TooLargeForMemory, Work, fitting_blocks, project

__all__ = [
    "Limit",
    "PeakMemory",
    "Projection",
    "Room",
    "TooLargeForMemory",
    "Work",
    "fitting_blocks",
    "process_peak_bytes",
    "project",
    "room_here",
]
