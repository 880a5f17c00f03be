"""What lies in the folder of a run: its record, locks, numbers and code, and files written whole.

A leaf: it imports no other package of ours. Start reading at ``records``.
"""
