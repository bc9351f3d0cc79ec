"""From files to one AnnData per slide: one reader per format, checks that speak plainly."""
