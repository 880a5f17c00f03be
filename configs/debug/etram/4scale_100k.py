"""At toy size: 4scale_100k"""

from .._toy_events import toy

globals().update(toy("4scale_100k"))
