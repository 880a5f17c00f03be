"""Drawing on images: text and videos. A leaf."""
