"""The report pack: self-contained pages of a month and the overview over all months (`tasks.reports.pack`)."""
