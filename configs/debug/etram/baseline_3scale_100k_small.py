"""At toy size: baseline_3scale_100k_small"""

from .._toy_events import toy

globals().update(toy("baseline_3scale_100k_small"))
