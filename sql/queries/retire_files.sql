-- Earlier revisions stay in the table as history. Owner: tasks/load.py.
UPDATE files
SET is_current = FALSE
WHERE month = $month AND kind = $kind
