"""Events, files, loaders and scores, against the way that is published or usual."""
