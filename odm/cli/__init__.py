"""The command line: ``odm``. Nothing imports it; it may import anything, when it is needed."""
