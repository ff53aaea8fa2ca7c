"""The pictures of one run, in its folder `media/`: what it trained on, and what its answers on the test set are like.

`Media` draws them as the run goes; `draw_answers` draws those of the answers again from `predictions.npz` and the
record; `pictures` says what lies there. Sinks mirror the files and draw nothing themselves.
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
