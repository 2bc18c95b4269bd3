"""What pages are put together from: the page's frame, controls, HTML cards, the theme."""
