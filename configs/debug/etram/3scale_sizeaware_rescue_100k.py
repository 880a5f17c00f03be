"""At toy size: 3scale_sizeaware_rescue_100k"""

from .._toy_events import toy

globals().update(toy("3scale_sizeaware_rescue_100k"))
