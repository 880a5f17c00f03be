"""Box metrics in numpy: overlaps and COCO-style matching. Imports nothing but numpy."""
