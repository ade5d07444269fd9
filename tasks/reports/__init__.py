"""The report pack: self-contained pages of a month, and the overview of all months (`tasks.reports.pack`)."""
