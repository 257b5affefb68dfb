"""Reports with plots in one HTML file: statistics, drawing, the kinds of plots, the document."""
