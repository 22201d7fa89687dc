"""Pictures of plain numbers and arrays. This room knows no noun of Hansa's; matplotlib loads when the first picture is drawn.

Every function returns a matplotlib Figure of its own, made without pyplot: nothing is shown, no global state is touched, and
it works in a thread, on a machine without a display, and as the last line of a notebook's cell.
"""

from hansa.plots.html import html_table
from hansa.plots.images import images, is_pictures
from hansa.plots.lines import Line, lines
from hansa.plots.predictions import predictions
from hansa.plots.shares import shares
from hansa.plots.table import table

__all__ = ["Line", "html_table", "images", "is_pictures", "lines", "predictions", "shares", "table"]
