"""Charts drawn as SVG and HTML, without any library in the page."""
