"""Imported after all others: garbage collection in a forked process passes over what is loaded."""

import gc

gc.collect()
gc.freeze()
