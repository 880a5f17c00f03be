"""What ``make bench-gpu`` measures, as ``parts`` are for a CPU: a module a part.

``rows(device)`` takes the device, so that tests run all of it on a CPU at toy size. Nothing is
required as long as no GPU was seen. RoIAlign and NMS are torchvision's on a GPU and not measured.
Start with ``scan.py``.
"""
