"""Pictures and videos of recordings, of training samples and of what a detector found in them.

Flows in: recordings, samples or the files of an evaluation; out: PNG and MP4, drawn by
``pictures``. Start reading at ``sources`` (what is shown), then ``footage`` (how).
"""
