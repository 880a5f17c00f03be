"""Drawing on images: boxes with names and scores, text, sheets of pictures, videos. A leaf.

Flows in: RGB images (H, W, 3) uint8, or counts of events, and boxes (xyxy_abs, px of the image);
out: images and files. Imports numpy and OpenCV only, so that pictures of photographs and of events
are drawn alike, by one function. Start reading at it: ``frame``.
"""
