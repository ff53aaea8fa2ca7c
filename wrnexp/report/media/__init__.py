"""Draws the pictures in a run's folder `media/`: augmented training images, and diagrams of the test predictions.

`Media` draws them during the run, `draw_answers` draws those of the test predictions later, from `predictions.npz`.
"""

from wrnexp.report.media.confusion import Confusion, confusion
from wrnexp.report.media.drawing import Media, Switches, draw_answers
from wrnexp.runs.media import FOLDER, Picture, pictures, read_mistakes

__all__ = [
    "FOLDER",
    "Confusion",
    "Media",
    "Picture",
    "Switches",
    "confusion",
    "draw_answers",
    "pictures",
    "read_mistakes",
]
