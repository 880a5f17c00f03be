"""At toy size: patch2_4scale_sizeaware_200k"""

from .._toy_events import toy

globals().update(toy("patch2_4scale_sizeaware_200k"))
