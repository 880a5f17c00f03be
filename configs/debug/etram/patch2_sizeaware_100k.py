"""At toy size: patch2_sizeaware_100k"""

from .._toy_events import toy

globals().update(toy("patch2_sizeaware_100k"))
