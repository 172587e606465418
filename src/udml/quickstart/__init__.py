"""From a folder of pictures to an open search page."""
