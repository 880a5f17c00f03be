"""At toy size: baseline_3scale_100k_tiny"""

from .._toy_events import toy

globals().update(toy("baseline_3scale_100k_tiny"))
